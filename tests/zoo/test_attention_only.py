"""Attention-only models: induction grows in their training, and in the way that the recipe says."""

from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F

from interpwidgets import load
from interpwidgets.data.repeats import random_periods
from interpwidgets.models.load import checkpoints
from interpwidgets.zoo.attention_only import train
from interpwidgets.zoo.registry import ZOO


def loss_of(model: Any) -> float:
    tokens, _ = random_periods(64, torch.Generator().manual_seed(99))
    with torch.no_grad():
        return float(F.cross_entropy(model(tokens).logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()))


def test_models_that_are_not_what_they_should_be_fail() -> None:
    accept = ZOO["attn2l"].accept
    untrained = accept(load("attn2l", checkpoint=0))
    failed = {what for what, found in untrained.items() if not found.ok}
    assert {"second-copy accuracy", "best induction head", "best previous-token head"} <= failed
    assert not ZOO["attn1l"].accept(load("attn2l"))["best induction head"].ok


def test_induction_appears_between_steps_of_the_series() -> None:
    steps, accept = checkpoints("attn2l"), ZOO["attn2l"].accept
    assert len(steps) <= 12
    assert steps[0] == 0
    scores = [accept(load("attn2l", checkpoint=step))["best induction head"].value for step in steps]
    assert scores[0] < 0.1
    assert max(after - before for before, after in pairwise(scores)) > 0.4
    losses = [loss_of(load("attn2l", checkpoint=step)) for step in steps]
    assert losses[-1] == loss_of(load("attn2l"))
    assert min(losses) < losses[0] - 1.5


def test_thirty_steps_lower_the_loss_and_are_the_same_every_time() -> None:
    seen: list[float] = []
    one = train(2, steps=30, keep=(0, 20), progress=lambda step, loss: seen.append(loss))
    two = train(2, steps=30)
    for name, weight in one.model.state_dict().items():
        assert torch.equal(weight, two.model.state_dict()[name]), name
    assert len(seen) == 30
    assert loss_of(one.model) < loss_of(load("attn2l", checkpoint=0)) - 0.05
    assert list(one.series) == [0, 20]
    assert not torch.equal(one.series[0]["unembed.weight"], one.series[20]["unembed.weight"])
    assert not torch.equal(
        train(2, seed=5, steps=1).model.unembed.weight, train(2, seed=6, steps=1).model.unembed.weight
    )


def test_the_first_step_of_the_series_is_what_training_starts_from() -> None:
    begun = train(2, steps=1, keep=(0,)).series[0]
    shipped = load("attn2l", checkpoint=0).state_dict()
    for name, weight in begun.items():
        assert torch.equal(weight.half(), shipped[name].half()), name
