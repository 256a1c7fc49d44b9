"""Toy models of superposition: what is measured in them is what geometry says, and training finds it."""

from typing import Any

import pytest
import torch

from interpwidgets import load
from interpwidgets.models.toy import ToyConfig
from interpwidgets.zoo.accept_tms import accept_tms5, best_instances, dimensions
from interpwidgets.zoo.tms import DENSITIES, train


def polygon(n: int) -> torch.Tensor:
    angle = 2 * torch.pi * torch.arange(n) / n
    return torch.stack([angle.cos(), angle.sin()], 1)


@pytest.mark.parametrize(
    ("W", "room"),
    [
        (torch.eye(2), [1, 1]),
        (torch.tensor([[1.0], [-1.0]]), [0.5, 0.5]),
        (polygon(3), [2 / 3] * 3),
        (polygon(4), [0.5] * 4),
        (3 * polygon(5), [0.4] * 5),
        (torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), [1, 1, 0]),
    ],
)
def test_features_share_dimensions_as_geometry_says(W: torch.Tensor, room: list[float]) -> None:
    torch.testing.assert_close(dimensions(W), torch.tensor(room, dtype=torch.float32))


def test_the_best_instance_is_the_one_with_the_lowest_loss() -> None:
    model: Any = load("tms5")
    best = best_instances(model)
    model.W.data[:, 3] = best
    model.b.data[:, :3] = model.b.data[:, 4:] = 5  # all others say that everything is there
    torch.testing.assert_close(best_instances(model), best)


def test_an_untrained_model_fails() -> None:
    config = ToyConfig(n_features=5, d_hidden=2, densities=list(DENSITIES), n_instances=8)
    measured = accept_tms5(train(config, steps=1).model)
    assert [what for what, found in measured.items() if not found.ok] != []


def test_dense_features_are_kept_two_in_two_dimensions_after_a_few_hundred_steps() -> None:
    config = ToyConfig(n_features=3, d_hidden=2, densities=[1.0], n_instances=1, importance=0.5)
    made = train(config, steps=600, seed=1)
    room = dimensions(made.model.W.detach()[0, 0])
    torch.testing.assert_close(room, torch.tensor([1.0, 1.0, 0.0]), atol=0.1, rtol=0)


def test_the_same_seed_gives_the_same_models() -> None:
    config = ToyConfig(n_features=5, d_hidden=2, densities=[1.0, 0.1], n_instances=2)
    one, two, other = train(config, 5), train(config, 5), train(config, 5, seed=1)
    assert torch.equal(one.model.W, two.model.W)
    assert not torch.equal(one.model.W, other.model.W)
