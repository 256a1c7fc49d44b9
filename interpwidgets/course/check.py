"""An exercise and somebody's answer -> a `Verdict`.

    from interpwidgets import check

    check("05.2", induction_score)        # shows a report; ``.passed`` says it in a word

The answer runs on every case of the exercise, on the CPU and on the accelerator if there is one. What is reported is
the smallest failing case and the first property that does not hold there, in this order: callable with that signature,
no exception (and an end), type, shape, dtype, device, finite, inputs unchanged, the exercise's own properties, values.
All targets are computed before the answer runs for the first time.
"""

import inspect
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import torch

from interpwidgets.course import CourseError, reading, registry
from interpwidgets.course.attempt import Outcome, Stopped, attempt, copied, stopped, strided, undisturbed
from interpwidgets.course.compare import Rules, differing_values, first_difference, pairs, values_name
from interpwidgets.course.exercise import Answer, Arguments, Exercise, Found, Mistake
from interpwidgets.course.limits import limited
from interpwidgets.course.verdict import Cost, Device, Failure, State, Verdict, named

SECONDS = 10.0  # for all cases of one check on one device; more where the reference itself is slow
_MISSING: Any = object()


def check(name: str, answer: Any = _MISSING) -> Verdict:
    """Compare your function with exercise ``name`` ("05.2"); the result shows itself.

    Raises `CourseError` if there is no such exercise or no answer. With ``INTERPWIDGETS_STRICT`` or under nbgrader it
    also raises, with the report as its text, if the answer does not pass.
    """
    from interpwidgets.course import progress

    exercise = registry.exercise(name)
    if answer is _MISSING:
        raise CourseError(f'check needs your function too: check("{exercise.id}", {exercise.name})')
    verdict = judge(exercise, answer)
    verdict.following = registry.following(exercise.id)
    progress.record(verdict)
    if not verdict.passed and (os.environ.get("INTERPWIDGETS_STRICT") or os.environ.get("NBGRADER_EXECUTION")):
        raise CourseError(repr(verdict))
    return verdict


@dataclass(frozen=True)
class Trial:
    """Where and on what an answer is tried: how it is called, on which devices, with inputs of which ``seed``."""

    call: Callable[[Answer, Arguments, Callable[..., Any] | None, float], Outcome]
    devices: Sequence[torch.device]
    seed: int = 0


def judge(
    exercise: Exercise, answer: Any, seconds: float = SECONDS, extras: bool = True, trial: Trial | None = None
) -> Verdict:
    """The verdict on one answer; nothing is remembered. ``extras=False`` leaves out cost and what it finds.

    ``trial`` is for answers that run elsewhere; without it they run here, on every device of this machine.
    """
    trial = trial or Trial(attempt, devices())
    if failure := wrong_signature(exercise, answer):
        state: State = "differs"
        return Verdict(
            exercise, state, failure.headline, failure=failure, devices=[_waiting("CPU", "unstarted"), *_absent(trial)]
        )
    results = []
    for device in trial.devices:
        tried = _try(exercise, answer, device, seconds, trial)
        if tried[0].unstarted:
            return _unstarted(exercise, answer, tried[0], trial)
        results.append((device, tried))
        if any(one.yours.error and one.yours.error.name == "TimeUp" for one in tried):
            break
    failing = next((one for _, tried in results for one in tried if one.failure), None)
    lines = [*(_line(device, tried) for device, tried in results), *_absent(trial)]
    if failing is None:
        return _passed(exercise, answer, results[0][1], lines, extras)
    assert failing.failure
    state = "stopped" if failing.yours.error else "differs"
    mistake = recognised(exercise, [one for one in results[0][1]], seconds) if failing in results[0][1] else None
    return Verdict(
        exercise,
        state,
        failing.failure.headline,
        held=failing.held,
        failure=failing.failure,
        mistake=mistake,
        case=failing.name,
        arguments=named(failing.arguments, _parameters(exercise)),
        printed=failing.yours.printed,
        devices=lines,
    )


# -- what runs where ----------------------------------------------------------------------------------------------


@dataclass
class Tried:
    """One case with its target, the answer's outcome, and the first property that did not hold."""

    name: str
    arguments: Arguments
    target: Outcome
    yours: Outcome
    held: list[str]
    failure: Failure | None = None
    unstarted: str = ""


def devices() -> list[torch.device]:
    """The CPU, and the accelerators of this machine."""
    found = [torch.device("cpu")]
    if torch.cuda.is_available():
        found.append(torch.device("cuda", torch.cuda.current_device()))
    if torch.backends.mps.is_available():
        found.append(torch.device("mps"))
    return found


def inputs(exercise: Exercise, device: torch.device, seed: int = 0) -> list[tuple[str, Arguments]]:
    """All cases of an exercise on a device; the first with tensors comes once more, not contiguous in memory.

    ``seed`` 0 gives the inputs that learners see; the hand-made ones are the same for every seed.
    """
    made = [
        (case.name, _made(exercise, case.name, case.make, seed + at, device)) for at, case in enumerate(exercise.cases)
    ]
    for name, arguments in made:
        if any(isinstance(argument, torch.Tensor) and argument.dim() for argument in arguments):
            return [*made, (f"{name}, not contiguous in memory", strided(arguments))]
    return made


