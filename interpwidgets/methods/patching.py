"""Activation patching: which places of a model carry what makes one text's answer differ from another's.

    from functools import partial
    from interpwidgets.methods.metrics import logit_difference
    from interpwidgets.methods.patching import patch_sweep

    clean = ids("When Mary and John went out, John gave a book to")     # [1, position]
    corrupt = ids("When Mary and John went out, Mary gave a book to")   # the same length, token by token
    metric = partial(logit_difference, right=mary, wrong=john)

    patch_sweep(model, clean, corrupt, metric)                   # [layer, position]: the residual stream
    patch_sweep(model, clean, corrupt, metric, "attn_out")       # [layer, position]: what attention writes
    patch_sweep(model, clean, corrupt, metric, "z")              # [layer, head]: one head, at all positions
    patch_sweep(model, corrupt, clean, metric)                   # noising

Every number is the metric of one run on the corrupt text with one tensor of the clean run put in. This is *denoising*:
where the metric comes back, the place is enough to bring the answer along. *Noising* is the same call with the texts
exchanged: where the metric breaks, the place was needed. The two need not agree (an AND and an OR of two places show
up in one each), so look at both.

The obvious way is one run for each number. Here all of them are one run whose batch grows as it climbs::

    layer 2   a b c d e f g h i     ... and so on: row i is the run that is patched in layer 2, at position 2
    layer 1   a b c d e f           d, e, f join: fresh copies of the corrupt stream, patched in layer 1
    layer 0   a b c                 one copy of the corrupt stream for each position, patched in layer 0

Below the layer where it is patched a run is the corrupt run, so nothing there is computed again. ``max_batch`` cuts the
rows into groups that climb one after the other, each from its own lowest layer, so that at most so many rows are in
memory at a time. Where no position sees a later one, a patch changes nothing before its own position: there the text is
swept in a few stretches, and what stands before a stretch is read from a cache of keys and values.

Sources: Meng et al. 2022, "Locating and Editing Factual Associations in GPT", section 2 (causal tracing); Heimersheim &
Nanda 2024, "How to use and interpret activation patching" (denoising, noising, AND and OR); Zhang & Nanda 2024,
"Towards Best Practices of Activation Patching in Language Models" (corrupt by exchanging tokens, not by noise).
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from inspect import signature
from itertools import groupby
from math import prod
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from interpwidgets.methods.runs import At, Metric, expect_pair, logits_at, measured, positions
from interpwidgets.models.anatomy import Anatomy, anatomy
from interpwidgets.models.taps import Edit, Tap, Where

Site = Literal["resid_pre", "attn_out", "mlp_out", "z"]
Index = tuple[Tensor] | tuple[Tensor | slice, Tensor]  # behind the batch; tensors hold one entry for each row

BAR_AFTER = 2.0  # seconds
STRETCHES = 4  # of the text: each is swept in a pass of its own, which does not compute what stands before it


def patch_sweep(
    model: Any,
    clean: Int[Tensor, "1 position"],
    corrupt: Int[Tensor, "1 position"],
    metric: Metric,
    site: Site = "resid_pre",
    *,
    at: At = -1,
    by_position: bool = False,
    max_batch: int | None = 64,
    progress: bool = True,
) -> Float[Tensor, "layer position"] | Float[Tensor, "layer head"] | Float[Tensor, "layer head position"]:
    """The metric of ``model`` on ``corrupt``, with ``site`` taken from ``clean`` in one layer and place at a time.

    Arguments:
        model: a Hugging Face model of a family in `interpwidgets.models.families`, in evaluation mode, with its head.
        clean, corrupt: token ids of one text each and of the same length; place by place counterparts.
        metric: logits of several runs to one number for each. It is tried on both texts before the sweep begins.
        site: "resid_pre", "attn_out" or "mlp_out" are patched at one position; "z" in one head.
        at: the position (then the metric gets logits [batch, vocabulary]) or the positions ([batch, at, vocabulary])
            where the metric looks; negative ones count from the end. Where the family can, only these are computed.
        by_position: patch heads at one position at a time, too.
        max_batch: at most this many runs side by side, which bounds the memory; None for no limit. Kept beside them
            is one text's worth of ``site``, residual stream, keys and values of every layer.
        progress: show a bar if the sweep takes longer than a few seconds.

    Returns [layer, position]; for "z" [layer, head], or [layer, head, position] with ``by_position``; the units and the
    dtype are those of the metric. The model is left as it was found, whatever happens; while the sweep runs, other
    threads have to leave it alone.

    Raises `ValueError` for texts that do not match, a model in training mode or without logits, a metric that does not
    return one number for each run, and sites, positions and sizes that cannot be; `TapError`, which is a `ValueError`,
    for a site that the family lacks.
    """
    parts = anatomy(model)
    _check(parts, clean, corrupt, metric, site, by_position, max_batch)
    n_positions = clean.shape[1]
    looks = positions(at, n_positions)
    moves = site != "z" or by_position  # from one position to the next
    shape = [parts.n_heads, n_positions] if by_position else [parts.n_heads if site == "z" else n_positions]
    cache = DynamicCache() if moves and _leaves_prefix_alone(parts) else None
    with torch.no_grad():
        with Tap(model, site) as there:
            clean_logits = logits_at(model, clean, looks)
        with Tap(model, "resid_pre") as here, _watching(parts.blocks[0]) as calls:
            corrupt_logits = logits_at(model, corrupt, looks, past_key_values=cache)
        measured(metric, torch.cat([clean_logits, corrupt_logits]))
        sweep = _Sweep(site, here, there, corrupt, looks, prod(shape), moves, cache, calls)
        order, scores, n_runs = [], [], parts.n_layers * prod(shape)
        with _bar(n_runs, progress) as bar:
            for group in _groups(sweep, max_batch):
                order.extend(group)
                scores.append(measured(metric, _climb(sweep, group)))
                bar.update(len(group))
    return torch.cat(scores)[torch.tensor(order).argsort()].reshape(parts.n_layers, *shape)


def _bar(n_runs: int, progress: bool) -> Any:
    options = {"delay": BAR_AFTER, "leave": False, "disable": not progress, "unit": "run"}
    return tqdm(total=n_runs, **options)


@dataclass(frozen=True)
class _Sweep:
    """What all passes share. Runs are numbered layer by layer, and in a layer place by place."""

    site: Site
    here: Tap  # keeps the residual stream of the corrupt run
    there: Tap  # keeps the site of the clean run
    corrupt: Int[Tensor, "1 position"]
    looks: int | list[int]
    n_places: int  # patches in one layer
    moves: bool  # a place is, or ends in, a position
    cache: DynamicCache | None  # keys and values of the corrupt run, where the prefix need not be computed again
    calls: "_Calls"


@dataclass
class _Calls:
    """How the model calls its blocks, seen in the corrupt run."""

    n_results: int = 0  # of a block that returns a tuple, 0 where it returns a tensor
    counts_texts: bool = False  # it gets something made for each text (Bloom's ALiBi), so their number may not grow


@contextmanager
def _watching(block: nn.Module) -> Iterator[_Calls]:
    calls = _Calls()

    def hook(_: nn.Module, __: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        calls.n_results = len(out) if isinstance(out, tuple) else 0
        calls.counts_texts = kwargs.get("alibi") is not None

    handle = block.register_forward_hook(hook, with_kwargs=True)
    try:
        yield calls
    finally:
        handle.remove()


def _groups(sweep: _Sweep, max_batch: int | None) -> Iterator[list[int]]:
    """The runs that climb together, at most ``max_batch``: neighbours in position if that saves them a prefix, and of
    one layer if none can join later.
    """
    n_positions = sweep.corrupt.shape[1]
    width = -(-n_positions // STRETCHES) if sweep.cache is not None else n_positions
    runs = range(sweep.here.anatomy.n_layers * sweep.n_places)
    for first in range(0, n_positions, width) if sweep.cache is not None else [0]:
        near = [run for run in runs if sweep.cache is None or first <= run % n_positions < first + width]
        together = [near]
        if sweep.calls.counts_texts:
            together = [list(layer) for _, layer in groupby(near, lambda run: run // sweep.n_places)]
        for group in together:
            step = max_batch or len(group)
            yield from (group[start : start + step] for start in range(0, len(group), step))


def _leaves_prefix_alone(parts: Anatomy) -> bool:
    """Whether a patch changes nothing before its position, so that keys and values there can be kept in a cache.

    Hooks and taps of other people may count positions from the start of the text, so they get to see all of it.
    """
    listened = any(module._forward_hooks or module._forward_pre_hooks for module in parts.model.modules())
    configs: list[Any] = [getattr(module, "config", parts.model.config) for module in parts.attentions]
    tapped = any(str(config._attn_implementation).startswith("interpwidgets") for config in configs)
    tapped = tapped or any("forward" in vars(module) for module in parts.attentions)  # where no registry is asked
    cached = "past_key_values" in signature(parts.model.forward).parameters
    return parts.causal and cached and not listened and not tapped


# -- one pass


class _Prefix(DynamicLayer):  # type: ignore[no-untyped-call]
    """The keys and values before some position: the same for every run, and never added to."""

    def __init__(self, layer: Any, length: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        keys, values = layer.keys[..., :length, :], layer.values[..., :length, :]
        self.lazy_initialization(keys, values)
        self.keys, self.values = keys, values

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        assert self.keys is not None
        assert self.values is not None
        keys, values = (kept.expand(len(key_states), -1, -1, -1) for kept in (self.keys, self.values))
        return torch.cat([keys, key_states], -2), torch.cat([values, value_states], -2)


def _climb(sweep: _Sweep, group: list[int]) -> Float[Tensor, "run *at vocabulary"]:
    """The logits of the runs of ``group``, each joining in its layer and patched there."""
    model, blocks = sweep.here.anatomy.model, sweep.here.anatomy.blocks
    start, cache = _start(sweep, group), None
    if sweep.cache is not None and start:
        cache = Cache(layers=[_Prefix(layer, start) for layer in sweep.cache.layers])
    joining: dict[int, list[int]] = {}
    for run in group:
        joining.setdefault(run // sweep.n_places, []).append(run % sweep.n_places)
    lowest = min(joining)
    edits: dict[Where, Edit] = {}
    with ExitStack() as cleanup:
        for block in blocks[:lowest]:
            cleanup.callback(_skip(block, sweep.calls.n_results))
        for layer, places in joining.items():
            edits[sweep.site, layer] = _patch(sweep.there[sweep.site, layer][:, start:], _index(sweep, places, start))
            copies = sweep.here["resid_pre", layer][:, start:].expand(len(places), -1, -1)
            hook = _grow(copies, alone=layer == lowest)
            cleanup.callback(blocks[layer].register_forward_pre_hook(hook, with_kwargs=True).remove)
        cleanup.enter_context(Tap(model, edits=edits))  # after the hooks above: it has to see the copies
        looks = _less(sweep.looks, start)
        texts = sweep.corrupt[:, start:].expand(len(group) if sweep.calls.counts_texts else 1, -1)
        return logits_at(model, texts, looks, past_key_values=cache)


def _start(sweep: _Sweep, group: list[int]) -> int:
    """The first position that has to be computed."""
    if sweep.cache is None:
        return 0
    first = min(run % sweep.n_places % sweep.corrupt.shape[1] for run in group)
    return min([first, sweep.looks] if isinstance(sweep.looks, int) else [first, *sweep.looks])


def _less(looks: int | list[int], start: int) -> int | list[int]:
    """``looks`` counted from ``start``."""
    return looks - start if isinstance(looks, int) else [look - start for look in looks]


def _index(sweep: _Sweep, places: list[int], start: int) -> Index:
    """Where each run is patched: at a position, in a head at every position, or in a head at one position."""
    at, n_positions = torch.tensor(places), sweep.corrupt.shape[1]
    if sweep.site != "z":
        return (at - start,)
    return (at % n_positions - start, at // n_positions) if sweep.moves else (slice(None), at)


def _patch(clean: Float[Tensor, "1 position *rest"], index: Index) -> Edit:
    """Put ``clean`` into the rows that joined last, each at its own place."""
    n_runs = len(index[-1])

    def edit(x: Tensor) -> Tensor:
        rows = torch.arange(len(x) - n_runs, len(x))
        x[(rows, *index)] = clean.expand_as(x)[(rows, *index)]
        return x

    return edit


def _grow(copies: Float[Tensor, "run position d_model"], alone: bool) -> Callable[..., Any]:
    """A hook that lets ``copies`` join what enters a block, or stand in its place if they are ``alone``."""

    def joined(x: Tensor) -> Tensor:
        return torch.cat([x[:0] if alone else x, copies])

    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (joined(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": joined(kwargs["hidden_states"])}

    return hook


def _skip(block: nn.Module, n_results: int) -> Callable[[], None]:
    """Let ``block`` hand on what it gets, as the first of ``n_results`` if it returns several; what comes back undoes
    that.
    """
    before = vars(block).get("forward")

    def passing(hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        return (hidden_states, *[None] * (n_results - 1)) if n_results else hidden_states

    def undo() -> None:
        del vars(block)["forward"]
        if before is not None:
            vars(block)["forward"] = before

    vars(block)["forward"] = passing
    return undo


# -- what cannot be swept


def _check(
    parts: Anatomy,
    clean: Int[Tensor, "1 position"],
    corrupt: Int[Tensor, "1 position"],
    metric: Metric,
    site: str,
    by_position: bool,
    max_batch: int | None,
) -> None:
    sites = get_args(Site)
    if site not in sites:
        near = get_close_matches(str(site), sites, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"sweeps are over {', '.join(sites)}."
        raise ValueError(f"there is no sweep over {site!r}; {hint}")
    expect_pair(parts, clean, corrupt)
    if len(clean) != 1:
        raise ValueError(
            f"clean and corrupt have to be one text each, [1, position], but they are {list(clean.shape)}."
        )
    if by_position and site != "z":
        raise ValueError(f"by_position is for heads ('z'); a sweep over {site!r} is by position already.")
    if max_batch is not None and (not isinstance(max_batch, int) or max_batch < 1):
        raise ValueError(f"max_batch has to be at least 1, or None for no limit, but it is {max_batch}.")
    if not callable(metric):
        raise ValueError(f"the metric has to be a function of logits; it is of type {type(metric).__name__}.")
