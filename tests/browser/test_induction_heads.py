"""The page side of the induction detector: scores, arrows, the stripe, heads that are off, training, odd hosts."""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpwidgets import InductionHeads, load

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
WORDS = [" river", " seven", " glass", " under", " Tom", " blue", " key", " ran", " soft", " map", " egg", " hill"]
TEXT = ["<s>", *WORDS, *WORDS]
INDUCTORS = {(5, 1): 0.95, (5, 5): 0.96, (6, 9): 0.98, (7, 2): 0.97, (7, 10): 0.97, (5, 8): 0.88}
WRITERS = {(2, 3): 0.92, (5, 3): 0.9, (4, 11): 0.95}
HOSTILE = [
    "<img src=x onerror=alert(1)>", "</script>", "\n", "\t", "", " ",
    "👩\u200d👧", "مرحبا", "\u202egnp", "\u200b", "<!--",
    "x" * 10_000,
]  # fmt: skip
PAIRS = {((2, 3), (5, 1)): 0.38, ((2, 3), (5, 5)): 0.62, ((5, 3), (7, 2)): 0.3, ((4, 11), (5, 8)): 0.7,
         ((4, 11), (6, 9)): 0.48, ((4, 11), (7, 10)): 0.28}  # fmt: skip


def attention(n: int, layers: int = 12, heads: int = 12, seed: int = 0) -> np.ndarray:
    """Causal patterns that look mostly at the first token, [layer, head, query, key]."""
    raw = np.random.default_rng(seed).gamma(0.3, size=(layers, heads, n, n)).astype(np.float32)
    raw[..., 0] += 3
    raw *= np.tri(n, dtype=np.float32)
    return raw / raw.sum(-1, keepdims=True)


def drawn_by_hand(**options: Any) -> InductionHeads:
    """Twelve layers of twelve heads, with six induction heads and the three that they are built on."""
    patterns = attention(25)
    for (layer, head), score in INDUCTORS.items():
        for query in range(13, 25):
            patterns[layer, head, query, : query + 1] *= 1 - score
            patterns[layer, head, query, query - 11] += score
    for (layer, head), score in WRITERS.items():
        for query in range(1, 25):
            patterns[layer, head, query, : query + 1] *= 1 - score
            patterns[layer, head, query, query - 1] += score
    composition = np.zeros((12, 12, 12, 12), np.float32)
    for (first, second), score in PAIRS.items():
        composition[(*first, *second)] = score
    loss = 7.6 + np.random.default_rng(5).normal(size=24) * 0.9
    loss[12:] = 7.4, *(0.2 + 3 * np.exp(-0.9 * np.arange(1, 12)))
    options = {"composition": composition, "loss": loss, "layer": 5, "head": 1, "threshold": 0.6, **options}
    return InductionHeads(TEXT, patterns, **options)


@pytest.fixture(scope="module")
def attn2l() -> Any:
    return load("attn2l")


def wait_until(what: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds} seconds"
        time.sleep(0.1)


def text(figure: Any, part: str) -> str:
    return figure.locator(f"[data-part={part}]").inner_text()


def click_head(figure: Any, layer: int, head: int) -> None:
    """Click the middle of a head's cell."""
    canvas = figure.locator("[data-part=scores] canvas")
    box = canvas.bounding_box()
    layers, heads = [int(n) for n in re.findall(r"(\d+) layers? by (\d+)", grid_label(figure))[0]]
    canvas.click(position={"x": (head + 0.5) * box["width"] / heads, "y": (layer + 0.5) * box["height"] / layers})


def grid_label(figure: Any) -> str:
    return str(figure.locator("[data-part=scores]").get_attribute("aria-label"))


def arrows(figure: Any) -> list[str]:
    drawn = figure.locator("[data-arrow]")
    return [drawn.nth(i).get_attribute("data-arrow") for i in range(drawn.count())]


def rows(figure: Any) -> list[str]:
    return figure.locator("[data-part=list] .iw-bar-name").all_text_contents()


# -- scores, arrows, the stripe -----------------------------------------------------------------------------------


