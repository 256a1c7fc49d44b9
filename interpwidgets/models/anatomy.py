"""What a Hugging Face model is made of, in the words of this library.

    from interpwidgets.models.anatomy import anatomy

    parts = anatomy(model)
    parts.n_layers, parts.n_heads, parts.n_kv_heads, parts.causal
    parts.W_Q(3), parts.W_O(3)  # [head, d_model, d_head] and [head, d_head, d_model]
    parts.heads(z, layer=3)     # what each head adds to the residual stream

    anatomy(t5, part="decoder")     # a model that is made of parts: "encoder", "decoder", "cross"

Matrices are the model's own numbers, laid out so that they are multiplied from the right, ``x @ W``, whatever the
library stores; x is what enters the layer, after its norm. They are views where that is possible: do not write to them.

`families.py` says where an architecture keeps its parts; this module goes there and looks.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from sys import modules
from typing import Any, Literal

import torch
import transformers
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from interpwidgets._errors import Told
from interpwidgets.models.families import (
    ATTENTION_SITES,
    EXPERT_SITES,
    FAMILIES,
    ORDER,
    PARTS,
    STATE_SITES,
    Family,
    row_of,
    suggest,
)


class UnknownModelError(Told, TypeError):
    """This is not a model whose insides can be reached; the message says why."""


class MissingPartError(Told, ValueError):
    """A layer, matrix or norm that this model does not have; the message says what it has."""


@dataclass(frozen=True)
class Norm:
    """One norm: ``y = (x - mean) / scale * weight + bias``, the mean being taken away only where it ``centers``.

    `scale` is the only part of it that is not linear. Frozen at what it was in a run, a norm is a matrix.
    Sources: Ba et al. 2016, "Layer Normalization"; Zhang & Sennrich 2019, "Root Mean Square Layer Normalization".
    """

    module: nn.Module
    weight: Float[Tensor, " d_model"]  # what is multiplied by (Gemma stores it less one)
    bias: Float[Tensor, " d_model"]  # zeros where there is none
    centers: bool  # True for LayerNorm, False for RMSNorm
    epsilon: float
    divides: bool = True  # False in a model without norms, where what is read is what stands there

    def scale(self, x: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead"]:
        """What ``x`` is divided by: its standard deviation (LayerNorm) or root mean square (RMSNorm), with epsilon."""
        if not self.divides:
            return torch.ones_like(x[..., 0])
        square = x.var(-1, correction=0) if self.centers else x.square().mean(-1)
        return (square + self.epsilon).sqrt()

    def center(self, x: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead d_model"]:
        """``x`` less its mean where this norm takes the mean away, else ``x``."""
        return x - x.mean(-1, keepdim=True) if self.centers else x


@dataclass(frozen=True)
class Anatomy:
    """The parts of one model and the numbers that describe it. Get one from `anatomy`."""

    model: PreTrainedModel
    part: str | None  # which of its parts this is, where it is made of several
    root: nn.Module  # where the paths of the row begin: the base model, or that part
    family: Family
    blocks: list[nn.Module]
    attentions: list[nn.Module]  # one per block: the module that calls the attention function; none in Mamba
    n_layers: int
    n_heads: int  # 0 where there is no attention
    n_kv_heads: int  # smaller than n_heads where several heads share keys and values (grouped queries)
    d_model: int
    d_head: int
    causal: bool  # True where a position sees only itself and what came before
    max_context: int | None  # the longest input in tokens; None where there is no limit

    # -- what the residual stream begins and ends with

    def W_E(self) -> Float[Tensor, "vocab d_model"]:
        """What each token puts into the residual stream before the first layer (Gemma's scale included).

        In BERT token types and a norm follow, in Bloom a norm. Raises `MissingPartError` for a model that does not read
        tokens.
        """
        if self.family.embed is None:
            raise MissingPartError(f"{type(self.model).__name__} does not read tokens, so it has no W_E.")
        embed: Any = self._base(self.family.embed)
        weight: Tensor = embed.weight * getattr(embed, "scalar_embed_scale", getattr(embed, "embed_scale", 1.0))
        into = self._base_or_none(self.family.embed_into)
        return weight if into is None else weight @ _weight_in_out(into)

    def W_pos(self) -> Float[Tensor, "position d_model"] | None:
        """What each position puts into it, the first token's first; None where positions act within attention (RoPE,
        ALiBi).
        """
        return None if self.family.positions is None else _positions(self.root, self.family.positions)

    def W_U(self) -> Float[Tensor, "d_model vocab"]:
        """The unembedding: one column for each token. Raises `MissingPartError` for a model without one, and for one
        that scales its logits, which no matrix of its own says.
        """
        unembed = self._unembed()
        self.expect_plain_logits()
        weight = _weight_in_out(unembed)
        out_of = self._base_or_none(self.family.unembed_from)
        weight = weight if out_of is None else _weight_in_out(out_of) @ weight
        return weight * self.d_model**-0.5 if self._scales_output() else weight

    def b_U(self) -> Float[Tensor, " vocab"]:
        """The bias of the unembedding; zeros where the family has none."""
        return _bias(self._unembed())

    # -- attention, one matrix for each head; heads that share keys and values have equal ones

    def W_Q(self, layer: int) -> Float[Tensor, "head d_model d_head"]:
        """How each head makes queries from what it reads: ``q = x @ W_Q[h] + b_Q[h]``, before any rotation, and before
        the norm that some families put on queries and keys (Qwen3, Gemma 3, OLMo 2); OPT scales them next.
        """
        return self._project(layer, "Q")[0]

    def W_K(self, layer: int) -> Float[Tensor, "head d_model d_head"]:
        """How each head makes keys."""
        return self._project(layer, "K")[0]

    def W_V(self, layer: int) -> Float[Tensor, "head d_model d_head"]:
        """How each head makes values."""
        return self._project(layer, "V")[0]

    def b_Q(self, layer: int) -> Float[Tensor, "head d_head"]:
        """What each head adds to its queries; zeros where the family has no such biases."""
        return self._project(layer, "Q")[1]

    def b_K(self, layer: int) -> Float[Tensor, "head d_head"]:
        """What each head adds to its keys."""
        return self._project(layer, "K")[1]

    def b_V(self, layer: int) -> Float[Tensor, "head d_head"]:
        """What each head adds to its values."""
        return self._project(layer, "V")[1]

    def W_O(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        """How each head writes: head h adds ``z[..., h, :] @ W_O[h]`` to what leaves the attention projection."""
        self._expect_attention("W_O")
        weight = _weight_in_out(self._part(layer, self.family.W_O))
        return weight.reshape(self.n_heads, self.d_head, -1)

    def b_O(self, layer: int) -> Float[Tensor, " d_model"]:
        """The bias of the attention projection, which belongs to no head; zeros where the family has none."""
        return _bias(self._part(layer, self.family.W_O))

    def heads(
        self, z: Float[Tensor, "batch query head d_head"], layer: int
    ) -> Float[Tensor, "batch query head d_model"]:
        """What each head writes, given ``z`` of that layer. The sum over heads plus `b_O` is the projection's output.

        In Gemma 2 and OLMo 2 a norm follows the projection, so these are the heads before that norm.
        Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", attention heads are independent
        and additive.
        """
        return torch.einsum("bqhe,hed->bqhd", z, self.W_O(layer))

    def sinks(self, layer: int) -> Float[Tensor, " head"] | None:
        """The score that takes part in the softmax of each head and belongs to no key (GPT-OSS); None elsewhere."""
        return None if self.family.sinks is None else self.blocks[layer].get_parameter(self.family.sinks)

    # -- the MLP

    @property
    def gated(self) -> bool:
        """True where one branch of the MLP is multiplied by another: ``(act(x @ W_gate) * (x @ W_in)) @ W_out``."""
        return "W_gate" in self.family.mlp

    def W_in(self, layer: int) -> Float[Tensor, "d_model d_mlp"]:
        """How the neurons read; in a gated MLP the branch without activation."""
        return self._reads(layer, "W_in")[0]

    def W_gate(self, layer: int) -> Float[Tensor, "d_model d_mlp"]:
        """How the gates of the neurons read."""
        return self._reads(layer, "W_gate")[0]

    def W_out(self, layer: int) -> Float[Tensor, "d_mlp d_model"]:
        """How the neurons write. In Gemma 2 and OLMo 2 a norm follows."""
        return _weight_in_out(self._mlp(layer, "W_out"))

    def b_in(self, layer: int) -> Float[Tensor, " d_mlp"]:
        """What is added to ``x @ W_in``; zeros where the family has no such bias."""
        return self._reads(layer, "W_in")[1]

    def b_gate(self, layer: int) -> Float[Tensor, " d_mlp"]:
        """What is added to ``x @ W_gate``."""
        return self._reads(layer, "W_gate")[1]

    def b_out(self, layer: int) -> Float[Tensor, " d_model"]:
        """What the MLP adds whatever its neurons do."""
        return _bias(self._mlp(layer, "W_out"))

    # -- norms

    def norm(self, layer: int, before: Literal["attention", "mlp"]) -> Norm | None:
        """The norm through which ``"attention"`` or the ``"mlp"`` reads the residual stream; None where it has none."""
        path = self.family.norms.get(before)
        return None if path is None else self._norm(self._part(layer, path))

    def norm_after(self, layer: int, site: Literal["attn_out", "mlp_out"]) -> Norm | None:
        """The norm between a half of a layer and the residual stream, where there is one (Gemma 2, OLMo 2)."""
        last, module = self.final_norm(), self._part(layer, self.family.sites[site].path)
        return self._norm(module) if last is not None and isinstance(module, type(last.module)) else None

    def norm_in_stream(self, layer: int, behind: Literal["attn_out", "mlp_out"]) -> Norm | None:
        """The norm that the residual stream itself goes through once ``behind`` is added; None but in BERT's kind."""
        path = self.family.stream_norms.get(behind)
        return None if path is None else self._norm(self._part(layer, path))

    def qk_norms(self, layer: int) -> tuple[Norm, Norm] | None:
        """The norms of queries and of keys before any rotation, where there are such (Qwen3, Gemma 3, OLMo 2).

        Their weights are [head, d_head], for keys too, or one row [1, d_head] that all heads share.
        """
        if self.family.qk_norms is None:
            return None
        query, key = (self._norm(self._part(layer, path)) for path in self.family.qk_norms)
        assert query is not None
        assert key is not None
        return self._of_heads(query), self._of_heads(key)

    def final_norm(self) -> Norm | None:
        """The norm between the last layer and the unembedding.

        One that changes nothing where a model has no norms; None in BERT, whose unembedding has layers of its own.
        """
        if self.family.norms_stream:
            return None
        module = self.final_norm_module()
        found = None if module is None else self._norm(module)
        if found is not None:
            return found
        weight = self._ones()
        return Norm(nn.Identity(), weight, torch.zeros_like(weight), centers=False, epsilon=0.0, divides=False)

    # -- sites

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites of this model that a `Tap` can sit on, drawn in `interpwidgets.models.taps`."""
        of_a_block = [site for site in ORDER if any(self.has(site, layer) for layer in range(self.n_layers))]
        results = [] if self.family.attention is None else ["result"]
        ends = {
            "embed": not self.family.cross,
            "final_norm": self.final_norm_module() is not None,
            "logits": self._makes_logits(),
        }
        return (*of_a_block, *results, *(end for end, there in ends.items() if there))

    def has(self, site: str, layer: int) -> bool:
        """Whether there is such a site in that layer: in some models layers differ (Switch has experts in some)."""
        row, block = self.family, self.blocks[layer]
        if site in ATTENTION_SITES or site == "result":
            return row.attention is not None
        if site in EXPERT_SITES:
            return row.router is not None and _there(block, row.router)
        if site in STATE_SITES:
            return row.states is not None
        return site in row.sites and _there(block, row.sites[site].path)

    def _makes_logits(self) -> bool:
        model: Any = self.model
        says = self.model is not self.model.base_model or model.get_output_embeddings() is not None
        return self.family.logits and says

    def _scales_output(self) -> bool:
        config: Any = self.model.config
        return self.family.scaled_output and bool(getattr(config, "scale_decoder_outputs", config.tie_word_embeddings))

    def expect_plain_logits(self) -> None:
        """Raise `MissingPartError` if the configuration names a number that the model scales its logits by (Granite,
        Cohere): then ``final_norm @ W_U`` is not what it says.
        """
        for name in ("logits_scaling", "logit_scale", "lm_head_multiplier"):
            scale = getattr(self.model.config, name, None)
            if scale is not None and scale != 1:
                raise MissingPartError(
                    f"{type(self.model).__name__} scales its logits ({name}={scale}), which a lens and W_U know "
                    "nothing of; read tap['logits'], which are the model's own."
                )

    # -- the way there

    def final_norm_module(self) -> nn.Module | None:
        return self._base_or_none(self.family.final_norm)

    def _base_or_none(self, path: str | None) -> nn.Module | None:
        """A module that some models of the family do without."""
        try:
            return None if path is None else self._base(path)
        except AttributeError:  # what get_submodule raises for None
            return None

    def _of_heads(self, norm: Norm) -> Norm:
        """``norm`` with its weight and bias laid out by heads."""
        weight, bias = (each.reshape(-1, self.d_head) for each in (norm.weight, norm.bias))
        shared = self.n_heads // len(weight) if len(weight) > 1 else 1  # OLMo 2 has one weight for each key
        return replace(norm, weight=weight.repeat_interleave(shared, 0), bias=bias.repeat_interleave(shared, 0))

    def _base(self, path: str) -> nn.Module:
        return self.root.get_submodule(path)

    def _part(self, layer: int, path: str) -> nn.Module:
        if not isinstance(layer, int) or not -self.n_layers <= layer < self.n_layers:
            raise MissingPartError(
                f"this model has {self.n_layers} layers, 0 to {self.n_layers - 1}; there is no layer {layer!r}."
            )
        return self.blocks[layer].get_submodule(path)

    def _expect_attention(self, name: str) -> None:
        if self.family.attention is None:
            raise MissingPartError(f"{type(self.model).__name__} has no attention, so it has no {name}.")

    def _mlp(self, layer: int, name: str) -> nn.Module:
        if self.family.router is not None and _there(self.blocks[layer], self.family.router):
            where = f"{type(self.model).__name__} has a mixture of experts in layer {layer}"
            raise MissingPartError(f"{where}, each with matrices of its own, so it has no {name} there.")
        if name not in self.family.mlp:
            lacks = f"no {name}: its MLP is not gated" if self.family.mlp else f"no MLP, so it has no {name}"
            raise MissingPartError(f"{type(self.model).__name__} has {lacks}.")
        return self._part(layer, self.family.mlp[name])

    def _unembed(self) -> nn.Module:
        model: Any = self.model
        unembed: nn.Module | None = model.get_output_embeddings()
        if self.part is not None and unembed is not None and not self.family.logits:
            raise MissingPartError(
                f"the part {self.part!r} of {type(self.model).__name__} says no tokens, so it has no unembedding."
            )
        if unembed is None:
            raise MissingPartError(
                f"{type(self.model).__name__} has no unembedding, so it cannot say tokens; load the model with its "
                "language head."
            )
        return unembed

    def _project(self, layer: int, kind: Literal["Q", "K", "V"]) -> tuple[Tensor, Tensor]:
        """The matrices [head, d_model, d_head] and biases [head, d_head] of one of the three projections."""
        self._expect_attention(f"W_{kind}")
        which = "QKV".index(kind)
        modules = [self._part(layer, path) for path in self.family.QKV]
        module = modules[which] if len(modules) == 3 else modules[0]
        weight, bias = _weight_in_out(module), _bias(module)
        if len(modules) == 1:
            weight, bias = self._apart(weight)[which], self._apart(bias)[which]
        n_heads = self.n_heads if kind == "Q" else self.n_kv_heads
        per_head = weight.reshape(len(weight), n_heads, self.d_head).transpose(0, 1)
        shared = self.n_heads // n_heads
        biases = bias.reshape(n_heads, self.d_head)
        return per_head.repeat_interleave(shared, 0), biases.repeat_interleave(shared, 0)

    def _apart(self, fused: Float[Tensor, "*lead qkv"]) -> list[Tensor]:
        """Queries, keys and values, [*lead, head * d_head] each, of a projection that makes all three."""
        if not self.family.by_group:
            sizes = [self.n_heads * self.d_head, *[self.n_kv_heads * self.d_head] * 2]
            return list(torch.split(fused, sizes, -1))
        queries = self.n_heads // self.n_kv_heads
        groups = fused.reshape(*fused.shape[:-1], self.n_kv_heads, queries + 2, self.d_head)
        return [part.flatten(-3) for part in torch.split(groups, [queries, 1, 1], -2)]

    def _reads(self, layer: int, name: Literal["W_in", "W_gate"]) -> tuple[Tensor, Tensor]:
        """The matrix and bias by which neurons or their gates read."""
        module = self._mlp(layer, name)
        return self.half(name, _weight_in_out(module)), self.half(name, _bias(module))

    def half(self, name: str, made: Float[Tensor, "*lead made"]) -> Float[Tensor, "*lead d_mlp"]:
        """What belongs to W_in, W_gate or W_out of ``made``, the last axis being what a module makes.

        One module makes the gates and, behind them, what they open in Phi-3; elsewhere this is ``made``.
        """
        if name == "W_out" or self.family.mlp.get("W_gate") != self.family.mlp["W_in"]:
            return made
        return made.chunk(2, -1)[0 if name == "W_gate" else 1]

    def _norm(self, module: nn.Module) -> Norm | None:
        if isinstance(module, nn.Identity):
            return None
        stored = getattr(module, "weight", None)
        weight = stored + self.family.norm_offset if isinstance(stored, Tensor) else self._ones()
        bias = getattr(module, "bias", None)
        return Norm(
            module=module,
            weight=weight,
            bias=bias if isinstance(bias, Tensor) else torch.zeros_like(weight),
            centers=isinstance(module, nn.LayerNorm) or (stored is None and _centers(module)),
            epsilon=_epsilon(module),
        )

    def _ones(self) -> Float[Tensor, " d_model"]:
        like = next(each for each in self.root.parameters() if each.is_floating_point())
        return like.new_ones(self.d_model)


def anatomy(model: Any, part: str | None = None) -> Anatomy:
    """Find the parts of ``model``, any Hugging Face model of a family in `families.FAMILIES`.

    ``part`` is needed for a model that is made of several: "encoder", "decoder" or "cross" (the attention of the
    decoder to what the encoder read) in T5, Switch and BART, "text" or "vision" in CLIP.

    Raises `UnknownModelError` for anything else, saying what it is and what would help.
    """
    part, root, family = _row(model, part)
    family = family if family.elsewhere is None or _there(root, family.blocks) else family.elsewhere
    if not _there(root, family.blocks):
        raise UnknownModelError(
            f"the row of {model.config.model_type!r} in interpwidgets/models/families.py looks for the layers of "
            f"{type(model).__name__} at {family.blocks!r}, where transformers {transformers.__version__} has none."
        )
    blocks = list(root.get_submodule(family.blocks))
    if not blocks:
        raise UnknownModelError(
            f"{model.name_or_path or type(model).__name__} has no layers, so it has no attention to look at: each "
            "prediction comes from the last token alone."
        )
    _check_modules(model, root, blocks, family)
    attentions = [] if family.attention is None else [block.get_submodule(family.attention) for block in blocks]
    n_heads = _n_heads(root.config, part) if attentions else 0
    d_inner, d_model = _sizes(blocks[0].get_submodule(family.W_O))
    d_head = d_inner // n_heads if n_heads else 0
    longest = len(_positions(root, family.positions)) if family.positions else None
    causal = family.causal
    return Anatomy(
        model=model,
        part=part,
        root=root,
        family=family,
        blocks=blocks,
        attentions=attentions,
        n_layers=len(blocks),
        n_heads=n_heads,
        n_kv_heads=_n_kv_heads(blocks[0], family, n_heads, d_head) if n_heads else 0,
        d_model=d_model,
        d_head=d_head,
        causal=bool(getattr(attentions[0], "is_causal", True)) if causal is None else causal,  # Bloom does not say so
        max_context=longest or getattr(root.config, "max_position_embeddings", None),
    )


def _check_modules(model: Any, root: nn.Module, blocks: list[nn.Module], family: Family) -> None:
    """Raise `UnknownModelError` for a row that names modules which this model does not have."""
    paths = {family.attention, family.W_O, *family.QKV, *family.norms.values(), *family.stream_norms.values()}
    paths |= {*(family.qk_norms or ())} | ({f"{family.states}.x_proj"} if family.states else set())
    away = [path for path in (family.embed, family.positions) if path and not _there(root, path)]
    away += sorted(path for path in paths if path and not all(_there(block, path) for block in blocks))
    if away:
        raise UnknownModelError(
            f"the row of {model.config.model_type!r} in interpwidgets/models/families.py does not describe this "
            f"{type(model).__name__}: it looks for {', '.join(map(repr, away))}, which is not there."
        )


def _n_heads(config: Any, part: str | None) -> int:
    """Some encoder-decoders (BART) count the heads of either side."""
    own = getattr(config, "decoder_attention_heads", None) if part in ("decoder", "cross") else None
    n_heads: int = own or config.num_attention_heads
    return n_heads


def _n_kv_heads(block: nn.Module, family: Family, n_heads: int, d_head: int) -> int:
    """How many keys there are, by the width of what makes them: configurations name this number in many ways."""
    widths = [_sizes(block.get_submodule(path))[1] // d_head for path in family.QKV]
    return widths[1] if len(widths) == 3 else (widths[0] - n_heads) // 2


def _there(block: nn.Module, path: str) -> bool:
    """Whether a block has a module of that name."""
    module: Any = block
    for name in path.split(".") if path else ():
        module = getattr(module, name, None)
    return module is not None


def _positions(root: nn.Module, path: str) -> Float[Tensor, "position d_model"]:
    """The vectors of positions that are looked up: some tables begin with rows for padding, and ViT's is a batch."""
    parent, _, name = path.rpartition(".")
    table: Any = getattr(root.get_submodule(parent), name)
    if isinstance(table, Tensor):
        return table.squeeze(0)
    padding = getattr(table, "padding_idx", None)
    rows: Any = getattr(table, "weight", getattr(table, "weights", None))  # those that are computed are called so
    if not isinstance(rows, Tensor):
        raise MissingPartError(f"the positions of this model, {_a(type(table).__name__)}, are in no table to be read.")
    return rows[getattr(table, "offset", 0 if padding is None else padding + 1) :]


