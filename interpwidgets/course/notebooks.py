"""From one source to two notebooks: what people edit is ``solutions/NN_slug.py``, the rest is built from it.

    from interpwidgets.course.notebooks import build, stale

    build(Path("solutions"), Path("chapters"))     # writes what is out of date, returns what it wrote
    stale(Path("solutions"), Path("chapters"))     # only says what that would be: []

The source is jupytext's ``py:percent``: ``# %%`` begins a code cell, ``# %% [markdown]`` a text cell. Built are

    solutions/NN_slug.ipynb    the solved notebook, with a last cell that proves that the end was reached
    chapters/NN_slug.ipynb     what a learner gets: answers replaced by ``raise NotImplementedError``

Both begin with links to Colab and Binder at the tag of this release, carry their pictures inside (a notebook is one
file, with or without a network) and hold no outputs. The same source always gives the same bytes: the id of a cell is
the one in its marker (``# %% id="setup"``), or is counted within its section, so that a new sentence somewhere changes
one cell and no ids.
"""

import base64
import re
from collections import Counter
from pathlib import Path
from typing import Any

import nbformat

from interpwidgets import _urls
from interpwidgets.course import CourseError
from interpwidgets.course.cells import MARKED, furnish, question_stub

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
SENTINEL = "sentinel"  # the tag of the last cell of a solution, and what its output begins with

_IMAGE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")

_COLAB = """\
import sys

if "google.colab" in sys.modules:  # on Colab: fetch interpwidgets first; elsewhere this does nothing
    %pip install --quiet {wheel}

"""


def build(solutions: Path, chapters: Path) -> list[Path]:
    """Write the notebooks that are out of date with their sources; returns their paths.

    Raises `CourseError` if a source is not what this module expects.
    """
    wanted = _wanted(solutions, chapters)
    changed = [path for path, text in wanted.items() if _differs(path, text)]
    for path in changed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8", newline="\n")
    return changed


def stale(solutions: Path, chapters: Path) -> list[Path]:
    """The notebooks that `build` would write, and those whose source is gone."""
    wanted = _wanted(solutions, chapters)
    orphans = [path for folder in (solutions, chapters) for path in folder.glob("*.ipynb") if path not in wanted]
    return [path for path, text in wanted.items() if _differs(path, text)] + sorted(orphans)


def _wanted(solutions: Path, chapters: Path) -> dict[Path, str]:
    sources = sorted(solutions.glob("[0-9][0-9]_*.py"))
    if not sources:
        raise CourseError(f"There are no sources in {solutions}: expected files such as 00_start_here.py.")
    wanted = {}
    for source in sources:
        cells = _cells(source)
        wanted[solutions / f"{source.stem}.ipynb"] = _notebook(source, [*cells, _sentinel(source)])
        wanted[chapters / f"{source.stem}.ipynb"] = _notebook(source, [_unsolved(cell, source) for cell in cells])
    return wanted


def _differs(path: Path, text: str) -> bool:
    return not path.exists() or path.read_text(encoding="utf-8") != text


# -- cells --------------------------------------------------------------------------------------------------------


def _cells(source: Path) -> list[Any]:
    """The cells of a source, with the links before them and Colab's install in the first code cell."""
    try:
        import jupytext
    except ImportError:
        raise CourseError("Building notebooks needs jupytext: pip install jupytext") from None
    cells = jupytext.read(source, fmt="py:percent").cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    if not code or cells[0].cell_type != "markdown" or not cells[0].source.startswith("# "):
        raise CourseError(
            f'{source} should begin with a text cell whose first line is the title ("# ...") and hold code.'
        )
    for cell in cells:
        if cell.cell_type == "markdown":
            cell.source = _IMAGE.sub(lambda found: _inlined(source, *found.groups()), cell.source)
    code[0].source = _COLAB.format(wheel=_urls.WHEEL) + code[0].source
    _name(cells)
    furnish(cells, source.stem[:2], str(source), _stub)
    return [_links(source), *cells]


def _inlined(source: Path, alt: str, target: str) -> str:
    """A Markdown image with the picture itself in place of its address."""
    picture = source.parent / target
    if not alt.strip():
        raise CourseError(
            f"{source}: the picture {target} needs a description for those who cannot see it: ![...]({target})"
        )
    if picture.suffix != ".png" or not picture.is_file():  # PNG: what every host shows from within a notebook
        raise CourseError(f"{source}: the picture {target} should be a PNG file beside the source ({picture}).")
    return f"![{alt}](data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()})"


def _name(cells: list[Any]) -> None:
    """Give every cell its id: the one in its marker, or its section's heading and its place in that section."""
    section, count = "top", Counter[str]()
    for cell in cells:
        headings = re.findall(r"^#+ (.+)", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else []
        if headings:
            section = re.sub(r"[^a-z0-9]+", "-", headings[-1].lower()).strip("-")[:40].strip("-") or "section"
        count[section] += 1
        cell.metadata.pop("lines_to_next_cell", None)  # how far apart cells stand in the source is not the notebook's
        cell.id = cell.metadata.pop("id", None) or f"{section}-{count[section]}"
    twice = [name for name, times in Counter(cell.id for cell in cells).items() if times > 1]
    if twice:
        raise CourseError(f"Two cells have the id {twice[0]!r}: give one of them another heading, or an id of its own.")


def _links(source: Path) -> Any:
    path = f"chapters/{source.stem}.ipynb"
    text = f"[Open in Colab]({_urls.colab(path)}) · [Open in Binder]({_urls.binder(path)})"
    return _cell("markdown", "links", text)


def _sentinel(source: Path) -> Any:
    return _cell("code", SENTINEL, f'print("{SENTINEL}: reached the end of {source.stem}")', tags=[SENTINEL])


def _cell(kind: str, name: str, text: str, **metadata: Any) -> Any:
    make: Any = nbformat.v4.new_markdown_cell if kind == "markdown" else nbformat.v4.new_code_cell
    return make(text, id=name, metadata=metadata)


def _unsolved(cell: Any, source: Path) -> Any:
    """A copy of the cell without the answer."""
    cell = nbformat.from_dict(cell)
    if cell.cell_type == "code":
        name = cell.id.removeprefix("ex-").replace("-", ".", 1)
        lines = _stub(cell.source, f"{source}, cell {cell.id!r}").splitlines()
        asks = (
            MARKED.fullmatch(name) and name[-1].isalpha() and cell.id.startswith("ex-") and "nbgrader" in cell.metadata
        )
        cell.source = "\n".join(question_stub(name, lines) if asks and not name.endswith("-check") else lines)
    return cell


def _stub(text: str, where: str) -> str:
    return "\n".join(_without_answers(text.splitlines(), where))


def _without_answers(lines: list[str], where: str) -> list[str]:
    kept: list[str] = []
    answering = False
    for line in lines:
        mark = line.strip()
        if mark in (BEGIN, END):
            if answering == (mark == BEGIN):
                raise CourseError(f"{where}: {mark} without its partner.")
            answering = not answering
            if answering:
                kept.append(line.replace(BEGIN, "raise NotImplementedError"))
        elif not answering:
            kept.append(line)
    if answering:
        raise CourseError(f"{where}: {BEGIN} without its partner.")
    return kept


def _notebook(source: Path, cells: list[Any]) -> str:
    for cell in cells:
        cell.metadata = dict(sorted(cell.metadata.items()))
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    metadata = {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
    notebook.nbformat_minor = 5
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        raise CourseError(f"{source} does not make a valid notebook: {error}") from None
    text: str = nbformat.writes(notebook)
    return text.rstrip("\n") + "\n"
