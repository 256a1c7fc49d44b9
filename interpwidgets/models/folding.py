"""The same model with simpler norms: what a norm multiplies and adds moves into the matrices that read it.

    from interpwidgets.models.folding import fold_norms

    folded = fold_norms(model)          # a copy: the same logits, and every norm has weight 1 and bias 0

A norm is ``(x - mean) / scale * weight + bias``. What comes next is a matrix product, which can take over the rest::

    (n * weight + bias) @ W + b   ==   n @ (weight[:, None] * W)  +  (bias @ W + b),     n = (x - mean) / scale

After that all that is left of the norm is what is not linear, the division, and the rows of W say what a layer reads
from each direction of the residual stream. Weights of different heads and layers can be compared as they stand.

Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", handling layer normalization.
"""

from copy import deepcopy
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interpwidgets.models.anatomy import Anatomy, Norm, anatomy


def fold_norms(model: Any) -> Any:
    """A copy of ``model`` with the same logits, in which norms before layers and the last norm have weight 1, bias 0.

    The unembedding of the copy is its own (where it was tied to the embedding, it no longer is) and gains a bias where
    the last norm had one. A model without norms is copied as it is. In Gemma 2 and OLMo 2 the norms that follow each
    half stay as they are: what they divide by depends on what the layer wrote. Raises `ValueError` for a model whose
    norms stand in the residual stream itself (BERT, OPT-350m): each layer reads the very numbers that they made, so
    nothing can be moved; and for one with experts, whose routers and experts all read the same norm.
    """
    if anatomy(model).family.norms_stream:
        raise ValueError(
            f"{type(model).__name__} normalises the residual stream itself, so its norms cannot be moved into matrices."
        )
    if anatomy(model).family.router is not None:
        raise ValueError(
            f"{type(model).__name__} has experts: the router and all of them read one norm, which stays where it is."
        )
    folded = deepcopy(model)
    parts = anatomy(folded)
    with torch.no_grad():
        for layer in range(parts.n_layers):
            for before, paths in _readers(parts).values():
                norm = parts.norm(layer, before)
                if norm is not None:
                    readers = [parts.blocks[layer].get_submodule(path) for path in paths]
                    _fold(norm, readers, parts.family.norm_offset)
        last, unembed = parts.final_norm(), folded.get_output_embeddings()
        if last is not None and last.divides and unembed is not None:
            own = _of_its_own(unembed)
            folded.set_output_embeddings(own)
            folded.config.tie_word_embeddings = False
            _fold(last, [own], parts.family.norm_offset)
    return folded


def _readers(parts: Anatomy) -> dict[str, tuple[Literal["attention", "mlp"], list[str]]]:
    """What each norm stands before, and the matrices that read what it made: both halves may read the same."""
    readers: dict[str, tuple[Literal["attention", "mlp"], list[str]]] = {}
    into_mlp = [path for name, path in parts.family.mlp.items() if name != "W_out"]
    halves: dict[Literal["attention", "mlp"], list[str]] = {"attention": [*parts.family.QKV], "mlp": into_mlp}
    for before, paths in halves.items():
        if before in parts.family.norms:
            _, there = readers.setdefault(parts.family.norms[before], (before, []))
            there.extend(path for path in paths if path not in there)
    return readers


def _fold(norm: Norm, readers: list[nn.Module], offset: float) -> None:
    """Move ``norm`` into ``readers`` and leave it with weight 1 and bias 0."""
    for reader in readers:
        weight, bias = _moved(norm, reader)
        if bias.any() or reader.bias is not None:
            reader.bias = nn.Parameter(bias)
        reader.weight = nn.Parameter(weight)
    norm.module.weight = nn.Parameter(torch.ones_like(norm.weight) - offset)
    if getattr(norm.module, "bias", None) is not None:
        norm.module.bias = nn.Parameter(torch.zeros_like(norm.bias))


def _moved(norm: Norm, reader: Any) -> tuple[Float[Tensor, "a b"], Float[Tensor, " out"]]:
    """What the weight, as ``reader`` stores it, and the bias become."""
    stored: Tensor = reader.weight
    transposed = isinstance(reader, nn.Linear)
    W = stored.T if transposed else stored
    bias = norm.bias @ W
    if reader.bias is not None:
        bias = bias + reader.bias
    W = norm.weight[:, None] * W
    return (W.T if transposed else W).contiguous(), bias


def _of_its_own(unembed: Any) -> nn.Linear:
    """A copy of an unembedding that shares its matrix with nothing."""
    own = deepcopy(unembed)
    own.weight = nn.Parameter(unembed.weight.detach().clone())
    assert isinstance(own, nn.Linear)
    return own
