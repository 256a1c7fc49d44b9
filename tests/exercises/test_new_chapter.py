"""A chapter that `new-chapter` has just written is held to every rule of all chapters, and every rule can fail.

Each test runs the tests of this folder once more, on a chapter 98 in a folder of its own: as it was written, with an
exercise more for each rule that breaks it and no other, and with notebooks that do not keep their word.
"""

import os
import re
import subprocess
import sys
import types
from collections import defaultdict
from pathlib import Path

import pytest

from interpwidgets.course.notebooks import build
from interpwidgets.course.skeleton import write

HERE = Path(__file__).parent

FINDS_IT = """
import os
from pathlib import Path

import interpwidgets.exercises
import interpwidgets.methods
from interpwidgets.course import chapters

HOME = Path(os.environ["NEW_CHAPTER"]) / "interpwidgets"
interpwidgets.exercises.__path__.append(str(HOME / "exercises"))
interpwidgets.methods.__path__.append(str(HOME / "methods"))
chapters._PACKAGE = HOME
"""

NUMBERED = "test_exercises_and_questions_are_numbered_in_teaching_order"
PROMISED = "test_each_says_all_that_a_learner_is_promised"
REFERENCE = "test_each_reference_passes_and_shows_what_it_found"
MISTAKE = "test_each_known_mistake_fails_and_is_recognised"
ACCEPTED = "test_each_right_answer_passes_however_it_is_written"
SEEDS = "test_other_seeds_make_other_cases_that_still_tell_mistakes_apart"
HINTS = "test_hints_do_not_hold_the_answer"
QUESTION = "test_each_question_has_one_right_answer_and_a_reason_for_every_wrong_one"
MUTANTS = "test_every_mutant_is_rejected_or_equivalent_or_listed"
COUNTS = "test_the_first_screen_counts_right"
PICTURES = "test_every_picture_has_a_description"
SOLVED = "test_every_check_of_the_solved_chapter_passes"
ANSWERS = "test_every_answer_of_the_solved_chapter_is_right"
UNSOLVED = "test_every_check_of_the_unsolved_chapter_says_where_to_start"
DEFINED = "test_definitions_alone_are_enough_to_be_judged"
OF_EXERCISES = {PROMISED, REFERENCE, MISTAKE, ACCEPTED, SEEDS, HINTS, MUTANTS}
OF_CHAPTERS = {NUMBERED, COUNTS, PICTURES, SOLVED, ANSWERS, UNSOLVED, DEFINED}

BROKEN = [  # what an exercise has instead, and the tests that see it
    ("hints=FIRST.hints[:2]", {PROMISED}),
    ("mistakes=FIRST.mistakes[:2]", {PROMISED}),
    ("accepted=FIRST.accepted[:2]", {PROMISED}),
    ("minutes=0", {PROMISED}),
    ("points=0", {PROMISED}),
    ("lines=(2, 1)", {PROMISED}),
    ('first_step="What is twice 2.5?"', {PROMISED}),
    ('first_step="Write down twice 2.5"', {PROMISED}),
    ("reference=twice", {PROMISED}),
    ("found=lambda answer: answer()", {REFERENCE}),
    ("cases=[Case('stops', lambda seed, device: 1 / 0)]", {REFERENCE, MISTAKE, ACCEPTED, SEEDS, MUTANTS}),
    ("cases=[Case('nothing', lambda seed, device: (torch.zeros(2),))]", {MISTAKE, SEEDS, MUTANTS}),
    ("cases=FIRST.cases[:1] + [Case('by seed', by_seed)]", {SEEDS}),
    ("mistakes=[*FIRST.mistakes, wrong('right', lambda x: 2 * x)]", {MISTAKE, SEEDS}),
    ("mistakes=[*FIRST.mistakes, wrong('squared again', lambda x: x * x)]", {MISTAKE}),
    ("mistakes=[*FIRST.mistakes, wrong('stops', lambda x: x.nothing)]", {MISTAKE, SEEDS}),
    ("mistakes=[*FIRST.mistakes, wrong('a little more', lambda x: 2.01 * x)]", {SEEDS}),
    ("accepted=[*FIRST.accepted, lambda x: 3 * x]", {ACCEPTED}),
    ("hints=[*FIRST.hints[:2], 'return 2 * x  # of every number in x']", {HINTS}),
]

