"""The parts of a logit add up to it, with every norm frozen, in every family whose residual stream is a sum."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap, load
from interpwidgets.data.repeats import repeated_tokens
from interpwidgets.methods.attribution import (
    direction_attribution,
    head_logit_attribution,
    logit_attribution,
    logit_direction,
)
from interpwidgets.models.anatomy import anatomy

CLOSE = {"rtol": 0, "atol": 1e-5}
SUMS = ["gpt2", "llama", "gemma2", "attention_only"]  # families whose residual stream is a sum


@pytest.fixture(scope="module", params=SUMS)
def model(request: pytest.FixtureRequest, tiny: Callable[..., Any]) -> Any:
    return tiny(request.param)


@pytest.fixture
def texts(pair: tuple[Tensor, Tensor]) -> Tensor:
    return pair[0]


def raw_logits(model: Any, tokens: Tensor) -> Tensor:
    """Before the tanh of Gemma 2."""
    with torch.no_grad():
        hidden = model.base_model(tokens).last_hidden_state
        return model.get_output_embeddings()(hidden)


def test_the_parts_add_up_to_the_logit_of_one_token(model: Any, texts: Tensor) -> None:
    result = logit_attribution(model, texts, 5)
    torch.testing.assert_close(result.total, raw_logits(model, texts)[..., 5], **CLOSE)
    torch.testing.assert_close(torch.stack(list(result.parts.values())).sum(0), result.total, **CLOSE)


def test_the_parts_add_up_to_a_difference_of_logits_whose_tokens_change(model: Any, texts: Tensor) -> None:
    right, wrong = texts.flip(1), texts[:, :1]
    logits = raw_logits(model, texts)
    expected = logits.gather(2, right[..., None]) - logits.gather(2, wrong.expand_as(right)[..., None])
    result = logit_attribution(model, texts, right, wrong)
    torch.testing.assert_close(result.total, expected.squeeze(2), **CLOSE)
    assert expected.std() > 0.01, "all differences are the same, so this test could not fail"


def test_the_bias_of_the_unembedding_is_part_of_the_bias(tiny: Callable[..., Any], texts: Tensor) -> None:
    model = tiny("gpt2")
    plain = logit_attribution(model, texts, 5, 9)
    model.lm_head.bias = torch.nn.Parameter(torch.arange(61.0))
    for right, wrong, more in ((5, 9, -4), (9, 5, 4)):
        result = logit_attribution(model, texts, right, wrong)
        torch.testing.assert_close(result["bias"] - plain["bias"] * more / -4, torch.full((2, 7), float(more)))
    torch.testing.assert_close(logit_attribution(model, texts, 5).total, model(texts).logits[..., 5], **CLOSE)


def test_what_a_tanh_does_to_the_logits_comes_after_the_parts(tiny: Callable[..., Any], texts: Tensor) -> None:
    model = tiny("gemma2", final_logit_softcapping=0.5)
    with torch.no_grad():
        bounded = model(texts).logits[..., 5]
    total = logit_attribution(model, texts, 5).total
    torch.testing.assert_close(0.5 * (total / 0.5).tanh(), bounded, **CLOSE)
    assert (total - bounded).abs().max() > 0.01


def test_heads_and_the_bias_of_their_projection_add_up_to_attention(model: Any, texts: Tensor) -> None:
    result = logit_attribution(model, texts, 5, 9)
    attention = torch.stack([result["attn_out", layer] for layer in range(anatomy(model).n_layers)])
    torch.testing.assert_close(result.heads.sum(-1) + result.head_bias, attention, **CLOSE)
    assert result.heads.std(-1).min() > 1e-7, "heads all do the same, so they could be mixed up"


def test_a_head_has_the_share_that_its_removal_from_the_stream_takes_away(model: Any, texts: Tensor) -> None:
    """With the scale of the last norm as it was. (Where a norm follows the heads, that has to stay as well.)"""
    parts = anatomy(model)
    norm, unembed = parts.final_norm(), model.get_output_embeddings()
    layer, head = parts.n_layers - 1, 1
    with torch.no_grad(), Tap(model, [("z", layer), ("resid_post", layer)]) as tap:
        model(texts)
        written = parts.heads(tap["z", layer], layer)[:, :, head]
        if model.config.model_type == "gemma2":
            after = model.model.layers[layer].post_attention_layernorm
            z = tap["z", layer].flatten(2)
            squares = model.model.layers[layer].self_attn.o_proj(z).square().mean(-1, keepdim=True)
            written = written * (1 + after.weight) / (squares + after.eps).sqrt()
        stream = tap["resid_post", layer]
        without = norm.center(stream - written) / norm.scale(stream)[..., None] * norm.weight + norm.bias
        lost = unembed(norm.module(stream))[..., 5] - unembed(without)[..., 5]
    torch.testing.assert_close(logit_attribution(model, texts, 5).heads[layer, ..., head], lost, **CLOSE)


def test_what_has_been_accumulated_grows_part_by_part_up_to_the_logit(model: Any, texts: Tensor) -> None:
    result = logit_attribution(model, texts, 5, 9)
    n_layers = anatomy(model).n_layers
    assert len(result.accumulated) == n_layers + 1
    running = result["embed"] + result["bias"] + (result["positions"] if "positions" in result.parts else 0)
    torch.testing.assert_close(result.accumulated[0], running, **CLOSE)
    for layer in range(n_layers):
        running = running + result["attn_out", layer] + result.parts.get(("mlp_out", layer), torch.zeros(()))
        torch.testing.assert_close(result.accumulated[layer + 1], running, **CLOSE)
    torch.testing.assert_close(result.total, running, **CLOSE)


def test_positions_are_a_part_where_they_are_added_to_the_stream(tiny: Callable[..., Any], texts: Tensor) -> None:
    model = tiny("gpt2")
    with torch.no_grad():
        model.transformer.wpe.weight.zero_()
    result = logit_attribution(model, texts, 5)
    assert not result["positions"].any()
    assert result["embed"].any()
    assert "positions" not in logit_attribution(tiny("llama"), texts, 5).parts


def test_any_direction_can_be_attributed(model: Any, texts: Tensor) -> None:
    hidden = model.base_model(texts).last_hidden_state.detach()
    d_model = hidden.shape[-1]
    for shape in ([d_model], [2, 1, d_model], [*texts.shape, d_model]):
        direction = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        result = direction_attribution(model, texts, direction)
        torch.testing.assert_close(result.total, (hidden * direction).sum(-1), **CLOSE)
    column = anatomy(model).W_U()[:, 5]
    result, same = direction_attribution(model, texts, column), logit_attribution(model, texts, 5)
    torch.testing.assert_close(result.heads, same.heads, **CLOSE)


def test_a_direction_turned_round_turns_every_share_round(model: Any, texts: Tensor) -> None:
    there, back = logit_attribution(model, texts, 5, 9), logit_attribution(model, texts, 9, 5)
    for part, share in there.parts.items():
        torch.testing.assert_close(share, -back[part], **CLOSE)
    none = logit_attribution(model, texts, 5, 5)
    assert not any(share.any() for share in none.parts.values())


def test_a_head_that_is_ablated_has_no_share(model: Any, texts: Tensor) -> None:
    def silence(z: Tensor) -> Tensor:
        z[:, :, 1] = 0
        return z

    with Tap(model, edits={("z", 0): silence}):
        heads = logit_attribution(model, texts, 5).heads
    assert not heads[0, ..., 1].any()
    assert heads[0, ..., 0].any()


def test_the_model_is_left_as_it_was(model: Any, texts: Tensor, trace: Callable[[Any], Any]) -> None:
    before = trace(model)
    result = logit_attribution(model, texts, 5)
    assert trace(model) == before
    assert not result.heads.requires_grad


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"right": 61}, "0 to 60; there is no token 61"),
        ({"wrong": -1}, "there is no token -1"),
        ({"right": torch.tensor([5, 9])}, r"shape \[2, 7\] or \[2, 1\]; these are torch.int64 of shape \[2\]"),
        ({"right": 5.0}, "these are torch.float32"),
        ({"tokens": torch.tensor([[5, 61]])}, "whole numbers from 0 to 60"),
        ({"tokens": torch.tensor([5, 6])}, r"\[batch, position\], at least one of each; they are \[2\]"),
        ({"tokens": torch.full((1, 25), 3)}, "25 tokens long, but this model's context holds 24"),
    ],
)
def test_what_cannot_be_attributed_says_why(
    tiny: Callable[..., Any], texts: Tensor, change: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        logit_attribution(tiny("gpt2"), **{"tokens": texts, "right": 5, **change})


def test_models_that_cannot_be_attributed_say_why(tiny: Callable[..., Any], texts: Tensor) -> None:
    with pytest.raises(ValueError, match="BertForMaskedLM normalises the residual stream after each sum"):
        logit_attribution(tiny("bert"), texts, 5)
    with pytest.raises(ValueError, match="GPT2Model has no unembedding"):
        logit_attribution(tiny("gpt2").transformer, texts, 5)
    training = tiny("gpt2").train()
    with pytest.raises(ValueError, match="training mode"):
        logit_attribution(training, texts, 5)
    assert training.training
    with pytest.raises(ValueError, match=r"shape \[32\] or \[2, 7, 32\]; this one is \[31\]"):
        direction_attribution(tiny("gpt2"), texts, torch.ones(31))


def test_a_part_that_does_not_exist_is_named_with_one_that_does(tiny: Callable[..., Any], texts: Tensor) -> None:
    result = logit_attribution(tiny("gpt2"), texts, 5)
    with pytest.raises(ValueError, match=r"no part \('atn_out', 1\); did you mean \('attn_out', 1\)\?"):
        result["atn_out", 1]
    with pytest.raises(ValueError, match="no part 'everything'; parts are embed, positions, "):
        result["everything"]


# -- one layer, on tensors


def test_with_the_norm_frozen_the_parts_add_up_to_the_logit() -> None:
    model: Any = load("attn2l")
    tokens = repeated_tokens(4, 10, seed=2)
    with torch.no_grad(), Tap(model, ["z", "resid_pre", "resid_post"]) as tap:
        logits = model(tokens).logits[:, :-1]
        norm = model.model.norm
        direction = logit_direction(model.unembed.weight, norm.weight, tokens[:, 1:])
        scale = (tap["resid_post", 1].var(-1, correction=0) + norm.eps).sqrt()[:, :-1]
        heads = sum(
            head_logit_attribution(tap["z", layer][:, :-1], anatomy(model).W_O(layer), direction, scale).sum(-1)
            for layer in (0, 1)
        )
        embedding = (tap["resid_pre", 0][:, :-1] * direction).sum(-1) / scale
        bias = (model.unembed.weight[tokens[:, 1:]] - model.unembed.weight.mean(0)) @ norm.bias
    right = logits.gather(-1, tokens[:, 1:, None]).squeeze(-1) - logits.mean(-1)
    torch.testing.assert_close(heads + embedding + bias, right, rtol=1e-4, atol=1e-4)


def test_a_head_that_writes_nothing_adds_nothing() -> None:
    z, W_O = torch.randn(2, 3, 4, 5), torch.randn(4, 5, 6)
    z[:, :, 1] = 0
    result = head_logit_attribution(z, W_O, torch.randn(2, 3, 6), torch.ones(2, 3))
    assert not result[:, :, 1].any()
