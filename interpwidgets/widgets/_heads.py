"""What `AttentionHeads` chooses among patterns, refuses, and sends of them: functions of `Patterns`, without a page.

choice = first_choice(patterns, None, None, None, None)     # where the picture opens
position("head", -1, patterns)                              # counted from 0, or SelectionError
tile_for(patterns, (choice.layer, choice.head), None)       # the head on show, as it crosses
"""

from collections.abc import Mapping
from operator import index
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from interpwidgets.widgets._arrays import InputError, shape_text, spelled, to_numpy
from interpwidgets.widgets._choice import SelectionError, count, existing, listed
from interpwidgets.widgets._patterns import Patterns

INDUCTION = 0.2  # from this score on, the widget opens on the strongest induction head
LISTED = 3  # heads that a notice names; the page marks the others
MARKED = 400  # heads that a notice marks at most
SMALLEST_ZOOM = 2


class Choice(NamedTuple):
    layer: int
    head: int | None
    query: int
    key: int


# -- the choice --------------------------------------------------------------------------------------------------------


def first_choice(patterns: Patterns, layer: int | None, head: int | None, query: int | None, key: int | None) -> Choice:
    if layer is None and head is None:
        induction = patterns.scores.get("induction", np.zeros((1, 1)))
        best = np.unravel_index(int(induction.argmax()), induction.shape)
        layer, head = (int(best[0]), int(best[1])) if induction[best] >= INDUCTION else (0, 0)
    layer = position("layer", layer or 0, patterns)
    head = None if head is None else position("head", head, patterns)
    query = position("query", -1 if query is None else query, patterns)
    if key is None:
        key = int(np.abs(patterns.row(layer, head, query)).argmax())
    return Choice(layer, head, query, position("key", key, patterns))


def there(patterns: Patterns, choice: Choice) -> bool:
    sizes = (patterns.n_layers, patterns.n_heads, patterns.n_tokens, patterns.n_keys)
    return all(at is None or at < size for at, size in zip(choice, sizes, strict=True))


def position(name: str, value: Any, patterns: Patterns) -> int:
    """The index, counted from 0; raises `SelectionError` where there is none."""
    size = {"layer": patterns.n_layers, "head": patterns.n_heads, "key": patterns.n_keys}.get(name, patterns.n_tokens)
    things = {"layer": "layers", "head": "heads in a layer"}.get(name, "tokens")
    return existing(name, value, size, things)


def square(value: Any, patterns: Patterns) -> list[int] | None:
    """A part of the map, its first query, first key and size; None where it is the whole.

    A part that is larger than there are queries, or keys, shows all of these.
    """
    if value is None:
        return None
    try:
        query, key, size = (index(number) for number in value)
    except (TypeError, ValueError):
        query = key = size = -1
    ends = [first + min(size, n) <= n for first, n in ((query, patterns.n_tokens), (key, patterns.n_keys))]
    if not (query >= 0 <= key and SMALLEST_ZOOM <= size <= patterns.longest and all(ends)):
        raise SelectionError(
            "There is no such part of the map.",
            [
                (
                    "expected",
                    f"first query, first key and size, at least {SMALLEST_ZOOM}, within {patterns.longest} tokens",
                ),
                ("got", repr(value)),
            ],
        )
    return None if size == patterns.longest else [query, key, size]


# -- what people hand in -----------------------------------------------------------------------------------------------


def kv_heads(n_kv_heads: int | None, n_heads: int) -> int:
    if n_kv_heads is None:
        return n_heads
    divisors = [n for n in range(1, n_heads + 1) if n_heads % n == 0]
    if n_kv_heads not in divisors:
        raise InputError(
            f"{count(n_heads, 'head')} cannot share {n_kv_heads} key-value heads equally.",
            [("expected", f"n_kv_heads that divides {n_heads} ({listed(divisors)})"), ("got", str(n_kv_heads))],
        )
    return int(n_kv_heads)


def own_scores(scores: Mapping[str, Any], patterns: Patterns) -> dict[str, NDArray[np.float32]]:
    expected = (patterns.n_layers, patterns.n_heads)
    own = {}
    for name, given in scores.items():
        if not isinstance(name, str) or name in ("", "layer", "none"):
            raise InputError(
                f"A score cannot be called {name!r}.", [("expected", 'a name other than "layer" and "none"')]
            )
        values = to_numpy(given, f"scores[{name!r}]", "[layer, head]")[0].astype(np.float32)
        if values.shape != expected or not np.isfinite(values).all():
            numbers = "" if values.shape != expected else " with numbers that are not finite"
            raise InputError(
                f"The score {name!r} does not fit the patterns.",
                [
                    ("expected", f"{shape_text(expected)}, a finite number for each head [layer, head]"),
                    ("got", shape_text(values.shape) + numbers),
                ],
            )
        own[spelled(name)] = values
    return own


def row_notice(patterns: Patterns) -> dict[str, Any] | None:
    """Which heads have rows that do not sum to one, and how far off they are."""
    heads = patterns.uneven()
    if not heads:
        return None
    named = [_named(patterns, *place) for place in heads[:LISTED]]
    rest = len(heads) - len(named)
    which = ", ".join(named) + (f" and {rest} more" if rest else "")
    return {
        "title": f"Rows do not sum to one in {count(len(heads), 'head')}.",
        "text": f"{which}. This is usual for attention sinks, differences and bfloat16.",
        "hint": "Silence with normalized=False",
        "heads": [list(place) for place in heads[:MARKED]],
    }


def _named(patterns: Patterns, layer: int, head: int) -> str:
    low, high = (f"{round(value, 3) + 0:.3g}".replace("-", "−") for value in patterns.row_sums[layer, head])
    return f"L{layer} H{head} ({low})" if low == high else f"L{layer} H{head} ({low} to {high})"


# -- wires -------------------------------------------------------------------------------------------------------------


def crossing(array: NDArray[Any]) -> dict[str, Any]:
    """An array as `Array` sends it, for use inside a dictionary."""
    return {"data": array.tobytes(), "dtype": array.dtype.str[1:], "shape": list(array.shape)}


def _crossing_tile(tile: dict[str, Any]) -> dict[str, Any]:
    where = tile["where"]
    return {**tile, "values": crossing(tile["values"]), "where": None if where is None else crossing(where)}


def of_kind(kind: str, tile: dict[str, Any]) -> dict[str, Any]:
    return {**_crossing_tile(tile), "attention": kind}


def tile_for(
    patterns: Patterns, place: tuple[int, int | None], tile: dict[str, Any] | None, kind: str = ""
) -> dict[str, Any]:
    if tile and (tile["layer"], tile["head"], tile["attention"]) == (*place, kind):
        return tile
    return of_kind(kind, patterns.tile(*place))


def window_for(
    patterns: Patterns,
    place: tuple[int, int | None],
    zoom: list[int] | None,
    window: dict[str, Any] | None,
    kind: str = "",
) -> dict[str, Any] | None:
    """The zoomed part of a head, where the page knows it by blocks only."""
    if zoom is None or patterns.tile_block == 1:
        return None
    if window and (window["layer"], window["head"], window["zoom"], window["attention"]) == (*place, zoom, kind):
        return window
    return of_kind(kind, patterns.window(*place, zoom))
