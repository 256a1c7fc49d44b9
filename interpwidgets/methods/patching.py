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
rows into groups that climb one after the other, each from its own lowest layer: what it costs is the same, and at most
so many rows are in memory at a time.

Sources: Meng et al. 2022, "Locating and Editing Factual Associations in GPT", section 2 (causal tracing); Heimersheim &
Nanda 2024, "How to use and interpret activation patching" (denoising, noising, AND and OR); Zhang & Nanda 2024,
"Towards Best Practices of Activation Patching in Language Models" (corrupt by exchanging tokens, not by noise).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from difflib import get_close_matches
from inspect import signature
from math import prod
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from tqdm.auto import tqdm

from interpwidgets.models.anatomy import Anatomy, anatomy
from interpwidgets.models.taps import Edit, Tap, Where

Site = Literal["resid_pre", "attn_out", "mlp_out", "z"]
Metric = Callable[[Float[Tensor, "batch *at vocabulary"]], Float[Tensor, " batch"]]
Index = tuple[Tensor | slice, ...]  # where a row is patched, behind the batch: one entry for each of several rows

BAR_AFTER = 2.0  # seconds


def patch_sweep(
    model: Any,
    clean: Int[Tensor, "1 position"],
    corrupt: Int[Tensor, "1 position"],
    metric: Metric,
    site: Site = "resid_pre",
    *,
    at: int | Sequence[int] = -1,
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
        max_batch: at most this many runs side by side, which bounds the memory; None for all at once. Kept beside
            them are, for one text each, ``site`` and the residual stream of every layer.
        progress: show a bar if the sweep takes longer than a few seconds.

    Returns [layer, position]; for "z" [layer, head], or [layer, head, position] with ``by_position``; the units and the
    dtype are those of the metric. The model is left as it was found, whatever happens; while the sweep runs, other
    threads have to leave it alone.

    Raises `ValueError` for texts that do not match, a model in training mode or without logits, a metric that does not
    return one number for each run, and sites, positions and sizes that cannot be; `TapError`, which is a `ValueError`,
    for a site that the family lacks.
    """
    parts = anatomy(model)
    _check(parts, clean, corrupt, site, by_position, max_batch)
    n_positions = clean.shape[1]
    looks = _looks(at, n_positions)
    shape = [parts.n_heads, n_positions] if by_position else [parts.n_heads if site == "z" else n_positions]
    n_places = prod(shape)
    runs = range(parts.n_layers * n_places)  # layer by layer
    step = max_batch or len(runs)
    scores = []
    with torch.no_grad():
        with Tap(model, site) as there:
            clean_logits = _logits(model, clean, looks)
        with Tap(model, "resid_pre") as here:
            corrupt_logits = _logits(model, corrupt, looks)
        _measure(metric, torch.cat([clean_logits, corrupt_logits]))
        with tqdm(total=len(runs), delay=BAR_AFTER, leave=False, disable=not progress, unit="run") as bar:
            for start in range(0, len(runs), step):
                group = runs[start : start + step]
                joining = _joining(group, n_places, site, n_positions if by_position else None)
                scores.append(_measure(metric, _climb(here, there, corrupt, site, joining, looks)))
                bar.update(len(group))
    return torch.cat(scores).reshape(parts.n_layers, *shape)


def _joining(group: range, n_places: int, site: Site, n_positions: int | None) -> dict[int, Index]:
    """Which runs of a group join in which layer, and where they are patched there."""
    layers = range(group[0] // n_places, group[-1] // n_places + 1)
    places = {layer: [run % n_places for run in group if run // n_places == layer] for layer in layers}
    return {layer: _index(torch.tensor(each), site, n_positions) for layer, each in places.items()}


def _index(places: Int[Tensor, " run"], site: Site, n_positions: int | None) -> Index:
    """Where each run is patched: at a position, in a head at every position, or in a head at one position."""
    if site != "z":
        return (places,)
    if n_positions is None:
        return (slice(None), places)
    return (places % n_positions, places // n_positions)


# -- one pass


def _climb(
    here: Tap, there: Tap, corrupt: Int[Tensor, "1 position"], site: Site, joining: Mapping[int, Index], looks: Tensor
) -> Float[Tensor, "run *at vocabulary"]:
    """The logits of runs that join in the layers of ``joining`` and are patched there, in the order of the layers.

    ``here`` keeps the residual stream of the corrupt run, ``there`` the site of the clean one.
    """
    parts, lowest = here.anatomy, min(joining)
    edits: dict[Where, Edit] = {(site, layer): _patch(there[site, layer], index) for layer, index in joining.items()}
    with ExitStack() as cleanup:
        for block in parts.blocks[:lowest]:
            cleanup.callback(_skip(block))
        for layer, index in joining.items():
            copies = here["resid_pre", layer].expand(_n_runs(index), -1, -1)
            hook = _grow(copies, alone=layer == lowest)
            cleanup.callback(parts.blocks[layer].register_forward_pre_hook(hook, with_kwargs=True).remove)
        cleanup.enter_context(Tap(parts.model, edits=edits))  # after the hooks above: it has to see the copies
        return _logits(parts.model, corrupt, looks)


def _n_runs(index: Index) -> int:
    return next(len(places) for places in index if isinstance(places, Tensor))


def _patch(clean: Float[Tensor, "1 position *rest"], index: Index) -> Edit:
    """Put ``clean`` into the rows that joined last, each at its own place."""

    def edit(x: Tensor) -> Tensor:
        rows = torch.arange(len(x) - _n_runs(index), len(x))
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


def _skip(block: nn.Module) -> Callable[[], None]:
    """Let ``block`` hand on what it gets; what comes back undoes that."""
    before = vars(block).get("forward")

    def passing(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden_states

    def undo() -> None:
        del vars(block)["forward"]
        if before is not None:
            vars(block)["forward"] = before

    vars(block)["forward"] = passing
    return undo


def _logits(model: Any, tokens: Int[Tensor, "1 position"], looks: Tensor) -> Float[Tensor, "batch *at vocabulary"]:
    """The logits where the metric looks; no others are computed where the family can leave them out."""
    known = signature(model.forward).parameters
    wanted = {"use_cache": False, "logits_to_keep": looks.reshape(-1).to(tokens.device)}
    out = model(tokens, **{name: value for name, value in wanted.items() if name in known})
    if not isinstance(getattr(out, "logits", None), Tensor):
        raise ValueError(f"{type(model).__name__} has no logits for the metric; load it with its language model head.")
    logits: Tensor = out.logits if "logits_to_keep" in known else out.logits[:, looks.reshape(-1)]
    return logits if looks.ndim else logits[:, 0]


def _measure(metric: Metric, logits: Float[Tensor, "batch *at vocabulary"]) -> Float[Tensor, " batch"]:
    scores: Any = metric(logits)
    if not isinstance(scores, Tensor) or scores.shape != logits.shape[:1]:
        came = f"shape {list(scores.shape)}" if isinstance(scores, Tensor) else f"type {type(scores).__name__}"
        raise ValueError(
            f"the metric has to turn logits of shape {list(logits.shape)} into one number for each run, a tensor of "
            f"shape {[len(logits)]}; it returned something of {came}."
        )
    return scores


# -- what cannot be swept


def _looks(at: int | Sequence[int], n_positions: int) -> Int[Tensor, ""] | Int[Tensor, " at"]:
    """``at`` counted from the start, as a tensor."""
    each: Iterable[int] = [at] if isinstance(at, int) else at
    for position in each:
        if not -n_positions <= position < n_positions:
            raise ValueError(
                f"the texts have {n_positions} positions, 0 to {n_positions - 1}; the metric cannot look at {position}."
            )
    return torch.tensor(at if isinstance(at, int) else list(at), dtype=torch.long) % n_positions


def _check(
    parts: Anatomy,
    clean: Int[Tensor, "1 position"],
    corrupt: Int[Tensor, "1 position"],
    site: str,
    by_position: bool,
    max_batch: int | None,
) -> None:
    sites = get_args(Site)
    if site not in sites:
        near = get_close_matches(str(site), sites, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"sweeps are over {', '.join(sites)}."
        raise ValueError(f"there is no sweep over {site!r}; {hint}")
    if clean.shape != corrupt.shape:
        raise ValueError(
            f"clean and corrupt have to be of one shape, but they are {list(clean.shape)} and {list(corrupt.shape)}."
        )
    if clean.ndim != 2 or len(clean) != 1:
        raise ValueError(
            f"clean and corrupt have to be one text each, [1, position], but they are {list(clean.shape)}."
        )
    if by_position and site != "z":
        raise ValueError(f"by_position is for heads ('z'); a sweep over {site!r} is by position already.")
    if max_batch is not None and max_batch < 1:
        raise ValueError(f"max_batch has to be at least 1, or None for no limit, but it is {max_batch}.")
    if any(module.training for module in parts.model.modules()):
        raise ValueError(
            "the model is in training mode, where dropout makes every run another; call model.eval() first."
        )
