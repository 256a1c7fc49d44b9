"""What the model would say if it stopped early: the logit lens, and any other lens held to the same places.

    from interpwidgets import load
    from interpwidgets.methods.lens import follow, logit_lens

    lens = logit_lens(load("demo"), tokens)
    lens.top_tokens[layer, 0, -1]       # what comes next, were this layer the last one: five token ids
    lens.target_rank[:, 0, 3]           # [layer]: 0 from where on the token that really follows position 3 is on top
    lens.kl.mean((1, 2))                # [layer]: nats that are missing to what the model says in the end

    path = follow(model, tokens, torch.tensor([mary, john]))    # two tokens, wherever they rank
    path.prob[:, 0, -1]                 # [layer, token]: how their probabilities at the last position grow

    logit_lens(model, tokens, sites=[("resid_pre", 0), "resid_mid", "resid_post"])  # before and after each MLP, too
    logit_lens(model, tokens, lens=tuned)                       # another lens, with the same answers

The last norm and the unembedding read the residual stream after the last layer. The lens lets them read it earlier::

    resid_pre of layer 0 ──> layer 0 ──> resid_post ──> layer 1 ──> resid_post ──> ... ──> resid_post of the last layer
           │                                 │                          │                            │
         (lens)                            (lens)                     (lens)                       (lens)
           │                                 │                          │                            │
           └──────────> norm ─> W_U          └─> norm ─> W_U            └─> norm ─> W_U              └─> norm ─> W_U
                        logits                   logits                     logits                       the model's own

Where ``(lens)`` stands, the logit lens does nothing. A `LensFunction` may do something: guess from the stream in the
middle what it will be in the end (`interpwidgets.methods.tuned_lens`), or let the model itself carry it on, in another
text (`interpwidgets.methods.patchscope`).

Layers x positions x vocabulary is far more than fits: twelve layers of GPT-2 on 1024 tokens are 2.5 GB. So logits are
made for a few positions at a time and given up once the numbers of `Lens` are taken from them.

Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; Belrose et al. 2023, "Eliciting Latent Predictions from
Transformers with the Tuned Lens", section 2.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from interpwidgets.methods.runs import expect_runnable
from interpwidgets.models.anatomy import Norm, anatomy
from interpwidgets.models.families import FAMILIES
from interpwidgets.models.taps import Tap, Where

RESIDUAL = ("resid_pre", "resid_mid", "resid_post")

Spot = tuple[str, int]  # (site, layer)

# A lens gets the name of a site, a layer and some rows of the residual stream there. What it returns stands for what
# the stream will be in the end, [row, d_model], and is read as the model reads it; or it is logits, [row, vocab].
LensFunction = Callable[
    [str, int, Float[Tensor, "row d_model"]], Float[Tensor, "row d_model"] | Float[Tensor, "row vocab"]
]


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


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What `follow` found: how likely each of the tokens is at each site, text and position.

    ``sites`` names the first axis. A rank counts the tokens that are more likely: 0 is the top.
    """

    sites: tuple[Spot, ...]
    tokens: Int[Tensor, " token"]
    prob: Float[Tensor, "site batch position token"]
    rank: Int[Tensor, "site batch position token"]


