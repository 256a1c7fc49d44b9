"""What this learner has done: tries, passes, hints, solutions seen; kept on this computer, for them alone.

    from interpwidgets import progress

    progress()                      # the widget: every chapter, its exercises, its points
    standing("05.2").tries          # 3
    export_to("mine.jsonl")         # one small file to carry away; import_from("mine.jsonl") adds it elsewhere

One file in the user's own folder (or where ``INTERPWIDGETS_HOME`` points) holds one row per event, so that any number
of notebooks may write at the same time; `interpwidgets.course.events` says what it survives. Where it cannot be
written, events are kept for as long as this Python runs and every report says so in one sentence; a check never fails
for it.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from interpwidgets.course import registry
from interpwidgets.course.events import Event, store
from interpwidgets.course.snapshots import export_to as export_to
from interpwidgets.course.snapshots import import_from as import_from
from interpwidgets.course.verdict import Verdict

_PAUSE = 15 * 60.0  # a longer gap between two events is a pause; it counts as
_AFTER_PAUSE = 3 * 60.0


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


# -- events -------------------------------------------------------------------------------------------------------


def note(item: str, kind: str, what: str = "") -> None:
    """Remember that something happened now; never raises for the disk's sake."""
    store().add(item, kind, what)


def trouble() -> str:
    """One sentence if what is noted cannot be saved, else ""."""
    return store().trouble


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
    return _standing(store().events(item))


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
    times = [event[0] for event in store().events(f"{chapter.number}.*")]
    minutes = round(seconds_at_work(times) / 60)
    about = {"number": chapter.number, "title": chapter.title, "part": chapter.part}
    return {**about, "items": items(chapter), "minutes": minutes}


def items(chapter: registry.Chapter) -> list[dict[str, Any]]:
    """The exercises and questions of a chapter with their states."""
    by_item: dict[str, list[Event]] = {}
    for event in store().events(f"{chapter.number}.*"):
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
    touched = [event[1] for event in store().events() if event[1] in names]
    if touched and touched[-1] in unfinished:
        return touched[-1]
    after = [name for name in unfinished if touched and name > touched[-1]]
    left: list[str] = after or unfinished
    return left[0] if left else None


def progress() -> Any:
    """The widget with your progress through the course."""
    from interpwidgets.widgets.progress import Progress

    return Progress(chapters(), current(), trouble())
