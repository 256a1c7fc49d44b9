"""No wrong version of a reference passes its check: small changes to its code, one at a time, are all rejected.

    pytest -v tests/exercises/mutants      # ends in the table: how many, rejected, equivalent, and which

Every exercise that the registry finds takes part. A survivor is a hole in the cases of its exercise; where no
reasonable case would tell it apart, it is listed in ``SURVIVORS`` of ``chNN.py`` with the reason why it may live.
"""

from types import SimpleNamespace

import pytest

from interpwidgets.course import registry
from interpwidgets.course.exercise import Exercise

EXERCISES = [exercise for number in registry.numbers() for exercise in registry.chapter(number).exercises]


@pytest.mark.slow
@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_every_mutant_is_rejected_or_equivalent_or_listed(exercise: Exercise, mutation: SimpleNamespace) -> None:
    fates = mutation.fates(exercise)
    assert any(fates.values())
    assert {str(each) for each in fates["survivors"]} == {
        line for line in mutation.listed if line.split()[0] == exercise.id
    }
    undecided = [str(each) for each in fates["undecided"]]
    assert not undecided, f"they pass: give {exercise.id} unseen inputs in ch{exercise.id[:2]}.py, or better cases"


def test_inputs_and_survivors_are_of_exercises_that_there_are(mutation: SimpleNamespace) -> None:
    named = {*mutation.inputs, *(line.split()[0] for line in mutation.listed)}
    assert named <= {exercise.id for exercise in EXERCISES}
    assert all(mutation.listed.values())


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_the_unseen_inputs_tell_a_wrong_function_apart(exercise: Exercise, mutation: SimpleNamespace) -> None:
    """Else every mutant would count as equivalent."""
    if exercise.id not in mutation.inputs:
        pytest.skip("no unseen inputs: no mutant may pass the check")
    assert not all(mutation.equivalent(each) for each in mutation.mutants(exercise)[:5])
    assert mutation.told_apart(exercise)  # not only by what stops
