"""What a metric would gain from a small change anywhere in a model, and how much of it each token accounts for.

    from functools import partial
    from interpwidgets.methods.gradients import gradient_times_input, gradients, integrated_gradients
    from interpwidgets.methods.metrics import logit_difference

    metric = partial(logit_difference, right=mary, wrong=john)

    found = gradients(model, tokens, metric, ["z", ("resid_post", 3)])
    found.gradients["z", 0]                             # [batch, query, head, d_head], and so are found.values["z", 0]

    gradient_times_input(model, tokens, metric)         # [batch, position]
    result = integrated_gradients(model, tokens, metric, baseline=tokens_of_nothing)
    result.attributions, result.gap                     # [batch, position] and [batch]

A gradient says what a *small* change does. Times the embedding itself it is a guess at what taking the token away would
do, and a bad one where the metric is saturated. Integrated gradients ask for the gradient all along the way from a
baseline to the text, and so account for the whole difference of the metric between the two::

    metric(text) - metric(baseline)  =  sum over positions of attributions  +  gap        gap: error of the integration

**The gap has to be looked at**, most of all with the baseline of zeros. A norm divides by the size of what it reads, so
on the way from zero almost everything happens in the very first part, where a stream of zeros becomes one of ordinary
size. In a model that begins with RMSNorm and adds no positions (Llama, Gemma) that part is about as long as the root of
the norm's epsilon, beside the size of an embedding. The points of the integration step over it or, worse, one of them
hits it: on a small Llama the metric rises by 2.2, and the gap is 0.1 for 50 steps, -12.5 for 32 and -4.3 for 300. A
baseline of tokens has no such part: 0.03 for 32 steps, 0.005 for 50, nothing for 128.

The model is left as it was found: no gradient is stored in its weights, whether they ask for one or not.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interpwidgets.methods.runs import At, Metric, expect_runnable, score
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.taps import ENDS, Tap, Where

Spot = tuple[str, int]  # (site, layer)


@dataclass(frozen=True, eq=False)
class Gradients:
    """The metric of a run, what flowed by at each (site, layer), and the gradient of the metric there.

    ``values[site, layer]`` and ``gradients[site, layer]`` are of one shape, that of the site, see
    `interpwidgets.models.taps`. Row i of a gradient is that of ``score[i]``.
    """

    score: Float[Tensor, " batch"]
    values: dict[Spot, Tensor]
    gradients: dict[Spot, Tensor]


@dataclass(frozen=True, eq=False)
class IntegratedGradients:
    """What each position accounts for, in units of the metric, and what is missing to the whole difference."""

    attributions: Float[Tensor, "batch position"]
    gap: Float[Tensor, " batch"]  # metric(text) - metric(baseline) - sum of attributions


def gradients(
    model: Any,
    tokens: Int[Tensor, "batch position"],
    metric: Metric,
    sites: Where | Sequence[Where],
    at: At = -1,
) -> Gradients:
    """The gradient of ``metric`` at ``sites``: by how much it rises for each unit by which a number there rises.

    Arguments:
        model: a Hugging Face model of a family in `interpwidgets.models.families`, in evaluation mode, with its head.
        tokens: ids of texts of one length.
        metric: logits to one number for each text, by operations that torch can differentiate.
        sites: as for `Tap`: a site of all layers, (site, layer), or a list of these.
        at: the position or positions where the metric looks, as for `interpwidgets.methods.runs.score`.

    Everything after a site counts, not the direct path alone. Raises `ValueError` for a model in training mode or
    without logits, tokens that it cannot read, and a metric without gradient or with more than one number for each
    text; `TapError` for sites that cannot be.
    """
    expect_runnable(anatomy(model), tokens)
    spots = _spots(model, sites)
    with torch.enable_grad(), _embedding(model, lambda x: x.detach().requires_grad_()), Tap(model, spots) as tap:
        scores = score(model, tokens, metric, at)
        values = [tap[spot] for spot in spots]
        slopes = _slopes(scores, values)
    return Gradients(
        scores.detach(),
        {spot: value.detach() for spot, value in zip(spots, values, strict=True)},
        dict(zip(spots, slopes, strict=True)),
    )


def gradient_times_input(
    model: Any, tokens: Int[Tensor, "batch position"], metric: Metric, at: At = -1
) -> Float[Tensor, "batch position"]:
    """The embedding of each token times the gradient there: what the metric, were it linear, would owe to the token.

    The embedding is the token's own, without its position. Arguments and errors are those of `gradients`.

    Source: Shrikumar et al. 2016, "Not Just a Black Box: Learning Important Features Through Propagating Activation
    Differences": gradient times input.
    """
    expect_runnable(anatomy(model), tokens)
    embed: Any = model.get_input_embeddings()
    with torch.no_grad():
        embedded: Tensor = embed(tokens)
    _, slopes = _from(model, tokens, metric, at, embedded)
    return (slopes * embedded).sum(-1)


def integrated_gradients(
    model: Any,
    tokens: Int[Tensor, "batch position"],
    metric: Metric,
    baseline: Int[Tensor, "#batch position"] | None = None,
    *,
    steps: int = 50,
    at: At = -1,
) -> IntegratedGradients:
    """How much of the metric's rise from ``baseline`` to ``tokens`` each position accounts for.

    Arguments:
        baseline: the text where the way begins, as ids [batch, position] or [1, position]; None for embeddings of
            zeros: the module says why to be careful with them.
        steps: runs of all texts side by side, forward and back. The points on the way are those of Gauss and Legendre.
        model, tokens, metric, at: as for `gradients`.

    The way is straight, from the embeddings of the one to those of the other; positions are the same on all of it.
    Raises `ValueError` as `gradients`, and for a baseline of another length and less than one step.

    Source: Sundararajan et al. 2017, "Axiomatic Attribution for Deep Networks"; the points are Captum's default.
    """
    parts = anatomy(model)
    expect_runnable(parts, tokens)
    if steps < 1:
        raise ValueError(f"integrated gradients take at least one step, not {steps}.")
    if baseline is not None:
        expect_runnable(parts, baseline, "the tokens of the baseline")
        if baseline.shape[1] != tokens.shape[1] or len(baseline) not in (1, len(tokens)):
            raise ValueError(
                f"the baseline has to be of the shape of the tokens, {list(tokens.shape)}, or one text of that length; "
                f"its shape is {list(baseline.shape)}."
            )
    embed: Any = model.get_input_embeddings()
    with torch.no_grad():
        end = embed(tokens)
        start = torch.zeros_like(end) if baseline is None else embed(baseline).expand_as(end)
    total = torch.zeros_like(end)
    for where, weight in _gauss_legendre(steps):
        total += weight * _from(model, tokens, metric, at, start + where * (end - start))[1]
    attributions = (total * (end - start)).sum(-1)
    rise = _from(model, tokens, metric, at, end)[0] - _from(model, tokens, metric, at, start)[0]
    return IntegratedGradients(attributions, rise - attributions.sum(-1))


def _gauss_legendre(steps: int) -> Iterator[tuple[float, float]]:
    """Points between 0 and 1 and their weights, which add up to 1."""
    points, weights = np.polynomial.legendre.leggauss(steps)
    for point, weight in zip(points, weights, strict=True):
        yield (1 + float(point)) / 2, float(weight) / 2


def _from(
    model: Any, tokens: Int[Tensor, "batch position"], metric: Metric, at: At, embedded: Tensor
) -> tuple[Float[Tensor, " batch"], Float[Tensor, "batch position d_model"]]:
    """The metric of a run whose tokens are ``embedded`` like this, and its gradient there."""
    leaf = embedded.detach().requires_grad_()
    with torch.enable_grad(), _embedding(model, lambda _: leaf):
        scores = score(model, tokens, metric, at)
        (slopes,) = _slopes(scores, [leaf])
    return scores.detach(), slopes


def _slopes(scores: Float[Tensor, " batch"], values: list[Tensor]) -> list[Tensor]:
    """The gradient of each score at its own row of each of ``values``; zeros where the metric does not look."""
    if not scores.requires_grad:
        raise ValueError(
            "the metric has no gradient: it has to be made of the logits by operations that torch can differentiate, "
            "without argmax, item() or detach()."
        )
    return list(torch.autograd.grad(scores.sum(), values, materialize_grads=True))


def _spots(model: Any, sites: Where | Sequence[Where]) -> list[Spot]:
    """``sites`` spelled out as (site, layer) pairs."""
    one = isinstance(sites, str) or (len(sites) == 2 and isinstance(sites[1], int))
    wheres: list[Any] = [sites] if one else list(sites)
    n_layers = Tap(model, wheres).anatomy.n_layers  # a tap checks that they exist
    if ends := [where for where in wheres if where in ENDS]:
        raise ValueError(f"gradients are taken at the sites of a layer; {ends[0]!r} has none.")
    pairs = [(where, range(n_layers)) if isinstance(where, str) else (where[0], [where[1]]) for where in wheres]
    return [(site, layer % n_layers) for site, layers in pairs for layer in layers]


@contextmanager
def _embedding(model: Any, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """While open, the model goes on with what ``change`` makes of the embeddings of its tokens."""

    def hook(module: nn.Module, args: tuple[Any, ...], embedded: Tensor) -> Tensor:
        return change(embedded)

    handle = model.get_input_embeddings().register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()
