"""The inside of a state space, as Mamba has one in place of attention, handed to all who listen.

    x ──> in_proj ─┬─> convolution ─> SiLU ─> conv ─┬─> x_proj ─> delta, B, C ─┐
                   │                                └────────> state ──(C)──(+ D conv)──(x SiLU(gate))──> y ─> out_proj
                   └─> gate

    conv, gate, delta, y    [batch, position, d_inner]
    B, C                    [batch, position, d_state]
    state                   [batch, position, d_inner, d_state]     after each position

    state[t] = exp(delta[t] A) state[t-1] + delta[t] B[t] conv[t]
    y[t]     = (C[t] state[t] + D conv[t]) SiLU(gate[t])

The library keeps delta and the states inside of one function (or one kernel). Where they are asked for, they are made
again of what goes into it, by the two lines above; the library's own y goes on unless one of them is edited.

An edit of ``state`` is written into the recurrence: what it writes stays written, what it leaves alone follows from the
states before. To patch the state at one position is so to hand on another memory from there.

Source: Gu & Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces".
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from interpwidgets.models.anatomy import Anatomy
from interpwidgets.models.tap_attention import LISTENERS, flow_at, heard
from interpwidgets.models.tap_forward import around


@dataclass
class _Step:
    """What the mixer that runs has made so far."""

    mixer: Any
    cache: Any
    start: Float[Tensor, "batch d_inner d_state"] | None  # the state before this run; None for nothing
    gate: Any = None
    conv: Any = None
    low: Any = None  # what delta is made of
    B: Any = None
    C: Any = None


_NOW: ContextVar[_Step | None] = ContextVar("the mixer that runs", default=None)  # None where nobody listens


def projections(parts: Anatomy) -> dict[nn.Module, int]:
    """The layer of each module around which the sites of a state space are seen."""
    if parts.family.states is None:
        return {}
    mixers: list[Any] = [block.get_submodule(parts.family.states) for block in parts.blocks]
    return {
        module: layer
        for layer, each in enumerate(mixers)
        for module in (each, each.in_proj, each.x_proj, each.out_proj)
    }


@contextmanager
def states(parts: Anatomy) -> Iterator[None]:
    """While this holds, the state spaces of this model are shown to all who listen."""
    runs = (_mixing, _projected, _selected, _scanned)
    with ExitStack() as stack:
        for i, module in enumerate(projections(parts)):
            stack.enter_context(around(module, runs[i % 4]))
        yield


def _mixing(module: nn.Module, own: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not heard(module):
        return own(*args, **kwargs)
    mixer: Any = module
    x, cache = args[0] if args else kwargs["hidden_states"], kwargs.get("cache_params")
    before = _cached(cache, mixer.layer_idx) if x.shape[1] == 1 else None
    token = _NOW.set(_Step(mixer, cache, None if before is None else before.clone()))
    try:
        return own(*args, **kwargs)
    finally:
        _NOW.reset(token)


def _projected(module: nn.Module, own: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    now = _NOW.get()
    out = own(*args, **kwargs)
    if now is None:
        return out
    x, gate = out.chunk(2, -1)
    now.gate = flow_at(module)("gate", gate)
    return out if now.gate is gate and not gate.requires_grad else torch.cat([x, now.gate], -1)


def _selected(module: nn.Module, own: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    flow, now = flow_at(module), _NOW.get()
    if now is None:
        return own(*args, **kwargs)
    seen = args[0].clone()  # the model goes on with the very tensor, too
    new = flow("conv", seen)
    now.conv = args[0] if new is seen and not seen.requires_grad else args[0].copy_(new)
    out = own(now.conv)
    n = now.mixer.ssm_state_size
    now.low, B, C = torch.split(out, [out.shape[-1] - 2 * n, n, n], -1)
    now.B, now.C = flow("B", B), flow("C", C)
    same = now.B is B and now.C is C and not out.requires_grad
    return out if same else torch.cat([now.low, now.B, now.C], -1)


def _scanned(module: nn.Module, own: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    flow, now, y = flow_at(module), _NOW.get(), args[0]
    if now is None:
        return own(*args, **kwargs)
    if any(each.wants("delta") or each.wants("state") for each in LISTENERS.get() if module in each.layer_of):
        made = _made(now, flow)
        y = y if made is None else made.to(y.dtype)
    return own(flow("y", y))


def _made(now: _Step, flow: Callable[..., Tensor]) -> Float[Tensor, "batch position d_inner"] | None:
    """Show delta and the states, and give the y that follows from them; None where it is the library's own."""
    mixer, conv, gate = now.mixer, now.conv, now.gate
    before = functional.softplus(now.low @ mixer.dt_proj.weight.T + mixer.dt_proj.bias.to(now.low.dtype))
    delta = flow("delta", before)
    A = -torch.exp(mixer.A_log.float())
    recurrence = _Recurrence(
        decay=torch.exp(delta[..., None] * A),
        inflow=delta[..., None] * now.B[:, :, None].float() * conv[..., None].float(),
        start=now.start,
    )
    own = recurrence.states()
    kept = flow("state", own, recurrence.settled)
    if kept is own and delta is before and not own.requires_grad:
        return None
    cached = _cached(now.cache, mixer.layer_idx)
    if cached is not None:
        cached.copy_(kept[:, -1].detach())
    read = torch.einsum("btdn,btn->btd", kept.to(conv.dtype), now.C)
    y: Tensor = (read + mixer.D.float() * conv) * functional.silu(gate)
    return y


@dataclass
class _Recurrence:
    """``state[t] = decay[t] state[t-1] + inflow[t]``, but where somebody has written."""

    decay: Float[Tensor, "batch position d_inner d_state"]
    inflow: Float[Tensor, "batch position d_inner d_state"]
    start: Float[Tensor, "batch d_inner d_state"] | None
    written: Tensor | None = None  # where

    def states(self, values: Tensor | None = None) -> Float[Tensor, "batch position d_inner d_state"]:
        """Every state; ``values`` where they are written."""
        state = torch.zeros_like(self.inflow[:, 0]) if self.start is None else self.start.to(self.inflow.dtype)
        made = []
        for t in range(self.inflow.shape[1]):
            state = self.decay[:, t] * state + self.inflow[:, t]
            if values is not None and self.written is not None:
                state = torch.where(self.written[:, t], values[:, t], state)
            made.append(state)
        return torch.stack(made, 1)

    def settled(self, before: Tensor, after: Tensor) -> Float[Tensor, "batch position d_inner d_state"]:
        """What the states become when an edit makes ``after`` of ``before``."""
        changed = after != before
        self.written = changed if self.written is None else self.written | changed
        return self.states(after) if bool(changed.any()) else after


def _cached(cache: Any, layer: int) -> Float[Tensor, "batch d_inner d_state"] | None:
    """The state that a cache holds, as the library goes on with it; None where it holds none."""
    if cache is None:
        return None
    old: Any = getattr(cache, "ssm_states", None)  # older releases of transformers
    held: Tensor | None = cache.get_recurrent_state(layer, state_idx=0) if old is None else old[layer]
    return held
