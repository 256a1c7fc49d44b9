"""What a model of the zoo is: a name, how to train it, and how to tell whether it came out right.

from interpwidgets import load
from interpwidgets.zoo.registry import ZOO

spec = ZOO["attn2l"]
spec.recipe                         # {"seed": 0, "steps": 1500, ...}
spec.accept(load("attn2l"))         # {"accuracy on repeated words": Measured(0.998, at_least=0.97), ...}
made = spec.train()                 # from nothing, on the processor
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

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

    model: PreTrainedModel  # with ``model.tokenizer``
    series: Mapping[int, Mapping[str, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class ZooModel:
    """One model of the zoo."""

    name: str
    architecture: str  # a sentence
    data: str  # a sentence
    recipe: Mapping[str, Any]  # everything that training depends on; it stands in the card
    train: Callable[..., Made]  # train(progress=None)
    accept: Callable[[Any], dict[str, Measured]]
