"""What files that call themselves notebooks do to graders, one row each: each ends in a sentence or in honest answers.

A row says what the notebook is and whether its one answer, to 05.7, is found in it.
"""

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interpwidgets.course import registry
from interpwidgets.course.chapters import find as chapter
from interpwidgets.grading.extract import extract
from interpwidgets.grading.submissions import survey

CHAPTER = registry.chapter("05")
ANSWER = "def in_context_score(loss, early, late):\n    return loss[late - 1] - loss[early - 1]\n"
Make = Callable[[], bytes]


def cell(text: Any = ANSWER, **more: Any) -> dict[str, Any]:
    return {"cell_type": "code", "metadata": {}, "source": text, "outputs": [], "execution_count": None, **more}


def notebook(*cells: Any, **more: Any) -> bytes:
    return json.dumps({"cells": [cell(), *cells], "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}).encode()


def old(version: int) -> bytes:
    cells = [{"cell_type": "heading", "level": 1, "source": "x"}, {"cell_type": "code", "input": ANSWER, "outputs": []}]
    return json.dumps({"worksheets": [{"cells": cells}], "metadata": {}, "nbformat": version}).encode()


READ: dict[str, Make] = {
    "a byte order mark": lambda: b"\xef\xbb\xbf" + notebook(),
    "UTF-16": lambda: notebook().decode().encode("utf-16"),
    "UTF-32": lambda: notebook().decode().encode("utf-32"),
    "format 3": lambda: old(3),
    "format 2": lambda: old(2),
    "lines that are lists": lambda: notebook(cell(ANSWER.splitlines(keepends=True))),
    "a source that is a number": lambda: notebook(cell(7)),
    "a source that is a list of numbers": lambda: notebook(cell([1, 2])),
    "a source that is nothing": lambda: notebook(cell(None)),
    "a source that is a dictionary": lambda: notebook(cell({"text": ANSWER})),
    "cells that are no cells": lambda: notebook(1, None, "x", [], {}),
    "metadata that are no metadata": lambda: notebook(cell(metadata=[1]), cell(metadata={"nbgrader": 3, "id": {}})),
    "ids that are no ids": lambda: notebook(cell(id=7), cell(id={}), cell(id="x" * 10_000)),
    "the same id everywhere": lambda: notebook(*(cell("x = 1", id="ex-05-7") for _ in range(50))),
    "numbers that are none": lambda: notebook(cell(execution_count=float("nan")), n=float("inf")),
    "half characters": lambda: notebook(cell("x = '\ud800'"), cell(id="\udfff")),
    "null bytes in a source": lambda: notebook(cell("x = 1\x00")),
    "control characters": lambda: notebook(cell("\x1b[2J\x07 = 1")),
    "seven megabytes of output": lambda: notebook(cell("1", outputs=[{"data": {"text/html": "<script>" * 900_000}}])),
    "outputs that are no outputs": lambda: notebook(cell("1", outputs="<script>alert(1)</script>")),
    "brackets without end": lambda: notebook(cell("(" * 100_000)),
    "a sum without end": lambda: notebook(cell("x = " + "1+" * 90_000 + "1")),
    "signs without end": lambda: notebook(cell("x = " + "-" * 150_000 + "1")),
    "attributes without end": lambda: notebook(cell("a" + ".b" * 90_000)),
    "calls without end": lambda: notebook(cell("f" + "()" * 90_000)),
    "functions in functions": lambda: notebook(cell("".join(f"{' ' * n}def f():\n" for n in range(200)))),
    "lambdas in lambdas": lambda: notebook(cell("x = " + "lambda: " * 20_000 + "1")),
    "a reply without end": lambda: notebook(cell('answer("05.A", ' + "1+" * 50_000 + "1)")),
    "a number without end": lambda: notebook(cell("x = " + "9" * 150_000)),
    "quotes without end": lambda: notebook(cell("'" * 150_001), cell('"""')),
    "magics without end": lambda: notebook(cell("%x\n" * 60_000)),
    "a cell of a million characters": lambda: notebook(cell("#" * 1_000_000)),
    "a megabyte of code in small cells": lambda: notebook(*(cell("#" * 100_000) for _ in range(12))),
    "an encoding of its own": lambda: notebook(cell("# -*- coding: rot13 -*-\nvzcbeg bf")),
    "a thousand definitions of the answer": lambda: notebook(*(cell() for _ in range(1000))),
}

REFUSED: dict[str, tuple[Make, str]] = {
    "a hundred megabytes": (lambda: b'{"cells": [], "x": "' + b"x" * 100_000_000 + b'"}', "more than 8 MB"),
    "two million cells": (lambda: b'{"cells":[' + b"{}," * 2_000_000 + b"{}]}", "at most 2,000"),
    "six million numbers": (lambda: b'{"cells":' + b"[" + b"1," * 3_900_000 + b"1]}", "at most 2,000"),
    "lists in lists": (lambda: b'{"cells":' + b"[" * 1_000_000, "nested too deeply"),
    "dictionaries in dictionaries": (lambda: b'{"a":' * 500_000, "nested too deeply"),
    "a number of a million digits": (lambda: b'{"cells":[' + b"9" * 1_000_000 + b"]}", "a number in it is too long"),
    "no JSON": (lambda: b"import os; os.remove('x')", "not a whole notebook"),
    "half of it": (lambda: notebook()[:-30], "not a whole notebook"),
    "null bytes": (lambda: bytes(1000), "not a whole notebook"),
    "null bytes within": (lambda: notebook()[:50] + b"\0" + notebook()[50:], "not a whole notebook"),
    "no known encoding": (lambda: b'{"cells": "\xff\xfe\xfa"}', "no known encoding"),
    "nothing": (lambda: b"", "empty"),
    "blanks": (lambda: b" \n" * 100, "empty"),
    "a zip file": (lambda: b"PK\x03\x04" + bytes(100), "zip archive"),
    "a pickle": (lambda: b"\x80\x04cos\nsystem\n(S'x'\ntR.", "not a whole notebook"),
    "a list": (lambda: b"[]", "no list of cells"),
    "cells in a dictionary": (lambda: b'{"cells": {"0": {}}}', "no list of cells"),
    "cells in a string": (lambda: b'{"cells": "x"}', "no list of cells"),
    "worksheets of nothing": (lambda: b'{"worksheets": 3}', "no list of cells"),
}


@pytest.mark.parametrize("name", READ)
def test_an_odd_notebook_is_read_and_its_answer_found(name: str) -> None:
    found = extract(READ[name](), CHAPTER)
    assert found.trouble == ""
    assert found.states["05.7"] == "answered"
    assert any("def in_context_score" in text for _, text in found.program.cells)
    assert len(found.flags) <= 41
    assert all(flag.isprintable() and len(flag) <= 300 for flag in found.flags)
    assert not any("script" in flag for flag in found.flags)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_notebook_is_refused_in_a_sentence_and_holds_no_answers(name: str) -> None:
    make, says = REFUSED[name]
    found = extract(make(), CHAPTER)
    assert says in found.trouble
    assert found.trouble.endswith(".")
    assert found.trouble.isprintable()
    assert found.program.cells == ()
    assert set(found.states.values()) == {"missing"}
    assert set(found.questions.values()) == {None}


@pytest.mark.parametrize(
    "name", ["a hundred megabytes", "two million cells", "lists in lists", "half of it", "null bytes"]
)
def test_a_hostile_notebook_does_not_stop_the_others(name: str, tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    (tmp_path / "class/mallory.ipynb").write_bytes(REFUSED[name][0]())
    (tmp_path / "class/ada.ipynb").write_bytes(chapter("05", "chapters").read_bytes())
    found = {one.student.name: one for one in survey(tmp_path / "class", tmp_path / "into").submissions}
    assert REFUSED[name][1] in found["mallory"].trouble
    assert found["ada"].chapter == "05"


def test_a_hundred_megabytes_are_never_in_memory(tmp_path: Path) -> None:
    (tmp_path / "class").mkdir()
    with (tmp_path / "class/mallory.ipynb").open("wb") as out:
        out.truncate(100_000_000)
    extract(notebook(), CHAPTER)
    tracemalloc.start()
    survey(tmp_path / "class", tmp_path / "into")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 30_000_000
