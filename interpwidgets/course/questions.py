"""Questions of understanding: pick one option, or type a number; the reason stands in what was chosen.

ask("05.A")             # shows the question with its options, numbered
answer("05.A", 2)       # picks the second
answer("05.B", 4.16)    # a number
"""

import math
from dataclasses import dataclass
from typing import Any

from interpwidgets.course import progress, registry
from interpwidgets.course.exercise import Question


@dataclass
class Asked:
    """A question as it stands: what was ``given`` (None before the first answer), what is said to it."""

    question: Question
    given: Any = None
    right: bool = False
    said: str = ""
    slip: bool = False
    tries: int = 0
    notes: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        """The points of the question after a right answer, else 0."""
        return self.question.points if self.right else 0

    def __repr__(self) -> str:
        from interpwidgets.course.help_report import question_text

        return question_text(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from interpwidgets.course.help_report import question_html, question_text

        return {"text/plain": question_text(self), "text/html": question_html(self)}


def ask(name: str) -> Asked:
    """Show question ``name`` ("05.A")."""
    return Asked(registry.question(name))


def answer(name: str, given: Any) -> Asked:
    """Answer question ``name`` with the number of an option, counted from 1, or with a number; ``...`` shows it."""
    if given is ...:
        return ask(name)
    question = registry.question(name)
    asked = judged(question, given)
    if asked.given is not None:
        progress.note(question.id, "answer", "passed" if asked.right else "differs")
    asked.tries = progress.standing(question.id).tries
    asked.notes = tuple(filter(None, [progress.trouble()]))
    return asked


def judged(question: Question, given: Any) -> Asked:
    """What is said to an answer; nothing is remembered. An answer of another kind leaves ``given`` None."""
    return _choice(question, given) if question.options else _number(question, given)


def _choice(question: Question, given: Any) -> Asked:
    count = len(question.options)
    call = f'answer("{question.id}", 2)'
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= count:
        return Asked(question, said=f"The options are numbered 1 to {count}; you gave {_short(given)}. Example: {call}")
    option = question.options[given - 1]
    return Asked(question, given, option.right, option.reason)


def _number(question: Question, given: Any) -> Asked:
    unit = f", in {question.unit}" if question.unit else ""
    try:
        value = math.nan if isinstance(given, (bool, str)) else float(given)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        example = f'answer("{question.id}", 1.5)'
        return Asked(question, said=f"The answer is a number{unit}; you gave {_short(given)}. Example: {example}")
    assert question.number is not None
    if abs(value - question.number) <= question.within + 1e-12:
        return Asked(question, value, True, question.reason)
    near = [(wrong, told) for wrong, told in question.slips.items() if abs(value - wrong) <= question.within + 1e-12]
    if near:
        return Asked(question, value, said=near[0][1], slip=True)
    return Asked(question, value, said="No known slip fits this number.")


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:39]}…"
