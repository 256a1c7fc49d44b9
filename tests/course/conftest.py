"""A chapter 97 of toy exercises, and a folder of their own for what the learner of these tests has done.

def test_it(toys): toys.MEANS             # the exercises, also found as "97.1", "97.2", ...
"""

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from interpwidgets.course.exercise import Arguments, Case, Exercise, Found, Mistake, Option, Property, Question


def row_means(scores: Tensor, scale: float = 1.0) -> Tensor:
    """The mean of every row, times scale."""
    return scale * scores.mean(-1)


def pairs(x: Tensor) -> dict[str, Tensor]:
    """The smallest and the largest, under their names."""
    return {"low": x.amin(-1), "high": x.amax(-1)}


def count(x: Tensor) -> int:
    """How many entries are positive."""
    return int((x > 0).sum())


def outer(x: Tensor) -> Tensor:
    """x times x, transposed or not: a matrix that is not symmetric."""
    return x[:, None] - 2 * x[None, :]


class Adder:
    """A running sum: no plain function."""

    def __init__(self, start: float) -> None:
        self.total = start

    def add(self, x: Tensor) -> Tensor:
        self.total = self.total + x.sum()
        return torch.as_tensor(self.total)


def _hand(seed: int, device: torch.device) -> Arguments:
    return (torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 9.0]], device=device),)


def _random(*shape: int, dtype: torch.dtype = torch.float32) -> Case:
    def make(seed: int, device: torch.device) -> Arguments:
        return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(device, dtype),)

    return Case(f"random numbers, {list(shape)}", make)


MEANS = Exercise(
    id="97.1",
    title="Means of rows",
    points=2,
    minutes=5,
    lines=(1, 2),
    reference=row_means,
    axes=("row",),
    cases=[Case("two rows of three", _hand), _random(1, 5), _random(4, 4), _random(3, 2, dtype=torch.float64)],
    mistakes=[
        Mistake("sums", lambda scores: scores.sum(-1), "You add and do not divide.", "how many are in row 1?"),
        Mistake("columns", lambda scores: scores.mean(0), "You average columns.", "which axis is a row?"),
    ],
    accepted=[lambda scores: scores.sum(-1) / scores.shape[-1]],
    properties=[Property("no larger than the largest", lambda given, result: None)],
    hints=["Think of `averages`.", "One call.", "mean over <b>the last axis</b>\nreturn it"],
    first_step="work out the mean of 1, 2 and 3.",
    found=lambda answer: Found("On a real model", answer(torch.eye(3))[None], "layer", "head", "All are 0.33."),
)
PAIRS = Exercise(
    id="97.2", title="Extremes", points=1, minutes=2, lines=(1, 1), reference=pairs, cases=[_random(2, 3), _random(5)],
    mistakes=[], hints=["a", "b", "c"], first_step="look.",
)  # fmt: skip
COUNT = Exercise(
    id="97.3", title="Positive", points=1, minutes=2, lines=(1, 1), reference=count, cases=[_random(4), _random(2, 3)],
    mistakes=[], hints=["a", "b", "c"], first_step="look.",
)  # fmt: skip
OUTER = Exercise(
    id="97.4", title="A matrix", points=1, minutes=2, lines=(1, 1), reference=outer, cases=[_random(3), _random(4)],
    mistakes=[], hints=["a", "b", "c"], first_step="look.", axes=("row", "column"),
)  # fmt: skip
ADDER = Exercise(
    id="97.5", title="A running sum", points=1, minutes=2, lines=(3, 6), reference=Adder, cases=[_random(4)],
    mistakes=[], hints=["a", "b", "c"], first_step="look.",
    drive=lambda kind, x: torch.stack([(adder := kind(1.0)).add(x), adder.add(x)]),
)  # fmt: skip
QUESTIONS = [
    Question(
        "97.A",
        "predict, then look",
        "What becomes of <i>x</i>?",
        options=[Option("Nothing", "Look once more."), Option("It grows", "Right. By one.", right=True)],
    ),
    Question(
        "97.B",
        "a number",
        "Which loss?",
        number=4.16,
        unit="nats",
        slips={6.0: "That is in bits."},
        reason="ln 64 = 4.16.",
    ),
]


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERPWIDGETS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INTERPWIDGETS_STRICT", raising=False)


@pytest.fixture
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Chapter 97, as if it stood in interpwidgets/exercises."""
    module = types.ModuleType("interpwidgets.exercises.ch97")
    exercises = [MEANS, PAIRS, COUNT, OUTER, ADDER]
    module.__dict__.update(TITLE="Toys", PART="None", EXERCISES=exercises, QUESTIONS=QUESTIONS)
    module.__dict__.update(MEANS=MEANS, PAIRS=PAIRS, COUNT=COUNT, OUTER=OUTER, ADDER=ADDER, Adder=Adder)
    monkeypatch.setitem(sys.modules, "interpwidgets.exercises.ch97", module)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield module
    torch.set_num_threads(threads)