def _made(exercise: Exercise, name: str, make: Callable[..., Arguments], seed: int, device: torch.device) -> Arguments:
    try:
        return make(seed, device)
    except Exception as error:
        raise _ours(exercise, name, stopped(error, make)) from error


def targets(exercise: Exercise, cases: Sequence[tuple[str, Arguments]]) -> list[Outcome]:
    """What the reference returns for each case."""
    found = [attempt(exercise.reference, arguments, exercise.drive, 600) for _, arguments in cases]
    for (name, _), outcome in zip(cases, found, strict=True):
        if outcome.error:
            raise _ours(exercise, name, outcome.error) from outcome.error.cause
    return found


def _ours(exercise: Exercise, name: str, error: Stopped) -> CourseError:
    return CourseError(
        f"The check of {exercise.id} itself stopped, in the case {name!r}: {error.name}: {error.message}\n"
        "That is a mistake of ours, not of your code. Please report this message."
    )


def _try(exercise: Exercise, answer: Answer, device: torch.device, seconds: float, trial: Trial) -> list[Tried]:
    """Run all cases, stop early only where going on makes no sense."""
    cases = inputs(exercise, device, trial.seed)
    wanted = targets(exercise, cases)
    left = max(seconds, 20 * sum(target.seconds for target in wanted))
    tried = []
    for (name, arguments), target in zip(cases, wanted, strict=True):
        yours = trial.call(answer, arguments, exercise.drive, left)
        left -= yours.seconds
        one = Tried(name, arguments, target, yours, [])
        tried.append(one)
        one.unstarted = yours.error.stub if yours.error else ""
        one.failure = _examine(exercise, one, seconds)
        yours.value = copied(yours.value)
        if yours.error and (one.unstarted or yours.error.final):
            break
    return tried


def _examine(exercise: Exercise, one: Tried, seconds: float) -> Failure | None:
    """The first property that does not hold for one case; those that do are added to ``one.held``."""
    one.held.append("signature")
    if one.yours.error:
        return reading.stopped(one.yours.error, seconds)
    one.held.append("no exception")
    rules = _rules(exercise, one.arguments)
    if failure := first_difference(one.target.value, one.yours.value, rules, one.held):
        return failure
    if changed := [at for at in one.yours.changed if at not in one.target.changed]:
        return _changed(named(one.arguments, _parameters(exercise)), changed[0])
    one.held.append("input unchanged")
    for promise in exercise.properties:
        if sentence := promise.broken(one.arguments, one.yours.value):
            differs = differing_values(one.target.value, one.yours.value, rules)
            pictures = differs.comparison if differs else None
            return Failure(promise.name, f"It does not hold: {promise.name}.", [sentence], comparison=pictures)
        one.held.append(promise.name)
    failure = differing_values(one.target.value, one.yours.value, rules)
    if not failure:
        one.held.append(values_name(rules, rules.precision(pairs(one.target.value, one.target.value)[0][1])))
    return failure


def _rules(exercise: Exercise, arguments: Arguments = ()) -> Rules:
    return Rules(tuple(exercise.axes), exercise.tolerance, named(arguments, _parameters(exercise)))


def _changed(arguments: dict[str, Any], at: int) -> Failure:
    name = list(arguments)[at]
    sentence = (
        f"After the call, `{name}` is not what it was. Whoever called your function still needs it; an operation such "
        "as +=, x[...] = or a name ending in an underscore works in place."
    )
    return Failure(
        "input unchanged", f"It changes its input {name}.", [sentence], f"find the line that writes to {name}."
    )


# -- signature ----------------------------------------------------------------------------------------------------


