"""The toy, what its weights say, and that the page trains the same one."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from interpwidgets.data.features import sparse_features
from interpwidgets.methods.superposition import (
    Toy,
    capacity,
    draw,
    feature_dimensionality,
    interference,
    overlap,
    phase_diagram,
    philox,
    represented,
    start,
    toy_loss,
    train_toys,
)
from interpwidgets.models.toy import ToyConfig, ToyModel

SEEDS = range(10)
REFERENCE = Path(__file__).parents[2] / "frontend" / "test" / "superposition_toy.json"


def polygon(corners: int) -> torch.Tensor:
    """Unit vectors at equal angles, [hidden, feature]."""
    angles = 2 * math.pi * torch.arange(corners, dtype=torch.float64) / corners
    return torch.stack([angles.cos(), angles.sin()])


# -- random numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "counter", "words"),
    [
        ((0, 0), (0, 0, 0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 4, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0xA4093822, 0x299F31D0),
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_the_generator_gives_the_words_that_its_authors_publish(key, counter, words):
    assert " ".join(f"{int(word):08x}" for word in philox(key, counter)) == words


def test_many_counters_at_once_are_the_same_as_each_alone():
    together = philox((7, 1), (np.arange(3), np.arange(2)[:, None], 5, 0))
    assert together.shape == (2, 3, 4)
    assert (together[1, 2] == philox((7, 1), (2, 1, 5, 0))).all()


# -- data ---------------------------------------------------------------------------------------------------------


def test_features_are_absent_as_often_as_asked_and_else_uniform():
    x = torch.cat([draw(Toy(sparsity=0.8), step) for step in range(100)])
    assert x.shape == (12_800, 5)
    assert torch.allclose((x == 0).double().mean(0), torch.tensor(0.8, dtype=torch.float64), atol=0.02)
    assert abs(float(x[x > 0].mean()) - 0.5) < 0.02
    assert float(x.max()) < 1


def test_features_come_in_pairs_as_strongly_as_asked():
    x = torch.cat([draw(Toy(sparsity=0.7, correlation=0.6), step) for step in range(200)])
    found = torch.corrcoef((x > 0).double().T)
    expected = torch.eye(5, dtype=torch.float64)
    expected[0, 1] = expected[1, 0] = expected[2, 3] = expected[3, 2] = 0.6
    assert torch.allclose(found, expected, atol=0.03)


def test_each_step_and_each_seed_draws_anew():
    first = draw(Toy(), 0)
    assert not torch.equal(first, draw(Toy(), 1))
    assert not torch.equal(first, draw(Toy(seed=1), 0))
    assert torch.equal(first, draw(Toy(), 0))


# -- training -----------------------------------------------------------------------------------------------------


def test_the_loss_is_that_of_the_model_that_the_package_ships():
    torch.manual_seed(0)
    model = ToyModel(ToyConfig(n_features=6, d_hidden=3, densities=[0.3], n_instances=4, importance=0.8))
    x = sparse_features(50, [0.3], 6, torch.Generator().manual_seed(1), 4)
    weights = 0.8 ** torch.arange(6).expand(1, 4, 6)
    found = toy_loss(model.W.mT, model.b, x.permute(1, 2, 0, 3), weights)
    torch.testing.assert_close(found, model.loss(x))


def test_five_features_in_two_dimensions_become_a_pentagon():
    W = train_toys([Toy(seed=seed) for seed in SEEDS], every=500).W[-1]
    dimensions, lengths = feature_dimensionality(W), W.norm(dim=-2)
    even = (dimensions - 0.4).abs().amax(-1) < 0.05
    round_ = lengths.amax(-1) / lengths.amin(-1) < 1.15
    assert int((even & round_).sum()) >= 9


def test_a_toy_learns_the_same_alone_as_among_others():
    toy = Toy(seed=3, correlation=0.3)
    alone, among = train_toys([toy], steps=60), train_toys([Toy(), toy, Toy(sparsity=0.2)], steps=60)
    torch.testing.assert_close(alone.W[:, 0], among.W[:, 1], rtol=0, atol=1e-9)
    torch.testing.assert_close(alone.loss[:, 0], among.loss[:, 1], rtol=0, atol=1e-9)
    assert alone.steps == [0, 10, 20, 30, 40, 50, 60]
    assert torch.equal(alone.W[0, 0], start(toy))


def test_where_all_features_are_always_there_the_least_important_are_lost():
    W = train_toys([Toy(sparsity=0, decay=0.5, seed=seed) for seed in range(3)], steps=300, every=300).W[-1]
    assert represented(W).tolist() == [2, 2, 2]
    assert (W[:, :, :2].norm(dim=1) > 0.9).all()


def test_the_page_is_tested_against_what_torch_finds():
    for held in json.loads(REFERENCE.read_text()):
        settings = held["toy"]
        toy = Toy(
            settings["features"], settings["hidden"],
            **{name: settings[name] for name in ("sparsity", "decay", "correlation", "seed")},
        )  # fmt: skip
        assert draw(toy, 7)[:4].tolist() == held["batch"]
        found = train_toys([toy], steps=400, every=50)  # the rate is level over the first half, so 1000 begin the same
        torch.testing.assert_close(found.W[:5, 0].flatten(1), torch.tensor(held["W"], dtype=torch.float64))
        torch.testing.assert_close(found.b[:5, 0], torch.tensor(held["b"], dtype=torch.float64))
        torch.testing.assert_close(found.loss[:200, 0], torch.tensor(held["loss"], dtype=torch.float64))
        assert found.steps[:5] == held["steps"]


@pytest.mark.parametrize(
    ("toys", "said"),
    [
        ([], "no toy to train"),
        ([Toy(), Toy(n_features=6)], "5 features in 2 dimensions and another 6 features in 2 dimensions"),
        ([Toy(n_hidden=0)], "at least one feature and one dimension"),
        ([Toy(), Toy(sparsity=1.0)], "sparsity has to be between 0 and 0.999, but one is 1.0"),
        ([Toy(decay=float("nan"))], "decay has to be between 0 and 1"),
        ([Toy(correlation=-0.1)], "correlation has to be between 0 and 1"),
    ],
)
def test_what_cannot_be_trained_is_refused(toys, said):
    with pytest.raises(ValueError, match=said):
        train_toys(toys)


# -- what W says --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("W", "dimensions"),
    [
        (torch.eye(3), [1, 1, 1]),
        (torch.tensor([[1.0, -1.0]]), [0.5, 0.5]),
        (polygon(3), [2 / 3] * 3),
        (polygon(5), [2 / 5] * 5),
        (torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, -1.0]]), [1, 0.5, 0.5]),
        (torch.tensor([[1.0, 0.0]]), [1, 0]),
    ],
)
def test_dimensionality_of_known_geometries(W, dimensions):
    torch.testing.assert_close(feature_dimensionality(W), torch.tensor(dimensions, dtype=W.dtype))
    torch.testing.assert_close(capacity(W), torch.tensor(dimensions, dtype=W.dtype))


def test_all_capacities_together_are_at_most_the_dimensions():
    torch.manual_seed(0)
    W = torch.randn(50, 3, 8)
    total = capacity(W).sum(-1)
    assert (total <= 3 + 1e-5).all()
    tight = torch.linalg.qr(torch.randn(50, 8, 3)).Q.mT  # rows of equal length at right angles: no dimension is wasted
    torch.testing.assert_close(capacity(tight).sum(-1), torch.full((50,), 3.0))


def test_interference_is_what_is_read_of_the_others():
    W = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    expected = torch.tensor([[0.0, 1.0, 0.0], [2**0.5, 0.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(interference(W), expected)


def test_dimensionality_is_the_share_left_by_interference():
    torch.manual_seed(0)
    W = torch.randn(4, 3, 7, dtype=torch.float64)
    own = W.square().sum(-2)
    torch.testing.assert_close(feature_dimensionality(W), own / (own + interference(W).square().sum(-1)))


def test_overlap_is_w_transpose_w():
    W = polygon(5)
    torch.testing.assert_close(overlap(W), W.T @ W)


def test_a_feature_counts_as_represented_from_half_a_length():
    assert represented(torch.tensor([[1.0, 0.6, 0.4, 0.0]])).item() == 2


# -- the phase diagram --------------------------------------------------------------------------------------------


def test_more_features_are_represented_the_sparser_and_the_more_alike_they_are():
    found = phase_diagram(5, 2, sparsity=[0, 0.93], decay=[0.95, 0.5])
    assert found.shape == (2, 2)
    assert found[:, 0].tolist() == [2, 2]
    assert found[0, 1].item() == 5
    assert found[1, 1] < found[0, 1]


def test_a_phase_diagram_knows_each_cell_by_its_own_settings():
    alone = phase_diagram(3, 1, sparsity=[0.9], decay=[0.9], seeds=[0], steps=200)
    toy = replace(Toy(3, 1), sparsity=0.9, decay=0.9)
    assert alone.item() == represented(train_toys([toy], steps=200, every=200, dtype=torch.float32).W[-1]).item()
