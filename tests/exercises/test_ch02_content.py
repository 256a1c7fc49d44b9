"""Chapter 02: references pass, known mistakes fail and are recognised, right answers pass however they are written."""

import inspect
from collections.abc import Iterator

import pytest
import torch

from interpwidgets.course.check import judge
from interpwidgets.course.exercise import Answer, Exercise, Mistake
from interpwidgets.exercises.ch02 import EXERCISES, QUESTIONS


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _each(what: str) -> list[tuple[Exercise, object]]:
    return [(exercise, each) for exercise in EXERCISES for each in getattr(exercise, what)]


def _called(exercise: Exercise, each: object) -> str:
    return f"{exercise.id} {getattr(each, 'name', None) or getattr(each, '__name__', '')}"


MISTAKES, ACCEPTED = _each("mistakes"), _each("accepted")


def test_they_are_numbered_in_teaching_order() -> None:
    assert [exercise.id for exercise in EXERCISES] == [f"02.{n}" for n in range(1, 15)]
    assert [question.id for question in QUESTIONS] == ["02.A", "02.B", "02.C"]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_each_says_all_that_a_learner_is_promised(exercise: Exercise) -> None:
    assert len(exercise.mistakes) >= 3
    assert len(exercise.hints) == 3
    assert len(exercise.accepted) >= 3
    assert exercise.minutes > 0
    assert exercise.points > 0
    assert exercise.lines[0] <= exercise.lines[1]
    assert exercise.first_step.endswith(".")
    assert exercise.reference.__module__.startswith("interpwidgets.methods")


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_each_reference_passes_and_shows_what_it_found(exercise: Exercise) -> None:
    verdict = judge(exercise, exercise.reference)
    assert verdict.passed, verdict.failure
    assert (verdict.found is None) == (exercise.found is None)  # a picture that stops shows nothing


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=[_called(*each) for each in MISTAKES])
def test_each_known_mistake_fails_and_is_recognised(exercise: Exercise, mistake: Mistake) -> None:
    verdict = judge(exercise, mistake.answer, extras=False)
    assert not verdict.passed
    assert verdict.mistake is mistake
    assert verdict.failure is not None
    assert verdict.failure.stop is None  # a mistake that raises would never be met as such


@pytest.mark.parametrize(("exercise", "answer"), ACCEPTED, ids=[_called(*each) for each in ACCEPTED])
def test_each_right_answer_passes_however_it_is_written(exercise: Exercise, answer: Answer) -> None:
    verdict = judge(exercise, answer, extras=False)
    assert verdict.passed, (verdict.headline, verdict.case, verdict.failure)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_other_seeds_make_other_cases_that_still_tell_mistakes_apart(exercise: Exercise, seed: int) -> None:
    """The grader draws fresh inputs: no known mistake may pass on them."""
    cpu = torch.device("cpu")
    for mistake in exercise.mistakes:
        assert any(_differs(exercise, mistake.answer, case.make(seed, cpu)) for case in exercise.cases), mistake.name


def _differs(exercise: Exercise, answer: Answer, arguments: tuple[object, ...]) -> bool:
    run = exercise.drive or (lambda function, *given: function(*given))
    one = run(exercise.reference, *arguments)
    try:
        other = run(answer, *arguments)
    except (IndexError, RuntimeError, ZeroDivisionError):
        return True
    pairs = list(zip(*((each if isinstance(each, tuple) else (each,)) for each in (one, other)), strict=True))
    return any(
        (a.shape, a.dtype) != (b.shape, b.dtype) or not torch.allclose(a.double(), b.double(), rtol=1e-2, atol=1e-3)
        for a, b in pairs
    )


def test_hints_do_not_hold_the_answer() -> None:
    for exercise in EXERCISES:
        source = inspect.getsource(exercise.reference)
        lines = {line.strip() for line in source.splitlines() if len(line.strip()) > 24 and "->" not in line}
        assert not any(line in hint for line in lines for hint in exercise.hints), exercise.id


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_each_question_has_one_right_answer_and_a_reason_for_every_wrong_one(question: object) -> None:
    options, number = question.options, question.number  # type: ignore[attr-defined]
    assert (number is None) == bool(options)
    if options:
        assert sum(option.right for option in options) == 1
        assert all(option.reason for option in options)
    else:
        within, slips = question.within, question.slips  # type: ignore[attr-defined]
        assert all(abs(slip - number) > within for slip in slips)