def eager_attention_of(attention: nn.Module) -> Callable[..., tuple[Tensor, Tensor]] | None:
    """The family's own plain attention, (module, q, k, v, mask, ...) -> (z, pattern): it stands beside the class.

    None where a family has none, because it does not call attention through the library's registry.
    """
    attend: Callable[..., tuple[Tensor, Tensor]] | None = getattr(
        modules[type(attention).__module__], "eager_attention_forward", None
    )
    return attend


def _row(model: Any, part: str | None) -> tuple[str | None, Any, Family]:
    """The part of ``model`` that is meant, where its modules are, and the row that describes them."""
    if not isinstance(model, PreTrainedModel):
        raise UnknownModelError(
            f"expected a Hugging Face transformer, such as load('gpt2') returns, but got {_a(type(model).__name__)}"
            f"{_within(model)}."
        )
    base, name = model.base_model, type(model).__name__
    config: Any = model.config
    there = {each: row for each, row in PARTS.get(config.model_type, {}).items() if _there(base, row[0])}
    if config.model_type not in PARTS:
        family = _family(model)
        if part is not None:
            raise UnknownModelError(f"{name} is not made of parts, so there is no part {part!r}; leave it away.")
        return None, base, family
    if not there:
        raise UnknownModelError(f"{name} is a piece of a larger model: open that one, with part=....")
    part = next(iter(there)) if part is None and len(there) == 1 else part
    if part not in there:
        came = f"; there is no part {part!r}" if part else ", one of which has to be named"
        names = " or ".join(f"part={each!r}" for each in there)
        pieces: dict[str, Any] = {path: base.get_submodule(path) for path, _ in there.values()}
        models = {path: piece.config.model_type for path, piece in pieces.items() if isinstance(piece, PreTrainedModel)}
        alone = [f"model.{path}" for path, row in there.values() if models.get(path) == row]
        hint = f"; or take {' or '.join(alone)} by itself" if alone else ""
        raise UnknownModelError(
            f"{name} is made of parts{came}: Tap(model, ..., {names}){hint}; functions that take no part, such as the "
            "lenses, do not read such models."
        )
    path, row = there[part]
    root: Any = base.get_submodule(path)
    found = row_of(root.config, row)
    assert found is not None
    return part, root, found


