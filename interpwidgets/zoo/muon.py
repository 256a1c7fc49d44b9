"""Muon: an optimiser for the matrices inside a transformer, which lets a small one learn to copy in minutes.

    from interpwidgets.zoo.muon import Muon

    optimizer = Muon([model.h[0].mlp.c_fc.weight, ...], lr=0.02)      # every matrix inside the layers

The step that Adam takes with a matrix is dominated by a few directions; Muon takes the nearest orthogonal matrix
instead, in which all directions are as long as each other. It is found by five steps of an iteration that needs nothing
but products of matrices.

`torch.optim.Muon` does this for one matrix per parameter. GPT-2 keeps the queries, keys and values of a layer side by
side in one parameter, and three matrices are not one: this one cuts them apart. It also takes matrices of one shape
together, which is what makes it quick where they are small.

Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"
(kellerjordan.github.io/posts/muon).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_ITERATIONS = 5
_QUINTIC = (3.4445, -4.7750, 2.0315)  # of the iteration, chosen by its authors


class Muon(torch.optim.Optimizer):
    """Momentum, made orthogonal.

    Arguments:
        matrices: weights [in, out], or several of those side by side where out is a multiple of in.
        lr: learning rate; a step changes a square matrix by this much in every direction.
        momentum: of the gradient, in the manner of Nesterov.
        weight_decay: per step and learning rate.
        transposed: the weights are [out, in], as those of `torch.nn.Linear`, and never side by side.
    """

    def __init__(
        self, matrices: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.05,
        transposed: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "transposed": transposed}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step along the gradients."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                matrices = _apart(weight, group["transposed"])
                updates = _apart(self._momentum(weight, group["momentum"]), group["transposed"])
                for matrix, update in zip(matrices, updates, strict=True):
                    by_shape[matrix.shape].append((matrix, update))
            for shape, pairs in by_shape.items():
                rows, columns = shape if group["transposed"] else reversed(shape)
                length = group["lr"] * max(1.0, rows / columns) ** 0.5  # out / in
                for (matrix, _), step in zip(pairs, orthogonal(torch.stack([u for _, u in pairs])), strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-length)

    def _momentum(self, weight: Tensor, beta: float) -> Tensor:
        gradient, state = weight.grad, self.state[weight]
        if gradient is None:
            return torch.zeros_like(weight)
        average = state.setdefault("momentum", torch.zeros_like(weight))
        average.lerp_(gradient, 1 - beta)
        return gradient.lerp(average, beta)


def _apart(weight: Tensor, transposed: bool) -> tuple[Tensor, ...]:
    """The square matrices of a GPT-2 ``c_attn`` [in, 3 * in], as views; any other weight as it is."""
    side_by_side = not transposed and weight.shape[1] == 3 * weight.shape[0]
    return torch.tensor_split(weight, 3, dim=1) if side_by_side else (weight,)


def orthogonal(matrices: Float[Tensor, "n rows columns"]) -> Float[Tensor, "n rows columns"]:
    """About the nearest orthogonal matrix to each: singular values near 1, between 0.6 and 1.2 but for the smallest."""
    wide = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if wide else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x.mT if wide else x
    return found
