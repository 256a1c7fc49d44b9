"""Grades -> the files that gradebooks import: Canvas, Moodle, nbgrader, Gradescope, and a plain table.

    plan = Plan.made(roster, chapters, "")          # which column takes which chapter; raises before anything is graded
    write(Path("out"), batch, grades, roster, plan) # -> sentences about what was written and what was not

What each format is was read in these sources (November 2026):

- *Canvas*: ``lib/gradebook_exporter.rb`` and ``gradebook_importer.rb`` of instructure/canvas-lms. The importer finds
  students by ``ID`` and assignments by the number in ``<Assignment> (<number>)``; it reads ``;`` as well as ``,``. An
  empty cell *deletes* a grade that is there, so the cells of students without a submission stay as they came, and so do
  ``EX`` (excused) and every other column. The file is the teacher's own export, filled.
- *Moodle*: ``mod/assign/feedback/offline/importgradeslib.php`` of moodle/moodle. The importer needs ``Identifier``,
  ``Grade`` and ``Last modified (grade)``, skips a row whose grade is empty or above the maximum, and takes the text
  under ``Feedback comments`` as HTML. The file is the teacher's own worksheet, filled.
- *nbgrader*: ``nbgrader/plugins/export.py`` of jupyter/nbgrader, class CsvExportPlugin: its eleven columns. nbgrader
  writes 0 for who handed in nothing; we leave them out.
- *Gradescope*: "Autograder Specifications" at gradescope-autograders.readthedocs.io: ``score``, ``output``,
  ``execution_time``, ``extra_data`` and ``tests`` with ``name``, ``number``, ``score``, ``max_score``, ``output``.

A cell that already holds another grade or comment keeps it, and the student is named, unless ``--overwrite`` is given;
a row of Moodle's whose "Grade can be changed" is "No" is never filled.

Where a gradebook gives the assignment other points than the exercises have, grades are scaled to them and rounded to
two decimals. Questions are told in words and never in the points. Whoever handed in nothing gets no grade, and is
named. Lateness is named and takes no points.
"""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path

from interpwidgets._version import __version__
from interpwidgets.course.copies import write_whole
from interpwidgets.grading.grades import Batch, Grade, GradeError, Mark, Who
from interpwidgets.grading.roster import Roster

UNSAFE = "Graded with --unsafe: learner code ran without a sandbox, so these points can be forged."
HAND_IN = (  # what a student does about a file that is no notebook
    "hand in the notebook itself, the file that ends in .ipynb. Save it and take it with File > Download in Jupyter, "
    "with File > Download > Download .ipynb in Colab."
)
NOT_GRADED = f"Not graded, because no notebook could be read in what came. To have it graded, {HAND_IN}"

_ASSIGNMENT = re.compile(r"(.*?)\s*\((\d+)\)\s*")
_ACTIVE = ("=", "+", "-", "@")


def safe(cell: str) -> str:
    """A cell of one line that no spreadsheet takes for a formula."""
    plain = re.sub(r"[\x00-\x1f\x7f]+", " ", cell)
    return f"'{plain}" if plain.lstrip().startswith(_ACTIVE) else plain


# -- which column takes what --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """The columns of a teacher's file by chapter, empty for a plain list; and whether what stands there is replaced."""

    columns: Mapping[str, int]
    overwrite: bool = False

    @staticmethod
    def made(roster: Roster | None, chapters: Mapping[str, str], assignment: str, overwrite: bool = False) -> "Plan":
        """Which column takes which of these chapters (number -> title).

        ``assignment`` is part of the name of the one column to fill. Raises `GradeError` if there is no column or more
        than one.
        """
        if assignment and (roster is None or roster.kind != "canvas"):
            raise GradeError(
                "--assignment names a column of Canvas' export; give that file with --students, or leave it out."
            )
        if roster is None or roster.kind == "plain":
            if overwrite:
                raise GradeError("--overwrite is for Canvas' export or Moodle's worksheet; leave it out.")
            return Plan({})
        if roster.kind == "moodle":
            if len(chapters) > 1:
                told = ", ".join(sorted(chapters))
                raise GradeError(f"A Moodle worksheet is for one assignment; pick one of {told} with --chapter.")
            column = roster.column("grade")
            assert column is not None
            return Plan(dict.fromkeys(chapters, column), overwrite)
        names = _assignments(roster)
        chosen = {one: _chosen(roster, one, title, chapters, assignment, names) for one, title in chapters.items()}
        return Plan(chosen, overwrite)


