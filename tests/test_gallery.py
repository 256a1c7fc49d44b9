"""The notebook for people who embed widgets in their own: it runs, and its page shows what it promises."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from interpwidgets.export import export_html

ROOT = Path(__file__).parents[1]
GALLERY = ROOT / "examples" / "gallery.ipynb"

pytestmark = pytest.mark.skipif(not GALLERY.exists(), reason="only in a clone")


def test_the_gallery_is_kept_without_outputs() -> None:
    cells = [cell for cell in nbformat.read(GALLERY, as_version=4).cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in cells)


@pytest.mark.slow
def test_every_cell_of_the_gallery_passes_as_a_test() -> None:
    """With nbval, which runs the notebook as its reader does; without a network."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--nbval-lax", "-p", "no:cacheprovider", "-q", GALLERY],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    cells = [cell for cell in nbformat.read(GALLERY, as_version=4).cells if cell.cell_type == "code"]
    assert f"{len(cells)} passed" in done.stdout, done.stdout


@pytest.mark.slow
def test_the_gallery_becomes_a_page_of_figures(tmp_path: Path) -> None:
    page = export_html(GALLERY, tmp_path / "gallery.html", execute=True).read_text("utf-8")
    assert page.count("<figure ") == 7
    assert 'aria-label="Attention heads, Logit lens"' in page
    (state,) = re.findall(r'<script type="application/json" id="interpwidgets-state">(.*?)</script>', page)
    models = [model["state"] for model in json.loads(state)["models"].values()]
    links = [model for model in models if model["_model_name"] == "LinkModel"]
    assert sum(one["source"] != one["target"] for one in links) == 1  # one was undone, one ends at a slider
