"""What a model of the zoo is: a name, how to train it, and how to tell whether it came out right.

from interpwidgets import load
from interpwidgets.zoo.registry import ZOO
from interpwidgets.zoo.spec import measure

spec = ZOO["attn2l"]
spec.recipe                         # {"seed": 0, "steps": 1500, ...}
measure(spec, "attn2l")             # {"accuracy on repeated words": Measured(0.998, at_least=0.97), ...}
made = spec.train()                 # from nothing
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from interpwidgets.models.load import checkpoints, load

Progress = Callable[[int, float], None]  # progress(step, loss)


@dataclass(frozen=True)
class Measured:
    """A number, and what it has to be where it has to be something."""

    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ok(self) -> bool:
        enough = self.at_least is None or self.value >= self.at_least
        return enough and (self.at_most is None or self.value <= self.at_most)

    def __str__(self) -> str:
        wanted = [
            f"{word} {bound:g}"
            for word, bound in (("at least", self.at_least), ("at most", self.at_most))
            if bound is not None
        ]
        return f"{self.value:.3f}" + (f" ({', '.join(wanted)}{'' if self.ok else ': FAILS'})" if wanted else "")


@dataclass(frozen=True)
class Made:
    """A model as it leaves training, and its weights at the steps on the way that are worth keeping."""

    model: nn.Module  # a PreTrainedModel, with ``model.tokenizer`` if it reads text
    series: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)
    steps: int = 0  # how many there were
    minutes: float = 0.0  # of processor time


@dataclass(frozen=True)
class ZooModel:
    """One model of the zoo."""

    name: str
    purpose: str  # a sentence: what it is there to show
    architecture: str  # a sentence
    data: str  # a sentence
    limits: str  # a sentence or two: what it cannot do, and what is not so clean in it
    recipe: Mapping[str, Any]  # everything that training depends on, and the number of "steps"; it stands in the card
    train: Callable[..., Made]  # train(progress=None, state=None); see `training.fit`
    accept: Callable[[Any], dict[str, Measured]]  # accept(model)
    accept_series: Callable[[Mapping[int, Any]], dict[str, Measured]] | None = None  # the models at the steps kept
    precision: Literal["float32", "float16"] = "float32"  # of the weights in their file; `load` gives float32
    more: Callable[[Any], Mapping[str, Any]] | None = None  # more(model): further parts of the card, such as samples


def measure(spec: ZooModel, where: str | Path) -> dict[str, Measured]:
    """What the model named ``where``, or saved in that directory, has to be able to do, measured."""
    measured = spec.accept(load(where))
    if spec.accept_series is not None:
        measured |= spec.accept_series({step: load(where, checkpoint=step) for step in checkpoints(where)})
    return measured
