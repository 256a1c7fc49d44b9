"""The learner's own copies of the chapters: placed, brought up to date, never overwritten once they are edited.

    from interpwidgets.course.copies import place

    for step in place(shelf("chapters"), Path("interpwidgets-course"), release="0.2.0"):
        print(step)                          # "00_start_here.ipynb  updated to 0.2.0"

What was placed is remembered beside the copies (``.interpwidgets.json``) as a fingerprint of every file. A file is
the learner's as soon as it differs from what we placed:

    the copy          the chapter in this release     what happens
    missing           any                             placed (deleting a copy is how to start it over)
    as we placed it   the same                        nothing
    as we placed it   another                         replaced
    edited            the same as they started from   nothing
    edited            another                         kept; the new one goes beside it, once
    not placed by us  another                         kept; ours goes beside it, once

For notebooks the fingerprint is that of the text of the cells: running a notebook, or pressing Shift-Enter in its last
cell (which adds an empty one), is not an edit.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from interpwidgets.course import CourseError

MEMORY = ".interpwidgets.json"
_LOCK = ".interpwidgets.lock"


@dataclass(frozen=True)
class Step:
    """What `place` did with one file; ``str()`` is the line that the learner reads."""

    name: str
    done: str

    def __str__(self) -> str:
        return f"{self.name}  {self.done}"


def place(source: Path, target: Path, release: str) -> list[Step]:
    """Bring the copies in ``target`` up to what ``source`` holds; one `Step` per file, in order.

    ``release`` names the files that go beside an edited copy: ``00_start_here (0.2.0).ipynb``.
    Raises `CourseError` if ``target`` is a file, cannot be written, or is being filled by somebody else right now.
    """
    with _folder(target), _alone(target):
        memory = _remember(target)
        steps = []
        for name in _course_files(source):
            record = memory.setdefault(name, {})
            steps.append(Step(name, _place_one(source / name, target / name, record, release)))
            write_whole(target / MEMORY, json.dumps(memory, indent=1, sort_keys=True).encode())
        return steps


def fingerprint(path: Path) -> str:
    """What makes a file the same or another one: of a notebook its cells' text, of any other file its bytes."""
    content = path.read_bytes()
    if path.suffix == ".ipynb":
        with suppress(ValueError, KeyError, TypeError, AttributeError):  # a broken notebook: its bytes will do
            content = json.dumps(_texts(json.loads(content))).encode()
    return hashlib.sha256(content).hexdigest()


def _texts(notebook: dict[str, Any]) -> list[tuple[str, str]]:
    cells = ((cell["cell_type"], "".join(cell["source"])) for cell in notebook["cells"])
    return [(kind, text.strip()) for kind, text in cells if text.strip()]


def _place_one(path: Path, copy: Path, memory: dict[str, str], release: str) -> str:
    """Deal with one file by the table above; ``memory`` is what is known of it: {placed, beside} fingerprints."""
    ours = fingerprint(path)
    theirs = fingerprint(copy) if copy.exists() else None
    placed = memory.get("placed")
    if theirs is None:
        done = f"placed again ({release})" if placed else "placed"
    elif theirs == ours:
        memory["placed"] = ours
        return "is up to date"
    elif theirs == placed:
        done = f"updated to {release} (you had not changed it)"
    elif ours in (placed, memory.get("beside")):
        return "is yours: kept as it is"
    else:
        beside = _free_name(copy, release)
        write_whole(beside, path.read_bytes())
        memory["beside"] = ours
        return f"is yours: kept as it is; the one of {release} is beside it: {beside.name}"
    write_whole(copy, path.read_bytes())
    memory["placed"] = ours
    return done


def _free_name(copy: Path, release: str) -> Path:
    names = (f"{copy.stem} ({release}{again}){copy.suffix}" for again in ("", *(f", {n}" for n in range(2, 1000))))
    return next(path for path in map(copy.with_name, names) if not path.exists())


def _course_files(source: Path) -> list[str]:
    """Chapters and their pictures, without what editors and Python leave about."""
    files = (path.relative_to(source) for path in source.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in files if not any(part.startswith((".", "__")) for part in path.parts))


# -- the folder -------------------------------------------------------------------------------------------------------


@contextmanager
def _folder(target: Path) -> Iterator[None]:
    """Make the folder, and say in a sentence what the file system has against it."""
    try:
        target.mkdir(parents=True, exist_ok=True)
        yield
    except (FileExistsError, NotADirectoryError):
        raise CourseError(f"{target} is a file; the course needs a folder. Name another one: --dir FOLDER") from None
    except OSError as error:
        raise CourseError(
            f"The course cannot be written to {target} ({error.strerror}). Name a folder of your own: --dir FOLDER"
        ) from error


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Two learners of one folder take turns."""
    try:
        with FileLock(target / _LOCK, timeout=10):
            yield
    except Timeout:
        raise CourseError(
            f"Another `interpwidgets learn` is writing to {target}. Wait for it, or name another folder: --dir FOLDER"
        ) from None


def _remember(target: Path) -> dict[str, dict[str, str]]:
    """What was placed before; nothing if that is unknown, and then every file counts as the learner's."""
    try:
        memory = json.loads((target / MEMORY).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    known = memory.items() if isinstance(memory, dict) else ()
    return {name: record for name, record in known if isinstance(record, dict)}


PASSING = ".interpwidgets-"  # what a file is called while it is written


def write_whole(path: Path, content: bytes, private: bool = False) -> None:
    """All or nothing: a full disk or a closed lid leaves the former file. ``private``: only its owner may read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=PASSING)  # for its owner alone
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if not private:
            Path(name).chmod(path.stat().st_mode if path.exists() else 0o666 & ~_umask())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
