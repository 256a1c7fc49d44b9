"""What one submission earned, as data: written as JSON, and read again only if nothing in it is out of place.

    grade = Grade.read(Path("out/grades/noor-haddad-3fa9c1d20b-05.json"))
    grade.earned, grade.points          # 6, 15: exercises alone; questions are counted apart
    grade.marks[3].mistake.name         # "the sign is turned"

    batch = Batch.at(Path("out"), "submissions.zip")     # makes out/.batch, readable by you alone, or reads it
    batch.seed("noor", "05.4")          # the inputs of this student in this exercise: the same on a retry

A grade says all that is needed to make it again: the batch whose secret made the inputs, the seed of each exercise, the
release, and the hash of the notebook.
"""

import builtins
import dataclasses
import hashlib
import hmac
import json
import re
import secrets
import types
import typing
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from interpwidgets._version import __version__
from interpwidgets.course import CourseError
from interpwidgets.course.copies import PASSING, write_whole

FORMAT = 1
State = Literal["passed", "differs", "stopped", "unstarted", "missing"]

_Data = TypeVar("_Data")


class GradeError(CourseError, ValueError):
    """Why a batch or a grade cannot be used, in one sentence, and what to do."""


# -- what is graded -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Who:
    """A student, by what the layout of the submissions tells: ``key`` is never shared by two, the rest may be empty.

    ``canvas`` and ``moodle``: the numbers by which these systems know the student; ``number``: the school's own.
    """

    key: str
    name: str
    login: str = ""
    email: str = ""
    number: str = ""
    canvas: str = ""
    moodle: str = ""


@dataclass(frozen=True)
class Slip:
    """A known mistake that an answer equals: its name, what it does, and one thing to look at next."""

    name: str
    sentence: str
    next: str


@dataclass(frozen=True)
class Mark:
    """One exercise: what was earned and why. ``seed`` makes its inputs again.

    ``held`` properties hold and ``broken`` is the first that does not, on the case named ``case``. ``lines`` are the
    learner's own lines where the code stopped, ``at`` the number of that line. ``picture`` is a piece of HTML, drawn
    where target and answer were at hand; everything in it is escaped.
    """

    id: str
    name: str
    title: str
    points: int
    earned: int
    state: State
    headline: str
    seed: int
    held: tuple[str, ...] = ()
    broken: str = ""
    case: str = ""
    sentences: tuple[str, ...] = ()
    next: str = ""
    mistake: Slip | None = None
    error: str = ""
    lines: tuple[tuple[int, str], ...] = ()
    at: int | None = None
    picture: str = ""

    @property
    def line(self) -> str:
        """The verdict in a line: "Stopped in your line 2.", "4 of 8 values differ." """
        return f"Stopped {self.headline}" if self.state == "stopped" else self.headline

    @property
    def unusual(self) -> bool:
        """Whether the code ended as mistakes seldom do: it went on without end, took all memory, ended the program."""
        kind = getattr(builtins, self.error.partition(":")[0], None)
        ordinary = isinstance(kind, type) and issubclass(kind, Exception) and kind is not MemoryError
        return bool(self.error) and not ordinary


@dataclass(frozen=True)
class Reply:
    """One question: what was given (as text, empty if nothing was), whether it is right, and what is said to it."""

    id: str
    title: str
    points: int
    earned: int
    given: str = ""
    said: str = ""


