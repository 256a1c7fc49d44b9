"""What is taken from a notebook, and what is said about it: the program, the replies, and facts for the teacher."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interpwidgets.course import registry
from interpwidgets.course.chapters import find
from interpwidgets.course.questions import judged
from interpwidgets.grading import source
from interpwidgets.grading.extract import Extracted, extract

CHAPTER = registry.chapter("05")
SOLVED = json.loads(find("05", "solutions").read_bytes())
STUBS = json.loads(find("05", "chapters").read_bytes())
LOSS = "def loss_by_position(logits, tokens):\n    return logits.sum()\n"


def code(*sources: Any, **more: Any) -> dict[str, Any]:
    """A notebook with these cells of code."""
    cells = [
        {"cell_type": "code", "id": f"c{at}", "metadata": {}, "source": one, "outputs": [], "execution_count": None}
        for at, one in enumerate(sources)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}


def taken(notebook: Any) -> Extracted:
    return extract(json.dumps(notebook).encode(), CHAPTER)


def theirs(*sources: Any) -> str:
    """What may run of cells that a learner wrote, without the course's own cells."""
    given_cells = len(taken(code("pass")).program.cells)
    return "\n".join(text for _, text in taken(code(*sources)).program.cells[given_cells:]).strip()


def changed(notebook: dict[str, Any], **cells: str | None) -> dict[str, Any]:
    """The notebook with other sources in some cells, by id with _ for -; None takes a cell out."""
    wanted = {name.replace("_", "-"): text for name, text in cells.items()}
    kept = [cell for cell in notebook["cells"] if wanted.get(cell["id"], "") is not None]
    return {**notebook, "cells": [{**cell, "source": wanted.get(cell["id"], cell["source"])} for cell in kept]}


# -- the program --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "import torch",
        "from torch import nn as parts, Tensor",
        "from torch import (\n    nn,\n    Tensor,\n)",
        "def f(x):\n    return x",
        "async def f(x):\n    return x",
        "@torch.no_grad()\n@other\ndef f(x, n=[1][0]):\n    return x",
        "class Probe(torch.nn.Module):\n    width = 3",
        "EPS = 1e-5",
        "LIMIT: float = -2 * 3 ** 4",
        "a, (b, c) = 1, ('x', None)",
        "TABLE = {'a': [1, 2], 'b': (3,)}",
        "def mine(x):\n    return x\ninduction_score = mine",
        "score = lambda p: p.mean()",
        "import math\nHALF = math.pi / 2",
        "NEVER = float('-inf')",
        "from functools import partial\ndef f(x, n): return x\ninduction_score = partial(f, n=2)",
        "try:\n    import einops\nexcept ImportError:\n    einops = None",
        "from jaxtyping import Float\nPattern = Float[Tensor, 'layer head']",
        'def f():\n    """Text with\n%time in it\n\n!and this\n    """\n    return 7 \\\n  % 4',
    ],
)
def test_imports_definitions_and_constants_run(text: str) -> None:
    assert theirs(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "print(1)",
        "model = load('attn2l')",
        "x = [n for n in range(10)]",
        "import_this = __import__('os')",
        "x = f'{open(1)}'",
        "f(1).y = 2",
        "names['a'] = 3",
        "n += 1",
        "del torch",
        "for n in range(3):\n    pass",
        "if True:\n    import os",
        "with open('x') as f:\n    import os",
        "try:\n    import os\nexcept ImportError:\n    print('no')",
        "assert False",
        "await something()",
        "raise SystemExit",
        "x = (y := 3)",
        "z = not_there",
        "z = not_there.value + 1",
        "%pip install evil",
        "!rm -rf /",
        "?print",
        "print?",
        "files = !ls",
        "%%bash\ndef f(): pass",
        "%%writefile x.py\nimport os",
    ],
)
def test_nothing_else_runs(text: str) -> None:
    assert theirs(text) == ""


def test_what_runs_stays_in_the_line_where_it_was() -> None:
    text = (
        "%matplotlib inline\nprint(1)\nimport os; print(2); EPS = 3  # small\nEPS += 1\n\ndef f():\n    return EPS\nf()"
    )
    assert taken(code(text)).program.cells[-1][1] == "\n\nimport os; EPS = 3\n\n\ndef f():\n    return EPS"


def test_python_below_a_time_magic_runs() -> None:
    assert theirs("%%time\n\ndef f():\n    return 1") == "def f():\n    return 1"


def test_an_indented_cell_runs_as_it_does_in_a_notebook() -> None:
    assert theirs("    def f():\n        return 1\n    f()") == "def f():\n    return 1"


