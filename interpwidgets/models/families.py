"""Where each architecture keeps its parts: a table, not code.

A row says, for one ``config.model_type``, which submodule a tensor enters or leaves. To teach
interpwidgets a new family, print its model, find the same parts, and add the row::

    FAMILIES["mistral"] = FAMILIES["llama"]

What flows through a block, and what the sites are called, is drawn in `interpwidgets.models.taps`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal


@dataclass(frozen=True)
class Place:
    """One tensor of a block: the ``input`` or ``output`` of the submodule at ``path`` ("" is the block itself).

    ``branches``: the same tensor also runs past the submodule along the residual stream, so an edit has to change
    the tensor itself and not only what enters the submodule.
    """

    path: str
    end: Literal["input", "output"]
    branches: bool = False


def enters(path: str = "", branches: bool = False) -> Place:
    return Place(path, "input", branches)


def leaves(path: str = "") -> Place:
    return Place(path, "output")


@dataclass(frozen=True)
class Family:
    """One row: the parts of an architecture, as paths of submodules.

    ``blocks``, ``embed``, ``positions`` and ``final_norm`` start at the base model (`model.base_model`), every other
    path at a block. ``attention`` is the module that calls the attention function: q, k, v, pattern and z are read
    there. ``W_O`` is the projection after it. ``QKV`` are the projections before it, three of them or one that makes
    queries, keys and values side by side.

    ``norms`` are those that a layer reads the residual stream through, under "attention" and "mlp". ``norms_stream``
    says that norms stand in the residual stream itself, after each sum. ``norm_offset`` is what a norm adds to the
    weight that it stores.
    """

    blocks: str
    embed: str
    attention: str
    QKV: tuple[str, ...]
    W_O: str
    sites: Mapping[str, Place]
    mlp: Mapping[str, str] = field(default_factory=dict)  # W_in, W_gate and W_out, as far as there are such
    positions: str | None = None  # None where positions are not added to the residual stream
    norms: Mapping[str, str] = field(default_factory=dict)
    final_norm: str | None = None
    norms_stream: bool = False
    norm_offset: float = 0.0


_GPT2 = Family(
    blocks="h",
    embed="wte",
    positions="wpe",
    attention="attn",
    QKV=("attn.c_attn",),
    W_O="attn.c_proj",
    mlp={"W_in": "mlp.c_fc", "W_out": "mlp.c_proj"},
    norms={"attention": "ln_1", "mlp": "ln_2"},
    final_norm="ln_f",
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("attn"),
        "resid_mid": enters("ln_2", branches=True),
        "mlp_pre": leaves("mlp.c_fc"),
        "mlp_post": enters("mlp.c_proj"),
        "mlp_out": leaves("mlp"),
        "resid_post": leaves(),
    },
)

_LLAMA = Family(
    blocks="layers",
    embed="embed_tokens",
    attention="self_attn",
    QKV=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    W_O="self_attn.o_proj",
    mlp={"W_in": "mlp.up_proj", "W_gate": "mlp.gate_proj", "W_out": "mlp.down_proj"},
    norms={"attention": "input_layernorm", "mlp": "post_attention_layernorm"},
    final_norm="norm",
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("self_attn"),
        "resid_mid": enters("post_attention_layernorm", branches=True),
        "mlp_pre": leaves("mlp.gate_proj"),
        "mlp_post": enters("mlp.down_proj"),
        "mlp_out": leaves("mlp"),
        "resid_post": leaves(),
    },
)

# Gemma 2 wraps both halves of a block in norms ("sandwich"): what joins the residual stream leaves the second norm.
# Its norms store how far their weight is from one.
_GEMMA2 = replace(
    _LLAMA,
    norms={"attention": "input_layernorm", "mlp": "pre_feedforward_layernorm"},
    norm_offset=1.0,
    sites={
        **_LLAMA.sites,
        "attn_out": leaves("post_attention_layernorm"),
        "resid_mid": enters("pre_feedforward_layernorm", branches=True),
        "mlp_out": leaves("post_feedforward_layernorm"),
    },
)

# BERT normalises the residual stream itself, after each sum: resid_mid = LayerNorm(resid_pre + attn_out).
_BERT = Family(
    blocks="encoder.layer",
    embed="embeddings.word_embeddings",
    positions="embeddings.position_embeddings",
    attention="attention.self",
    QKV=("attention.self.query", "attention.self.key", "attention.self.value"),
    W_O="attention.output.dense",
    mlp={"W_in": "intermediate.dense", "W_out": "output.dense"},
    norms_stream=True,
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("attention.output.dropout"),
        "resid_mid": leaves("attention.output"),
        "mlp_pre": leaves("intermediate.dense"),
        "mlp_post": leaves("intermediate"),
        "mlp_out": leaves("output.dropout"),
        "resid_post": leaves(),
    },
)

# Our own (interpwidgets.models.attention_only): attention is all there is, so nothing stands in the middle of a block.
_ATTENTION_ONLY = Family(
    blocks="layers",
    embed="embed",
    positions="positions",
    attention="attention",
    QKV=("attention.q", "attention.k", "attention.v"),
    W_O="attention.o",
    norms={"attention": "norm"},
    final_norm="norm",
    sites={"resid_pre": enters(), "attn_out": leaves("attention"), "resid_post": leaves()},
)

# Our own (interpwidgets.models.modular): no norm anywhere, so what stands in the middle enters the MLP as it is.
_MODULAR = Family(
    blocks="layers",
    embed="embed",
    positions="positions",
    attention="attention",
    QKV=("attention.q", "attention.k", "attention.v"),
    W_O="attention.o",
    mlp={"W_in": "mlp.up", "W_out": "mlp.down"},
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("attention"),
        "resid_mid": enters("mlp", branches=True),
        "mlp_pre": leaves("mlp.up"),
        "mlp_post": enters("mlp.down"),
        "mlp_out": leaves("mlp"),
        "resid_post": leaves(),
    },
)

FAMILIES: dict[str, Family] = {
    "gpt2": _GPT2,
    "llama": _LLAMA,
    "gemma2": _GEMMA2,
    "bert": _BERT,
    "attention_only": _ATTENTION_ONLY,
    "modular": _MODULAR,
}
