"""The inside of attention, handed to all who listen: q, k, v, pattern and z.

There are two ways in. Most families call their attention through the library's registry, by a name in the
configuration: there stands `_attention`, which sees what goes in and what comes out. The others (GPT-Neo, GPT-J, Bloom,
Falcon, MPT) compute it themselves, and `_Watched` looks over their shoulder: whatever else a module does, it multiplies
queries and keys, takes a softmax and multiplies it with the values, or leaves all three to one function of PyTorch.
Both run the family's own code, so a new release, or a new family, needs nothing here.

    with through(parts, wants=...):     # for as long as somebody listens: `LISTENERS`
        model(**inputs)
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from interpwidgets.models.anatomy import Anatomy, UnknownModelError, eager_attention_of
from interpwidgets.models.tap_forward import around

Settled = Callable[[Tensor, Tensor], Tensor]


class Listener(Protocol):
    """Somebody who is shown what flows through the attention of one model, and may answer with something else."""

    anatomy: Anatomy
    layer_of: dict[nn.Module, int]  # of the modules of that model whose inside is shown

    @property
    def wants_pattern(self) -> bool:
        """Whether the pattern is to be shown, which takes the plain attention of the family."""

    def wants(self, site: str) -> bool:
        """Whether this site is to be shown, in some layer."""

    def flow(self, site: str, layer: int, value: Tensor, settled: "Settled | None" = None) -> Tensor:
        """What is to go on in place of ``value``: the very same tensor if nothing is to change. ``settled(value, new)``
        is what becomes of an edit where the tensor follows from itself.
        """


LISTENERS: ContextVar[tuple[Listener, ...]] = ContextVar("open taps", default=())


@contextmanager
def through(parts: Anatomy) -> Iterator[None]:
    """While this holds, attention of this model is shown to `LISTENERS`."""
    with ExitStack() as stack:
        if registered(parts):
            stack.enter_context(_through_registry(_configs(parts)))
        else:
            for module in parts.attentions:
                stack.enter_context(around(module, _watched))
        yield


def registered(parts: Anatomy) -> bool:
    """Whether this model calls its attention through the library's registry."""
    return bool(parts.attentions) and eager_attention_of(parts.attentions[0]) is not None


def heard(module: nn.Module) -> bool:
    """Whether anybody here listens to ``module``: taps of other threads may stand around it, too."""
    return any(module in each.layer_of for each in LISTENERS.get())


def flow_at(module: nn.Module) -> Callable[..., Tensor]:
    """What all who listen to ``module``, one after the other, make of a tensor."""
    listening = [(each, each.layer_of[module]) for each in LISTENERS.get() if module in each.layer_of]

    def flow(site: str, value: Tensor, settled: Settled | None = None) -> Tensor:
        for each, layer in listening:
            value = each.flow(site, layer, value, settled)
        return value

    return flow


# -- through the library's registry, and through one for its masks, under the same name

_NAME = "interpwidgets_tapped"
_BEFORE: dict[int, tuple[Any, Any, int]] = {}  # id(config): config, its own implementation, number of open taps
_LOCK = Lock()


def _configs(parts: Anatomy) -> list[Any]:
    """The configurations that the attention modules consult for the function to call: usually just one."""
    return list({id(module.config): module.config for module in parts.attentions}.values())


@contextmanager
def _through_registry(configs: list[Any]) -> Iterator[None]:
    for config in configs:
        with _LOCK:
            _, own, count = _BEFORE.get(id(config), (config, config._attn_implementation, 0))
            _BEFORE[id(config)] = (config, own, count + 1)
            config._attn_implementation = _NAME
    try:
        yield
    finally:
        for config in configs:
            with _LOCK:
                _, own, count = _BEFORE.pop(id(config))
                if count > 1:
                    _BEFORE[id(config)] = (config, own, count - 1)
                else:
                    config._attn_implementation = own


def _implementation(config: Any) -> Any:
    """Which attention is to run: the plain one where a pattern is asked for, else the model's own choice."""
    if any(each.wants_pattern and any(config is own for own in _configs(each.anatomy)) for each in LISTENERS.get()):
        return "eager"
    _, own, _ = _BEFORE.get(id(config), (config, config._attn_implementation, 0))  # another thread may just have closed
    return own


