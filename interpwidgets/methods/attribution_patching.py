"""All patches at once, roughly: attribution patching.

    from functools import partial
    from interpwidgets.methods.attribution_patching import attribution_patch
    from interpwidgets.methods.metrics import logit_difference

    metric = partial(logit_difference, right=mary, wrong=john)
    effects = attribution_patch(model, clean, corrupt, metric, ["resid_pre", "attn_out", "mlp_out", "z"])

    effects["resid_pre"]        # [layer, batch, position]
    effects["z"].sum(2)         # [layer, batch, head]: one head, at all positions

`interpwidgets.methods.patching.patch_sweep` runs the model once for each place. Here it is run twice, and once back: a
patch moves what stands at a place from its corrupt to its clean value, and the gradient of the corrupt run says how
fast the metric rises on the way::

    metric(corrupt, patched) - metric(corrupt)  ~  (clean - corrupt) · gradient of the metric on corrupt

Every number is a *change* of the metric, to be added to that of the corrupt run where `patch_sweep` gives the metric
itself. That is *denoising*: what would bring the answer back. *Noising* is the same call with the texts exchanged,
``attribution_patch(model, corrupt, clean, metric)``: what would break it, by the gradients of the clean run. The two
differ for the reasons given in `patching`, and because gradients are taken at different ends.

The guess is as good as the model is straight between the two values, and exact in the limit of small differences. It is
worst for ``resid_pre``, where a patch exchanges everything and the norms that read it bring the size back, and where
attention is saturated: a softmax near 0 or 1 has next to no gradient, so heads that matter may be missed. Correlation
with the sweep, over all places:

    a language model of 260,000 weights, two names exchanged    resid_pre .98   attn_out .99   mlp_out .97   z .99
    attn2l, induction on random words, mean of ten texts        resid_pre .39                                z .81

So use it to find where to look, and patch what stands out.

Sources: Nanda 2023, "Attribution Patching: Activation Patching At Industrial Scale"; Kramár et al. 2024, "AtP*: An
efficient and scalable method for localizing LLM behaviour to components" (when it misses).
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets.methods.gradients import gradients
from interpwidgets.methods.runs import At, Metric, expect_pair
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.taps import Tap


def attribution_patch(
    model: Any,
    clean: Int[Tensor, "batch position"],
    corrupt: Int[Tensor, "batch position"],
    metric: Metric,
    sites: str | Sequence[str] = "resid_pre",
    *,
    at: At = -1,
) -> dict[str, Float[Tensor, "layer batch position *head"]]:
    """About how much ``metric`` would rise on ``corrupt`` by each patch from ``clean``: every layer, position and head.

    Arguments:
        model: a Hugging Face model of a family in `interpwidgets.models.families`, in evaluation mode, with its head.
        clean, corrupt: token ids of one shape; row by row and place by place counterparts. Rows are pairs of their own.
        metric: logits to one number for each text, by operations that torch can differentiate.
        sites: one or several of the sites of `Tap` but "pattern", which has no position of its own.
        at: the position or positions where the metric looks, as for `interpwidgets.methods.runs.score`.

    Returns for each site the sum over the vector at each place: [layer, batch, position], and [layer, batch, position,
    head] for q, k, v and z (k and v by the heads that keys and values have: fewer if queries are grouped). Two runs and
    one way back, whatever the sites. Raises `ValueError` for texts that do not match, a model in training mode or
    without logits, and a metric that has no gradient or not one number for each text; `TapError`, which is a
    `ValueError`, for a site that the family lacks.
    """
    expect_pair(anatomy(model), clean, corrupt)
    wanted = [sites] if isinstance(sites, str) else list(sites)
    if not wanted or "pattern" in wanted:
        raise ValueError(
            "attribution patching is for one site at least, and for those with a vector at each position, such as "
            f"resid_pre, attn_out, mlp_out and z; it was asked for {', '.join(map(repr, wanted)) or 'none'}."
        )
    here = gradients(model, corrupt, metric, wanted, at)
    with torch.no_grad(), Tap(model, wanted) as there:
        model(clean)
    return {
        site: torch.stack(
            [
                ((there[site, layer] - here.values[site, layer]) * here.gradients[site, layer]).sum(-1)
                for layer in range(there.anatomy.n_layers)
            ]
        )
        for site in wanted
    }
