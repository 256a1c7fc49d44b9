"""Every chapter with its exercises and questions: what is done, what was tried, what comes next.

    chapters = [{"number": "05", "title": "Induction heads", "part": "II Attention and circuits", "minutes": 66,
                 "items": [{"id": "05.1", "name": "previous_token_score", "kind": "exercise", "state": "done",
                            "points": 2, "minutes": 10},
                           {"id": "05.A", "name": "What is lost", "kind": "question", "state": "open",
                            "points": 1, "minutes": 1}]}]
    Progress(chapters, current="05.A")      # in a notebook
    print(Progress(chapters))               # as text

Square is exercise, circle is question; full is done, full with a hole is done with a hint, half is tried, outline is
open; a ring says where you are. It needs no kernel: an exported page shows the same (frontend/src/widgets/progress.ts
is the other side).
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import traitlets as t

from interpwidgets.widgets._arrays import InputError, spelled
from interpwidgets.widgets._base import InterpWidget

KINDS = {"exercise": "□◧▣■", "question": "○◐◉●"}  # one sign for each state, in the order below
STATES = ("open", "tried", "hinted", "done")
PASSED = ("hinted", "done")


class Progress(InterpWidget):
    """Where a learner stands.

    ``chapters``: dictionaries with ``number``, ``title``, ``part`` (neighbours of one part stand together), ``minutes``
    (spent so far) and ``items``: dictionaries with ``id``, ``name``, ``kind`` ("exercise" or "question"), ``state``
    ("open", "tried", "hinted": done with a hint, or "done"), ``points``, ``minutes`` (expected) and, if known,
    ``tries``. ``current``: the id of the item to continue with, or None.
    ``note``: a sentence that the learner should know, such as that nothing can be saved.

    Raises `InputError` (a `ValueError`) that names the item and what is wrong with it.
    """

    _kind = t.Unicode("progress").tag(sync=True)

    chapters = t.List(t.Dict()).tag(sync=True)
    current = t.Unicode(None, allow_none=True).tag(sync=True)
    note = t.Unicode("").tag(sync=True)
    title = t.Unicode("Your progress").tag(sync=True)
    theme = t.Enum(("auto", "light", "dark"), "auto").tag(sync=True)

    def __init__(
        self,
        chapters: Sequence[dict[str, Any]],
        current: str | None = None,
        note: str = "",
        *,
        title: str = "Your progress",
        theme: str = "auto",
    ) -> None:
        read = [_chapter(chapter) for chapter in chapters]
        ids = [item["id"] for chapter in read for item in chapter["items"]]
        if twice := {name for name in ids if ids.count(name) > 1}:
            raise InputError(f"There are two items {min(twice)}.", [("expected", "an id of its own for each item")])
        if current is not None and current not in ids:
            raise InputError(f"There is no item {current!r}.", [("expected", "the id of an item, or None")])
        super().__init__(chapters=read, current=current, note=spelled(note).strip(), title=spelled(title), theme=theme)

    @property
    def _items(self) -> list[dict[str, Any]]:
        return [item for chapter in self.chapters for item in chapter["items"]]

    def __repr__(self) -> str:
        exercises = [item for item in self._items if item["kind"] == "exercise"]
        done = sum(item["state"] in PASSED for item in exercises)
        said = f"{_score(self._items, 'of')} points, {done} of {len(exercises)} exercises passed"
        worked = sum(chapter["minutes"] for chapter in self.chapters)
        said += f", {_time(worked)} at work" * bool(worked)
        following = [f"; next: {item['id']} {item['name']}" for item in self._items if item["id"] == self.current]
        return f"{self.title}: {said}{''.join(following)}"

    def __str__(self) -> str:
        """A line for each chapter, the items as signs."""
        wide = max((len(chapter["title"]) for chapter in self.chapters), default=0)
        lines = [
            f"{chapter['number']}  {chapter['title']:{wide}}  {_signs(chapter['items'])}  {_score(chapter['items'])}"
            for chapter in self.chapters
        ]
        return "\n".join([*filter(None, [self.note]), repr(self), *lines])


def _signs(items: Sequence[dict[str, Any]]) -> str:
    return " ".join(KINDS[item["kind"]][STATES.index(item["state"])] for item in items)


def _score(items: Sequence[dict[str, Any]], word: str = "/") -> str:
    won = sum(item["points"] for item in items if item["state"] in PASSED)
    return f"{won} {word} {sum(item['points'] for item in items)}"


def _time(minutes: int) -> str:
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02}"


# -- what is handed in --------------------------------------------------------------------------------------------


def _chapter(given: dict[str, Any]) -> dict[str, Any]:
    name = f"Chapter {given.get('number', '?')}"
    texts = {key: spelled(_part(given, key, name)) for key in ("number", "title", "part")}
    items = [_item(item, name) for item in _part(given, "items", name)]
    return {**texts, "items": items, "minutes": _number(given, "minutes", name)}


def _item(given: dict[str, Any], chapter: str) -> dict[str, Any]:
    name = f"Item {given.get('id', '?')} of {chapter.lower()}"
    read = {key: spelled(_part(given, key, name)) for key in ("id", "name", "kind", "state")}
    for key, known in (("kind", tuple(KINDS)), ("state", STATES)):
        if read[key] not in known:
            raise InputError(f"{name} has the {key} {read[key]!r}.", [("expected", " or ".join(known))])
    numbers = {key: _number(given, key, name) for key in ("points", "minutes")}
    return {**read, **numbers, "tries": _number({"tries": 0, **given}, "tries", name)}


def _part(given: dict[str, Any], key: str, name: str) -> Any:
    if key not in given:
        raise InputError(f"{name} has no {key!r}.", [("got", ", ".join(map(str, given)) or "nothing")])
    return given[key]


def _number(given: dict[str, Any], key: str, name: str) -> int:
    value = _part(given, key, name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
        raise InputError(f"{name} has {value!r} {key}.", [("expected", "a number, 0 or more")])
    return round(value)
