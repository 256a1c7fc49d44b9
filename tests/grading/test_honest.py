"""Right answers earn all points, however the notebook that holds them came to be.

Each test turns the solved chapter into what some honest person would have sent, takes it apart, runs it in the sandbox
on inputs that no notebook shows, and wants every exercise passed and every question right.
"""

import ast
import inspect
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

from interpwidgets.course import registry
from interpwidgets.course.chapters import find
from interpwidgets.course.exercise import Exercise
from interpwidgets.course.questions import judged
from interpwidgets.grading import judge
from interpwidgets.grading.extract import Extracted, extract
from interpwidgets.grading.sandbox import Sandbox, refusal

Cell = dict[str, Any]
Notebook = dict[str, Any]
Turn = Callable[[Notebook], Notebook]


@pytest.fixture(scope="module")
def room() -> Iterator[Sandbox]:
    if why := refusal():
        pytest.skip(why)
    with Sandbox() as room:
        yield room


@cache
def _solved(number: str) -> str:
    return find(number, "solutions").read_text(encoding="utf-8")


def solved(number: str) -> Notebook:
    """The solved chapter, the source of each cell as one text."""
    notebook = json.loads(_solved(number))
    return {**notebook, "cells": [{**cell, "source": "".join(cell["source"])} for cell in notebook["cells"]]}


def all_points(notebook: Notebook, number: str, room: Sandbox, third: int | None = None) -> Extracted:
    """Grade a notebook; it must be right in everything. ``third``: of the exercises, only every third is run."""
    chapter = registry.chapter(number)
    found = extract(json.dumps(notebook).encode(), chapter)
    assert found.trouble == ""
    assert set(found.states.values()) == {"answered"}
    exercises = chapter.exercises if third is None else chapter.exercises[third % 3 :: 3]
    verdicts = judge.verdicts(found.program, exercises, lambda exercise: 20_261_120, room)
    failed = [repr(verdict) for verdict in verdicts if not verdict.passed]
    assert not failed, "\n".join(failed)
    assert all(judged(question, found.questions[question.id]).right for question in chapter.questions)
    return found


# -- cells --------------------------------------------------------------------------------------------------------


def code(text: str, name: str = "") -> Cell:
    more = {"id": name} if name else {}
    return {"cell_type": "code", "metadata": {}, "source": text, "outputs": [], "execution_count": None, **more}


def is_answer(cell: Cell) -> bool:
    return bool(cell["metadata"].get("nbgrader", {}).get("solution")) and cell["id"][-1].isdigit()


def answers(notebook: Notebook) -> list[Cell]:
    return [cell for cell in notebook["cells"] if is_answer(cell)]


def others(notebook: Notebook) -> list[Cell]:
    return [cell for cell in notebook["cells"] if not is_answer(cell)]


def each_answer(notebook: Notebook, change: Callable[[str], str]) -> Notebook:
    cells = [{**cell, "source": change(cell["source"])} if is_answer(cell) else cell for cell in notebook["cells"]]
    return {**notebook, "cells": cells}


def function_of(text: str) -> ast.FunctionDef:
    (node,) = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return node


# -- how the code is written --------------------------------------------------------------------------------------


def with_decorator(name: str, helper: str) -> Turn:
    def turn(notebook: Notebook) -> Notebook:
        decorated = each_answer(notebook, lambda text: f"@{name}\n{text}")
        return {**decorated, "cells": [code(helper), *decorated["cells"]]}

    return turn


_FLOAT64 = """
import functools
import torch

def _changed(value, dtype):
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return value.to(dtype)
    if isinstance(value, (list, tuple)):
        return type(value)(_changed(one, dtype) for one in value)
    return value

def in_float64(function):
    "Compute in double precision, and answer in the precision of the question."
    @functools.wraps(function)
    def computed(*arguments, **named):
        floats = [one for one in arguments if isinstance(one, torch.Tensor) and one.is_floating_point()]
        given = [_changed(one, torch.float64) for one in arguments]
        found = function(*given, **named)
        return _changed(found, floats[0].dtype) if floats else found
    return computed
"""
_SPREAD = """
from functools import wraps
from torch import Tensor

def spread(function):
    @wraps(function)
    def computed(*arguments, **named):
        found = function(*arguments, **named)
        if not isinstance(found, Tensor) or not found.dim():
            return found
        room = found.new_zeros(*found.shape[:-1], 2 * found.shape[-1])[..., ::2]
        room.copy_(found.detach())
        assert room.numel() < 2 or not room.is_contiguous()
        return room
    return computed
"""