def logit_lens(
    model: Any,
    tokens: Int[Tensor, "batch position"],
    k: int = 5,
    target: Int[Tensor, "batch target"] | None = None,
    sites: Where | Sequence[Where] = "resid_post",
    chunk: int = 64,
    lens: LensFunction | None = None,
) -> Lens:
    """Read the residual stream at ``sites`` as if the model ended there.

    Arguments:
        model: a Hugging Face language model with a norm before its unembedding (GPT-2, Llama, Gemma 2, attention-only).
        tokens: ids of texts of one length, without padding.
        k: how many of the most likely tokens to keep.
        target: the tokens whose rank and probability are wanted; entry i belongs to position i. Without it, the tokens
            that come next, one fewer than positions: what follows the last one is not known.
        sites: which of resid_pre, resid_mid and resid_post, as for `Tap`: a site means all its layers, in order.
            ``[("resid_pre", 0), "resid_post"]`` begins with the embedding.
        chunk: for how many positions logits are held at a time. Memory above the model and the residual streams is
            about six times ``chunk`` x vocabulary float32 numbers, whatever the number of layers and positions.
        lens: what to do with the stream before it is read; nothing, unless given. ``kl`` stays the divergence from what
            the model says in the end, without lens.

    Raises `ValueError` for tokens, targets, sites and sizes that cannot be, for a lens that returns something of
    another shape and for a model in training mode, `interpwidgets.models.taps.TapError`, which is one, for a layer that
    does not exist, and `interpwidgets.models.anatomy.UnknownModelError` for a model whose insides are unknown.

    Source: nostalgebraist 2020, "interpreting GPT: the logit lens"; Belrose et al. 2023, section 2.
    """
    target = tokens[:, 1:] if target is None and tokens.ndim == 2 else target
    reading = _Reading(model, tokens, spell_out(model, sites), lens, chunk)
    _check_target(reading, target)
    if not 1 <= k <= reading.vocab:
        raise ValueError(f"k has to be between 1 and {reading.vocab}, the size of the vocabulary; it is {k}.")
    assert target is not None
    wanted = pad(target, (0, tokens.shape[1] - target.shape[1])).reshape(-1, 1)  # [batch * position, 1]

    def measure(here: _Prediction, final: _Prediction, rows: slice) -> tuple[Tensor, ...]:
        indices, values = here.top(k)
        # entropies are subtracted from one sum, so that a prediction compared with itself gives exactly 0
        kl = here.cross_entropy(final.probs) - final.cross_entropy(final.probs)
        rank, prob = here.of(wanted[rows])
        return indices, values, here.cross_entropy(here.probs), kl.clamp(min=0), rank[:, 0], prob[:, 0]

    top, probs, spread, kl, rank, prob = _read(reading, measure)
    n = target.shape[1]
    return Lens(reading.spots, top, probs, spread, kl, target, rank[..., :n], prob[..., :n])


def follow(
    model: Any,
    tokens: Int[Tensor, "batch position"],
    followed: Int[Tensor, " token"],
    sites: Where | Sequence[Where] = "resid_post",
    chunk: int = 64,
    lens: LensFunction | None = None,
) -> Trajectory:
    """How likely each of a few chosen tokens is to come next, at every site and position, wherever it ranks.

    ``followed``: ids of the chosen tokens, [token]. The other arguments, and what is raised, are as in `logit_lens`.
    """
    reading = _Reading(model, tokens, spell_out(model, sites), lens, chunk)
    if followed.ndim != 1 or not len(followed):
        raise ValueError(f"the tokens to follow have to be [token], at least one; they are {list(followed.shape)}.")
    _check_ids("the tokens to follow", followed, reading.vocab)

    def measure(here: _Prediction, _: _Prediction, rows: slice) -> tuple[Tensor, ...]:
        return here.of(followed.expand(len(here.probs), -1))

    rank, prob = _read(reading, measure)
    return Trajectory(reading.spots, followed, prob, rank)


def readout(model: Any) -> Callable[[Float[Tensor, "*lead d_model"]], Float[Tensor, "*lead vocab"]]:
    """The end of ``model`` as a function, from the residual stream to logits: the last norm, then the unembedding.

    Given ``tap["resid_post", -1]`` it makes the model's own logits. Gemma 2 bounds them by a tanh, and so does this.
    Raises `ValueError` for a model without unembedding, for BERT, and for a model that scales its logits (Granite).
    """
    norm = last_norm(model).module
    anatomy(model).expect_plain_logits()
    unembed = model.get_output_embeddings()
    cap = getattr(model.config, "final_logit_softcapping", None)

    def to_logits(residual: Float[Tensor, "*lead d_model"]) -> Float[Tensor, "*lead vocab"]:
        logits: Tensor = unembed(norm(residual))
        return logits if cap is None else cap * (logits / cap).tanh()

    return to_logits