def wrong_signature(exercise: Exercise, answer: Any) -> Failure | None:
    """What is wrong with how the answer can be called; more parameters are fine if they have defaults."""
    if not callable(answer):
        call = f'check("{exercise.id}", {exercise.name})'
        given = reading.described(answer)
        sentence = f"check takes the function itself, without parentheses: `{call}`. It was given {given}."
        return Failure("signature", "This is no function.", [sentence])
    try:
        mine = inspect.signature(answer)
        asked = inspect.signature(exercise.reference)
    except (TypeError, ValueError):
        return None  # a function of compiled code keeps its signature to itself; calling it will tell
    names = [p.name for p in asked.parameters.values() if p.kind is not p.KEYWORD_ONLY and p.default is p.empty]
    by_name = {p.name: None for p in asked.parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    try:
        mine.bind(*names, **by_name)
    except TypeError as error:
        told = f"It is called as `{exercise.name}{_bare(asked)}`; yours is `{exercise.name}{_bare(mine)}`."
        return Failure("signature", "It cannot be called as asked.", [told, f"Python says: {error}."])
    positional = [p.name for p in mine.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    first = positional[: len(names)]
    if first != names and sorted(first) == sorted(names):
        told = f"Asked is `({', '.join(names)})`; yours is `({', '.join(first)})`."
        return Failure("signature", "The parameters come in another order.", [told])
    return None


def _bare(signature: inspect.Signature) -> str:
    """The parameters without their types, as short as one speaks of them."""
    parameters = [one.replace(annotation=inspect.Parameter.empty) for one in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


def _parameters(exercise: Exercise) -> list[str]:
    try:
        return list(inspect.signature(exercise.reference).parameters)
    except (TypeError, ValueError):
        return []


# -- known mistakes -----------------------------------------------------------------------------------------------


def recognised(exercise: Exercise, tried: Sequence[Tried], seconds: float = SECONDS) -> Mistake | None:
    """The first known mistake that did what the answer did, wherever that mistake is defined."""
    rules = _rules(exercise)
    return next((mistake for mistake in exercise.mistakes if _alike(exercise, mistake, tried, rules, seconds)), None)


def _alike(exercise: Exercise, mistake: Mistake, tried: Sequence[Tried], rules: Rules, seconds: float) -> bool:
    evidence = False
    for one in tried:
        theirs_ = one.yours
        other = attempt(mistake.answer, one.arguments, exercise.drive, min(seconds, SECONDS))
        if other.error and theirs_.error:
            if other.error.name != theirs_.error.name:
                return False
        elif theirs_.error:
            return False
        elif other.error:
            continue
        elif other.changed != theirs_.changed or not _equal(other.value, theirs_.value, rules):
            return False
        evidence |= one.failure is not None
    return evidence


def _equal(one: Any, other: Any, rules: Rules) -> bool:
    if one is None or other is None:
        return one is other
    both = (one, other)
    if all(isinstance(value, torch.Tensor) and value.is_floating_point() for value in both):
        other = other.to(one.dtype)  # the same mistake in another precision is the same mistake
    return first_difference(one, other, rules) is None and differing_values(one, other, rules) is None


# -- verdicts -----------------------------------------------------------------------------------------------------


def _unstarted(exercise: Exercise, answer: Answer, one: Tried, trial: Trial) -> Verdict:
    told = "The cell still raises NotImplementedError. That is where everyone starts."
    if one.unstarted not in (exercise.name, getattr(answer, "__name__", "")) and exercise.drive is None:
        told = f"Your function calls `{one.unstarted}`, which still raises NotImplementedError. Start there."
    failure = Failure("no exception", "Not started.", [told])
    arguments = named(one.arguments, _parameters(exercise))
    lines = [_waiting("CPU", "unstarted"), *_absent(trial)]
    return Verdict(
        exercise, "unstarted", "Not started.", failure=failure, case=one.name, arguments=arguments, devices=lines
    )


def _passed(
    exercise: Exercise, answer: Answer, tried: Sequence[Tried], lines: Sequence[Device], extras: bool
) -> Verdict:
    verdict = Verdict(exercise, "passed", f"All {len(tried)} cases agree.", held=tried[0].held, devices=lines)
    if extras:
        verdict.cost = _cost(exercise, answer, tried)
        verdict.found = _found(exercise, answer)
    return verdict


def _cost(exercise: Exercise, answer: Answer, tried: Sequence[Tried]) -> Cost:
    """Time on the largest case: the best of three, if that is quickly done."""
    one = max(tried, key=lambda one: sum(a.numel() for a in one.arguments if isinstance(a, torch.Tensor)))
    best = []
    for function, outcome in ((answer, one.yours), (exercise.reference, one.target)):
        seconds = [outcome.seconds]
        if outcome.seconds < 0.01:
            seconds += [attempt(function, one.arguments, exercise.drive, 10).seconds for _ in range(3)]
        best.append(min(seconds))
    return Cost(one.name, best[0], best[1])


def _found(exercise: Exercise, answer: Answer) -> Found | None:
    """What the answer shows on a real model; a picture that fails costs nobody the pass."""
    if exercise.found is None:
        return None
    try:
        with undisturbed(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            found: Found = limited(30, exercise.found, answer)
            return found
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


# -- devices ------------------------------------------------------------------------------------------------------


def _line(device: torch.device, tried: Sequence[Tried]) -> Device:
    name = {"cpu": "CPU", "cuda": "GPU", "mps": "GPU"}[device.type]
    stop = next((at for at, one in enumerate(tried) if one.yours.error), None)
    agree = sum(one.failure is None for one in tried)
    first = next((at for at, one in enumerate(tried) if one.failure), None)
    if stop is not None and stop == first:
        where = "the first case" if stop == 0 else f"case {stop + 1}"
        return Device(name, "stopped", f"{name}: stopped at {where}")
    state: State = "passed" if agree == len(tried) else "differs"
    return Device(name, state, f"{name}: {agree} of {len(tried)} cases agree")


def _waiting(name: str, state: State) -> Device:
    return Device(name, state, f"{name}: nothing to run yet")


def _absent(trial: Trial) -> Iterator[Device]:
    if len(trial.devices) == 1:
        yield Device("GPU", "absent", "GPU: not present")