def test_a_magic_that_goes_on_in_the_next_line_goes_as_a_whole() -> None:
    assert theirs("!pip install \\\n  evil\nimport torch") == "import torch"


def test_a_broken_cell_loses_itself_alone_and_is_told() -> None:
    found = taken(code(LOSS, "def f(:\n  pass", "EPS = 1"))
    assert found.states["05.2"] == "answered"
    assert found.program.cells[-1] == ("cell 3", "EPS = 1")
    assert "The cell that begins with “def f(:” was left out: line 1: invalid syntax." in found.flags


def test_the_course_gives_its_own_cells_whatever_became_of_them() -> None:
    without = changed(SOLVED, setup=None, see_heads="def names(): return 1 / 0")
    found, whole = taken(without), taken(SOLVED)
    here, there = dict(found.program.cells), dict(whole.program.cells)
    assert here["setup"] == there["setup"]
    assert here["see-heads"] == there["see-heads"]
    assert "Cells of the course are gone: setup." in found.flags
    assert "Cells of the course were changed: see-heads." in found.flags


def test_a_solved_chapter_is_all_answers_and_no_flags() -> None:
    found = taken(SOLVED)
    assert set(found.states.values()) == {"answered"}
    assert found.questions == {"05.A": 4.16, "05.B": 3, "05.C": 1}
    assert found.flags == ()
    assert found.trouble == ""


def test_an_untouched_chapter_is_not_started_and_nothing_is_missing() -> None:
    found = taken(STUBS)
    assert set(found.states.values()) == {"unstarted"}
    assert set(found.questions.values()) == {None}
    assert found.flags == ()


def test_a_deleted_answer_is_missing_not_unstarted() -> None:
    found = taken(changed(STUBS, ex_05_2=None))
    assert found.states["05.2"] == "missing"
    assert found.states["05.3"] == "unstarted"
    assert found.flags == ("No cell defines the answer: 05.2 (loss_by_position).",)


def test_the_last_definition_counts() -> None:
    found = taken(changed(SOLVED, own_words=LOSS, loss_curve="def loss_by_position(a, b):\n    return 'last'"))
    order = [text for _, text in found.program.cells if "def loss_by_position" in text]
    assert "'last'" in order[-1]
    assert any(flag.startswith("05.2 is answered 3 times (cells ") for flag in found.flags)


def test_an_untouched_cell_after_the_answer_does_not_take_it_away() -> None:
    found = taken(changed(STUBS, own_words=LOSS))
    assert found.states["05.2"] == "answered"
    assert sum("def loss_by_position" in text for _, text in found.program.cells) == 1
    assert any(flag.startswith("An untouched cell stands after the answer") for flag in found.flags)


def test_a_stub_with_another_signature_is_not_started_either() -> None:
    text = 'def loss_by_position(logits, tokens, more=1):\n    """Mine."""\n    raise NotImplementedError("later")'
    assert taken(changed(STUBS, ex_05_2=text)).states["05.2"] == "unstarted"


# -- facts --------------------------------------------------------------------------------------------------------


def flags_of(*sources: str) -> str:
    return " ".join(taken(code(*sources)).flags)


def test_a_definition_under_an_if_is_told() -> None:
    said = flags_of("if 1:\n    def loss_by_position(a, b): pass")
    assert "loss_by_position is defined under `if` (cell 1, line 2): it runs only in a notebook." in said


def test_an_import_that_will_not_be_there_is_told() -> None:
    said = flags_of("from interpwidgets.methods.induction import induction_score")
    assert "Cell 1 imports interpwidgets.methods.induction, which is not there when answers are graded." in said
    assert "imports" not in flags_of("from interpwidgets.data.repeats import repeated_tokens\nimport interpwidgets")


@pytest.mark.parametrize(
    "text",
    [
        "import interpwidgets.grading.inside.child as child",
        "from interpwidgets import grading",
        "from interpwidgets.course.attempt import _as_it_was",
        "from interpwidgets.course import limits as time",
        "class Lie:\n    import interpwidgets.exercises.ch01.stage as stage\n    stage.hooks = len",
        "def f():\n    from interpwidgets.exercises.ch05 import stage",
        "import importlib\ndef f():\n    importlib.import_module('interpwidgets.course.kinds')",
    ],
)
def test_a_look_at_the_code_that_grades_is_told(text: str) -> None:
    assert "Cell 1 looks at the grader's own code (interpwidgets." in flags_of(text)


