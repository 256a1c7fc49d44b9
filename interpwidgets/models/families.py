"""Where each architecture keeps its parts: a table, not code.

A row says, for one ``config.model_type``, which submodule a tensor enters or leaves. To teach
interpwidgets a new family, print its model, find the same parts, and add the row::

    from interpwidgets.models.families import FAMILIES, suggest

    suggest(model)                              # ["llama"]: rows whose modules this model has, the closest first
    FAMILIES["stablelm"] = FAMILIES["llama"]
    identities(model, input_ids=ids)            # interpwidgets.models.identities: every error has to be tiny

Names can agree where the computation does not (Granite looks like Llama, but scales what it adds), so the last line is
the proof. What a row can say, apart from where the parts are:

- an MLP that is gated (``W_gate``), also with gate and input in one projection: the same path twice (Phi-3);
- queries, keys and values from three projections or from one, side by side or group by group (`Family.by_group`);
- blocks whose attention and MLP read the same stream (`Family.parallel`), with one norm or two;
- norms before a layer (`Family.norms`), behind it (a site that leaves a norm), both, in the stream itself
  (`Family.stream_norms`), and on queries and keys (`Family.qk_norms`);
- tensors that run past a module as well, whose batch and positions are one axis, that are the first half of what a
  projection makes, or that the model writes over later: `Place`;
- a narrower embedding with a matrix behind it (`Family.embed_into`, `Family.unembed_from`);
- a mixture of experts in place of the MLP, in every layer or in some (`Family.router`);
- attention sinks (`Family.sinks`), attention to another text (`Family.cross`), or a state space in place of attention
  (`Family.states`);
- other parts for other configurations, or none at all: `Family.variants`.

A layer that has no module at the place of a site does without that site. A model that is made of several, as an encoder
and a decoder are, has no row of its own: `PARTS` says which rows describe its parts.

A row need not say how attention is called: `interpwidgets.models.tap_attention` sees whether it goes through the
library's registry or computes its pattern itself. What flows through a block, and what the sites are called, is drawn
in `interpwidgets.models.taps`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

SITES = (  # of a block, in the order of the computation
    "resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_mid", "mlp_pre", "mlp_post", "mlp_out", "resid_post",
)  # fmt: skip
ATTENTION_SITES = frozenset({"q", "k", "v", "pattern", "z"})  # wherever there is attention, so no row names them
EXPERT_SITES = ("router", "routing")  # wherever there are experts, between resid_mid and mlp_out
STATE_SITES = ("gate", "conv", "B", "C", "delta", "state", "y")  # in place of attention's, where there is a state space
ORDER = (  # of all of these in a block, whatever the family
    *SITES[:6], *STATE_SITES, "mixer_out", "attn_out", "resid_mid", *EXPERT_SITES, *SITES[8:],
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """One tensor of a block: the ``input`` or ``output`` of the submodule at ``path`` ("" is the block itself).

    ``branches``: the same tensor also runs past the submodule along the residual stream, so an edit has to change
    the tensor itself and not only what enters the submodule. ``flat``: batch and positions are one axis there.
    ``first_half``: it is the first half of the last axis. ``overwritten``: the model writes into that tensor later.
    """

    path: str
    end: Literal["input", "output"]
    branches: bool = False
    flat: bool = False
    first_half: bool = False
    overwritten: bool = False


def enters(path: str = "", branches: bool = False, flat: bool = False) -> Place:
    return Place(path, "input", branches=branches, flat=flat)


def leaves(path: str = "", flat: bool = False, first_half: bool = False, overwritten: bool = False) -> Place:
    return Place(path, "output", flat=flat, first_half=first_half, overwritten=overwritten)


@dataclass(frozen=True)
class Family:
    """One row: the parts of an architecture, as paths of submodules.

    ``blocks``, ``embed``, ``embed_into``, ``positions``, ``final_norm`` and ``unembed_from`` start at the base model
    (`model.base_model`), every other path at a block. ``attention`` is the module that makes the pattern: q, k, v,
    pattern and z are read there. ``W_O`` is the projection after it. ``QKV`` are the projections before it: three of
    them, or one that makes queries, keys and values side by side or, ``by_group``, each key and its value behind the
    queries that share it. ``qk_norms`` are the norms of queries and of keys. ``scaled_queries``: what the
    scores are divided by elsewhere, the root of d_head, divides the queries there.

    ``norms`` are those that a layer reads the residual stream through, under "attention" and "mlp". ``stream_norms``
    stand in the residual stream itself, behind the sum with what they are named for. ``norm_offset`` is what a norm
    adds to the weight that it stores. ``parallel``: attention and MLP both read resid_pre, so there is no middle.

    ``router`` is the module that chooses experts, in the layers that have any. ``sinks`` is one score for each head
    that takes part in the softmax and belongs to no key. ``cross``: keys and values are made of what another part of
    the model returns, so this part has no ends of its own. ``causal`` is said where the modules of attention say
    something else. ``states`` is the mixer of a state space: it stands where attention stands in others, its
    ``in_proj`` is in ``QKV`` and its ``out_proj`` is ``W_O``, and ``attention`` is None. ``logits``: the model returns
    some for each position, made of this part. ``scaled_output``: they are made of final_norm divided by the root of
    d_model, where the configuration says so.

    ``variants``: (values of the configuration, the row to take where it has them). None in place of a row means that
    such a model computes something that the sites do not describe. ``elsewhere`` is the row for releases of the library
    that keep the blocks at another place.
    """

    blocks: str
    embed: str | None  # None where there are no tokens (images)
    attention: str | None  # None where there is none
    QKV: tuple[str, ...]
    W_O: str
    sites: Mapping[str, Place]
    mlp: Mapping[str, str] = field(default_factory=dict)  # W_in, W_gate and W_out, as far as there are such
    positions: str | None = None  # None where positions are not added to the residual stream
    norms: Mapping[str, str] = field(default_factory=dict)
    final_norm: str | None = None
    stream_norms: Mapping[str, str] = field(default_factory=dict)  # under "attn_out" and "mlp_out"
    norm_offset: float = 0.0
    by_group: bool = False
    qk_norms: tuple[str, str] | None = None
    scaled_queries: bool = False
    parallel: bool = False
    embed_into: str | None = None  # matrices that some sizes of a family have and others have not
    unembed_from: str | None = None
    router: str | None = None
    sinks: str | None = None
    cross: bool = False
    causal: bool | None = None
    states: str | None = None
    logits: bool = True
    scaled_output: bool = False
    variants: "tuple[tuple[Mapping[str, object], Family | None], ...]" = ()
    elsewhere: "Family | None" = None

    @property
    def norms_stream(self) -> bool:
        """Whether norms stand in the residual stream itself, after each sum."""
        return bool(self.stream_norms)


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

_GPT_NEO = replace(
    _GPT2,
    attention="attn.attention",
    QKV=("attn.attention.q_proj", "attn.attention.k_proj", "attn.attention.v_proj"),
    W_O="attn.attention.out_proj",
)

# GPT-J reads the stream once, through one norm, for attention and MLP alike.
_GPTJ = Family(
    blocks="h",
    embed="wte",
    attention="attn",
    QKV=("attn.q_proj", "attn.k_proj", "attn.v_proj"),
    W_O="attn.out_proj",
    mlp={"W_in": "mlp.fc_in", "W_out": "mlp.fc_out"},
    norms={"attention": "ln_1", "mlp": "ln_1"},
    final_norm="ln_f",
    parallel=True,
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("attn"),
        "mlp_pre": leaves("mlp.fc_in"),
        "mlp_post": enters("mlp.fc_out"),
        "mlp_out": leaves("mlp"),
        "resid_post": leaves(),
    },
)

# Bloom's modules add the residual stream themselves, so what they write is read a step earlier.
_BLOOM = Family(
    blocks="h",
    embed="word_embeddings",
    attention="self_attention",
    QKV=("self_attention.query_key_value",),
    by_group=True,
    W_O="self_attention.dense",
    mlp={"W_in": "mlp.dense_h_to_4h", "W_out": "mlp.dense_4h_to_h"},
    norms={"attention": "input_layernorm", "mlp": "post_attention_layernorm"},
    final_norm="ln_f",
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("self_attention.dense"),
        "resid_mid": enters("post_attention_layernorm", branches=True),
        "mlp_pre": leaves("mlp.dense_h_to_4h"),
        "mlp_post": enters("mlp.dense_4h_to_h"),
        "mlp_out": leaves("mlp.dense_4h_to_h"),
        "resid_post": leaves(),
    },
    variants=(({"apply_residual_connection_post_layernorm": True}, None),),
)

# Falcon came in three shapes: 7B and 11B read through one norm, 40B and 180B through two, and RW has one half after the
# other.
_FALCON = Family(
    blocks="h",
    embed="word_embeddings",
    attention="self_attention",
    QKV=("self_attention.query_key_value",),
    by_group=True,
    W_O="self_attention.dense",
    mlp={"W_in": "mlp.dense_h_to_4h", "W_out": "mlp.dense_4h_to_h"},
    norms={"attention": "input_layernorm", "mlp": "input_layernorm"},
    final_norm="ln_f",
    parallel=True,
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("self_attention"),
        "mlp_pre": leaves("mlp.dense_h_to_4h"),
        "mlp_post": enters("mlp.dense_4h_to_h"),
        "mlp_out": leaves("mlp", overwritten=True),
        "resid_post": leaves(),
    },
)
_FALCON_TWO_NORMS = replace(_FALCON, norms={"attention": "ln_attn", "mlp": "ln_mlp"})
_FALCON_RW = replace(
    _FALCON,
    norms={"attention": "input_layernorm", "mlp": "post_attention_layernorm"},
    parallel=False,
    sites={**_FALCON.sites, "resid_mid": enters("post_attention_layernorm", branches=True)},
)
_FALCON = replace(
    _FALCON,
    variants=(
        ({"new_decoder_architecture": True, "num_ln_in_parallel_attn": 2}, _FALCON_TWO_NORMS),
        ({"new_decoder_architecture": False, "parallel_attn": False}, _FALCON_RW),
    ),
)

_NEOX = Family(
    blocks="layers",
    embed="embed_in",
    attention="attention",
    QKV=("attention.query_key_value",),
    by_group=True,
    W_O="attention.dense",
    mlp={"W_in": "mlp.dense_h_to_4h", "W_out": "mlp.dense_4h_to_h"},
    norms={"attention": "input_layernorm", "mlp": "post_attention_layernorm"},
    final_norm="final_layer_norm",
    parallel=True,
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("attention"),
        "mlp_pre": leaves("mlp.dense_h_to_4h"),
        "mlp_post": enters("mlp.dense_4h_to_h"),
        "mlp_out": leaves("mlp"),
        "resid_post": leaves(),
    },
)
_NEOX_ONE_AFTER_THE_OTHER = replace(
    _NEOX,
    parallel=False,
    sites={**_NEOX.sites, "resid_mid": enters("post_attention_layernorm", branches=True)},
)
_NEOX = replace(_NEOX, variants=(({"use_parallel_residual": False}, _NEOX_ONE_AFTER_THE_OTHER),))

_OPT = Family(
    blocks="decoder.layers",
    embed="decoder.embed_tokens",
    embed_into="decoder.project_in",
    unembed_from="decoder.project_out",
    positions="decoder.embed_positions",
    attention="self_attn",
    QKV=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    scaled_queries=True,
    W_O="self_attn.out_proj",
    mlp={"W_in": "fc1", "W_out": "fc2"},
    norms={"attention": "self_attn_layer_norm", "mlp": "final_layer_norm"},
    final_norm="decoder.final_layer_norm",
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("self_attn"),
        "resid_mid": enters("final_layer_norm", branches=True, flat=True),
        "mlp_pre": leaves("fc1", flat=True),
        "mlp_post": enters("fc2", flat=True),
        "mlp_out": leaves("fc2", flat=True),
        "resid_post": leaves(),
    },
)
# OPT-350m normalises the residual stream itself, as BERT does.
_OPT_350M = replace(
    _OPT,
    norms={},
    final_norm=None,
    stream_norms={"attn_out": "self_attn_layer_norm", "mlp_out": "final_layer_norm"},
    sites={**_OPT.sites, "resid_mid": leaves("self_attn_layer_norm")},
)
_OPT = replace(_OPT, variants=(({"do_layer_norm_before": False}, _OPT_350M),))

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
_QWEN3 = replace(_LLAMA, qk_norms=("self_attn.q_norm", "self_attn.k_norm"))

# Phi reads the stream once, as GPT-J; Phi-3 is a Llama whose projections are fused.
_PHI = Family(
    blocks="layers",
    embed="embed_tokens",
    attention="self_attn",
    QKV=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    W_O="self_attn.dense",
    mlp={"W_in": "mlp.fc1", "W_out": "mlp.fc2"},
    norms={"attention": "input_layernorm", "mlp": "input_layernorm"},
    final_norm="final_layernorm",
    parallel=True,
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("self_attn"),
        "mlp_pre": leaves("mlp.fc1"),
        "mlp_post": enters("mlp.fc2"),
        "mlp_out": leaves("mlp"),
        "resid_post": leaves(),
    },
)
_PHI = replace(
    _PHI,
    variants=(
        (
            {"qk_layernorm": True},
            replace(_PHI, qk_norms=("self_attn.q_layernorm", "self_attn.k_layernorm")),
        ),
    ),
)
_PHI3 = replace(
    _LLAMA,
    QKV=("self_attn.qkv_proj",),
    mlp={"W_in": "mlp.gate_up_proj", "W_gate": "mlp.gate_up_proj", "W_out": "mlp.down_proj"},
    sites={**_LLAMA.sites, "mlp_pre": leaves("mlp.gate_up_proj", first_half=True)},
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
_GEMMA3 = replace(_GEMMA2, qk_norms=("self_attn.q_norm", "self_attn.k_norm"))

# OLMo 2 reads the stream as it is and normalises what each half writes.
_OLMO2 = replace(
    _QWEN3,
    norms={},
    sites={
        **_LLAMA.sites,
        "attn_out": leaves("post_attention_layernorm"),
        "resid_mid": enters("mlp", branches=True),
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
    stream_norms={"attn_out": "attention.output.LayerNorm", "mlp_out": "output.LayerNorm"},
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

_DISTILBERT = Family(
    blocks="transformer.layer",
    embed="embeddings.word_embeddings",
    positions="embeddings.position_embeddings",
    attention="attention",
    QKV=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    W_O="attention.out_lin",
    mlp={"W_in": "ffn.lin1", "W_out": "ffn.lin2"},
    stream_norms={"attn_out": "sa_layer_norm", "mlp_out": "output_layer_norm"},
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("attention"),
        "resid_mid": leaves("sa_layer_norm"),
        "mlp_pre": leaves("ffn.lin1"),
        "mlp_post": enters("ffn.lin2"),
        "mlp_out": leaves("ffn"),
        "resid_post": leaves(),
    },
)

# What ViT reads are patches of an image, behind one vector that stands for the whole.
_VIT = Family(
    blocks="layers",
    embed=None,
    positions="embeddings.position_embeddings",
    attention="attention",
    QKV=("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    W_O="attention.o_proj",
    mlp={"W_in": "mlp.fc1", "W_out": "mlp.fc2"},
    norms={"attention": "layernorm_before", "mlp": "layernorm_after"},
    final_norm="layernorm",
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("attention"),
        "resid_mid": enters("layernorm_after", branches=True),
        "mlp_pre": leaves("mlp.fc1"),
        "mlp_post": enters("mlp.fc2"),
        "mlp_out": leaves("mlp"),
        "resid_post": leaves(),
    },
)

_VIT_5_1 = replace(
    _VIT,
    blocks="encoder.layer",
    attention="attention.attention",
    QKV=("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    W_O="attention.output.dense",
    mlp={"W_in": "intermediate.dense", "W_out": "output.dense"},
    sites={
        **_VIT.sites,
        "mlp_pre": leaves("intermediate.dense"),
        "mlp_post": enters("output.dense"),
        "mlp_out": leaves("output.dense"),  # the module around it adds the stream itself
    },
)
_VIT = replace(_VIT, elsewhere=_VIT_5_1)

# Mixtral and GPT-OSS send each position to a few experts. The neurons of an expert see only what is sent to it, so
# there is no mlp_pre and no mlp_post of the layer. GPT-OSS has attention sinks.
_MIXTRAL = replace(
    _LLAMA,
    mlp={},
    router="mlp.gate",
    sites={site: place for site, place in _LLAMA.sites.items() if site not in ("mlp_pre", "mlp_post")},
)
_GPT_OSS = replace(_MIXTRAL, router="mlp.router", sinks="self_attn.sinks")

# T5 reads one text with its encoder and writes another with its decoder, which looks at the first between its attention
# and its MLP. Positions act within attention.
_T5_ENCODER = Family(
    blocks="block",
    embed="embed_tokens",
    attention="layer.0.SelfAttention",
    QKV=("layer.0.SelfAttention.q", "layer.0.SelfAttention.k", "layer.0.SelfAttention.v"),
    W_O="layer.0.SelfAttention.o",
    mlp={"W_in": "layer.1.DenseReluDense.wi", "W_out": "layer.1.DenseReluDense.wo"},
    norms={"attention": "layer.0.layer_norm", "mlp": "layer.1.layer_norm"},
    final_norm="final_layer_norm",
    causal=False,
    logits=False,
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("layer.0.SelfAttention"),
        "resid_mid": enters("layer.1"),
        "mlp_pre": leaves("layer.1.DenseReluDense.wi"),
        "mlp_post": enters("layer.1.DenseReluDense.wo"),
        "mlp_out": leaves("layer.1.DenseReluDense"),
        "resid_post": leaves(),
    },
)
_T5_DECODER = replace(
    _T5_ENCODER,
    mlp={"W_in": "layer.2.DenseReluDense.wi", "W_out": "layer.2.DenseReluDense.wo"},
    norms={"attention": "layer.0.layer_norm", "mlp": "layer.2.layer_norm"},
    causal=True,
    logits=True,
    scaled_output=True,
    sites={
        **_T5_ENCODER.sites,
        "mlp_pre": leaves("layer.2.DenseReluDense.wi"),
        "mlp_post": enters("layer.2.DenseReluDense.wo"),
        "mlp_out": leaves("layer.2.DenseReluDense"),
    },
)
_T5_CROSS = replace(
    _T5_ENCODER,
    embed=None,
    attention="layer.1.EncDecAttention",
    QKV=("layer.1.EncDecAttention.q", "layer.1.EncDecAttention.k", "layer.1.EncDecAttention.v"),
    W_O="layer.1.EncDecAttention.o",
    mlp={},
    norms={"attention": "layer.1.layer_norm"},
    final_norm=None,
    cross=True,
    sites={
        "resid_pre": enters("layer.1"),
        "attn_out": leaves("layer.1.EncDecAttention"),
        "resid_post": leaves("layer.1"),
    },
)


def _gated(row: Family, layer: str) -> Family:
    """T5 1.1 and Flan-T5: the same with a gated MLP."""
    names = {"W_in": "wi_1", "W_gate": "wi_0", "W_out": "wo"}
    mlp = {name: f"{layer}.DenseReluDense.{part}" for name, part in names.items()}
    gated = replace(row, mlp=mlp, sites={**row.sites, "mlp_pre": leaves(mlp["W_gate"])})
    plain = {"model_type": "mt5"}  # the same again, but its logits are never scaled
    unscaled = (
        ({**plain, "is_gated_act": True}, replace(gated, scaled_output=False)),
        (plain, replace(row, scaled_output=False)),
    )
    return replace(row, variants=(*unscaled, ({"is_gated_act": True}, gated)))


def _switch(row: Family, layer: str) -> Family:
    """Switch Transformers: T5 with one expert for each position in every other layer, and an MLP in the rest."""
    mlp = {"W_in": f"{layer}.mlp.wi", "W_out": f"{layer}.mlp.wo"}
    sites = {"mlp_pre": leaves(mlp["W_in"]), "mlp_post": enters(mlp["W_out"]), "mlp_out": leaves(f"{layer}.mlp")}
    return replace(row, mlp=mlp, router=f"{layer}.mlp.router", sites={**row.sites, **sites})


_SWITCH_ENCODER, _SWITCH_DECODER = _switch(_T5_ENCODER, "layer.1"), _switch(_T5_DECODER, "layer.2")
_T5_ENCODER, _T5_DECODER = _gated(_T5_ENCODER, "layer.1"), _gated(_T5_DECODER, "layer.2")

# BART has T5's three parts and BERT's norms, in the stream, behind each sum.
_BART = Family(
    blocks="layers",
    embed="embed_tokens",
    positions="embed_positions",
    attention="self_attn",
    QKV=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    W_O="self_attn.out_proj",
    mlp={"W_in": "fc1", "W_out": "fc2"},
    stream_norms={"attn_out": "self_attn_layer_norm", "mlp_out": "final_layer_norm"},
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("self_attn"),
        "resid_mid": leaves("self_attn_layer_norm"),
        "mlp_pre": leaves("fc1"),
        "mlp_post": enters("fc2"),
        "mlp_out": leaves("fc2"),
        "resid_post": leaves(),
    },
)
_BART_CROSS = replace(
    _BART,
    embed=None,
    positions=None,
    attention="encoder_attn",
    QKV=("encoder_attn.q_proj", "encoder_attn.k_proj", "encoder_attn.v_proj"),
    W_O="encoder_attn.out_proj",
    mlp={},
    stream_norms={"attn_out": "encoder_attn_layer_norm"},
    logits=False,
    cross=True,
    sites={
        "resid_pre": leaves("self_attn_layer_norm"),
        "attn_out": leaves("encoder_attn"),
        "resid_post": leaves("encoder_attn_layer_norm"),
    },
)

# The towers of CLIP. That of texts is causal, which its attention is told only when it is called; that of images has a
# norm in front of its layers, and its last one reads the first position alone.
_CLIP_TEXT = Family(
    blocks="encoder.layers",
    embed="embeddings.token_embedding",
    positions="embeddings.position_embedding",
    attention="self_attn",
    QKV=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    W_O="self_attn.out_proj",
    mlp={"W_in": "mlp.fc1", "W_out": "mlp.fc2"},
    norms={"attention": "layer_norm1", "mlp": "layer_norm2"},
    final_norm="final_layer_norm",
    causal=True,
    logits=False,
    sites={
        "resid_pre": enters(),
        "attn_out": leaves("self_attn"),
        "resid_mid": enters("layer_norm2", branches=True),
        "mlp_pre": leaves("mlp.fc1"),
        "mlp_post": enters("mlp.fc2"),
        "mlp_out": leaves("mlp"),
        "resid_post": leaves(),
    },
)
_CLIP_VISION = replace(_CLIP_TEXT, embed=None, final_norm="post_layernorm", causal=False)

# Mamba has no attention: a state space carries what was read from one position to the next.
_MAMBA = Family(
    blocks="layers",
    embed="embeddings",
    attention=None,
    QKV=("mixer.in_proj",),
    W_O="mixer.out_proj",
    norms={"attention": "norm"},
    final_norm="norm_f",
    causal=True,
    states="mixer",
    sites={"resid_pre": enters(), "mixer_out": leaves("mixer"), "resid_post": leaves()},
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
    "gpt_neo": _GPT_NEO,
    "gptj": _GPTJ,
    "gpt_neox": _NEOX,
    "opt": _OPT,
    "bloom": _BLOOM,
    "falcon": _FALCON,
    "phi": _PHI,
    "phi3": _PHI3,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _QWEN3,
    "gemma2": _GEMMA2,
    "gemma3_text": _GEMMA3,
    "olmo2": _OLMO2,
    "bert": _BERT,
    "roberta": _BERT,
    "distilbert": _DISTILBERT,
    "vit": _VIT,
    "mixtral": _MIXTRAL,
    "gpt_oss": _GPT_OSS,
    "t5_encoder": _T5_ENCODER,
    "t5_decoder": _T5_DECODER,
    "t5_cross": _T5_CROSS,
    "switch_encoder": _SWITCH_ENCODER,
    "switch_decoder": _SWITCH_DECODER,
    "bart_encoder": replace(_BART, logits=False),
    "bart_decoder": _BART,
    "bart_cross": _BART_CROSS,
    "clip_text_model": _CLIP_TEXT,
    "clip_vision_model": _CLIP_VISION,
    "mamba": _MAMBA,
    "attention_only": _ATTENTION_ONLY,
    "modular": _MODULAR,
}

_T5_PARTS = {
    "encoder": ("encoder", "t5_encoder"),
    "decoder": ("decoder", "t5_decoder"),
    "cross": ("decoder", "t5_cross"),
}
_BART_PARTS = {
    "encoder": ("encoder", "bart_encoder"),
    "decoder": ("decoder", "bart_decoder"),
    "cross": ("decoder", "bart_cross"),
}

# Families that are made of parts: what each is called, the submodule that it is, and its row.
PARTS: dict[str, dict[str, tuple[str, str]]] = {
    "t5": _T5_PARTS,
    "switch_transformers": {
        "encoder": ("encoder", "switch_encoder"),
        "decoder": ("decoder", "switch_decoder"),
        "cross": ("decoder", "t5_cross"),
    },
    "bart": _BART_PARTS,
    "clip": {"text": ("text_model", "clip_text_model"), "vision": ("vision_model", "clip_vision_model")},
}


def row_of(config: Any, name: str | None = None) -> Family | None:
    """The row for the model that ``config`` describes, or the one called ``name``, its variants looked at; None where
    there is none.
    """
    family = FAMILIES.get(name or config.model_type)
    for values, variant in family.variants if family else ():
        if all(getattr(config, name, None) == value for name, value in values.items()):
            return variant
    return family


def suggest(model: Any) -> list[str]:
    """The families whose row would find all its modules in ``model``, those that name most of them first.

    A row that fits by name may still describe another computation: `interpwidgets.models.identities` tells.
    """
    base = getattr(model, "base_model", None)
    if base is None:
        raise TypeError(f"expected a Hugging Face transformer, but got a value of type {type(model).__name__}.")
    fits: dict[str, int] = {}
    for name, family in FAMILIES.items():
        blocks = _at(base, family.blocks)
        ends = [family.embed, family.positions, family.final_norm]
        if blocks is None or not len(blocks) or not all(_at(base, path) is not None for path in ends if path):
            continue
        paths = _paths(family)
        if all(_at(blocks[0], path) is not None for path in paths) and family not in (FAMILIES[each] for each in fits):
            fits[name] = len(paths)
    return sorted(fits, key=lambda name: -fits[name])


def _paths(family: Family) -> set[str]:
    """Every module of a block that a row names."""
    named: list[str | None] = [family.attention, family.router, family.sinks, family.W_O]
    named += [f"{family.states}.x_proj"] if family.states else []
    named += [*family.QKV, *family.mlp.values(), *family.norms.values()]
    named += [*family.stream_norms.values(), *(family.qk_norms or ()), *(place.path for place in family.sites.values())]
    return {path for path in named if path}


def _at(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name, None)
    return module
