"""Which kinds of stories there are, and how often each is told."""

from collections.abc import Callable
from typing import Protocol

from interpwidgets.data.stories import binding, circuits, knowledge, tales
from interpwidgets.data.stories.draw import Draw, Weighted
from interpwidgets.data.stories.frames import Draft


class HoldsOut(Protocol):
    def __call__(self, draw: Draw, held_out: bool = False) -> Draft: ...


# Stories of which some are kept out of training: story(draw, held_out=True) tells one of those.
HELD_OUT: dict[str, HoldsOut] = {
    "ioi": circuits.indirect_object,
    "greater-than": circuits.greater_than,
    "agreement": circuits.agreement,
    "two hops": knowledge.two_hops,
}
TASKS: dict[str, Callable[[Draw], Draft]] = {
    **HELD_OUT,
    "tale": tales.tale,
    "fact": knowledge.fact,
    "hearsay": knowledge.hearsay,
    "successor": circuits.successor,
    "calendar": circuits.calendar,
    "acronym": circuits.acronym,
    "mystery": binding.mystery,
    "keeper": binding.keeper,
    "coloured objects": binding.coloured_objects,
    "review": tales.review,
    "pronoun": circuits.pronoun,
    "opposite": circuits.opposite,
}
STORIES: Weighted[str] = Weighted(
    {
        "ioi": 0.20, "greater-than": 0.12, "tale": 0.12, "fact": 0.10, "two hops": 0.03, "hearsay": 0.04,
        "successor": 0.07, "calendar": 0.03, "agreement": 0.06, "acronym": 0.06, "mystery": 0.03, "keeper": 0.03,
        "coloured objects": 0.04, "review": 0.03, "pronoun": 0.03, "opposite": 0.02,
    }
)  # fmt: skip


def story(draw: Draw) -> Draft:
    """A story of any kind."""
    return TASKS[draw.weighted(STORIES)](draw)
