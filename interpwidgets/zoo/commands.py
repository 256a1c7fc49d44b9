"""The commands ``interpwidgets zoo ...``: which trained models there are, how they were made, whether they still work.

    interpwidgets zoo list
    interpwidgets zoo verify

Each imports what it needs when it runs, so that ``--help`` answers at once.
"""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from interpwidgets.zoo.spec import Measured, ZooModel


@click.group(short_help="The trained models that come with the package.")
def zoo() -> None:
    """The trained models that come with the package: what they are, how they were made, whether they still work."""


@zoo.command("list")
def list_models() -> None:
    """List the models, one line each."""
    from interpwidgets.models.shipped import SHIPPED

    width = max(map(len, SHIPPED)) + 2
    for name, sentence in SHIPPED.items():
        click.echo(f"{name:<{width}}{sentence}")


@zoo.command()
@click.argument("name")
def show(name: str) -> None:
    """Show the card of the model NAME: what it is, how it was trained, what was measured."""
    import json

    from interpwidgets.models.load import checkpoints
    from interpwidgets.models.shipped import CARD, SHIPPED, WEIGHTS

    _spec(name)
    click.echo(f"{name}: {SHIPPED[name]}\n")
    card = json.loads((WEIGHTS / name / CARD).read_text(encoding="utf-8"))
    _lines({part: value for part, value in card.items() if part != "files"})
    if steps := checkpoints(name):
        click.echo(f"checkpoints: {', '.join(map(str, steps))}")


@zoo.command()
@click.argument("name")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Where the model goes.  [default: ./NAME]"
)
def train(name: str, out: Path | None) -> None:
    """Train the model NAME from nothing, and write it where `load` can open it.

    Run it again after a kill, and it goes on. Ends with status 1 if the model came out wrong.
    """
    from interpwidgets.zoo.save import SaveError, save
    from interpwidgets.zoo.training import TrainingError

    spec, out = _spec(name), out or Path(name)
    if out.exists() and any(out.iterdir()):
        raise click.ClickException(f"{out} is not empty; name another folder with --out, or remove it.")
    state = out.with_name(f"{out.name}.training")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with click.progressbar(length=spec.recipe["steps"], label=name) as bar:
            made = spec.train(progress=lambda step, loss: bar.update(step - bar.pos), state=state)
        measured = save(spec, made, out)
    except (TrainingError, SaveError) as error:
        raise click.ClickException(str(error)) from None
    state.unlink(missing_ok=True)
    click.echo(f"{name} took {made.minutes:.1f} minutes of processor time.")
    _report(measured)
    click.echo(f'It is in {out}. In Python: load("{out}")')
    if not all(found.ok for found in measured.values()):
        raise SystemExit(1)


@zoo.command()
@click.argument("name", required=False)
def verify(name: str | None) -> None:
    """Measure the shipped model NAME again, or all of them. Ends with status 1 if one fails."""
    from interpwidgets.models.load import LoadError
    from interpwidgets.zoo.registry import ZOO
    from interpwidgets.zoo.spec import measure

    failed = False
    for spec in [_spec(name)] if name else ZOO.values():
        click.echo(spec.name)
        try:
            measured = measure(spec, spec.name)
        except LoadError as error:
            raise click.ClickException(str(error)) from None
        _report(measured)
        failed |= not all(found.ok for found in measured.values())
    if failed:
        raise SystemExit(1)


def _spec(name: str) -> "ZooModel":
    from interpwidgets.zoo.registry import ZOO

    if name not in ZOO:
        near = get_close_matches(name, ZOO, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"There are {', '.join(ZOO)}."
        raise click.ClickException(f"There is no model {name!r} in the zoo. {hint}")
    return ZOO[name]


def _report(measured: "dict[str, Measured]") -> None:
    for what, found in measured.items():
        click.echo(f"  {what:<44}{found}")


def _lines(card: dict[str, Any], indent: str = "") -> None:
    for key, value in card.items():
        if isinstance(value, dict) and "value" in value:
            wanted = "".join(f", {bound} {number:g}" for bound, number in value.items() if bound != "value")
            click.echo(f"{indent}{key}: {value['value']:g}{wanted}")
        elif isinstance(value, dict):
            click.echo(f"{indent}{key}:")
            _lines(value, indent + "  ")
        elif key != "name":
            click.echo(f"{indent}{key}: {value}")
