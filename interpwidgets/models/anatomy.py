"""What a Hugging Face model is made of, in the words of this library.

    from interpwidgets.models.anatomy import anatomy

    parts = anatomy(model)
    parts.n_layers, parts.n_heads, parts.n_kv_heads, parts.causal
    parts.heads(z, layer=3)     # what each head adds to the residual stream

`families.py` says where an architecture keeps its parts; this module goes there and looks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from sys import modules
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

from interpwidgets._errors import Told
from interpwidgets.models.families import FAMILIES, Family


class UnknownModelError(Told, TypeError):
    """This is not a model whose insides can be reached; the message says why."""


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

    def W_O(self, layer: int) -> Float[Tensor, "head d_head d_model"]:
        """How each head writes: head h adds ``z[..., h, :] @ W_O[h]`` to what leaves the attention projection."""
        weight = _weight_in_out(self.blocks[layer].get_submodule(self.family.W_O))
        return weight.reshape(self.n_heads, self.d_head, -1)

    def b_O(self, layer: int) -> Float[Tensor, " d_model"]:
        """The bias of the attention projection, which belongs to no head; zeros where the family has none."""
        projection = self.blocks[layer].get_submodule(self.family.W_O)
        bias = getattr(projection, "bias", None)
        return bias if isinstance(bias, Tensor) else torch.zeros_like(self.W_O(layer)[0, 0])

    def heads(
        self, z: Float[Tensor, "batch query head d_head"], layer: int
    ) -> Float[Tensor, "batch query head d_model"]:
        """What each head writes, given ``z`` of that layer. The sum over heads plus `b_O` is the projection's output.

        In Gemma 2 a norm follows the projection, so these are the heads before that norm.
        Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits", attention heads are independent
        and additive.
        """
        return torch.einsum("bqhe,hed->bqhd", z, self.W_O(layer))


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
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.T if isinstance(layer, nn.Linear) else weight
