"""The widgets in Notebook 7, and in the ways of two hosts that cannot run here: Colab and VS Code.

`conftest.OtherHost` hands models to the widgets as those hosts do; what they do is cited at the tests.
"""

import re
from typing import Any

import numpy as np
import pytest

from interpwidgets import AttentionHeads, InductionHeads, LogitLens, SuperpositionToy, link

TOKENS = ["The", " cat", " sat", " on"]
PATTERNS = "np.tril(np.full((3, 2, 4, 4), 0.5, 'f4'))"
SAID = [[[f" {row}{position}"] for position in range(4)] for row in range(4)]
HEADS = (
    "import numpy as np; from interpwidgets import AttentionHeads",
    f"w = AttentionHeads({TOKENS!r}, {PATTERNS}, layer=0, head=0, normalized=False)\nw",
)
LENS = (
    "import numpy as np; from interpwidgets import LogitLens",
    f"w = LogitLens({TOKENS!r}, {SAID!r}, np.full((4, 4, 1), 0.5), layers=['emb', 0, 1, 2])\nw",
)


def readout(figure: Any) -> str:
    return str(figure.locator("[data-part=readout]").inner_text())


def click_cell(figure: Any, row: int, column: int) -> None:
    """Click the middle of a cell of the large map of attention."""
    canvas = figure.locator("[data-part=map] canvas").first
    size = float(canvas.get_attribute("data-cell"))
    canvas.click(position={"x": (column + 0.5) * size, "y": (row + 0.5) * size})


def click_position(figure: Any, position: int) -> None:
    """Click the top row of the lens at a position, below the tokens."""
    scroller = figure.locator(".iw-scroll").first
    wide, high = scroller.evaluate("el => [+el.dataset.cell, +el.dataset.row]")
    scroller.click(position={"x": (position + 0.5) * wide, "y": 24 + high / 2})


# -- Notebook 7 ---------------------------------------------------------------------------------------------------


def test_attention_heads_live_in_notebook_7(notebook7, shot):
    page = notebook7.run(*HEADS)
    figure = page.locator(".iw[data-widget=attention_heads]")
    click_cell(figure, 2, 1)
    notebook7.until("(w.query, w.key, w.locked)", "(2, 1, True)")
    notebook7.execute("w.layer = 1")
    figure.get_by_text("L1 H0").first.wait_for()
    shot(page, "attention-heads-notebook7")
    notebook7.reload()
    figure.get_by_text("L1 H0").first.wait_for()
    assert "sat → ␣cat" in readout(figure)
    click_cell(figure, 3, 0)
    click_cell(figure, 3, 0)
    notebook7.until("(w.query, w.key)", "(3, 0)")


def test_the_logit_lens_lives_in_notebook_7(notebook7, shot):
    page = notebook7.run(*LENS)
    figure = page.locator(".iw[data-widget=logit_lens]")
    click_position(figure, 2)
    notebook7.until("(w.position, w.locked)", "(2, True)")
    notebook7.execute("w.row, w.position = 1, 3")
    page.wait_for_function("() => document.querySelector('[data-part=readout]').innerText.startsWith('Layer 0 after')")
    shot(page, "logit-lens-notebook7")
    notebook7.reload()
    page.wait_for_function("() => document.querySelector('[data-part=readout]')?.innerText.startsWith('Layer 0 after')")
    notebook7.until("(w.row, w.position)", "(1, 3)")


# -- Colab and VS Code --------------------------------------------------------------------------------------------


def causal(layers: int, heads: int, n: int) -> np.ndarray:
    """Patterns in which no visible cell is near zero, so that a reading of lost bytes is wrong."""
    raw = np.random.default_rng(0).uniform(0.2, 1, (layers, heads, n, n)).astype("f4") * np.tri(n, dtype="f4")
    return raw / raw.sum(-1, keepdims=True)


def attention_heads(host: Any) -> Any:
    w = AttentionHeads(TOKENS, causal(3, 2, 4), layer=0, head=0)
    figure = host.show(w)
    click_cell(figure, 2, 1)
    host.until(lambda: (w.query, w.key, w.locked) == (2, 1, True))
    host.until(lambda: f"{w.selected[2, 1]:.3f}" in readout(figure))
    w.layer, w.head = 2, 1  # its pattern comes by message
    host.until(lambda: f"{w.selected[2, 1]:.3f}" in readout(figure))
    return figure


def logit_lens(host: Any) -> Any:
    w = LogitLens(TOKENS, SAID, np.full((4, 4, 1), 0.5), layers=["emb", 0, 1, 2])
    figure = host.show(w)
    click_position(figure, 2)
    host.until(lambda: (w.position, w.locked) == (2, True))
    w.row = 1
    host.until(lambda: readout(figure).startswith("Layer 0 after"))
    return figure


