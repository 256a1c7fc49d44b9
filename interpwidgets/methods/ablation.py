"""Take a part out and see what the model can no longer do.

    from functools import partial
    from interpwidgets import Tap
    from interpwidgets.methods.ablation import ablate_sweep, mean_ablate, resample

    with Tap(model, edits={("z", 0): partial(mean_ablate, head=1)}):            # one head
        model(tokens)
    with Tap(model, edits={("mlp_out", 0): resample}):                          # a whole MLP
        model(tokens)

    ablate_sweep(model, tokens, metric, mean_ablate)                            # [layer, head, batch]

What stands in the place of a part decides what is asked:

- nothing (`zero_ablate`, `silence`). Later layers may never have met a zero there, so the model may break for that
  alone.
- what the part says on average (`mean_ablate`, `average`). What depends on the text and the position is gone.
- what the part says about another text (`resample_ablate`, `resample`). It is no stranger to later layers, but says
  wrong things.

Each takes what flows at a site of `Tap` and returns a copy: the first of each pair replaces one head of z, the second
the whole of any site, such as attn_out and mlp_out. z is what a head has gathered, before its W_O: replacing it removes
the head and leaves the rest of the layer alone. To put in what a part says about one text of your choice, see
`interpwidgets.methods.patching`.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm.auto import tqdm

from interpwidgets.methods.runs import At, Metric, expect_runnable, score
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.taps import Tap

BAR_AFTER = 2.0  # seconds

Ablation = Callable[[Tensor, int], Tensor]


def zero_ablate(z: Float[Tensor, "batch query head d_head"], head: int) -> Float[Tensor, "batch query head d_head"]:
    """A copy of ``z`` in which ``head`` is 0 everywhere.

    Later layers may never have met a zero there; `mean_ablate` stays closer to what they know. Raises `ValueError` for
    a head that is not there.
    """
    return _replaced(z, head, silence)


def mean_ablate(z: Float[Tensor, "batch query head d_head"], head: int) -> Float[Tensor, "batch query head d_head"]:
    """A copy of ``z`` in which ``head`` is its own mean over the batch and the queries: the same vector everywhere.

    What the head writes on average stays; what depends on the input or on the position is gone. Raises `ValueError` for
    a head that is not there.

    Source: Wang et al. 2022, "Interpretability in the Wild": mean ablation, here over positions as well.
    """
    return _replaced(z, head, average)


def resample_ablate(
    z: Float[Tensor, "batch query head d_head"], head: int, generator: torch.Generator | None = None
) -> Float[Tensor, "batch query head d_head"]:
    """A copy of ``z`` in which ``head`` of each text is that of another text of the batch, at the same query.

    Arguments, errors and the source are those of `resample`; also raises `ValueError` for a head that is not there.
    """
    return _replaced(z, head, lambda part: resample(part, generator))


def silence(x: Float[Tensor, "batch position *rest"]) -> Float[Tensor, "batch position *rest"]:
    """Zeros of the shape of ``x``: a part that says nothing."""
    return torch.zeros_like(x)


def average(x: Float[Tensor, "batch position *rest"]) -> Float[Tensor, "batch position *rest"]:
    """The mean of ``x`` over the batch and the positions, in the place of each: a part that always says the same.

    The mean is that of the texts in this run; the more of them, the less it knows of any.
    """
    return x.mean((0, 1), keepdim=True).expand_as(x).clone()


def resample(
    x: Float[Tensor, "batch position *rest"], generator: torch.Generator | None = None
) -> Float[Tensor, "batch position *rest"]:
    """``x`` with the texts of the batch dealt anew: a part that speaks of another text, at the same position.

    Which one is drawn at random, by ``generator`` if there is one: every text gives once and takes once, and none from
    itself. Raises `ValueError` for a batch of one text.

    Source: Chan et al. 2022, "Causal Scrubbing: a method for rigorously testing interpretability hypotheses":
    resampling ablation.
    """
    if len(x) < 2:
        raise ValueError("resampling takes from another text of the batch, so it needs at least two texts, not one.")
    ring = torch.randperm(len(x), generator=generator, device=generator.device if generator else None).to(x.device)
    giver = torch.empty_like(ring)
    giver[ring] = ring.roll(1)  # each takes from its neighbour in a ring of all texts
    return x[giver]


def ablate_sweep(
    model: Any,
    tokens: Int[Tensor, "batch position"],
    metric: Metric,
    ablate: Ablation = mean_ablate,
    *,
    at: At = -1,
    progress: bool = True,
) -> Float[Tensor, "layer head batch"]:
    """The metric of ``model`` on each text, with one head at a time taken out by ``ablate``.

    Arguments:
        model: a Hugging Face model of a family in `interpwidgets.models.families`, in evaluation mode, with its head.
        tokens: ids of texts of one length. Means are taken over them, and what is resampled is drawn from them.
        metric: logits to one number for each text.
        ablate: `zero_ablate`, `mean_ablate`, `resample_ablate` or a function of yours that takes z and a head.
        at: the position or positions where the metric looks, as for `interpwidgets.methods.runs.score`.
        progress: show a bar if it takes more than two seconds.

    One run for each head, all texts side by side. Compare with the metric of the run that is not ablated, and average
    over texts: ``ablate_sweep(...).mean(-1)``. Raises `ValueError` for a model in training mode or without logits,
    tokens that it cannot read, and a metric that does not return one number for each text.
    """
    parts = anatomy(model)
    expect_runnable(parts, tokens)
    Tap(model, "z")  # says so if there are no heads
    heads = [(layer, head) for layer in range(parts.n_layers) for head in range(parts.n_heads)]
    scores = []
    with torch.no_grad():
        for layer, head in tqdm(heads, delay=BAR_AFTER, leave=False, disable=not progress, unit="run"):
            with Tap(model, edits={("z", layer): _one_head(ablate, head)}):
                scores.append(score(model, tokens, metric, at))
    return torch.stack(scores).reshape(parts.n_layers, parts.n_heads, len(tokens))


def _one_head(ablate: Ablation, head: int) -> Callable[[Tensor], Tensor]:
    return lambda z: ablate(z, head)


def _replaced(
    z: Float[Tensor, "batch query head d_head"], head: int, new: Callable[[Tensor], Tensor]
) -> Float[Tensor, "batch query head d_head"]:
    """A copy of ``z`` with what ``new`` makes of one head in its place."""
    if z.ndim != 4:
        raise ValueError(f"heads stand apart in z, [batch, query, head, d_head]; this tensor is {list(z.shape)}.")
    n_heads = z.shape[2]
    if not -n_heads <= head < n_heads:
        raise ValueError(f"there are {n_heads} heads, 0 to {n_heads - 1}; there is no head {head}.")
    z = z.clone()
    z[:, :, head] = new(z[:, :, head])
    return z
