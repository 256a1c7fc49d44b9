"""The first notebook keeps its word: five cells, no network, any model, and every claim in it is true."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

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
    for name, source in code().items():
        exec(re.sub(r"(?m)^    %pip.*$", "    pass", source), found)
        if name == "look":
            found["opened_at"] = (found["heads"].layer, found["heads"].head)
            found["chosen"] = (found["heads"].tokens[found["heads"].query], found["heads"].tokens[found["heads"].key])
    return found


def test_five_cells_are_enough() -> None:
    assert list(code()) == ["setup", "sentence", "look", "read-back", "steer"]


def test_the_sentence_is_the_learners_to_change() -> None:
    cells = nbformat.read(find("00", "chapters"), as_version=4).cells
    assert [cell.id for cell in cells if "parameters" in cell.metadata.get("tags", [])] == ["sentence"]


def test_the_picture_opens_where_the_drawing_says(names: dict[str, Any]) -> None:
    assert names["opened_at"] == (1, 0)
    assert names["chosen"] == (" Lily", " found")


def test_the_heads_of_the_drawing_look_where_it_draws_them(names: dict[str, Any]) -> None:
    previous, induction = (pattern(names, layer) for layer in (0, 1))
    assert (np.diagonal(previous, -1) > 0.99).all()
    assert induction[-1, 2] > 0.99


def pattern(names: dict[str, Any], layer: int) -> Any:
    """The table of head 0 of a layer, asked for as the notebook asks."""
    names["heads"].layer, names["heads"].head = layer, 0
    return names["heads"].selected


def test_every_row_adds_up_to_one(names: dict[str, Any]) -> None:
    assert np.allclose(names["heads"].selected.sum(axis=1), 1, atol=1e-3)


def test_the_model_expects_what_came_after_the_earlier_lily(names: dict[str, Any]) -> None:
    model = names["model"]
    expected = model(**model.tokenizer(names["SENTENCE"], return_tensors="pt")).logits[0, -1].argmax()
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
    assert "5 passed" in done.stdout, done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not STORIES.exists(), reason="stories260K is not beside the clone")
def test_it_runs_on_a_model_in_a_directory(tmp_path: Path) -> None:
    run(find("00", "solutions"), tmp_path / "out.ipynb", {"MODEL": str(STORIES), "SENTENCE": "Lily saw Tom. Lily"})
    cells = {cell.id: cell for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells}
    assert "looks at" in cells["read-back"].outputs[0]["text"]
