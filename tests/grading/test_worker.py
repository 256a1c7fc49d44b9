"""What a worker makes of one submission, beyond the verdicts of its answers."""

import json

from interpwidgets.course import registry
from interpwidgets.course.chapters import find
from interpwidgets.grading.grades import Who
from interpwidgets.grading.sandbox import Sandbox
from interpwidgets.grading.worker import Task, graded


def test_an_answer_that_python_cannot_read_is_stopped_not_missing(sandbox: Sandbox) -> None:
    notebook = json.loads(find("05", "chapters").read_text(encoding="utf-8"))
    cell = next(cell for cell in notebook["cells"] if cell["id"] == "ex-05-2")
    cell["source"] = "def loss_by_position(logits, tokens):\n    return 1)"
    seeds = {exercise.id: 1 for exercise in registry.chapter("05").exercises}
    data = json.dumps(notebook).encode()
    grade = graded(Task(Who("ann", "Ann"), "05", "Induction heads", "ann.ipynb", data, "0" * 64, "b", seeds), sandbox)
    (mark,) = (one for one in grade.marks if one.id == "05.2")
    assert (mark.state, mark.error, mark.earned) == ("stopped", "SyntaxError: line 2: unmatched ')'", 0)
    assert mark.line == "Stopped before your first line."
    assert {one.state for one in grade.marks} == {"stopped", "unstarted"}
