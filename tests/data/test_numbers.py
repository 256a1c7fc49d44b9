"""Addition on a clock, the largest of four, sparse features: the data of the smallest models."""

import pytest
import torch

from interpwidgets.data.addition import SHOWN, answers, questions, split
from interpwidgets.data.features import sparse_features
from interpwidgets.data.maxofk import K, largest, mixed_numbers


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- addition


def test_every_question_stands_once_and_has_its_answer() -> None:
    asked = questions(5)
    assert asked.tolist() == [[a, b, 5] for a in range(5) for b in range(5)]
    assert answers(asked).tolist() == [(a + b) % 5 for a in range(5) for b in range(5)]


@pytest.mark.parametrize("p", SHOWN)
def test_a_question_is_shown_or_held_out_and_never_both(p: int) -> None:
    shown, held_out = split(p)
    assert len(shown) == int(SHOWN[p] * p * p)
    together = torch.cat([shown, held_out])
    assert torch.equal(together[(together[:, 0] * p + together[:, 1]).argsort()], questions(p))


def test_a_split_changes_with_its_seed_only() -> None:
    assert torch.equal(split(59)[0], split(59)[0])
    assert not torch.equal(split(59)[0], split(59, seed=1)[0])


def test_a_clock_of_unknown_hours_is_told() -> None:
    with pytest.raises(ValueError, match=r"p has to be one of 113, 59, but it is 60"):
        split(60)


# -- the largest of four


def test_rows_have_four_numbers_and_small_ones_are_not_rare_as_the_largest() -> None:
    rows = mixed_numbers(10_000, stream())
    assert rows.shape == (10_000, K)
    assert (int(rows.min()), int(rows.max())) == (0, 63)
    small = (largest(rows) < 16).float().mean()
    assert 0.05 < small < 0.11  # 1 in 256 of the uniform rows, 1 in 4 of the others


def test_the_largest_is_the_largest() -> None:
    assert largest(torch.tensor([[3, 9, 0, 9], [5, 1, 2, 4]])).tolist() == [9, 5]


def test_rows_change_with_the_stream_only() -> None:
    assert torch.equal(mixed_numbers(9, stream()), mixed_numbers(9, stream()))
    assert not torch.equal(mixed_numbers(9, stream()), mixed_numbers(9, stream(1)))


# -- sparse features


def test_features_are_there_as_often_as_their_density_says() -> None:
    x = sparse_features(20_000, [1.0, 0.2], 5, stream(), n_instances=2)
    assert x.shape == (20_000, 2, 2, 5)
    there = (x > 0).float().mean((0, 2, 3))
    torch.testing.assert_close(there, torch.tensor([1.0, 0.2]), atol=0.01, rtol=0)
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    torch.testing.assert_close(x[:, 1][x[:, 1] > 0].mean(), torch.tensor(0.5), atol=0.01, rtol=0)


def test_features_come_and_go_on_their_own() -> None:
    there = (sparse_features(50_000, [0.3], 4, stream())[:, 0, 0] > 0).float()
    torch.testing.assert_close(there.T.corrcoef(), torch.eye(4), atol=0.02, rtol=0)


@pytest.mark.parametrize("density", [0.0, -0.1, 1.5])
def test_a_density_that_is_no_probability_is_told(density: float) -> None:
    with pytest.raises(ValueError, match=r"has to be above 0 and at most 1"):
        sparse_features(1, [density], 2, stream())
