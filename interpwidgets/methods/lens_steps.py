"""The residual stream and its lenses in single steps: what stands in the stream, who wrote it, and ways to read it.

    from interpwidgets.methods.lens_steps import kl_to_end, lens_logits, residual_parts, residual_stages

    parts = residual_parts(tap["resid_pre", 0], tap["attn_out"], tap["mlp_out"])    # [part, batch, position, d_model]
    stages = residual_stages(parts)                         # before the first layer and after each
    logits = lens_logits(stages, norm.weight, norm.bias, W_U, norm.epsilon)
    kl_to_end(logits)                                       # [stage, batch, position]: nats, 0 in the end

Each function is one step of a method that this package has as a whole: `interpwidgets.methods.attribution` and
`interpwidgets.methods.lens` for any family of models, a few positions at a time, `interpwidgets.methods.tuned_lens`
with the training recipe of its authors, `interpwidgets.methods.patchscope`, `interpwidgets.methods.backward_lens`.
Here are tensors in and tensors out, a norm that is a LayerNorm, and all logits at once::

    start ─(+)─> attn_out 0 ─(+)─> mlp_out 0 ─(+)─> attn_out 1 ─(+)─> mlp_out 1 ... ─> norm ─> W_U ─> logits
      │                                       │                                 │
    stage 0                                stage 1                           stage 2        parts add up to stages
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets.models.taps import Tap

Readout = Callable[[Float[Tensor, "row d_model"]], Float[Tensor, "row vocab"]]

# -- the stream is a sum


def residual_parts(
    start: Float[Tensor, "batch position d_model"],
    attn_out: Float[Tensor, "layer batch position d_model"],
    mlp_out: Float[Tensor, "layer batch position d_model"],
) -> Float[Tensor, "part batch position d_model"]:
    """All that is added up in the residual stream, in the order of the computation: start, attention 0, MLP 0, ...

    Source: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits".
    """
    layers = torch.stack([attn_out, mlp_out], 1)
    return torch.cat([start[None], layers.flatten(0, 1)])


def residual_stages(parts: Float[Tensor, "part *lead d_model"]) -> Float[Tensor, "stage *lead d_model"]:
    """The residual stream before the first layer and after each; ``parts`` as in `residual_parts`."""
    return parts.cumsum(0)[::2]


def frozen_norm(
    parts: Float[Tensor, "part *lead d_model"], weight: Float[Tensor, " d_model"], epsilon: float
) -> Float[Tensor, "part *lead d_model"]:
    """What becomes of each part in the last LayerNorm, whose scale is that of the whole stream.

    The results add up to what leaves the norm, but for its bias. Source: Elhage et al. 2021 (a norm that is folded in);
    Wang et al. 2022, "Interpretability in the Wild" (direct effects with the norm frozen).
    """
    stream = parts.sum(0)
    scale = (stream.var(-1, correction=0) + epsilon).sqrt()
    centred = parts - parts.mean(-1, keepdim=True)
    return centred / scale[..., None] * weight


def direct_attribution(
    normed: Float[Tensor, "part batch d_model"],
    W_U: Float[Tensor, "d_model vocab"],
    right: Int[Tensor, " batch"],
    wrong: Int[Tensor, " batch"],
) -> Float[Tensor, "part batch"]:
    """What each part adds to the lead of the logit of ``right`` over that of ``wrong``, one pair for each text.

    ``normed``: what `frozen_norm` makes of the parts at one position. Source: Wang et al. 2022, "Interpretability in
    the Wild".
    """
    direction = W_U[:, right] - W_U[:, wrong]
    return torch.einsum("pbd,db->pb", normed, direction)


def cut_edges(
    pattern: Float[Tensor, "batch head query key"], query: Int[Tensor, " batch"], key: Int[Tensor, " batch"]
) -> Float[Tensor, "batch head query key"]:
    """A copy of ``pattern`` in which, in text i, the query at ``query[i]`` sees nothing of the key at ``key[i]``.

    What it no longer spends there the other keys get, in proportion; a row of which nothing is left stays 0.
    Source: Geva et al. 2023, "Dissecting Recall of Factual Associations in Auto-Regressive Language Models" (attention
    knockout).
    """
    texts = torch.arange(len(pattern), device=pattern.device)
    pattern = pattern.clone()
    pattern[texts, :, query, key] = 0
    return pattern / pattern.sum(-1, keepdim=True).clamp(min=1e-12)


# -- reading it early


def lens_logits(
    stages: Float[Tensor, "*lead d_model"],
    weight: Float[Tensor, " d_model"],
    bias: Float[Tensor, " d_model"],
    W_U: Float[Tensor, "d_model vocab"],
    epsilon: float,
) -> Float[Tensor, "*lead vocab"]:
    """The logit lens: each vector through the last LayerNorm, with a scale of its own, and the unembedding.

    Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
    """
    centred = stages - stages.mean(-1, keepdim=True)
    scale = (stages.var(-1, correction=0, keepdim=True) + epsilon).sqrt()
    return (centred / scale * weight + bias) @ W_U


def rank_of(logits: Float[Tensor, "*lead vocab"], tokens: Int[Tensor, "*lead"]) -> Int[Tensor, "*lead"]:
    """How many tokens have a higher logit than the given one: 0 is the top."""
    own = logits.gather(-1, tokens[..., None])
    return (logits > own).sum(-1)


def kl_to_end(logits: Float[Tensor, "stage *lead vocab"]) -> Float[Tensor, " stage *lead"]:
    """KL(what the last stage says || what each stage says), in nats.

    Source: Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens".
    """
    here = logits.log_softmax(-1)
    end = here[-1]
    return (end.exp() * (end - here)).sum(-1)


# -- a lens that learns


def translate(
    residual: Float[Tensor, "row d_model"], A: Float[Tensor, "d_model d_model"], b: Float[Tensor, " d_model"]
) -> Float[Tensor, "row d_model"]:
    """A guess at the end of the stream: the stream as it is, and an affine correction. Zeros leave it as it is.

    Source: Belrose et al. 2023.
    """
    return residual + residual @ A + b


def train_translator(
    residual: Float[Tensor, "row d_model"],
    end: Float[Tensor, "row d_model"],
    readout: Readout,
    steps: int,
    rate: float,
) -> tuple[Float[Tensor, "d_model d_model"], Float[Tensor, " d_model"]]:
    """A and b after ``steps`` steps of gradient descent from zero, on the mean KL(end || translated) over all rows.

    ``readout`` turns a stream into logits. `interpwidgets.methods.tuned_lens` learns faster, with momentum and a rate
    that shrinks. Source: Belrose et al. 2023.
    """
    A = residual.new_zeros(residual.shape[1], residual.shape[1], requires_grad=True)
    b = residual.new_zeros(residual.shape[1], requires_grad=True)
    goal = readout(end).log_softmax(-1).detach()
    for _ in range(steps):
        said = readout(translate(residual, A, b)).log_softmax(-1)
        loss = (goal.exp() * (goal - said)).sum(-1).mean()
        slope_A, slope_b = torch.autograd.grad(loss, [A, b])
        A, b = A - rate * slope_A, b - rate * slope_b
    return A.detach(), b.detach()


def lens_bias(logits: Float[Tensor, "row vocab"], end: Float[Tensor, "row vocab"]) -> Float[Tensor, ""]:
    """KL of two averages, in nats: of what is said in the end, over all rows, from what the lens says over all rows.

    0 for a lens that says each token as often as the model does, even if at the wrong places. Source: Belrose et al.
    2023.
    """
    truth = end.softmax(-1).mean(0)
    said = logits.softmax(-1).mean(0)
    return (truth * (truth.log() - said.log())).sum()


def ablate_direction(
    residual: Float[Tensor, "row d_model"], direction: Float[Tensor, " d_model"]
) -> Float[Tensor, "row d_model"]:
    """The rows with what they have along ``direction`` replaced by its mean over the rows.

    How much a prediction changes is the influence of a direction. Source: Belrose et al. 2023.
    """
    unit: Tensor = direction / direction.norm()
    along = residual @ unit
    return residual + (along.mean() - along)[:, None] * unit


# -- asking the model


def ask_the_model(
    model: Any, residual: Float[Tensor, "row d_model"], prompt: Int[Tensor, " position"], at: int, layer: int
) -> Float[Tensor, "row vocab"]:
    """What ``model`` says at the end of ``prompt`` if ``residual`` enters ``layer`` at position ``at``.

    Each row is put into a prompt of its own, all side by side. Source: Ghandeharioun et al. 2024, "Patchscopes: A
    Unifying Framework for Inspecting Hidden Representations of Language Models".
    """

    def put_in(stream: Float[Tensor, "row position d_model"]) -> Float[Tensor, "row position d_model"]:
        stream[:, at] = residual
        return stream

    with torch.no_grad(), Tap(model, edits={("resid_pre", layer): put_in}):
        logits: Tensor = model(prompt.expand(len(residual), -1)).logits
    return logits[:, -1]


# -- reading backward


def weight_gradient(
    x: Float[Tensor, "batch position inputs"], d: Float[Tensor, "batch position outputs"]
) -> Float[Tensor, "inputs outputs"]:
    """The gradient of W in ``y = x @ W``, from what came in and the gradients of what went out, of all positions.

    Source: Katz et al. 2024, "Backward Lens: Projecting Language Model Gradients into the Vocabulary Space".
    """
    return torch.einsum("bpi,bpo->io", x, d)
