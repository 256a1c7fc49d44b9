"""The file of a learner's events: many notebooks write to it at once, and nothing that was written gets lost.

    store().add("05.2", "check", "passed")     # it is on the disk now, unless store().trouble is a sentence
    store().events("05.*")                     # [(1789041600.25, "05.2", "check", "passed")]

One sqlite file, one row per event. What it promises, and why it is written as it is:

- **A killed process** loses nothing that `Store.add` has returned from, with any setting of sqlite. **A machine that
  loses its power** keeps it too: ``synchronous=FULL`` waits for the disk, some milliseconds, where ``NORMAL`` would
  promise a sound file but not its last events.
- **A rollback journal**, not a write-ahead log: a log needs memory that processes share, which network folders (a
  home on NFS, as JupyterHubs have) do not give. Files of 0.1.0, which used one, are changed over when no other notebook
  has them open.
- **A clock that goes back** changes no order: an event is never older than the newest in the file.
- **A damaged file** is put aside under another name, and what can still be read goes into the new one. A file that
  was removed or replaced while it was open is noticed at the next event.
- **A full disk, a read-only folder, a lock that somebody holds, a file of a newer release**: the file stays as it is,
  events are kept for as long as this Python runs, ``trouble`` says so, and the next `Store.add` tries again.
"""

import math
import os
import re
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeGuard, TypeVar

from filelock import FileLock, Timeout

Event = tuple[float, str, str, str]  # when (seconds since 1970), which item, kind, what

KINDS = {  # what may stand behind each kind
    "check": re.compile("passed|differs|stopped"),
    "answer": re.compile("passed|differs"),
    "hint": re.compile("[1-9]"),
    "solution": re.compile(""),
    "reset": re.compile(""),
}
ITEM = re.compile(r"[0-9]{2}\.([0-9]{1,9}|[A-Z])")
DRIVE = Path("/content/drive")  # where Colab mounts a Google Drive

_VERSION = 1  # of the file; 0 is what 0.1.0 wrote, the same table
_BUSY = 2.0  # seconds to wait for another notebook that writes
_TICK = 1e-6  # seconds between two events when the clock does not help
_LATEST = 2.0**33  # seconds since 1970: the year 2242
_SIDECARS = ("-journal", "-wal", "-shm")  # what sqlite lays beside a file; it must never stay beside another one

T = TypeVar("T")


