"""Numbers about patterns: what drawn patterns give, and what holds for every pattern."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from interpwidgets import Tap, load
from interpwidgets.data.repeats import repeated_tokens
from interpwidgets.methods.attention import distance, entropy, rollout, sink_share, value_weighted_norm
from interpwidgets.models.anatomy import anatomy

CAUSAL = torch.ones(5, 5).tril()
IDENTITY, EVEN, SINK = torch.eye(5), CAUSAL / CAUSAL.sum(-1, keepdim=True), torch.eye(5)[[0, 0, 0, 0, 0]]


def attention(*shape: int, seed: int = 0) -> Tensor:
    """Random causal attention, shape [..., n] -> [..., query, key]."""
    *front, n = shape
    scores = 2 * torch.randn(*front, n, n, generator=torch.Generator().manual_seed(seed))
    return scores.masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)


patterns = st.builds(
    attention, st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(1, 9), seed=st.integers(0, 999)
)


@pytest.mark.parametrize(
    ("pattern", "nats", "tokens", "share"),
    [
        (IDENTITY, [0.0] * 5, [0.0] * 5, 0.0),
        (EVEN, [math.log(q + 1) for q in range(5)], [q / 2 for q in range(5)], sum(1 / q for q in range(2, 6)) / 4),
        (SINK, [0.0] * 5, [0.0, 1.0, 2.0, 3.0, 4.0], 1.0),
        (torch.full((5, 5), 0.2), [math.log(5)] * 5, [2.0, 1.4, 1.2, 1.4, 2.0], 0.2),
    ],
    ids=["identity", "even", "sink", "even in both directions"],
)
def test_drawn_patterns_give_what_can_be_worked_out(
    pattern: Tensor, nats: list[float], tokens: list[float], share: float
) -> None:
    torch.testing.assert_close(entropy(pattern), torch.tensor(nats))
    torch.testing.assert_close(distance(pattern), torch.tensor(tokens))
    torch.testing.assert_close(sink_share(pattern), torch.tensor(share))


def test_one_token_looks_at_itself_and_nothing_is_to_be_said() -> None:
    alone = torch.ones(2, 1, 3, 1, 1)
    assert entropy(alone).tolist() == distance(alone).tolist() == torch.zeros(2, 1, 3, 1).tolist()
    assert sink_share(alone).tolist() == torch.zeros(2, 1, 3).tolist()
    assert rollout(alone).tolist() == torch.ones(2, 1, 1, 1).tolist()


def test_rows_of_zeros_give_zeros() -> None:
    nothing = torch.zeros(2, 4, 4)
    for measure in (entropy, distance, sink_share):
        assert not measure(nothing).any()


@settings(max_examples=30, deadline=None)
@given(patterns)
def test_entropy_is_between_0_and_that_of_even_attention(pattern: Tensor) -> None:
    most = torch.arange(1, pattern.shape[-1] + 1).log()
    assert (entropy(pattern) >= 0).all()
    assert (entropy(pattern) <= most + 1e-5).all()


@settings(max_examples=30, deadline=None)
@given(patterns)
def test_every_layer_batch_and_head_is_measured_for_itself(pattern: Tensor) -> None:
    for measure in (entropy, distance, sink_share):
        alone = [[[measure(head) for head in text] for text in layer] for layer in pattern]
        stacked = torch.stack([torch.stack([torch.stack(text) for text in layer]) for layer in alone])
        torch.testing.assert_close(measure(pattern), stacked)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_measures_keep_the_dtype_and_leave_the_pattern_alone(dtype: torch.dtype) -> None:
    exact = attention(2, 3, 2, 7)
    pattern = exact.to(dtype)
    before = pattern.clone()
    for measure in (entropy, distance, sink_share, rollout):
        assert measure(pattern).dtype == dtype
        torch.testing.assert_close(measure(pattern).float(), measure(exact), rtol=2e-2, atol=2e-2)
    assert torch.equal(pattern, before)


# -- rollout ---------------------------------------------------------------------------------------------------------


def test_identity_attention_rolls_out_to_the_identity() -> None:
    pattern = IDENTITY.expand(3, 2, 4, 5, 5)
    torch.testing.assert_close(rollout(pattern), IDENTITY.expand(3, 2, 5, 5))


def test_even_attention_keeps_half_of_a_token_in_each_layer() -> None:
    rolled = rollout(torch.full((3, 1, 2, 5, 5), 0.2))
    for layer in range(3):
        kept = 0.5 ** (layer + 1)
        torch.testing.assert_close(rolled[layer, 0], kept * IDENTITY + (1 - kept) / 5)


def test_later_layers_read_what_earlier_ones_have_mixed() -> None:
    back = torch.eye(3)[[0, 0, 1]]  # every query looks one step back
    rolled = rollout(torch.stack([back, torch.eye(3)[[0, 1, 1]]])[:, None, None])[:, 0]
    assert rolled[0, 2].tolist() == [0, 0.5, 0.5]
    assert rolled[1, 2].tolist() == [0.25, 0.5, 0.25]  # half of what 2 held and half of what 1 held: token 0 and 1


@settings(max_examples=30, deadline=None)
@given(patterns)
def test_rollout_stays_attention_and_means_over_heads(pattern: Tensor) -> None:
    rolled = rollout(pattern)
    torch.testing.assert_close(rolled.sum(-1), torch.ones(rolled.shape[:-1]))
    assert not rolled.triu(1).any()
    torch.testing.assert_close(rollout(pattern.mean(2, keepdim=True)), rolled)


# -- value-weighted norms --------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 2), st.integers(1, 6), st.integers(0, 999))
def test_norms_are_those_of_the_vectors_spelled_out(kv_heads: int, group: int, n: int, seed: int) -> None:
    torch.manual_seed(seed)
    heads = kv_heads * group
    pattern, v, W_O = attention(2, heads, n, seed=seed), torch.randn(2, n, kv_heads, 4), torch.randn(heads, 4, 6)
    norms = value_weighted_norm(pattern, v, W_O)
    for head in range(heads):
        f = v[:, :, head // group] @ W_O[head]  # [batch, key, d_model]
        moved = pattern[:, head, :, :, None] * f[:, None]  # [batch, query, key, d_model]
        torch.testing.assert_close(norms[:, head], moved.norm(dim=-1))


def test_identity_even_and_single_token_attention_show_the_norms_of_the_values() -> None:
    v, W_O = torch.tensor([3.0, 4.0]).expand(1, 5, 1, 2), torch.eye(2)[None]  # every value has length 5
    torch.testing.assert_close(value_weighted_norm(IDENTITY[None, None], v, W_O)[0, 0], 5 * IDENTITY)
    torch.testing.assert_close(value_weighted_norm(torch.full((1, 1, 5, 5), 0.2), v, W_O), torch.ones(1, 1, 5, 5))
    assert value_weighted_norm(torch.ones(1, 1, 1, 1), v[:, :1], W_O).item() == 5


def test_attention_to_a_value_of_zero_moves_nothing() -> None:
    v = torch.randn(1, 5, 2, 3)
    v[:, 0] = 0
    norms = value_weighted_norm(SINK.expand(1, 2, 5, 5), v, torch.randn(2, 3, 4))
    assert not norms.any()


def test_in_a_model_they_are_no_shorter_than_what_the_heads_write() -> None:
    model: Any = load("attn2l")
    with torch.no_grad(), Tap(model, ["pattern", "v", "z"]) as tap:
        model(repeated_tokens(2, 6))
    for layer in range(2):
        norms = value_weighted_norm(tap["pattern", layer], tap["v", layer], anatomy(model).W_O(layer))
        written = anatomy(model).heads(tap["z", layer], layer).norm(dim=-1).transpose(1, 2)  # [batch, head, query]
        assert (norms.sum(-1) >= written - 1e-4).all()
        torch.testing.assert_close(norms[:, :, 0, 0], written[:, :, 0])  # the first query looks at one key