def _assignments(roster: Roster) -> dict[int, str]:
    """Canvas' columns for assignments that take grades: their names without the number, by column."""
    possible = _possible(roster)
    return {
        at: named[1]
        for at, name in enumerate(roster.header)
        if (named := _ASSIGNMENT.fullmatch(name)) and "read only" not in (possible[at] if possible else "")
    }


def _possible(roster: Roster) -> Sequence[str]:
    name = roster.column("student")
    return next((row for row in roster.rows if name is not None and "Points Possible" in row[name]), ())


def _chosen(
    roster: Roster, number: str, title: str, chapters: Mapping[str, str], assignment: str, names: Mapping[int, str]
) -> int:
    if assignment:
        if len(chapters) > 1:
            raise GradeError("--assignment names one column, and there are several chapters; pick one with --chapter.")
        found = [at for at in names if assignment.casefold() in roster.header[at].casefold()]
    else:
        found = [at for at, name in names.items() if title.casefold() in name.casefold()]
        found = found or [at for at, name in names.items() if re.search(rf"(?<!\d)0?{int(number)}(?!\d)", name)]
        if not found and len(names) == len(chapters) == 1:
            found = list(names)
    if len(found) == 1:
        return found[0]
    there_are = "; ".join(roster.header[at] for at in names) or "none"
    what = "More than one column" if found else "No column"
    raise GradeError(
        f"{what} of {roster.path} fits chapter {number}, {title}. Name it with --assignment. "
        f"Its assignments: {there_are}."
    )


# -- writing ------------------------------------------------------------------------------------------------------


def write(out: Path, batch: Batch, grades: Sequence[Grade], roster: Roster | None, plan: Plan) -> list[str]:
    """Write every gradebook that these grades can fill; the sentences say what a teacher should know about them."""
    unsafe = any(grade.unsafe for grade in grades)
    lead = "unsafe-" if unsafe else ""  # a file without room for a remark has it in its name
    write_whole(out / "grades.csv", _table(grades, batch).encode("utf-8-sig", "replace"))
    write_whole(out / f"{lead}nbgrader.csv", _nbgrader(grades).encode("utf-8", "replace"))
    for grade in grades:
        if grade.graded:
            folder = f"{batch.file_name(grade.student)}-{grade.chapter}"
            write_whole(out / "gradescope" / folder / "results.json", _gradescope(grade).encode())
    if roster is None:
        return []
    if roster.kind == "plain":
        return list(_strangers(roster, grades))
    rows, told = _filled(roster, plan, grades)
    name = "canvas.csv" if roster.kind == "canvas" else "moodle.csv"
    write_whole(out / f"{lead if roster.kind == 'canvas' else ''}{name}", roster.written(rows))
    return told


def placed(roster: Roster, grades: Iterable[Grade]) -> tuple[dict[int, list[Grade]], list[Grade]]:
    """The grades by the row of their student, and those whose student is not in the list, or is there twice."""
    found: dict[int, list[Grade]] = {}
    lost: list[Grade] = []
    for grade in grades:
        row = roster.row(grade.student)
        if row is None:
            lost.append(grade)
        else:
            found.setdefault(row, []).append(grade)
    for row, theirs in list(found.items()):
        if len({grade.student.key for grade in theirs}) > 1:  # two submissions claim one student
            lost += found.pop(row)
    return found, lost


def missing(roster: Roster, grades: Iterable[Grade]) -> list[str]:
    """The students of the list who handed in nothing."""
    there, _ = placed(roster, grades)
    return [name for row, name in roster.names.items() if row not in there]


def _filled(roster: Roster, plan: Plan, grades: Sequence[Grade]) -> tuple[list[list[str]], list[str]]:
    rows = [list(row) for row in roster.rows]
    there, _ = placed(roster, grades)
    left: dict[str, list[str]] = {}
    double = twice(grades)
    for at, theirs in there.items():
        _advise(roster, rows[at], theirs, plan.overwrite)
        for grade in theirs:
            column = plan.columns.get(grade.chapter)
            if column is not None and grade.graded:
                why, what = _fill(roster, rows[at], column, grade, _comment_cell(grade), plan.overwrite)
                who = grade.student
                left.setdefault(why, []).append(f"{who.name}{f' [{who.key}]' if who.name in double else ''}{what}")
    told = [
        _LEFT[why].format(roster.path.name, ", ".join(some))
        for why in _LEFT
        for some in _by_twenties(sorted(left.get(why, [])))
    ]
    return rows, [*_strangers(roster, grades), *told, *_scaled(roster, plan, grades)]