def test_imports_that_everybody_has_are_no_look_at_the_grader() -> None:
    ordinary = "from interpwidgets import check, load\nfrom interpwidgets.models.taps import Tap\nx = 'grading'"
    assert "looks at" not in flags_of(ordinary)
    assert "looks at" not in " ".join(taken(SOLVED).flags)


def test_a_name_that_only_a_run_makes_is_told() -> None:
    said = flags_of("eps = torch.ones(3)", "def help(x):\n    return x + eps", LOSS.replace("logits.sum", "help"))
    assert "05.2 uses eps, which cell 1 makes when it runs" in said
    assert "uses" not in flags_of("eps = 1", "x = torch.ones(3)", LOSS.replace("logits.sum()", "[x + eps for x in y]"))


def test_changed_and_missing_checks_and_another_order_are_told() -> None:
    cells = STUBS["cells"]
    at = next(at for at, cell in enumerate(cells) if cell["id"] == "ex-05-3")
    moved = {**STUBS, "cells": [cells[at], *cells[:at], *cells[at + 1 :]]}
    said = taken(changed(moved, ex_05_4_check=None, ex_05_5_check="print('passed')")).flags
    assert "Check cells are gone: 05.4." in said
    assert "Check cells were changed: 05.5." in said
    assert "The answer cells stand in another order than in the course." in said


def test_answers_without_anything_of_the_course_around_them_are_told() -> None:
    kept = [cell for cell in SOLVED["cells"] if cell["metadata"].get("nbgrader", {}).get("solution")]
    found = taken({**SOLVED, "cells": [{**cell, "id": f"c{at}", "metadata": {}} for at, cell in enumerate(kept)]})
    assert found.flags == (
        "No answer stands in a cell that the course gave; answers were found by the names of their functions.",
        "All check cells are gone.",
        "All cells of questions are gone.",
        "All cells of the course are gone.",
    )
    assert set(found.states.values()) == {"answered"}


def test_a_notebook_that_lost_the_ids_of_its_cells_and_nothing_else_is_not_told() -> None:
    found = taken(
        {**SOLVED, "cells": [{**cell, "id": f"c{at}", "metadata": {}} for at, cell in enumerate(SOLVED["cells"])]}
    )
    assert set(found.states.values()) == {"answered"}
    assert None not in found.questions.values()
    assert found.flags == ()


def test_an_answer_in_a_cell_that_python_cannot_read_is_broken_not_gone() -> None:
    found = taken(changed(STUBS, ex_05_2="def loss_by_position(a, b):\n    return a)"))
    assert found.broken == {"05.2": "line 2: unmatched ')'"}
    assert found.flags == ("The cell of 05.2 was left out: line 2: unmatched ')'.",)
    assert taken(code("def loss_by_position(a, b:", LOSS)).broken == {}


def test_a_copied_cell_is_told_and_costs_nothing() -> None:
    at = next(at for at, cell in enumerate(SOLVED["cells"]) if cell["id"] == "ex-05-3")
    copy = {**SOLVED["cells"][at], "id": "other"}  # nbgrader's id is copied with the metadata
    found = taken({**SOLVED, "cells": [*SOLVED["cells"], copy]})
    assert "The cell of 05.3 is there twice." in found.flags
    assert found.states["05.3"] == "answered"


def test_playing_with_the_cells_that_ask_for_it_is_not_told() -> None:
    assert taken(changed(SOLVED, own_words='MY_WORDS = "fire"', model='MODEL = "gpt2"')).flags == ()


def test_a_name_for_what_is_not_there_is_told_and_answers_nothing() -> None:
    found = taken(code("loss_by_position = mine", "def mine(a, b):\n    return a"))
    assert found.states["05.2"] == "missing"
    assert any("calls something loss_by_position (05.2) that no import" in flag for flag in found.flags)
    assert taken(changed(STUBS, own_words="loss_by_position = mine")).states["05.2"] == "unstarted"


def test_flags_stay_few_short_and_printable() -> None:
    found = taken(code(*(f"\x1b[31m{n} (" for n in range(500)), "if 1:\n    def " + "x" * 5000 + "(): pass"))
    assert len(found.flags) == 41
    assert all(flag.isprintable() and len(flag) <= 300 for flag in found.flags)


