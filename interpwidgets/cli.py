"""The command ``interpwidgets``: learn, run, export, grade, doctor, and build for those who write chapters.

    interpwidgets learn
    interpwidgets run 00 -p SENTENCE "Tom saw a cat. Tom saw a dog."
    interpwidgets --help

Every command imports what it needs when it runs, so that ``--help`` answers at once, and tells a mistake in a sentence.
"""

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from interpwidgets import _urls
from interpwidgets._version import __version__
from interpwidgets.course import CourseError
from interpwidgets.grading.commands import grade
from interpwidgets.zoo.commands import zoo

_FILE = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="interpwidgets")
def main() -> None:
    """Look inside transformers: widgets to touch, and a course built on them.

    \b
    New here?        interpwidgets learn
    Does not work?   interpwidgets doctor
    """


main.add_command(grade)
main.add_command(zoo)


@contextmanager
def _in_a_sentence() -> Iterator[None]:
    """Turn a mistake that a person can put right into its sentence, without a traceback."""
    try:
        yield
    except CourseError as error:
        raise click.ClickException(str(error)) from None


# -- learning ---------------------------------------------------------------------------------------------------------


@main.command(short_help="Copy the course into a folder and open it in JupyterLab.")
@click.option(
    "--dir", "folder", type=_FOLDER, default="interpwidgets-course", show_default=True, help="Where your copies go."
)
@click.option("--no-browser", is_flag=True, help="Print JupyterLab's address instead of opening a browser.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="JupyterLab's port; without it the first free one from 8888."
)
def learn(folder: Path, no_browser: bool, port: int | None) -> None:
    """Copy the course into a folder of yours and open it in JupyterLab.

    Run it again whenever you like: a chapter that you have changed is never overwritten. When a newer release brings
    another version of it, that goes beside yours, under its own name. To start a chapter over, delete your copy and run
    this again.
    """
    from interpwidgets.course import chapters, copies, lab

    with _in_a_sentence():
        steps = copies.place(chapters.shelf("chapters"), folder, __version__)
        click.echo(f"The course is in {folder.resolve()}")
        for step in steps:
            click.echo(f"  {step}")
        lab.check(port)
    click.echo("Starting JupyterLab. To end it, press Ctrl-C here.")
    raise SystemExit(lab.start(folder, chapters.notebooks("chapters")[0].name, not no_browser, port))


@main.command(short_help="Run a solved chapter from its first cell to its last.")
@click.argument("chapter", metavar="NN")
@click.option("-o", "--out", type=_FILE, help="The executed notebook, overwritten.  [default: NN_name.executed.ipynb]")
@click.option(
    "-p",
    "--parameter",
    "parameters",
    type=(str, str),
    multiple=True,
    metavar="NAME VALUE",
    help="Set a value of the cell that is tagged as parameters; may be repeated.",
)
def run(chapter: str, out: Path | None, parameters: tuple[tuple[str, str], ...]) -> None:
    """Run the solved notebook of chapter NN (its number or its name), with a progress bar.

    \b
    interpwidgets run 00
    interpwidgets run 00 -p MODEL gpt2 -o gpt2.ipynb
    """
    from interpwidgets.course import chapters
    from interpwidgets.course.run import run as run_notebook

    with _in_a_sentence():
        notebook = chapters.find(chapter, "solutions")
        out = out or Path(f"{notebook.stem}.executed.ipynb")
        run_notebook(notebook, out, {name: _value(text) for name, text in parameters}, progress=True)
    click.echo(f"Every cell of {notebook.stem} ran. The notebook with its outputs is {out}")


