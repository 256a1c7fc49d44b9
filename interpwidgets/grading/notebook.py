"""The cells of a notebook that somebody sent, whatever else the file holds.

    notebook = read(path.read_bytes())
    notebook.cells[4].source                # "def loss_by_position(..."
    notebook.cells[4].names                 # ("ex-05-2", "05-2"): what the course may know the cell by

Only sources and names are kept; outputs, attachments and widgets' state are dropped unread. Notebooks of formats 2 to 4
are read, with or without ids, in UTF-8, UTF-16 or UTF-32. A file that is none of this raises `Unreadable`, with one
sentence for the person who sent it; no content raises anything else.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from interpwidgets.course import CourseError

LIMIT = 8_000_000  # bytes of a notebook; a chapter with all its outputs has 800,000
CELLS = 2_000
SOURCE, SOURCES = 100_000, 300_000  # characters of one cell of code and of all together; chapter 01 has 25,000


TOO_LARGE = (
    f"The notebook has more than {LIMIT / 1e6:.0f} MB, and no more are read: "
    "clear its outputs, save it and submit it again."
)


class Unreadable(CourseError, ValueError):
    """Why a file cannot be read as a notebook, and what to do, in one sentence."""


@dataclass(frozen=True)
class Cell:
    """One cell: its place counted from 1, the names that the course may know it by, and why it was not read, if so."""

    at: int
    code: bool
    source: str
    names: tuple[str, ...] = ()
    trouble: str = ""


@dataclass(frozen=True)
class Notebook:
    """The cells of a notebook, in order."""

    cells: tuple[Cell, ...]


def read(data: bytes) -> Notebook:
    """The notebook in ``data``. Raises `Unreadable` if there is none."""
    if len(data) > LIMIT:
        raise Unreadable(TOO_LARGE)
    if not data.strip():
        raise Unreadable("The file is empty: save the notebook and submit it again.")
    if data[:4] == b"PK\x03\x04":
        raise Unreadable("The file is a zip archive, not a notebook: submit the file that ends in .ipynb.")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise Unreadable(f"The file is not a whole notebook ({_short(error)}): save it and submit it again.") from None
    return Notebook(tuple(_bounded(_cell(at, cell) for at, cell in enumerate(_cells(found), 1))))


def _cells(found: Any) -> list[Any]:
    """The list of cells of a notebook of format 4, or of the first worksheets of formats 2 and 3."""
    cells = found.get("cells") if isinstance(found, dict) else None
    if isinstance(found, dict) and isinstance(found.get("worksheets"), list) and cells is None:
        sheets = [sheet.get("cells") for sheet in found["worksheets"] if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets if isinstance(sheet, list) for cell in sheet[: CELLS + 1]]
    if not isinstance(cells, list):
        raise Unreadable("The file is no notebook: it holds no list of cells. Submit the file that ends in .ipynb.")
    if len(cells) > CELLS:
        raise Unreadable(f"The notebook has {len(cells):,} cells, and at most {CELLS:,} are read.")
    return cells


def _cell(at: int, cell: Any) -> Cell:
    if not isinstance(cell, dict):
        return Cell(at, False, "", trouble="it is no cell")
    code = cell.get("cell_type") == "code"
    source = cell.get("source", cell.get("input", ""))
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        return Cell(at, code, "", tuple(_names(cell)), "its text is no text")
    if code and len(source) > SOURCE:
        return Cell(at, code, "", tuple(_names(cell)), f"it has more than {SOURCE:,} characters")
    return Cell(at, code, source.replace("\r\n", "\n").replace("\r", "\n"), tuple(_names(cell)))


def _bounded(cells: Iterable[Cell]) -> Iterator[Cell]:
    """The cells as far as their code together stays within bounds; what comes after keeps its place and name."""
    length = 0
    for cell in cells:
        length += len(cell.source) if cell.code else 0
        told = f"the notebook has more than {SOURCES:,} characters of code"
        yield Cell(cell.at, True, "", cell.names, told) if cell.code and length > SOURCES else cell


def _names(cell: dict[str, Any]) -> Iterator[str]:
    """The id of the format, the one that Colab keeps among the metadata, and nbgrader's."""
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    nbgrader = metadata.get("nbgrader")
    graded = nbgrader.get("grade_id") if isinstance(nbgrader, dict) else None
    for name in (cell.get("id"), metadata.get("id"), graded):
        if isinstance(name, str) and 0 < len(name) <= 100:
            yield name


def _short(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "its parts are nested too deeply"
    if isinstance(error, MemoryError):
        return "it needs too much memory"
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}: {error.msg}"
    return "its text is in no known encoding" if isinstance(error, UnicodeError) else "a number in it is too long"
