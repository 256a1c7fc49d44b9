"""How much of a logit each head wrote: direct logit attribution.

    from interpwidgets.models.anatomy import anatomy
    from interpwidgets.methods.attribution import head_logit_attribution, logit_direction

    direction = logit_direction(model.unembed.weight, model.model.norm.weight, targets)     # [batch, query, d_model]
    head_logit_attribution(tap["z", 1], anatomy(model).W_O(1), direction, scale)            # [batch, query, head]

The residual stream is a sum, so a logit is a sum of what every head, every bias and the embedding put into it - but for
the last norm, which divides by a number that depends on all of them. That number is *frozen*: taken from the run as it
was, the same for every part. The parts then add up to the logit exactly.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


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

    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits": heads are additive, direct paths
    to the logits; Wang et al. 2022, "Interpretability in the Wild", section 3: with the norm frozen.
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
