"""Every chapter: references pass, known mistakes fail and are recognised, right answers pass however they are written.

What the registry finds takes part, so that a new chapter is held to all of this from its first exercise on. What only
one chapter promises stands in ``test_chNN_claims.py``; answers as people wrote them, in ``test_chNN_tries.py``.
"""

import inspect
from typing import Any

import pytest
import torch

from interpwidgets.course import registry
from interpwidgets.course.attempt import attempt
from interpwidgets.course.check import judge
from interpwidgets.course.compare import Rules, differing_values, first_difference, pairs, plain
from interpwidgets.course.exercise import Answer, Exercise, Mistake, Question
from interpwidgets.course.registry import Chapter

CHAPTERS = [registry.chapter(number) for number in registry.numbers()]
EXERCISES = [exercise for chapter in CHAPTERS for exercise in chapter.exercises]
QUESTIONS = [question for chapter in CHAPTERS for question in chapter.questions]
MISTAKES = [(exercise, mistake) for exercise in EXERCISES for mistake in exercise.mistakes]
ACCEPTED = [(exercise, answer) for exercise in EXERCISES for answer in exercise.accepted]

SECONDS = 10.0  # for one answer to one case
STOPS = {"IndexError", "RuntimeError", "ZeroDivisionError"}  # what a mistake may stop with, on some of the cases
SUBTLE = {  # mistakes less than one percent away from the reference, and why it cannot be otherwise
    "01.5 the exact GELU": "the approximation that GPT-2 uses is that good",
}


def called(exercise: Exercise, each: Any) -> str:
    return f"{exercise.id} {getattr(each, 'name', None) or getattr(each, '__name__', '')}"


each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.number)
def test_exercises_and_questions_are_numbered_in_teaching_order(chapter: Chapter) -> None:
    assert chapter.exercises
    assert chapter.questions
    assert [exercise.id for exercise in chapter.exercises] == [
        f"{chapter.number}.{n}" for n in range(1, len(chapter.exercises) + 1)
    ]
    assert [question.id for question in chapter.questions] == [
        f"{chapter.number}.{letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[: len(chapter.questions)]
    ]


@each_exercise
def test_each_says_all_that_a_learner_is_promised(exercise: Exercise) -> None:
    assert len(exercise.mistakes) >= 3
    assert len(exercise.hints) == 3
    assert len(exercise.accepted) >= 3
    assert exercise.minutes > 0
    assert exercise.points > 0
    assert exercise.lines[0] <= exercise.lines[1]
    assert exercise.first_step.endswith(".")
    assert exercise.reference.__module__.startswith("interpwidgets.methods")


@each_exercise
def test_each_reference_passes_and_shows_what_it_found(exercise: Exercise) -> None:
    verdict = judge(exercise, exercise.reference)
    assert verdict.passed, verdict.failure
    assert (verdict.found is None) == (exercise.found is None)  # a picture that stops shows nothing


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=[called(*each) for each in MISTAKES])
def test_each_known_mistake_fails_and_is_recognised(exercise: Exercise, mistake: Mistake) -> None:
    verdict = judge(exercise, mistake.answer, extras=False)
    assert not verdict.passed
    assert verdict.mistake is mistake
    assert verdict.failure is not None
    assert verdict.failure.stop is None  # a mistake that raises would never be met as such


@pytest.mark.parametrize(("exercise", "answer"), ACCEPTED, ids=[called(*each) for each in ACCEPTED])
def test_each_right_answer_passes_however_it_is_written(exercise: Exercise, answer: Answer) -> None:
    verdict = judge(exercise, answer, extras=False)
    assert verdict.passed, (verdict.headline, verdict.case, verdict.failure)


# -- other inputs than those of the check ----------------------------------------------------------------------------


@each_exercise
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_other_seeds_make_other_cases_that_still_tell_mistakes_apart(exercise: Exercise, seed: int) -> None:
    """The grader draws fresh inputs: no known mistake may pass on them, nor be a mere percent away."""
    made = [case.make(seed, torch.device("cpu")) for case in exercise.cases]
    wanted = [attempt(exercise.reference, given, exercise.drive, SECONDS) for given in made]
    assert not any(target.error for target in wanted)
    for mistake in exercise.mistakes:
        outcomes = [attempt(mistake.answer, given, exercise.drive, SECONDS) for given in made]
        assert all(each.error is None or STOPS & {*each.error.names} for each in outcomes), mistake.name
        found = [(target.value, each.value) for target, each in zip(wanted, outcomes, strict=True) if not each.error]
        assert any(differs(exercise, *each) for each in found), mistake.name
        subtle = f"{exercise.id} {mistake.name}" in SUBTLE
        assert any(differs_by_a_percent(*each) for each in found) != subtle, mistake.name


def differs(exercise: Exercise, target: Any, yours: Any) -> bool:
    """Whether the check itself sees a difference in what comes back."""
    rules = Rules(tolerance=exercise.tolerance)
    return bool(first_difference(target, yours, rules) or differing_values(target, yours, rules))


def differs_by_a_percent(target: Any, yours: Any) -> bool:
    """Whether there is a difference that no tolerance of any exercise is near to, in whole numbers too."""
    if first_difference(target, yours, Rules()):
        return True
    return any(
        one != other
        if isinstance(one, str)
        else not torch.allclose(plain(one).double(), plain(other).double(), rtol=1e-2, atol=1e-3)
        for _, one, other in pairs(target, yours)
    )


def test_what_is_called_subtle_is_a_known_mistake() -> None:
    assert {*SUBTLE} <= {called(*each) for each in MISTAKES}
    assert all(SUBTLE.values())


# -- hints and questions ---------------------------------------------------------------------------------------------


@each_exercise
def test_hints_do_not_hold_the_answer(exercise: Exercise) -> None:
    source = inspect.getsource(exercise.reference)
    lines = {line.strip() for line in source.splitlines() if len(line.strip()) > 24 and "->" not in line}
    assert not any(line in hint for line in lines for hint in exercise.hints)


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_each_question_has_one_right_answer_and_a_reason_for_every_wrong_one(question: Question) -> None:
    assert (question.number is None) == bool(question.options)
    if question.number is None:
        assert sum(option.right for option in question.options) == 1
        assert all(option.reason for option in question.options)
    else:
        assert all(abs(slip - question.number) > question.within for slip in question.slips)