def home() -> Path:
    """The folder for what is this user's: ``INTERPWIDGETS_HOME``, or where the system keeps such data."""
    if chosen := os.environ.get("INTERPWIDGETS_HOME"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "interpwidgets"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/interpwidgets"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "interpwidgets"


def store() -> "Store":
    """The learner's own events, in this process."""
    path = home() / "progress.sqlite"
    return _stores.setdefault((path, os.getpid()), Store(path))


def is_event(row: Any) -> TypeGuard[Event]:
    """Whether four values are an event that this release could have noted."""
    if not isinstance(row, list | tuple) or len(row) != 4:
        return False
    at, *texts = row
    if isinstance(at, bool) or not isinstance(at, int | float) or not all(isinstance(text, str) for text in texts):
        return False
    item, kind, what = texts
    known = bool(ITEM.fullmatch(item)) and kind in KINDS and bool(KINDS[kind].fullmatch(what))
    return known and math.isfinite(at) and 0 <= at < _LATEST


class Store:
    """The events in one file, and those that could not be written to it.

    ``path``: the file; it and its folder are made when they are needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unsaved: list[Event] = []
        self._unsaved_because, self._damage = "", ""
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    @property
    def trouble(self) -> str:
        """One sentence if events cannot be saved, or the file was found damaged; else ""."""
        return self._unsaved_because or self._damage

    def add(self, item: str, kind: str, what: str = "") -> None:
        """Note that something happened now. Never raises for the disk's sake: ``trouble`` tells.

        Raises `ValueError` if it is nothing that `KINDS` knows.
        """
        event = (time.time(), item, kind, what)
        if not is_event(event):
            raise ValueError(f"{item!r}, {kind!r}, {what!r} is no event; expected an item such as '05.2', and KINDS.")
        with self._lock:
            self.unsaved.append(event)
            try:
                self._save()
            except (sqlite3.Error, OSError) as error:
                self._forget(error)

    def events(self, items: str = "*") -> list[Event]:
        """The events of one item (``"05.2"``), of a chapter (``"05.*"``) or all, in order."""
        with self._lock:
            found: list[Event] = []
            try:
                found = self._do(lambda connection: _rows(connection, items))
            except (sqlite3.Error, OSError) as error:
                self._forget(error)
            return found + [event for event in self.unsaved if fnmatchcase(event[1], items)]

    def every(self) -> list[Event]:
        """All events, saved or not. Raises `sqlite3.Error` or `OSError` if there is a file that cannot be read."""
        with self._lock:
            found = self._do(lambda connection: _rows(connection, "*")) if self.path.exists() else []
            return found + self.unsaved

    def merge(self, events: Sequence[Event]) -> int:
        """Add those of ``events`` that are not there yet, all or none; returns how many were new.

        Raises `sqlite3.Error` or `OSError`, with nothing changed, if the file cannot be written.
        """
        with self._lock:
            return self._do(lambda connection: _merge(connection, events))

    # -- the file -----------------------------------------------------------------------------------------------------

    def _save(self) -> None:
        written = self._do(lambda connection: _append(connection, self.unsaved))
        if not self._in_place():  # the file was put aside while we wrote to it: once more, into the one that is there
            self._do(lambda connection: _merge(connection, written))
        self.unsaved, self._unsaved_because = [], ""

    def _do(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the file; if it turns out to be damaged, put it aside and do it with a new one."""
        try:
            return action(self._connected())
        except sqlite3.DatabaseError as error:
            if not _is_damage(error):
                raise
        self._close()
        self._repair()
        return action(self._connected())

    def _connected(self) -> sqlite3.Connection:
        if self._open is not None and not self._in_place():
            self._close()
        if self._open is None:
            if self.path.is_relative_to(DRIVE):
                raise OSError("Google Drive cannot hold a file in use, use `interpwidgets progress export`")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._open = _begin(self.path)
            self._file = self._identity()
        return self._open

    def _identity(self) -> tuple[int, int] | None:
        """Which file there is now. (Never open it for that: closing a file gives up sqlite's locks on it.)"""
        try:
            found = self.path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _in_place(self) -> bool:
        return self._file is not None and self._file == self._identity()

    def _repair(self) -> None:
        """Put a damaged file aside, and what can be read of it into a new one; notebooks take turns."""
        try:
            with FileLock(self.path.with_suffix(".lock"), timeout=_BUSY):
                if _is_sound(self.path):
                    return  # another notebook has seen to it
                saved = _salvaged(self.path)
                aside = self._put_aside()
                with closing(_begin(self.path)) as connection:
                    _merge(connection, saved)
        except Timeout:
            raise OSError("the file is damaged, and another notebook is busy with it") from None
        kept = f"what could be read of it, {len(saved)} events, is in a new one" if saved else "a new one is begun"
        self._damage = f"Your progress file was damaged; it is kept as {aside}, and {kept}."

    def _put_aside(self) -> Path:
        names = (self.path.with_suffix(f".broken-{int(time.time()) + n}") for n in range(1000))
        aside = next(name for name in names if not name.exists())
        for sidecar in _SIDECARS:  # first: a journal that stays behind would be played into the new file
            with suppress(FileNotFoundError):
                Path(f"{self.path}{sidecar}").replace(f"{aside}{sidecar}")
        self.path.replace(aside)
        return aside

    def _forget(self, error: Exception) -> None:
        reason = str(error).rstrip(".") or type(error).__name__
        self._unsaved_because = f"Progress is not saved ({reason}: {self.path}); it lasts as long as this Python runs."
        self._close()

    def _close(self) -> None:
        if self._open is not None:
            with suppress(sqlite3.Error):
                self._open.rollback()
            with suppress(sqlite3.Error):
                self._open.close()
        self._open = self._file = None


_stores: dict[tuple[Path, int], Store] = {}  # a forked process begins its own


# -- one connection ---------------------------------------------------------------------------------------------------


def _begin(path: Path) -> sqlite3.Connection:
    """Open or make the file. Nothing is written to one that is as it should be, so that it may be read-only."""
    connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
    connection.text_factory = _text
    try:
        if connection.execute("PRAGMA user_version").fetchone()[0] > _VERSION:
            raise OSError("a newer interpwidgets wrote this file, update yours")
        with suppress(sqlite3.OperationalError):  # of 0.1.0, and open elsewhere: it keeps its log for now
            connection.execute("PRAGMA journal_mode=TRUNCATE")
        connection.execute("PRAGMA synchronous=FULL")
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchone():
            with _alone(connection):
                columns = "at REAL NOT NULL, item TEXT NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL"
                connection.execute(f"CREATE TABLE IF NOT EXISTS events ({columns})")
                connection.execute(f"PRAGMA user_version={_VERSION}")
    except BaseException:
        connection.close()
        raise
    return connection


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


@contextmanager
def _alone(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that nobody else writes in: all of it happens, or nothing."""
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def _rows(connection: sqlite3.Connection, items: str) -> list[Event]:
    query = "SELECT at, item, kind, what FROM events WHERE item GLOB ? ORDER BY at, item, kind, what"
    return [row for row in connection.execute(query, (items,)) if is_event(row)]  # a bad disk writes anything


def _append(connection: sqlite3.Connection, events: Sequence[Event]) -> list[Event]:
    """Write events behind all others, whatever the clock said; returns them as written."""
    written: list[Event] = []
    with _alone(connection):
        newest = connection.execute("SELECT max(at) FROM events WHERE at < ?", (_LATEST,)).fetchone()[0] or 0.0
        for at, item, kind, what in events:
            newest = max(at, newest + _TICK)
            written.append((newest, item, kind, what))
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", written)
    return written


def _merge(connection: sqlite3.Connection, events: Sequence[Event]) -> int:
    with _alone(connection):
        new = sorted(set(events) - set(_rows(connection, "*")))
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", new)
    return len(new)


# -- damage -----------------------------------------------------------------------------------------------------------


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _is_sound(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY)) as connection:
            return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
    except sqlite3.DatabaseError as error:
        if _is_damage(error):
            return False
        raise


def _salvaged(path: Path) -> list[Event]:
    """The events of a damaged file that can be read, from the front as far as it goes and then from the back."""
    found: dict[int, Event] = {}
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=_BUSY)) as connection:
        connection.text_factory = _text
        for order in ("ASC", "DESC"):
            with suppress(sqlite3.Error):
                query = f"SELECT rowid, at, item, kind, what FROM events ORDER BY rowid {order}"  # noqa: S608
                for number, *row in connection.execute(query):
                    if is_event(row):
                        found[number] = (row[0], row[1], row[2], row[3])
    return [found[number] for number in sorted(found)]
