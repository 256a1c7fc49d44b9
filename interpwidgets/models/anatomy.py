"""What a Hugging Face model is made of, in the words of this library.

    from interpwidgets.models.anatomy import anatomy

    parts = anatomy(model)
    parts.n_layers, parts.n_heads, parts.n_kv_heads, parts.causal
    parts.W_Q(3), parts.W_O(3)  # [head, d_model, d_head] and [head, d_head, d_model]
    parts.heads(z, layer=3)     # what each head adds to the residual stream

Matrices are the model's own numbers, laid out so that they are multiplied from the right, ``x @ W``, whatever the
library stores; x is what enters the layer, after its norm. They are views where that is possible: do not write to them.

`families.py` says where an architecture keeps its parts; this module goes there and looks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from sys import modules
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from interpwidgets._errors import Told
from interpwidgets.models.families import FAMILIES, Family


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
    family: Family
    blocks: list[nn.Module]
    attentions: list[nn.Module]  # one per block: the module that calls the attention function
    n_layers: int
    n_heads: int
    n_kv_heads: int  # smaller than n_heads where several heads share keys and values (grouped queries)
    d_model: int
    d_head: int
    causal: bool  # True where a position sees only itself and what came before
    max_context: int | None  # the longest input in tokens; None where there is no limit

    # -- what the residual stream begins and ends with

    def W_E(self) -> Float[Tensor, "vocab d_model"]:
        """What each token puts into the residual stream before the first layer (Gemma's scale included).

        In BERT token types and a norm follow.
        """
        embed: Any = self._base(self.family.embed)
        weight: Tensor = embed.weight * getattr(embed, "scalar_embed_scale", 1.0)
        return weight

    def W_pos(self) -> Float[Tensor, "position d_model"] | None:
        """What each position puts into it; None where positions act within attention (RoPE)."""
        return None if self.family.positions is None else _tensor(self._base(self.family.positions), "weight")

    def W_U(self) -> Float[Tensor, "d_model vocab"]:
        """The unembedding: one column for each token. Raises `MissingPartError` for a model without one."""
        return _weight_in_out(self._unembed())

    def b_U(self) -> Float[Tensor, " vocab"]:
        """The bias of the unembedding; zeros where the family has none."""
        return _bias(self._unembed())

    # -- attention, one matrix for each head; heads that share keys and values have equal ones

    def W_Q(self, layer: int) -> Float[Tensor, "head d_model d_head"]:
        """How each head makes queries from what it reads: ``q = x @ W_Q[h] + b_Q[h]``, before any rotation."""
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
        weight = _weight_in_out(self._part(layer, self.family.W_O))
        return weight.reshape(self.n_heads, self.d_head, -1)

    def b_O(self, layer: int) -> Float[Tensor, " d_model"]:
        """The bias of the attention projection, which belongs to no head; zeros where the family has none."""
        return _bias(self._part(layer, self.family.W_O))

    def heads(
        self, z: Float[Tensor, "batch query head d_head"], layer: int
    ) -> Float[Tensor, "batch query head d_model"]:
        """What each head writes, given ``z`` of that layer. The sum over heads plus `b_O` is the projection's output.

        In Gemma 2 a norm follows the projection, so these are the heads before that norm.
        Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", attention heads are independent
        and additive.
        """
        return torch.einsum("bqhe,hed->bqhd", z, self.W_O(layer))

    # -- the MLP

    @property
    def gated(self) -> bool:
        """True where one branch of the MLP is multiplied by another: ``(act(x @ W_gate) * (x @ W_in)) @ W_out``."""
        return "W_gate" in self.family.mlp

    def W_in(self, layer: int) -> Float[Tensor, "d_model d_mlp"]:
        """How the neurons read; in a gated MLP the branch without activation."""
        return _weight_in_out(self._mlp(layer, "W_in"))

    def W_gate(self, layer: int) -> Float[Tensor, "d_model d_mlp"]:
        """How the gates of the neurons read."""
        return _weight_in_out(self._mlp(layer, "W_gate"))

    def W_out(self, layer: int) -> Float[Tensor, "d_mlp d_model"]:
        """How the neurons write. In Gemma 2 a norm follows."""
        return _weight_in_out(self._mlp(layer, "W_out"))

    def b_in(self, layer: int) -> Float[Tensor, " d_mlp"]:
        """What is added to ``x @ W_in``; zeros where the family has no such bias."""
        return _bias(self._mlp(layer, "W_in"))

    def b_gate(self, layer: int) -> Float[Tensor, " d_mlp"]:
        """What is added to ``x @ W_gate``."""
        return _bias(self._mlp(layer, "W_gate"))

    def b_out(self, layer: int) -> Float[Tensor, " d_model"]:
        """What the MLP adds whatever its neurons do."""
        return _bias(self._mlp(layer, "W_out"))

    # -- norms

    def norm(self, layer: int, before: Literal["attention", "mlp"]) -> Norm | None:
        """The norm through which ``"attention"`` or the ``"mlp"`` reads the residual stream; None where it has none."""
        path = self.family.norms.get(before)
        return None if path is None else self._norm(self._part(layer, path))

    def norm_after(self, layer: int, site: Literal["attn_out", "mlp_out"]) -> Norm | None:
        """The norm between a half of a layer and the residual stream, where there is one (Gemma 2)."""
        last, module = self.final_norm(), self._part(layer, self.family.sites[site].path)
        return self._norm(module) if last is not None and isinstance(module, type(last.module)) else None

    def final_norm(self) -> Norm | None:
        """The norm between the last layer and the unembedding.

        One that changes nothing where a model has no norms; None in BERT, whose unembedding has layers of its own.
        """
        if self.family.norms_stream:
            return None
        path = self.family.final_norm
        found = None if path is None else self._norm(self._base(path))
        if found is not None:
            return found
        weight = torch.ones_like(self.W_O(0)[0, 0])
        return Norm(nn.Identity(), weight, torch.zeros_like(weight), centers=False, epsilon=0.0, divides=False)

    # -- the way there

    def _base(self, path: str) -> nn.Module:
        base: Any = self.model.base_model
        module: nn.Module = base.get_submodule(path)
        return module

    def _part(self, layer: int, path: str) -> nn.Module:
        if not isinstance(layer, int) or not -self.n_layers <= layer < self.n_layers:
            raise MissingPartError(
                f"this model has {self.n_layers} layers, 0 to {self.n_layers - 1}; there is no layer {layer!r}."
            )
        return self.blocks[layer].get_submodule(path)

    def _mlp(self, layer: int, name: str) -> nn.Module:
        if name not in self.family.mlp:
            lacks = f"no {name}: its MLP is not gated" if self.family.mlp else f"no MLP, so it has no {name}"
            raise MissingPartError(f"{type(self.model).__name__} has {lacks}.")
        return self._part(layer, self.family.mlp[name])

    def _unembed(self) -> nn.Module:
        model: Any = self.model
        unembed: nn.Module | None = model.get_output_embeddings()
        if unembed is None:
            raise MissingPartError(
                f"{type(self.model).__name__} has no unembedding, so it cannot say tokens; load the model with its "
                "language head."
            )
        return unembed

    def _project(self, layer: int, kind: Literal["Q", "K", "V"]) -> tuple[Tensor, Tensor]:
        """The matrices [head, d_model, d_head] and biases [head, d_head] of one of the three projections."""
        which = "QKV".index(kind)
        modules = [self._part(layer, path) for path in self.family.QKV]
        module = modules[which] if len(modules) == 3 else modules[0]
        weight, bias = _weight_in_out(module), _bias(module)
        if len(modules) == 1:
            weight, bias = weight.chunk(3, -1)[which], bias.chunk(3, -1)[which]
        n_heads = self.n_heads if kind == "Q" else self.n_kv_heads
        per_head = weight.reshape(len(weight), n_heads, self.d_head).transpose(0, 1)
        shared = self.n_heads // n_heads
        biases = bias.reshape(n_heads, self.d_head)
        return per_head.repeat_interleave(shared, 0), biases.repeat_interleave(shared, 0)

    def _norm(self, module: nn.Module) -> Norm | None:
        if isinstance(module, nn.Identity):
            return None
        weight = _tensor(module, "weight") + self.family.norm_offset
        centers = isinstance(module, nn.LayerNorm)
        epsilon = getattr(module, "variance_epsilon", getattr(module, "eps", None))
        assert isinstance(epsilon, float)
        bias = getattr(module, "bias", None)
        return Norm(module, weight, bias if isinstance(bias, Tensor) else torch.zeros_like(weight), centers, epsilon)


def anatomy(model: Any) -> Anatomy:
    """Find the parts of ``model``, any Hugging Face model of a family in `families.FAMILIES`.

    Raises `UnknownModelError` for anything else, saying what it is and what would help.
    """
    family = _family(model)
    base: Any = model.base_model
    blocks = list(base.get_submodule(family.blocks))
    if not blocks:
        raise UnknownModelError(
            f"{model.name_or_path or type(model).__name__} has no layers, so it has no attention to look at: each "
            "prediction comes from the last token alone."
        )
    attentions = [block.get_submodule(family.attention) for block in blocks]
    n_heads = base.config.num_attention_heads
    d_inner, d_model = _weight_in_out(blocks[0].get_submodule(family.W_O)).shape
    return Anatomy(
        model=model,
        family=family,
        blocks=blocks,
        attentions=attentions,
        n_layers=len(blocks),
        n_heads=n_heads,
        n_kv_heads=getattr(base.config, "num_key_value_heads", None) or n_heads,
        d_model=d_model,
        d_head=d_inner // n_heads,
        causal=bool(getattr(attentions[0], "is_causal", False)),
        max_context=getattr(base.config, "max_position_embeddings", None),
    )


def eager_attention_of(attention: nn.Module) -> Callable[..., tuple[Tensor, Tensor]]:
    """The family's own plain attention, (module, q, k, v, mask, ...) -> (z, pattern): it stands beside the class."""
    attend: Callable[..., tuple[Tensor, Tensor]] = modules[type(attention).__module__].eager_attention_forward
    return attend


def _family(model: Any) -> Family:
    if not isinstance(model, PreTrainedModel):
        raise UnknownModelError(
            f"expected a Hugging Face transformer, such as load('gpt2') returns, but got {_a(type(model).__name__)}."
        )
    config: Any = model.config
    if config.model_type in FAMILIES:
        return FAMILIES[config.model_type]
    if not getattr(config, "num_attention_heads", None):
        raise UnknownModelError(f"{type(model).__name__} ({config.model_type}) has no attention heads to look at.")
    raise UnknownModelError(
        f"{type(model).__name__} belongs to the family {config.model_type!r}, which has no row in "
        f"interpwidgets/models/families.py yet; the families there are {', '.join(FAMILIES)}."
    )


def _a(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


def _weight_in_out(layer: nn.Module) -> Float[Tensor, "inputs outputs"]:
    """The matrix that is multiplied from the right: GPT-2's Conv1D stores it so, nn.Linear stores its transpose."""
    weight = _tensor(layer, "weight")
    return weight.T if isinstance(layer, nn.Linear) else weight


def _bias(layer: nn.Module) -> Float[Tensor, " outputs"]:
    bias = getattr(layer, "bias", None)
    return bias if isinstance(bias, Tensor) else torch.zeros_like(_weight_in_out(layer)[0])


def _tensor(layer: nn.Module, name: str) -> Tensor:
    value = getattr(layer, name)
    assert isinstance(value, Tensor)
    return value