_LEFT = {
    "excused": "Excused in {0}, and left so: {1}.",
    "closed": "{0} says that these grades may not be changed, so they are left as they are: {1}.",
    "kept": "Grades kept, because {0} holds others already: {1}. --overwrite puts ours there.",
    "comment": "Comments kept, because {0} holds others already: {1}. --overwrite puts ours there.",
}


def _by_twenties(names: Sequence[str]) -> list[Sequence[str]]:
    """A report cuts long sentences; no name may be lost."""
    return [names[at : at + 20] for at in range(0, len(names), 20)]


def _strangers(roster: Roster, grades: Sequence[Grade]) -> Iterable[str]:
    """Who handed something in and is not in the list, and who is in the list and handed in nothing."""
    _, lost = placed(roster, grades)
    if lost:
        names = ", ".join(sorted({grade.student.name for grade in lost}))
        so = "" if roster.kind == "plain" else ", so not written into it"
        yield f"Not in {roster.path.name}, or there twice{so}: {names}."
    if nothing := missing(roster, grades):
        yield f"In {roster.path.name}, and nothing handed in: {', '.join(nothing)}. They get no grade, not zero."


def _comment_cell(grade: Grade) -> str:
    return safe(escape(comment(grade)))


def _advise(roster: Roster, row: list[str], theirs: Sequence[Grade], overwrite: bool) -> None:
    """Tell in Moodle's comment what to do about a submission that could not be read; the grade stays as it is."""
    changeable, at = roster.column("grade can be changed"), roster.column("feedback comments")
    closed = changeable is not None and row[changeable].strip().casefold() == "no"
    if roster.kind != "moodle" or at is None or closed or any(one.graded or one.unfinished for one in theirs):
        return
    if overwrite or not row[at].strip():
        row[at] = _comment_cell(theirs[0])


def _fill(roster: Roster, row: list[str], column: int, grade: Grade, told: str, overwrite: bool) -> tuple[str, str]:
    """Put a grade into its row, and a comment into Moodle's; what is left as it was, and the two values, or "", "".

    A grade that a teacher gave by hand stays, and then so does the comment beside it.
    """
    stands, ours = row[column].strip(), number(grade.earned, grade.points, _most(roster, row, column))
    changeable = roster.column("grade can be changed")
    if stands.upper() == "EX":
        return "excused", ""
    if roster.kind == "moodle" and changeable is not None and row[changeable].strip().casefold() == "no":
        return "closed", "" if _same(stands, ours) else f" ({stands or 'no grade'}; we have {ours})"
    if stands and not _same(stands, ours) and not overwrite:
        return "kept", f" ({stands}; we have {ours})"
    row[column] = ours
    at = roster.column("feedback comments") if roster.kind == "moodle" else None
    if at is None:
        return "", ""
    if _words(row[at]) not in ("", _words(told)) and not _OURS.fullmatch(_words(row[at])) and not overwrite:
        return "comment", ""
    row[at] = told
    return "", ""


def _same(stands: str, ours: str) -> bool:
    try:
        return abs(float(stands.replace(",", ".")) - float(ours)) < 0.006
    except ValueError:
        return stands == ours


