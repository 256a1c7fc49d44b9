"""Choices by chance that know how probable they were, and a walk through all of them.

    from interpwidgets.data.stories.draw import Draw, outcomes

    draw = Draw(seed=0)
    draw.pick(("soup", "bread", "cake"))        # one of them
    draw.logprob                                # -1.0986, the logarithm of 1/3

    for meal, logprob in outcomes(lambda draw: draw.pick(("soup", "bread")) if draw.chance(0.9) else "nothing"):
        ...                                     # soup 0.45, bread 0.45, nothing 0.1

A story is a function of a `Draw`: it makes its choices by asking, so the same function can be run by chance, and be run
once for every story that it can tell.
"""

import math
import random
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Generic, TypeVar

T = TypeVar("T")

_LOG = [0.0, *(math.log(n) for n in range(1, 5001))]


class Weighted(Generic[T]):
    """A table of options and how often each is to come; the weights need not sum to 1."""

    def __init__(self, weights: dict[T, float]) -> None:
        total = sum(weights.values())
        self.options = tuple(weights)
        self.logprobs = tuple(math.log(weight / total) for weight in weights.values())
        self.upto = (*tuple(accumulate(weight / total for weight in weights.values()))[:-1], 1.0)


class Draw:
    """Chooses by chance; ``logprob`` is the natural logarithm of the probability of all choices so far."""

    def __init__(self, seed: int = 0) -> None:
        self.source = random.Random(seed)  # noqa: S311, its state is all that the next choice depends on
        self._random = self.source.random
        self.logprob = 0.0

    def pick(self, options: Sequence[T]) -> T:
        """One of the options, each as probable as any other."""
        n = len(options)
        self.logprob -= _LOG[n]
        return options[int(self._random() * n)]

    def weighted(self, table: Weighted[T]) -> T:
        """One of the options of a table, as probable as it says."""
        i = bisect(table.upto, self._random())
        self.logprob += table.logprobs[i]
        return table.options[i]

    def chance(self, probability: float) -> bool:
        """True with this probability, which lies between 0 and 1 and is neither."""
        yes = self._random() < probability
        self.logprob += math.log(probability if yes else 1 - probability)
        return yes


class _Walk(Draw):
    """Makes the choices that it is told to, and the first of all options where it is told nothing."""

    def __init__(self, told: Sequence[int], at_most: int) -> None:
        super().__init__()
        self._told, self._at_most = told, at_most
        self.taken: list[tuple[int, int]] = []  # the option taken, of how many

    def _next(self, n: int) -> int:
        place = len(self.taken)
        i = self._told[place] if place < len(self._told) else 0
        self.taken.append((i, n))
        return i

    def pick(self, options: Sequence[T]) -> T:
        n = min(len(options), self._at_most)
        self.logprob -= _LOG[n]
        return options[self._next(n)]

    def weighted(self, table: Weighted[T]) -> T:
        n = min(len(table.options), self._at_most)
        i = self._next(n)
        self.logprob += table.logprobs[i] - math.log(sum(map(math.exp, table.logprobs[:n])))
        return table.options[i]

    def chance(self, probability: float) -> bool:
        yes = self._next(2) == 0
        self.logprob += math.log(probability if yes else 1 - probability)
        return yes


def outcomes(tell: Callable[[Draw], T], at_most: int = 10**9) -> Iterator[tuple[T, float]]:
    """Everything that ``tell`` can return, each with the logarithm of its probability.

    ``at_most`` cuts every list of options to its first ones, which makes a small grammar of a large one: its
    probabilities sum to 1 as well.
    """
    told: list[int] = []
    while True:
        walk = _Walk(told, at_most)
        yield tell(walk), walk.logprob
        taken = walk.taken
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return
        told = [i for i, _ in taken[:-1]] + [taken[-1][0] + 1]