def last_norm(model: Any) -> Norm:
    """The norm between the last layer of ``model`` and its unembedding.

    Raises `ValueError` for a model without unembedding and for BERT, which has no such norm.
    """
    name = type(model).__name__
    norm = anatomy(model).final_norm()
    if norm is None:
        raise ValueError(
            f"{name} has no last norm before its unembedding, which reads the residual stream through layers of its "
            f"own; the lens is for {', '.join(kind for kind, row in FAMILIES.items() if not row.norms_stream)}."
        )
    if model.get_output_embeddings() is None:
        raise ValueError(f"{name} has no unembedding, so it cannot say tokens; load the model with its language head.")
    return norm


def residual_streams(
    model: Any, tokens: Int[Tensor, "batch position"], spots: Iterable[Spot]
) -> dict[Spot, Float[Tensor, "row d_model"]]:
    """The residual stream at ``spots``, rows being positions of the first text, then of the second, and so on."""
    spots = set(spots)
    with torch.no_grad(), Tap(model, list(spots)) as tap:
        model.base_model(tokens)  # up to the last norm: the logits of all positions are never there
    return {spot: tap[spot].flatten(0, 1) for spot in spots}


# -- positions, a few at a time


class _Reading:
    """What is to be read, checked."""

    def __init__(
        self,
        model: Any,
        tokens: Int[Tensor, "batch position"],
        spots: list[Spot],
        lens: LensFunction | None,
        chunk: int,
    ) -> None:
        self.to_logits = readout(model)
        self.model, self.tokens, self.spots, self.lens, self.chunk = model, tokens, tuple(spots), lens, chunk
        self.vocab = len(model.get_output_embeddings().weight)
        self.end: Spot = ("resid_post", anatomy(model).n_layers - 1)
        expect_runnable(anatomy(model), tokens)
        if chunk < 1:
            raise ValueError(f"chunk has to be at least 1 position; it is {chunk}.")

    def predict(self, spot: Spot, residual: Float[Tensor, "row d_model"], final: "_Prediction") -> "_Prediction":
        seen = residual if self.lens is None else seen_through(self.lens, spot, residual, self.vocab)
        if seen is residual and spot == self.end:
            return final
        return _predict(self.to_logits(seen) if seen.shape == residual.shape else seen)


def seen_through(lens: LensFunction, spot: Spot, residual: Float[Tensor, "row d_model"], vocab: int) -> Tensor:
    """What ``lens`` makes of some rows: rows that the model's own end has to read, or logits.

    Raises `ValueError` if it makes something else of them.
    """
    seen: Any = lens(*spot, residual)
    allowed = [list(residual.shape), [len(residual), vocab]]
    if not isinstance(seen, Tensor) or list(seen.shape) not in allowed:
        came = f"shape {list(seen.shape)}" if isinstance(seen, Tensor) else f"type {type(seen).__name__}"
        raise ValueError(
            f"a lens has to turn rows of the residual stream, {allowed[0]}, into a tensor of that shape or into "
            f"logits, {allowed[1]}; for {spot[0]!r} of layer {spot[1]} it returned something of {came}."
        )
    return seen.to(residual)


def _read(
    reading: _Reading, measure: "Callable[[_Prediction, _Prediction, slice], tuple[Tensor, ...]]"
) -> list[Tensor]:
    """What ``measure`` makes of the prediction at each spot and the final one, as [site, batch, position, ...]."""
    stream = residual_streams(reading.model, reading.tokens, {*reading.spots, reading.end})
    chunks = []
    with torch.no_grad():
        for start in range(0, reading.tokens.numel(), reading.chunk):
            rows = slice(start, start + reading.chunk)
            final = _predict(reading.to_logits(stream[reading.end][rows]))
            predicted = (reading.predict(spot, stream[spot][rows], final) for spot in reading.spots)
            chunks.append([measure(here, final, rows) for here in predicted])
    shape = len(reading.spots), *reading.tokens.shape
    return [found.reshape(*shape, *found.shape[2:]) for found in join(chunks)]


