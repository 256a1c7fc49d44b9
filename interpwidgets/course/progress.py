"""What this learner has done: tries, passes, hints, solutions seen; kept on this computer, for them alone.

    from interpwidgets import progress

    progress()                      # the widget: every chapter, its exercises, its points
    standing("05.2").tries          # 3

One sqlite file in the user's own folder (or where ``INTERPWIDGETS_HOME`` points) holds one row per event, so that any
number of notebooks may write at the same time. Where it cannot be written, events are kept for as long as this Python
runs and every report says so in one sentence; a check never fails for it.
"""

import itertools
import os
import sqlite3
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interpwidgets.course import registry
from interpwidgets.course.verdict import Verdict

_BUSY = 2.0  # seconds to wait for another notebook that writes
_PAUSE = 15 * 60.0  # a longer gap between two events is a pause; it counts as
_AFTER_PAUSE = 3 * 60.0
_TABLE = (
    "CREATE TABLE IF NOT EXISTS events (at REAL NOT NULL, item TEXT NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL)"
)

Event = tuple[float, str, str, str]  # when, which item, kind ("check", "hint", "solution", "answer", "reset"), what


@dataclass(frozen=True)
class Standing:
    """Where a learner stands with one exercise or question, since its last reset."""

    tries: int = 0
    hints: int = 0
    passed: bool = False
    helped: bool = False
    solution: bool = False

    @property
    def state(self) -> str:
        """``open``, ``tried``, ``hinted`` (passed after a hint or the solution) or ``done``."""
        if self.passed:
            return "hinted" if self.helped else "done"
        return "tried" if self.tries else "open"


def home() -> Path:
    """The folder for what is this user's: ``INTERPWIDGETS_HOME``, or where the system keeps such data."""
    if chosen := os.environ.get("INTERPWIDGETS_HOME"):
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "interpwidgets"
    if sys.platform == "darwin":
        return Path.home() / "Library/Application Support/interpwidgets"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share") / "interpwidgets"


# -- events -------------------------------------------------------------------------------------------------------


class _Store:
    """The file, and what could not be written to it. ``trouble`` is the sentence about that, or ""."""

    def __init__(self, path: Path) -> None:
        self.path, self.trouble = path, ""
        self.unsaved: list[Event] = []
        self._lock = threading.Lock()
        self._open: sqlite3.Connection | None = None

    def add(self, event: Event) -> None:
        with self._lock:
            try:
                connection = self._connected()
                connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", [*self.unsaved, event])
                connection.commit()
                self.unsaved, self.trouble = [], "" if "kept as" not in self.trouble else self.trouble
            except (sqlite3.Error, OSError) as error:
                self._forget(error)
                self.unsaved.append(event)

    def events(self, item: str = "%") -> list[Event]:
        with self._lock:
            found: list[Event] = []
            try:
                query = "SELECT at, item, kind, what FROM events WHERE item LIKE ? ORDER BY at, rowid"
                found = list(self._connected().execute(query, (item,)))
            except (sqlite3.Error, OSError) as error:
                self._forget(error)
            return found + [event for event in self.unsaved if event[1].startswith(item.rstrip("%"))]

    def _connected(self) -> sqlite3.Connection:
        if self._open is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._open = self._begin()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) or not self.path.exists():
                    raise
                aside = self.path.with_suffix(f".broken-{int(time.time())}")
                self.path.replace(aside)
                self.trouble = f"Your progress file was damaged; it is kept as {aside} and a new one is begun."
                self._open = self._begin()
        return self._open

    def _begin(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_TABLE)
            connection.commit()
        except BaseException:
            connection.close()
            raise
        return connection

    def _forget(self, error: Exception) -> None:
        reason = str(error).rstrip(".") or type(error).__name__
        self.trouble = f"Progress is not saved ({reason}: {self.path}); it lasts as long as this Python runs."
        if self._open is not None:
            try:
                self._open.rollback()
                self._open.close()
            except sqlite3.Error:
                pass
            self._open = None


_stores: dict[tuple[Path, int], _Store] = {}