def _value(text: str) -> Any:
    """``5`` is a number, ``True`` a truth value, ``[1, 2]`` a list; anything else is text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


@main.command(short_help="Make one HTML page of a notebook, its widgets alive offline.")
@click.argument("notebook", type=_FILE)
@click.option("-o", "--out", type=_FILE, help="The page.  [default: the notebook's name with .html]")
@click.option("--execute", is_flag=True, help="Run the notebook first (in memory; the file stays as it is).")
def export(notebook: Path, out: Path | None, execute: bool) -> None:
    """Make one HTML file of an executed NOTEBOOK, with widgets that work without a kernel and without a network.

    \b
    interpwidgets export my_notebook.ipynb
    interpwidgets export my_notebook.ipynb --execute -o page.html
    """
    if not notebook.exists():
        raise click.ClickException(f"There is no file {notebook}.")
    from interpwidgets.export import export_html

    try:
        page = export_html(notebook, out, execute=execute)
    except (CourseError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Wrote {page}")


@main.group(short_help="Carry what you have done to another computer, or past a Colab session.")
def progress() -> None:
    """Carry what you have done to another computer, or past the end of a Colab session.

    \b
    interpwidgets progress export        here: writes one small file
    interpwidgets progress import        there: adds what it holds; nothing is ever taken away

    Without a name the file is interpwidgets-progress.jsonl: in your Google Drive if Colab has it mounted, else in this
    folder.
    """


@progress.command("export")
@click.argument("snapshot", metavar="[FILE]", type=_FOLDER, required=False)
def export_progress(snapshot: Path | None) -> None:
    """Write what you have done to FILE. What FILE held before stays in it."""
    from interpwidgets.course import snapshots

    with _in_a_sentence():
        written = snapshots.export_to(snapshot)
        click.echo(f"Wrote {written} ({len(snapshots.read(written))} events)")


@progress.command("import")
@click.argument("snapshot", metavar="[FILE]", type=_FOLDER, required=False)
def import_progress(snapshot: Path | None) -> None:
    """Add what FILE holds to what you have done here. Doing it twice changes nothing more."""
    from interpwidgets.course import snapshots

    with _in_a_sentence():
        click.echo(f"{snapshots.import_from(snapshot)} events were new here.")


# -- making -----------------------------------------------------------------------------------------------------------


@main.command(short_help="Build the notebooks from their sources (in the clone).")
@click.option("--check", is_flag=True, help="Write nothing; fail if a notebook is out of date with its source.")
def build(check: bool) -> None:
    """Build the notebooks from solutions/*.py (for those who write chapters; run it in the clone)."""
    from interpwidgets.course.notebooks import build as build_notebooks
    from interpwidgets.course.notebooks import stale

    with _in_a_sentence():
        solutions, chapters = Path("solutions"), Path("chapters")
        if not check:
            for path in build_notebooks(solutions, chapters):
                click.echo(f"Wrote {path}")
            return
        if old := stale(solutions, chapters):
            names = "".join(f"\n  {path}" for path in old)
            raise CourseError(
                f"Out of date with their sources:{names}\nRun `interpwidgets build`, and commit what it writes."
            )


@main.command("new-chapter", short_help="Write the beginning of a chapter (in the clone).")
@click.argument("number", metavar="NN")
@click.argument("slug", metavar="NAME")
def new_chapter(number: str, slug: str) -> None:
    """Write the source, the exercises and the references of a new chapter NN, called NAME.

    \b
    interpwidgets new-chapter 08 sparse_autoencoders
    """
    from interpwidgets.course.skeleton import write

    with _in_a_sentence():
        for path in write(Path(), number, slug):
            click.echo(f"Wrote {path}")
    click.echo(f"Next: write it, then interpwidgets build, interpwidgets verify {number}")


@main.command(short_help="Try every solution, stub, variant and known mistake on its check.")
@click.argument("chapters", metavar="[NN]...", nargs=-1)
def verify(chapters: tuple[str, ...]) -> None:
    """Hold the checks of chapters NN (all of them without NN) to what they promise.

    Every solution and accepted variant passes, every unsolved cell fails cleanly, every known mistake is recognised.
    Ends with status 1 if one does not.
    """
    from interpwidgets.course import registry
    from interpwidgets.course.verify import count
    from interpwidgets.course.verify import verify as findings_of

    with _in_a_sentence():
        numbers = [registry.chapter(name).number for name in chapters] or list(registry.numbers())
        with click.progressbar(findings_of(numbers), length=count(numbers), label="Verifying") as bar:
            findings = list(bar)
    for finding in findings:
        click.echo(str(finding))
    wrong = sum(not finding.right for finding in findings)
    click.echo(f"\n{len(findings)} answers tried, {wrong} not judged as they should be.")
    if wrong:
        raise SystemExit(1)


# -- helping ----------------------------------------------------------------------------------------------------------


@main.command(short_help="Look whether everything is here; say what to do if not.")
def doctor() -> None:
    """Look whether everything is here, and say what to do about what is not.

    Ends with status 1 if something is missing that interpwidgets cannot do without.
    """
    from interpwidgets.doctor import examine

    click.echo(f"interpwidgets {__version__} at {Path(__file__).parent}")
    broken = 0
    for heading, findings in examine():
        click.echo(f"\n{heading}")
        for finding in findings:
            click.echo(f"  {finding.mark}  {finding.what:<32}{finding.found}")
            if finding.advice:
                click.echo(f"{'':>38}{finding.advice}")
            broken += finding.state == "broken"
    click.echo()
    if broken:
        click.echo(f"{broken} broken (!!): do what stands beside them. Still stuck? Show this page at {_urls.ISSUES}")
        raise SystemExit(1)
    click.echo("Everything needed is here. What is marked -- is optional. No network is needed to learn.")
