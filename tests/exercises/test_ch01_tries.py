"""Wrong answers to chapter 01 as people write them, loops and all: each gets the sentence that it needs."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets.course import registry
from interpwidgets.course.check import judge
from interpwidgets.methods.transformer import attention

Recognised = Callable[[str, Any], str]


def late_names(model: Any, tokens: Tensor, names: list[str]) -> dict[str, Tensor]:
    """The loop variable is looked up when the hook runs, and by then it is the last name."""
    kept: dict[str, Tensor] = {}
    handles = []
    try:
        for name in names:

            def keep(module: Any, inputs: Any, output: Any) -> None:
                kept[name] = output[0] if isinstance(output, tuple) else output  # noqa: B023  that is the mistake

            handles.append(model.get_submodule(name).register_forward_hook(keep))
        model(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return kept


def no_return(model: Any, tokens: Tensor, name: str, edit: Any) -> Any:
    with model.get_submodule(name).register_forward_hook(lambda module, inputs, output: None):
        return model(tokens)


def attend(q: Tensor, k: Tensor) -> Tensor:
    """Loops, no mask."""
    rows = [[(k[b, :, h] @ q[b, i, h] / q.shape[-1] ** 0.5).softmax(0) for i in range(q.shape[1])]
            for b in range(q.shape[0]) for h in range(q.shape[2])]  # fmt: skip
    return torch.stack([torch.stack(row) for row in rows]).reshape(q.shape[0], q.shape[2], q.shape[1], -1)


def norm_with_std(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (x.std(-1, keepdim=True).square() + eps).sqrt() * weight + bias


def bare_logits(model: Any, tokens: Tensor, name: str, edit: Any) -> Any:
    def hook(module: Any, inputs: Any, output: Any) -> Any:
        return (edit(output[0]), *output[1:]) if isinstance(output, tuple) else edit(output)

    with model.get_submodule(name).register_forward_hook(hook):
        return model(tokens).logits


def loss_as_a_number(model: Any, tokens: Tensor, optimizer: Any) -> float:
    loss = torch.nn.functional.cross_entropy(model(tokens).logits[:, :-1].mT, tokens[:, 1:])
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def places_by_token(tokens: Tensor, W_E: Tensor, W_pos: Tensor) -> Tensor:
    return W_E[tokens] + W_pos[tokens]


def bias_in_every_head(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    heads = range(len(weights["W_O"]))
    one = [{k: w if w.dim() == 1 else w[[h]] for k, w in weights.items() if k[2:] in "QKVO"} for h in heads]
    return sum((attention(x, each) for each in one), torch.zeros_like(x))


def softmax_over_texts(logits: Tensor, temperature: float) -> Tensor:
    return torch.softmax(logits / temperature, dim=0)


def columns_scaled(weight: Tensor, bias: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return W * weight, bias @ W + b


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("01.1", places_by_token, "places are looked up by token"),
        ("01.4", bias_in_every_head, "the output bias once for each head"),
        ("01.10", softmax_over_texts, "the softmax runs over the texts"),
        ("01.15", bare_logits, "the logits alone"),
        ("01.16", columns_scaled, "columns are scaled, not rows"),
        ("01.17", loss_as_a_number, "a number, not a tensor"),
        ("01.3", attend, "no mask"),
        ("01.2", norm_with_std, "the variance over n - 1"),
        ("01.14", late_names, "all under the last name"),
        ("01.15", no_return, "the hook returns nothing"),
    ],
)
def test_a_wrong_try_is_recognised_however_it_is_written(
    recognised: Recognised, name: str, answer: Any, mistake: str
) -> None:
    assert recognised(name, answer) == mistake


def test_cross_entropy_of_three_axes_is_told_which_axes_it_takes() -> None:
    def unflattened(model: Any, tokens: Tensor, optimizer: Any) -> Tensor:
        return torch.nn.functional.cross_entropy(model(tokens).logits[:, :-1], tokens[:, 1:])

    verdict = judge(registry.exercise("01.17"), unflattened, extras=False)
    assert verdict.state == "stopped"
    assert "logits [n, vocab] and targets [n]" in repr(verdict.failure)