def _store() -> _Store:
    path = home() / "progress.sqlite"
    return _stores.setdefault((path, os.getpid()), _Store(path))


def note(item: str, kind: str, what: str = "") -> None:
    """Remember that something happened now; never raises for the disk's sake."""
    _store().add((time.time(), item, kind, what))


def trouble() -> str:
    """One sentence if what is noted cannot be saved, else ""."""
    return _store().trouble


def record(verdict: Verdict) -> None:
    """Remember a verdict, and tell it how many tries and hints there were."""
    item = verdict.exercise.id
    if verdict.state != "unstarted":
        note(item, "check", verdict.state)
    now = standing(item)
    verdict.tries, verdict.hints = now.tries, now.hints
    verdict.passed_before = now.passed and not verdict.passed
    if verdict.passed:
        verdict.chapter = items(registry.chapter(item[:2]))
    verdict.notes = [*verdict.notes, *filter(None, [trouble()])]


def standing(item: str) -> Standing:
    """Where the learner stands with ``"05.2"`` or ``"05.A"``."""
    return _standing(_store().events(item))


def _standing(events: Sequence[Event]) -> Standing:
    tries = hints = 0
    passed = helped = solution = False
    for _, _, kind, what in events:
        if kind == "reset":
            tries = hints = 0
            passed = helped = solution = False
        elif kind in ("check", "answer"):
            tries += 1
            if what == "passed" and not passed:
                passed, helped = True, bool(hints or solution)
        elif kind == "hint":
            hints = max(hints, int(what))
        elif kind == "solution":
            solution = True
    return Standing(tries, hints, passed, helped, solution)


# -- the table ----------------------------------------------------------------------------------------------------


def seconds_at_work(times: Sequence[float]) -> float:
    """A rough sum: gaps between events, a long one counted as a short one after a pause."""
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    return sum(gap if gap <= _PAUSE else _AFTER_PAUSE for gap in gaps) + (_AFTER_PAUSE if times else 0)


def chapters() -> list[dict[str, Any]]:
    """Every chapter that has exercises, as the widget wants it: its items with state, points and minutes."""
    return [_row(registry.chapter(number)) for number in registry.numbers()]


def _row(chapter: registry.Chapter) -> dict[str, Any]:
    times = [event[0] for event in _store().events(f"{chapter.number}.%")]
    minutes = round(seconds_at_work(times) / 60)
    about = {"number": chapter.number, "title": chapter.title, "part": chapter.part}
    return {**about, "items": items(chapter), "minutes": minutes}


def items(chapter: registry.Chapter) -> list[dict[str, Any]]:
    """The exercises and questions of a chapter with their states."""
    by_item: dict[str, list[Event]] = {}
    for event in _store().events(f"{chapter.number}.%"):
        by_item.setdefault(event[1], []).append(event)
    found = [_item(one.id, one.name, "exercise", one.points, one.minutes, by_item) for one in chapter.exercises]
    return found + [_item(one.id, one.title, "question", one.points, 1, by_item) for one in chapter.questions]


def _item(
    name: str, title: str, kind: str, points: int, minutes: int, by_item: dict[str, list[Event]]
) -> dict[str, Any]:
    now = _standing(by_item.get(name, ()))
    return {
        "id": name,
        "name": title,
        "kind": kind,
        "state": now.state,
        "points": points,
        "minutes": minutes,
        "tries": now.tries,
    }


def current() -> str | None:
    """Where the learner is: the last item touched if it is not done, else the next that is not; None at the end."""
    exercises = [item for chapter in chapters() for item in chapter["items"] if item["kind"] == "exercise"]
    unfinished = [item["id"] for item in exercises if item["state"] in ("open", "tried")]
    names = {item["id"] for item in exercises}
    touched = [event[1] for event in _store().events() if event[1] in names]
    if touched and touched[-1] in unfinished:
        return touched[-1]
    after = [name for name in unfinished if touched and name > touched[-1]]
    left: list[str] = after or unfinished
    return left[0] if left else None


def progress() -> Any:
    """The widget with your progress through the course."""
    from interpwidgets.widgets.progress import Progress

    return Progress(chapters(), current(), trouble())