MODULE = """

from dataclasses import replace


def twice(x):
    return 2 * x


def wrong(name, answer):
    return Mistake(name, answer, "You do something else.", "What comes out for 2.5?")


def by_seed(seed, device):
    if seed > 10:
        raise ValueError("only the seeds of the check were ever tried")
    return _random(seed, device)


FIRST = EXERCISES[0]
EXERCISES += [
    {exercises}
]
RIGHT, WRONG = QUESTIONS[0].options[::-1]
QUESTIONS += [
    Question("98.B", "two right", "Which?", options=[RIGHT, RIGHT, WRONG]),
    Question("98.C", "no reason", "Which?", options=[RIGHT, Option("Two", "")]),
    Question("98.D", "a slip that is right", "How many?", number=2.0, slips={{2.001: "Nearly."}}),
    Question("98.F", "a gap in the numbers", "Which?", options=[RIGHT, WRONG]),
]
"""


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone that holds nothing but a new chapter 98, built."""
    (tmp_path / "interpwidgets/exercises").mkdir(parents=True)
    write(tmp_path, "98", "twice_as_much")
    for name in ("methods.twice_as_much_steps", "exercises.ch98"):
        module = types.ModuleType(f"interpwidgets.{name}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec((tmp_path / "interpwidgets" / f"{name.replace('.', '/')}.py").read_text(), module.__dict__)
    build(tmp_path / "solutions", tmp_path / "chapters")
    (tmp_path / "finds_it.py").write_text(FINDS_IT)
    return tmp_path


def fates(clone: Path) -> dict[str, dict[str, set[str]]]:
    """{"failed": {"98.1": the names of tests}, "passed": ...}, for all tests here that are about chapter 98."""
    paths = os.pathsep.join([str(clone), os.environ.get("PYTHONPATH", "")])
    chosen = [HERE / "test_content.py", HERE / "test_notebook.py", HERE / "mutants", "-k", "98 and not in_time"]
    told = ["-p", "finds_it", "-p", "no:cacheprovider", "-p", "no:xdist", "-rA", "--tb=no", "-q"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *chosen, *told],
        cwd=HERE.parents[1],
        env={**os.environ, "PYTEST_ADDOPTS": "", "PYTHONPATH": paths, "NEW_CHAPTER": str(clone)},
        capture_output=True,
        text=True,
    )
    found: dict[str, dict[str, set[str]]] = {"passed": defaultdict(set), "failed": defaultdict(set)}
    for fate, test, of in re.findall(r"(?m)^(PASSED|FAILED) \S+::(\w+)\[(?:\d\d-)?(98(?:\.\w+)?)", ran.stdout):
        found[fate.lower()][of].add(test)
    assert found["passed"] or found["failed"], ran.stdout + ran.stderr
    return found


def edit(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)


@pytest.mark.slow
def test_a_new_chapter_passes_all_tests_without_one_of_its_own(clone: Path) -> None:
    found = fates(clone)
    assert not found["failed"]
    assert found["passed"] == {"98": OF_CHAPTERS, "98.1": OF_EXERCISES, "98.A": {QUESTION}}


@pytest.mark.slow
def test_each_rule_of_an_exercise_fails_where_it_is_broken(clone: Path) -> None:
    exercises = (f'replace(FIRST, id="98.{at}", {change})' for at, (change, _) in enumerate(BROKEN, start=2))
    module = clone / "interpwidgets/exercises/ch98.py"
    module.write_text(module.read_text() + MODULE.format(exercises=",\n    ".join(exercises)))
    edit(clone / "interpwidgets/methods/twice_as_much_steps.py", ("2 * x", "2 * x  # of every number in x"))
    failed = fates(clone)["failed"]
    assert {of: tests for of, tests in failed.items() if of != "98"} == {
        **{f"98.{at}": tests for at, (_, tests) in enumerate(BROKEN, start=2)},
        **{f"98.{letter}": {QUESTION} for letter in "BCD"},
    }
    assert {NUMBERED, COUNTS} <= failed["98"]


@pytest.mark.slow
def test_each_rule_of_a_notebook_fails_where_it_is_broken(clone: Path) -> None:
    name = "98_twice_as_much.ipynb"
    edit(
        clone / "solutions" / name,
        ("return 2 * x", "return 2 + x"),
        ('answer(\\"98.A\\", 2)', 'answer(\\"98.A\\", 1)'),
    )
    edit(
        clone / "chapters" / name,
        ("A grey area, where the first picture of this chapter will be.", "A grey area."),
        ("1 exercise, 1 question", "2 exercises, 1 question"),
        ("raise NotImplementedError", "return 0 * x"),
    )
    found = fates(clone)
    assert dict(found["failed"]) == {"98": OF_CHAPTERS - {NUMBERED}}