def _words(html: str) -> str:
    """A comment without the markup that Moodle puts round it."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


_OURS = re.compile(  # what `comment` writes, with not a word of a teacher in it
    rf"{re.escape(NOT_GRADED)}|(?:{re.escape(UNSAFE)} )?(?:Handed in late\. )?\d+ of \d+ points: \d+ of \d+ exercises "
    r"pass\.(?: Questions, counted apart: \d+ of \d+ right\.)?(?: \d\d\.\d+ \w+, known mistake: [^.]*\.)*"
    r"(?: Not yet: \d\d\.\d+ \w+(?:, \d\d\.\d+ \w+)*\.)?(?: Not started: \d\d\.\d+ \w+(?:, \d\d\.\d+ \w+)*\.)?"
)


def acquainted(roster: Roster, students: Iterable[Who]) -> None:
    """Raise `GradeError` if the list is not of this class: none of these students is in it."""
    asked = {student.key: student for student in students}.values()
    foreign = roster.kind == "plain" and {one.moodle for one in asked} & roster.numbered
    if asked and (foreign or all(roster.row(one) is None for one in asked)):
        columns = ", ".join(roster.header[:10])
        raise GradeError(
            f"{roster.path} looks like Moodle's grading worksheet in another language than English; its columns are "
            f"{columns}. Needed are Identifier, Full name, Grade and so on: set your language in Moodle to English and "
            "download the worksheet again."
            if foreign
            else f"{roster.path} has none of the {len(asked)} students who handed something in; its columns are "
            f"{columns}. Needed is a column login, email or name that says who they are as the submissions do, Canvas' "
            "export of the gradebook, or Moodle's grading worksheet in English."
        )


def _most(roster: Roster, row: Sequence[str], column: int) -> float | None:
    """The points that the gradebook gives for the whole assignment, if it says so."""
    most = roster.column("maximum grade")
    cells = _possible(roster) if roster.kind == "canvas" else row
    at = column if roster.kind == "canvas" else most
    try:
        found = float(cells[at].replace(",", ".")) if at is not None and cells else 0.0
    except ValueError:
        return None
    return found if 0 < found < 1e6 else None


def _scaled(roster: Roster, plan: Plan, grades: Sequence[Grade]) -> Iterable[str]:
    for chapter, column in plan.columns.items():
        points = next((grade.points for grade in grades if grade.chapter == chapter and grade.graded), 0)
        most = next(filter(None, (_most(roster, roster.rows[at], column) for at in roster.students)), None)
        if points and most and most != points:
            yield f"{roster.path.name} gives chapter {chapter} {most:g} points, its exercises have {points}: scaled."


def number(earned: int, points: int, most: float | None) -> str:
    """A grade as gradebooks write it: scaled to ``most`` points, at most two decimals."""
    scaled = earned if most is None or not points else earned * most / points
    return f"{round(scaled, 2):.2f}".rstrip("0").rstrip(".")


def comment(grade: Grade) -> str:
    """A grade in a few sentences of ours alone; nothing that a learner wrote is in it."""
    if not grade.graded:
        return NOT_GRADED
    passed = sum(mark.state == "passed" for mark in grade.marks)
    parts = [f"{grade.earned} of {grade.points} points: {passed} of {len(grade.marks)} exercises pass."]
    if grade.replies:
        right = sum(reply.earned > 0 for reply in grade.replies)
        parts.append(f"Questions, counted apart: {right} of {len(grade.replies)} right.")
    parts += [f"{mark.id} {mark.name}, known mistake: {mark.mistake.name}." for mark in grade.marks if mark.mistake]
    tried = [mark for mark in grade.marks if mark.state in ("differs", "stopped") and not mark.mistake]
    parts += [f"Not yet: {_named(tried)}."] if tried else []
    opened = [mark for mark in grade.marks if mark.state in ("unstarted", "missing")]
    parts += [f"Not started: {_named(opened)}."] if opened else []
    return " ".join([*([UNSAFE] if grade.unsafe else []), *(["Handed in late."] if grade.late else []), *parts])


def _named(marks: Sequence[Mark]) -> str:
    return ", ".join(f"{mark.id} {mark.name}" for mark in marks)


# -- tables of our own --------------------------------------------------------------------------------------------


def _csv(rows: Iterable[Sequence[str]], newline: str = "\r\n") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=newline).writerows([safe(cell) for cell in row] for row in rows)
    return text.getvalue()


def _table(grades: Sequence[Grade], batch: Batch) -> str:
    """One row for each student and chapter, one column for each exercise and question."""
    ids = sorted({mark.id for grade in grades for mark in grade.marks}, key=_order)
    asked = sorted({reply.id for grade in grades for reply in grade.replies}, key=_order)
    head = ["student", "login", "chapter", "points", "of", "questions right", "questions", "late", "not graded because"]
    tail = ["email", "key", "flags", "submitted as", "feedback", "sandbox", "release", "batch", "notebook sha256"]
    rows = [[*head, *ids, *asked, *tail]]
    for grade in grades:
        marks = {mark.id: str(mark.earned) for mark in grade.marks}
        replies = {reply.id: str(reply.earned) for reply in grade.replies}
        right = str(sum(reply.earned > 0 for reply in grade.replies)) if grade.replies else ""
        who = grade.student
        row = [who.name, who.login, grade.chapter]
        row += [str(grade.earned), str(grade.points)] if grade.graded else ["", ""]
        row += [right, str(len(grade.replies) or ""), "late" if grade.late else "", grade.trouble]
        row += [*(marks.get(one, "") for one in ids), *(replies.get(one, "") for one in asked)]
        row += [
            who.email,
            who.key,
            " ".join(grade.flags),
            grade.source,
            f"feedback/{batch.file_name(grade.student)}.html",
        ]
        row += ["none: " + UNSAFE if grade.unsafe else "on", grade.version, grade.batch, grade.notebook]
        rows.append(row)
    return _csv(rows)


def _order(id: str) -> tuple[str, int, str]:
    chapter, _, rest = id.partition(".")
    return chapter, int(rest) if rest.isdecimal() else 10**6, rest


def _nbgrader(grades: Sequence[Grade]) -> str:
    head = "assignment duedate timestamp student_id last_name first_name email raw_score late_submission_penalty score"
    rows = [[*head.split(), "max_score"]]
    ids = _ids(grades)
    for grade in grades:
        if grade.graded:
            earned, points = (f"{value:.1f}" for value in (grade.earned, grade.points))
            who = grade.student
            told = [assignment_name(grade), "", "", ids[who.key], "", "", who.email]
            rows.append([*told, earned, "0.0", earned, points])
    return _csv(rows, "\n")


def _ids(grades: Iterable[Grade]) -> dict[str, str]:
    """What nbgrader calls the students, by their keys: the login (in its own layout the folder), the name of a plain
    folder, or the name; the key where two would be called the same.
    """
    found = {who.key: who.login or (who.name if ":" in who.key else who.key) for who in (one.student for one in grades)}
    count = Counter(found.values())
    return {key: id if count[id] == 1 else key for key, id in found.items()}


def assignment_name(grade: Grade) -> str:
    """The name of the chapter's notebook without its suffix, by which nbgrader knows the assignment."""
    from interpwidgets.course import CourseError, chapters

    try:
        return chapters.find(grade.chapter, "chapters").stem
    except CourseError:
        return grade.chapter