def induction_heads(host: Any) -> Any:
    words = [f" w{i}" for i in range(6)]
    w = InductionHeads(["<s>", *words, *words], causal(2, 3, 13), layer=0, head=0)
    figure = host.show(w)
    grid = figure.locator("[data-part=scores] canvas")
    box = grid.bounding_box()
    grid.click(position={"x": box["width"] * 5 / 6, "y": box["height"] / 4})
    host.until(lambda: w.head == 2)
    host.until(lambda: re.search(rf"L{w.layer} H2", figure.locator("[data-part=pattern]").inner_text()))
    w.layer, w.head = 1, 1
    host.until(lambda: "L1 H1" in figure.locator("[data-part=pattern]").inner_text())
    return figure


def superposition_toy(host: Any) -> Any:
    w = SuperpositionToy(seed=4)
    figure = host.show(w)
    host.until(lambda: "trained in this page" in figure.locator("[data-part=state]").inner_text(), 30)
    w.step = 300
    host.until(lambda: figure.locator("[data-part=scrub]").input_value() == "300")
    figure.locator("[data-part=reset]").click()
    host.until(lambda: w.step == 1000)
    return figure


WIDGETS = [attention_heads, logit_lens, induction_heads, superposition_toy]


@pytest.mark.parametrize("manager", ["answers", "is missing", "refuses"])
@pytest.mark.parametrize("lives", WIDGETS, ids=lambda lives: lives.__name__)
def test_widgets_live_as_colab_hands_them_over(colab, lives, manager):
    """Bytes come as Uint8Array, and a model that was not found once is never found: the manager keeps the promise.

    Source: `on_msg` and `get_model` in src/manager.ts of github.com/googlecolab/colab-cdn-widget-manager; frames:
    colab.research.google.com/notebooks/snippets/advanced_outputs.ipynb ("a separate iframe sandbox").
    """
    colab.manager = manager != "is missing"
    colab.refusals = float("inf") if manager == "refuses" else 0
    lives(colab)
    asked = {"type": "bundle"} in [data.get("content") for _, data, _ in colab.sent]
    assert asked == (manager != "answers")


def test_each_output_of_colab_evaluates_the_code_for_itself(colab):
    """No cache of one output reaches the other: their frames are of different origins."""
    w = LogitLens(TOKENS, SAID, np.full((4, 4, 1), 0.5), layers=["emb", 0, 1, 2])
    first, second = colab.show(w), colab.show(w)
    for figure in (first, second):
        assert figure.evaluate("() => globalThis.__interpwidgets.size") == 1
    click_position(first, 1)
    colab.until(lambda: w.position == 1)
    w.row, w.position = 2, 3
    colab.until(lambda: readout(first) == readout(second))
    assert readout(second).startswith("Layer 1 after")


def test_linked_widgets_of_two_outputs_meet_in_the_kernel(colab):
    """3Dmol.js found the same wall: "viewers can only be updated from their associated cell" (its issue 550)."""
    a = LogitLens(TOKENS, SAID, np.full((4, 4, 1), 0.5), layers=["emb", 0, 1, 2])
    b = LogitLens(TOKENS, SAID, np.full((4, 4, 1), 0.5), layers=["emb", 0, 1, 2])
    held = link(a, b)
    first, second = colab.show(a), colab.show(b)
    click_position(first, 1)
    colab.until(lambda: b.position == 1)
    colab.until(lambda: readout(first) == readout(second))
    click_position(second, 3)
    colab.until(lambda: a.position == 3)
    held.unlink()


@pytest.mark.parametrize("lives", WIDGETS, ids=lambda lives: lives.__name__)
def test_widgets_live_as_vs_code_hands_them_over(vscode, lives):
    """Bytes come as ArrayBuffer, the first questions for a model fail, and the theme is a class of the body.

    Source: `deserializeDataViews` in src/platform/common/utils/serializers.ts of github.com/microsoft/vscode-jupyter
    (what is no view arrives as ArrayBuffer); an output that is there before its models: microsoft/vscode-python, issue
    12053; the class that tells the theme: @vscode/webview-ui-toolkit, dist/utilities/theme/applyTheme.js, watches it.
    """
    figure = lives(vscode)
    assert vscode.page.evaluate("globalThis.asked") == 3
    assert {"type": "bundle"} not in [data.get("content") for _, data, _ in vscode.sent]
    drawn = figure.locator(".iw").first
    assert drawn.get_attribute("data-theme") == "dark"
    vscode.colours("vscode-light")
    vscode.until(lambda: drawn.get_attribute("data-theme") == "light")
