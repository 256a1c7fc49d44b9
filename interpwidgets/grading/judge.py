"""Verdicts on answers that run in a sandbox. Inputs, references, tolerances and words stay here.

    with Sandbox() as room:
        for verdict in verdicts(program, chapter.exercises, seed_of, room):
            verdict.passed, verdict.headline

The judging is that of `interpwidgets.course.check`; only the call of the answer happens elsewhere, in a child of its
own for each exercise, which learns the inputs one case at a time and never what is expected. Whatever a submission
does, there is a verdict, and it is a fail unless every case agrees.

Values are all that a child cannot make up. That inputs are unchanged and no hook is left is measured beside learner
code, which could lie about it; but only an answer whose values are right gains anything by that.
"""

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from interpwidgets.course import CourseError, reading
from interpwidgets.course.attempt import Outcome, Stopped
from interpwidgets.course.check import Trial, judge
from interpwidgets.course.exercise import Answer, Arguments, Exercise
from interpwidgets.course.verdict import Failure, State, Verdict
from interpwidgets.grading.sandbox import GRACE, Limits, Lost, Session
from interpwidgets.grading.wire import Foreign, Garbled, heard, packed

_CPU = torch.device("cpu")
_UNJUDGED = "Unjudged"
_STATES = ("absent", "broken", "there")
_SAID, _MANY, _PRINTED = 400, 20, 20_000  # characters of a sentence, things in a list, characters of what it printed


@dataclass(frozen=True)
class Program:
    """What may run of a notebook: the name of each cell, and its source reduced to imports, definitions, constants."""

    cells: tuple[tuple[str, str], ...]


class Room(Protocol):
    """Where answers run: `interpwidgets.grading.sandbox.Sandbox`, or `Unsafe`."""

    limits: Limits

    def session(self) -> Any:
        """A context manager with a `Session`."""


def verdicts(
    program: Program, exercises: Sequence[Exercise], seed_of: Callable[[Exercise], int], room: Room
) -> list[Verdict]:
    """A verdict for each exercise; ``seed_of`` says which inputs it is tried on.

    Raises `CourseError` if the sandbox or a reference of ours does not work; never for what a submission does.
    """
    return [_verdict(program, exercise, seed_of(exercise), room) for exercise in exercises]


def _verdict(program: Program, exercise: Exercise, seed: int, room: Room) -> Verdict:
    with room.session() as session:
        try:
            return _judged(program, exercise, seed, session)
        except CourseError:
            raise
        except Exception as error:  # a stranger has found what nobody has thought of: no reason to stop
            return unjudged(exercise, error, room.limits.seconds)


def _judged(program: Program, exercise: Exercise, seed: int, session: Session) -> Verdict:
    elsewhere, seconds = _Elsewhere(session), session.limits.seconds
    try:
        about = elsewhere.prepare(program, exercise)
    except Lost as lost:
        return _fails(exercise, _stopped(lost), seconds)
    if about["state"] == "absent":
        return _absent(exercise)
    if about["error"]:
        return _fails(exercise, about["error"], seconds)
    trial = Trial(elsewhere.call, [_CPU], seed % (1 << 31))
    return judge(exercise, about["answer"], seconds, extras=False, trial=trial)


def unjudged(exercise: Exercise, error: Exception, seconds: float) -> Verdict:
    """The fail of an answer that the grader itself stumbled over; `flag` tells the teacher."""
    return _fails(exercise, Stopped((_UNJUDGED, "Lost"), f"the grader stopped at it ({type(error).__name__})"), seconds)


def flag(verdict: Verdict) -> str | None:
    """A sentence for the teacher about a verdict that is none of the answer's making, else None."""
    stop = verdict.failure.stop if verdict.failure else None
    if stop is None or stop.error != _UNJUDGED:
        return None
    return f"{verdict.exercise.id} could not be judged: {stop.message}. It earns nothing; please look at it by hand."


def _absent(exercise: Exercise) -> Verdict:
    failure = Failure("signature", "No answer.", [f"No cell defines `{exercise.name}`."])
    return Verdict(exercise, "unstarted", "No answer.", failure=failure)


def _fails(exercise: Exercise, error: Stopped, seconds: float) -> Verdict:
    failure = reading.stopped(error, seconds)
    state: State = "stopped"
    return Verdict(exercise, state, failure.headline, failure=failure)


# -- the other side -----------------------------------------------------------------------------------------------


class _Answer:
    """Stands for a function that runs elsewhere; it has that one's signature."""

    def __init__(self, name: str, signature: inspect.Signature | None) -> None:
        self.__name__ = name
        if signature:
            self.__signature__ = signature

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        raise AssertionError("an answer of somebody else is never called here")


