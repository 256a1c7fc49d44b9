"""Does every check do what it promises? Solutions pass, stubs fail cleanly, mistakes are recognised.

    for finding in verify(["05"]):
        print(finding)                  # "05.2  mistake: one key too early   recognised"

    all(finding.right for finding in verify(["05"]))

What is tried on every exercise: its reference, the variants it accepts, its known mistakes, and, if the chapter has
notebooks, the solved and the unsolved cell.
"""

import ast
import linecache
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interpwidgets.course import CourseError, chapters, registry
from interpwidgets.course.check import judge
from interpwidgets.course.exercise import Exercise
from interpwidgets.course.report import headline
from interpwidgets.course.verdict import Verdict


@dataclass(frozen=True)
class Finding:
    """One answer that was tried: what it was, what the check said, and whether that is right."""

    exercise: str
    what: str
    found: str
    right: bool

    def __str__(self) -> str:
        return f"{'ok' if self.right else '!!'}  {self.exercise:<6} {self.what:<44} {self.found}"


@dataclass(frozen=True)
class Broken:
    """What a name of a notebook stands for if its definition alone raises."""

    why: str


@dataclass(frozen=True)
class Unread:
    """A cell that is no Python; it stands among the names under its file."""

    why: str

    def __str__(self) -> str:
        return self.why


def verify(numbers: Sequence[str]) -> Iterator[Finding]:
    """Try everything that is known about the exercises of these chapters; one finding at a time."""
    for number in numbers:
        chapter = registry.chapter(number)
        solved, unsolved = (_names(chapter.number, shelf) for shelf in ("solutions", "chapters"))
        for exercise in chapter.exercises:
            yield from _exercise(exercise)
            yield from _cells(exercise, solved, unsolved)


def count(numbers: Sequence[str]) -> int:
    """About how many findings `verify` will have, for a progress bar."""
    exercises = [one for number in numbers for one in registry.chapter(number).exercises]
    return sum(3 + len(one.accepted) + len(one.mistakes) for one in exercises)


def _exercise(exercise: Exercise) -> Iterator[Finding]:
    yield _tried(exercise, "reference", exercise.reference, _passes)
    for answer in exercise.accepted:
        yield _tried(exercise, f"accepted: {getattr(answer, '__name__', 'variant')}", answer, _passes)
    for mistake in exercise.mistakes:

        def recognised(verdict: Verdict, name: str = mistake.name) -> str | None:
            if verdict.passed:
                return "passes"
            found = verdict.mistake.name if verdict.mistake else ""
            return None if found == name else f"taken for {found!r}" if found else "not recognised"

        yield _tried(exercise, f"mistake: {mistake.name}", mistake.answer, recognised, "recognised")


def _cells(exercise: Exercise, solved: dict[str, Any] | None, unsolved: dict[str, Any] | None) -> Iterator[Finding]:
    for what, names, test, good in (
        ("solved cell", solved, _passes, "passes"),
        ("unsolved cell", unsolved, _starts, "not started"),
    ):
        if names is None:
            yield Finding(exercise.id, what, "no notebook", True)
        elif exercise.name not in names:
            why = next((str(one) for one in names.values() if isinstance(one, Unread)), "")
            yield Finding(exercise.id, what, f"defines no {exercise.name}{why and f'; {why}'}", False)
        elif isinstance(names[exercise.name], Broken):
            yield Finding(exercise.id, what, names[exercise.name].why, False)
        else:
            yield _tried(exercise, what, names[exercise.name], test, good)


def _tried(
    exercise: Exercise, what: str, answer: Any, wrong: Callable[[Verdict], str | None], good: str = "passes"
) -> Finding:
    try:
        verdict = judge(exercise, answer, extras=False)
    except CourseError as error:
        return Finding(exercise.id, what, " ".join(str(error).split()), False)
    except Exception as error:
        return Finding(exercise.id, what, f"the check itself stopped with {type(error).__name__}: {error}", False)
    problem = wrong(verdict)
    return Finding(exercise.id, what, problem or good, problem is None)


def _passes(verdict: Verdict) -> str | None:
    return None if verdict.passed else _told(verdict)


def _told(verdict: Verdict) -> str:
    """The headline, and Python's own sentence with the line where the code stopped."""
    stop = verdict.failure.stop if verdict.failure else None
    if stop is None:
        return headline(verdict)
    line = next((text.strip() for number, text in stop.lines if number == stop.at), "")
    return f"{headline(verdict)} {stop.error}: {stop.message}{f' ({line})' if line else ''}"


def _starts(verdict: Verdict) -> str | None:
    return None if verdict.state == "unstarted" else _told(verdict)


# -- what the cells of a notebook define --------------------------------------------------------------------------


def _names(number: str, shelf: chapters.Shelf) -> dict[str, Any] | None:
    """Imports and definitions of all cells of a chapter, in order, as the learner's kernel would have them."""
    try:
        path = chapters.find(number, shelf)
    except CourseError:
        return None
    return definitions(path)


def definitions(notebook: Path) -> dict[str, Any]:
    """What the cells of a notebook import and define, and nothing else that they do."""
    import nbformat

    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in nbformat.read(notebook, as_version=4).cells:
        if cell.cell_type == "code":
            _define(cell.source, f"<ipython-input {notebook.stem} {cell.id}>", names)
    return names


def _define(source: str, file: str, names: dict[str, Any]) -> None:
    lines = [re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in source.splitlines()]
    text = "\n".join(lines) + "\n"
    try:
        tree = ast.parse(text)
    except SyntaxError as error:  # often a cell of magics, which defines nothing that an exercise needs
        names[file] = Unread(
            f"its cell {file.rpartition(' ')[2].rstrip('>')} is no Python: {error.msg}, line {error.lineno}"
        )
        return
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)):
            try:
                exec(compile(ast.Module([node], []), file, "exec"), names)  # noqa: S102  the course's own cells
            except Exception as error:
                cell = file.rpartition(" ")[2].rstrip(">")
                for name in _defined(node):
                    names.setdefault(name, Broken(f"cell {cell} stopped with {type(error).__name__}: {error}"))


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    return [alias.asname or alias.name for alias in getattr(node, "names", ())]
