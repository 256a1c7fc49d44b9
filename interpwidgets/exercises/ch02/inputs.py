"""What the exercises of chapter 02 are checked on, and the one run of storylm that their pictures show.

Inputs come from a seed, as in chapter 05; sizes of different axes are different numbers, so that a mixed-up axis shows.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from interpwidgets.exercises.ch05.inputs import Make, on, placed, randn, transposed
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.load import load
from interpwidgets.models.taps import Tap

__all__ = ["Make", "drawn", "ids", "laid_out", "on", "placed", "randn", "story", "transposed"]

TEXT = "When Luke and Eva were at the theater, Eva showed the blue necklace to"


def drawn(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float32, shift: float = 0.0) -> Make:
    """A case of random tensors of these shapes; the numbers change with the seed."""
    return lambda seed, device: on(
        device, *(randn(100 * seed + at, *shape, dtype=dtype) + shift for at, shape in enumerate(shapes))
    )


def laid_out(*shapes: tuple[int, ...]) -> Make:
    """As `drawn`, the numbers being laid out in memory the other way round."""
    return lambda seed, device: on(
        device, *(_turned(randn(100 * seed + at, *shape)) for at, shape in enumerate(shapes))
    )


def _turned(tensor: Tensor) -> Tensor:
    return transposed(tensor) if tensor.dim() > 1 else tensor


def ids(seed: int, below: int, *shape: int) -> Tensor:
    """Random whole numbers from 0 to below - 1."""
    return torch.randint(0, below, shape, generator=torch.Generator().manual_seed(seed))


@cache
def story() -> dict[str, Any]:
    """storylm on one sentence: its parts, its stages, its norm, and who is asked for."""
    model: Any = load("storylm")
    tokens = torch.tensor([model.tokenizer(TEXT).input_ids])
    with torch.no_grad(), Tap(model, [("resid_pre", 0), "attn_out", "mlp_out", "resid_post"]) as tap:
        model(tokens)
    start, norm = tap["resid_pre", 0], anatomy(model).final_norm()
    assert norm is not None
    layers = torch.stack([tap["attn_out"], tap["mlp_out"]], 1).flatten(0, 1)
    return {
        "parts": torch.cat([start[None], layers]),
        "stages": torch.cat([start[None], tap["resid_post"]]),
        "norm": norm,
        "W_U": anatomy(model).W_U().detach(),
        "luke": tokens[:, 2],
        "eva": tokens[:, 4],
    }
