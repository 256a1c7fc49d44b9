"""Wrong answers to chapter 02 as people write them, loops and all: each gets the sentence that it needs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets.course import registry
from interpwidgets.course.check import judge
from interpwidgets.models.taps import Tap

Recognised = Callable[[str, Any], str]


def attention_first(start: Tensor, attn_out: Tensor, mlp_out: Tensor) -> Tensor:
    parts = [start]
    for layer in attn_out:
        parts.append(layer)
    for layer in mlp_out:
        parts.append(layer)
    return torch.stack(parts)


def each_its_own_norm(parts: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    normed = [torch.nn.functional.layer_norm(part, part.shape[-1:], weight, None, epsilon) for part in parts]
    return torch.stack(normed)


def only_zero(pattern: Tensor, query: Tensor, key: Tensor) -> Tensor:
    pattern = pattern.clone()
    for text in range(len(pattern)):
        pattern[text, :, query[text], key[text]] = 0
    return pattern


def rank_from_one(logits: Tensor, tokens: Tensor) -> Tensor:
    own = torch.take_along_dim(logits, tokens[..., None], -1)
    return (logits > own).long().sum(-1) + 1


def reverse_kl(logits: Tensor) -> Tensor:
    p, q = logits.log_softmax(-1), logits[-1].log_softmax(-1)
    return torch.stack([(each.exp() * (each - q)).sum(-1) for each in p])


def kl_with_mean(residual: Tensor, end: Tensor, readout: Any, steps: int, rate: float) -> tuple[Tensor, Tensor]:
    """`kl_div` with its default reduction, which divides by the vocabulary as well."""
    d = residual.shape[1]
    A, b = torch.nn.Parameter(residual.new_zeros(d, d)), torch.nn.Parameter(residual.new_zeros(d))
    optimizer = torch.optim.SGD([A, b], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        said = readout(residual + residual @ A + b).log_softmax(-1)
        goal = readout(end).softmax(-1).detach()
        (goal * (goal.log() - said)).mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return A.detach(), b.detach()


def never_zeroed(residual: Tensor, end: Tensor, readout: Any, steps: int, rate: float) -> tuple[Tensor, Tensor]:
    d = residual.shape[1]
    A, b = torch.nn.Parameter(residual.new_zeros(d, d)), torch.nn.Parameter(residual.new_zeros(d))
    goal = readout(end).log_softmax(-1).detach()
    for _ in range(steps):
        said = readout(residual + residual @ A + b).log_softmax(-1)
        (goal.exp() * (goal - said)).sum(-1).mean().backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            A -= rate * A.grad  # type: ignore[operator]
            b -= rate * b.grad  # type: ignore[operator]
    return A.detach(), b.detach()


def end_as_logits(residual: Tensor, end: Tensor, readout: Any, steps: int, rate: float) -> tuple[Tensor, Tensor]:
    d = residual.shape[1]
    A, b = torch.nn.Parameter(residual.new_zeros(d, d)), torch.nn.Parameter(residual.new_zeros(d))
    optimizer = torch.optim.SGD([A, b], lr=rate)
    for _ in range(steps):
        optimizer.zero_grad()
        said = readout(residual + residual @ A + b).log_softmax(-1)
        torch.nn.functional.kl_div(said, end.softmax(-1), reduction="batchmean").backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return A.detach(), b.detach()


def std_and_epsilon(parts: Tensor, weight: Tensor, epsilon: float) -> Tensor:
    whole = parts.sum(0)
    return weight * (parts - parts.mean(-1, keepdim=True)) / (whole.std(-1, keepdim=True) + epsilon)


def frozen_once_more(stages: Tensor, weight: Tensor, bias: Tensor, W_U: Tensor, epsilon: float) -> Tensor:
    scale = (stages.sum(0).var(-1, correction=0, keepdim=True) + epsilon).sqrt()
    return ((stages - stages.mean(-1, keepdim=True)) / scale * weight + bias) @ W_U


def mean_of_kl(logits: Tensor, end: Tensor) -> Tensor:
    return torch.nn.functional.kl_div(
        logits.log_softmax(-1), end.log_softmax(-1), reduction="batchmean", log_target=True
    )


def length_counts(residual: Tensor, direction: Tensor) -> Tensor:
    along = torch.einsum("rd,d->r", residual, direction)
    return residual - torch.outer(along, direction) + along.mean() * direction


def at_resid_post(model: Any, residual: Tensor, prompt: Tensor, at: int, layer: int) -> Tensor:
    prompts = prompt.repeat(len(residual), 1)

    def put_in(stream: Tensor) -> Tensor:
        stream[torch.arange(len(residual)), at] = residual
        return stream

    with torch.no_grad(), Tap(model, edits={("resid_post", layer): put_in}):
        return torch.as_tensor(model(prompts).logits[:, -1])


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("02.1", attention_first, "all attention first, then all MLPs"),
        ("02.3", each_its_own_norm, "a scale for each part"),
        ("02.3", std_and_epsilon, "the deviation of a sample, and epsilon after the root"),
        (
            "02.4",
            lambda normed, W_U, right, wrong: normed @ W_U[:, right] - normed @ W_U[:, wrong],
            "all texts with all tokens",
        ),
        ("02.5", only_zero, "the rest is not scaled"),
        ("02.6", lambda stages, weight, bias, W_U, epsilon: torch.matmul(stages, W_U), "no norm"),
        ("02.6", frozen_once_more, "one scale, from the sum of the stages"),
        ("02.7", rank_from_one, "counted from 1"),
        ("02.8", reverse_kl, "the other way round"),
        ("02.9", lambda residual, A, b: torch.nn.functional.linear(residual, A, b) + residual, "A is transposed"),
        ("02.10", kl_with_mean, "averaged over the vocabulary too"),
        ("02.10", never_zeroed, "gradients that add up"),
        ("02.10", end_as_logits, "the end is taken for logits"),
        ("02.11", mean_of_kl, "the mean of the divergences"),
        ("02.12", length_counts, "the length counts"),
        ("02.13", at_resid_post, "after the layer, not before it"),
        ("02.14", lambda x, d: (d.mT @ x).sum(0), "outputs before inputs"),
    ],
)
def test_a_wrong_try_is_recognised_however_it_is_written(
    recognised: Recognised, name: str, answer: Any, mistake: str
) -> None:
    assert recognised(name, answer) == mistake


@pytest.mark.parametrize("returned", [None, 3.0, "A, b"])
def test_what_is_no_pair_of_tensors_gets_a_sentence_not_a_stop(returned: Any) -> None:
    verdict = judge(registry.exercise("02.10"), lambda residual, end, readout, steps, rate: returned, extras=False)
    assert verdict.state == "differs"
    assert verdict.failure is not None
    assert verdict.failure.sentences


def test_an_edit_in_place_of_the_given_pattern_is_told() -> None:
    def in_place(pattern: Tensor, query: Tensor, key: Tensor) -> Tensor:
        pattern[torch.arange(len(pattern)), :, query, key] = 0
        return pattern / pattern.sum(-1, keepdim=True).clamp(min=1e-12)

    verdict = judge(registry.exercise("02.5"), in_place, extras=False)
    assert verdict.failure is not None
    assert "pattern" in verdict.failure.headline
