"""What a chapter looked like when it was handed out: its cells, what each is for, and a mark of its text.

    released = manifest("05")
    released.cells[8].id, released.cells[8].kind, released.cells[8].item     # "ex-05-1", "answer", "05.1"
    released.known_as("05-1-check")                                          # the check cell of 05.1, by nbgrader's id

It is read from the chapters that the package carries, so there is no file to keep in step with them. Lines of magics do
not count: the address that a notebook installs from changes with each release, and its exercises may not.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

from interpwidgets.course import chapters
from interpwidgets.grading import notebook
from interpwidgets.grading.source import bound, parsed, without_magics

Kind = Literal["text", "given", "answer", "check", "question"]

_MARKED = re.compile(r"(?:ex-)?(\d\d)-(\d+|[A-Z])(-check)?")
_HEADING = re.compile(r"^# +(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Released:
    """A cell as it was handed out. ``item`` is the exercise or question that it belongs to, "" if to none."""

    id: str
    kind: Kind
    item: str
    source: str
    digest: str


@dataclass(frozen=True)
class Manifest:
    """A chapter as it was handed out."""

    number: str
    title: str
    cells: tuple[Released, ...]

    @cached_property
    def _by_name(self) -> dict[str, Released]:
        return {name: cell for cell in self.cells for name in (cell.id, cell.id.removeprefix("ex-"))}

    @cached_property
    def _by_digest(self) -> dict[str, Released]:
        return {cell.digest: cell for cell in self.cells if cell.kind != "text"}

    def known_as(self, *names: str) -> Released | None:
        """The cell with one of these ids, or None."""
        return next((self._by_name[name] for name in names if name in self._by_name), None)

    def same_as(self, source: str) -> Released | None:
        """The code cell with this text, or None."""
        return self._by_digest.get(digest(source))


@cache
def numbers() -> tuple[str, ...]:
    """The chapters that were handed out: ("00", "01", ...)."""
    return tuple(path.stem[:2] for path in chapters.notebooks("chapters"))


@cache
def answers() -> dict[str, tuple[str, str]]:
    """The names of all functions that learners write: {"induction_score": ("05", "05.5"), ...}."""
    found = {}
    for number in numbers():
        for cell in manifest(number).cells:
            for node in parsed(cell.source).statements if cell.kind == "answer" else ():
                found.update({name: (number, cell.item) for name in bound(node)})
    return found


@cache
def manifest(number: str) -> Manifest:
    """Chapter ``"05"`` as it was handed out. Raises `CourseError` if there is none."""
    path = chapters.find(number, "chapters")
    return _made(path, notebook.read(path.read_bytes()))


def _made(path: Path, found: notebook.Notebook) -> Manifest:
    cells = tuple(_released(cell) for cell in found.cells)
    return Manifest(path.stem[:2], title_of(found), cells)


def _released(cell: notebook.Cell) -> Released:
    name = cell.names[0] if cell.names else str(cell.at)
    kind, item = sort_of(name)
    kind = kind if cell.code else "text"
    return Released(name, kind, item, cell.source, digest(cell.source))


def sort_of(name: str) -> tuple[Kind, str]:
    """What the cell of an id is for, and its exercise or question: ("check", "05.2") for "ex-05-2-check"."""
    found = _MARKED.fullmatch(name)
    if not found:
        return "given", ""
    item = f"{found[1]}.{found[2]}"
    return ("check" if found[3] else "question" if found[2].isalpha() else "answer"), item


def title_of(found: notebook.Notebook) -> str:
    """The first heading of a notebook, without its mark; "" if there is none."""
    titles = (_HEADING.search(cell.source) for cell in found.cells[:20] if not cell.code)
    return next((title[1].strip() for title in titles if title), "")


def digest(source: str) -> str:
    """A mark of a cell's text; blank ends of lines and lines of magics do not count."""
    lines = "\n".join(line.rstrip() for line in without_magics(source).text.strip().split("\n"))
    return hashlib.sha256(lines.encode("utf-8", "surrogatepass")).hexdigest()
