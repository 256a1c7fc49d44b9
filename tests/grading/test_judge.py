"""What a submission is told is what a check would tell, and what it earns it cannot guess."""

import linecache
import random
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from interpwidgets.course import CourseError, attempt, check, registry
from interpwidgets.course.attempt import Outcome, Stopped
from interpwidgets.course.check import Trial
from interpwidgets.course.exercise import Exercise
from interpwidgets.course.verdict import Verdict
from interpwidgets.grading import judge
from interpwidgets.grading.extract import extract
from interpwidgets.grading.judge import Program, verdicts
from interpwidgets.grading.sandbox import Limits, Sandbox, Unsafe
from interpwidgets.grading.wire import packed

SOLUTIONS = Path(__file__).resolve().parents[2] / "solutions"
EXERCISES = [one for number in registry.numbers() for one in registry.chapter(number).exercises]
CPU = torch.device("cpu")

Judge = Callable[..., Verdict]

ANSWERS = {
    "right": "return pattern.diagonal(-1, -2, -1).mean((1, -1))",
    "a known mistake": "return pattern.diagonal(0, -2, -1).mean((1, -1))",
    "an axis too many": "return pattern.diagonal(-1, -2, -1).mean(-1)",
    "nothing comes back": "pattern.diagonal(-1, -2, -1)",
    "another type": "return pattern.numpy().tolist()",
    "another dtype": "return pattern.diagonal(-1, -2, -1).mean((1, -1)).double()",
    "NaN": "return pattern.diagonal(-1, -2, -1).mean((1, -1)) / 0 * 0",
    "its input changed": "pattern += 1\n    return pattern.diagonal(-1, -2, -1).mean((1, -1)) - 1",
    "an exception": "total = 0\n    return pattern[7]",
    "a name that is not there": "return einops.rearrange(pattern)",
    "not started": "raise NotImplementedError",
    "never ends": "while True:\n        pass",
    "prints": "print('here I am')\n    return None",
}


@pytest.mark.parametrize("what", ANSWERS)
def test_a_verdict_says_word_for_word_what_a_check_says(what: str, judged: Judge) -> None:
    cell = f"def previous_token_score(pattern):\n    {ANSWERS[what]}\n"
    there = judged("05.3", cell, seed=0)
    file = "<ipython-input 1>"
    linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(cell, file, "exec"), names)
    here = check.judge(
        registry.exercise("05.3"), names["previous_token_score"], 1.0, False, Trial(attempt.attempt, [CPU])
    )
    assert repr(there) == repr(here)


@pytest.mark.parametrize("number", registry.numbers())
def test_a_solved_chapter_gets_full_marks_on_fresh_inputs(number: str, sandbox: Sandbox) -> None:
    chapter = registry.chapter(number)
    (notebook,) = SOLUTIONS.glob(f"{number}_*.ipynb")
    program = extract(notebook.read_bytes(), chapter).program
    found = verdicts(program, chapter.exercises, lambda exercise: random.Random(exercise.id).randrange(2**40), sandbox)
    assert {one.exercise.id: one.points for one in found} == {one.id: one.points for one in chapter.exercises}


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_results_of_the_cases_that_learners_see_earn_nothing(exercise: Exercise) -> None:
    known = {}
    for (_, arguments), target in zip(
        cases := check.inputs(exercise, CPU), check.targets(exercise, cases), strict=True
    ):
        known[packed(arguments)] = target.value

    def looked_up(answer: Any, arguments: Any, drive: Any, seconds: float) -> Outcome:
        value = known.get(packed(arguments))
        return Outcome(value) if value is not None else Outcome(error=Stopped(("KeyError",)))

    def earns(seed: int) -> bool:
        return check.judge(exercise, exercise.reference, 10, False, Trial(looked_up, [CPU], seed)).passed

    assert earns(0)
    assert not any(earns(seed) for seed in (1_000, 123_456_789, 2**31 - 1))


def test_the_inputs_of_a_seed_are_always_the_same_and_those_of_another_differ() -> None:
    exercise = registry.exercise("05.6")
    one, again, other = ([packed(case) for _, case in check.inputs(exercise, CPU, seed)] for seed in (5, 5, 6))
    assert one == again
    assert sum(mine != theirs for mine, theirs in zip(one, other, strict=True)) >= len(one) // 2


@pytest.mark.parametrize("number", registry.numbers())
def test_all_inputs_of_a_chapter_find_their_way_into_the_sandbox(number: str) -> None:
    for exercise in registry.chapter(number).exercises:
        for _, arguments in check.inputs(exercise, CPU, 1_000):
            packed(arguments)
        if exercise.drive:
            assert exercise.drive.__module__.endswith(".stage"), exercise.id


