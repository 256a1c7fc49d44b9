"""Hand what enters or leaves a module to a function, and go on with what it returns.

    handles = listen(block, leaves("mlp"), flow, listens)
    ...
    for handle in handles:
        handle.remove()

``flow`` gets the tensor as `interpwidgets.models.taps` describes it, whatever the module makes of it: half of a
projection, or batch and positions as one axis (`interpwidgets.models.families.Place`). If it returns the very tensor
that it got, the module's own goes on to the last bit; with gradients the one that it saw goes on, so that they flow
through what is kept.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from interpwidgets.models.anatomy import Anatomy
from interpwidgets.models.families import Place

Flow = Callable[[Tensor], Tensor]
Listens = Callable[[], bool]  # false in runs of other threads
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def listen(block: nn.Module, place: Place, flow: Flow, listens: Listens) -> list[Any]:
    """Hooks at ``place`` in ``block``, for whoever asked for them to remove."""
    module = block.get_submodule(place.path)
    shape: list[int] = []  # batch and positions, of what entered the block last

    def remembering(value: Tensor) -> Tensor:
        if listens():
            shape[:] = value.shape[:2]
        return value

    def through(value: Tensor) -> Tensor:
        if not listens():
            return value
        part, back = _seen(place, value, shape)
        new = flow(part)
        return value if new is part and not part.requires_grad else back(new)

    before = [_entering(block, remembering)] if place.flat else []
    return [*before, _entering(module, through) if place.end == "input" else _leaving(module, through)]


def listen_to_heads(parts: Anatomy, layer: int, flow: Flow, listens: Listens) -> list[Any]:
    """Hooks that hand on what each head of a layer writes, [batch, query, head, d_model].

    What the projection makes goes on, whoever else has changed it; of an edit, only what it adds. Raises
    `interpwidgets.models.anatomy.MissingPartError` for a projection that is not a plain matrix.
    """
    projection = parts.blocks[layer].get_submodule(parts.family.W_O)
    parts.W_O(layer)  # a sentence now, rather than in the middle of a run

    def leaving(_: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
        if not listens():
            return out
        heads = parts.heads(args[0].unflatten(-1, (parts.n_heads, parts.d_head)), layer)
        seen = heads.view_as(heads) if heads.requires_grad else heads  # another node: gradients pass through this one
        new = flow(seen)
        if new is seen:
            return out + (new - heads).sum(-2) if heads.requires_grad else out
        made = out + (new - heads).sum(-2)
        rounding = max(4 * torch.finfo(heads.dtype).eps, 1e-5) * heads.detach().abs().sum(-2)
        return made.masked_fill(made.detach().abs() < rounding, 0)  # a norm behind it would make something of that

    return [projection.register_forward_hook(leaving)]


def _seen(place: Place, value: Tensor, shape: list[int]) -> tuple[Tensor, Flow]:
    """What a tap gets of ``value``, and the way from what it answers to what the module goes on with."""
    part = value.reshape(*shape, -1) if place.flat and value.dim() == 2 else value
    part = part.chunk(2, -1)[0] if place.first_half else part
    part = part.clone() if place.branches or place.overwritten else part

    def back(new: Tensor) -> Tensor:
        if place.first_half:
            new = torch.cat([new, value.chunk(2, -1)[1]], -1)
        new = new.reshape(value.shape)
        if place.branches:
            return value.copy_(new)
        return new.clone() if place.overwritten else new

    return part, back


def _entering(module: nn.Module, through: Flow) -> Any:
    def entering(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Arguments:
        if args:
            return (through(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": through(kwargs["hidden_states"])}

    return module.register_forward_pre_hook(entering, with_kwargs=True)


def _leaving(module: nn.Module, through: Flow) -> Any:
    def leaving(_: nn.Module, __: tuple[Any, ...], out: Any) -> Any:
        return through(out) if isinstance(out, Tensor) else (through(out[0]), *out[1:])

    return module.register_forward_hook(leaving)