def _attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """Attention as the library calls it, q, k, v: [batch, head, position, d_head]."""
    flow = flow_at(module)
    q, k, v = (flow(s, x.transpose(1, 2)).transpose(1, 2) for s, x in (("q", query), ("k", key), ("v", value)))
    implementation = _implementation(module.config)
    plain = eager_attention_of(module)
    assert plain is not None
    attend = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, plain)
    z, pattern = attend(module, q, k, v, attention_mask, **kwargs)
    if implementation == "eager":
        edited = flow("pattern", pattern)
        if edited is not pattern:
            per_head = v.repeat_interleave(edited.shape[1] // v.shape[1], dim=1)
            z = (edited @ per_head).transpose(1, 2)
    return flow("z", z), pattern


def _mask(*args: Any, config: Any, **kwargs: Any) -> Any:
    """The mask that goes with the attention that is to run."""
    make = ALL_MASK_ATTENTION_FUNCTIONS.get(_implementation(config))
    return make(*args, config=config, **kwargs) if make else None


AttentionInterface.register(_NAME, _attention)
AttentionMaskInterface.register(_NAME, _mask)


# -- over the shoulder


def _watched(module: nn.Module, own: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run the forward of an attention module with its operations watched, if anybody listens."""
    here = [each for each in LISTENERS.get() if module in each.layer_of]
    if not here:
        return own(*args, **kwargs)
    watched = _Watched(here[0].anatomy, flow_at(module), any(each.wants_pattern for each in here))
    with watched:
        out = own(*args, **kwargs)
    if watched.awaits:
        raise UnknownModelError(
            f"{type(module).__name__} neither calls its attention through the library's registry nor computes "
            f"{watched.awaits[0]} in a way that is recognised, so nothing inside it can be tapped."
        )
    return out


class _Watched(TorchFunctionMode):
    """Recognises the three operations of attention among all that a module calls, and shows what goes through them."""

    def __init__(self, parts: Anatomy, flow: Callable[[str, Tensor], Tensor], wants_pattern: bool) -> None:
        super().__init__()
        self.awaits = ["scores", "a softmax", "z"]
        self._parts, self._show, self._wants_pattern = parts, flow, wants_pattern

    def __torch_function__(
        self, function: Any, _: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(function, "__name__", "")
        if not self.awaits:
            return function(*args, **kwargs)
        if name == "scaled_dot_product_attention":
            self.awaits = []
            return self._all_in_one(function, *args, **kwargs)
        if name == "softmax" and self.awaits[0] == "a softmax":
            self.awaits.pop(0)
            return self._flow("pattern", function(*args, **kwargs))
        factors = _factors(name, args, kwargs)
        if factors is None or self.awaits[0] == "a softmax":
            return function(*args, **kwargs)
        left, right = factors
        scores = self.awaits.pop(0) == "scores"
        if scores:
            new = {id(left): self._by_position("q", left), id(right): self._by_position("k", right.mT).mT}
        else:
            new = {id(right): self._by_position("v", right)}
        named = {key: new.get(id(value), value) for key, value in kwargs.items()}
        made = function(*(new.get(id(value), value) for value in args), **named)
        return made if scores else self._by_position("z", made)

    def _all_in_one(
        self, function: Any, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **kwargs: Any
    ) -> Tensor:
        """What PyTorch does in one function: as it does it, or step by step where the pattern is asked for."""
        q, k, v = (self._by_position(site, x) for site, x in (("q", query), ("k", key), ("v", value)))
        if not self._wants_pattern:
            return self._by_position("z", function(q, k, v, attn_mask, **kwargs))
        pattern = self._flow("pattern", _pattern(q, k, attn_mask, **kwargs))
        return self._by_position("z", pattern @ v)

    def _by_position(self, site: str, value: Tensor) -> Tensor:
        """Show ``value``, [batch, head, position, d_head], as [batch, position, head, d_head]; keys and values once for
        all heads that share them.
        """
        by_head = value if value.dim() == 4 else value.reshape(-1, self._parts.n_heads, *value.shape[1:])
        shared = by_head.shape[1] // self._parts.n_kv_heads if site in ("k", "v") else 1
        seen = by_head[:, :: max(shared, 1)].transpose(1, 2)
        new = self._show(site, seen)
        if new is seen and not seen.requires_grad:
            return value
        return new.transpose(1, 2).repeat_interleave(max(shared, 1), 1).reshape(value.shape)

    def _flow(self, site: str, pattern: Tensor) -> Tensor:
        seen = pattern if pattern.dim() == 4 else pattern.reshape(-1, self._parts.n_heads, *pattern.shape[1:])
        return self._show(site, seen).reshape(pattern.shape)


def _factors(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor] | None:
    """The two tensors that an operation multiplies head by head; None for operations that do something else."""
    if name not in ("matmul", "bmm", "baddbmm"):
        return None
    left, right = [each for each in (*args, *kwargs.values()) if isinstance(each, Tensor)][-2:]
    by_head = 4 if name == "matmul" else 3  # a linear layer may be written as a product, too: of three axes and two
    return (left, right) if left.dim() == right.dim() == by_head else None


def _pattern(
    query: Float[Tensor, "batch head query d_head"],
    key: Float[Tensor, "batch kv_head key d_head"],
    mask: Tensor | None,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> Float[Tensor, "batch head query key"]:
    """The weights that `torch.nn.functional.scaled_dot_product_attention` gives to the values, as it documents them."""
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    lowest = torch.finfo(scores.dtype).min
    if is_causal:
        later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(later, lowest)
    if mask is not None:
        scores = scores.masked_fill(~mask, lowest) if mask.dtype == torch.bool else scores + mask
    return scores.softmax(-1, dtype=torch.float32).to(query.dtype)