def test_heads_above_the_threshold_are_listed_and_have_the_strongest_arrows(bridge):
    w = drawn_by_hand()
    figure = bridge.show(w)
    assert rows(figure) == ["L6 H9", "L7 H2", "L7 H10", "L5 H5", "L5 H1", "L5 H8"]
    named = {f"L{a} H{b} L{c} H{d}" for (a, b), (c, d) in PAIRS}
    assert set(arrows(figure)) == named
    box = figure.get_by_role("spinbutton", name="threshold")
    box.fill("0.955")
    box.press("Tab")
    bridge.until(lambda: w.threshold == 0.955)
    bridge.until(lambda: rows(figure) == ["L6 H9", "L7 H2", "L7 H10", "L5 H5"])
    bridge.until(lambda: len(arrows(figure)) == 4)


def test_where_no_head_is_above_the_threshold_the_nearest_is_named_and_reached_by_a_click(bridge):
    w = drawn_by_hand(threshold=0.99)
    figure = bridge.show(w)
    assert "No head above 0.99" in figure.inner_text()
    assert "The highest is L6 H9 with 0.98." in figure.inner_text()
    figure.get_by_role("button", name="Set to 0.95").click()
    bridge.until(lambda: w.threshold == 0.95)
    bridge.until(lambda: "L6 H9" in rows(figure))


def test_a_click_on_a_head_shows_its_pattern_with_the_stripe_of_the_score(bridge):
    w = drawn_by_hand()
    figure = bridge.show(w)
    click_head(figure, 4, 11)
    bridge.until(lambda: (w.layer, w.head) == (4, 11))
    bridge.until(lambda: "L4 H11" in text(figure, "pattern"))
    stripe = figure.locator("[data-marks]")
    assert stripe.get_attribute("data-marks") == "12"
    figure.get_by_role("radio", name="Previous token").click()
    bridge.until(lambda: w.score == "previous token")
    bridge.until(lambda: stripe.get_attribute("data-marks") == "24")
    assert "0.95" in text(figure, "pattern")


def test_hovering_a_head_shows_all_its_scores_and_a_pair_its_attention(bridge):
    w = drawn_by_hand()
    figure = bridge.show(w)
    figure.locator("[data-part=scores] canvas").hover(position={"x": 3, "y": 3})
    bridge.until(figure.get_by_role("tooltip").is_visible)
    assert figure.get_by_role("tooltip").inner_text().startswith("L0 H0")
    canvas = figure.locator("[data-part=pattern] canvas")
    box = canvas.bounding_box()
    canvas.hover(position={"x": 2.5 * box["width"] / 25, "y": 13.5 * box["height"] / 25})
    value = f"{w.selected[13, 2]:.3f}"
    bridge.until(lambda: text(figure, "readout") == f"␣river 13 → ␣seven 2 {value}")
    assert (w.layer, w.head) == (5, 1)


def test_what_python_sets_moves_every_view(bridge, attn2l):
    w = InductionHeads.from_model(attn2l)
    first, second = bridge.show(w), bridge.show(w)
    w.layer, w.head, w.score = 0, 0, "previous token"
    for figure in (first, second):
        bridge.until(lambda figure=figure: "L0 H0" in text(figure, "pattern"))
        assert "0.92" in text(figure, "pattern")


def test_what_is_listed_is_sent_to_python(bridge, attn2l):
    w = InductionHeads.from_model(attn2l)
    figure = bridge.show(w)
    assert w.found == []
    figure.get_by_role("button", name="Send to Python").click()
    bridge.until(lambda: w.found == [(1, 0), (1, 1)])
    bridge.until(lambda: "found: 2 heads" in figure.inner_text())


# -- switched off -------------------------------------------------------------------------------------------------


