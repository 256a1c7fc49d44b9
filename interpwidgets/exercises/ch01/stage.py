"""What the answers of chapter 01 meet where they run: a model to hang hooks on, edits, and what is measured of a run.

    machine = Machine()                                     # embed, mixer, mlp, stop, unembed
    recorded(answer, machine, tokens, ["mlp"])              # what the answer kept, and how many hooks it has left

This module goes with the answer, also where nothing else of the exercises is: it knows no reference. ``sizes`` is what
makes another model of the same shape.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

Edit = Callable[[Tensor], Tensor]
Answer = Callable[..., Any]

# -- models -----------------------------------------------------------------------------------------------------------


class Mixer(nn.Module):
    """Means over earlier positions; like the attention of the library it returns a tuple."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        steps = torch.arange(1, x.shape[1] + 1, device=x.device)[:, None]
        means = x.cumsum(1) / steps
        return self.out(means), means.tanh(), means.flip(-1)


class Stop(nn.Module):
    """Passes everything on, or stops the whole run."""

    stops = False

    def forward(self, x: Tensor) -> Tensor:
        if self.stops:
            raise RuntimeError("this model was told to stop here")
        return x


class Machine(nn.Module):
    """embed, mixer, mlp, stop, unembed: what a model has, in the smallest size."""

    def __init__(self, vocab: int = 11, d_model: int = 6) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocab, d_model)
        self.mixer = Mixer(d_model)
        self.mlp = nn.Sequential(nn.Linear(d_model, 8), nn.ReLU(), nn.Linear(8, d_model))
        self.stop = Stop()
        self.unembed = nn.Linear(d_model, vocab)
        self.sizes = {"vocab": vocab, "d_model": d_model}

    def forward(self, tokens: Tensor) -> Any:
        x = self.embed(tokens)
        mixed = self.mixer(x)  # whatever a hook has made of it: what is missing is not added
        parts = [mixed] if isinstance(mixed, Tensor) else mixed
        x = x + sum(part / (at + 1) for at, part in enumerate(parts))
        x = x + self.mlp(x)
        return SimpleNamespace(logits=self.unembed(self.stop(x)))


class Bigram(nn.Module):
    """Guesses the next token from the current one: the smallest language model."""

    def __init__(self, vocab: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab, vocab)
        self.sizes = {"vocab": vocab}

    def forward(self, tokens: Tensor) -> Any:
        return SimpleNamespace(logits=self.table(tokens))


# -- edits ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ToZero:
    """Writes nothing."""

    def __call__(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


@dataclass(frozen=True)
class Shifted:
    """Twice as much, and one more."""

    def __call__(self, x: Tensor) -> Tensor:
        return 2 * x + 1


@dataclass(frozen=True)
class OnlyTheLastPlace:
    """The other sign, at the last position."""

    def __call__(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, :-1], -x[:, -1:]], 1)


# -- what a run leaves behind -----------------------------------------------------------------------------------------


def hooks(model: nn.Module) -> int:
    """How many hooks hang on a model."""
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def unhooked(model: nn.Module) -> None:
    """Take away whatever hooks an answer has left."""
    for module in model.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()


LEFT, AFTER_A_STOP, WHOLE = "hooks left", "hooks left after a stop", "the whole object"


def _stopped(model: Machine, call: Callable[[], Any]) -> int:
    """How many hooks hang on the model after a run that stops half way; they are taken away."""
    model.stop.stops = True
    try:
        call()
    except RuntimeError:
        pass
    finally:
        model.stop.stops = False
    left = hooks(model)
    unhooked(model)
    return left


def recorded(answer: Answer, model: Machine, tokens: Tensor, names: Sequence[str]) -> Any:
    """What was kept, and how many hooks were left, after a run and after one that stopped."""
    kept = answer(model, tokens, names)
    left = hooks(model)
    unhooked(model)
    after_a_stop = _stopped(model, lambda: answer(model, tokens, names))
    return {**kept, LEFT: left, AFTER_A_STOP: after_a_stop} if type(kept) is dict else kept


def changed(answer: Answer, model: Machine, tokens: Tensor, name: str, edit: Edit) -> Any:
    """The logits of an edited run, whether they came in the model's own object, and how many hooks were left."""
    out = answer(model, tokens, name, edit)
    left = hooks(model)
    unhooked(model)
    after_a_stop = _stopped(model, lambda: answer(model, tokens, name, edit))
    whole = int(hasattr(out, "logits"))
    return {"logits": getattr(out, "logits", out), WHOLE: whole, LEFT: left, AFTER_A_STOP: after_a_stop}


def trained(answer: Answer, model: Any, tokens: Tensor, lr: float, steps: int) -> Any:
    """The loss of each step and the weights after the last, of a copy of the model."""
    model = deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    with torch.enable_grad():
        losses = [answer(model, tokens, optimizer) for _ in range(steps)]
    if not all(isinstance(loss, Tensor) for loss in losses):
        return losses[0]
    return {"loss": torch.stack([loss.detach() for loss in losses]), "weights": model.table.weight.detach()}
