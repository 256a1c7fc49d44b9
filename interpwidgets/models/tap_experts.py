"""The inside of a mixture of experts, handed to all who listen: which experts each position is sent to.

    router      what the router makes of a position, one number for each expert, before any softmax   [.., expert]
    routing     the weight with which each expert's answer is added; zero for those that are not asked [.., expert]

The routers of the library do both in one go, so `_routed` looks over their shoulder: the first product that they
compute is the logits, and what they return says who is asked, in one of two ways (`_dense`). Experts are chosen by the
logits that go on, so an edit of ``router`` changes who is asked.

    with experts(parts):
        model(**inputs)
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from interpwidgets._errors import Told
from interpwidgets.models.anatomy import Anatomy, UnknownModelError
from interpwidgets.models.tap_attention import flow_at, heard
from interpwidgets.models.tap_forward import around

_SHAPE: ContextVar[tuple[int, ...]] = ContextVar("batch and positions of the mixture that runs")


class RoutingError(Told, ValueError):
    """A routing that a model cannot follow; the message says why."""


def routers(parts: Anatomy) -> dict[nn.Module, int]:
    """The layer of each module that chooses experts."""
    there = [layer for layer in range(parts.n_layers) if parts.has("router", layer)]
    return {parts.blocks[layer].get_submodule(parts.family.router or ""): layer for layer in there}


@contextmanager
def experts(parts: Anatomy) -> Iterator[None]:
    """While this holds, mixtures of experts of this model are shown to all who listen."""
    with ExitStack() as stack:
        for router, layer in routers(parts).items():
            mixture = (parts.family.router or "").rpartition(".")[0]
            stack.enter_context(around(parts.blocks[layer].get_submodule(mixture), _mixed))
            stack.enter_context(around(router, _routed))
        yield


def _mixed(_: nn.Module, own: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a mixture, and remember how many positions there are: its router may not be told."""
    x = args[0] if args else kwargs["hidden_states"]
    token = _SHAPE.set(tuple(x.shape[:-1]))
    try:
        return own(*args, **kwargs)
    finally:
        _SHAPE.reset(token)


def _routed(module: nn.Module, own: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not heard(module):
        return own(*args, **kwargs)
    flow, shape = flow_at(module), _SHAPE.get()

    def by_position(site: str, value: Tensor) -> Tensor:
        seen = value.reshape(*shape, -1)
        new = flow(site, seen)
        return value if new is seen and not seen.requires_grad else new.reshape(value.shape)

    watched = _Logits(lambda logits: by_position("router", logits))
    with watched:
        out = own(*args, **kwargs)
    if not watched.seen:
        raise UnknownModelError(
            f"{type(module).__name__} chooses experts in a way that is not recognised, so it cannot be tapped."
        )
    dense = _dense(module, out)
    new = by_position("routing", dense)
    return out if new is dense and not dense.requires_grad else _sparse(out, new, edited=new is not dense)


class _Logits(TorchFunctionMode):
    """Shows what the first linear map makes."""

    def __init__(self, show: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.seen, self._show = False, show

    def __torch_function__(
        self, function: Any, _: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        if self.seen or getattr(function, "__name__", "") != "linear":
            return made
        self.seen = True
        return self._show(made)


def _dense(module: nn.Module, out: Any) -> Float[Tensor, "*lead expert"]:
    """The weight of every expert, of what a router returns: (logits, weights, experts) as Mixtral and GPT-OSS do, or
    (one expert as a vector with a single one, its weight, logits) as Switch does.
    """
    if isinstance(out, tuple) and len(out) == 3 and all(isinstance(each, Tensor) for each in out):
        first, weights, last = out
        if not last.is_floating_point():
            return torch.zeros_like(first, dtype=weights.dtype).scatter(-1, last, weights)
        if not first.is_floating_point():
            dense: Tensor = first * weights
            return dense
    raise UnknownModelError(
        f"{type(module).__name__} of this release of transformers returns its choice of experts in a way that is not "
        "known, so it cannot be tapped; the other sites can."
    )


def _sparse(out: Any, routing: Float[Tensor, "*lead expert"], edited: bool) -> Any:
    """What the router is to return so that experts are weighted like this."""
    first, _, last = out
    if last.is_floating_point():
        chosen = routing != 0
        if (chosen.sum(-1) > 1).any():
            raise RoutingError("this model asks one expert for each position; the edit of 'routing' asks several.")
        return (chosen.to(first.dtype) if edited else first), routing.sum(-1, keepdim=True), last
    if not edited:
        return first, routing.gather(-1, last), last
    everyone = torch.arange(routing.shape[-1], device=routing.device).expand(routing.shape)
    return first, routing, everyone
