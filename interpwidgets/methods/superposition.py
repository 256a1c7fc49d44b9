"""Toy models of superposition: what a layer does that has fewer dimensions than the data have features.

    from interpwidgets.methods.superposition import Toy, feature_dimensionality, train_toys

    trained = train_toys([Toy(sparsity=0.93, seed=seed) for seed in range(4)])     # all four at once
    W = trained.W[-1]                       # [instance, hidden, feature] after the last step
    feature_dimensionality(W)               # [instance, feature]: 0.4 in a pentagon
    phase_diagram(5, 2, sparsity=[0, 0.5, 0.9], decay=[1, 0.7])                     # [decay, sparsity]

One toy, in the letters of the paper; column i of W is the direction of feature i::

    x ──> h = W x ──> x' = ReLU(W^T h + b)       loss = mean over the batch of  sum_i I_i (x_i - x'_i)^2

    x, x'  [batch, feature]     h  [batch, hidden]     W  [hidden, feature]     b  [feature]     I_i = decay ** i

`interpwidgets.models.toy.ToyModel` keeps W the other way round, a feature in each row: pass ``model.W.mT``.

Every number that training draws is a function of the seed and of the place where it is needed, so that
frontend/src/widgets/superposition_toy/train.ts draws the same and trains the same toy. With the generator
Philox4x32-10 of Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3"::

    key = (seed, stream)        counter = (feature, sample or hidden, step, 0)        number = 32-bit word / 2 ** 32

    stream 0, data     word 0: feature is there where it is at least the sparsity      word 1: its value
                       word 2: an odd feature below the correlation takes word 0 of its pair, the feature before it
    stream 1, start    word 0: W is uniform between -START and START; b is 0

Source: Elhage et al. 2022, "Toy Models of Superposition".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

STEPS = 1000
BATCH = 128
RATE = 0.02
BETAS = (0.9, 0.99)  # of Adam; its epsilon is 1e-8
START = 0.2
KEPT = 0.5  # the length of a direction from which on its feature counts as represented

DATA, WEIGHTS = 0, 1  # streams of random numbers


# -- random numbers that Python and the page share ----------------------------------------------------------------

_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (np.uint64(0x9E3779B9), np.uint64(0xBB67AE85))
_LOW, _WORD = np.uint64(0xFFFFFFFF), np.uint64(32)


def philox(key: tuple[Any, Any], counter: tuple[Any, Any, Any, Any]) -> NDArray[np.uint64]:
    """Four random 32-bit words for each counter: Philox4x32-10.

    ``key``: two whole numbers; ``counter``: four of them. Each may be an array, and all broadcast; their lowest 32 bits
    count. The result has their shape, and a last axis of 4.

    Source: Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3".
    """
    k0, k1, c0, c1, c2, c3 = (np.asarray(each).astype(np.uint64) & _LOW for each in (*key, *counter))
    for _ in range(10):
        first, second = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (second >> _WORD) ^ c1 ^ k0, second & _LOW, (first >> _WORD) ^ c3 ^ k1, first & _LOW
        k0, k1 = (k0 + _WEYL[0]) & _LOW, (k1 + _WEYL[1]) & _LOW
    return np.stack(np.broadcast_arrays(c0, c1, c2, c3), -1)


def _uniform(seed: Any, stream: int, feature: Any, place: Any, step: int) -> NDArray[np.float64]:
    """Numbers in [0, 1), exactly a multiple of 2 ** -32; the last axis holds the four words."""
    return philox((seed, stream), (feature, place, step, 0)) / 2.0**32


# -- the toy ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Toy:
    """One toy: its sizes, its data and its seed.

    A feature is absent with probability ``sparsity``, else uniform between 0 and 1; feature i counts ``decay ** i`` in
    the loss; ``correlation`` is how strongly the presence of features 0 and 1 goes together, of 2 and 3, and so on.
    """

    n_features: int = 5
    n_hidden: int = 2
    sparsity: float = 0.93
    decay: float = 0.96
    correlation: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class Trained:
    """Toys on their way, at the steps that were kept; step 0 is the start."""

    steps: list[int]
    W: Float[Tensor, "step instance hidden feature"]
    b: Float[Tensor, "step instance feature"]
    loss: Float[Tensor, "every_step instance"]
    """Of the batch of each step, before it changed the weights."""


class _Batches:
    """What every toy is shown at each step; toys of one seed share their numbers."""

    def __init__(self, toys: Sequence[Toy], dtype: torch.dtype, device: str) -> None:
        self.n_features = toys[0].n_features
        seeds = list(dict.fromkeys(toy.seed for toy in toys))
        self.seeds = np.array(seeds)[:, None, None]
        self.of_seed = torch.tensor([seeds.index(toy.seed) for toy in toys], device=device)
        self.dtype, self.device = dtype, device
        self.sparsity, self.correlation = (
            torch.tensor(each, dtype=dtype, device=device)[:, None, None]
            for each in ([toy.sparsity for toy in toys], [toy.correlation for toy in toys])
        )

    def at(self, step: int) -> Float[Tensor, "instance batch feature"]:
        places = np.arange(self.n_features), np.arange(BATCH)[:, None]
        words = _uniform(self.seeds, DATA, *places, step)  # [seed, batch, feature, 4]
        of_seed = (torch.from_numpy(words[..., i]).to(self.device, self.dtype) for i in range(3))
        presence, value, copies = (each[self.of_seed] for each in of_seed)  # [instance, batch, feature]
        odd, even = presence[..., 1::2], presence[..., :-1:2]
        presence[..., 1::2] = torch.where(copies[..., 1::2] < self.correlation, even, odd)
        return torch.where(presence >= self.sparsity, value, 0.0)


def draw(toy: Toy, step: int) -> Float[Tensor, "batch feature"]:
    """The 128 samples that a toy is shown at a step, in float64."""
    return _Batches([toy], torch.float64, "cpu").at(step)[0]


def start(toy: Toy) -> Float[Tensor, "hidden feature"]:
    """The weights before the first step, in float64."""
    numbers = _uniform(toy.seed, WEIGHTS, np.arange(toy.n_features), np.arange(toy.n_hidden)[:, None], 0)
    return torch.from_numpy(START * (2 * numbers[..., 0] - 1))


def toy_loss(
    W: Float[Tensor, "*instance hidden feature"],
    b: Float[Tensor, "*instance feature"],
    x: Float[Tensor, "*instance batch feature"],
    importance: Float[Tensor, "*instance feature"],
) -> Float[Tensor, "*instance"]:
    """How badly each toy gives back what it was shown: the squared error, weighted, mean over the batch.

    Source: Elhage et al. 2022, the ReLU output model and its loss.
    """
    h = x @ W.mT  # [*instance, batch, hidden]
    reconstruction = (h @ W + b[..., None, :]).relu()
    error: Tensor = importance[..., None, :] * (x - reconstruction).square()
    return error.sum(-1).mean(-1)


def rate(step: int, steps: int) -> float:
    """The learning rate before a step: level, and down to a hundredth over the second half."""
    return RATE * min(1.0, max(0.01, 2 * (1 - step / steps)))


def train_toys(
    toys: Sequence[Toy],
    *,
    steps: int = STEPS,
    every: int = 10,
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
) -> Trained:
    """Train toys of one size side by side, each as if it were alone: Adam, a fresh batch of 128 in each step.

    Keeps the weights of every ``every``-th step. The results are on the CPU. Raises `ValueError` for no toys, for toys
    of different sizes and for settings that no toy can have.
    """
    _check(toys)
    W = torch.stack([start(toy) for toy in toys]).to(device, dtype).requires_grad_()
    b = torch.zeros(len(toys), toys[0].n_features, dtype=dtype, device=device).requires_grad_()
    importance = torch.tensor([[t.decay**i for i in range(t.n_features)] for t in toys], dtype=dtype, device=device)
    optimizer = torch.optim.Adam([W, b], betas=BETAS, eps=1e-8)
    batches = _Batches(toys, dtype, device)
    kept, losses = [(W.detach().cpu().clone(), b.detach().cpu().clone())], []
    for step in range(steps):
        loss = toy_loss(W, b, batches.at(step), importance)
        optimizer.param_groups[0]["lr"] = rate(step, steps)
        optimizer.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.detach())
        if (step + 1) % every == 0:
            kept.append((W.detach().cpu().clone(), b.detach().cpu().clone()))
    weights, biases = (torch.stack(each) for each in zip(*kept, strict=True))
    return Trained([every * i for i in range(len(kept))], weights, biases, torch.stack(losses).cpu())


def _check(toys: Sequence[Toy]) -> None:
    if not toys:
        raise ValueError("there is no toy to train; pass at least one Toy.")
    sizes = list(dict.fromkeys((toy.n_features, toy.n_hidden) for toy in toys))
    if len(sizes) > 1:
        raise ValueError(
            f"toys are trained together only if they have one size, but the first has {_size(*sizes[0])} and another "
            f"{_size(*sizes[1])}; train them one after the other."
        )
    if min(sizes[0]) < 1:
        raise ValueError(f"a toy needs at least one feature and one dimension, but got {_size(*sizes[0])}.")
    for name, least, most in (("sparsity", 0, 0.999), ("decay", 0, 1), ("correlation", 0, 1)):
        wrong = [value for toy in toys if not least <= (value := getattr(toy, name)) <= most]
        if wrong:
            raise ValueError(f"{name} has to be between {least} and {most}, but one is {wrong[0]}.")


def _size(n_features: int, n_hidden: int) -> str:
    return f"{n_features} features in {n_hidden} dimensions"


# -- what W says --------------------------------------------------------------------------------------------------


def overlap(W: Float[Tensor, "*instance hidden feature"]) -> Float[Tensor, "*instance feature feature"]:
    """How much features overlap: W^T W, the squared lengths of their directions on the diagonal."""
    return W.mT @ W


def interference(W: Float[Tensor, "*instance hidden feature"]) -> Float[Tensor, "*instance feature feature"]:
    """What feature i reads of every other one: row i holds W_j along the unit direction of W_i, and 0 for itself.

    The sum of squares along a row is what the paper colours features by: how much a feature shares its dimension.
    A feature without a direction reads nothing.

    Source: Elhage et al. 2022, "Toy Models of Superposition", superposition of a feature.
    """
    G = overlap(W)
    reads = G / _lengths(G)[..., None]
    return reads - torch.diag_embed(reads.diagonal(dim1=-2, dim2=-1))


def feature_dimensionality(W: Float[Tensor, "*instance hidden feature"]) -> Float[Tensor, "*instance feature"]:
    """How many dimensions each feature has: D_i = |W_i|^2 / sum_j (W_i / |W_i| . W_j)^2, between 0 and 1.

    1 for a dimension of its own, 1/2 in a pair of opposites, 2/3 in a triangle, 2/5 in a pentagon, 3/4 in a
    tetrahedron; 0 for a feature without a direction.

    Source: Elhage et al. 2022, "Toy Models of Superposition", feature dimensionality.
    """
    G = overlap(W)
    shared = (G / _lengths(G)[..., None]).square().sum(-1)
    found: Tensor = G.diagonal(dim1=-2, dim2=-1) / shared.clamp(min=torch.finfo(W.dtype).tiny)
    return found


def capacity(W: Float[Tensor, "*instance hidden feature"]) -> Float[Tensor, "*instance feature"]:
    """The capacity of each feature: C_i = (W_i . W_i)^2 / sum_j (W_i . W_j)^2, between 0 and 1.

    The number is `feature_dimensionality`, found for another reason: the fraction of a dimension that is given to a
    feature. All together they are at most the number of dimensions; a model that wastes none reaches it.

    Source: Scherlis et al. 2022, "Polysemanticity and Capacity in Neural Networks", definition of capacity.
    """
    return feature_dimensionality(W)


def represented(W: Float[Tensor, "*instance hidden feature"]) -> Int[Tensor, "*instance"]:
    """How many features have a direction at least half as long as one that is given back whole."""
    counts: Tensor = (W.norm(dim=-2) > KEPT).sum(-1)
    return counts


def _lengths(G: Float[Tensor, "*instance feature feature"]) -> Float[Tensor, "*instance feature"]:
    return G.diagonal(dim1=-2, dim2=-1).sqrt().clamp(min=torch.finfo(G.dtype).tiny ** 0.5)


# -- the phase diagram --------------------------------------------------------------------------------------------


def phase_diagram(
    n_features: int,
    n_hidden: int,
    sparsity: Sequence[float],
    decay: Sequence[float],
    *,
    seeds: Sequence[int] = (0, 1),
    steps: int = STEPS // 2,
    device: str = "cpu",
) -> Int[Tensor, "decay sparsity"]:
    """How many features are represented at each decay and sparsity, by the best of a few toys.

    All are trained at once, in float32; the best is the one with the lowest loss over the last tenth of the steps, in
    which all have seen the same data. 24 by 14 cells of 5 features in 2 dimensions take less than a minute on one core.

    Source: Elhage et al. 2022, "Toy Models of Superposition", the phase change, with the number of features in place
    of the fate of one.
    """
    toys = [Toy(n_features, n_hidden, s, d, seed=seed) for d in decay for s in sparsity for seed in seeds]
    trained = train_toys(toys, steps=steps, every=steps, dtype=torch.float32, device=device)
    grid = (len(decay), len(sparsity), len(seeds))
    best = trained.loss[-max(1, steps // 10) :].mean(0).view(grid).argmin(-1, keepdim=True)
    counts: Tensor = represented(trained.W[-1]).view(grid).gather(-1, best).squeeze(-1)
    return counts