class _Renamed(ast.NodeTransformer):
    """Other names for all parameters and local variables of a function."""

    def __init__(self, function: ast.FunctionDef) -> None:
        parts = list(ast.walk(function))
        self.own = {part.id for part in parts if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store)}
        self.own |= {part.arg for part in parts if isinstance(part, ast.arg)}

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(f"meine_{node.id}", node.ctx) if node.id in self.own else node

    def visit_arg(self, node: ast.arg) -> ast.arg:
        return ast.arg(f"meine_{node.arg}", node.annotation)


def other_names(notebook: Notebook) -> Notebook:
    def change(text: str) -> str:
        function = function_of(text)
        return ast.unparse(_Renamed(function).visit(function))

    return each_answer(notebook, change)


class _Named(ast.NodeTransformer):
    """Whole numbers that stand in a body get names."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if type(node.value) is not int:
            return node
        self.seen.add(node.value)
        return ast.Name(f"NUMBER_{node.value}", ast.Load())


def constants_at_the_top(notebook: Notebook) -> Notebook:
    named = _Named()

    def change(text: str) -> str:
        function = function_of(text)
        function.body = [named.visit(step) for step in function.body]
        return ast.unparse(function)

    changed = each_answer(notebook, change)
    assert len(named.seen) > 2
    table = "\n".join(f"NUMBER_{value}: int = {value} * 2 // 2" for value in sorted(named.seen))
    return {**changed, "cells": [*changed["cells"], code("SCALE = 1 / 2"), code(table)]}


def helper_functions(notebook: Notebook) -> Notebook:
    """Each answer calls a helper that stands in a cell of its own, further down."""
    helpers = []

    def change(text: str) -> str:
        function = function_of(text)
        helper = deepcopy(function)
        helper.name = f"help_{function.name}"
        helpers.append(code(ast.unparse(helper)))
        given = ", ".join(one.arg for one in function.args.args)
        function.body = ast.parse(f"return {helper.name}({given})").body
        return ast.unparse(function)

    changed = each_answer(notebook, change)
    return {**changed, "cells": [*changed["cells"], *helpers]}


def another_name_for_it(notebook: Notebook) -> Notebook:
    def change(text: str) -> str:
        function = function_of(text)
        name, function.name = function.name, f"version_3_of_{function.name}"
        return f"{ast.unparse(function)}\n\n{name} = {function.name}"

    return each_answer(notebook, change)


def methods_of_a_class(notebook: Notebook) -> Notebook:
    def change(text: str) -> str:
        function = function_of(text)
        function.decorator_list = [ast.Name("staticmethod", ast.Load())]
        home = ast.ClassDef(f"Mine_{function.name}", [], [], [function], [])
        return f"{ast.unparse(ast.fix_missing_locations(home))}\n\n{function.name} = {home.name}.{function.name}"

    return each_answer(notebook, change)


# -- where the code stands ----------------------------------------------------------------------------------------


def in_reverse(notebook: Notebook) -> Notebook:
    return {**notebook, "cells": notebook["cells"][::-1]}


def all_in_one_cell(notebook: Notebook) -> Notebook:
    text = "\n\n".join(cell["source"] for cell in answers(notebook))
    return {**notebook, "cells": [*others(notebook), code(text, "mine")]}


def in_new_cells(notebook: Notebook) -> Notebook:
    fresh = [code(cell["source"], f"new{at}") for at, cell in enumerate(answers(notebook))]
    return {**notebook, "cells": [*others(notebook), *fresh]}


def beside_untouched_cells(first: bool) -> Turn:
    def turn(notebook: Notebook) -> Notebook:
        number = answers(notebook)[0]["id"].split("-")[1]
        stubs = json.loads(find(number, "chapters").read_bytes())
        fresh = [code(cell["source"], f"new{at}") for at, cell in enumerate(answers(notebook))]
        replies = [cell for cell in others(notebook) if cell["source"].count("answer(")]
        mine = [*fresh, *replies]
        return {**notebook, "cells": [*mine, *stubs["cells"]] if first else [*stubs["cells"], *mine]}

    return turn


def nothing_but_answers(notebook: Notebook) -> Notebook:
    kept = [cell for cell in notebook["cells"] if cell["metadata"].get("nbgrader", {}).get("solution")]
    return {**notebook, "cells": kept}


def with_more_imports(notebook: Notebook) -> Notebook:
    text = """
