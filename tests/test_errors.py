"""In a notebook an error of ours is the reader's own line and one sentence."""

import nbformat
import pytest
from nbclient import NotebookClient

CELLS = {
    "a model that is nowhere": (
        "from interpwidgets import load\n\ndef mine():\n    return load('./nowhere')\n\nmine()",
        ["line 6: mine()", "line 4: return load('./nowhere')", "LoadError: there is no"],
    ),
    "patterns that do not fit": (
        "import numpy as np\nfrom interpwidgets import AttentionHeads\nAttentionHeads(['a'], np.ones((1, 1, 2, 2)))",
        ["line 3: AttentionHeads", "InputError: 1 token, but the patterns are 2 wide."],
    ),
    "a word that a model does not know": (
        "from interpwidgets import load\nload('attn2l').tokenizer('river xylophone')",
        ["line 2: load('attn2l')", "xylophone"],
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_a_notebook_shows_the_readers_line_and_the_sentence(name):
    code, expected = CELLS[name]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True).execute()
    (error,) = [output for output in notebook.cells[0].outputs if output.output_type == "error"]
    shown = "\n".join(error.traceback)
    for part in expected:
        assert part in shown
    assert len(error.traceback) <= 3, shown
    assert "interpwidgets/" not in shown
