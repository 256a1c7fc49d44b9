"""Teachers with nbgrader make their release from our solved notebooks: answers go, checks are locked, points are right.

The rules are those of nbgrader 0.9.6 (nbgraderformat/v3.json, v3.py; preprocessors/clearsolutions.py). Where nbgrader
is installed (on the PATH; it need not be this environment), it says itself what it thinks.
"""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nbformat
import pytest

from interpwidgets.course import registry
from interpwidgets.course.chapters import notebooks

SOLVED = [path for path in notebooks("solutions") if path.stem[:2] in registry.numbers()]
KEYS = {"schema_version", "grade", "locked", "solution", "task", "grade_id"}
MARKS = ("BEGIN SOLUTION", "END SOLUTION", "BEGIN HIDDEN TESTS", "BEGIN MARK SCHEME")

each_chapter = pytest.mark.parametrize("path", SOLVED, ids=lambda path: path.stem)


def cells(path: Path) -> list[Any]:
    return list(nbformat.read(path, as_version=4).cells)


def marked(path: Path) -> dict[str, Any]:
    return {cell.metadata.nbgrader.grade_id: cell for cell in cells(path) if "nbgrader" in cell.metadata}


@each_chapter
def test_marks_follow_the_schema(path: Path) -> None:
    for name, cell in marked(path).items():
        known = cell.metadata.nbgrader
        assert set(known) == KEYS | ({"points"} if known.grade else set())
        assert (known.schema_version, known.task, cell.cell_type) == (3, False, "code")
        assert re.fullmatch(r"[a-zA-Z0-9_\-]+", name)
    assert len(marked(path)) == sum("nbgrader" in cell.metadata for cell in cells(path)), "an id is there twice"


@each_chapter
def test_every_exercise_has_an_open_answer_and_a_locked_check_with_its_points(path: Path) -> None:
    chapter, found = registry.chapter(path.stem[:2]), marked(path)
    for exercise in chapter.exercises:
        name = exercise.id.replace(".", "-")
        answer, check = found.pop(name).metadata.nbgrader, found.pop(f"{name}-check").metadata.nbgrader
        assert (answer.solution, answer.locked, answer.grade) == (True, False, False)
        assert (check.solution, check.locked, check.grade, check.points) == (False, True, True, exercise.points)
    assert set(found) == {question.id.replace(".", "-") for question in chapter.questions}


@each_chapter
def test_answers_stand_between_marks_in_solution_cells_and_nowhere_else(path: Path) -> None:
    for cell in cells(path):
        solution = cell.metadata.get("nbgrader", {}).get("solution", False)
        assert [cell.source.count(mark) for mark in MARKS] == [solution, solution, 0, 0]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `nbgrader generate_assignment` makes of every chapter."""
    nbgrader = shutil.which("nbgrader")
    if nbgrader is None:
        pytest.skip("nbgrader is not on the PATH")
    course = tmp_path_factory.mktemp("course")
    for path in SOLVED:
        (course / "source" / path.stem).mkdir(parents=True)
        shutil.copy(path, course / "source" / path.stem)
        done = subprocess.run(
            [nbgrader, "generate_assignment", path.stem, f"--course-dir={course}"], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return course / "release"


@each_chapter
def test_nbgrader_locks_every_check_and_takes_every_answer_out(path: Path, release: Path) -> None:
    ours = {cell.id: cell for cell in cells(path)}
    for cell in cells(release / path.stem / path.name):
        known = cell.metadata.get("nbgrader", {})
        assert cell.metadata.get("editable", True) is not known.get("locked", False)
        if known.get("solution"):
            assert "raise NotImplementedError()" in cell.source
            assert "SOLUTION" not in cell.source
        else:
            assert cell.source == ours[cell.id].source


@each_chapter
def test_after_nbgrader_a_question_still_shows_the_call_that_answers_it(path: Path, release: Path) -> None:
    found = marked(release / path.stem / path.name)
    for question in registry.chapter(path.stem[:2]).questions:
        assert f'# answer("{question.id}", ...)\n' in found[question.id.replace(".", "-")].source
