"""The tuned lens: what the model would say if it stopped early, in words that it has not yet translated itself.

    from interpwidgets.methods.lens import logit_lens
    from interpwidgets.methods.tuned_lens import TunedLens, train_tuned_lens

    lens = train_tuned_lens(model, batches)             # batches: a list of token ids, [batch, position] each
    logit_lens(model, tokens, lens=lens).kl.mean((1, 2))    # [layer]: below those of the logit lens

    lens.save("tuned.safetensors")
    lens = TunedLens.load("tuned.safetensors")

The logit lens takes for granted that the residual stream has one basis all the way up. It drifts: what means a token in
the end may lie in another direction before. So each place gets an affine map of its own, a *translator*, that guesses
the end of the stream from its middle::

    residual ──┬──────────────(+)──> norm ─> W_U ─> logits
               └─> A ─> + b ───┘

Translators begin at zero. An untrained lens is the logit lens, exactly; after the last layer there is nothing to guess,
so there is no translator and both say what the model says.

Training makes the divergence KL(model's end || here) small, on any text that the model knows how to read: no labels. It
says what can be read from the stream linearly, which is not always what later layers do read.

Source: Belrose et al. 2023, "Eliciting Latent Predictions from Transformers with the Tuned Lens".
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.utils import clip_grad_norm_
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR
from tqdm.auto import tqdm

from interpwidgets.methods.lens import RESIDUAL, Spot, readout, residual_streams, spell_out
from interpwidgets.methods.runs import expect_runnable
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.taps import Where

EVERY_LAYER: tuple[Where, ...] = (("resid_pre", 0), "resid_post")
FORMAT = "interpwidgets tuned lens 1"
BAR_AFTER = 2.0  # seconds

# The recipe of the paper's authors, from their library: plain gradient descent with Nesterov momentum, a step of 1
# that shrinks to 0, gradients of at most norm 1, a slight pull to zero. The last norm of a model takes the size of the
# stream away, so a step of 1 suits streams of any size, if b is counted in units of that size. Adam with 0.001 to
# 0.01, on stories260K and the shipped attn2l, is behind this after 250 steps and no better after 1000.
LEARNING_RATE, MOMENTUM, WEIGHT_DECAY, CLIP = 1.0, 0.9, 1e-3, 1.0


@dataclass(frozen=True, eq=False)
class TunedLens:
    """One translator, ``x + x @ A + b``, for each place of the residual stream that the lens was made for.

    A `interpwidgets.methods.lens.LensFunction`. resid_pre of a layer is resid_post of the one before, and has the same
    translator. ``n_layers`` is that of the model: its last resid_post is handed on as it is.
    """

    A: dict[Spot, Float[Tensor, "d_model d_model"]]
    b: dict[Spot, Float[Tensor, " d_model"]]
    n_layers: int

    def __call__(self, site: str, layer: int, residual: Float[Tensor, "row d_model"]) -> Float[Tensor, "row d_model"]:
        """What the stream will be in the end. Raises `ValueError` for a place that this lens has no translator for."""
        spot = _same(site, layer)
        if spot == ("resid_post", self.n_layers - 1):
            return residual
        if spot not in self.A or self.A[spot].shape[0] != residual.shape[-1]:
            d_model = next(iter(self.A.values())).shape[0] if self.A else "any number of"
            raise ValueError(
                f"this tuned lens is for {self.n_layers} layers of {d_model} numbers, with translators at "
                f"{', '.join(f'{site} {layer}' for site, layer in self.A) or 'no place'}; it has none for {site!r} of "
                f"layer {layer} with {residual.shape[-1]} numbers."
            )
        A, b = self.A[spot].to(residual.device), self.b[spot].to(residual.device)
        return (residual + (residual.to(A) @ A + b)).to(residual)

    @classmethod
    def identity(cls, model: Any, sites: Where | Sequence[Where] = EVERY_LAYER) -> "TunedLens":
        """A lens whose translators are zero, which is the logit lens. ``sites``: as in `train_tuned_lens`."""
        parts = anatomy(model)
        weight = model.get_input_embeddings().weight
        spots = dict.fromkeys(_same(*spot) for spot in spell_out(model, sites))
        spots.pop(("resid_post", parts.n_layers - 1), None)
        zeros = torch.zeros(parts.d_model, parts.d_model, device=weight.device)
        return cls({spot: zeros.clone() for spot in spots}, {spot: zeros[0].clone() for spot in spots}, parts.n_layers)

    def save(self, path: str | Path) -> None:
        """Write the lens to ``path``, a safetensors file; one that is there stays whole until the new one is."""
        path = Path(path)
        tensors = {
            f"{site}.{layer}.{name}": value.contiguous()
            for name, values in (("A", self.A), ("b", self.b))
            for (site, layer), value in values.items()
        }
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            save_file(tensors, unfinished, {"format": FORMAT, "n_layers": str(self.n_layers)})
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "TunedLens":
        """The lens that `save` wrote to ``path``. Raises `ValueError` where there is none."""
        if not Path(path).is_file():
            raise ValueError(f"there is no file {str(path)!r} to load a tuned lens from.")
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as damage:
            raise ValueError(f"{str(path)!r} is no safetensors file, or damaged ({damage}).") from None
        if metadata.get("format") != FORMAT:
            raise ValueError(f"{str(path)!r} holds no tuned lens, but {', '.join(list(tensors)[:3]) or 'nothing'} ...")
        named: dict[str, dict[Spot, Tensor]] = {"A": {}, "b": {}}
        for name, value in tensors.items():
            site, layer, kind = name.split(".")
            named[kind][site, int(layer)] = value
        order = sorted(named["A"], key=lambda spot: (spot[1], RESIDUAL.index(spot[0])))
        return cls(
            {spot: named["A"][spot] for spot in order},
            {spot: named["b"][spot] for spot in order},
            int(metadata["n_layers"]),
        )


def train_tuned_lens(
    model: Any,
    batches: Sequence[Int[Tensor, "batch position"]],
    sites: Where | Sequence[Where] = EVERY_LAYER,
    steps: int = 250,
    seed: int = 0,
    chunk: int = 128,
    progress: bool = True,
) -> TunedLens:
    """Train a translator for each of ``sites``, to say there what ``model`` says in the end.

    Arguments:
        model: a Hugging Face language model that `interpwidgets.methods.lens.logit_lens` reads. Its weights stay as
            they are, and so do their gradients.
        batches: token ids, one batch for each step; used again, in another order, when they run out.
        sites: where translators are wanted, as in `logit_lens`: before the first layer and after each, unless given.
            Translators are trained side by side and independent of each other.
        steps: how many batches to learn from.
        seed: of the order of the batches. The same seed on the same machine gives the same lens.
        chunk: for how many positions logits and their gradients are held at a time: about six times ``chunk`` x
            vocabulary float32 numbers, whatever the number of places and positions.
        progress: show a bar if this takes longer than a few seconds.

    Raises `ValueError` for batches that the model cannot read, sizes that cannot be, and as `logit_lens` does.

    Source: Belrose et al. 2023.
    """
    batches = list(batches)
    if not batches:
        raise ValueError("a tuned lens is trained on batches of tokens, but there are none.")
    for name, value in (("steps", steps), ("chunk", chunk)):
        if value < 1:
            raise ValueError(f"{name} has to be at least 1; it is {value}.")
    readout(model)  # refuses models that have no end of the usual kind
    lens = TunedLens.identity(model, sites)
    for batch in batches:
        expect_runnable(anatomy(model), batch)
    size = {spot: _size(rows) for spot, rows in residual_streams(model, batches[0], lens.A).items()}
    pairs = {spot: [lens.A[spot].requires_grad_(), lens.b[spot].requires_grad_()] for spot in lens.A}
    order = _order(len(batches), steps, seed)
    descent = [_Descent(pair, steps) for pair in pairs.values()]
    for which in tqdm(order, delay=BAR_AFTER, leave=False, disable=not progress, unit="step"):
        _add_gradients(model, batches[which], pairs, size, chunk)
        for each in descent:
            each.step()
    return TunedLens(
        {spot: A.detach() for spot, (A, _) in pairs.items()},
        {spot: (b * size[spot]).detach() for spot, (_, b) in pairs.items()},
        lens.n_layers,
    )


def _add_gradients(
    model: Any,
    tokens: Int[Tensor, "batch position"],
    pairs: dict[Spot, list[Tensor]],
    size: dict[Spot, Tensor],
    chunk: int,
) -> None:
    """Add to each translator's ``.grad`` the gradient of its divergence, averaged over the positions of ``tokens``.

    The gradient of KL(end || here) for the logits of here is simply the difference of the two distributions.
    """
    to_logits = readout(model)
    end: Spot = ("resid_post", anatomy(model).n_layers - 1)
    stream = residual_streams(model, tokens, {*pairs, end})
    for start in range(0, tokens.numel(), chunk):
        rows = slice(start, start + chunk)
        with torch.no_grad():
            final = to_logits(stream[end][rows]).float().softmax(-1)
        for spot, (A, b) in pairs.items():
            x = stream[spot][rows]
            with torch.enable_grad():
                logits = to_logits((x + (x.to(A) @ A + b * size[spot])).to(x))
            slope = (logits.detach().float().softmax(-1) - final) / tokens.numel()
            found = torch.autograd.grad(logits, [A, b], grad_outputs=slope.to(logits))
            for weight, gradient in zip((A, b), found, strict=True):
                weight.grad = gradient if weight.grad is None else weight.grad + gradient


class _Descent:
    """Gradient descent for one translator, which no other translator has a part in."""

    def __init__(self, weights: list[Tensor], steps: int) -> None:
        self.weights = weights
        # torch counts momentum so that it makes steps 1 / (1 - momentum) times as long
        rate = LEARNING_RATE * (1 - MOMENTUM)
        self.optimizer = SGD(weights, rate, MOMENTUM, nesterov=True, weight_decay=WEIGHT_DECAY)
        self.schedule = LambdaLR(self.optimizer, lambda step: 1 - step / steps)

    def step(self) -> None:
        clip_grad_norm_(self.weights, CLIP)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()


def _size(rows: Float[Tensor, "row d_model"]) -> Float[Tensor, ""]:
    """The root mean square of a typical position: the median, as a first token can be hundreds of times larger."""
    return rows.float().square().mean(-1).sqrt().median()


def _order(n_batches: int, steps: int, seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    rounds = [torch.randperm(n_batches, generator=generator) for _ in range(-(-steps // n_batches))]
    return [int(which) for which in torch.cat(rounds)[:steps]]


def _same(site: str, layer: int) -> Spot:
    """One name for each place: what enters a layer is what left the one before."""
    return ("resid_post", layer - 1) if site == "resid_pre" and layer > 0 else (site, layer)
