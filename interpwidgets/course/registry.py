"""Exercises and questions, found by their id.

    from interpwidgets.course.registry import exercise, following, question

    exercise("05.2").title          # "05.2" is in interpwidgets/exercises/ch05.py, in its list EXERCISES
    question("05.A").text           # and "05.A" in its list QUESTIONS
    following("05.2")               # Exercise 05.3, or None after the last

A module of a chapter may say ``TITLE`` and ``PART`` for the table of progress.
"""

import difflib
import pkgutil
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TypeVar

from interpwidgets.course import CourseError
from interpwidgets.course.exercise import Exercise, Question

_Item = TypeVar("_Item", Exercise, Question)

_HOME = "interpwidgets.exercises"
_ID = re.compile(r"\s*(\d{1,2})\s*\.\s*(\d{1,2}|[A-Za-z])\s*")


@dataclass(frozen=True)
class Chapter:
    """What one module of `interpwidgets.exercises` holds, in the order of the chapter."""

    number: str
    title: str
    part: str
    exercises: Sequence[Exercise]
    questions: Sequence[Question]


def exercise(name: str) -> Exercise:
    """The exercise ``"05.2"`` (``"5.2"`` will do). Raises `CourseError` with the nearest id and the list."""
    chapter = _chapter_of(name, "exercise")
    if any(item.id == _wanted(name) for item in chapter.questions):
        item = _wanted(name)
        raise CourseError(f'{item} is a question: ask("{item}") shows it, answer("{item}", ...) answers it.')
    return _find(name, "exercise", chapter.exercises)


def question(name: str) -> Question:
    """The question ``"05.A"`` (``"5.a"`` will do). Raises `CourseError` with the nearest id and the list."""
    chapter = _chapter_of(name, "question")
    if any(item.id == _wanted(name) for item in chapter.exercises):
        item = _find(name, "exercise", chapter.exercises)
        raise CourseError(f'{item.id} is an exercise: write {item.name}, then check("{item.id}", {item.name}).')
    return _find(name, "question", chapter.questions)


def chapter(number: str) -> Chapter:
    """All that chapter ``"05"`` holds. Raises `CourseError` if no such chapter has exercises."""
    number = f"{int(number):02}" if number.isdecimal() else number
    try:
        module = import_module(f"{_HOME}.ch{number}")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(_HOME):
            raise
        there_are = ", ".join(numbers()) or "none yet"
        raise CourseError(f"No chapter {number} has exercises. Chapters with exercises: {there_are}.") from None
    title = getattr(module, "TITLE", f"Chapter {number}")
    part = getattr(module, "PART", "")
    return Chapter(number, title, part, tuple(module.EXERCISES), tuple(getattr(module, "QUESTIONS", ())))


@cache
def numbers() -> tuple[str, ...]:
    """The chapters that have exercises: ``("05",)``."""
    found = find_spec(_HOME)
    places = found.submodule_search_locations if found else None
    names = (module.name for module in pkgutil.iter_modules(places or []))
    return tuple(sorted(name[2:] for name in names if re.fullmatch(r"ch\d\d", name)))


def following(name: str) -> Exercise | None:
    """The exercise after this one in its chapter, or None."""
    exercises = list(_chapter_of(name, "exercise").exercises)
    after = exercises[[item.id for item in exercises].index(name) + 1 :]
    return after[0] if after else None


def _chapter_of(name: str, kind: str) -> Chapter:
    if not isinstance(name, str) or not (parts := _ID.fullmatch(name)):
        article, example = ("an", "05.2") if kind == "exercise" else ("a", "05.A")
        raise CourseError(f'The id of {article} {kind} is text such as "{example}"; this is {name!r}.')
    return chapter(f"{int(parts[1]):02}")


def _wanted(name: str) -> str:
    """The id as it is written in the course, from a name that `_chapter_of` has accepted."""
    parts = _ID.fullmatch(name)
    assert parts
    return f"{int(parts[1]):02}.{parts[2].upper().lstrip('0')}"


def _find(name: str, kind: str, items: Sequence[_Item]) -> _Item:
    wanted = _wanted(name)
    for item in items:
        if item.id == wanted:
            return item
    close = difflib.get_close_matches(wanted, [item.id for item in items], 1, 0)
    nearest = f' The nearest is "{close[0]}".' if close else ""
    there_are = "".join(f"\n  {item.id}  {item.title}" for item in items)
    raise CourseError(f"There is no {kind} {name!r}.{nearest} Chapter {wanted[:2]} has:\n{there_are}")
