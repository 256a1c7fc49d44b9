"""Strings of brackets, balanced or broken in one of two ways.

    from interpwidgets.data.brackets import bracket_strings, heights, kind_of, text

    ids = bracket_strings(64, torch.Generator().manual_seed(0))     # what the model `brackets` is trained on
    text(ids)[0]                # "(()())"
    KINDS[kind_of(ids)[0]]      # "balanced"

Walk along a string, one step up at ``(`` and one step down at ``)``, and look at the height. The string is balanced if
the walk never goes below the ground (the *horizon*) and ends on it (the *elevation* at the end is zero). So there are
two ways to fail, and a model may well test for each in a place of its own::

    (()())      up to 2, back to 0                  balanced
    ((())       never below the ground, ends at 1   elevation
    ())(()      ends at 0, but was at -1 before     horizon
    ())         ends at -1, and so was below        both

A row of ids is ``[START]``, the brackets, ``[END]``, and padding to the width of the longest possible string. A reader
that goes from left to right has seen everything at ``[END]``.

Source of the task and of its two tests: the balanced-bracket classifier of the ARENA course.
"""

from functools import cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

PAD, START, END, OPEN, CLOSE = range(5)
LONGEST = 40  # brackets in a string; a row of ids is two longer
KINDS = ("balanced", "elevation", "horizon", "both")

Steps = Int[Tensor, "batch place"]  # +1 for an opening bracket, -1 for a closing one, 0 behind the end


def bracket_strings(batch: int, generator: torch.Generator) -> Int[Tensor, "batch position"]:
    """The next ``batch`` strings of the training stream, as ids of shape [batch, 42]: about 56 in 100 are balanced.

    Strings of fair coins are broken everywhere, and a model that learns from them only learns to see the worst. So the
    broken ones here are nearly right: a balanced string with two brackets exchanged, up to three turned round, with
    its order shuffled, or with one excursion from the ground to the ground reflected in it; and strings that never go
    below the ground but end above it. Lengths are even, 2 to 40, and any from 2 to 40 for the last kind.
    """
    shares = ((_shuffled, 0.18), (_exchanged, 0.20), (_turned, 0.10), (_unfinished, 0.04), (_reflected, 0.06))
    parts = [make(round(share * batch), generator) for make, share in shares]
    steps = torch.cat([*parts, _balanced(batch - sum(map(len, parts)), generator)])
    return _ids(steps[torch.randperm(batch, generator=generator)])


def strings_of(kind: str, n: int, seed: int = 0) -> Int[Tensor, "n position"]:
    """``n`` different draws of one of the `KINDS` from the training stream: ids of shape [n, 42].

    Raises `ValueError` for a kind that is not one of the four.
    """
    if kind not in KINDS:
        raise ValueError(f"kind has to be one of {', '.join(KINDS)}, but it is {kind!r}.")
    generator = torch.Generator().manual_seed(seed)
    found: list[Tensor] = []
    while sum(map(len, found)) < n:
        ids = bracket_strings(max(1000, 4 * n), generator)
        found.append(ids[kind_of(ids) == KINDS.index(kind)])
    return torch.cat(found)[:n]


# -- what is true of a string


def heights(ids: Int[Tensor, "batch position"]) -> Int[Tensor, "batch position"]:
    """How many brackets are open after each position, negative where too many were closed."""
    return ((ids == OPEN).long() - (ids == CLOSE).long()).cumsum(1)


def is_balanced(ids: Int[Tensor, "batch position"]) -> Bool[Tensor, " batch"]:
    """Whether each string never goes below the ground and ends on it."""
    return kind_of(ids) == KINDS.index("balanced")


def kind_of(ids: Int[Tensor, "batch position"]) -> Int[Tensor, " batch"]:
    """Which of the `KINDS` each string is: 1 if it ends off the ground, plus 2 if it goes below it.

    A string that ends below the ground has gone below it, so ``elevation`` alone means that it ends above.
    """
    height = heights(ids)
    return (height[:, -1] != 0).long() + 2 * (height.amin(1) < 0).long()


def text(ids: Int[Tensor, "batch position"]) -> list[str]:
    """The strings themselves, without ``[START]``, ``[END]`` and padding."""
    return ["".join({OPEN: "(", CLOSE: ")"}.get(token, "") for token in row) for row in ids.tolist()]


def end_position(ids: Int[Tensor, "batch position"]) -> Int[Tensor, " batch"]:
    """Where ``[END]`` stands in each row."""
    return (ids == END).int().argmax(1)