class _Elsewhere:
    """One child: what it is told, and what it says, taken for what a stranger says."""

    def __init__(self, session: Session) -> None:
        self._session, self._limits = session, session.limits

    def prepare(self, program: Program, exercise: Exercise) -> dict[str, Any]:
        """Let it define everything; {"state", "error", "answer"}. Raises `Lost`."""
        job = {
            "cells": [list(cell) for cell in program.cells],
            "name": exercise.name,
            "drive": f"{exercise.drive.__module__}:{exercise.drive.__qualname__}" if exercise.drive else "",
            "limit": self._limits.result,
            "seconds": self._limits.seconds,
        }
        try:
            return _about(self._hear(job, self._limits.seconds))
        except Garbled as error:
            raise _forged(error) from None

    def call(self, answer: Answer, arguments: Arguments, drive: Any, seconds: float) -> Outcome:
        """As `interpwidgets.course.attempt.attempt`, elsewhere."""
        begin = time.monotonic()
        try:
            outcome = _outcome(self._hear((arguments, seconds), seconds), len(arguments))
        except Garbled as error:
            outcome = Outcome(error=_stopped(_forged(error)))
        except Lost as lost:
            outcome = Outcome(error=_stopped(lost))
        outcome.seconds = time.monotonic() - begin  # what it says of itself counts for nothing
        return outcome

    def _hear(self, question: Any, seconds: float) -> Any:
        return heard(self._session.ask(packed(question), seconds + GRACE))


def _forged(error: Garbled) -> Lost:
    return Lost("Garbled", f"what it says is no answer: {error}")


def _stopped(lost: Lost) -> Stopped:
    return Stopped(lost.names, str(lost))


# -- what a stranger says -----------------------------------------------------------------------------------------


def _about(said: Any) -> dict[str, Any]:
    if type(said) is not dict or type(said.get("state")) is not str or said["state"] not in _STATES:
        raise Garbled("it does not say what the notebook defines")
    error = _error(said.get("error"))
    if said["state"] == "broken" and not error:
        raise Garbled("it does not say why")
    return {"state": said["state"], "error": error, "answer": _answer(said)}


def _answer(said: dict[str, Any]) -> Any:
    if said.get("callable") is not True:
        return said.get("given", Foreign())
    return _Answer(_text(said.get("own"))[:_SAID], _signature(said.get("parameters")))


def _signature(parameters: Any) -> inspect.Signature | None:
    if parameters is None:
        return None
    if len(_list(parameters)) > _MANY or any(len(_list(one)) != 3 for one in parameters):
        raise Garbled("a function of too many parameters, or of half ones")
    try:
        return inspect.Signature([_parameter(*one) for one in parameters])
    except (TypeError, ValueError):  # `Garbled` is one
        raise Garbled("a function without parameters that can be") from None


def _parameter(name: Any, kind: Any, optional: Any) -> inspect.Parameter:
    if len(_text(name)) > _SAID or type(kind) is not int:
        raise Garbled("a parameter of no kind")
    empty = inspect.Parameter.empty
    return inspect.Parameter(name, inspect._ParameterKind(kind), default=None if optional is True else empty)


def _outcome(said: Any, arguments: int) -> Outcome:
    if type(said) is not dict:
        raise Garbled("it does not say what came of a case")
    changed = [at for at in _list(said.get("changed")) if type(at) is int and 0 <= at < arguments]
    return Outcome(said.get("value"), _error(said.get("error")), changed, 0.0, _text(said.get("printed"))[:_PRINTED])


def _error(said: Any) -> Stopped | None:
    if said is None:
        return None
    if len(_list(said)) != 5:
        raise Garbled("an exception without its parts")
    names, message, at, lines, stub = said
    told = tuple(_text(name)[:_SAID] for name in _list(names)[:_MANY]) or ("Exception",)
    if at is not None and type(at) is not int:
        raise Garbled("an exception in no line")
    shown = [
        (one[0], _text(one[1])[:_SAID])
        for one in _list(lines)[:_MANY]
        if type(one) is list and len(one) == 2 and type(one[0]) is int
    ]
    return Stopped(told, _text(message)[:_SAID], at, shown, _text(stub)[:_SAID])


def _text(said: Any) -> str:
    if type(said) is not str:
        raise Garbled("something else where a text belongs")
    return said


def _list(said: Any) -> list[Any]:
    if type(said) is not list:
        raise Garbled("something else where a list belongs")
    return said
