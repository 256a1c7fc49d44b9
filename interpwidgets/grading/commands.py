"""The command ``interpwidgets grade``: submissions in, a class report, feedback pages and gradebooks out.

    interpwidgets grade submissions.zip --out grades
    interpwidgets grade submissions.zip --out grades --students canvas.csv

Ends with status 0 if every submission was graded, 3 if some could not be (the report says which and why), 1 if nothing
was begun, and 130 after Ctrl-C; the same command then goes on where it was.
"""

import re
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from interpwidgets import _urls
from interpwidgets._version import __version__
from interpwidgets.course import CourseError
from interpwidgets.course.copies import write_whole
from interpwidgets.grading.pages import count

if TYPE_CHECKING:
    from interpwidgets.grading.batch import Crew, Run
    from interpwidgets.grading.gradebooks import Plan
    from interpwidgets.grading.grades import Grade, Who
    from interpwidgets.grading.roster import Roster

_PATH = click.Path(path_type=Path)

UNGRADED = 3  # the status when some submissions could not be graded
STOPPED = 130  # and after Ctrl-C
FEEDBACK_ZIP = "moodle-feedback.zip"

CONTAINER = "containers/grading"
_WARNING = (
    "Without a sandbox (--unsafe): submitted code runs as you, can read and change what you can, and can forge its own "
    "points. This is written on every grade, page and gradebook."
)


@click.command(short_help="Grade the notebooks of a class.")
@click.argument("submissions", type=_PATH)
@click.option("--out", type=_PATH, required=True, help="A new folder for the grades; the same again to go on.")
@click.option("--chapter", default="", metavar="NN", help="Grade this chapter alone.")
@click.option(
    "--students",
    type=_PATH,
    metavar="CSV",
    help="The class: Canvas' export of the gradebook or Moodle's grading worksheet, which are filled, or any list.",
)
@click.option("--assignment", default="", metavar="NAME", help="The column of Canvas' export, if its name is not ours.")
@click.option("--overwrite", is_flag=True, help="Replace grades and comments that CSV already has by ours.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes that grade.  [default: one per core]")
@click.option("--scheduler", default="", metavar="tcp://...", help="Grade on a Dask cluster instead of this machine.")
@click.option("--unsafe", is_flag=True, help="Run submitted code without a sandbox. It can forge its own points.")
def grade(
    submissions: Path,
    out: Path,
    chapter: str,
    students: Path | None,
    assignment: str,
    overwrite: bool,
    workers: int | None,
    scheduler: str,
    unsafe: bool,
) -> None:
    """Grade SUBMISSIONS, a folder or a zip file of notebooks, and write reports and gradebooks into a folder.

    \b
    interpwidgets grade submissions.zip --out grades
    interpwidgets grade submissions.zip --out grades --students canvas.csv

    Canvas', Moodle's and nbgrader's layouts are known, and any mix of chapters. A run that was stopped goes on with the
    same command, and nothing is graded twice.
    """
    from interpwidgets.grading.batch import Run
    from interpwidgets.grading.gradebooks import Plan, acquainted
    from interpwidgets.grading.roster import Roster

    with _in_a_sentence(out):
        _allowed(unsafe, bool(scheduler))
        roster = Roster.read(students) if students else None
        with Run(submissions, out, chapter, unsafe) as run:
            if roster:
                acquainted(roster, [one.student for one in run.asked])
            plan = Plan.made(roster, run.chapters, assignment, overwrite)
            begin = time.monotonic()
            grades = _graded(run, _crew(workers, scheduler, unsafe))
            told = write_all(out, run, grades, roster, plan, time.monotonic() - begin)
    _summary(out, grades, told, run.others)
    if not all(one.graded for one in grades):
        raise SystemExit(UNGRADED)


@contextmanager
def _in_a_sentence(out: Path) -> Iterator[None]:
    try:
        yield
    except CourseError as error:
        raise click.ClickException(str(error)) from None
    except OSError as error:
        raise click.ClickException(
            f"{error.filename or out}: {error.strerror}. What is graded so far is kept."
        ) from None
    except KeyboardInterrupt:
        click.echo("\nStopped. What is graded so far is kept; the same command goes on from here.", err=True)
        raise SystemExit(STOPPED) from None


def _allowed(unsafe: bool, elsewhere: bool) -> None:
    """Refuse where learner code could not be shut in; a cluster's machines refuse for themselves."""
    from interpwidgets.grading import sandbox

    if unsafe:
        click.secho(_WARNING, fg="yellow", err=True)
    elif not elsewhere and (reason := sandbox.refusal()):
        raise CourseError(
            f"{reason}\nThe recipe of a container in which it works is in {CONTAINER} of the repository, "
            f"{_urls.REPOSITORY}. --unsafe grades without a sandbox, and is written on every grade."
        )


def _crew(workers: int | None, scheduler: str, unsafe: bool) -> "Crew":
    from interpwidgets.grading.batch import cores, local

    if scheduler:
        from interpwidgets.grading.cluster import remote

        return remote(scheduler, unsafe)
    return local(workers or cores(), unsafe)