def _family(model: Any) -> Family:
    config: Any = model.config
    row = row_of(config)
    if row is not None:
        return row
    name = type(model).__name__
    if config.model_type in FAMILIES:
        odd = next(values for values, variant in FAMILIES[config.model_type].variants if variant is None)
        setting = ", ".join(f"{key}={value}" for key, value in odd.items())
        raise UnknownModelError(f"{name} with {setting} computes something that the sites cannot describe.")
    tower = _tower(model)
    if tower is not None:
        raise UnknownModelError(
            f"{name} ({config.model_type}) reads more than text; take its text tower by itself, which opens: {tower}."
        )
    alike = suggest(model)
    if not getattr(config, "num_attention_heads", None) and not alike:
        raise UnknownModelError(f"{name} ({config.model_type}) has no attention heads to look at.")
    hint = (
        f"its modules are named as those of {alike[0]!r}, so FAMILIES[{config.model_type!r}] = FAMILIES[{alike[0]!r}] "
        "may be all it needs, and identities() of interpwidgets.models.identities tells"
        if alike
        else "suggest(model) finds no row like it: print the model, find its parts and add the row"
    )
    raise UnknownModelError(
        f"{name} belongs to the family {config.model_type!r}, which has no row in interpwidgets/models/families.py "
        f"yet; {hint}; docs/families.md shows how; the families there are {', '.join(FAMILIES)}."
    )


