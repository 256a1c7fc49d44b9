"""Stories side by side in rows of one length, as models are trained on them.

    from interpwidgets.data.stories.windows import Windows, annotated

    windows = Windows(seed=0)
    windows.next(64)                # ids [64, 64]: <s> story <s> story <s> sto
    for row in annotated(8, seed=0):
        row.ids, row.stories        # the same, and where each story begins and ends, and how probable it is

One row in eight is no stories but random words, again and again in the same order: what is right there stands in the
row and nowhere else. Words are drawn from the whole vocabulary, ``<unk>`` included, so that models know what to do
about it.

A `Mix` says how often each kind of story is told. `READING` is mostly documents with a question at their end::

    Windows(seed=0, mix=READING).next(64)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interpwidgets.data.stories.draw import Draw, Weighted
from interpwidgets.data.stories.frames import Draft
from interpwidgets.data.stories.tasks import STORIES, story
from interpwidgets.data.stories.vocabulary import VOCABULARY

CONTEXT = 64
SHORTEST, LONGEST = 6, 31  # how many of them before they come again

_IDS = {token: i for i, token in enumerate(VOCABULARY)}


@dataclass(frozen=True)
class Mix:
    """What rows are made of."""

    stories: Weighted[str]  # how often each kind is told
    repeats: float  # how many of the rows are random words
    every: int = 1  # of the vocabulary, random words are drawn from every second, every fourth ... word


DOCUMENTS = ("mystery", "keeper", "coloured objects")  # what is asked at their end stands in them
EVERYTHING = Mix(STORIES, repeats=0.12)
READING = Mix(
    Weighted(
        {
            "mystery": 0.27, "keeper": 0.27, "coloured objects": 0.26, "ioi": 0.04, "greater-than": 0.02, "tale": 0.03,
            "fact": 0.02, "two hops": 0.01, "hearsay": 0.01, "successor": 0.01, "calendar": 0.01, "agreement": 0.01,
            "acronym": 0.01, "review": 0.01, "pronoun": 0.01, "opposite": 0.01,
        }
    ),
    repeats=0.15,
)  # fmt: skip


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

    @property
    def answers(self) -> list[int]:
        """Where in the row a word stands that a story asks for."""
        places = [told.start + told.draft.answer for told in self.stories if told.draft.answer is not None]
        return [place for place in places if place < CONTEXT]


def row(draw: Draw, mix: Mix = EVERYTHING) -> Row:
    """One row of ``CONTEXT`` tokens."""
    if draw.chance(mix.repeats):
        return Row(_repeats(draw, range(1, len(VOCABULARY), mix.every)), [])  # everything but <s>
    tokens: list[str] = []
    stories: list[Story] = []
    while len(tokens) < CONTEXT:
        before = draw.logprob
        draft = story(draw, mix.stories)
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

    def __init__(self, seed: int, mix: Mix = EVERYTHING) -> None:
        self._draw, self._mix = Draw(seed), mix
        self.source = self._draw.source

    def next(self, n: int) -> npt.NDArray[np.int64]:
        """The next ``n`` rows, as ids of shape [n, CONTEXT]."""
        return np.array([each.ids for each in self.rows(n)], dtype=np.int64)

    def rows(self, n: int, mix: Mix | None = None) -> list[Row]:
        """The next ``n`` rows with the stories in them, of another ``mix`` for once."""
        return [row(self._draw, mix or self._mix) for _ in range(n)]


def annotated(n: int, seed: int, mix: Mix = EVERYTHING) -> Iterator[Row]:
    """``n`` rows with the stories in them."""
    draw = Draw(seed)
    for _ in range(n):
        yield row(draw, mix)
