"""Every chapter as a notebook: solved it passes every check, unsolved it fails kindly, its first screen counts right.

What the text of a chapter claims about models is tested in ``test_chNN_claims.py``.
"""

import re
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

import pytest

from interpwidgets.course import registry
from interpwidgets.course.chapters import find
from interpwidgets.course.check import judge
from interpwidgets.course.registry import Chapter
from interpwidgets.course.run import run
from interpwidgets.course.verify import definitions

SECONDS = {"05": 120}  # of CPU, where a chapter promises less than the four minutes of all

Cells = Callable[..., dict[str, str]]
Solved = Callable[[str], dict[str, Any]]

each_chapter = pytest.mark.parametrize(
    "chapter", [registry.chapter(number) for number in registry.numbers()], ids=lambda chapter: chapter.number
)


def cell(name: str) -> str:
    """The id of the cell of an exercise or a question."""
    return f"ex-{name.replace('.', '-')}"


def counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"


@each_chapter
def test_the_first_screen_counts_right(chapter: Chapter, cells: Cells) -> None:
    text = "\n".join(cells(chapter.number, "chapters", "markdown").values())
    told = re.search(r"\*\*Time\*\* (?:(\d+) h)? ?(?:(\d+) min)?, (\d+ exercises?), (\d+ questions?) ", text)
    assert told
    hours, minutes, exercises, questions = told.groups()
    assert exercises == counted(len(chapter.exercises), "exercise")
    assert questions == counted(len(chapter.questions), "question")
    left_over = 60 * int(hours or 0) + int(minutes or 0) - sum(exercise.minutes for exercise in chapter.exercises)
    assert 0 <= left_over <= 40  # reading takes time too


@each_chapter
def test_every_picture_has_a_description(chapter: Chapter, cells: Cells) -> None:
    pictures = re.findall(r"!\[([^\]]*)\]", "\n".join(cells(chapter.number, "chapters", "markdown").values()))
    assert pictures
    assert all(len(alt) > 40 for alt in pictures)


# -- solved and unsolved ---------------------------------------------------------------------------------------------


@each_chapter
def test_every_check_of_the_solved_chapter_passes(chapter: Chapter, solved: Solved) -> None:
    names = solved(chapter.number)
    for exercise in chapter.exercises:
        verdict = names["check"](exercise.id, names[exercise.name])
        assert verdict.passed, (exercise.id, verdict.headline)


@each_chapter
def test_every_answer_of_the_solved_chapter_is_right(chapter: Chapter, cells: Cells, solved: Solved) -> None:
    code = cells(chapter.number, "solutions", "code")
    for question in chapter.questions:
        given = re.search(r"(?m)^answer\(.*\)", code[cell(question.id)])
        assert given, question.id
        assert eval(given[0], solved(chapter.number)).right, question.id


@each_chapter
def test_every_check_of_the_unsolved_chapter_says_where_to_start(chapter: Chapter, cells: Cells) -> None:
    found: dict[str, Any] = {}
    code = cells(chapter.number, "chapters", "code")
    exec(code["setup"], found)
    for exercise in chapter.exercises:
        exec(code[cell(exercise.id)], found)
        verdict = eval(code[f"{cell(exercise.id)}-check"], found)
        assert verdict.state == "unstarted", exercise.id
        assert "Traceback" not in repr(verdict)


@each_chapter
def test_definitions_alone_are_enough_to_be_judged(chapter: Chapter) -> None:
    """Whoever runs only these, `interpwidgets verify` for one, sees right answers pass and stubs not started."""
    answers, stubs = (definitions(find(chapter.number, shelf)) for shelf in ("solutions", "chapters"))
    for exercise in chapter.exercises:
        verdict = judge(exercise, answers[exercise.name], extras=False)
        assert verdict.passed, (exercise.id, verdict.headline)
        assert judge(exercise, stubs[exercise.name], extras=False).state == "unstarted", exercise.id


@pytest.mark.slow
@each_chapter
def test_the_solved_chapter_runs_offline_in_time(
    chapter: Chapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    begin = cpu_of_children()
    run(find(chapter.number, "solutions"), tmp_path / "out.ipynb")
    assert 1 < cpu_of_children() - begin < SECONDS.get(chapter.number, 240)


def cpu_of_children() -> float:
    """CPU seconds of the kernels that have ended: a busy machine makes a chapter wait, not work more."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
