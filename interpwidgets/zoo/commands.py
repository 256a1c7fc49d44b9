"""The commands ``interpwidgets zoo ...``: which trained models there are, how they were made, whether they still work.

    interpwidgets zoo list
    interpwidgets zoo verify

Each imports what it needs when it runs, so that ``--help`` answers at once.
"""

from difflib import get_close_matches
from pathlib import Path
from time import process_time
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

    for name, sentence in SHIPPED.items():
        click.echo(f"{name:<10}{sentence}")


@zoo.command()
@click.argument("name")
def show(name: str) -> None:
    """Show the card of the model NAME: what it is, how it was trained, what was measured."""
    import json

    from interpwidgets.models.shipped import SHIPPED, WEIGHTS, steps_of

    _spec(name)
    click.echo(f"{name}: {SHIPPED[name]}\n")
    _lines(json.loads((WEIGHTS / name / "card.json").read_text(encoding="utf-8")))
    if steps := steps_of(name):
        click.echo(f"checkpoints: {', '.join(map(str, steps))}")


@zoo.command()
@click.argument("name")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Where the model goes.  [default: ./NAME]"
)
def train(name: str, out: Path | None) -> None:
    """Train the model NAME from nothing, and write it where `load` can open it.

    Ends with status 1 if it came out wrong.
    """
    from interpwidgets.zoo.save import save

    spec, out = _spec(name), out or Path(name)
    if out.exists() and any(out.iterdir()):
        raise click.ClickException(f"{out} is not empty; name another folder with --out, or remove it.")
    begin, steps = process_time(), spec.recipe["steps"]
    with click.progressbar(length=steps, label=name) as bar:
        made = spec.train(progress=lambda step, loss: bar.update(1))
    click.echo(f"{name} took {process_time() - begin:.0f} seconds of processor time.")
    measured = spec.accept(made.model)
    save(spec, made, out, measured)
    _report(measured)
    click.echo(f'It is in {out}. In Python: load("{out}")')
    if not all(found.ok for found in measured.values()):
        raise SystemExit(1)


@zoo.command()
@click.argument("name", required=False)
def verify(name: str | None) -> None:
    """Measure the shipped model NAME again, or all of them. Ends with status 1 if one fails."""
    from interpwidgets.models.load import load
    from interpwidgets.zoo.registry import ZOO

    failed = False
    for spec in [_spec(name)] if name else ZOO.values():
        click.echo(spec.name)
        measured = spec.accept(load(spec.name))
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
