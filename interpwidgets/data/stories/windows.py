"""Stories side by side in rows of one length, as models are trained on them.

    from interpwidgets.data.stories.windows import Windows, annotated

    windows = Windows(seed=0)
    windows.next(64)                # ids [64, 64]: <s> story <s> story <s> sto
    for row in annotated(8, seed=0):
        row.ids, row.stories        # the same, and where each story begins and ends, and how probable it is

One row in eight is no stories but random words, again and again in the same order: what is right there stands in the
row and nowhere else. Words are drawn from the whole vocabulary, ``<unk>`` included, so that models know what to do
about it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interpwidgets.data.stories.draw import Draw
from interpwidgets.data.stories.frames import Draft
from interpwidgets.data.stories.tasks import story
from interpwidgets.data.stories.vocabulary import VOCABULARY

CONTEXT = 64
REPEATS = 0.12  # how many of the rows are random words
SHORTEST, LONGEST = 6, 31  # how many of them before they come again

_IDS = {token: i for i, token in enumerate(VOCABULARY)}


@dataclass(frozen=True)
class Story:
    """A story in a row: from the <s> at ``start`` to the <s> at ``stop``, which may lie beyond the end of the row."""

    draft: Draft
    logprob: float  # of the story and of nothing else
    start: int
    stop: int

    @property
    def whole(self) -> bool:
        return self.stop < CONTEXT


@dataclass(frozen=True)
class Row:
    ids: list[int]
    stories: list[Story]  # [] for a row of random words


def row(draw: Draw, repeats: float = REPEATS, every: int = 1) -> Row:
    """One row of ``CONTEXT`` tokens; arguments as for `Windows.next`."""
    if draw.chance(repeats):
        return Row(_repeats(draw, range(1, len(VOCABULARY), every)), [])  # everything but <s>
    tokens: list[str] = []
    stories: list[Story] = []
    while len(tokens) < CONTEXT:
        before = draw.logprob
        draft = story(draw)
        start = len(tokens)
        tokens += draft.tokens
        stories.append(Story(draft, draw.logprob - before, start, len(tokens)))
    return Row([_IDS[token] for token in tokens[:CONTEXT]], stories)


def _repeats(draw: Draw, words: range) -> list[int]:
    n = draw.pick(range(SHORTEST, LONGEST + 1))
    chosen: dict[int, None] = {}
    while len(chosen) < n:
        chosen[draw.pick(words)] = None
    return [0, *(list(chosen) * (CONTEXT // n + 1))][:CONTEXT]


class Windows:
    """The stream of rows of a seed. The state of ``source`` is all that the next row depends on."""

    def __init__(self, seed: int) -> None:
        self._draw = Draw(seed)
        self.source = self._draw.source

    def next(self, n: int, repeats: float = REPEATS, every: int = 1) -> npt.NDArray[np.int64]:
        """The next ``n`` rows, as ids of shape [n, CONTEXT].

        ``repeats`` is the share of rows of random words, and ``every`` keeps these to every second word of the
        vocabulary, to every fourth ...: it is easier to learn to copy few words than many.
        """
        return np.array([row(self._draw, repeats, every).ids for _ in range(n)], dtype=np.int64)


def annotated(n: int, seed: int) -> Iterator[Row]:
    """``n`` rows with the stories in them."""
    draw = Draw(seed)
    for _ in range(n):
        yield row(draw)
