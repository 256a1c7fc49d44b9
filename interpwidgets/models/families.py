"""Where each architecture keeps its parts: a table, not code.

A row says, for one ``config.model_type``, which submodule a tensor enters or leaves. To teach
interpwidgets a new family, print its model, find the same parts, and add the row::

    FAMILIES["mistral"] = FAMILIES["llama"]

What flows through a block, and what the sites are called, is drawn in `interpwidgets.models.taps`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
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

    ``blocks`` starts at the base model (`model.base_model`); every other path starts at a block. ``attention`` is the
    module that calls the attention function: q, k, v, pattern and z are read there. ``W_O`` is the projection after it.
    """

    blocks: str
    attention: str
    W_O: str
    sites: Mapping[str, Place]


_GPT2 = Family(
    blocks="h",
    attention="attn",
    W_O="attn.c_proj",
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
    attention="self_attn",
    W_O="self_attn.o_proj",
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
_GEMMA2 = Family(
    blocks="layers",
    attention="self_attn",
    W_O="self_attn.o_proj",
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
    attention="attention.self",
    W_O="attention.output.dense",
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
    attention="attention",
    W_O="attention.o",
    sites={"resid_pre": enters(), "attn_out": leaves("attention"), "resid_post": leaves()},
)

FAMILIES: dict[str, Family] = {
    "gpt2": _GPT2,
    "llama": _LLAMA,
    "gemma2": _GEMMA2,
    "bert": _BERT,
    "attention_only": _ATTENTION_ONLY,
}