import os, sys, json as j
import numpy as np
import torch.nn.functional as F
import not_installed_anywhere
from not_installed_anywhere.parts import this, that as other
from interpwidgets import LogitLens, AttentionHeads, check, load, no_such_name
from interpwidgets.methods.induction import induction_score
from interpwidgets.widgets.attention_heads import AttentionHeads as Heads
try:
    import einops
except ImportError:
    %pip install einops
    einops = None
"""
    return {**notebook, "cells": [code(text), *notebook["cells"]]}


def with_life_in_between(notebook: Notebook) -> Notebook:
    """Plots, widgets, prints, installs, questions to IPython, failed tries, notes."""
    between = [
        "!pip install einops plotnine",
        "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2, 3]); plt.show()",
        "AttentionHeads(names(tokens[0]), pattern[:, 0])",
        "for epoch in range(10**9):\n    print(epoch)",
        "def unfinished(:\n    pass",
        "%%bash\nls | head",
        "%load_ext autoreload\n%autoreload 2",
        "torch.zeros?\n??load\nfiles = !ls",
        "1 / 0",
        "x = 3\nx += 1\ndel x",
        "exit()",
        "assert False, 'why?'",
        "",
        "# nothing but a note",
        "raise NotImplementedError",
        "while True:\n    pass",
        "import time; time.sleep(10**6)",
        "model = load('attn2l'); tokens = model.nothing",
    ]
    cells = []
    for at, cell in enumerate(notebook["cells"]):
        text = f"%%time\n\n{cell['source']}\n\nprint('done') # really?" if is_answer(cell) else cell["source"]
        cells += [{**cell, "source": text}, code(between[at % len(between)])]
    return {**notebook, "cells": cells}


def indented(notebook: Notebook) -> Notebook:
    return each_answer(notebook, lambda text: "\n".join(f"    {line}" for line in text.split("\n")))


# -- what the notebook went through -------------------------------------------------------------------------------


def with_lines(cell: Cell) -> Cell:
    return {**cell, "source": cell["source"].splitlines(keepends=True)}


def from_jupyterlab(notebook: Notebook) -> Notebook:
    output = {"output_type": "stream", "name": "stdout", "text": ["Not yet.\n"]}
    cells = [with_lines({**cell, "outputs": [output], "execution_count": 7}) for cell in notebook["cells"]]
    return {**notebook, "cells": cells, "metadata": {**notebook["metadata"], "widgets": {"state": {}}}}


def without_ids(notebook: Notebook) -> Notebook:
    cells = [with_lines({**cell, "metadata": {}}) for cell in notebook["cells"]]
    for cell in cells:
        del cell["id"]
    return {**notebook, "cells": cells, "nbformat_minor": 4}


def from_colab(notebook: Notebook) -> Notebook:
    cells = []
    for at, cell in enumerate(notebook["cells"]):
        kept = {key: value for key, value in with_lines(cell).items() if key != "id"}
        cells.append({**kept, "metadata": {**cell["metadata"], "id": f"x{at}Kq_Zt", "outputId": "3c"}})
    return {"cells": cells, "metadata": {"colab": {"provenance": []}}, "nbformat": 4, "nbformat_minor": 0}


def with_windows_lines(notebook: Notebook) -> Notebook:
    return each_answer(notebook, lambda text: text.replace("\n", "\r\n"))


TURNS: dict[str, Turn] = {
    "as it is": lambda notebook: notebook,
    "computed in float64": with_decorator("in_float64", _FLOAT64),
    "results not contiguous in memory": with_decorator("spread", _SPREAD),
    "other names": other_names,
    "constants at the top level": constants_at_the_top,
    "helper functions": helper_functions,
    "another name for it": another_name_for_it,
    "methods of a class": methods_of_a_class,
    "cells in reverse": in_reverse,
    "all answers in one cell": all_in_one_cell,
    "answers in new cells": in_new_cells,
    "answers before untouched cells": beside_untouched_cells(first=True),
    "answers after untouched cells": beside_untouched_cells(first=False),
    "nothing but answers": nothing_but_answers,
    "more imports": with_more_imports,
    "life in between": with_life_in_between,
    "indented cells": indented,
    "saved by JupyterLab": from_jupyterlab,
    "format 4.4, no ids": without_ids,
    "saved by Colab": from_colab,
    "lines that end as on Windows": with_windows_lines,
}
WHOLE = {"as it is", "computed in float64", "life in between"}  # the others take turns with the exercises
QUIET = {"as it is", "saved by JupyterLab", "lines that end as on Windows", "constants at the top level"}


@pytest.mark.parametrize("name", TURNS)
def test_a_right_chapter_earns_everything_however_it_came_to_be(name: str, room: Sandbox) -> None:
    third = None if name in WHOLE else list(TURNS).index(name)
    found = all_points(TURNS[name](solved("05")), "05", room, third)
    if name in QUIET:
        assert found.flags == ()


@pytest.mark.parametrize("number", ["01", "02"])
def test_the_other_chapters_survive_all_of_it_at_once(number: str, room: Sandbox) -> None:
    notebook = solved(number)
    for turn in (with_life_in_between, with_more_imports, in_new_cells, in_reverse, from_colab):
        notebook = turn(notebook)
    all_points(notebook, number, room, third=0)


# -- other ways to be right ---------------------------------------------------------------------------------------


@cache
def _module(path: str) -> ast.Module:
    return ast.parse(Path(path).read_text(encoding="utf-8"))


def way(exercise: Exercise, answer: Any) -> str | None:
    """One of the accepted answers as a cell, with what it needs from its module; None if that is the reference."""
    if not isinstance(answer, FunctionType):
        return None
    tree = _module(inspect.getsourcefile(answer) or "")
    top = {name: node for node in tree.body for name in _names(node)}
    node = top.get(answer.__name__) or _lambda(tree, answer)
    if node is None:
        return None
    needed: dict[str, ast.stmt] = {}
    todo: list[ast.AST] = [node]
    while todo:
        for part in ast.walk(todo.pop()):
            if isinstance(part, ast.Name) and part.id in top and part.id not in needed and top[part.id] is not node:
                needed[part.id] = top[part.id]
                todo.append(top[part.id])
    imports = [one for one in needed.values() if isinstance(one, (ast.Import, ast.ImportFrom))]
    if any(isinstance(one, ast.ImportFrom) and not _is_there(one.module or "") for one in imports):
        return None
    own = [deepcopy(one) for one in tree.body if one in needed.values() and one not in imports]
    mine = deepcopy(node)
    if isinstance(mine, ast.Lambda):
        mine = ast.Assign([ast.Name(exercise.name, ast.Store())], mine)
    rename = _Suffixed({name for one in own for name in _names(one)}, exercise.id.replace(".", "_"))
    cell = [*dict.fromkeys(imports), *(rename.visit(one) for one in own), rename.visit(mine)]
    text = ast.unparse(ast.fix_missing_locations(ast.Module(cell, [])))
    return text.replace(f"def {answer.__name__}(", f"def {exercise.name}(")


def _is_there(module: str) -> bool:
    return not module.startswith("interpwidgets") or module.startswith(("interpwidgets.data", "interpwidgets.models"))


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    return [one.id for one in node.targets if isinstance(one, ast.Name)] if isinstance(node, ast.Assign) else []


def _lambda(tree: ast.Module, answer: FunctionType) -> Any:
    at = next(answer.__code__.co_positions(), (None, None, None, None))
    start = (answer.__code__.co_firstlineno, at[2])
    found = [one for one in ast.walk(tree) if isinstance(one, ast.Lambda) and one.lineno == start[0]]
    return found[0] if len(found) == 1 else None


class _Suffixed(ast.NodeTransformer):
    """Names of a module that two exercises might both bring along."""

    def __init__(self, names: set[str], suffix: str) -> None:
        self.names, self.suffix = names, suffix

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(f"{node.id}_{self.suffix}", node.ctx) if node.id in self.names else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.name = f"{node.name}_{self.suffix}" if node.name in self.names else node.name
        return node


def in_another_way(number: str, which: int) -> tuple[Notebook, int]:
    """The chapter with an accepted answer in place of each solution that has one, and how many have."""
    notebook = solved(number)
    ways = {}
    for exercise in registry.chapter(number).exercises:
        texts = [text for one in exercise.accepted if (text := way(exercise, one))]
        if texts:
            ways[f"ex-{exercise.id.replace('.', '-')}"] = texts[which % len(texts)]
    cells = [{**cell, "source": ways.get(cell["id"], cell["source"])} for cell in notebook["cells"]]
    return {**notebook, "cells": cells}, len(ways)


@pytest.mark.parametrize("which", range(3))
@pytest.mark.parametrize("number", ["01", "02", "05"])
def test_loops_einsum_and_every_other_way_earn_everything(number: str, which: int, room: Sandbox) -> None:
    notebook, count = in_another_way(number, which)
    assert count >= len(registry.chapter(number).exercises) - 1
    all_points(notebook, number, room, None if number == "05" else which)