# -- questions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('answer("05.A", 4.16)', 4.16),
        ("answer('5.a', -1)", -1),
        ('answer("05.A", given=2)', 2),
        ('answer(given=2, name="05.A")', 2),
        ('said = interpwidgets.answer("05.A", 2)', 2),
        ('print(answer("05.A", 2))', 2),
        ('answer("05.A", 1)\nanswer("05.A", 2)', 2),
        ('answer("05.A", 2)\nanswer("05.A", ...)', 2),
        ('answer("05.A", "two")', "two"),
        ('answer("05.A", math.log(64))', pytest.approx(4.1588831)),
        ('answer("05.A", 8 * 8 / 2)', 32),
        ('answer("05.A", ...)', None),
        ('answer("05.A")', None),
        ('answer("05.Z", 2)', None),
        ("answer()", None),
        ('def f():\n    answer("05.A", 2)', None),
        ('answer("05.A", open("/etc/passwd").read())', None),
        ('answer("05.A", 9 ** 9 ** 9)', None),
        ('answer("05.A", math.log(0))', None),
        ('answer("05.A", *[2])', None),
        ('answer(**{"name": "05.A", "given": 2})', None),
        ('# answer("05.A", 2)', None),
        ('answer("05.A", True)', True),
        ('answer("05.A", 0x' + "f" * 9000 + ")", None),
        ('answer("05.A", 1' + "0" * 400 + ")", None),
        ('answer("05.A", 1e999)', float("inf")),
        ('answer("05.A", [[1]])', None),
        ('answer("05.A", 2j)', None),
        ('answer("05.A", "\\ud800\\x1b")', "\ufffd\ufffd"),
    ],
)
def test_the_last_literal_reply_counts_and_nothing_is_run(text: str, value: Any) -> None:
    assert taken(code(text)).questions["05.A"] == value


def test_a_reply_that_would_have_to_run_is_told() -> None:
    assert "The reply to 05.A (cell 1) is no number that can be read without running it." in flags_of(
        'answer("05.A", late_loss["attn2l"])'
    )


def test_a_number_out_of_all_measure_is_told_what_is_asked() -> None:
    (question,) = [one for one in CHAPTER.questions if one.id == "05.A"]
    assert "The answer is a number" in judged(question, 10**400).said


# -- whatever the bytes are ---------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise(data: bytes) -> None:
    found = extract(data, CHAPTER)
    assert set(found.states.values()) == {"missing"}
    assert found.trouble.endswith(".")


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_CELL = st.fixed_dictionaries(
    {},
    optional={"cell_type": st.just("code") | _JSON, "source": st.text() | _JSON, "id": _JSON, "metadata": _JSON},
)


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries({"cells": st.lists(_CELL | _JSON, max_size=5)}) | st.dictionaries(st.text(), _JSON))
def test_no_json_raises(notebook: Any) -> None:
    extract(json.dumps(notebook).encode(), CHAPTER)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["'", '"', "'''", "\\", "\n", "(", ")", "#", "%", "!", "?", "x", "=", " ", "é"])))
def test_no_text_moves_a_line_or_makes_python_of_what_is_none(parts: Sequence[str]) -> None:
    text = "".join(parts)
    cell = source.parsed(text)
    assert cell.trouble.startswith("%%") or cell.text.count("\n") == text.count("\n")
    kept = source.reduced(cell, filter(source.is_plain, cell.statements))
    assert source.parsed(kept).trouble == ""


@settings(max_examples=50, deadline=None)
@given(st.permutations(["import os", "print(1)", "EPS = (1 +\n  2)", "def f():\n  'é'\n  return 1", "x += 1", "%pwd"]))
def test_reduced_text_is_the_kept_statements_and_each_in_its_line(lines: list[str]) -> None:
    cell = source.parsed("\n".join(lines))
    kept = [node for node in cell.statements if source.is_plain(node)]
    again = source.parsed(source.reduced(cell, kept)).statements
    assert [(type(node), node.lineno) for node in again] == [(type(node), node.lineno) for node in kept]


_HUGE = "0x" + "f" * 5_000  # Python reads such a number and does not write it


@pytest.mark.parametrize(
    "text",
    [
        f"def loss_by_position(logits, tokens):\n    return {_HUGE}",
        f"loss_by_position = {_HUGE}",
        f"answer('05.A', {_HUGE})",
        f"answer('05.A', 1.5 * {_HUGE})",
        f"answer({_HUGE}, 1)",
        f"EPS = {_HUGE}\n{LOSS}",
    ],
)
def test_a_number_of_five_thousand_digits_is_only_a_strange_answer(text: str) -> None:
    found = taken(code(text))
    assert found.trouble == ""
    assert found.questions["05.A"] is None


def test_code_that_nobody_has_thought_of_becomes_trouble_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumbles(_: str) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(source, "parsed", stumbles)
    found = taken(code(LOSS))
    assert found.program.cells == ()
    assert "by hand" in found.trouble
    assert set(found.states.values()) == {"missing"}
