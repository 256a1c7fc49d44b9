"""Where the notebooks of the course are, and how a person names one of them.

    from interpwidgets.course.chapters import find, notebooks

    [path.name for path in notebooks("chapters")]    # ['00_start_here.ipynb', ...]
    find("0", "solutions")                           # .../solutions/00_start_here.ipynb

In a clone the notebooks stand at the top, where people look for them; the wheel carries them inside the package.
"""

from pathlib import Path
from typing import Literal

from interpwidgets.course import CourseError

Shelf = Literal["chapters", "solutions"]

_PACKAGE = Path(__file__).resolve().parent.parent


def shelf(name: Shelf) -> Path:
    """The folder that holds the chapters or their solutions.

    Raises `CourseError` if this installation has none.
    """
    for folder in (_PACKAGE / "_course" / name, _PACKAGE.parent / name):
        if any(folder.glob("[0-9][0-9]_*.ipynb")):
            return folder
    raise CourseError(
        f"This installation of interpwidgets has no {name}: expected them in {_PACKAGE / '_course'}. "
        "Install it again: pip install --force-reinstall interpwidgets"
    )


def notebooks(name: Shelf) -> list[Path]:
    """The notebooks of a shelf, in the order of the course."""
    return sorted(shelf(name).glob("[0-9][0-9]_*.ipynb"))


def find(chapter: str, name: Shelf) -> Path:
    """The notebook that a person means by ``0``, ``00``, ``start_here``, ``00_start_here`` or its file name.

    Raises `CourseError`, with the list of what there is, if nothing fits.
    """
    wanted = Path(chapter).name.removesuffix(".ipynb").removesuffix(".py")
    found = notebooks(name)
    for path in found:
        number, _, slug = path.stem.partition("_")
        if wanted in (path.stem, slug, number) or (wanted.isdecimal() and int(wanted) == int(number)):
            return path
    there_are = "\n".join(f"  {path.stem.replace('_', '  ', 1)}" for path in found)
    raise CourseError(f"There is no chapter {chapter!r}. There is:\n\n{there_are}\n\nGive its number or its name.")
