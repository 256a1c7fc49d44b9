"""What the exercises of chapter 05 are checked on.

Inputs come from a seed, on the processor, and then go to the device: the same numbers everywhere. Sizes of different
axes are different numbers, so that a mixed-up axis shows. The hand-made patterns hold three heads that a person would
draw: previous token, duplicate token, induction.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from interpwidgets.course.exercise import Answer, Arguments, Found, Property
from interpwidgets.data.repeats import repeated_tokens
from interpwidgets.models.load import load
from interpwidgets.models.taps import Tap

Make = Callable[[int, torch.device], Arguments]


def randn(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def words_again(seed: int, batch: int, n: int, n_words: int) -> Tensor:
    """Words that come again at odd places, now and then right away: [batch, n], ids from 1."""
    return torch.randint(1, n_words + 1, (batch, n), generator=torch.Generator().manual_seed(seed))


def random_pattern(
    seed: int, layers: int, batch: int, heads: int, n: int, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Random causal attention with a few strong cells in each row: [layer, batch, head, query, key]."""
    scores = 2 * randn(seed, layers, batch, heads, n, n, dtype=torch.float64)
    hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, -torch.inf).softmax(-1).to(dtype)


def transposed(pattern: Tensor) -> Tensor:
    """The same numbers, laid out in memory the other way round."""
    return pattern.transpose(-1, -2).contiguous().transpose(-1, -2)


def tidy(tokens: Sequence[int]) -> Tensor:
    """Three heads as drawn in a book, [1, 1, 3, query, key]: previous token, duplicate token, induction."""
    n = len(tokens)
    heads = torch.zeros(3, n, n)
    for query in range(n):
        before = max((key for key in range(query) if tokens[key] == tokens[query]), default=-1)
        for head, key in enumerate((max(query - 1, 0), max(before, 0), before + 1)):
            heads[head, query, key] = 1
    return heads[None, None]


def placed(*arguments: Any) -> Make:
    """A case that is the same for every seed."""
    return lambda seed, device: on(device, *arguments)


def on(device: torch.device, *arguments: Any) -> Arguments:
    return tuple(each.to(device) if isinstance(each, Tensor) else each for each in arguments)


def within(low: float, high: float) -> Callable[[Arguments, Any], str | None]:
    def broken(arguments: Arguments, result: Any) -> str | None:
        outside = result[(result < low - 1e-2) | (result > high + 1e-2)]
        if not outside.numel():
            return None
        return f"A score lies between {low:g} and {high:g}; one of yours is {outside.flatten()[0].item():.3g}."

    return broken


SCORE = Property("scores between 0 and 1", within(0, 1))

PERIOD = 20


@cache
def probe() -> Tensor:
    return repeated_tokens(batch=32, period=PERIOD, seed=5)


@cache
def run() -> tuple[Tensor, Tensor]:
    """Pattern and logits of attn2l on twenty words, twice."""
    model: Any = load("attn2l")
    with torch.no_grad(), Tap(model, "pattern") as tap:
        logits = model(probe()).logits
    return tap["pattern"], logits


def best_place(values: Tensor) -> str:
    """The highest score of [layer, head], in words: "L1 H0 scores 0.95"."""
    layer, head = divmod(int(values.argmax()), values.shape[1])
    return f"L{layer} H{head} scores {values[layer, head].item():.2f}"


def found_heads(title: str, score: Callable[[Answer, Tensor], Tensor], tail: str) -> Callable[[Answer], Found]:
    def found(answer: Answer) -> Found:
        values = score(answer, run()[0])
        return Found(title, values, "layer", "head", f"In attn2l, {best_place(values)}: {tail}")

    return found