def test_a_head_that_is_switched_off_costs_loss_on_the_second_copy(bridge, attn2l):
    w = InductionHeads.from_model(attn2l)
    figure = bridge.show(w)
    assert "Second copy: 0.00 nats" in text(figure, "loss-sentence")
    figure.get_by_role("button", name="Switch off").click()
    bridge.until(lambda: w.off == [(1, 0)])
    after = w.loss_off[w.second_copy].mean()
    bridge.until(
        lambda: f"0.00 → {after:.2f} nats per token with 1 head off (+{after:.2f})" in text(figure, "loss-sentence")
    )
    assert "writes its mean over the positions" in text(figure, "loss-sentence")
    assert figure.get_by_role("button", name="Switch on", exact=True).is_visible()
    figure.get_by_role("button", name="switch on L1 H0").click()
    bridge.until(lambda: w.off == [])
    bridge.until(lambda: "→" not in text(figure, "loss-sentence"))


def test_without_a_kernel_what_was_computed_stays_and_what_was_not_says_so(bridge, attn2l):
    w = InductionHeads.from_model(attn2l)
    w.off = [(1, 0)]
    w.off = []
    bridge.kernel = False
    figure = bridge.show(w)
    bridge.until(lambda: "No kernel: what was computed stays" in text(figure, "state"), 15)
    assert figure.get_by_role("button", name="draw new tokens").is_disabled()
    assert figure.get_by_role("button", name="Send to Python").is_disabled()
    figure.get_by_role("button", name="Switch off").click()
    bridge.until(lambda: "with 1 head off (+3." in text(figure, "loss-sentence"))
    click_head(figure, 1, 1)
    bridge.until(lambda: "L1 H1" in text(figure, "pattern"))
    assert figure.locator("[data-part=pattern] canvas").is_visible(), "small patterns were saved"
    figure.get_by_role("button", name="Switch off").click()
    bridge.until(lambda: "With L1 H0, L1 H1 off it was not computed" in text(figure, "loss-sentence"))
    figure.locator("[data-part=loss-sentence]").get_by_role("button", name="L1 H0").click()
    bridge.until(lambda: "with 1 head off (+3." in text(figure, "loss-sentence"))


def test_a_pattern_that_was_not_saved_is_missed_in_words(bridge):
    words = [f"w{i}" for i in range(150)]
    w = InductionHeads(["<s>", *words, *words], attention(301, 2, 4), layer=0, head=0)
    bridge.kernel = False
    figure = bridge.show(w)
    bridge.until(lambda: "No kernel" in text(figure, "state"), 15)
    saved = {(tile["layer"], tile["head"]) for tile in w._kept} | {(0, 0)}
    layer, head = next((layer, head) for layer in (0, 1) for head in range(4) if (layer, head) not in saved)
    click_head(figure, layer, head)
    bridge.until(
        lambda: f"The pattern of L{layer} H{head} was not saved: it needs a running kernel." in text(figure, "pattern")
    )


# -- other tokens -------------------------------------------------------------------------------------------------


def test_new_tokens_are_drawn_and_a_text_of_ones_own_is_read(bridge, attn2l):
    w = InductionHeads.from_model(attn2l, period=4)
    figure = bridge.show(w)
    before = w.tokens
    figure.get_by_role("button", name="draw new tokens").click()
    bridge.until(lambda: w.tokens != before)
    figure.get_by_role("combobox", name="Text").select_option(label="8 random tokens, twice")
    bridge.until(lambda: len(w.tokens) == 17)
    prompt = figure.get_by_role("textbox", name="prompt")
    assert prompt.is_hidden()
    figure.get_by_role("combobox", name="Text").select_option(label="a text of my own")
    bridge.until(prompt.is_visible)
    prompt.fill("river glass egg river")
    prompt.press("Enter")
    bridge.until(lambda: w.tokens == ["<s>", "river", "glass", "egg", "river"])
    bridge.until(lambda: "All tokens:" in text(figure, "loss-sentence"))
    assert figure.get_by_role("radio", name="Induction").count() == 0
    prompt.fill("river rabbit")
    prompt.press("Enter")
    bridge.until(figure.get_by_role("alert").count)
    assert "does not know the word 'rabbit'" in figure.get_by_role("alert").inner_text()
    assert w.tokens[-1] == "river"
    figure.get_by_role("combobox", name="Text").select_option(label="4 random tokens, twice")
    bridge.until(lambda: len(w.tokens) == 9)
    bridge.until(prompt.is_hidden)


