"""Path patching: how much of what one part does reaches another by the direct way between them.

    from interpwidgets.methods.path import path_patch

    # what the model says about `clean` if what head (0, 1) writes, and only as the keys of (1, 0) and (1, 1) read it,
    # comes from another text
    logits, _ = path_patch(model, clean, corrupt, sender=(0, 1), receivers=[(1, 0), (1, 1)], into="k")

    # what it says if only the logits read the swap: the direct effect of a head, or of an MLP
    logits, _ = path_patch(model, clean, corrupt, sender=(0, 1), receivers="logits")
    logits, _ = path_patch(model, clean, corrupt, sender=("mlp_out", 0), receivers="logits")

Activation patching replaces what a head writes for everybody: heads, MLPs and logits further up. Path patching replaces
it for one reader and leaves every other reader, and everything in between, as it was on the clean text::

    sender ──> residual stream ─┬─(swapped for this reader alone)─> norm ─> W_K ─> keys of a receiver ─> ...
                                ├─> queries and values of the receiver        as before
                                └─> everything else                           as before

It takes two steps. First the sender writes what it writes on the corrupt text while every other head and MLP is held to
what it wrote on the clean one, and what the receivers read is kept. Then the model runs on the clean text, with that
put into the receivers alone; what comes after them is free. No approximation is made, norms included.

``through_mlps`` lets the MLPs on the way follow the swap, so that the ways from sender to receiver are all those that
lead through no other head: this is how the paper on indirect objects patches.

Where queries are grouped, several heads share their keys and values. There is then no swapping the keys of one of them:
name all heads of a group, or patch into their queries.

Sources: Wang et al. 2022, "Interpretability in the Wild"; Goldowsky-Dill et al. 2023, "Localizing Model Behavior with
Path Patching".
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets.methods.runs import expect_pair
from interpwidgets.models.anatomy import Anatomy, anatomy
from interpwidgets.models.taps import Edit, Tap, Where

Head = tuple[int, int]  # (layer, head)
Sender = Head | tuple[Literal["mlp_out"], int]


def path_patch(
    model: Any,
    clean: Int[Tensor, "batch position"],
    corrupt: Int[Tensor, "batch position"],
    sender: Sender,
    receivers: Iterable[Head] | Literal["logits"],
    into: Literal["q", "k", "v"] | None = None,
    save: Where | Sequence[Where] = (),
    *,
    through_mlps: bool = False,
) -> tuple[Float[Tensor, "batch position vocabulary"], Tap]:
    """Run ``model`` on ``clean`` while the ``receivers`` read what ``sender`` writes on ``corrupt``.

    Arguments:
        model: a Hugging Face model with a norm before each layer (GPT-2, Llama, Gemma 2, attention-only), in evaluation
            mode.
        clean, corrupt: token ids of one shape; row by row and place by place one is the other's counterpart.
        sender: the head (layer, head) or MLP ("mlp_out", layer) whose output is swapped.
        receivers: heads of later layers that read the swapped one, or "logits": the end of the residual stream.
        into: by which of their inputs heads read it: queries, keys or values. Nothing for "logits".
        save: sites to keep of the patched run, as for `Tap`.
        through_mlps: let MLPs between sender and receivers follow the swap, and not only the residual stream.

    Returns the logits of the patched run and the tap that kept ``save``. Raises `ValueError` for texts that do not
    match, a model in training mode, heads and layers that are not there, receivers that do not come after the sender,
    keys or values of a part of a group, and models that normalise the residual stream itself (BERT).

    In Gemma 2 a norm follows the heads of a layer: it is free to follow the swap of one of them.
    """
    parts = anatomy(model)
    _check_model(parts, clean, corrupt)
    heads = None if receivers == "logits" else _heads(receivers)
    _check_way(parts, sender, heads, into)
    with torch.no_grad():
        frozen = _frozen(model, clean, corrupt, sender, through_mlps)
        if heads is None:
            with Tap(model, save, frozen) as tap:
                logits: Tensor = model(clean).logits
            return logits, tap
        assert into is not None
        layers = sorted({layer for layer, _ in heads})
        with Tap(model, [(into, layer) for layer in layers], frozen) as reads:
            model(clean)
        shared = 1 if into == "q" else parts.n_heads // parts.n_kv_heads
        edits: dict[Where, Edit] = {
            (into, layer): _put(reads[into, layer], [head // shared for at, head in heads if at == layer])
            for layer in layers
        }
        with Tap(model, save, edits) as tap:
            logits = model(clean).logits
    return logits, tap


def patch_head(
    model: Any,
    clean: Int[Tensor, "batch position"],
    corrupt: Int[Tensor, "batch position"],
    heads: Iterable[Head],
    save: Where | Sequence[Where] = (),
) -> tuple[Float[Tensor, "batch position vocabulary"], Tap]:
    """The same for every reader at once: run on ``clean`` with what ``heads`` write taken from ``corrupt``.

    This is what all paths out of these heads do together, to which `path_patch` is compared. Arguments and results are
    as there. Raises `ValueError` for texts that do not match, a model in training mode and heads that are not there.
    """
    heads = _heads(heads)
    parts = anatomy(model)
    _check_model(parts, clean, corrupt)
    for each in heads:
        _check_head(parts, each)
    layers = sorted({layer for layer, _ in heads})
    with torch.no_grad():
        with Tap(model, "z") as there:
            model(corrupt)
        edits: dict[Where, Edit] = {
            ("z", layer): _put(there["z", layer], [head for at, head in heads if at == layer]) for layer in layers
        }
        with Tap(model, save, edits) as tap:
            logits: Tensor = model(clean).logits
    return logits, tap


def _frozen(
    model: Any,
    clean: Int[Tensor, "batch position"],
    corrupt: Int[Tensor, "batch position"],
    sender: Sender,
    through_mlps: bool,
) -> dict[Where, Edit]:
    """Edits that let the sender write what it writes on ``corrupt``, and hold all others to what they write on
    ``clean``: heads always, MLPs unless they are part of the way.
    """
    parts = anatomy(model)
    sites = [site for site in ("z", "mlp_out") if site == "z" or site in parts.family.sites]
    with Tap(model, sites) as here:
        model(clean)
    held = ["z"] if through_mlps else sites
    edits: dict[Where, Edit] = {(site, layer): here[site, layer] for site in held for layer in range(parts.n_layers)}
    spot: Where = ("mlp_out", sender[1]) if sender[0] == "mlp_out" else ("z", int(sender[0]))
    with Tap(model, [spot]) as there:
        model(corrupt)
    edits[spot] = there[spot]
    if sender[0] != "mlp_out":
        swapped = here[spot].clone()
        swapped[:, :, sender[1]] = there[spot][:, :, sender[1]]
        edits[spot] = swapped
    return edits


def _put(new: Float[Tensor, "batch position head d_head"], heads: list[int]) -> Edit:
    def edit(old: Tensor) -> Tensor:
        old[:, :, heads] = new[:, :, heads]
        return old

    return edit


# -- what cannot be patched


def _check_model(parts: Anatomy, clean: Int[Tensor, "batch position"], corrupt: Int[Tensor, "batch position"]) -> None:
    expect_pair(parts, clean, corrupt)
    parts.W_U()  # says so where there is none, hence no logits


def _heads(heads: Iterable[Head]) -> list[Head]:
    each: list[Any] = list(heads)
    for head in each:
        if not isinstance(head, tuple) or len(head) != 2 or not all(isinstance(number, int) for number in head):
            raise ValueError(f"heads are pairs (layer, head), such as (0, 1); {head!r} is none.")
    if not each:
        raise ValueError("name at least one head, as (layer, head).")
    return each


def _check_head(parts: Anatomy, head: Head) -> None:
    for number, count, kind in zip(head, (parts.n_layers, parts.n_heads), ("layer", "head"), strict=True):
        if not 0 <= number < count:
            raise ValueError(f"this model has {count} {kind}s, 0 to {count - 1}; there is no {kind} {number}.")


def _check_way(parts: Anatomy, sender: Sender, receivers: list[Head] | None, into: str | None) -> None:
    if parts.final_norm() is None:
        raise ValueError("in this model a norm follows each sum, so what one part writes cannot be told apart.")
    if sender[0] == "mlp_out":
        if "mlp_out" not in parts.family.sites:
            raise ValueError(f"{type(parts.model).__name__} has no MLPs that could send.")
        layer = sender[1]
        _check_head(parts, (layer, 0))
    else:
        (sending,) = _heads([sender])
        layer = sending[0]
        _check_head(parts, sending)
    for head in receivers or []:
        _check_head(parts, head)
    early = [each for each, _ in receivers or [] if each <= layer]
    if early:
        raise ValueError(f"receivers have to come after layer {layer}, but one is in layer {early[0]}.")
    if (into is None) != (receivers is None) or into not in (None, "q", "k", "v"):
        raise ValueError(
            f"heads receive into 'q', 'k' or 'v', and the logits into nothing; these were to receive into {into!r}."
        )
    if receivers is not None and into != "q":
        _check_groups(parts, receivers)


def _check_groups(parts: Anatomy, receivers: list[Head]) -> None:
    """Keys and values can be swapped only for all heads that share them."""
    shared = parts.n_heads // parts.n_kv_heads
    for layer, head in receivers:
        group = [(layer, first) for first in range(head - head % shared, head - head % shared + shared)]
        missing = [each for each in group if each not in receivers]
        if missing:
            raise ValueError(
                f"this model has grouped queries: heads {', '.join(map(str, group))} share their keys and values, so "
                f"name all of them as receivers ({', '.join(map(str, missing))} is missing), or receive into 'q'."
            )
