"""The cells of a chapter that belong to exercises and questions, and what is written into them.

    # %% id="05.2"                    the answer: a function with a docstring, its body between BEGIN and END SOLUTION
    # %% id="05.2-check"              the check: check("05.2", induction_score)
    # %% id="05.A"                    a question: answer("05.A", 2) between BEGIN and END SOLUTION

In both notebooks the cells are called ``ex-05-2``, ``ex-05-2-check``, ``ex-05-A`` (an id of a cell has no dots) and
carry nbgrader's metadata, schema 3: answers as solution cells, checks as locked tests with the points of the exercise.
So ``nbgrader generate_assignment`` works on the solved notebooks (tests/course/test_nbgrader.py).
The text above an answer ends in its points, minutes and lines, taken from the `Exercise`.
"""

import ast
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from interpwidgets.course import CourseError, registry
from interpwidgets.course.exercise import Exercise

MARKED = re.compile(r"(\d\d)\.(\d+|[A-Z])(-check)?")


def cell_id(name: str) -> str:
    """The id of the cell of an exercise: ``ex-05-2`` for ``"05.2"``."""
    return f"ex-{name.replace('.', '-')}"


def furnish(cells: list[Any], number: str, where: str, unsolved: Callable[[str, str], str]) -> None:
    """Rename, mark and check the cells of exercises, in place. ``unsolved(text, where)`` takes an answer out of a cell.

    Raises `CourseError` if a cell belongs to nothing, or an exercise or question of the chapter has no cell.
    """
    marked = {cell.id: cell for cell in cells if MARKED.fullmatch(cell.id)}
    chapter = registry.chapter(number) if number in registry.numbers() or marked else None
    if chapter is None:
        return
    exercises = {one.id: one for one in chapter.exercises}
    questions = {one.id for one in chapter.questions}
    wanted = [*exercises, *(f"{name}-check" for name in exercises), *questions]
    for name in marked:
        if name not in wanted:
            raise CourseError(f"{where}: the cell {name!r} belongs to no exercise of chapter {number}.")
    for name in wanted:
        if name not in marked:
            raise CourseError(f'{where}: there is no cell for {name} of chapter {number}: expected # %% id="{name}".')
    for at, cell in enumerate(cells):
        if cell.id in exercises:
            _answer_cell(cell, exercises[cell.id], f"{where}, cell {cell.id!r}", unsolved)
            _tell(cells[at - 1] if at else None, exercises[cell.id], where)
    for name, cell in marked.items():
        if name in questions:  # where another program takes the answer out, the call to fill in stays to be seen
            cell.source = f"# {_question_call(name)}\n{cell.source}"
        exercise = exercises.get(name.removesuffix("-check"))
        if exercise and name.endswith("-check") and f'check("{exercise.id}", ' not in cell.source:
            raise CourseError(f'{where}: the cell {name!r} should call check("{exercise.id}", {exercise.name}).')
        cell.metadata["nbgrader"] = _nbgrader(name, exercise)
        cell.id = cell_id(name)


def _nbgrader(name: str, exercise: Exercise | None) -> dict[str, Any]:
    """What nbgrader reads; a question is the learner's to edit and graded by the course, not by a test cell."""
    test = name.endswith("-check")
    known: dict[str, Any] = {
        "grade": test,
        "grade_id": name.replace(".", "-"),
        "locked": test,
        "schema_version": 3,
        "solution": not test,
        "task": False,
    }
    return {**known, "points": exercise.points} if test and exercise else known


def _answer_cell(cell: Any, exercise: Exercise, where: str, unsolved: Callable[[str, str], str]) -> None:
    """Hold an answer cell to what its stub has to be: the signature, a docstring, raise NotImplementedError."""
    stub = unsolved(cell.source, where)
    try:
        defined = {node.name: node for node in ast.walk(ast.parse(stub)) if isinstance(node, _DEFINITIONS)}
    except SyntaxError as error:
        raise CourseError(f"{where}: without its answer it is no Python (line {error.lineno}).") from None
    if exercise.name not in defined:
        raise CourseError(f"{where}: it should define {exercise.name}, outside BEGIN and END SOLUTION.")
    node = defined[exercise.name]
    if ast.get_docstring(node) is None:
        raise CourseError(f"{where}: {exercise.name} needs a docstring above BEGIN SOLUTION.")
    if "raise NotImplementedError" not in stub:
        raise CourseError(f"{where}: it has no answer between ### BEGIN SOLUTION and ### END SOLUTION.")
    if isinstance(node, ast.FunctionDef):
        asked = list(inspect.signature(exercise.reference).parameters)
        given = [one.arg for one in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        if given[: len(asked)] != asked and not (node.args.vararg or node.args.kwarg):
            raise CourseError(f"{where}: {exercise.name}({', '.join(given)}) should take ({', '.join(asked)}).")


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _tell(before: Any, exercise: Exercise, where: str) -> None:
    if before is None or before.cell_type != "markdown":
        raise CourseError(f"{where}: a text cell should stand before the answer cell {exercise.id!r} and ask for it.")
    low, high = exercise.lines
    lines = f"{low} to {high} lines" if low != high else f"{low} line{'' if low == 1 else 's'}"
    points = f"{exercise.points} point{'' if exercise.points == 1 else 's'}"
    minutes = f"about {exercise.minutes} minute{'' if exercise.minutes == 1 else 's'}"
    before.source = f"{before.source.rstrip()}\n\n*Exercise {exercise.id} · {points} · {minutes} · {lines}*"


def _question_call(name: str) -> str:
    return f'answer("{name}", ...)'


def question_stub(name: str, lines: Sequence[str]) -> list[str]:
    """A question's cell as the learner gets it: the call with ``...`` where the answer goes."""
    kept = [line for line in lines if line.strip() != "raise NotImplementedError" and "answer(" not in line]
    return [*kept, _question_call(name)]
