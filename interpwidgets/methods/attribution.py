"""How much of a logit each part of a model wrote: direct logit attribution.

    from interpwidgets.methods.attribution import logit_attribution

    result = logit_attribution(model, tokens, right=mary, wrong=john)   # by how much Mary leads
    result["embed"], result["attn_out", 1], result["mlp_out", 0]        # each [batch, position]
    result.heads[..., -1, :]        # [layer, batch, head]: at the last position
    result.accumulated[:, 0, -1]    # before layer 0, after layer 0, after layer 1, ... and in the end
    result.total                    # the difference of the two logits itself: the sum of all parts

The residual stream is a sum, so a logit is a sum of what every part put into it - but for the last norm, which divides
by a number that depends on all of them. That number is *frozen*: taken from the run as it was, the same for every part.
What remains of the norm is linear, and the parts add up to the logit exactly::

    embed ─┐
    positions ─(+)─> attn_out 0 ─(+)─> mlp_out 0 ─(+)─> ... ─> [ - mean ] ─> [ / frozen scale ] ─> · weight ─> · W_U
                         └─ heads and the bias b_O                                                + bias   + b_U

In Gemma 2 a norm follows the heads as well; its scale is frozen in the same way. The tanh by which Gemma 2 bounds its
logits comes last and is left out: the parts add up to what enters it.

Direct means direct. A head that only informs later heads has a share of nothing here, and a part can look large because
it undoes another; what would happen without a part is for `interpwidgets.methods.ablation` to say.

The two small functions at the end do the arithmetic for one layer, on tensors.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets.methods.metrics import Token
from interpwidgets.methods.runs import expect_runnable
from interpwidgets.models.anatomy import Anatomy, anatomy
from interpwidgets.models.taps import Tap, Where


@dataclass(frozen=True, eq=False)
class Attribution:
    """What each part of a model adds along a direction, in units of the logits.

    ``result[part]`` is one part. ``parts``, in the order of the computation: "embed", "positions" (where the family has
    such vectors), ("attn_out", layer), ("mlp_out", layer) and "bias", which is what the last norm and the unembedding
    add whatever they read. ``heads`` and ``head_bias`` (the bias of the attention projection, which belongs to no head)
    make up the parts "attn_out". ``accumulated`` begins before layer 0 and has one entry after each layer: the sum of
    all that was written by then, and "bias".
    """

    parts: dict[Where, Float[Tensor, "batch position"]]
    heads: Float[Tensor, "layer batch position head"]
    head_bias: Float[Tensor, "layer batch position"]
    accumulated: Float[Tensor, "stage batch position"]

    @property
    def total(self) -> Float[Tensor, "batch position"]:
        """The sum of all parts: the logit, the difference of logits or the reading of the direction."""
        return self.accumulated[-1]

    def __getitem__(self, part: Where) -> Float[Tensor, "batch position"]:
        if part not in self.parts:
            named = {str(name): name for name in self.parts}
            near = get_close_matches(str(part), named, n=1)
            known = f"did you mean {named[near[0]]!r}?" if near else f"parts are {', '.join(named)}."
            raise ValueError(f"there is no part {part!r}; {known}")
        return self.parts[part]


def logit_attribution(
    model: Any, tokens: Int[Tensor, "batch position"], right: Token, wrong: Token | None = None
) -> Attribution:
    """What each part of ``model`` adds to the logit of ``right``, or to its lead over that of ``wrong``.

    Arguments:
        model: a Hugging Face language model with a norm before its unembedding (GPT-2, Llama, Gemma 2, attention-only),
            in evaluation mode.
        tokens: ids of texts of one length, without padding.
        right, wrong: one token id for all, or a tensor of ids, [batch, position] or [batch, 1].

    Raises `ValueError` for a model in training mode, without unembedding or with norms after its sums (BERT), and for
    ids that are not in the vocabulary or of another shape.

    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits": the residual stream is a sum, with
    direct paths to the logits; Wang et al. 2022, "Interpretability in the Wild": heads by their direct effect on a
    difference of logits.
    """
    parts = anatomy(model)
    expect_runnable(parts, tokens)
    unembed, bias = parts.W_U().T, parts.b_U()
    ids = [_ids(token, tokens, len(unembed)) for token in (right, wrong) if token is not None]
    direction, constant = unembed[ids[0]], bias[ids[0]]
    if len(ids) == 2:
        direction, constant = direction - unembed[ids[1]], constant - bias[ids[1]]
    return _attribution(parts, tokens, direction, constant)


def direction_attribution(
    model: Any, tokens: Int[Tensor, "batch position"], direction: Float[Tensor, "*#batch d_model"]
) -> Attribution:
    """What each part of ``model`` adds along any ``direction`` read behind the last norm, say that of a probe.

    ``direction``: [d_model], [batch, 1, d_model] or [batch, position, d_model], compared with what leaves the last norm
    by a dot product. ``W_U[:, token]`` gives `logit_attribution`, but for the bias of the unembedding. The other
    arguments, results and errors are as there.
    """
    parts = anatomy(model)
    expect_runnable(parts, tokens)
    batch, position = tokens.shape
    known = [[parts.d_model], *([rows, columns, parts.d_model] for rows in (1, batch) for columns in (1, position))]
    if list(direction.shape) not in known:
        raise ValueError(
            f"a direction for these texts is of shape {known[0]} or {known[-1]}; this one is {list(direction.shape)}."
        )
    each = direction if direction.ndim == 3 else direction[None, None]
    return _attribution(parts, tokens, each, direction.new_zeros(()))


@torch.no_grad()
def _attribution(
    parts: Anatomy,
    tokens: Int[Tensor, "batch position"],
    direction: Float[Tensor, "#batch #position d_model"],
    constant: Float[Tensor, "*#batch"],
) -> Attribution:
    norm, n_layers = parts.final_norm(), parts.n_layers
    if norm is None:
        raise ValueError(
            f"{type(parts.model).__name__} normalises the residual stream after each sum, so that it is no sum of what "
            "the layers write; attribution is for models with a norm before each layer."
        )
    writes = [site for site in ("attn_out", "mlp_out") if site in parts.family.sites]
    with Tap(parts.model, ["z", *writes, ("resid_pre", 0), ("resid_post", n_layers - 1)]) as tap:
        parts.model(tokens)
    scale = norm.scale(tap["resid_post", n_layers - 1])
    along = norm.center(direction * norm.weight)

    def share(written: Float[Tensor, "batch position d_model"]) -> Float[Tensor, "batch position"]:
        return torch.einsum("bpd,bpd->bp", written, along) / scale

    found: dict[Where, Tensor] = {name: share(vector) for name, vector in _start(parts, tokens, tap)}
    found.update({(site, layer): share(tap[site, layer]) for layer in range(n_layers) for site in writes})
    found["bias"] = ((direction @ norm.bias) + constant).expand(tokens.shape)
    heads = [_heads(parts, tap, layer, along, scale) for layer in range(n_layers)]
    stages = [sum(share for part, share in found.items() if isinstance(part, str))]
    stages += [sum(found[site, layer] for site in writes) for layer in range(n_layers)]
    by_head, by_bias = (torch.stack(each) for each in zip(*heads, strict=True))
    return Attribution(found, by_head, by_bias, torch.stack([torch.as_tensor(each) for each in stages]).cumsum(0))


def _start(parts: Anatomy, tokens: Int[Tensor, "batch position"], tap: Tap) -> Iterator[tuple[str, Tensor]]:
    """What the residual stream begins with, apart: tokens, and positions where the family has vectors for them."""
    start, W_pos = tap["resid_pre", 0], parts.W_pos()
    if W_pos is None:
        yield "embed", start
    else:
        positions = W_pos[: tokens.shape[1]].expand_as(start)
        yield "embed", start - positions
        yield "positions", positions


def _heads(
    parts: Anatomy,
    tap: Tap,
    layer: int,
    along: Float[Tensor, "#batch #position d_model"],
    scale: Float[Tensor, "batch position"],
) -> tuple[Float[Tensor, "batch position head"], Float[Tensor, "batch position"]]:
    """The shares of the heads of a layer, and that of the bias of its attention projection."""
    z, W_O, b_O = tap["z", layer], parts.W_O(layer), parts.b_O(layer)
    after = parts.norm_after(layer, "attn_out")
    if after is not None:
        projected = torch.einsum("bqhe,hed->bqd", z, W_O) + b_O
        along, scale = after.center(along * after.weight), scale * after.scale(projected)
    read = torch.einsum("bqd,hed->bqhe", along, W_O)  # the direction, as each head's z sees it
    return (z * read).sum(-1) / scale[..., None], (along @ b_O) / scale


def _ids(token: Token, tokens: Int[Tensor, "batch position"], vocab: int) -> Int[Tensor, "#batch #position"]:
    ids = torch.as_tensor(token, device=tokens.device)
    batch, position = tokens.shape
    if ids.is_floating_point() or list(ids.shape) not in ([], [batch, 1], [batch, position]):
        raise ValueError(
            f"the tokens to attribute to have to be one id, or ids of shape {[batch, position]} or {[batch, 1]}; these "
            f"are {ids.dtype} of shape {list(ids.shape)}."
        )
    outside = ids[(ids < 0) | (ids >= vocab)]
    if outside.numel():
        raise ValueError(f"token ids are 0 to {vocab - 1}; there is no token {int(outside.flatten()[0])}.")
    return ids if ids.ndim else ids[None, None]


# -- one layer, on tensors


def head_logit_attribution(
    z: Float[Tensor, "batch query head d_head"],
    W_O: Float[Tensor, "head d_head d_model"],
    direction: Float[Tensor, "batch query d_model"],
    scale: Float[Tensor, "batch query"],
) -> Float[Tensor, "batch query head"]:
    """What each head of one layer adds, at every query, along ``direction``, after division by the frozen ``scale``.

    ``W_O``: how the heads write (`interpwidgets.models.anatomy.Anatomy.W_O`). ``direction``: a logit as a direction of
    the residual stream (`logit_direction`). ``scale``: what the last norm divides by, the standard deviation of the
    residual stream for a LayerNorm (with its epsilon).

    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits": heads are additive, with direct
    paths to the logits; Wang et al. 2022, "Interpretability in the Wild": with the norm frozen.
    """
    written = torch.einsum("bqhe,hed->bqhd", z, W_O)
    along = torch.einsum("bqhd,bqd->bqh", written, direction)
    return along / scale[:, :, None]


def logit_direction(
    unembed: Float[Tensor, "vocab d_model"],
    norm_weight: Float[Tensor, " d_model"],
    targets: Int[Tensor, "batch query"],
) -> Float[Tensor, "batch query d_model"]:
    """The direction in which the residual stream raises the logit of a target above the mean logit of the vocabulary.

    The last LayerNorm multiplies by ``norm_weight`` and takes the mean away; both are linear and are folded in here.
    """
    rows = (unembed[targets] - unembed.mean(0)) * norm_weight
    return rows - rows.mean(-1, keepdim=True)