def _graded(run: "Run", crew: "Crew") -> "list[Grade]":
    """All grades; of the pictures, which stay in the files, one for each known mistake."""
    students = len({one.student.key for one in run.asked})
    chapters = ", ".join(run.chapters) or "none"
    click.echo(f"{count(students, 'student')}, {count(len(run.asked), 'submission')}, chapters: {chapters}")
    found: list[Grade] = []
    kept: set[tuple[str, str]] = set()
    seen = sys.stdout.isatty()
    if not seen:
        click.echo("Starting the sandboxes.")
    bar: Any = click.progressbar(
        length=len(run.asked), label="Grading", item_show_func=lambda _: _so_far(found), show_pos=True
    )
    step = max(1, min(25, -(-len(run.asked) // 10)))
    with closing(run.grades(crew)) as grades, bar:
        for one in grades:
            found.append(slim(one, kept))
            bar.update(1, one)
            if not seen and len(found) % step == 0:
                click.echo(f"  {len(found)} of {len(run.asked)}")
    return found


def slim(grade: "Grade", kept: set[tuple[str, str]]) -> "Grade":
    """The grade without the pictures of mistakes that have been seen before; hundreds of them must fit in memory."""
    marks = []
    for mark in grade.marks:
        key = (mark.id, mark.mistake.name) if mark.mistake else None
        marks.append(mark if key and key not in kept else replace(mark, picture=""))
        kept.update([key] if key else [])
    return replace(grade, marks=tuple(marks))


def _so_far(found: "Sequence[Grade]") -> str:
    if not found:
        return "starting the sandboxes"
    students = len({one.student.key for one in found})
    return f"{count(students, 'student')}, {count(sum(len(one.marks) for one in found), 'exercise')}"


# -- what is written ----------------------------------------------------------------------------------------------


def write_all(
    out: Path, run: "Run", grades: "list[Grade]", roster: "Roster | None", plan: "Plan", seconds: float
) -> list[str]:
    """Write report, feedback and gradebooks; returns what a teacher should know about the gradebooks."""
    from interpwidgets.grading import gradebooks
    from interpwidgets.grading.class_report import Notes, class_report
    from interpwidgets.grading.grades import Who

    grades[:] = sorted((_named(one, roster) for one in grades), key=lambda one: (one.student.name, one.chapter))
    told = gradebooks.write(out, run.batch, grades, roster, plan)
    _feedback(out, run, roster)
    missing = {}
    if roster:
        for number in run.chapters:
            there = [one for one in grades if one.chapter in (number, "")]  # a file that is no notebook is something
            missing[number] = gradebooks.missing(roster, there)
    others = [(one.where, one.became) for one in run.seen if not one.became.startswith("graded as")]
    notes = Notes(run.batch.id, __version__, seconds, missing, others, told)

    def page_of(student: Who) -> str:
        return f"feedback/{run.batch.file_name(student)}.html"

    write_whole(out / "class.html", class_report(grades, notes, page_of).encode())
    return told


def _named(grade: "Grade", roster: "Roster | None") -> "Grade":
    """The grade with what the teacher's list says of the student: name, login, address, and how late it was."""
    if roster is None:
        return grade
    told = roster.lateness(grade.student)
    flags = (f"Moodle says: {told} late.",) if told else ()
    student = roster.completed(grade.student)
    return replace(grade, student=student, late=grade.late or bool(told), flags=(*flags, *grade.flags))


def _feedback(out: Path, run: "Run", roster: "Roster | None") -> None:
    """A page for each student, made from the files, so that only one student's pictures are in memory."""
    from interpwidgets.grading.feedback import feedback
    from interpwidgets.grading.grades import Grade

    back: dict[str, Path] = {}
    by_student = sorted(run.asked, key=lambda one: (one.student.key, one.submission.chapter))
    for _, theirs in groupby(by_student, key=lambda one: one.student.key):
        asked = list(theirs)
        grades = [_named(Grade.read(one.file), roster) for one in asked]
        name = run.batch.file_name(grades[0].student)
        write_whole(out / "feedback" / f"{name}.html", feedback(grades).encode())
        if grades[0].student.moodle:
            back[_moodle_name(grades[0].student)] = out / "feedback" / f"{name}.html"
        for old in (out / "feedback").glob(f"*-{name.rpartition('-')[2]}.html"):
            if old.stem != name:
                old.unlink()  # of a run that knew the student by another name
    if back:
        _zipped(out / FEEDBACK_ZIP, back)


def _moodle_name(student: "Who") -> str:
    """The name of a page for Moodle's "Upload multiple feedback files in a zip".

    Its importer takes ``name_participant_plugintype_plugin_file``, as the download of all submissions names files
    (``mod/assign/feedback/file/importziplib.php`` of moodle/moodle); no other part may hold a ``_``.
    """
    name = re.sub(r"[^\w .'-]|_", " ", student.name).strip(" .") or "Participant"
    return f"{name}_{student.moodle}_assignsubmission_file_feedback.html"


def _zipped(path: Path, pages: "dict[str, Path]") -> None:
    """One zip file of these pages, all of it or none."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as file:
        for name, page in pages.items():
            file.write(page, name)
    write_whole(path, made.getvalue())


def _summary(out: Path, grades: "Sequence[Grade]", told: Sequence[str], others: int) -> None:
    lost = [one for one in grades if not one.graded]
    click.echo(f"{len(grades) - len(lost)} of {len(grades)} submissions graded.")
    for one in lost[:10]:
        click.echo(f"  not graded: {one.student.name} ({one.source}). {one.trouble}")
    if len(lost) > 10:
        click.echo(f"  and {len(lost) - 10} more; the class report has them all.")
    if others:
        click.echo(f"{count(others, 'notebook')} of other chapters left out.")
    for sentence in told:
        click.echo(sentence)
    click.echo(f"Open {out / 'class.html'}; the pages for students are in {out / 'feedback'}.")
