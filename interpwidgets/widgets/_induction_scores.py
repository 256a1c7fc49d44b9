"""What is repeated in a text, and how much each head follows it: `InductionHeads` in numbers, without a model.

    repeat = find_repeat(["<s>", "a", "b", "c", "a", "b", "c"])      # Repeat(start=1, period=3, copies=2)
    habits(patterns, repeat)["induction"]                            # [layer, head]
    second_copy(repeat)                                              # the entries of a loss that count

| score           | queries                         | keys                                               |
|-----------------|---------------------------------|----------------------------------------------------|
| induction       | from the second copy on         | one step after where the token stood a period ago  |
| previous token  | all but the first               | the position before                                |
| duplicate token | repeats of an earlier token     | all earlier places of the token                    |
| prefix matching | repeats of an earlier token     | one step after all earlier places of the token     |

Each is the mean attention from those queries to those keys, as in `interpwidgets.methods.induction`. Only a text that
is one block, repeated, has an induction score.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from interpwidgets.widgets._patterns import Patterns

Scores = NDArray[np.float32]
Place = tuple[int, int]


class Repeat(NamedTuple):
    """A block of ``period`` tokens that stands ``copies`` times, from position ``start`` to the end of the text."""

    start: int
    period: int
    copies: int


def find_repeat(tokens: Sequence[str]) -> Repeat | None:
    """The shortest block that the text repeats from its first or second token on; None where it repeats none.

    A block has at least two tokens, not all the same.
    """
    for start in (1, 0):
        rest = list(tokens[start:])
        for period in range(2, len(rest) // 2 + 1):
            whole = len(rest) % period == 0 and rest[period:] == rest[:-period]
            if whole and len(set(rest[:period])) > 1:
                return Repeat(start, period, len(rest) // period)
    return None


def habits(patterns: Patterns, repeat: Repeat | None) -> dict[str, Scores]:
    """Name -> [layer, head], in the order in which the page lists them."""
    known = patterns.scores
    found = {"induction": _induction(patterns, repeat)} if repeat else {}
    return {
        **found,
        "previous token": known["previous token"],
        "duplicate token": known["duplicate token"],
        "prefix matching": known["induction"],  # on any text; here "induction" is that of the block
    }


def second_copy(repeat: Repeat | None) -> slice:
    """Which entries of a loss by position are predicted within the second copy or later; all where nothing repeats."""
    return slice(0, None) if repeat is None else slice(repeat.start + repeat.period, None)


def strongest(scores: Scores, most: int, least: float) -> list[Place]:
    """The heads (layer, head) that score at least ``least``, the highest first, at most ``most`` of them."""
    found = [(int(layer), int(head)) for layer, head in np.argwhere(scores >= least)]
    return sorted(found, key=lambda place: -float(scores[place]))[:most]


def _induction(patterns: Patterns, repeat: Repeat) -> Scores:
    back = repeat.period - 1
    heads = [
        [
            np.diagonal(patterns.head(layer, head), -back)[repeat.start + 1 :].mean()  # from query start + period on
            for head in range(patterns.n_heads)
        ]
        for layer in range(patterns.n_layers)
    ]
    return np.asarray(heads, np.float32)
