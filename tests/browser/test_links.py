"""What is chosen in one widget is chosen in another, in every host: with a kernel, with a busy one, with none."""

from typing import Any

import ipywidgets
import numpy as np

from interpwidgets import AttentionHeads, LogitLens, link

START = "import mini, ipywidgets as iw; mini.install(); from interpwidgets import link"
TWO = (START, "a, b = mini.example('a'), mini.example('b'); held = link(a, 'count', b, 'count')", "iw.HBox([a, b])")
TOKENS = ["The", " cat", " sat", " on"]
REAL = (
    "import numpy as np, ipywidgets as iw; from interpwidgets import AttentionHeads, LogitLens, link",
    f"tokens = {TOKENS!r}\n"
    "heads = AttentionHeads(tokens, np.full((3, 2, 4, 4), 0.25, 'f4'), layer=0, head=0, caption='Of a model')\n"
    "said = [[[f' {row}{position}'] for position in range(4)] for row in range(4)]\n"
    "lens = LogitLens(tokens, said, np.full((4, 4, 1), 0.5), layers=['emb', 0, 1, 2])\n"
    "held = link(heads, lens)",
    "heads",
    "iw.VBox([heads, lens])",
)


def lens() -> LogitLens:
    said = [[[f" {row}{position}"] for position in range(4)] for row in range(4)]
    return LogitLens(TOKENS, said, np.full((4, 4, 1), 0.5), layers=["emb", 0, 1, 2])


def heads() -> AttentionHeads:
    return AttentionHeads(TOKENS, np.full((3, 2, 4, 4), 0.25, "f4"), layer=0, head=0)


def press(figure: Any, key: str) -> None:
    figure.locator("[data-part=map]").first.press(key)


def readout(figure: Any) -> str:
    return str(figure.locator("[data-part=readout]").inner_text())


def test_a_key_pressed_in_one_lens_moves_the_other(bridge):
    a, b = lens(), lens()
    held = link(a, b)
    first, second = bridge.show(a), bridge.show(b)
    press(first, "ArrowLeft")
    press(first, "ArrowUp")
    bridge.until(lambda: (b.row, b.layer, b.position) == (2, 1, 2))
    bridge.until(lambda: readout(second).startswith("Layer 1 after"))
    press(second, "Home")
    bridge.until(lambda: a.position == 0)
    held.unlink()
    bridge.pump()
    press(first, "ArrowRight")
    bridge.until(lambda: a.position == 1)
    assert b.position == 0


def test_without_a_kernel_the_page_passes_it_on(bridge):
    a, b = lens(), lens()
    link(a, b)
    first, second = bridge.show(a), bridge.show(b)
    bridge.kernel = False
    press(first, "Home")
    bridge.until(lambda: "The" in readout(second))
    assert (a.position, b.position) == (3, 3)


def test_a_layer_of_heads_is_a_row_of_the_lens_without_a_kernel_too(bridge):
    a, b = heads(), lens()
    link(a, b)
    bridge.show(a)
    second = bridge.show(b)
    a.layer = 1
    bridge.until(lambda: readout(second).startswith("Layer 1"))
    bridge.kernel = False
    press(second, "ArrowDown")
    bridge.pump()
    sent = [data["state"] for model_id, data, _ in bridge.sent if model_id == a.model_id and data["method"] == "update"]
    assert sent[-1]["layer"] == 2


def test_widgets_in_a_box_are_figures_with_names(bridge):
    figure = bridge.show(ipywidgets.VBox([heads(), lens()]))
    figure.get_by_role("figure", name="Logit lens").locator("[data-part=map]").wait_for()
    assert figure.get_by_role("figure").count() == 2


def test_an_exported_page_keeps_links_boxes_and_figures(exported):
    page = exported(*REAL)
    alone = page.get_by_role("figure", name="Attention heads: Of a model").first
    alone.locator("[data-part=map]").first.wait_for()
    box = page.get_by_role("group", name="Attention heads, Logit lens")
    second = box.get_by_role("figure", name="Logit lens")
    second.locator("[data-part=map]").press("ArrowUp")
    second.locator("[data-part=map]").press("PageUp")
    page.locator(".iw").first.get_by_text("L0 H").first.wait_for()
    second.locator("[data-part=map]").press("PageDown")
    page.locator(".iw").first.get_by_text("L2 H").first.wait_for()
    caption = alone.locator("figcaption")
    assert "AttentionHeads(3 layers × 2 heads, 4 tokens, L0 H0)" in caption.inner_text()
    assert caption.bounding_box()["width"] <= 1  # the widget itself shows its title


def test_linked_widgets_in_jupyterlab_follow_and_survive_a_reload(notebook):
    page = notebook.run(*TWO)
    page.get_by_role("button", name="more").first.click()
    notebook.until("(a.count, b.count)", "(1, 1)")
    notebook.execute("b.count = 5")
    page.wait_for_function(
        "[...document.querySelectorAll('.mini span')].every((s) => s.textContent.includes('count=5'))"
    )
    notebook.reload()
    page.get_by_role("button", name="more").nth(1).click()
    notebook.until("(a.count, b.count)", "(6, 6)")


def test_linked_widgets_in_marimo_follow_through_python(marimo):
    page = marimo(START, "a, b = mini.example('a'), mini.example('b'); held = link(a, 'count', b, 'count')\na", "b")
    page.get_by_role("button", name="more").nth(1).wait_for(timeout=20_000)
    page.get_by_role("button", name="more").first.click()
    page.locator(".mini span").nth(1).get_by_text("count=1").wait_for()


def test_both_ends_of_a_link_are_left_as_they_were_when_it_closes(bridge):
    a, b = lens(), lens()
    bridge.show(a)
    bridge.show(b)
    before = bridge.listening(a), bridge.listening(b)
    held = link(a, "position", b, "position")
    bridge.pump()
    assert (bridge.listening(a), bridge.listening(b)) == (before[0] + 1, before[1] + 1)
    held.unlink()
    bridge.pump()
    assert (bridge.listening(a), bridge.listening(b)) == before
