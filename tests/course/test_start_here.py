"""The first notebook keeps its word: six cells, no network, any model, and every claim in it is true."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

from interpwidgets import AttentionHeads, load
from interpwidgets.course.chapters import find
from interpwidgets.course.run import run

ROOT = Path(__file__).parents[2]
STORIES = Path(os.environ.get("INTERPWIDGETS_STORIES260K", ROOT.parent / "shared/models/stories260K"))


def code() -> dict[str, str]:
    """The code cells that a learner meets, by their ids."""
    cells = nbformat.read(find("00", "chapters"), as_version=4).cells
    return {cell.id: cell.source for cell in cells if cell.cell_type == "code"}


def text() -> str:
    cells = nbformat.read(find("00", "chapters"), as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    """What the cells leave behind, run here one after the other as a kernel would."""
    found: dict[str, Any] = {}
    for source in code().values():
        exec(re.sub(r"(?m)^    %pip.*$", "    pass", source), found)
    return found


def test_six_cells_are_enough() -> None:
    assert list(code()) == ["setup", "sentence", "say", "look", "read-back", "steer"]


def test_the_sentence_is_the_learners_to_change() -> None:
    cells = nbformat.read(find("00", "chapters"), as_version=4).cells
    assert [cell.id for cell in cells if "parameters" in cell.metadata.get("tags", [])] == ["sentence"]


def test_the_model_knows_to_whom_the_kite_goes(names: dict[str, Any]) -> None:
    model = names["model"]
    best = names["chances"].argmax()
    assert model.tokenizer.decode(best).strip() == "Lily"
    assert names["chances"][best] > 0.9


def test_the_heads_of_the_drawing_look_where_it_draws_them(names: dict[str, Any]) -> None:
    heads = names["heads"]
    stop = heads.tokens.index(".")
    people = [heads.tokens.index(" Lily"), heads.tokens.index(" Tom")]
    gathers = [pattern(names, 0, head)[stop, people] for head in range(8)]
    reads = [pattern(names, 1, head)[-1, stop] for head in range(8)]
    assert sum((weight > 0.2).all() for weight in gathers) >= 2  # "there are several of each"
    assert sum(weight > 0.7 for weight in reads) >= 2


def pattern(names: dict[str, Any], layer: int, head: int) -> Any:
    """The table of a head, asked for as the notebook asks."""
    names["heads"].layer, names["heads"].head = layer, head
    return names["heads"].selected


def test_the_head_chosen_in_python_looks_at_the_full_stop(names: dict[str, Any]) -> None:
    heads = names["heads"]
    assert pattern(names, 1, 0)[-1, heads.tokens.index(".")] > 0.9


def test_what_is_said_of_cuts_is_what_the_card_says() -> None:
    card = json.loads((ROOT / "interpwidgets/models/weights/storylm/card.json").read_text(encoding="utf-8"))
    right = {name: found["value"] for name, found in card["measured"].items() if name.startswith("ioi")}
    percent = int(re.findall(r"is right in (\d+) % of them", text().replace("\n", " "))[0])
    assert percent == int(100 * right["ioi, end of the first clause from the receiver: right"] + 0.5)
    assert right["ioi, end from both first names: right"] == 1


def test_every_row_adds_up_to_one(names: dict[str, Any]) -> None:
    assert np.allclose(pattern(names, 0, 0).sum(axis=1), 1, atol=1e-3)


def test_the_demo_opens_on_its_induction_head_and_expects_what_came_after_the_earlier_lily() -> None:
    model = load("demo")
    sentence = re.findall(r'`SENTENCE = "(.+?)"`', text())[0]
    heads = AttentionHeads.from_model(model, sentence)
    expected = model(**model.tokenizer(sentence, return_tensors="pt")).logits[0, -1].argmax()
    assert (heads.layer, heads.head) == (1, 0)
    assert model.tokenizer.decode(expected).strip() == "found"


def test_the_answers_are_those_of_the_model() -> None:
    from interpwidgets.models.tiny import HEADS

    rows = re.findall(r"\| (\d) \| (\d) \| \*\*(.+?)\*\*: (.+?) \|", text())
    assert {(int(layer), int(head)): f"{name}: {does}" for layer, head, name, does in rows} == HEADS


def test_every_picture_has_a_description() -> None:
    assert all(len(alt) > 40 for alt in re.findall(r"!\[([^\]]*)\]", text()))


@pytest.mark.slow
def test_every_cell_passes_as_a_test() -> None:
    """With nbval, which runs the notebook as a learner gets it; without a network."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", "-q", find("00", "chapters")],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "6 passed" in done.stdout, done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not STORIES.exists(), reason="stories260K is not beside the clone")
def test_it_runs_on_a_model_in_a_directory(tmp_path: Path) -> None:
    run(find("00", "solutions"), tmp_path / "out.ipynb", {"MODEL": str(STORIES), "SENTENCE": "Lily saw Tom. Lily"})
    cells = {cell.id: cell for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells}
    assert "looks at" in cells["read-back"].outputs[0]["text"]
