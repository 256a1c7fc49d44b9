"""What the exercises of chapter 01 are checked on.

Inputs come from a seed, on the processor, and then go to the device: the same numbers everywhere. Sizes of different
axes are different numbers, so that a mixed-up axis shows. The models that exercises hand over are in `stage`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from interpwidgets.course.exercise import Arguments
from interpwidgets.exercises.ch01.stage import Machine
from interpwidgets.models.load import load

Make = Callable[[int, torch.device], Arguments]


def randn(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def some_tokens(seed: int, batch: int, n: int, vocab: int) -> Tensor:
    return torch.randint(0, vocab, (batch, n), generator=torch.Generator().manual_seed(seed))


def placed(*arguments: Any) -> Make:
    """A case that is the same for every seed."""
    return lambda seed, device: on(device, *arguments)


def on(device: torch.device, *arguments: Any) -> Arguments:
    return tuple(moved(each, device) for each in arguments)


def moved(value: Any, device: torch.device) -> Any:
    """A tensor, a dict or a list of them on the device; anything else as it is."""
    if isinstance(value, Tensor):
        return value.to(device)
    if type(value) is dict:
        return {name: moved(each, device) for name, each in value.items()}
    if type(value) is list:
        return [moved(each, device) for each in value]
    return value


def block_weights(
    seed: int, d_model: int, n_heads: int, d_head: int, d_mlp: int, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Random weights of one layer, biases and norms included, of ordinary sizes."""
    shapes: dict[str, tuple[int, ...]] = {"W_O": (n_heads, d_head, d_model), "b_O": (d_model,)}
    shapes |= {f"W_{name}": (n_heads, d_model, d_head) for name in "QKV"}
    shapes |= {f"b_{name}": (n_heads, d_head) for name in "QKV"}
    shapes |= {"W_in": (d_model, d_mlp), "b_in": (d_mlp,), "W_out": (d_mlp, d_model), "b_out": (d_model,)}
    shapes |= {f"norm_{at}_{part}": (d_model,) for at in (1, 2) for part in ("weight", "bias")}
    made = {}
    for at, (name, shape) in enumerate(shapes.items()):
        scale = shape[-2] ** -0.5 if name.startswith("W_") else 0.5
        made[name] = scale * randn(1000 * seed + at, *shape, dtype=torch.float64)
        if name.endswith("_weight"):
            made[name] = 1 + made[name]
        made[name] = made[name].to(dtype)
    return made


def model_weights(
    seed: int, vocab: int, context: int, d_model: int, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Random weights around the blocks."""
    return {
        "W_E": randn(seed + 1, vocab, d_model, dtype=dtype),
        "W_pos": randn(seed + 2, context, d_model, dtype=dtype),
        "norm_weight": 1 + 0.5 * randn(seed + 3, d_model, dtype=dtype),
        "norm_bias": 0.5 * randn(seed + 4, d_model, dtype=dtype),
        "W_U": randn(seed + 5, d_model, vocab, dtype=dtype),
    }


TEXT = "When Mary and John went to the store, John gave a drink to"


@cache
def story() -> tuple[Any, Tensor]:
    """storylm, and a sentence for it."""
    model: Any = load("storylm")
    return model, model.tokenizer(TEXT, return_tensors="pt").input_ids


# -- a model to hang hooks on ----------------------------------------------------------------------------------------


def machine(seed: int, device: torch.device, dtype: torch.dtype = torch.float32) -> Machine:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Machine().to(device, dtype)