# -- from logits to a few numbers


@dataclass(frozen=True)
class _Prediction:
    """What some rows of logits say, in float32."""

    log_probs: Float[Tensor, "row vocab"]
    probs: Float[Tensor, "row vocab"]

    def cross_entropy(self, truth: Float[Tensor, "row vocab"]) -> Float[Tensor, " row"]:
        """-sum of truth * log p, in nats; with its own probabilities, the entropy."""
        minus: Tensor = torch.linalg.vecdot(truth, self.log_probs)
        return -minus

    def top(self, k: int) -> tuple[Int[Tensor, "row k"], Float[Tensor, "row k"]]:
        """The k most likely tokens and their probabilities."""
        top = self.probs.topk(k)
        return top.indices, top.values

    def of(self, tokens: Int[Tensor, "row token"]) -> tuple[Int[Tensor, "row token"], Float[Tensor, "row token"]]:
        """The ranks and the probabilities of some tokens of each row."""
        at = self.log_probs.gather(1, tokens)
        ranks = [(self.log_probs > each[:, None]).count_nonzero(-1) for each in at.T]  # one token, one pass: no 3D
        return torch.stack(ranks, -1), at.exp()


def _predict(logits: Float[Tensor, "row vocab"]) -> _Prediction:
    log_probs = logits.float().log_softmax(-1)
    return _Prediction(log_probs, log_probs.exp())


def join(chunks: list[list[tuple[Tensor, ...]]]) -> list[Tensor]:
    """What was measured for each chunk and spot, as one tensor for each measure: [spot, row, ...]."""
    spots = [[torch.cat(rows) for rows in zip(*spot, strict=True)] for spot in zip(*chunks, strict=True)]
    return [torch.stack(measure) for measure in zip(*spots, strict=True)]


# -- what can be asked for


def spell_out(model: Any, sites: Where | Sequence[Where]) -> list[Spot]:
    """``sites`` as (site, layer) pairs, in the order in which they are named; a site means all its layers.

    Raises `ValueError` for what is no residual stream, or not of this model.
    """
    one = isinstance(sites, str) or (len(sites) == 2 and isinstance(sites[1], int))
    wheres: list[Any] = [sites] if one else list(sites)
    n_layers = Tap(model, wheres).anatomy.n_layers  # a tap checks that they exist
    pairs = [(where, range(n_layers)) if isinstance(where, str) else (where[0], [where[1]]) for where in wheres]
    other = [site for site, _ in pairs if site not in RESIDUAL]
    if other or not pairs:
        came = f"{other[0]!r}" if other else "nothing"
        raise ValueError(f"the lens reads the residual stream, {', '.join(RESIDUAL)}; it was asked for {came}.")
    return [(site, layer % n_layers) for site, layers in pairs for layer in layers]


def _check_target(reading: _Reading, target: Tensor | None) -> None:
    assert target is not None
    tokens = reading.tokens
    if target.ndim != 2 or len(target) != len(tokens) or target.shape[1] > tokens.shape[1]:
        raise ValueError(
            f"target has to be [batch, position], at most {list(tokens.shape)} as tokens are; it is "
            f"{list(target.shape)}."
        )
    _check_ids("target", target, reading.vocab)


def _check_ids(name: str, ids: Tensor, vocab: int) -> None:
    if ids.is_floating_point() or (ids.numel() and not 0 <= ids.min() <= ids.max() < vocab):
        raise ValueError(f"{name} have to be whole numbers from 0 to {vocab - 1}, the ids of this vocabulary.")
