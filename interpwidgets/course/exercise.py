"""What an exercise is: a reference, inputs to compare on, promises that hold for every answer, and known mistakes.

    DOUBLE = Exercise(
        id="99.1", title="Twice as much", points=1, minutes=2, lines=(1, 1),
        reference=double,
        cases=[Case("one number", lambda seed, device: (torch.tensor([3.0], device=device),))],
        mistakes=[Mistake("squared", lambda x: x * x, "You multiply x by itself.", "Next: what is twice 3?")],
        hints=["Idea ...", "Shape of the solution ...", "Pseudo-code ..."],
        first_step="Write down twice 3.",
    )

The content of a chapter is data of these types, in ``interpwidgets/exercises/chNN.py`` (a list ``EXERCISES`` and a list
``QUESTIONS``); ``"05.2"`` is looked for in ``ch05``. `interpwidgets.course.check` compares an answer with an exercise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

Arguments = tuple[Any, ...]
Answer = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """One input. ``make(seed, device)`` returns the arguments, always the same for a seed; tensors on ``device``.

    ``name`` is what the learner reads: "A B C D A B C D, period 4". The smallest, hand-made case comes first.
    """

    name: str
    make: Callable[[int, torch.device], Arguments]


@dataclass(frozen=True)
class Property:
    """A promise beyond the values, such as "rows sum to one"; ``broken`` says in a sentence how it fails, or None."""

    name: str
    broken: Callable[[Arguments, Any], str | None]


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people really give, and what to say to them.

    ``name`` completes "This is a known mistake: ..."; ``sentence`` says what the answer does instead of what is asked;
    ``next`` is one concrete thing to look at, never the answer.
    """

    name: str
    answer: Answer
    sentence: str
    next: str


@dataclass(frozen=True)
class Found:
    """What a passing answer shows on a real model: a matrix [row, column] and one sentence about it."""

    title: str
    values: Any
    rows: str
    columns: str
    sentence: str


@dataclass(frozen=True)
class Exercise:
    """One thing that the learner writes.

    ``reference`` lives in ``interpwidgets.methods`` and has the name and parameters of the learner's function.
    ``drive(answer, *arguments)`` turns an answer that is no plain function of arrays (a class, a loop) into arrays.
    ``accepted`` are right answers written in other ways; the tests hold that they pass. ``axes`` names the axes of the
    result ("layer", "head"). ``tolerance``: dtype name -> (relative, absolute), over the defaults of `check`.
    ``found`` runs a passing answer on a shipped model.
    """

    id: str
    title: str
    points: int
    minutes: int
    lines: tuple[int, int]
    reference: Answer
    cases: Sequence[Case]
    mistakes: Sequence[Mistake]
    hints: Sequence[str]
    first_step: str
    axes: Sequence[str] = ()
    properties: Sequence[Property] = ()
    accepted: Sequence[Answer] = ()
    drive: Callable[..., Any] | None = None
    tolerance: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    found: Callable[[Answer], Found] | None = None

    @property
    def name(self) -> str:
        """The name of the function that the learner writes."""
        return self.reference.__name__


@dataclass(frozen=True)
class Option:
    """One answer to choose, and what to say to who chose it."""

    text: str
    reason: str
    right: bool = False


@dataclass(frozen=True)
class Question:
    """Pick one option, or type a number: ``number`` with ``unit``, right within ``within``; ``slips`` maps wrong
    numbers that people really give to a sentence. ``reason`` is told with the right number."""

    id: str
    title: str
    text: str
    points: int = 1
    options: Sequence[Option] = ()
    number: float | None = None
    unit: str = ""
    within: float = 0.01
    slips: Mapping[float, str] = field(default_factory=dict)
    reason: str = ""
