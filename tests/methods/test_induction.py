"""Scores of heads: what drawn heads score, what every score holds, and that widgets say the same."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interpwidgets import AttentionHeads, Tap, load
from interpwidgets.data.repeats import repeated_tokens
from interpwidgets.methods.in_context import repeat_tokens
from interpwidgets.methods.induction import (
    duplicate_token_score,
    find_induction_heads,
    induction_score,
    prefix_matching_score,
    previous_token_score,
)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def attention(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random causal attention [layer, batch, head, query, key]."""
    *front, n = shape
    scores = 2 * torch.randn(*front, n, n, generator=torch.Generator().manual_seed(seed))
    return scores.masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), -torch.inf).softmax(-1).to(dtype)


def words(batch: int, n: int, n_words: int, seed: int = 0) -> Tensor:
    return torch.randint(n_words, (batch, n), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("n", "n_words"), [(12, 3), (30, 8), (40, 2), (5, 1)])
def test_on_one_text_widgets_show_the_same_scores(n: int, n_words: int) -> None:
    pattern, tokens = attention(2, 1, 3, n), words(1, n, n_words)
    shown = AttentionHeads([f"word{i}" for i in tokens[0].tolist()], pattern[:, 0]).scores
    for name, ours in [
        ("induction", prefix_matching_score(pattern, tokens)),
        ("duplicate token", duplicate_token_score(pattern, tokens)),
        ("previous token", previous_token_score(pattern)),
    ]:
        np.testing.assert_allclose(shown[name], ours, atol=1e-6, err_msg=name)


def test_the_drawn_heads_score_1_each_at_their_own_habit() -> None:
    from interpwidgets.exercises.ch05.inputs import tidy

    tokens = torch.tensor([[0, 1, 2, 3, 4, 1, 2, 3, 4]])
    pattern = tidy(tokens[0].tolist())  # previous token, duplicate token, induction
    assert previous_token_score(pattern).tolist()[0][0] == 1
    assert duplicate_token_score(pattern, tokens).tolist() == [[0, 1, 0]]
    assert prefix_matching_score(pattern, tokens).tolist() == [[0, 0, 1]]
    assert induction_score(pattern, 4).tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("period", [2, 5, 9])
def test_on_two_copies_the_stripe_is_prefix_matching(period: int) -> None:
    tokens = repeated_tokens(3, period)
    pattern = attention(2, 3, 4, tokens.shape[1])
    torch.testing.assert_close(induction_score(pattern, period), prefix_matching_score(pattern, tokens))


def test_on_more_copies_the_stripe_sees_only_the_last_good_place() -> None:
    tokens = repeated_tokens(1, 3, copies=3)
    both = torch.zeros(1, 1, 1, 10, 10)
    for query in range(4, 10):
        keys = [key for key in (query - 5, query - 2) if key >= 2]
        both[..., query, keys] = 1 / len(keys)
    both[..., :4, 0] = 1
    assert prefix_matching_score(both, tokens).item() == pytest.approx(1)
    assert induction_score(both, 3).item() == pytest.approx(0.75)  # 1 in the second copy, a half in the third


def test_where_no_query_takes_part_the_score_is_0() -> None:
    pattern = attention(2, 1, 3, 5)
    different = torch.arange(5)[None]
    assert not duplicate_token_score(pattern, different).any()
    assert not prefix_matching_score(pattern, different).any()
    assert not induction_score(pattern, 4).any()  # one copy and no more
    assert not previous_token_score(pattern[..., :1, :1]).any()


def test_even_attention_scores_what_chance_gives() -> None:
    n = 9
    even = torch.ones(n, n).tril() / torch.arange(1, n + 1)[:, None]
    tokens = repeated_tokens(1, 4)
    expected = np.mean([1 / (query + 1) for query in range(5, 9)])
    assert prefix_matching_score(even[None, None, None], tokens).item() == pytest.approx(expected)


def test_a_batch_is_averaged_over_queries() -> None:
    tokens = torch.tensor([[1, 2, 3, 4, 1], [1, 1, 1, 1, 1]])  # 1 and 4 queries
    pattern = attention(1, 2, 2, 5)
    alone = [prefix_matching_score(pattern[:, [i]], tokens[[i]]) for i in (0, 1)]
    torch.testing.assert_close(prefix_matching_score(pattern, tokens), (alone[0] + 4 * alone[1]) / 5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_scores_keep_the_dtype_and_leave_the_pattern_alone(dtype: torch.dtype) -> None:
    pattern, tokens = attention(2, 3, 2, 11, dtype=dtype), repeated_tokens(3, 5)
    before = pattern.clone()
    exact = attention(2, 3, 2, 11)
    for ours, target in [
        (previous_token_score(pattern), previous_token_score(exact)),
        (induction_score(pattern, 5), induction_score(exact, 5)),
        (prefix_matching_score(pattern, tokens), prefix_matching_score(exact, tokens)),
        (duplicate_token_score(pattern, tokens), duplicate_token_score(exact, tokens)),
    ]:
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.float(), target, rtol=2e-2, atol=1e-2)
    assert torch.equal(pattern, before)


# -- on the shipped models -------------------------------------------------------------------------------------------


def run(name: str) -> tuple[Any, Tensor, Tensor]:
    model: Any = load(name)
    tokens = repeat_tokens(repeated_tokens(16, 20, seed=3)[:, 1:21], bos=0)
    with torch.no_grad(), Tap(model, "pattern") as tap:
        model(tokens)
    return model, tokens, tap["pattern"]


def test_attn2l_has_a_previous_token_head_and_induction_heads_on_top() -> None:
    model, tokens, pattern = run("attn2l")
    assert previous_token_score(pattern)[0].max() > 0.8
    assert find_induction_heads(model, tokens, 0.8) != []
    assert {layer for layer, _ in find_induction_heads(model, tokens, 0.8)} == {1}


def test_attn1l_has_none() -> None:
    model, tokens, _ = run("attn1l")
    assert find_induction_heads(model, tokens, 0.3) == []


def test_the_list_begins_with_the_highest_score() -> None:
    model, tokens, pattern = run("attn2l")
    scores = prefix_matching_score(pattern, tokens)
    found = find_induction_heads(model, tokens, 0.0)
    assert len(found) == scores.numel()
    assert [scores[place].item() for place in found] == sorted(scores.flatten().tolist(), reverse=True)


def test_the_hand_written_model_has_exactly_the_one_it_says() -> None:
    model: Any = load("demo")
    tokens = torch.randint(3, 60, (4, 10), generator=torch.Generator().manual_seed(0))
    tokens = repeat_tokens(tokens, bos=model.tokenizer.bos_token_id)
    assert find_induction_heads(model, tokens, 0.8) == [(1, 0)]
