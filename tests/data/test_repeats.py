"""Rows of random words keep what they promise, for any size and seed."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interpwidgets.data.repeats import CONTEXT, N_WORDS, random_periods, repeated_tokens


@settings(max_examples=30, deadline=None)
@given(
    batch=st.integers(1, 5), period=st.integers(1, 20), more=st.integers(0, 9), copies=st.integers(1, 4),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_different_words_come_again_in_the_same_order(
    batch: int, period: int, more: int, copies: int, seed: int
) -> None:
    tokens = repeated_tokens(batch, period, n_words=period + more, copies=copies, seed=seed)
    assert tokens.shape == (batch, 1 + copies * period)
    assert (tokens[:, 0] == 0).all()
    words = tokens[:, 1:]
    assert words.min() >= 1
    assert words.max() <= period + more
    assert torch.equal(words, words[:, :period].repeat(1, copies))
    assert all(len(set(row.tolist())) == period for row in words)


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 30), seed=st.integers(0, 999))
def test_a_training_row_is_a_lead_and_then_copies_to_the_end(batch: int, seed: int) -> None:
    tokens, periods = random_periods(batch, torch.Generator().manual_seed(seed))
    assert tokens.shape == (batch, CONTEXT)
    assert (tokens[:, 0] == 0).all()
    for row, period in zip(tokens[:, 1:], periods.tolist(), strict=True):
        assert 4 <= period <= 23
        begin = len(set(row.tolist())) - period  # of the copies: before it only words that stand nowhere else
        assert 0 <= begin <= len(row) - 2 * period
        assert torch.equal(row[begin + period :], row[begin:-period])
        assert row.min() >= 1
        assert row.max() <= N_WORDS


def test_training_rows_begin_to_repeat_early_and_late_with_every_period() -> None:
    tokens, periods = random_periods(4000, torch.Generator().manual_seed(0))
    leads = torch.tensor([len(set(row.tolist())) for row in tokens[:, 1:]]) - periods
    assert set(periods.tolist()) == set(range(4, 24))
    assert set(leads[periods == 4].tolist()) == set(range(40))
    assert set(tokens[:, 1:].flatten().tolist()) == set(range(1, N_WORDS + 1))


def test_the_same_seed_gives_the_same_rows_and_another_seed_others() -> None:
    assert torch.equal(repeated_tokens(3, 9, seed=1), repeated_tokens(3, 9, seed=1))
    assert not torch.equal(repeated_tokens(3, 9, seed=1), repeated_tokens(3, 9, seed=2))
    one, two = (random_periods(3, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])


@pytest.mark.parametrize("period", [0, 65])
def test_a_copy_longer_than_the_vocabulary_is_refused(period: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and n_words = 64, but it is {period}"):
        repeated_tokens(1, period)
