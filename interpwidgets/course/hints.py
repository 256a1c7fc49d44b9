"""Help on request: hints one level at a time, the solution after a pass or a few tries, a fresh start.

    hint("05.2")            # the first of three; once more for the second
    solution("05.2")        # the source of the reference, after a pass or three tries
    reset("05.2")           # tries, hints and pass of this exercise are forgotten

What was opened stays open and is recorded, never charged.
"""

import inspect
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from interpwidgets.course import progress, registry
from interpwidgets.course.exercise import Exercise

TRIES = 3  # after as many the solution opens


@dataclass
class Help:
    """What is open of an exercise. Shows itself: ``hints`` in order, the ``solution`` or what opens it."""

    exercise: Exercise
    hints: Sequence[str]
    solution: str = ""
    opens: str = ""
    notes: Sequence[str] = field(default_factory=list)

    def __repr__(self) -> str:
        from interpwidgets.course.help_report import help_text

        return help_text(self)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from interpwidgets.course.help_report import help_html, help_text

        return {"text/plain": help_text(self), "text/html": help_html(self)}


def hint(name: str) -> Help:
    """Open the next hint of exercise ``name``; those opened before stay open."""
    exercise = registry.exercise(name)
    shown = min(progress.standing(exercise.id).hints + 1, len(exercise.hints))
    progress.note(exercise.id, "hint", str(shown))
    return Help(exercise, exercise.hints[:shown], opens=_opens(exercise), notes=_notes())


def solution(name: str) -> Help:
    """The reference of exercise ``name``, once it is passed or was tried three times; else what is still missing."""
    exercise = registry.exercise(name)
    hints = exercise.hints[: progress.standing(exercise.id).hints]
    if missing := _opens(exercise):
        return Help(exercise, hints, opens=missing, notes=_notes())
    progress.note(exercise.id, "solution")
    return Help(exercise, hints, solution=_source(exercise), notes=_notes())


def reset(name: str) -> Help:
    """Forget tries, hints and pass of exercise ``name``; the cell stays as it is."""
    exercise = registry.exercise(name)
    progress.note(exercise.id, "reset")
    return Help(exercise, [], opens=_opens(exercise), notes=["Started over.", *_notes()])


def _opens(exercise: Exercise) -> str:
    now = progress.standing(exercise.id)
    if now.passed or now.tries >= TRIES:
        return ""
    more = TRIES - now.tries
    return f"after {more} more {'try' if more == 1 else 'tries'}, or a pass"


def _notes() -> list[str]:
    return [sentence for sentence in [progress.trouble()] if sentence]


def _source(exercise: Exercise) -> str:
    return textwrap.dedent(inspect.getsource(inspect.unwrap(exercise.reference))).rstrip()
