"""Models that somebody has changed: adapters in place of projections, hooks of others, norms without numbers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from interpwidgets import Tap
from interpwidgets.models.anatomy import MissingPartError, anatomy

CLOSE: dict[str, Any] = {"rtol": 0, "atol": 1e-5}


class Lora(nn.Module):
    """An adapter as it is common: a layer that stays, and two thin matrices beside it."""

    def __init__(self, base_layer: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.A = nn.Parameter(0.1 * torch.randn(2, base_layer.in_features))
        self.B = nn.Parameter(0.1 * torch.randn(base_layer.out_features, 2))

    @property
    def weight(self) -> Tensor:
        return self.base_layer.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base_layer(x) + x @ self.A.T @ self.B.T
        return out


class Doubling(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


def test_reading_results_with_gradients_leaves_what_a_hook_has_changed(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("llama")
    model.model.layers[1].self_attn.o_proj.register_forward_hook(lambda _, __, out: 3 * out)
    plain = model(ids).logits
    with Tap(model, ["result", "attn_out"]) as tap:
        assert torch.equal(model(ids).logits, plain)
    with Tap(model, edits={"result": lambda heads: heads}):
        torch.testing.assert_close(model(ids).logits, plain, rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(plain.sum(), model.model.embed_tokens.weight)
    with Tap(model, "result") as tap:
        logits = model(ids).logits
    same, there = torch.autograd.grad(logits.sum(), [model.model.embed_tokens.weight, tap["result", 1]])
    torch.testing.assert_close(same, gradient, rtol=1e-4, atol=1e-4)
    assert there.abs().max() > 0


@torch.no_grad()
def test_an_edited_result_changes_only_what_it_edits(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("llama")
    model.model.layers[1].self_attn.o_proj.register_forward_hook(lambda _, __, out: 3 * out)
    with Tap(model, ["result", "attn_out"]) as plain:
        model(ids)

    def without_the_first(heads: Tensor) -> Tensor:
        heads[..., 0, :] = 0
        return heads

    with Tap(model, "attn_out", {("result", 1): without_the_first}) as tap:
        model(ids)
    torch.testing.assert_close(tap["attn_out", 1], plain["attn_out", 1] - plain["result", 1][..., 0, :], **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("kind", [Lora, Doubling])
def test_an_adapted_projection_is_no_matrix_but_can_be_tapped(
    build: Callable[..., Any], ids: Tensor, kind: Any
) -> None:
    model = build("llama")
    before = model(ids).logits
    attention = model.model.layers[1].self_attn
    attention.o_proj = Lora(attention.o_proj) if kind is Lora else Doubling(64, 48)
    attention.q_proj = Lora(attention.q_proj)
    after = model(ids).logits
    assert (after - before).abs().max() > 1e-3
    parts = anatomy(model)
    for ask in (lambda: parts.W_O(1), lambda: parts.W_Q(1), Tap(model, ("result", 1)).__enter__):
        with pytest.raises(MissingPartError, match=r"is a (Lora|Doubling), whose weight .* merge it"):
            ask()
    assert parts.W_O(0).shape == (*parts.W_Q(0).shape[:1], 16, 48)
    with Tap(model, [each for each in parts.sites if each != "result"]) as tap:
        torch.testing.assert_close(model(ids).logits, after, rtol=0, atol=1e-6)
    assert tap["attn_out"].shape == (3, 2, 10, 48)


@torch.no_grad()
def test_an_adapter_in_the_first_layer_that_names_no_sizes_is_looked_into(
    build: Callable[..., Any], ids: Tensor
) -> None:
    model = build("gpt2")
    plain = build("llama")
    for block in plain.model.layers:
        block.self_attn.o_proj = Lora(block.self_attn.o_proj)
    assert anatomy(plain).d_head == 16
    assert anatomy(model).W_O(0).shape == (4, 12, 48)
