"""Progress in one small file that can be carried: to another computer, or past the end of a Colab session.

    from interpwidgets.course.snapshots import export_to, import_from

    export_to("mine.jsonl")         # here: what is noted so far, and what mine.jsonl held before
    import_from("mine.jsonl")       # there: 214, the number of events that were new there

Lines of JSON: the first says what the file is, how many events follow, and their checksum; each other line is an event.
Text, not a copy of the sqlite file: it is written whole or not at all, people can read and compare it, and what
somebody sends you is parsed by a few lines that trust nothing. It holds times, items, and what was tried, passed or
opened; no names and no code.

Both ways are a union: an event that is there stays there, in any order, twice is once. So a snapshot never forgets what
it held, and importing never takes anything away. A file that is damaged or something else is refused in a sentence and
changes nothing. On Google Drive only snapshots belong: a database in use there breaks.
"""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from interpwidgets.course import CourseError
from interpwidgets.course.copies import write_whole
from interpwidgets.course.events import DRIVE, Event, is_event, store

NAME = "interpwidgets-progress.jsonl"

_FORMAT = "progress"
_VERSION = 1
_LONGEST = 16 * 2**20  # bytes: a quarter of a million events


def usual_place() -> Path:
    """Where a snapshot goes that nobody gave a name: on Colab the mounted Google Drive, else this folder."""
    mine = DRIVE / "MyDrive"
    return (mine if mine.is_dir() else Path()) / NAME


def export_to(path: str | Path | None = None) -> Path:
    """Write what is noted so far to a snapshot; what the snapshot held before stays in it. Returns its path.

    ``path``: the file, or a folder for it; `usual_place` if it is None.

    Raises `CourseError`, and leaves ``path`` as it was, if it is a file of another kind or cannot be written, or if the
    progress here cannot be read.
    """
    target = _file(path)
    try:
        mine = store().every()
    except (sqlite3.Error, OSError) as error:
        raise CourseError(f"Nothing was exported: your progress cannot be read ({error}).") from None
    events = sorted({*mine, *(read(target) if target.exists() else ())})
    try:
        write_whole(target, text(events))
    except OSError as error:
        raise CourseError(f"{target} cannot be written ({error.strerror or error}). Name another file.") from None
    return target


def import_from(path: str | Path | None = None) -> int:
    """Add the events of a snapshot to what is noted here; returns how many were new.

    ``path``: the file, or the folder it is in; `usual_place` if it is None.

    Raises `CourseError` if ``path`` is no snapshot, is damaged, or the progress here cannot be written; nothing is
    changed then.
    """
    events = read(_file(path))
    try:
        return store().merge(events)
    except (sqlite3.Error, OSError) as error:
        raise CourseError(f"Nothing was imported: your progress cannot be written here ({error}).") from None


def read(path: Path) -> list[Event]:
    """The events of a snapshot.

    Raises `CourseError` if there is none, or if it is damaged, of another kind or of a newer release.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST + 1)
    except FileNotFoundError:
        raise CourseError(
            f"There is no file {path}. Make one where your progress is: interpwidgets progress export"
        ) from None
    except OSError as error:
        raise CourseError(f"{path} cannot be read ({error.strerror or error}).") from None
    if len(content) > _LONGEST:
        _refuse(path, f"is larger than {_LONGEST >> 20} MiB, so it is no snapshot of progress")
    first, _, rest = content.partition(b"\n")
    about = _parsed(first)
    if not isinstance(about, dict) or about.get("interpwidgets") != _FORMAT:
        _refuse(path, "is no snapshot of progress")
    if about.get("version") != _VERSION:
        _refuse(path, "was written by a newer release of interpwidgets; update this one")
    if about.get("sha256") != hashlib.sha256(rest).hexdigest():
        _refuse(path, "is damaged: it was cut off or changed after it was exported")
    rows = [_parsed(line) for line in rest.splitlines()]
    if len(rows) != about.get("events") or not all(map(is_event, rows)):
        _refuse(path, "is damaged: it holds lines that are no events")
    return [(float(at), item, kind, what) for at, item, kind, what in rows]


def _file(path: str | Path | None) -> Path:
    found = usual_place() if path is None else Path(path).expanduser()
    return found / NAME if found.is_dir() else found


def text(events: Sequence[Event]) -> bytes:
    lines = "".join(f"{json.dumps(event)}\n" for event in events).encode()
    about = {
        "interpwidgets": _FORMAT,
        "version": _VERSION,
        "events": len(events),
        "sha256": hashlib.sha256(lines).hexdigest(),
    }
    return f"{json.dumps(about)}\n".encode() + lines


def _parsed(line: bytes) -> Any:
    """What a line says; None if it is no JSON. Deep nesting and endless numbers are no JSON to us."""
    try:
        return json.loads(line.decode())
    except (ValueError, RecursionError):
        return None


def _refuse(path: Path, why: str) -> NoReturn:
    raise CourseError(f"{path} {why}. Nothing was changed.")
