"""What the weights alone say: where a head looks, what it copies, and whether one head reads what another writes.

    from interpwidgets import load
    from interpwidgets.methods.circuits import composition_baseline, composition_scores, copying_scores, full_ov, ov
    from interpwidgets.methods.factored import top_pairs

    model = load("attn2l")
    ov(model, 1).svd().S                        # [head, d_head]: how strongly each head writes along its directions
    copying_scores(model)                       # [layer, head]: near 1, seeing a token raises the logit of that token
    composition_scores(model, "K")              # [layer, head, layer, head]: the second head's keys read the first
    composition_baseline(model, "K").mean       # the same shape: what it would be by chance
    top_pairs(full_ov(model, 1, 0), k=20)       # the token pairs (seen, raised) that head (1, 0) connects most strongly

A head is two matrices. With y the residual stream at the query and x at the key, the score of the pair and what is
written if it is attended to are::

    score   = y QK x^T      QK = W_Q W_K^T      [d_model, d_model], query first
    written = x OV          OV = W_V W_O        [d_model, d_model], read first

Both have rank d_head and are kept as two factors (`interpwidgets.methods.factored`), also between tokens, where
W_E QK W_E^T and W_E OV W_U are [vocab, vocab]. Weights multiply from the right, ``x @ W``, so a product reads in the
order in which things happen.

What is in them, and what is not:

- *Norms* are folded in: their weights multiply the rows of what reads through them, and the mean that a LayerNorm takes
  away is taken out of those rows. In Gemma 2 the norm behind the heads multiplies what they write. Only what a norm
  divides by is left out, one positive number for each position that depends on the text.
- *Biases* are left out. Those of values and outputs write the same whatever is seen; those of queries and keys, and of
  norms, prefer some keys whatever the query, and some queries whatever the key.
- *Scores* are before the division by the root of d_head, and before the bound that Gemma 2 puts on them.
- *Positions*: learned ones are added to the stream and have rows of their own (`Anatomy.W_pos`). Rotary ones turn
  queries and keys, so that a model with RoPE has not one QK but one for each distance, W_Q R W_K^T: say which.

BERT normalises the residual stream itself. A layer of it has a QK and an OV, but no matrix leads from one layer to
another or to the logits, so the other functions refuse it.

Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits".
"""

from inspect import signature
from sys import modules
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor
from torch.linalg import eigvals, matrix_norm

from interpwidgets.methods.factored import FactoredMatrix
from interpwidgets.models.anatomy import Anatomy, MissingPartError, anatomy

Kind = Literal["Q", "K", "V"]


# -- the two matrices of a head


def qk(model: Any, layer: int, distance: int = 0) -> FactoredMatrix:
    """Where the heads of one layer look: W_Q W_K^T, [head, d_model, d_model], query first.

    ``distance``: how many positions the key stands before the query. It matters in models with RoPE only, whose queries
    and keys are turned; elsewhere, and in GPT-J, anything but 0 raises `ValueError`, as a negative one does. The
    weights of norms on queries and keys are taken in (Qwen3, Gemma 3, OLMo 2), what these divide by is not. Raises
    `interpwidgets.models.anatomy.MissingPartError` for a layer that does not exist.

    Source: Elhage et al. 2021, QK circuits; for RoPE, Su et al. 2021, "RoFormer".
    """
    parts = anatomy(model)
    W_Q, W_K = (_read(parts, layer, W) for W in (parts.W_Q(layer), parts.W_K(layer)))
    if norms := parts.qk_norms(layer):
        W_Q, W_K = (norm.center(W) * _plain(norm.weight)[:, None] for norm, W in zip(norms, (W_Q, W_K), strict=True))
    return FactoredMatrix(*_turned(parts, layer, W_Q, W_K, distance))


def ov(model: Any, layer: int) -> FactoredMatrix:
    """What the heads of one layer copy: W_V W_O, [head, d_model, d_model], what is read first.

    Raises `interpwidgets.models.anatomy.MissingPartError` for a layer that does not exist.

    Source: Elhage et al. 2021, OV circuits.
    """
    parts = anatomy(model)
    return FactoredMatrix(_read(parts, layer, parts.W_V(layer)), _written(parts, layer))


