"""What people choose in a widget: traits that refuse what does not exist, in a sentence.

row = Index(0).tag(sync=True)                   # takes the integers of numpy and torch, too

existing("row", -1, 13, "rows")                 # 12
existing("row", 13, 13, "rows")                 # SelectionError: There is no row 13. Expected 0 to 12 (13 rows) ...
"""

from collections.abc import Sequence
from operator import index
from typing import Any

import traitlets as t

from interpwidgets.widgets._arrays import InputError

THEMES = ("auto", "light", "dark")


class SelectionError(InputError, t.TraitError):
    """A trait was set to what it cannot be; it keeps its old value."""


class Index(t.Int):  # type: ignore[type-arg]
    """A position; takes the integers of numpy and torch too."""

    def validate(self, obj: Any, value: Any) -> Any:
        try:
            return super().validate(obj, index(value))
        except TypeError:
            return super().validate(obj, value)


def existing(name: str, value: Any, size: int, things: str) -> int:
    """The index, counted from 0; raises `SelectionError` where there is none."""
    try:
        value = index(value)
    except TypeError:
        raise SelectionError(
            f"{name} is no position.", [("expected", "a whole number"), ("got", f"{type(value).__name__} {value!r}")]
        ) from None
    if not -size <= value < size:
        expected = "0" if size == 1 else f"0 to {size - 1}"
        raise SelectionError(
            f"There is no {name} {value}.", [("expected", f"{expected} ({size} {things})"), ("got", str(value))]
        )
    return int(value % size)


def one_of(name: str, value: Any, known: Sequence[str]) -> Any:
    """The value, if it is known; else `SelectionError`."""
    if value in known:
        return value
    got = f'"{value}"' if isinstance(value, str) else repr(value)
    raise SelectionError(f"There is no {name} {got}.", [("expected", listed(known)), ("got", got)])


def listed(options: Sequence[Any]) -> str:
    """``"a", "b" or "c"``; numbers stand without quotes."""
    if not options:
        return "nothing: there are none"
    *most, last = (f'"{option}"' if isinstance(option, str) else str(option) for option in options)
    return f"{', '.join(most)} or {last}" if most else last


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def csv_cell(text: str) -> str:
    """The text, with an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
