"""The toy model of superposition keeps features in few dimensions, each instance on its own."""

from pathlib import Path

import torch

from interpwidgets import load
from interpwidgets.data.features import sparse_features
from interpwidgets.models.toy import ToyConfig, ToyModel


def toy(**sizes: object) -> ToyModel:
    torch.manual_seed(0)
    return ToyModel(ToyConfig(**{"n_features": 5, "d_hidden": 2, "densities": [1.0, 0.1], "n_instances": 3, **sizes}))


def draws(batch: int = 10) -> torch.Tensor:
    return sparse_features(batch, [1.0, 0.1], 5, torch.Generator().manual_seed(1), n_instances=3)


def test_each_instance_computes_what_the_drawing_says() -> None:
    model, x = toy(), draws()
    model.b.data.normal_()
    out = model(x)
    for density in range(2):
        for instance in range(3):
            W, b = model.W[density, instance], model.b[density, instance]
            hidden = x[:, density, instance] @ W
            torch.testing.assert_close(out.hidden[:, density, instance], hidden)
            torch.testing.assert_close(out.reconstruction[:, density, instance], (hidden @ W.T + b).relu())


def test_a_model_that_keeps_two_features_apart_loses_only_the_others() -> None:
    model, x = toy(importance=0.5), draws()
    model.W.data.zero_()
    model.W.data[..., 0, 0] = model.W.data[..., 1, 1] = 1
    lost = x[..., 2:].square() * torch.tensor([0.25, 0.125, 0.0625])
    torch.testing.assert_close(model.loss(x), lost.sum(3).mean(0))


def test_the_loss_of_one_instance_is_not_touched_by_the_others() -> None:
    model, x = toy(), draws()
    model.loss(x)[1, 2].backward()
    touched = model.W.grad.abs().sum((2, 3)) > 0
    assert touched.tolist() == [[False, False, False], [False, False, True]]


def test_it_saves_and_loads_itself(tmp_path: Path) -> None:
    model = toy()
    model.save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert type(loaded) is ToyModel
    assert torch.equal(loaded.W, model.W)
    assert list(loaded.config.densities) == [1.0, 0.1]
    assert loaded.tokenizer is None