# -- training -----------------------------------------------------------------------------------------------------


def test_over_training_the_scrubber_moves_scores_arrows_and_loss(bridge, attn2l):
    w = InductionHeads.from_model(attn2l)
    figure = bridge.show(w)
    figure.get_by_role("button", name="Over training").click()
    bridge.until(lambda: w.step == 1500, 30)
    slider = figure.get_by_role("slider", name="Step of training")
    bridge.until(slider.is_visible)
    assert arrows(figure) == ["L0 H0 L1 H0", "L0 H0 L1 H1"]
    slider.press("Home")
    bridge.until(lambda: w.step == 0)
    bridge.until(lambda: arrows(figure) == [])
    assert "at step 0" in text(figure, "loss-sentence")
    assert figure.get_by_role("button", name="Switch off").is_disabled()
    assert "No head above 0.40" in figure.inner_text()
    bridge.kernel = False
    for _ in range(6):
        slider.press("ArrowRight")
    bridge.until(lambda: "at step 400" in text(figure, "loss-sentence"))
    assert len(arrows(figure)) == 2
    assert figure.locator("[data-part=pattern] canvas").is_visible(), "patterns of every step were saved"


# -- keyboard and screen reader -----------------------------------------------------------------------------------


def test_the_keyboard_moves_switches_off_and_sends(bridge, attn2l):
    w = InductionHeads.from_model(attn2l)
    figure = bridge.show(w)
    figure.locator("[data-part=scores]").focus()
    for key, expected in [("ArrowUp", (0, 0)), ("ArrowRight", (0, 1)), ("ArrowDown", (1, 1)), ("Home", (1, 0))]:
        bridge.page.keyboard.press(key)
        bridge.until(lambda expected=expected: (w.layer, w.head) == expected)
    bridge.until(lambda: text(figure, "live") == "L1 H0, induction 0.94")
    bridge.page.keyboard.press("x")
    bridge.until(lambda: w.off == [(1, 0)])
    bridge.until(lambda: text(figure, "live") == "L1 H0, induction 0.94, off")
    bridge.page.keyboard.press("t")
    bridge.until(lambda: w.found == [(1, 0), (1, 1)])
    figure.locator("[data-part=map]").focus()
    bridge.page.keyboard.press("ArrowLeft")
    bridge.until(lambda: "Query 24 map, key" in text(figure, "live"))
    bridge.page.keyboard.press("Home")
    bridge.until(lambda: text(figure, "live") == f"Query 24 map, key 0 <s>: {w.selected[24, 0]:.3f}")


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: run `npm ci` in frontend/")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(bridge, attn2l, theme):
    bridge.theme(theme)
    bridge.page.evaluate("theme => { document.body.style.background = theme === 'dark' ? '#111' : '#fff' }", theme)
    bridge.show(drawn_by_hand())
    bridge.show(drawn_by_hand(threshold=0.99))
    w = InductionHeads.from_model(attn2l)
    bridge.show(w)
    w.off = [(1, 0)]
    w.over_training()
    bridge.pump()
    bridge.page.add_script_tag(path=AXE)
    found = bridge.page.evaluate("axe.run('main')")
    assert [(v["id"], v["nodes"][0]["html"][:150]) for v in found["violations"]] == []


# -- pages of all kinds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [320, 420, 700, 852, 1300])
def test_nothing_scrolls_the_page_sideways(bridge, width):
    bridge.page.set_viewport_size({"width": width + 40, "height": 900})
    figure = bridge.show(drawn_by_hand())
    bridge.pump()
    assert bridge.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    edge = figure.bounding_box()
    for part in ("scores", "pattern", "list", "loss"):
        box = figure.locator(f"[data-part={part}]").bounding_box()
        assert box["x"] + box["width"] <= edge["x"] + edge["width"] + 1, part


