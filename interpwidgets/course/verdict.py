"""What a check found, as data; `interpwidgets.course.report` makes a page and a text of it.

verdict = check("05.2", induction_score)
verdict.passed                  # False
verdict.state                   # "differs"
verdict.failure.headline        # "4 of 8 values differ."
verdict.mistake.name            # "one key too early"
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from interpwidgets.course.exercise import Arguments, Exercise, Found, Mistake

State = Literal["passed", "differs", "stopped", "unstarted"]


@dataclass(frozen=True)
class Chip:
    """One axis of a result: its name, its length, and whether it is the odd one out."""

    name: str
    length: int | None
    odd: bool = False


@dataclass(frozen=True)
class Stop:
    """Where somebody's code stopped: the lines around, the number of that line, and Python's own sentence."""

    lines: Sequence[tuple[int, str]]
    at: int | None
    error: str
    message: str


@dataclass(frozen=True)
class Comparison:
    """Target and answer on one case, of the same shape: numpy arrays. ``part`` names one of several results."""

    target: Any
    yours: Any
    differs: Any
    axes: Sequence[str]
    part: str = ""


@dataclass(frozen=True)
class Failure:
    """The first property that does not hold on the smallest failing case.

    ``headline`` is the fact of the verdict line, ``sentences`` are its paragraphs, ``next`` one thing to look at.
    """

    property: str
    headline: str
    sentences: Sequence[str] = ()
    next: str = ""
    chips: tuple[Sequence[Chip], Sequence[Chip]] | None = None
    stop: Stop | None = None
    comparison: Comparison | None = None


@dataclass(frozen=True)
class Device:
    """How many cases agree on one device; ``state`` "absent" counts for nothing."""

    name: str
    state: Literal["passed", "differs", "stopped", "unstarted", "absent"]
    text: str


@dataclass(frozen=True)
class Cost:
    """Seconds of the answer and of the reference on the longest case, and bytes that each allocated (or None)."""

    case: str
    seconds: float
    reference_seconds: float
    bytes: int | None = None
    reference_bytes: int | None = None


@dataclass
class Verdict:
    """The answer to one `check`. Shows itself in a notebook, and as text everywhere else."""

    exercise: Exercise
    state: State
    headline: str
    held: Sequence[str] = ()
    failure: Failure | None = None
    mistake: Mistake | None = None
    case: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    printed: str = ""
    devices: Sequence[Device] = ()
    cost: Cost | None = None
    found: Found | None = None
    following: Exercise | None = None
    tries: int = 0
    hints: int = 0
    passed_before: bool = False
    notes: Sequence[str] = ()
    chapter: Sequence[Mapping[str, Any]] = ()  # its items with their states, as `progress.chapters` has them

    @property
    def passed(self) -> bool:
        """True if every case agrees on every device that is present."""
        return self.state == "passed"

    @property
    def points(self) -> int:
        """The points of the exercise after a pass, now or before, else 0."""
        return self.exercise.points if self.passed or self.passed_before else 0

    @property
    def report(self) -> Failure | None:
        """The parts of what does not hold; None after a pass."""
        return self.failure

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        from interpwidgets.course.report import text

        return text(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from interpwidgets.course.report import html, text

        return {"text/plain": text(self), "text/html": html(self)}


def named(arguments: Arguments, names: Sequence[str]) -> dict[str, Any]:
    """Arguments with the names of the parameters that take them."""
    spare = [f"argument {at + 1}" for at in range(len(names), len(arguments))]
    return dict(zip([*names, *spare], arguments, strict=False))