def _gradescope(grade: Grade) -> str:
    tests = [
        {
            "name": f"{mark.id} {mark.name}",
            "number": mark.id,
            "score": mark.earned,
            "max_score": mark.points,
            "output": _said(mark),
        }
        for mark in grade.marks
    ]
    right = sum(reply.earned > 0 for reply in grade.replies)
    told = [UNSAFE] if grade.unsafe else []
    told += ["Handed in late."] if grade.late else []
    told += [f"Questions, counted apart: {right} of {len(grade.replies)} right."] if grade.replies else []
    extra = {"batch": grade.batch, "release": __version__, "notebook_sha256": grade.notebook, "unsafe": grade.unsafe}
    results = {
        "score": grade.earned,
        "execution_time": round(grade.seconds),
        "output": " ".join(told),
        "extra_data": extra,
        "tests": tests,
    }
    return json.dumps(results, indent=1, ensure_ascii=True)


def _said(mark: Mark) -> str:
    parts = [mark.line]
    if mark.mistake:
        parts += [f"This is a known mistake: {mark.mistake.name}.", mark.mistake.sentence, mark.mistake.next]
    elif mark.error:
        parts += [mark.error, *mark.sentences]
    elif mark.state == "differs":
        parts += [*mark.sentences, f"Next: {mark.next}" if mark.next else ""]
    return re.sub(r"(?<![\w*])\*([A-Za-z][\w ]{0,40}\w)\*(?![\w*])", r"\1", " ".join(filter(None, parts)))


def twice(grades: Sequence[Grade]) -> set[str]:
    """The names that more than one student has, so that a report tells them apart by their key."""
    count = Counter(name for name, _ in {(grade.student.name, grade.student.key) for grade in grades})
    return {name for name, times in count.items() if times > 1}
