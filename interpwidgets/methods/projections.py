"""What a vector in the residual stream says: heads, neurons and other directions, in tokens.

    from interpwidgets.methods.projections import head_projections, neuron_reads, neuron_writes, say

    heads = head_projections(model, tokens, layer=3)
    heads.top_tokens[0, -1, 2]          # the tokens that head 2 speaks for at the last position: [k] ids
    heads.top_logits[0, -1, 2]          # and by how much it raises their logits

    neuron_writes(model, layer=3, neurons=[17]).top_tokens      # what neuron 17 speaks for when it fires
    neuron_reads(model, layer=3, neurons=[17]).top_tokens       # the tokens whose embeddings make it fire
    say(model, direction).bottom_tokens                         # any vector: a probe's, a feature's

The end of a model is linear but for one number, what the last norm divides by::

    vector ─> [ - mean ] ─> [ / scale ] ─> · weight ─> · W_U          (and what is added whatever comes in)

With the scale frozen at that of a run, logits are a sum over everything that was written into the stream, and every
part of it has its own share in every logit. Without a run there is no scale: it is 1, the order of the tokens is what
it would be, and the numbers mean something only beside each other. Gemma 2 bounds its logits by a tanh, which comes
after all this and is left out.

How much each head, MLP and the embedding add to the logit of one given token is in `interpwidgets.methods.attribution`.

Sources: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits" (heads write, and are added up); Geva
et al. 2022, "Transformer Feed-Forward Layers Build Predictions by Promoting Concepts in the Vocabulary Space" (the rows
of W_out as value vectors that promote tokens); Dar et al. 2023, "Analyzing Transformers in Embedding Space".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets.methods.lens import last_norm
from interpwidgets.methods.runs import expect_runnable
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.taps import Tap

CHUNK = 64  # vectors whose logits are held at a time


@dataclass(frozen=True, eq=False)
class Said:
    """The tokens whose logits some vectors raise and lower most, the strongest first, and by how much."""

    top_tokens: Int[Tensor, "*lead k"]
    top_logits: Float[Tensor, "*lead k"]
    bottom_tokens: Int[Tensor, "*lead k"]
    bottom_logits: Float[Tensor, "*lead k"]


def vocabulary_logits(
    model: Any, vectors: Float[Tensor, "*lead d_model"], scale: Float[Tensor, "*#lead"] | float = 1.0
) -> Float[Tensor, "*lead vocab"]:
    """What ``vectors``, as parts of the residual stream, add to the logits of all tokens.

    ``scale``: what the last norm divides by, one number for each vector, or for all. With that of a run, from
    `frozen_scale`, the shares of all parts, and what the two biases say that come after, add up to the logits.
    Raises `ValueError` for a model without unembedding and for BERT.
    """
    norm = last_norm(model)
    scale = torch.as_tensor(scale, device=vectors.device)[..., None]
    share: Tensor = norm.center(vectors) / scale * norm.weight @ anatomy(model).W_U()
    return share


def frozen_scale(model: Any, residual: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead"]:
    """What the last norm of ``model`` divides by, given ``residual``: the stream after the last layer."""
    return last_norm(model).scale(residual)


def say(
    model: Any,
    vectors: Float[Tensor, "*lead d_model"],
    k: int = 5,
    scale: Float[Tensor, "*#lead"] | float = 1.0,
) -> Said:
    """The ``k`` tokens whose logits each of ``vectors`` raises most, and the ``k`` that it lowers most.

    ``scale``: as in `vocabulary_logits`. Logits are made for a few vectors at a time, whatever their number.
    Raises `ValueError` for vectors of another size than the stream, a k that cannot be, and as `vocabulary_logits`.
    """
    d_model = anatomy(model).d_model
    if vectors.ndim == 0 or vectors.shape[-1] != d_model:
        raise ValueError(
            f"vectors in the residual stream of this model are [..., {d_model}]; these are {list(vectors.shape)}."
        )
    last_norm(model)
    scales = torch.as_tensor(scale, device=vectors.device).expand(vectors.shape[:-1]).flatten()
    rows = vectors.reshape(-1, d_model)
    return _extremes(
        lambda some: vocabulary_logits(model, rows[some], scales[some]),
        vectors.shape[:-1],
        _checked(k, anatomy(model).W_U().shape[1]),
    )


# -- heads


def head_projections(model: Any, tokens: Int[Tensor, "batch position"], layer: int, k: int = 5) -> Said:
    """What each head of a layer says at each position: tokens [batch, position, head, k], in units of the logits.

    The scale of the last norm is frozen at that of this run. ``layer`` counts from the end if it is negative. Raises
    `ValueError` for tokens that the model cannot read, a layer that it has not, and as `say` does.
    """
    writes, scale = _heads(model, tokens, layer)
    return say(model, writes, k, scale[..., None])


def head_writes(
    model: Any, tokens: Int[Tensor, "batch position"], layer: int
) -> Float[Tensor, "batch position head d_model"]:
    """What each head of a layer adds to the residual stream.

    With the bias of the projection, which is no head's, it sums up to attn_out. In Gemma 2 a norm follows the heads: it
    is taken in, with its scale frozen. The arguments and errors are those of `head_projections`.
    """
    return _heads(model, tokens, layer)[0]


@torch.no_grad()
def _heads(model: Any, tokens: Int[Tensor, "batch position"], layer: int) -> tuple[Tensor, Tensor]:
    """What the heads write [batch, position, head, d_model], and the scale of the last norm [batch, position]."""
    last_norm(model)
    parts, end = anatomy(model), ("resid_post", -1)
    tap = Tap(model, [("z", layer), end])
    expect_runnable(parts, tokens)
    with tap:
        model.base_model(tokens)
    layer %= parts.n_layers
    writes = parts.heads(tap["z", layer], layer)
    after = parts.norm_after(layer, "attn_out")
    if after is not None:
        scale = after.scale(writes.sum(-2) + parts.b_O(layer))
        writes = after.center(writes) / scale[..., None, None] * after.weight
    return writes, frozen_scale(model, tap[end])


# -- neurons


def neuron_writes(model: Any, layer: int, neurons: Sequence[int] | None = None, k: int = 5) -> Said:
    """What each neuron of an MLP says when it fires: the rows of W_out, as tokens [neuron, k].

    ``neurons``: which ones, in this order; all, unless given. No run, no scale: see `vocabulary_logits`. A neuron that
    is negative speaks for its bottom tokens. In Gemma 2 the weight of the norm after the MLP is taken in.

    Raises `interpwidgets.models.anatomy.MissingPartError`, a `ValueError`, for a layer or an MLP that there is not, and
    `ValueError` for neurons that there are not. Source: Geva et al. 2022.
    """
    parts = anatomy(model)
    rows = parts.W_out(layer)
    after = parts.norm_after(layer, "mlp_out")
    return say(model, _chosen(rows if after is None else rows * after.weight, neurons, layer), k)


def neuron_reads(model: Any, layer: int, neurons: Sequence[int] | None = None, k: int = 5) -> Said:
    """Which tokens each neuron of an MLP is turned on and off by: their embeddings, along what it reads, [neuron, k].

    What a neuron reads is its column of W_in, or of W_gate in a gated MLP, together with the weight of the norm before
    it. What the scale of that norm would be is left out, and so is all that layers before this one add to an embedding;
    the further up, the less it says. The arguments and errors are those of `neuron_writes`.
    """
    parts = anatomy(model)
    columns = parts.W_gate(layer) if parts.gated else parts.W_in(layer)
    directions, norm = _chosen(columns.T, neurons, layer), parts.norm(layer, "mlp")
    if norm is not None:
        directions = norm.center(directions * norm.weight)  # the mean is taken away on this side: it is the same
    W_E = parts.W_E().detach()
    return _extremes(lambda some: directions[some] @ W_E.T, directions.shape[:1], _checked(k, len(W_E)))


def _chosen(
    rows: Float[Tensor, "neuron d_model"], neurons: Sequence[int] | None, layer: int
) -> Float[Tensor, "chosen d_model"]:
    rows = rows.detach()
    if neurons is None:
        return rows
    outside = [neuron for neuron in neurons if not -len(rows) <= neuron < len(rows)]
    if outside or not len(neurons):
        came = f"there is no neuron {outside[0]}" if outside else "none was asked for"
        raise ValueError(f"the MLP of layer {layer} has {len(rows)} neurons, 0 to {len(rows) - 1}; {came}.")
    return rows[list(neurons)]


# -- the ends of the vocabulary, some vectors at a time


@torch.no_grad()
def _extremes(logits_of: Callable[[slice], Float[Tensor, "row vocab"]], lead: torch.Size, k: int) -> Said:
    """The ends of the rows of logits that ``logits_of`` makes for a slice of all rows; ``lead`` is their shape."""
    found = []
    for start in range(0, max(lead.numel(), 1), CHUNK):
        logits = logits_of(slice(start, start + CHUNK)).float()
        top, bottom = logits.topk(k), logits.topk(k, largest=False)
        found.append((top.indices, top.values, bottom.indices, bottom.values))
    return Said(*(torch.cat(each).reshape(*lead, k) for each in zip(*found, strict=True)))


def _checked(k: int, vocab: int) -> int:
    if not 1 <= k <= vocab:
        raise ValueError(f"k has to be between 1 and {vocab}, the size of the vocabulary; it is {k}.")
    return k
