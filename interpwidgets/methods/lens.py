"""What the model would say if it stopped early: the logit lens.

    from interpwidgets import load
    from interpwidgets.methods.lens import logit_lens

    lens = logit_lens(load("demo"), tokens)
    lens.top_tokens[layer, 0, -1]       # what comes next, were this layer the last one: five token ids
    lens.target_rank[:, 0, 3]           # [layer]: 0 from where on the token that really follows position 3 is on top
    lens.kl.mean((1, 2))                # [layer]: nats that are missing to what the model says in the end

The last norm and the unembedding read the residual stream after the last layer. The lens lets them read it earlier::

    resid_pre of layer 0 ──> layer 0 ──> resid_post ──> layer 1 ──> resid_post ──> ... ──> resid_post of the last layer
           │                                 │                          │                            │
           └──────────> norm ─> W_U          └─> norm ─> W_U            └─> norm ─> W_U              └─> norm ─> W_U
                        logits                   logits                     logits                       the model's own

Layers x positions x vocabulary is far more than fits: twelve layers of GPT-2 on 1024 tokens are 2.5 GB. So logits are
made for a few positions at a time and given up once the numbers of `Lens` are taken from them.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; Belrose et al. 2023, "Eliciting Latent Predictions from
Transformers with the Tuned Lens", section 2.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.taps import Tap, Where

# Where the last norm is, from `model.base_model`, by ``config.model_type``. BERT has none: each sum has its own.
FINAL_NORM = {"gpt2": "ln_f", "llama": "norm", "gemma2": "norm", "attention_only": "norm"}
RESIDUAL = ("resid_pre", "resid_mid", "resid_post")

Spot = tuple[str, int]  # (site, layer)


@dataclass(frozen=True, eq=False)
class Lens:
    """What `logit_lens` found: one entry for each site, text and position. Numbers are float32, on the model's device.

    ``sites`` names the first axis: (site, layer) pairs. ``kl`` is the divergence of what is said here from what the
    model says in the end, KL(end || here), which the tuned lens is trained to make small: 0 at the last layer. A rank
    counts the tokens that are more likely than the target: 0 is the top.
    """

    sites: tuple[Spot, ...]
    top_tokens: Int[Tensor, "site batch position k"]  # the most likely first
    top_probs: Float[Tensor, "site batch position k"]
    entropy: Float[Tensor, "site batch position"]  # nats
    kl: Float[Tensor, "site batch position"]  # nats
    target: Int[Tensor, "batch target"]
    target_rank: Int[Tensor, "site batch target"]
    target_prob: Float[Tensor, "site batch target"]


def logit_lens(
    model: Any,
    tokens: Int[Tensor, "batch position"],
    k: int = 5,
    target: Int[Tensor, "batch target"] | None = None,
    sites: Where | Sequence[Where] = "resid_post",
    chunk: int = 64,
) -> Lens:
    """Read the residual stream at ``sites`` as if the model ended there.

    Arguments:
        model: a Hugging Face language model whose last norm is in `FINAL_NORM` (GPT-2, Llama, Gemma 2, attention-only).
        tokens: ids of texts of one length, without padding.
        k: how many of the most likely tokens to keep.
        target: the tokens whose rank and probability are wanted; entry i belongs to position i. Without it, the tokens
            that come next, one fewer than positions: what follows the last one is not known.
        sites: which of resid_pre, resid_mid and resid_post, as for `Tap`: a site means all its layers, in order.
            ``[("resid_pre", 0), "resid_post"]`` begins with the embedding.
        chunk: for how many positions logits are held at a time. Memory above the model and the residual streams is
            about six times ``chunk`` x vocabulary float32 numbers, whatever the number of layers and positions.

    Raises `ValueError` for tokens, targets, sites and sizes that cannot be and for a model in training mode,
    `interpwidgets.models.taps.TapError`, which is one, for a layer that does not exist, and
    `interpwidgets.models.anatomy.UnknownModelError` for a model whose insides are unknown.

    Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; Belrose et al. 2023, section 2.
    """
    to_logits = readout(model)
    spots = _spots(model, sites)
    target = tokens[:, 1:] if target is None and tokens.ndim == 2 else target
    _check(model, tokens, k, target, chunk)
    assert target is not None
    wanted = pad(target, (0, tokens.shape[1] - target.shape[1])).flatten()  # [batch * position]
    end: Spot = ("resid_post", anatomy(model).n_layers - 1)
    with torch.no_grad():
        with Tap(model, [*spots, end]) as tap:
            model.base_model(tokens)  # up to the last norm: the logits of all positions are never there
        stream = {spot: tap[spot].flatten(0, 1) for spot in {*spots, end}}  # [batch * position, d_model]
        chunks = []
        for start in range(0, tokens.numel(), chunk):
            rows = slice(start, start + chunk)
            final = _predict(to_logits(stream[end][rows]))
            chunks.append(
                [
                    _measure(final if spot == end else _predict(to_logits(stream[spot][rows])), final, wanted[rows], k)
                    for spot in spots
                ]
            )
    joined = _join(chunks)
    top, probs, spread, kl, rank, prob = (x.reshape(len(spots), *tokens.shape, *x.shape[2:]) for x in joined)
    n = target.shape[1]
    return Lens(tuple(spots), top, probs, spread, kl, target, rank[..., :n], prob[..., :n])


def readout(model: Any) -> Callable[[Float[Tensor, "*lead d_model"]], Float[Tensor, "*lead vocab"]]:
    """The end of ``model`` as a function, from the residual stream to logits: the last norm, then the unembedding.

    Given ``tap["resid_post", -1]`` it makes the model's own logits. Gemma 2 bounds them by a tanh, and so does this.
    Raises `ValueError` for a model without unembedding and for BERT.
    """
    kind = anatomy(model).model.config.model_type
    name = type(model).__name__
    if kind not in FINAL_NORM:
        raise ValueError(
            f"{name} has no last norm before its unembedding, which reads the residual stream through layers of its "
            f"own; the lens is for {', '.join(FINAL_NORM)}."
        )
    unembed = model.get_output_embeddings()
    if unembed is None:
        raise ValueError(f"{name} has no unembedding, so it cannot say tokens; load the model with its language head.")
    norm = model.base_model.get_submodule(FINAL_NORM[kind])
    cap = getattr(model.config, "final_logit_softcapping", None)

    def to_logits(residual: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead vocab"]:
        logits: Tensor = unembed(norm(residual))
        return logits if cap is None else cap * (logits / cap).tanh()

    return to_logits


# -- from logits to a few numbers


@dataclass(frozen=True)
class _Prediction:
    """Some rows of logits, in float32 and moved so that the largest of a row is 0: exp cannot overflow."""

    logits: Float[Tensor, "row vocab"]
    probs: Float[Tensor, "row vocab"]
    log_total: Float[Tensor, " row"]  # so that log p = logits - log_total

    def cross_entropy(self, truth: Float[Tensor, "row vocab"]) -> Float[Tensor, " row"]:
        """-sum of truth * log p, in nats; with its own probabilities, the entropy."""
        return self.log_total - (truth * self.logits).sum(-1)


def _predict(logits: Float[Tensor, "row vocab"]) -> _Prediction:
    logits = logits.float()
    logits = logits - logits.amax(-1, keepdim=True)
    probs = logits.exp()
    total = probs.sum(-1, keepdim=True)
    return _Prediction(logits, probs.div_(total), total.log().squeeze(-1))


def _measure(here: _Prediction, final: _Prediction, wanted: Int[Tensor, " row"], k: int) -> tuple[Tensor, ...]:
    """top tokens [row, k], their probabilities [row, k], entropy, KL, rank and probability of the target [row]."""
    top = here.probs.topk(k)
    kl = here.cross_entropy(final.probs) - final.cross_entropy(final.probs)
    at = wanted[:, None]
    rank = (here.logits > here.logits.gather(1, at)).sum(-1)
    prob = here.probs.gather(1, at).squeeze(1)
    return top.indices, top.values, here.cross_entropy(here.probs), kl.clamp(min=0), rank, prob


def _join(chunks: list[list[tuple[Tensor, ...]]]) -> list[Tensor]:
    """What `_measure` gave for each chunk and spot, as one tensor for each measure: [spot, row, ...]."""
    spots = [[torch.cat(rows) for rows in zip(*spot, strict=True)] for spot in zip(*chunks, strict=True)]
    return [torch.stack(measure) for measure in zip(*spots, strict=True)]


# -- what can be asked for


def _spots(model: Any, sites: Where | Sequence[Where]) -> list[Spot]:
    """``sites`` spelled out as (site, layer) pairs, in the order in which they are named."""
    one = isinstance(sites, str) or (len(sites) == 2 and isinstance(sites[1], int))
    wheres: list[Any] = [sites] if one else list(sites)
    n_layers = Tap(model, wheres).anatomy.n_layers  # a tap checks that they exist
    pairs = [(where, range(n_layers)) if isinstance(where, str) else (where[0], [where[1]]) for where in wheres]
    other = [site for site, _ in pairs if site not in RESIDUAL]
    if other or not pairs:
        came = f"{other[0]!r}" if other else "nothing"
        raise ValueError(f"the lens reads the residual stream, {', '.join(RESIDUAL)}; it was asked for {came}.")
    return [(site, layer % n_layers) for site, layers in pairs for layer in layers]


def _check(model: Any, tokens: Tensor, k: int, target: Tensor | None, chunk: int) -> None:
    vocab = model.get_output_embeddings().weight.shape[0]
    longest = anatomy(model).max_context
    if tokens.ndim != 2 or tokens.numel() == 0:
        raise ValueError(f"tokens have to be [batch, position], at least one of each; they are {list(tokens.shape)}.")
    if longest is not None and tokens.shape[1] > longest:
        raise ValueError(f"the text is {tokens.shape[1]} tokens long, but this model's context holds {longest}.")
    assert target is not None
    if target.ndim != 2 or len(target) != len(tokens) or target.shape[1] > tokens.shape[1]:
        raise ValueError(
            f"target has to be [batch, position], at most {list(tokens.shape)} as tokens are; it is "
            f"{list(target.shape)}."
        )
    for name, ids in (("tokens", tokens), ("target", target)):
        if ids.is_floating_point() or (ids.numel() and not 0 <= ids.min() <= ids.max() < vocab):
            raise ValueError(f"{name} have to be whole numbers from 0 to {vocab - 1}, the ids of this vocabulary.")
    if not 1 <= k <= vocab:
        raise ValueError(f"k has to be between 1 and {vocab}, the size of the vocabulary; it is {k}.")
    if chunk < 1:
        raise ValueError(f"chunk has to be at least 1 position; it is {chunk}.")
    if model.training:
        raise ValueError("this model is in training mode, where dropout blurs what it says; call model.eval() first.")
