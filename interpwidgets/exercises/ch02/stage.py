"""What the answers of chapter 02 meet where they run: the ways from the stream to the logits.

    readout = Unembedding(W_U, norm=True)
    readout(stream)                 # [..., d_model] -> [..., vocab]

This module goes with the answer, also where nothing else of the exercises is: it knows no reference.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class AsItIs:
    """The numbers are the logits."""

    def __call__(self, x: Tensor) -> Tensor:
        return x


@dataclass(frozen=True)
class Unembedding:
    """W_U [d_model, vocab], with or without a norm before it."""

    W_U: Tensor
    norm: bool

    def __call__(self, x: Tensor) -> Tensor:
        return (torch.nn.functional.layer_norm(x, x.shape[-1:]) if self.norm else x) @ self.W_U
