"""The teacher's list of students, as Canvas, Moodle or a spreadsheet exports it, and whose submission is whose.

    roster = Roster.read(Path("canvas.csv"))
    roster.kind                         # "canvas"
    roster.row(Who("123", "haddadnoor", canvas="123"))       # 4: which row is this student's
    roster.names[4]                     # "Noor Haddad"

Three kinds are known by their header: Canvas' gradebook (``Student, ID, ..., Section``), Moodle's offline grading
worksheet (``Identifier, Full name, ..., Grade``), and any other CSV with a column that says who somebody is (``login``,
``student_id``, ``id``, ``email`` or ``username``, and ``name`` or ``first_name`` and ``last_name``). A number that the
system itself gave decides; then a login; then a name, if only one student has it. Nobody is guessed.
"""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from interpwidgets.grading.grades import GradeError, Who

Kind = Literal["canvas", "moodle", "plain"]

_LOGINS = ("login", "username", "student_id", "id", "email", "email address", "sis login id", "sis user id")
_LATE = re.compile(r"(\d+ (?:year|month|week|day|hour|min|sec)\w*(?: \d+ (?:month|week|day|hour|min|sec)\w*)*) late")
_NAMES = ("name", "full name", "student", "student name")


@dataclass(frozen=True)
class Roster:
    """A table of students: its cells as they came, and how the file spells them (delimiter, line ends, mark)."""

    path: Path
    kind: Kind
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    delimiter: str = ","
    newline: str = "\r\n"
    marked: bool = False
    _columns: dict[str, int] = field(default_factory=dict, repr=False)

    @staticmethod
    def read(path: Path) -> "Roster":
        """The table of a file; raises `GradeError` if it is none, or none that says who is who."""
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise GradeError(f"{path} cannot be read: {error.strerror}. --students takes a CSV file.") from None
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise GradeError(f"{path} is not UTF-8; save it as CSV in UTF-8 and name it again.") from None
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        try:
            table = [tuple(row) for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
        except csv.Error as error:
            raise GradeError(f"{path} is no CSV file: {error}.") from None
        if len(table) < 2:
            raise GradeError(f"{path} holds no students: expected a header and a row for each of them.")
        header = table[0]
        if wrong := next((at for at, row in enumerate(table, 1) if len(row) > len(header)), None):
            raise GradeError(f"{path}: row {wrong} has {len(table[wrong - 1])} columns, the header {len(header)}.")
        rows = tuple((*row, *[""] * (len(header) - len(row))) for row in table[1:])
        newline = "\r\n" if "\r\n" in text else "\n"
        columns = {name.strip().lower(): at for at, name in reversed(list(enumerate(header)))}
        roster = Roster(path, _kind(columns), header, rows, delimiter, newline, raw[:3] == b"\xef\xbb\xbf", columns)
        if not roster._has_students():
            raise GradeError(
                f"{path} does not say who its students are. Expected Canvas' export of the gradebook, Moodle's grading "
                f"worksheet in English (the language is set in Moodle), or columns such as login and name; its columns "
                f"are {', '.join(header[:8])}."
            )
        return roster

    def column(self, *names: str) -> int | None:
        """The first of these columns that there is, whatever the case of its letters."""
        return next((self._columns[name] for name in names if name in self._columns), None)

    def _has_students(self) -> bool:
        return self.kind != "plain" or self.column(*_LOGINS, *_NAMES, "last_name") is not None

    @cached_property
    def students(self) -> tuple[int, ...]:
        """The rows that are students: not Canvas' points possible, not its notes about posting, no test student."""
        if self.kind != "canvas":
            return tuple(at for at, row in enumerate(self.rows) if any(cell.strip() for cell in row))
        name, number = self._columns["student"], self._columns["id"]
        return tuple(
            at
            for at, row in enumerate(self.rows)
            if row[number].strip() and "Points Possible" not in row[name] and row[name] != "Student, Test"
        )

    @cached_property
    def names(self) -> dict[int, str]:
        """The students as one says their names, by their row."""
        return {at: self._name(self.rows[at]) for at in self.students}

    def _name(self, row: Sequence[str]) -> str:
        first, last = self.column("first_name", "first name"), self.column("last_name", "last name", "surname")
        if first is not None and last is not None:
            return f"{row[first]} {row[last]}".strip()
        at = self.column(*_NAMES)
        if at is None:
            at = self.column(*_LOGINS, "identifier")
        told = row[at].strip() if at is not None else ""
        family, comma, given = told.partition(", ")
        return f"{given} {family}" if comma else told

    def row(self, student: Who) -> int | None:
        """Which row is this student's; None if none is, or if it could be two."""
        return next((found for keys, own in self._keys(student) if own and (found := keys.get(own)) is not None), None)

    def completed(self, student: Who) -> Who:
        """The student with the list's name; login and address too, where the submission does not tell them."""
        at = self.row(student)
        if at is None:
            return student
        login = student.login or self._cell(at, "login", "username", "sis login id", "student_id")
        email = student.email or self._cell(at, "email", "email address")
        return replace(student, name=self.names[at] or student.name, login=login, email=email)

    def _cell(self, at: int, *names: str) -> str:
        column = self.column(*names)
        return self.rows[at][column].strip() if column is not None else ""

    def lateness(self, student: Who) -> str:
        """How late Moodle's worksheet says that a submission was: "1 day 9 hours", or "" if it does not say so."""
        at = self.row(student) if self.kind == "moodle" else None
        found = _LATE.search(self._cell(at, "status")) if at is not None else None
        return found[1] if found else ""

    @cached_property
    def numbered(self) -> set[str]:
        """The numbers at the ends of the first column's cells, as Moodle writes its participants in any language."""
        return {found[1] for row in self.rows if (found := re.fullmatch(r"\D+(\d+)", row[0].strip()))}

    def _keys(self, student: Who) -> Iterator[tuple[dict[str, int], str]]:
        if self.kind == "canvas":
            yield self._numbers, student.canvas
        elif self.kind == "moodle":
            yield self._participants, student.moodle
        said = [student.login, student.email, student.number, student.key]
        yield from ((self._logins, _plain(one)) for one in said)
        yield from ((self._logins, _plain(one.partition("@")[0])) for one in said)
        yield self._spelt, _spelt(student.name)
        yield self._run_together, _plain(student.name)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        column = self._columns["id"]
        return _once((self.rows[at][column].strip(), at) for at in self.students)

    @cached_property
    def _logins(self) -> dict[str, int]:
        columns = [self._columns[name] for name in _LOGINS if name in self._columns]
        cells = [(self.rows[at][column], at) for at in self.students for column in columns]
        return _once((_plain(part), at) for cell, at in cells for part in (cell, cell.partition("@")[0]))

    @cached_property
    def _participants(self) -> dict[str, int]:
        column = self._columns["identifier"]
        return _once((number[0], at) for at in self.students if (number := re.findall(r"\d+$", self.rows[at][column])))

    @cached_property
    def _spelt(self) -> dict[str, int]:
        return _once((_spelt(name), at) for at, name in self.names.items())

    @cached_property
    def _run_together(self) -> dict[str, int]:
        """As Canvas spells names in the files that it hands out: the last name first, letters and digits alone."""
        column = self.column(*_NAMES)
        return _once((_plain(self.rows[at][column]), at) for at in self.students) if column is not None else {}

    def written(self, rows: Sequence[Sequence[str]]) -> bytes:
        """The table with other rows, spelt as the file was."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=self.delimiter, lineterminator=self.newline)
        writer.writerows([self.header, *rows])
        return text.getvalue().encode("utf-8-sig" if self.marked else "utf-8")


def _kind(columns: dict[str, int]) -> Kind:
    if {"student", "id", "section"} <= columns.keys():
        return "canvas"
    if {"identifier", "grade"} <= columns.keys():
        return "moodle"
    return "plain"


def _once(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    """What only one row has."""
    found = set(pairs)
    count = Counter(key for key, _ in found)
    return {key: at for key, at in found if key and count[key] == 1}


def _plain(text: str) -> str:
    """Letters and digits alone, small, without accents where there is a plain letter."""
    bare = unicodedata.normalize("NFKD", text).casefold()
    return "".join(one for one in bare if one.isalnum())


def _spelt(name: str) -> str:
    """A name whatever the order of its parts: ``Haddad, Noor`` and ``Noor Haddad`` are one."""
    return " ".join(sorted(filter(None, map(_plain, re.split(r"[\s,.]+", name)))))
