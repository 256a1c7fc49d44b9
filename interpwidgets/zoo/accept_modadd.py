"""What the models of addition have to be able to do, how they have to do it, and that they came to it late.

A number n is a column of the embedding. Seen along n, each dimension of the embedding is a wave, and a wave is a sum of
cosines and sines of frequencies 0 to (p - 1) / 2. A model that adds by the rule uses few of them.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets.data.addition import answers, questions, split
from interpwidgets.zoo.spec import Measured

FEW = 6  # frequencies


def accept_modadd(model: Any) -> dict[str, Measured]:
    """All held-out questions answered, by few frequencies, and by cosines of the angle between a + b and the answer."""
    p = model.config.p
    shown, held_out = split(p)
    energy = frequencies(model.model.embed.weight[:p].detach())
    few = energy.argsort(descending=True)[:FEW]
    return {
        "held-out accuracy": Measured(_accuracy(model, held_out), at_least=1.0),
        "shown accuracy": Measured(_accuracy(model, shown), at_least=1.0),
        f"share of the embedding in {FEW} frequencies": Measured(energy[few].sum().item(), at_least=0.9),
        "frequencies with more than 2 % of the embedding": Measured(float((energy > 0.02).sum())),
        **_by_the_rule(model, few),
    }


def accept_series(models: Mapping[int, Any]) -> dict[str, Measured]:
    """At least 1,000 steps lie between knowing what was shown and answering half of what was not."""
    p = next(iter(models.values())).config.p
    shown, held_out = split(p)
    by_heart = [step for step, model in models.items() if _accuracy(model, shown) == 1.0]
    no_rule = [step for step, model in models.items() if _accuracy(model, held_out) < 0.5]
    gap = max(no_rule, default=0) - min(by_heart, default=max(models))
    return {"steps between learning by heart and half of the held-out": Measured(float(gap), at_least=1000)}


def frequencies(embedding: Float[Tensor, "p d_model"]) -> Float[Tensor, " frequency"]:
    """The share of the squared length of the embedding that is in each frequency 0 to (p - 1) / 2."""
    energy = torch.fft.rfft(embedding.double(), dim=0, norm="ortho").abs().square().sum(1)
    energy[1:] *= 2  # each stands for its mirror image, too
    share: Tensor = energy / energy.sum()
    return share


def _accuracy(model: Any, asked: Int[Tensor, "question 3"]) -> float:
    with torch.no_grad():
        best = model(asked).logits[:, -1].argmax(1)
    return float((best == answers(asked)).float().mean())


def _by_the_rule(model: Any, few: Int[Tensor, " frequency"]) -> dict[str, Measured]:
    """How much of the logits is a sum of cosines of 2 pi k (a + b - c) / p, and what is lost without them."""
    p = model.config.p
    asked = questions(p)
    with torch.no_grad():
        logits = model(asked).logits[:, -1].double()
    logits -= logits.mean(1, keepdim=True)
    right = answers(asked)
    angle = 2 * torch.pi * ((right[:, None] - torch.arange(p)) % p).double() / p
    waves = torch.stack([(k * angle).cos() for k in few.tolist() if k], 2)
    waves *= (2 / p) ** 0.5 / p**0.5 / p**0.5
    parts = torch.einsum("qc,qck->k", logits, waves)
    explained = parts.square().sum() / logits.square().sum()
    by_rule = torch.einsum("k,qck->qc", parts, waves)
    shown, _ = split(p)
    rows = shown[:, 0] * p + shown[:, 1]
    without = F.cross_entropy((logits - by_rule)[rows], right[rows])
    return {
        "share of the logits that the rule explains": Measured(explained.item(), at_least=0.9),
        "loss on shown questions": Measured(F.cross_entropy(logits[rows], right[rows]).item()),
        "the same without the rule": Measured(without.item(), at_least=1),
        "loss on all questions by the rule alone": Measured(F.cross_entropy(by_rule, right).item()),
    }