def _tower(model: Any) -> str | None:
    """Where a model of texts and images keeps one of texts that has a row."""
    for path in ("model.language_model", "language_model", "model.text_model", "text_model"):
        tower: Any = model.get_submodule(path) if _there(model, path) else None
        if isinstance(tower, PreTrainedModel) and row_of(tower.config) is not None:
            return f"model.{path}"
    return None


def _within(wrapper: Any) -> str:
    """The way to the transformer that something is wrapped around, as far as it is known."""
    for path in ("module", "_orig_mod"):
        if isinstance(getattr(wrapper, path, None), PreTrainedModel):
            return f"; the transformer in it is model.{path}"
    inside = getattr(wrapper, "get_base_model", None)
    return "; the transformer in it is model.get_base_model()" if callable(inside) else ""


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _epsilon(module: nn.Module) -> float:
    """What a norm adds to the square; OLMo's does not say, but shows it where it divides very small numbers."""
    said = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if isinstance(said, float):
        return said
    if next(module.parameters(), None) is not None:
        raise MissingPartError(f"{type(module).__name__} names no epsilon, so it cannot be read as a norm.")
    small = 1e-3 * torch.tensor([1.0, -1.0]).repeat(_width(module) // 2)
    with torch.no_grad():
        return float((small[0] / module(small)[0]) ** 2 - small[0] ** 2)


def _centers(module: nn.Module) -> bool:
    """Whether a norm without weights takes the mean away, told by what it makes of nothing but a mean."""
    with torch.no_grad():
        return bool(module(torch.ones(_width(module))).abs().max() < 0.5)


def _width(module: Any) -> int:
    shape = getattr(module, "normalized_shape", (2,))  # one without a width takes any
    return int(shape[-1])


def _weight_in_out(layer: nn.Module) -> Float[Tensor, "inputs outputs"]:
    """The matrix that is multiplied from the right: GPT-2's Conv1D stores it so, nn.Linear stores its transpose.

    Whatever else has a weight may do something else with it, as an adapter does, so it is refused.
    """
    weight = _tensor(layer, "weight")
    if isinstance(layer, nn.Linear) and _forward_is_known(layer):
        return weight.T
    if isinstance(layer, Conv1D | nn.Embedding):
        return weight
    name = type(layer).__name__
    raise MissingPartError(
        f"a projection of this model is {_a(name)}, whose weight may not be all that it multiplies by; merge it into a "
        "plain nn.Linear first (merge_and_unload() in PEFT), or use taps other than 'result', which do not need it."
    )


def _forward_is_known(layer: nn.Linear) -> bool:
    """Whether PyTorch or transformers (Falcon has a class of its own) wrote what this layer computes."""
    written = type(layer).forward.__module__.partition(".")[0]
    return written in ("torch", "transformers", "interpwidgets")


def _sizes(layer: Any) -> tuple[int, int]:
    """How many numbers a projection reads and makes; Conv1D calls them nx and nf, an adapter may say nothing."""
    if hasattr(layer, "nf"):
        return layer.nx, layer.nf
    return _sizes(layer.base_layer) if not hasattr(layer, "in_features") else (layer.in_features, layer.out_features)


def _bias(layer: nn.Module) -> Float[Tensor, " outputs"]:
    bias = getattr(layer, "bias", None)
    return bias if isinstance(bias, Tensor) else torch.zeros_like(_weight_in_out(layer)[0])


def _tensor(layer: nn.Module, name: str) -> Tensor:
    value = getattr(layer, name, None)
    if isinstance(value, Tensor) and value.is_floating_point() and not value.is_meta:
        stored = sorted(_sizes(layer)) if hasattr(layer, "nf") or hasattr(layer, "in_features") else None
        if stored is None or sorted(value.shape) == stored:
            return value
    raise MissingPartError(
        f"the weight of {type(layer).__name__} is quantised or not here (meta device), so it cannot be read as a "
        "matrix; load the model in float32 or bfloat16 on one device, or use taps, which do not need it."
    )