# -- between tokens


def full_qk(model: Any, layer: int, head: int, distance: int = 0) -> FactoredMatrix:
    """How much a token at the query wants each token at the key: W_E W_Q W_K^T W_E^T, [vocab, vocab], query first.

    Tokens are seen as the embedding has them, without positions and without what earlier layers add. ``distance`` and
    errors as in `qk`; raises `ValueError` for BERT, whose embedding is normalised.

    Source: Elhage et al. 2021, one-layer models, the query-key circuit.
    """
    parts = _with_paths(model)
    W_E, circuit = _plain(parts.W_E()), qk(model, layer, distance)[_head(parts, head)]
    return FactoredMatrix(W_E @ circuit.left, circuit.right @ W_E.T)


def full_ov(model: Any, layer: int, head: int) -> FactoredMatrix:
    """How much attending to a token raises each logit: W_E W_V W_O W_U, [vocab, vocab], the token seen first.

    This is the direct path, past all later layers. Raises `ValueError` for BERT and for a model without unembedding.

    Source: Elhage et al. 2021, one-layer models, the output-value circuit.
    """
    parts = _with_paths(model)
    circuit = ov(model, layer)[_head(parts, head)]
    return FactoredMatrix(_plain(parts.W_E()) @ circuit.left, _to_logits(parts, circuit.right))


def direct_path(model: Any) -> FactoredMatrix:
    """What the model says if no layer adds anything: W_E W_U, [vocab, vocab], the token that stands there first.

    Raises `ValueError` for BERT and for a model without unembedding.

    Source: Elhage et al. 2021, zero-layer transformers.
    """
    parts = _with_paths(model)
    return FactoredMatrix(_through_last_norm(parts, _plain(parts.W_E())), _plain(parts.W_U()))


# -- does a head copy?


def copying_scores(model: Any) -> Float[Tensor, "layer head"]:
    """The `copying_score` of every head, from token to logit by the direct path.

    For each head the eigenvalues of a [d_head, d_head] matrix; of the vocabulary only W_U W_E is made, [d_model,
    d_model]. Raises `ValueError` for BERT, for a model without unembedding and for one that says other tokens than it
    reads.

    Source: Elhage et al. 2021, summarizing OV/QK matrices.
    """
    parts = _with_paths(model)
    W_E, W_U = _plain(parts.W_E()), _plain(parts.W_U())
    if len(W_E) != W_U.shape[1]:
        raise ValueError(
            f"{type(model).__name__} reads {len(W_E)} tokens and says {W_U.shape[1]}, so copying has no meaning in it."
        )
    around = W_U @ W_E  # [d_model, d_model]: out at a logit, in at its token
    scores = []
    for layer in range(parts.n_layers):
        circuit = ov(model, layer)
        scores.append(_positive_share(eigvals(_through_last_norm(parts, circuit.right) @ around @ circuit.left)))
    return torch.stack(scores)


def copying_score(
    W_E: Float[Tensor, "vocab d_model"],
    W_V: Float[Tensor, "d_model d_head"],
    W_O: Float[Tensor, "d_head d_model"],
    W_U: Float[Tensor, "d_model vocab"],
) -> Float[Tensor, ""]:
    """How far a head copies: the sum of the eigenvalues of its full OV circuit over the sum of their magnitudes.

    The circuit W_E W_V W_O W_U is [vocab, vocab]: how much attention to one token raises the logit of another. Positive
    eigenvalues are groups of tokens that raise their own logits: 1 is a copying head, -1 one that suppresses what it
    sees, and chance lies around 0. The circuit has rank d_head, and W_O W_U W_E W_V, a matrix of that size, has the
    same eigenvalues other than 0. A head that writes nothing scores 0. float32 or float64.

    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", summarizing OV/QK matrices.
    """
    return _positive_share(eigvals((W_O @ W_U) @ (W_E @ W_V)))


