"""Take a part out and see what the model can no longer do.

    from functools import partial
    from interpwidgets import Tap
    from interpwidgets.methods.ablation import ablate_sweep, mean_ablate, resample_ablate

    with Tap(model, edits={("z", 0): partial(mean_ablate, head=1)}):            # one head
        model(tokens)
    with Tap(model, edits={("mlp_out", 0): resample_ablate}):                   # a whole MLP
        model(tokens)

    ablate_sweep(model, tokens, metric, mean_ablate)                            # [layer, head, batch]

What stands in the place of a part decides what is asked:

- `zero_ablate`: nothing. Later layers may never have met a zero there, so the model may break for that alone.
- `mean_ablate`: what the part says on average. What depends on the text and the position is gone.
- `resample_ablate`: what the part says about another text. It is no stranger to later layers, but says wrong things.

Each takes what flows at a site of `Tap` and returns a copy with the part replaced. ``z`` is what a head has gathered,
before its W_O: replacing it removes the head and leaves the rest of the layer alone. To put in what a part says about
one text of your choice, see `interpwidgets.methods.patching`.
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


def zero_ablate(x: Float[Tensor, "batch position *rest"], head: int | None = None) -> Tensor:
    """A copy of ``x`` in which ``head`` is 0 everywhere; without ``head``, all of it.

    ``x``: z [batch, position, head, d_head], or for ablations without ``head`` any site [batch, position, ...], such as
    attn_out and mlp_out. Raises `ValueError` for a head that is not there.
    """
    return _replaced(x, head, torch.zeros_like)


def mean_ablate(x: Float[Tensor, "batch position *rest"], head: int | None = None) -> Tensor:
    """A copy of ``x`` in which ``head`` is its own mean over the batch and the positions: the same vector everywhere.

    Arguments, without ``head`` as well, and errors are those of `zero_ablate`. The mean is that of the texts in this
    run: the more of them, and the more alike place by place, the more it is a mean and nothing else.

    Source: Wang et al. 2022, "Interpretability in the Wild": mean ablation, here over positions as well.
    """
    return _replaced(x, head, lambda part: part.mean((0, 1), keepdim=True).expand_as(part))


def resample_ablate(
    x: Float[Tensor, "batch position *rest"], head: int | None = None, generator: torch.Generator | None = None
) -> Tensor:
    """A copy of ``x`` in which ``head`` of each text is that of another text of the batch, at the same position.

    Which one is drawn at random, by ``generator`` if there is one: every text gives once and takes once, and none from
    itself. Other arguments and errors are those of `zero_ablate`; also raises `ValueError` for a batch of one text.

    Source: Chan et al. 2022, "Causal Scrubbing: a method for rigorously testing interpretability hypotheses":
    resampling ablation.
    """
    if len(x) < 2:
        raise ValueError("resampling takes from another text of the batch, so it needs at least two texts, not one.")
    ring = torch.randperm(len(x), generator=generator, device=generator.device if generator else None).to(x.device)
    giver = torch.empty_like(ring)
    giver[ring] = ring.roll(1)  # each takes from its neighbour in a ring of all texts
    return _replaced(x, head, lambda part: part[giver])


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
    heads = [(layer, head) for layer in range(parts.n_layers) for head in range(parts.n_heads)]
    scores = []
    with torch.no_grad():
        for layer, head in tqdm(heads, delay=BAR_AFTER, leave=False, disable=not progress, unit="run"):
            with Tap(model, edits={("z", layer): _one_head(ablate, head)}):
                scores.append(score(model, tokens, metric, at))
    return torch.stack(scores).reshape(parts.n_layers, parts.n_heads, len(tokens))


def _one_head(ablate: Ablation, head: int) -> Callable[[Tensor], Tensor]:
    return lambda z: ablate(z, head)


def _replaced(x: Float[Tensor, "batch position *rest"], head: int | None, new: Callable[[Tensor], Tensor]) -> Tensor:
    """A copy of ``x`` with what ``new`` makes of one head, or of all, in its place."""
    if head is None:
        return new(x).clone()
    if x.ndim != 4:
        raise ValueError(f"heads stand apart in z, [batch, position, head, d_head]; this tensor is {list(x.shape)}.")
    n_heads = x.shape[2]
    if not -n_heads <= head < n_heads:
        raise ValueError(f"there are {n_heads} heads, 0 to {n_heads - 1}; there is no head {head}.")
    x = x.clone()
    x[:, :, head] = new(x[:, :, head])
    return x