# -- what cells may do ------------------------------------------------------------------------------------------------

RIGHT = "def previous_token_score(pattern):\n    return pattern.diagonal(-1, -2, -1).mean((1, -1))\n"


@pytest.mark.parametrize(
    "before",
    [
        "from interpwidgets import AttentionHeads, Tap, check, figure, load",
        "import plotly.graph_objects as go\nfrom nowhere import something",
        "from __future__ import annotations\nimport math",
        "def broken(x=1 / 0): pass\nclass Worse(undefined): pass",
        "this is no Python",
        "previous_token_score = 3",
        "import sys\ndef f(x=sys.exit(0)): pass",
    ],
)
def test_what_else_stands_in_the_notebook_costs_nothing(before: str, judged: Judge) -> None:
    assert judged("05.3", before, RIGHT).passed


def test_the_last_definition_counts_and_helpers_are_found(judged: Judge) -> None:
    wrong, helper = "def previous_token_score(pattern): return None", "def offset(): return -1"
    right = "def previous_token_score(pattern):\n    return pattern.diagonal(offset(), -2, -1).mean((1, -1))"
    assert judged("05.3", helper, wrong, right).passed
    assert not judged("05.3", helper, right, wrong).passed
    assert judged("05.3", right, helper).passed


def test_a_missing_answer_is_told_from_one_that_was_not_started(judged: Judge) -> None:
    missing, begun = (
        judged("05.3", "import torch"),
        judged("05.3", "def previous_token_score(pattern): raise NotImplementedError"),
    )
    assert (missing.state, missing.headline) == ("unstarted", "No answer.")
    assert (begun.state, begun.headline) == ("unstarted", "Not started.")


def test_an_answer_that_cannot_be_defined_is_told_why(judged: Judge) -> None:
    verdict = judged("05.3", "def previous_token_score(pattern, other=1 / 0):\n    return pattern")
    assert verdict.state == "stopped"
    assert "ZeroDivisionError" in repr(verdict)
    assert "in your line 1" in repr(verdict)


def test_a_name_that_grading_does_without_says_so_where_it_is_used(judged: Judge) -> None:
    cell = "from interpwidgets import check\ndef previous_token_score(pattern):\n    return check('05.3', None)"
    assert "grading runs without it" in repr(judged("05.3", cell))


def test_what_an_answer_prints_is_in_the_verdict(judged: Judge) -> None:
    verdict = judged("05.3", "def previous_token_score(pattern):\n    print('here I am')\n    return None")
    assert verdict.printed == "here I am\n"


def test_models_and_data_are_there(judged: Judge) -> None:
    verdict = judged(
        "05.3",
        """
        from interpwidgets import Tap, load
        from interpwidgets.data.repeats import repeated_tokens
        def previous_token_score(pattern):
            tokens = repeated_tokens(1, 5, seed=1)
            model = load("attn2l")
            with Tap(model, "pattern") as tap:
                model(tokens)
            assert tap["pattern"].shape[0] == 2
            return pattern.diagonal(-1, -2, -1).mean((1, -1))
        """,
    )
    assert verdict.passed, repr(verdict)


def test_without_walls_the_verdicts_are_the_same(judged: Judge) -> None:
    exercise = registry.exercise("05.3")
    cells = [RIGHT, textwrap.dedent(RIGHT.replace("-1, -2", "0, -2"))]
    with Unsafe(limits=Limits(seconds=1.0)) as room:
        unsafe = [verdicts(Program((("1", cell),)), [exercise], lambda _: 7, room)[0] for cell in cells]
    assert [repr(one) for one in unsafe] == [repr(judged("05.3", cell)) for cell in cells]


# -- what nobody has thought of ---------------------------------------------------------------------------------------


def test_an_answer_over_which_the_grader_itself_stumbles_fails_and_the_teacher_is_told(
    judged: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stumbles(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("made up")

    monkeypatch.setattr(check, "first_difference", stumbles)
    verdict = judged("05.3", RIGHT)
    assert (verdict.points, verdict.state) == (0, "stopped")
    assert "could not be compared" in repr(verdict)
    told = judge.flag(verdict) or ""
    assert told.startswith("05.3 could not be judged")
    assert "by hand" in told
    monkeypatch.undo()
    assert judge.flag(judged("05.3", RIGHT)) is None


def test_a_reference_that_fails_is_still_ours_and_no_ones_fail(judged: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise CourseError("ours")

    monkeypatch.setattr(check, "targets", fails)
    with pytest.raises(CourseError, match="ours"):
        judged("05.3", RIGHT)