def _positive_share(eigenvalues: Complex[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    magnitude = eigenvalues.abs().sum(-1)
    return eigenvalues.real.sum(-1) / magnitude.clamp(min=torch.finfo(magnitude.dtype).tiny)


# -- does one head read what another writes?


def composition_scores(model: Any, kind: Kind) -> Float[Tensor, "layer head layer head"]:
    """The `composition_score` of every head with every head of a later layer, that which writes first.

    ``kind``: by which of its inputs the second head reads the first, "Q" (OV then W_Q W_K^T), "K" (OV then W_K W_Q^T)
    or "V" (OV then OV). Between 0 and 1; 0 where the second head does not come later, so that it reads nothing. Compare
    with `composition_baseline`. With RoPE, QK is that of distance 0.

    Each matrix first becomes one of [d_head, d_model] with the same products, so that a pair costs d_head x d_head x
    d_model. Memory is that of two such matrices for each head, and the square of heads x d_head. Raises `ValueError`
    for another kind and for BERT.

    Source: Elhage et al. 2021, two-layer models: Q-, K- and V-composition.
    """
    parts = _with_paths(model)
    writers, readers = _pair_sides(model, parts, kind)
    n_layers, n_heads = writers.shape[:2]
    scores = writers.new_zeros(n_layers, n_heads, n_layers, n_heads)
    for first in range(n_layers):
        for second in range(first + 1, n_layers):
            product = writers[first].flatten(0, 1) @ readers[second].flatten(0, 1).T  # [head * d_head, head * d_head]
            per_pair = product.reshape(n_heads, -1, n_heads, readers.shape[-2])
            scores[first, :, second] = per_pair.norm(dim=(1, 3))
    return scores


class Baseline(NamedTuple):
    """What composition scores are by chance: the mean of many, and how far they scatter around it."""

    mean: Float[Tensor, "layer head layer head"]
    std: Float[Tensor, "layer head layer head"]


def composition_baseline(model: Any, kind: Kind, samples: int = 100, seed: int = 0) -> Baseline:
    """What `composition_scores` would be if the residual stream were turned at random between the two heads.

    Every matrix keeps its singular values, so a head that writes along few directions scatters more than one that uses
    all of them; only what is aligned between the two is lost. The mean square is 1 / d_model for every pair, the square
    of the score of two random matrices. ``samples`` turns, the same ones for every pair; 0 where the second head does
    not come later. Raises `ValueError` as `composition_scores` does, and for fewer than two samples.

    Source: ours; Elhage et al. 2021 compare with random matrices of the same shapes.
    """
    if samples < 2:
        raise ValueError(f"a mean and a scatter need at least 2 samples, but it is {samples}.")
    parts = _with_paths(model)
    # squared singular values, [layer * head, d_head]; each row sums to 1
    writers, readers = (
        torch.linalg.eigvalsh(side @ side.mT).clamp(min=0).flatten(0, 1) for side in _pair_sides(model, parts, kind)
    )
    random = torch.Generator().manual_seed(seed)
    total = squares = writers.new_zeros(len(writers), len(readers))
    for _ in range(samples):
        turned = torch.randn(parts.d_model, writers.shape[-1], generator=random, dtype=writers.dtype)
        overlap = torch.linalg.qr(turned).Q[: readers.shape[-1]].T.to(writers.device)  # of two frames, [d_head, d_head]
        square = writers @ overlap.square() @ readers.T
        total, squares = total + square.sqrt(), squares + square
    mean = total / samples
    std = ((squares / samples - mean.square()).clamp(min=0) * samples / (samples - 1)).sqrt()
    layers = torch.arange(parts.n_layers, device=mean.device)
    later = (layers[:, None] < layers)[:, None, :, None]
    shape = (parts.n_layers, parts.n_heads) * 2
    return Baseline(mean.reshape(shape) * later, std.reshape(shape) * later)


def composition_score(
    W_A: Float[Tensor, "a d_model d_model"], W_B: Float[Tensor, "b d_model d_model"]
) -> Float[Tensor, "a b"]:
    """How much of what A writes B reads: |W_A W_B| / (|W_A| |W_B|), in Frobenius norms, for every pair of heads.

    For K-composition W_A is the OV matrix of the first head, W_V W_O, and W_B the QK matrix of the second as seen from
    its keys, W_K W_Q^T. Between 0 and 1; heads with random weights are not at 0, so compare with such a baseline.

    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", two-layer models: K-composition.
    """
    product = W_A[:, None] @ W_B[None, :]  # [a, b, d_model, d_model]
    size = matrix_norm(W_A)[:, None] * matrix_norm(W_B)[None, :]
    score: Tensor = matrix_norm(product) / size
    return score


def _pair_sides(
    model: Any, parts: Anatomy, kind: Kind
) -> tuple[Float[Tensor, "layer head d_head d_model"], Float[Tensor, "layer head d_head d_model"]]:
    """What every head writes and what it reads, each of norm 1: ``|writer @ reader.T|`` is the composition score."""
    reading = {
        "Q": lambda layer: qk(model, layer),
        "K": lambda layer: qk(model, layer).T,
        "V": lambda layer: ov(model, layer),
    }
    if kind not in reading:
        raise ValueError(f"a head composes by its queries, keys or values, 'Q', 'K' or 'V', but the kind is {kind!r}.")
    layers = range(parts.n_layers)
    writers = torch.stack([_compressed(ov(model, layer)) for layer in layers])
    return writers, torch.stack([_compressed(reading[kind](layer).T) for layer in layers])


def _compressed(matrix: FactoredMatrix) -> Float[Tensor, "head d_head d_model"]:
    """What a product with ``matrix`` on the left looks like, up to a rotation: R of its left factor times the right."""
    small = torch.linalg.qr(matrix.left, mode="r").R @ matrix.right
    size = matrix_norm(small)[..., None, None]
    unit: Tensor = small / size.clamp(min=torch.finfo(small.dtype).tiny)
    return unit


# -- the directions of a head, in tokens


class SingularTokens(NamedTuple):
    """The strongest directions of one head, as tokens; a token stands out by how far it lies along the direction.

    Each direction has two ends. Tokens of the first end of ``left`` go with those of the first end of ``right``, and
    second with second: an OV circuit that reads the one writes the other. The first end is that where the tokens of
    ``right`` lie further out. Of directions of nearly the same strength, any mixture could stand here.
    """

    strength: Float[Tensor, " direction"]  # singular values, the largest first
    left: Int[Tensor, "direction end k"]  # OV: tokens read; QK: tokens at the query
    right: Int[Tensor, "direction end k"]  # OV: tokens whose logits rise; QK: tokens at the key


def singular_tokens(
    model: Any, layer: int, head: int, circuit: Literal["qk", "ov"] = "ov", n: int = 5, k: int = 10
) -> SingularTokens:
    """The ``n`` strongest singular directions of a head's QK or OV, read out as the ``k`` tokens furthest along them.

    Raises `ValueError` for a head, a circuit or sizes that cannot be and for BERT.

    Source: Millidge & Black 2022, "The Singular Value Decompositions of Transformer Weight Matrices are Highly
    Interpretable".
    """
    parts = _with_paths(model)
    if circuit not in ("qk", "ov"):
        raise ValueError(f"a head has the circuits 'qk' and 'ov', but this is {circuit!r}.")
    U, S, Vh = {"qk": qk, "ov": ov}[circuit](model, layer)[_head(parts, head)].svd()
    W_E = _plain(parts.W_E())
    for name, value, most in (("n", n, len(S)), ("k", k, len(W_E))):
        if not 1 <= value <= most:
            raise ValueError(f"{name} has to be between 1 and {most}, but it is {value}.")
    left = (W_E @ U[:, :n]).T  # [direction, vocab]
    right = _to_logits(parts, Vh[:n]) if circuit == "ov" else Vh[:n] @ W_E.T
    sign = torch.where(right.amax(1) >= -right.amin(1), 1, -1)[:, None]
    ends = [torch.stack([(sign * side).topk(k).indices, (-sign * side).topk(k).indices], 1) for side in (left, right)]
    return SingularTokens(S[:n], *ends)


# -- weights, with norms folded in


def _plain(weight: Tensor) -> Tensor:
    """Without gradient, and in float32 at least: half precision has no QR, SVD or eigenvalues."""
    return weight.detach().to(torch.promote_types(weight.dtype, torch.float32))


def _read(parts: Anatomy, layer: int, W: Float[Tensor, "head d_model d_head"]) -> Float[Tensor, "head d_model d_head"]:
    """How heads read the stream itself: ``W`` after the norm, whose weight and mean it takes over."""
    norm = parts.norm(layer, "attention")
    return _plain(W) if norm is None else norm.center((_plain(norm.weight)[:, None] * _plain(W)).mT).mT


def _written(parts: Anatomy, layer: int) -> Float[Tensor, "head d_head d_model"]:
    """How heads write to the stream. In Gemma 2 what they all write goes through a norm, whose weight is taken over."""
    W_O = _plain(parts.W_O(layer))
    after = parts.norm_after(layer, "attn_out")
    return W_O if after is None else W_O * _plain(after.weight)


def _through_last_norm(parts: Anatomy, x: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead d_model"]:
    norm = parts.final_norm()
    return x if norm is None else norm.center(x) * _plain(norm.weight)


def _to_logits(parts: Anatomy, x: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead vocab"]:
    return _through_last_norm(parts, x) @ _plain(parts.W_U())


def _turned(
    parts: Anatomy,
    layer: int,
    W_Q: Float[Tensor, "head d_model d_head"],
    W_K: Float[Tensor, "head d_model d_head"],
    distance: int,
) -> tuple[Float[Tensor, "head d_model d_head"], Float[Tensor, "head d_head d_model"]]:
    """The factors of QK, turned as the family turns a query ``distance`` positions after the key."""
    if distance == 0:  # both are turned alike, which changes no product
        return W_Q, W_K.mT
    attention: Any = parts.attentions[layer]
    rotary = getattr(parts.model.base_model, "rotary_emb", None)
    if getattr(parts.model.config, "alibi", False):  # Falcon makes rotations that it does not use then
        rotary = None
    if distance < 0 or rotary is None:
        lacks = "this model's positions do not turn queries and keys, so it has" if rotary is None else "there is"
        if hasattr(attention, "rotary_dim"):
            lacks = f"{type(attention).__name__} turns queries and keys in a way that is not known here, so there is"
        raise ValueError(f"{lacks} no QK for a key {distance} positions before the query.")
    turn = modules[type(attention).__module__].apply_rotary_pos_emb  # of [batch, head, position, d_head]
    kind = {"layer_type": attention.layer_type} if "layer_type" in signature(rotary.forward).parameters else {}
    cos, sin = rotary(W_Q, torch.tensor([[distance], [0]], device=W_Q.device), **kind)  # [2, 1, turned part of d_head]
    both = torch.stack([W_Q, W_K])
    turned, _ = turn(both[..., : cos.shape[-1]], both[..., : cos.shape[-1]], cos, sin)
    query, key = torch.cat([turned, both[..., cos.shape[-1] :]], -1)
    return query, key.mT


# -- what can be asked for


def _with_paths(model: Any) -> Anatomy:
    parts = anatomy(model)
    if parts.family.norms_stream:
        raise ValueError(
            f"{type(model).__name__} normalises the residual stream itself, so no matrix leads from its tokens to a "
            "head, from one layer to another or to the logits."
        )
    return parts


def _head(parts: Anatomy, head: int) -> int:
    if not isinstance(head, int) or not -parts.n_heads <= head < parts.n_heads:
        raise MissingPartError(
            f"a layer of this model has {parts.n_heads} heads, 0 to {parts.n_heads - 1}; there is no head {head!r}."
        )
    return head
