"""Look inside transformers: widgets to touch, methods to read, a course to work through.

    from interpwidgets import AttentionHeads, load

    AttentionHeads.from_model(load("gpt2"), "The cat sat on the mat because it was tired.")

The names below load on first use: ``import interpwidgets`` imports neither torch nor transformers.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from interpwidgets._version import __version__

if TYPE_CHECKING:
    from interpwidgets.course.check import check
    from interpwidgets.course.hints import hint, reset, solution
    from interpwidgets.course.progress import progress
    from interpwidgets.course.questions import answer, ask
    from interpwidgets.models.load import load
    from interpwidgets.models.taps import Tap
    from interpwidgets.widgets.attention_heads import AttentionHeads
    from interpwidgets.widgets.figure import figure
    from interpwidgets.widgets.induction_heads import InductionHeads
    from interpwidgets.widgets.link import link
    from interpwidgets.widgets.logit_lens import LogitLens
    from interpwidgets.widgets.superposition_toy import SuperpositionToy

_HOMES = {
    "AttentionHeads": "interpwidgets.widgets.attention_heads",
    "InductionHeads": "interpwidgets.widgets.induction_heads",
    "LogitLens": "interpwidgets.widgets.logit_lens",
    "SuperpositionToy": "interpwidgets.widgets.superposition_toy",
    "Tap": "interpwidgets.models.taps",
    "answer": "interpwidgets.course.questions",
    "ask": "interpwidgets.course.questions",
    "check": "interpwidgets.course.check",
    "figure": "interpwidgets.widgets.figure",
    "hint": "interpwidgets.course.hints",
    "link": "interpwidgets.widgets.link",
    "load": "interpwidgets.models.load",
    "progress": "interpwidgets.course.progress",
    "reset": "interpwidgets.course.hints",
    "solution": "interpwidgets.course.hints",
}

__all__ = [
    "AttentionHeads",
    "InductionHeads",
    "LogitLens",
    "SuperpositionToy",
    "Tap",
    "__version__",
    "answer",
    "ask",
    "check",
    "figure",
    "hint",
    "link",
    "load",
    "progress",
    "reset",
    "solution",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