def _ids(steps: Steps) -> Int[Tensor, "batch position"]:
    """[batch, 42]: the steps between ``[START]`` and ``[END]``."""
    ids = torch.full((len(steps), steps.shape[1] + 2), PAD)
    ids[:, 0] = START
    ids[:, 1:-1] = torch.where(steps > 0, OPEN, torch.where(steps < 0, CLOSE, PAD))
    ids[torch.arange(len(steps)), 1 + steps.abs().sum(1)] = END
    return ids


# -- the ways to make one, [batch, 40] steps each


@cache
def _chance_of_up() -> Float[Tensor, "left height"]:
    """How often a step goes up, with so many steps left and at this height, if every balanced end is equally likely.

    The ways from height h back to the ground in n steps without going below it are the ballot numbers:
    ways(n, h) = ways(n - 1, h - 1) + ways(n - 1, h + 1).
    """
    ways = torch.zeros(LONGEST + 1, LONGEST + 3, dtype=torch.float64)
    ways[0, 0] = 1
    for left in range(1, LONGEST + 1):
        ways[left, 0] = ways[left - 1, 1]
        ways[left, 1:-1] = ways[left - 1, :-2] + ways[left - 1, 2:]
    up = torch.zeros(LONGEST + 1, LONGEST + 2)
    up[1:] = (ways[:-1, 1:] / ways[1:, :-1]).nan_to_num(0).float()
    return up


def _balanced(batch: int, generator: torch.Generator) -> Steps:
    """Balanced strings of even lengths; all strings of one length are equally likely."""
    lengths = 2 * torch.randint(1, LONGEST // 2 + 1, (batch,), generator=generator)
    steps, height = torch.zeros(batch, LONGEST, dtype=torch.long), torch.zeros(batch, dtype=torch.long)
    chances = torch.rand(batch, LONGEST, generator=generator)
    for place in range(LONGEST):
        left = (lengths - place).clamp(min=0)
        up = chances[:, place] < _chance_of_up()[left, height]
        steps[:, place] = torch.where(up, 1, -1) * (left > 0)
        height += steps[:, place]
    return steps


def _shuffled(batch: int, generator: torch.Generator) -> Steps:
    """As many up as down, in any order."""
    steps = _balanced(batch, generator)
    keys = torch.rand(batch, LONGEST, generator=generator).masked_fill(steps == 0, 2)  # what is behind the end stays
    return steps.gather(1, keys.argsort(1))


def _exchanged(batch: int, generator: torch.Generator) -> Steps:
    """Balanced, but for one opening and one closing bracket that have changed places."""
    steps = _balanced(batch, generator)
    keys = torch.rand(batch, LONGEST, generator=generator)
    for sign in (1, -1):  # each of the two turns one bracket round that the other leaves alone
        chosen = keys.masked_fill(steps * sign <= 0, -1).argmax(1)
        keys[torch.arange(batch), chosen] = -1
        steps[torch.arange(batch), chosen] = -sign
    return steps


def _turned(batch: int, generator: torch.Generator) -> Steps:
    """Balanced, but for one to three brackets that are turned round."""
    steps = _balanced(batch, generator)
    keys = torch.rand(batch, LONGEST, generator=generator).masked_fill(steps == 0, 2)
    turned = keys.argsort(1).argsort(1) < torch.randint(1, 4, (batch, 1), generator=generator)
    return torch.where(turned, -steps, steps)


def _unfinished(batch: int, generator: torch.Generator) -> Steps:
    """Never below the ground, and mostly above it at the end; half of them read backwards, as from the right."""
    lengths = torch.randint(2, LONGEST + 1, (batch, 1), generator=generator)
    inside = torch.arange(LONGEST) < lengths
    drift = 0.5 + 0.1 * torch.rand(batch, 1, generator=generator)
    steps = torch.where(torch.rand(batch, LONGEST, generator=generator) < drift, 1, -1) * inside
    height = torch.zeros(batch, dtype=torch.long)
    for place in range(LONGEST):
        steps[:, place] = torch.where(height == 0, steps[:, place].abs(), steps[:, place])
        height += steps[:, place]
    backwards = (lengths - 1 - torch.arange(LONGEST)).clamp(min=0)
    mirrored = torch.rand(batch, 1, generator=generator) < 0.5
    return torch.where(mirrored, -steps.gather(1, backwards) * inside, steps)


def _reflected(batch: int, generator: torch.Generator) -> Steps:
    """Balanced, but for one excursion from the ground to the ground that goes below it instead."""
    steps = _balanced(batch, generator)
    before = steps.cumsum(1) - steps
    keys = torch.rand(batch, LONGEST, generator=generator).masked_fill((before != 0) | (steps == 0), -1)
    begin = keys.argmax(1, keepdim=True)
    after = torch.arange(LONGEST) >= begin
    end = ((steps.cumsum(1) == 0) & after).int().argmax(1, keepdim=True)
    return torch.where(after & (torch.arange(LONGEST) <= end), -steps, steps)
