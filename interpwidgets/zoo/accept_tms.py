"""What the toy models of superposition have to show: the best instance at each density, and how it keeps its features.

A feature has ``|W_i|^2 / sum_j (W_i . W_j / |W_i|)^2`` dimensions to itself: 1 if no other direction overlaps with its
own, a half if another points the opposite way, two fifths in a pentagon. All together never have more than there are.

Source: Elhage et al. 2022, "Toy Models of Superposition", feature dimensionality.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from interpwidgets.data.features import sparse_features
from interpwidgets.models.toy import ToyModel
from interpwidgets.zoo.spec import Measured

KEPT = 0.5  # the length of a direction from which on its feature counts as kept
ROWS = 4096


def accept_tms5(model: Any) -> dict[str, Measured]:
    """Two features where all are there all the time, five in a pentagon where they seldom are, pairs in between."""
    best = best_instances(model)
    lengths, room = best[-1].norm(dim=1), dimensions(best[-1])
    return {
        **_kept(best, dense=2, sparse=5),
        **_pairs(best),
        "pentagon: longest direction over shortest": Measured(float(lengths.max() / lengths.min()), at_most=1.15),
        "pentagon: fewest dimensions of a feature": Measured(float(room.min()), at_least=0.35),
        "pentagon: most dimensions of a feature": Measured(float(room.max()), at_most=0.45),
    }


def accept_tms20(model: Any) -> dict[str, Measured]:
    """Five features where all are there all the time, ever more where they are not, in opposite pairs on the way."""
    best = best_instances(model)
    return {**_kept(best, dense=5, sparse=14), **_pairs(best)}


def accept_tms80(model: Any) -> dict[str, Measured]:
    """Twenty features where all are there all the time, ever more where they are not, most in pairs on the way."""
    best = best_instances(model)
    return {**_kept(best, dense=20, sparse=50), **_pairs(best)}


def best_instances(model: ToyModel, seed: int = 1) -> Float[Tensor, "density feature hidden"]:
    """The directions of the instance with the lowest loss, at each density. All are given the same features."""
    config, stream = model.config, torch.Generator().manual_seed(seed)
    x = sparse_features(ROWS, config.densities, config.n_features, stream)
    with torch.no_grad():
        best = model.loss(x.expand(-1, -1, config.n_instances, -1)).argmin(1)
    directions: Tensor = model.W.detach()[torch.arange(len(best)), best]
    return directions


def dimensions(W: Float[Tensor, "feature hidden"]) -> Float[Tensor, " feature"]:
    """How many dimensions each feature has to itself, from 0 to 1; 0 for one that is not kept at all."""
    lengths = W.norm(dim=1).clamp(min=1e-9)
    shared = ((W / lengths[:, None]) @ W.T).square().sum(1)
    room: Tensor = W.square().sum(1) / shared.clamp(min=1e-18)
    return room


def _kept(best: Float[Tensor, "density feature hidden"], dense: int, sparse: int) -> dict[str, Measured]:
    """How many features have a direction, and that they have no more dimensions together than there are."""
    kept = (best.norm(dim=2) > KEPT).sum(1)
    room = max(float(dimensions(each).sum()) for each in best)
    return {
        "features kept when all are there": Measured(float(kept[0]), at_least=dense, at_most=dense),
        "features kept when most are not": Measured(float(kept[-1]), at_least=sparse),
        "most dimensions of all features together": Measured(room, at_most=best.shape[2] + 0.01),
    }


def _pairs(best: Float[Tensor, "density feature hidden"]) -> dict[str, Measured]:
    """On the way, where features are kept in opposite pairs, each has half a dimension."""
    d_hidden = best.shape[2]
    per_feature = d_hidden / best.square().sum((1, 2))  # as if every feature kept had a direction of length 1
    nearest = per_feature[(per_feature - 0.5).abs().argmin()]
    paired = [(room - 0.5).abs() < 0.05 for room in map(dimensions, best)]
    return {
        "dimensions per feature kept, where nearest to a half": Measured(nearest.item(), at_least=0.45, at_most=0.55),
        "share of the dimensions in opposite pairs, at most": Measured(
            max(int(each.sum()) for each in paired) / (2 * d_hidden), at_least=0.75
        ),
    }
