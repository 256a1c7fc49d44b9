"""Path patching: how much of what one head does reaches another by the direct way between them.

    from interpwidgets.methods.path import path_patch

    # what the model says about `clean` if what (0, 1) writes, and only as the keys of (1, 0) and (1, 1) read it,
    # comes from another text
    logits = path_patch(model, clean, corrupt, sender=(0, 1), receivers=[(1, 0), (1, 1)], into="k")

Activation patching replaces what a head writes for everybody: heads, MLPs and logits further up. Path patching replaces
it for one reader and leaves every other reader, and everything in between, as it was on the clean text::

    sender ──> residual stream ─┬─(swapped for this reader alone)─> norm ─> W_K ─> keys of a receiver ─> ...
                                ├─> queries and values of the receiver        as before
                                └─> everything else                           as before

Since heads add to the residual stream, the reader's input with the swap is its clean input, minus what the sender
wrote, plus what the sender writes on the corrupt text. No approximation is made, norms included.

Sources: Wang et al. 2022, "Interpretability in the Wild", section 3 and appendix B; Goldowsky-Dill et al. 2023,
"Localizing Model Behavior with Path Patching".
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets.models.anatomy import Anatomy, anatomy
from interpwidgets.models.taps import Edit, Tap, Where

Head = tuple[int, int]  # (layer, head)


def path_patch(
    model: Any,
    clean: Int[Tensor, "batch position"],
    corrupt: Int[Tensor, "batch position"],
    sender: Head,
    receivers: Iterable[Head],
    into: Literal["q", "k", "v"],
    save: Where | Sequence[Where] = (),
) -> tuple[Float[Tensor, "batch position vocabulary"], Tap]:
    """Run ``model`` on ``clean`` while the ``receivers`` read what ``sender`` writes on ``corrupt``.

    Arguments:
        model: a Hugging Face model with a norm before each layer (GPT-2, Llama, attention-only).
        clean, corrupt: token ids of one shape; row by row and place by place one is the other's counterpart.
        sender: the head (layer, head) whose output is swapped.
        receivers: heads of later layers that read the swapped one.
        into: by which of their inputs they read it: queries, keys or values.
        save: sites to keep of the patched run, as for `Tap`.

    Returns the logits of the patched run and the tap that kept ``save``. Raises `ValueError` for texts of different
    shapes, receivers that do not come after the sender, models with grouped queries (their keys belong to several heads
    at once) and models with a norm after the heads (BERT, Gemma 2).
    """
    receivers = list(receivers)
    parts = anatomy(model)
    _check(parts, clean, corrupt, sender, receivers)
    layers = sorted({layer for layer, _ in receivers})
    with torch.no_grad():
        before, after = (_writes(model, tokens, sender) for tokens in (clean, corrupt))
        edits: dict[Where, Edit] = {}
        for layer in layers:
            swapped = _reads(model, clean, layer, into, after - before)
            heads = [head for at, head in receivers if at == layer]
            edits[into, layer] = _put(swapped, heads)
        with Tap(model, save, edits) as tap:
            logits: Tensor = model(clean).logits
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
    as there.
    """
    heads = list(heads)
    _check(anatomy(model), clean, corrupt)
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


def _writes(model: Any, tokens: Int[Tensor, "batch position"], sender: Head) -> Float[Tensor, "batch position d_model"]:
    layer, head = sender
    with Tap(model, ("z", layer)) as tap:
        model(tokens)
    return tap.anatomy.heads(tap["z", layer], layer)[:, :, head]


def _reads(
    model: Any, tokens: Int[Tensor, "batch position"], layer: int, into: str, change: Float[Tensor, "batch position d"]
) -> Float[Tensor, "batch position head d_head"]:
    """The queries, keys or values of a layer whose input is changed, and nothing else is."""
    with Tap(model, (into, layer), {("resid_pre", layer): lambda x: x + change}) as tap:
        model(tokens)
    return tap[into, layer]


def _put(new: Float[Tensor, "batch position head d_head"], heads: list[int]) -> Edit:
    def edit(old: Tensor) -> Tensor:
        old[:, :, heads] = new[:, :, heads]
        return old

    return edit


def _check(
    parts: Anatomy,
    clean: Int[Tensor, "batch position"],
    corrupt: Int[Tensor, "batch position"],
    sender: Head = (0, 0),
    receivers: Sequence[Head] = (),
) -> None:
    if clean.shape != corrupt.shape:
        raise ValueError(
            f"clean and corrupt have to be of one shape, but they are {list(clean.shape)} and {list(corrupt.shape)}."
        )
    if receivers and parts.family.sites["attn_out"].path != parts.family.attention:
        raise ValueError("in this model a norm follows the heads, so what one of them writes cannot be told apart.")
    early = [layer for layer, _ in receivers if layer <= sender[0]]
    if early:
        raise ValueError(f"receivers have to come after layer {sender[0]}, but one is in layer {early[0]}.")
    if receivers and parts.n_kv_heads != parts.n_heads:
        raise ValueError("this model has grouped queries, whose keys and values belong to several heads at once.")