def test_tokens_are_text_whatever_they_say(bridge):
    rng = np.random.default_rng(0)
    patterns = rng.random((2, 2, 24, 24)).astype(np.float32)
    w = InductionHeads(HOSTILE * 2, patterns / patterns.sum(-1, keepdims=True), loss=rng.random(23))
    figure = bridge.show(w)
    for name in ("Duplicate token", "Prefix matching"):
        figure.get_by_role("radio", name=name).click()
        bridge.pump()
    figure.locator("[data-part=pattern] canvas").hover(position={"x": 5, "y": 5})
    bridge.until(lambda: "<img␣src=x␣onerror" in text(figure, "readout"))
    assert figure.locator("img, script").count() == 0
    assert bridge.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(("layers", "heads", "tokens"), [(1, 1, 2), (30, 9, 25), (48, 25, 9), (2, 2, 700)])
def test_models_and_texts_of_any_size_are_drawn(bridge, layers, heads, tokens):
    w = InductionHeads([f"t{i % 9}" for i in range(tokens)], attention(tokens, layers, heads))
    figure = bridge.show(w)
    click_head(figure, layers - 1, heads - 1)
    bridge.until(lambda: (w.layer, w.head) == (layers - 1, heads - 1))
    canvas = figure.locator("[data-part=pattern] canvas")
    assert canvas.bounding_box()["width"] > 20
    assert figure.locator("[data-part=scores] canvas").bounding_box()["height"] <= 500


def test_a_removed_view_leaves_nothing_behind(bridge, attn2l):
    w = InductionHeads.from_model(attn2l)
    first = bridge.show(w)
    before = bridge.listening(w)
    second = bridge.show(w)
    assert bridge.listening(w) > before
    bridge.remove(second)
    assert bridge.listening(w) == before
    bridge.remove(first)
    assert bridge.listening(w) == 0


def test_a_reload_restores_what_was_chosen(bridge, attn2l):
    w = InductionHeads.from_model(attn2l)
    w.layer, w.head, w.off, w.score = 0, 1, [(1, 1)], "copying"
    bridge.reload()
    figure = bridge.show(w)
    assert "L0 H1" in text(figure, "pattern")
    assert figure.get_by_role("radio", name="Copying").get_attribute("aria-checked") == "true"
    assert "with 1 head off" in text(figure, "loss-sentence")


def test_the_table_and_the_drawing_can_be_taken_away(bridge, attn2l):
    w = InductionHeads.from_model(attn2l)
    w.off = [(1, 0)]
    figure = bridge.show(w)
    figure.get_by_role("button", name="Export").click()
    with bridge.page.expect_download() as taken:
        figure.get_by_role("menuitem", name="All heads CSV").click()
    table = Path(taken.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert table[0] == "layer,head,induction,previous token,duplicate token,prefix matching,copying,switched"
    assert len(table) == 5
    assert table[3].startswith("1,0,0.94")
    assert table[3].endswith(",off")
    figure.get_by_role("button", name="Export").click()
    with bridge.page.expect_download() as taken:
        figure.get_by_role("menuitem", name="Drawing SVG").click()
    assert "second copy starts" in Path(taken.value.path()).read_text(encoding="utf-8")


CELLS = (
    "from interpwidgets import InductionHeads, load",
    "heads = InductionHeads.from_model(load('attn2l'))\nheads.off = [(1, 0)]\nheads",
)


def lives(page: Any, shot: Any, name: str) -> Any:
    figure = page.locator("[data-widget=induction_heads]")
    figure.wait_for(timeout=60_000)
    wait_until(lambda: "with 1 head off (+3." in figure.inner_text())
    click_head(figure, 0, 0)
    wait_until(lambda: "L0 H0" in text(figure, "pattern"))
    shot(page, name)
    return figure


def test_induction_heads_live_in_jupyterlab(notebook, shot):
    page = notebook.run(*CELLS)
    figure = lives(page, shot, "induction_lab")
    assert notebook.python("(heads.layer, heads.head)") == "(0, 0)"
    figure.get_by_role("button", name="Send to Python").click()
    wait_until(lambda: notebook.python("heads.found") == "[(1, 0), (1, 1)]")


def test_induction_heads_live_in_marimo(marimo, shot):
    lives(marimo(*CELLS), shot, "induction_marimo")


def test_induction_heads_live_in_an_exported_page(exported, shot):
    lives(exported(*CELLS), shot, "induction_exported")
