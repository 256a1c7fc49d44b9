"""GPT-2 from its parts: plain functions of tensors, in the order in which a text runs through them.

    from interpwidgets.methods.transformer import gpt, opened

    weights, blocks = opened(load("storylm"))       # the library's tensors under the names used here; nothing is copied
    logits = gpt(tokens, weights, blocks)           # [batch, position, vocab], those of the library

What is computed::

    tokens ──> embed ──(+)──> layer_norm ─> attention ──(+)──> layer_norm ─> mlp ──(+)──> ... ──> layer_norm ──> logits
                        └────────── block ─────────────────────────────────────┘

A block's weights are a dict: ``norm_1_weight``, ``norm_1_bias``, ``W_Q``, ``b_Q``, ``W_K``, ``b_K``, ``W_V``, ``b_V``,
``W_O``, ``b_O``, ``norm_2_weight``, ``norm_2_bias``, ``W_in``, ``b_in``, ``W_out``, ``b_out``. Those around the blocks:
``W_E``, ``W_pos``, ``norm_weight``, ``norm_bias``, ``W_U``. Every matrix is used as ``x @ W``.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2); per-head matrices and their
names as in Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits".
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

Weights = Mapping[str, Tensor]


def embed(
    tokens: Int[Tensor, "batch position"],
    W_E: Float[Tensor, "vocab d_model"],
    W_pos: Float[Tensor, "context d_model"],
) -> Float[Tensor, "batch position d_model"]:
    """The row of ``W_E`` for each token plus the row of ``W_pos`` for its place, counted from 0.

    Source: Radford et al. 2019, GPT-2: learned positions.
    """
    return W_E[tokens] + W_pos[: tokens.shape[1]]


def layer_norm(
    x: Float[Tensor, "*batch d_model"],
    weight: Float[Tensor, " d_model"],
    bias: Float[Tensor, " d_model"],
    eps: float = 1e-5,
) -> Float[Tensor, "*batch d_model"]:
    """Each vector less its mean, over the root of (its variance + ``eps``), times ``weight``, plus ``bias``.

    The variance is the mean of squares, over d_model, not over d_model - 1.

    Source: Ba et al. 2016, "Layer Normalization".
    """
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return centred / (variance + eps).sqrt() * weight + bias


def attention_pattern(
    q: Float[Tensor, "batch position head d_head"], k: Float[Tensor, "batch position head d_head"]
) -> Float[Tensor, "batch head query key"]:
    """The softmax over keys of q · k / sqrt(d_head), where no query sees a key behind it in the text.

    Source: Vaswani et al. 2017, "Attention Is All You Need": scaled dot-product attention, masked.
    """
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / math.sqrt(q.shape[-1])
    later = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
    return scores.masked_fill(later, -torch.inf).softmax(-1)


def attention(x: Float[Tensor, "batch position d_model"], weights: Weights) -> Float[Tensor, "batch position d_model"]:
    """What all heads write together: each mixes the values of earlier positions, and ``W_O`` sends them back.

    ``W_Q``, ``W_K``, ``W_V``: [head, d_model, d_head]; their biases [head, d_head]; ``W_O``: [head, d_head, d_model];
    ``b_O``: [d_model], added once.

    Source: Vaswani et al. 2017, multi-head attention, with one output matrix per head as in Elhage et al. 2021.
    """
    q = torch.einsum("bpm,hmd->bphd", x, weights["W_Q"]) + weights["b_Q"]
    k = torch.einsum("bpm,hmd->bphd", x, weights["W_K"]) + weights["b_K"]
    v = torch.einsum("bpm,hmd->bphd", x, weights["W_V"]) + weights["b_V"]
    z = torch.einsum("bhqk,bkhd->bqhd", attention_pattern(q, k), v)
    return torch.einsum("bqhd,hdm->bqm", z, weights["W_O"]) + weights["b_O"]


def mlp(x: Float[Tensor, "batch position d_model"], weights: Weights) -> Float[Tensor, "batch position d_model"]:
    """``W_in``, the activation, ``W_out``, each matrix with its bias; every position on its own.

    The activation is 0.5 a (1 + tanh(sqrt(2 / pi) (a + 0.044715 a^3))).

    Source: Hendrycks and Gimpel 2016, "Gaussian Error Linear Units", the approximation with tanh.
    """
    a = x @ weights["W_in"] + weights["b_in"]  # [batch, position, d_mlp]
    inner = math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)
    return 0.5 * a * (1 + inner.tanh()) @ weights["W_out"] + weights["b_out"]


def block(x: Float[Tensor, "batch position d_model"], weights: Weights) -> Float[Tensor, "batch position d_model"]:
    """The stream after one layer: attention adds to it, then the MLP; each reads it through a norm of its own.

    Source: Radford et al. 2019, GPT-2: norms in front of both halves.
    """
    x = x + attention(layer_norm(x, weights["norm_1_weight"], weights["norm_1_bias"]), weights)
    return x + mlp(layer_norm(x, weights["norm_2_weight"], weights["norm_2_bias"]), weights)


def gpt(
    tokens: Int[Tensor, "batch position"], weights: Weights, blocks: Sequence[Weights]
) -> Float[Tensor, "batch position vocab"]:
    """Tokens in, logits out: at every position a score for each token that may come next.

    Source: Radford et al. 2019, GPT-2.
    """
    x = embed(tokens, weights["W_E"], weights["W_pos"])
    for layer in blocks:
        x = block(x, layer)
    return layer_norm(x, weights["norm_weight"], weights["norm_bias"]) @ weights["W_U"]


def split_heads(
    weight: Float[Tensor, "d_model d_out"], bias: Float[Tensor, " d_out"], n_heads: int
) -> tuple[Float[Tensor, "3 head d_model d_head"], Float[Tensor, "3 head d_head"]]:
    """One wide matrix and its bias, taken apart: all queries, then keys, then values; inside each, head after head.

    d_out is 3 times n_heads times d_head.

    Source: the layout in which the transformers library stores GPT-2 (``c_attn``).
    """
    W = weight.reshape(len(weight), 3, n_heads, -1).permute(1, 2, 0, 3)
    return W, bias.reshape(3, n_heads, -1)


def count_parameters(vocab: int, context: int, d_model: int, d_mlp: int, n_layers: int) -> int:
    """How many numbers a GPT-2 of these sizes has, with biases, its unembedding tied to the embedding.

    Source: the shapes of Radford et al. 2019, GPT-2.
    """
    attention = 4 * (d_model * d_model + d_model)
    mlp = d_model * d_mlp + d_mlp + d_mlp * d_model + d_model
    norm = 2 * d_model
    return (vocab + context) * d_model + n_layers * (attention + mlp + 2 * norm) + norm


def fold_norm(
    weight: Float[Tensor, " d_model"],
    bias: Float[Tensor, " d_model"],
    W: Float[Tensor, "d_model d_out"],
    b: Float[Tensor, " d_out"],
) -> tuple[Float[Tensor, "d_model d_out"], Float[Tensor, " d_out"]]:
    """The matrix and bias that make of ``n`` what ``W`` and ``b`` make of ``n * weight + bias``.

    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", handling layer normalization.
    """
    return weight[:, None] * W, bias @ W + b


def opened(model: Any) -> tuple[dict[str, Tensor], list[dict[str, Tensor]]]:
    """The weights of a `transformers.GPT2LMHeadModel` under the names of this module: those around the blocks, and a
    dict for each block. Raises `ValueError` for a model of another kind."""
    if type(model).__name__ != "GPT2LMHeadModel":
        raise ValueError(
            f"opened() takes a GPT2LMHeadModel, such as load('storylm'); this is a {type(model).__name__}."
        )
    body, n_heads = model.transformer, model.config.n_head
    around = {
        "W_E": body.wte.weight,
        "W_pos": body.wpe.weight,
        "norm_weight": body.ln_f.weight,
        "norm_bias": body.ln_f.bias,
        "W_U": model.lm_head.weight.T,
    }
    return _detached(around), [_detached(_opened_block(layer, n_heads)) for layer in body.h]


def _opened_block(layer: Any, n_heads: int) -> dict[str, Tensor]:
    W, b = split_heads(layer.attn.c_attn.weight, layer.attn.c_attn.bias, n_heads)
    return {
        "norm_1_weight": layer.ln_1.weight,
        "norm_1_bias": layer.ln_1.bias,
        **{f"W_{name}": W[at] for at, name in enumerate("QKV")},
        **{f"b_{name}": b[at] for at, name in enumerate("QKV")},
        "W_O": layer.attn.c_proj.weight.unflatten(0, (n_heads, -1)),
        "b_O": layer.attn.c_proj.bias,
        "norm_2_weight": layer.ln_2.weight,
        "norm_2_bias": layer.ln_2.bias,
        "W_in": layer.mlp.c_fc.weight,
        "b_in": layer.mlp.c_fc.bias,
        "W_out": layer.mlp.c_proj.weight,
        "b_out": layer.mlp.c_proj.bias,
    }


def _detached(weights: Weights) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in weights.items()}
