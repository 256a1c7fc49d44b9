"""Wrong answers to chapter 05 as people write them, loops and all: each gets the sentence that it needs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets.course import registry
from interpwidgets.course.check import judge
from interpwidgets.methods.induction import induction_score, prefix_matching_score
from interpwidgets.models.taps import Tap

Recognised = Callable[[str, Any], str]
Keys = Callable[[list[int]], list[int]]


def looped(keys: Keys, pairs: bool = False, shift: int = 1) -> Callable[[Tensor, Tensor], Tensor]:
    """Prefix matching in loops, into a table of float32, counting the keys that ``keys`` makes of all copies."""

    def score(pattern: Tensor, tokens: Tensor) -> Tensor:
        layers, batch, heads, n, _ = pattern.shape
        total, count = torch.zeros(layers, heads), 0
        for text in range(batch):
            for query in range(n):
                copies = [key for key in range(query) if tokens[text, key] == tokens[text, query]]
                count += len(copies) if pairs else bool(copies)
                for copy in keys(copies):
                    for layer in range(layers):
                        for head in range(heads):
                            total[layer, head] += pattern[layer, text, head, query, copy + shift]
        return total / count if count else total

    return score


def earlier(tokens: Tensor) -> Tensor:
    return (tokens[:, :, None] == tokens[:, None, :]).tril(-1)


def scores(model: Any, tokens: Tensor) -> Tensor:
    with torch.no_grad(), Tap(model, "pattern") as tap:
        model(tokens)
    return prefix_matching_score(tap["pattern"], tokens)


def stripe_heads(model: Any, tokens: Tensor, threshold: float = 0.4) -> list[tuple[int, int]]:
    with torch.no_grad(), Tap(model, "pattern") as tap:
        model(tokens)
    found = induction_score(tap["pattern"], (tokens.shape[1] - 1) // 2)
    return sorted(map(tuple, (found >= threshold).nonzero().tolist()), key=lambda place: -found[place])


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("05.4", looped(lambda copies: copies, pairs=True, shift=0), "averaged over pairs"),
        (
            "05.4",
            lambda pattern, tokens: pattern.transpose(1, 2)[:, :, earlier(tokens)].mean(-1),  # NaN without pairs
            "averaged over pairs",
        ),
        ("05.5", lambda pattern, period: pattern.diagonal(-period, -2, -1).mean((1, -1)), "the diagonal of the copies"),
        (
            "05.5",
            lambda pattern, period: torch.stack(
                [pattern[..., q, q - period + 1] for q in range(period + 1, pattern.shape[-1] - 1)], -1
            ).mean((1, -1)),
            "the last query is left out",
        ),
        ("05.6", looped(lambda copies: copies[-1:]), "only the latest copy"),
        ("05.6", looped(lambda copies: copies[:1]), "only the first copy"),
        ("05.6", looped(lambda copies: copies, pairs=True), "averaged over pairs"),
        (
            "05.9",
            lambda z, W_O, u, s: ((z @ W_O) * u[:, :, None]).sum(-1) / s[..., None],
            "every head through everybody's W_O",
        ),
        ("05.12", lambda steps, scores: steps[scores.diff().argmax()], "where the steepest rise begins"),
        ("05.13", stripe_heads, "the stripe, not prefix matching"),
        ("05.13", lambda model, tokens, threshold=0.4: scores(model, tokens) >= threshold, "a tensor, not a list"),
    ],
)
def test_a_wrong_try_is_recognised_however_it_is_written(
    recognised: Recognised, name: str, answer: Any, mistake: str
) -> None:
    assert recognised(name, answer) == mistake


def test_a_right_loop_into_float32_passes() -> None:
    assert judge(registry.exercise("05.6"), looped(lambda copies: copies), extras=False).passed
    assert judge(registry.exercise("05.4"), looped(lambda copies: copies, shift=0), extras=False).passed


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda found: None, "Your function returns None; a list of pairs"),
        (lambda found: found >= 0.2, "returns a tensor of shape [3, 4]"),
        (lambda found: [(1, 0, 0.9)], "Item 0 of your list has 3 parts"),
        (lambda found: [3, 1], "Item 0 of your list is an int"),
        (lambda found: [(0, 0.5)], "two whole numbers are asked"),
        (lambda found: (1, 0), "One pair goes into a list too"),
        (lambda found: {(1, 0): 0.9}, "returns a dict"),
        (lambda found: [(3, 0)], "There is no L3 H0 in a model of 3 layers of 4 heads"),
        (lambda found: [(1, 0), (1, 0)], "L1 H0 stands in your list more than once"),
    ],
)
def test_what_is_no_list_of_heads_gets_a_sentence_not_a_stop(returned: Any, said: str) -> None:
    def answer(model: Any, tokens: Tensor, threshold: float = 0.4) -> Any:
        return returned(scores(model, tokens))

    verdict = judge(registry.exercise("05.13"), answer, extras=False)
    assert verdict.state == "differs"
    assert verdict.failure is not None
    assert said in " ".join(verdict.failure.sentences)