@dataclass(frozen=True)
class Grade:
    """One student in one chapter.

    ``trouble`` is the sentence why nothing could be graded (then there are no marks, and no points). ``flags`` state
    facts for the teacher and take no points. ``unsafe``: learner code ran without walls. ``unfinished``: the trouble
    was ours, and the next run tries again. ``seconds``: of the CPU, of the grader and of the learner's code together.
    """

    student: Who
    chapter: str
    title: str
    source: str
    notebook: str
    batch: str
    version: str = __version__
    marks: tuple[Mark, ...] = ()
    replies: tuple[Reply, ...] = ()
    flags: tuple[str, ...] = ()
    trouble: str = ""
    late: bool = False
    unsafe: bool = False
    unfinished: bool = False
    seconds: float = 0.0
    when: str = ""
    format: int = FORMAT

    @property
    def earned(self) -> int:
        """The points of the exercises that passed."""
        return sum(mark.earned for mark in self.marks)

    @property
    def points(self) -> int:
        """The points of all exercises."""
        return sum(mark.points for mark in self.marks)

    @property
    def graded(self) -> bool:
        """False if nothing could be judged; ``trouble`` says why."""
        return not self.trouble

    def as_json(self) -> str:
        """The grade as JSON, the same text for the same grade."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=True, sort_keys=True, separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> "Grade":
        """The grade of a JSON text; raises `GradeError` if a field is missing, unknown or of another type."""
        try:
            data = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise GradeError("This is no grade: expected the JSON that `interpwidgets grade` writes.") from None
        if isinstance(data, dict) and data.get("format") != FORMAT:
            raise GradeError(
                f"This grade has the format {data.get('format')!r}; this release reads {FORMAT}. Grade the batch again."
            )
        grade = _strict(Grade, data, "grade")
        for mark in grade.marks:
            if not (mark.earned == 0 or (mark.earned == mark.points and mark.state == "passed")):
                raise GradeError(f"In this grade {mark.id} earns {mark.earned} points and is {mark.state}.")
        return grade

    def write(self, path: Path) -> None:
        """Write the grade, all of it or nothing."""
        write_whole(path, self.as_json().encode())

    @staticmethod
    def read(path: Path) -> "Grade":
        """Read a grade; raises `GradeError`, with the file in its sentence, if it is not one."""
        try:
            return Grade.from_json(path.read_text(encoding="utf-8"))
        except (GradeError, UnicodeDecodeError) as error:
            raise GradeError(f"{path}: {error}") from None


# -- strictly from JSON -------------------------------------------------------------------------------------------


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _strict(kind: type[_Data], data: Any, where: str) -> _Data:
    """The dataclass ``kind`` from what JSON gave: every field there, of its type, and nothing else."""
    if not isinstance(data, dict):
        raise GradeError(f"In this grade `{where}` should be an object; it is {type(data).__name__}.")
    hints = typing.get_type_hints(kind)
    if wrong := sorted(hints.keys() ^ data.keys()):
        told = "missing" if wrong[0] in hints else "unknown"
        raise GradeError(f"In this grade `{where}.{wrong[0]}` is {told}.")
    return kind(**{name: _value(hint, data[name], f"{where}.{name}") for name, hint in hints.items()})


def _value(hint: Any, value: Any, where: str) -> Any:
    origin, inside = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _strict(cast("type[Any]", hint), value, where)
    if origin is Literal and isinstance(value, str) and value in inside:
        return value
    if origin is types.UnionType:
        return None if value is None else _value(inside[0], value, where)
    if origin is tuple and isinstance(value, list):
        if inside[-1] is Ellipsis:
            return tuple(_value(inside[0], one, f"{where}[{at}]") for at, one in enumerate(value))
        if len(value) == len(inside):
            return tuple(_value(one, part, where) for one, part in zip(inside, value, strict=True))
    if hint is float and type(value) in (int, float):
        return float(value)
    if hint in (str, int, bool) and type(value) is hint:
        return value
    raise GradeError(f"In this grade `{where}` should be {_said(hint)}; it is {str(value)[:40]!r}.")


def _said(hint: Any) -> str:
    return {str: "text", int: "a whole number", float: "a number", bool: "true or false"}.get(hint, "of another form")


# -- the batch ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """One run over the submissions of a class, and its secret: who knows it knows the inputs beforehand."""

    id: str
    submissions: str
    secret: bytes = field(repr=False)

    @staticmethod
    def at(out: Path, submissions: str) -> "Batch":
        """The batch of a folder; a new one if the folder is empty or not there yet.

        ``submissions`` names where the submissions came from. Raises `GradeError` if the folder holds anything else or
        the grades of other submissions.
        """
        if out.exists() and not out.is_dir():
            raise GradeError(f"{out} is a file; name a folder for the grades with --out.")
        file = out / ".batch"
        if file.exists():
            batch = Batch._read(file)
            if batch.submissions != submissions:
                raise GradeError(
                    f"{out} holds the grades of {batch.submissions}. To go on with them, put the newer download there; "
                    f"for the grades of {submissions}, name another folder with --out."
                )
            return batch
        if out.exists() and any(not _passing(one) for one in out.iterdir()):
            raise GradeError(f"{out} is not empty and holds no grades of ours; name a new folder with --out.")
        batch = Batch(secrets.token_hex(8), submissions, secrets.token_bytes(32))
        made = {"format": FORMAT, "id": batch.id, "submissions": submissions, "secret": batch.secret.hex()}
        write_whole(file, json.dumps(made).encode(), private=True)
        return batch

    @staticmethod
    def _read(file: Path) -> "Batch":
        try:
            made = json.loads(file.read_text(encoding="utf-8"))
            if not made["format"] == FORMAT:
                raise ValueError
            return Batch(str(made["id"]), str(made["submissions"]), bytes.fromhex(made["secret"]))
        except (OSError, ValueError, KeyError, TypeError):
            raise GradeError(
                f"{file} cannot be read, so the batch cannot go on. Name a new folder with --out, to grade it anew."
            ) from None

    def seed(self, student: str, exercise: str) -> int:
        """The seed of a student's inputs in an exercise: HMAC-SHA256(secret, student, exercise), its first 31 bits.

        The same on every retry, so that somebody who asks for a second look meets the same inputs, and a student who
        hands in another notebook in the same batch too; with another batch, student or exercise another.
        """
        parts = "".join(f"{len(part)}:{part}" for part in (student, exercise))  # no two pairs spell the same
        return int.from_bytes(self._hash(parts)[:4], "big") >> 1

    def file_name(self, student: Who) -> str:
        """A name for the files of a student that is safe everywhere, tells who it is, and cannot be guessed."""
        plain = unicodedata.normalize("NFKD", student.name or student.key).encode("ascii", "ignore").decode()
        slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:40].strip("-")
        return f"{slug or 'student'}-{self._hash(f'file:{student.key}').hex()[:12]}"

    def _hash(self, text: str) -> bytes:
        return hmac.new(self.secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def _passing(path: Path) -> bool:
    """What is no matter: our lock, and parts of files that were never finished."""
    return path.name == ".lock" or path.name.startswith(PASSING)


# -- from a verdict -----------------------------------------------------------------------------------------------


def mark_of(verdict: Any, seed: int, missing: bool = False) -> Mark:
    """What a `interpwidgets.course.verdict.Verdict` earns; ``missing``: there was no such answer to judge."""
    from interpwidgets.grading.picture import drawn

    exercise, failure = verdict.exercise, verdict.failure
    stop = failure.stop if failure else None
    mistake = verdict.mistake
    return Mark(
        id=exercise.id,
        name=exercise.name,
        title=exercise.title,
        points=exercise.points,
        earned=exercise.points if verdict.state == "passed" else 0,
        state="missing" if missing and verdict.state == "unstarted" else verdict.state,
        headline=verdict.headline,
        seed=seed,
        held=tuple(verdict.held),
        broken=failure.property if failure else "",
        case=verdict.case,
        sentences=tuple(filter(None, failure.sentences)) if failure else (),
        next=failure.next if failure else "",
        mistake=Slip(mistake.name, mistake.sentence, mistake.next) if mistake else None,
        error=f"{stop.error}: {stop.message}"[:400].rstrip(": ") if stop else "",
        lines=tuple((number, line[:200]) for number, line in stop.lines[:8]) if stop else (),
        at=stop.at if stop else None,
        picture=drawn(verdict),
    )


def replies(questions: Sequence[Any], given: Mapping[str, Any]) -> tuple[Reply, ...]:
    """The questions of a chapter with what was given to each: an id without an answer was never answered."""
    from interpwidgets.course.questions import judged

    found = []
    for question in questions:
        value = given.get(question.id)
        if value is None:
            found.append(Reply(question.id, question.title, question.points, 0))
            continue
        asked = judged(question, value)
        earned = question.points if asked.right else 0
        found.append(Reply(question.id, question.title, question.points, earned, str(value)[:60], asked.said))
    return tuple(found)
