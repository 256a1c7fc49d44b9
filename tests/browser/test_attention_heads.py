"""AttentionHeads as people use it: with the mouse, the keyboard, a screen reader, another theme, a dead kernel."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpwidgets.widgets.attention_heads import AttentionHeads

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
STORIES = Path(__file__).parents[3] / "shared" / "models" / "stories260K"
SENTENCE = ["<s>", "Once", " upon", " a", " time", " a", " little", " girl", ",", " a", " little", " dog"]
HOSTILE = [
    "<img src=x onerror=alert(1)>",
    "</script>",
    "\n",
    "\t",
    "👩\u200d👧",
    "مرحبا",
    "",
    "\u202egnp",
    "\u200b",
    "<!--",
    "x" * 10_000,
    "&amp;",
]


def patterns(n_layers: int, n_heads: int, tokens: int, *, causal: bool = True, seed: int = 0) -> np.ndarray:
    """Random attention in which every cell has a value of its own."""
    scores = np.random.default_rng(seed).normal(size=(n_layers, n_heads, tokens, tokens)).astype(np.float32)
    if causal:
        scores[..., ~np.tri(tokens, dtype=bool)] = -np.inf
    weights = np.exp(scores)
    return weights / weights.sum(-1, keepdims=True)


@pytest.fixture
def heads() -> AttentionHeads:
    return AttentionHeads(SENTENCE, patterns(3, 4, 12), layer=1, head=2, query=11, key=3)


def cell(figure: Any, row: int, column: int) -> dict[str, float]:
    """The middle of a cell of the large map, relative to its canvas."""
    size = float(figure.locator("[data-part=map] canvas").first.get_attribute("data-cell"))
    return {"x": (column + 0.5) * size, "y": (row + 0.5) * size}


def canvas(figure: Any) -> Any:
    return figure.locator("[data-part=map] canvas")


def read_out(figure: Any) -> str:
    return figure.locator("[data-part=readout]").inner_text()


def live(figure: Any) -> str:
    return figure.locator("[data-part=live]").inner_text()


# -- mouse --------------------------------------------------------------------------------------------------------


def test_hovering_shows_the_value_under_the_pointer_and_tells_python_nothing(bridge, heads):
    figure = bridge.show(heads)
    canvas(figure).hover(position=cell(figure, 7, 4))
    bridge.until(lambda: "girl" in read_out(figure))
    assert read_out(figure) == f"␣girl → ␣time {heads.selected[7, 4]:.3f}"
    assert (heads.query, heads.key) == (11, 3)
    bridge.page.mouse.move(0, 0)
    bridge.until(lambda: read_out(figure).startswith("␣dog → ␣a"))


def test_a_click_locks_a_cell_here_and_in_python(bridge, heads):
    figure = bridge.show(heads)
    canvas(figure).click(position=cell(figure, 9, 5))
    bridge.until(lambda: heads.locked)
    assert (heads.query, heads.key) == (9, 5)
    canvas(figure).hover(position=cell(figure, 4, 1))
    assert read_out(figure).startswith("␣a → ␣a"), "a locked cell stays under another pointer position"
    canvas(figure).click(position=cell(figure, 9, 5))
    bridge.until(lambda: not heads.locked)


def test_a_masked_cell_cannot_be_chosen(bridge, heads):
    figure = bridge.show(heads)
    canvas(figure).click(position=cell(figure, 2, 9))
    bridge.pump()
    assert (heads.query, heads.key, heads.locked) == (11, 3, False)


def test_a_thumbnail_is_chosen_by_a_click_and_python_follows(bridge, heads):
    figure = bridge.show(heads)
    grid = figure.locator("[data-part=heads] canvas")
    box = grid.bounding_box()
    grid.click(position={"x": 36, "y": box["height"] - 20})
    bridge.until(lambda: (heads.layer, heads.head) == (2, 0))
    assert "L2 H0" in figure.inner_text()
    canvas(figure).hover(position=cell(figure, 11, 0))
    bridge.until(lambda: f"{heads.selected[11, 0]:.3f}" in read_out(figure))


def test_the_last_column_is_the_mean_over_heads(bridge, heads):
    figure = bridge.show(heads)
    grid = figure.locator("[data-part=heads] canvas")
    grid.click(position={"x": grid.bounding_box()["width"] - 20, "y": 20})
    bridge.until(lambda: heads.head is None)
    assert "L0 mean" in figure.inner_text()
    canvas(figure).hover(position=cell(figure, 5, 5))
    expected = patterns(3, 4, 12)[0].mean(0)[5, 5]
    bridge.until(lambda: f"{expected:.3f}" in read_out(figure))


def test_a_thumbnail_under_the_pointer_shows_its_scores(bridge, heads):
    figure = bridge.show(heads)
    figure.locator("[data-part=heads] canvas").hover(position={"x": 40, "y": 20})
    tip = figure.locator("[role=tooltip]")
    assert "L0 H0" in tip.inner_text()
    assert f"{heads.scores['previous token'][0, 0]:.2f}" in tip.inner_text()


# -- python -------------------------------------------------------------------------------------------------------


def test_what_python_sets_moves_every_view(bridge, heads):
    first, second = bridge.show(heads), bridge.show(heads)
    heads.layer, heads.head, heads.query, heads.key = 0, 3, 6, 2
    for figure in (first, second):
        bridge.until(lambda figure=figure: read_out(figure) == f"␣little → ␣upon {heads.selected[6, 2]:.3f}")
        assert "L0 H3" in figure.inner_text()


def test_sorting_by_a_score_of_ones_own(bridge):
    mine = np.array([[0.1, 0.9], [0.5, 0.3]])
    heads = AttentionHeads(SENTENCE, patterns(2, 2, 12), scores={"mine": mine}, sort="mine")
    figure = bridge.show(heads)
    labels = figure.locator("[data-part=heads] svg text").all_text_contents()
    assert [text for text in labels if "." in text] == ["0.1", "1.0", "1.1", "0.0"]
    figure.get_by_label("Sort").select_option("layer")
    bridge.until(lambda: heads.sort == "layer")


@pytest.mark.parametrize(("name", "label"), [("row", "Per row"), ("log", "Log"), ("linear", "Linear")])
def test_the_scale_repaints_the_map(bridge, heads, name, label):
    heads.scale = "log" if name == "linear" else "linear"
    figure = bridge.show(heads)
    before = canvas(figure).evaluate("c => c.toDataURL()")
    figure.get_by_role("radio", name=label, exact=True).click()
    bridge.until(lambda: heads.scale == name)
    assert canvas(figure).evaluate("c => c.toDataURL()") != before


def test_grouped_queries_are_bracketed(bridge):
    figure = bridge.show(AttentionHeads(SENTENCE, patterns(2, 4, 12), n_kv_heads=2, layer=0, head=3))
    texts = figure.locator("[data-part=heads] svg text")
    assert [text for text in texts.all_text_contents() if "kv" in text] == ["kv 0", "kv 1"]
    assert figure.locator("text.iw-chosen", has_text="kv").text_content() == "kv 1"


def test_every_cell_of_the_map_has_the_colour_of_its_value(bridge):
    values = patterns(1, 1, 4)
    figure = bridge.show(AttentionHeads(["a", "b", "c", "d"], values, query=3, key=0))
    pixel = "(c, [x, y]) => [...c.getContext('2d').getImageData(x, y, 1, 1).data]"
    size = int(canvas(figure).evaluate("c => c.width")) / 4
    lightness = []
    for row in range(4):
        for column in range(4):
            *rgb, alpha = canvas(figure).evaluate(pixel, [int((column + 0.5) * size), int((row + 0.5) * size)])
            assert (alpha == 0) == (column > row), "what is masked stays clear"
            if alpha:
                lightness.append((float(values[0, 0, row, column]), -sum(rgb)))
    ordered = sorted(lightness)
    assert [dark for _, dark in ordered] == sorted(dark for _, dark in ordered), "more attention is darker on white"


# -- zoom ---------------------------------------------------------------------------------------------------------


def drag(bridge, figure, start, end):
    """Press on one cell, move to another, let go."""
    edge = canvas(figure).bounding_box()
    (ax, ay), (bx, by) = ((edge["x"] + p["x"], edge["y"] + p["y"]) for p in (cell(figure, *start), cell(figure, *end)))
    bridge.page.mouse.move(ax, ay)
    bridge.page.mouse.down()
    bridge.page.mouse.move(bx, by, steps=4)
    yield
    bridge.page.mouse.up()
    yield


def test_a_dragged_rectangle_becomes_the_map_and_a_double_click_shows_the_whole(bridge, heads):
    figure = bridge.show(heads)
    before = float(canvas(figure).get_attribute("data-cell"))
    steps = drag(bridge, figure, (4, 1), (9, 4))
    next(steps)
    assert figure.locator("[data-part=brush]").count() == 1
    next(steps)
    bridge.until(lambda: heads.zoom is not None)
    assert heads.zoom == [4, 0, 6]
    assert not heads.locked, "a drag is no click"
    assert float(canvas(figure).get_attribute("data-cell")) == pytest.approx(2 * before)
    bridge.until(lambda: live(figure) == "zoomed to queries 4 to 9, keys 0 to 5")
    canvas(figure).hover(position=cell(figure, 3, 4))
    bridge.until(lambda: read_out(figure) == f"␣girl → ␣time {heads.selected[7, 4]:.3f}")
    canvas(figure).dblclick(position=cell(figure, 1, 1))
    bridge.until(lambda: heads.zoom is None)
    assert float(canvas(figure).get_attribute("data-cell")) == before


def test_zoomed_cells_keep_their_colours(bridge):
    figure = bridge.show(heads := AttentionHeads(SENTENCE, patterns(1, 1, 12), query=11, key=0))
    pixel = "(c, [x, y]) => [...c.getContext('2d').getImageData(x * c.width, y * c.height, 1, 1).data]"
    whole = [
        canvas(figure).evaluate(pixel, [(k + 0.5) / 12, (q + 0.5) / 12]) for q in range(4, 10) for k in range(2, 8)
    ]
    heads.zoom = 4, 2, 6
    bridge.pump()
    part = [canvas(figure).evaluate(pixel, [(k + 0.5) / 6, (q + 0.5) / 6]) for q in range(6) for k in range(6)]
    assert part == whole


def test_escape_ends_a_drag_and_leaves_the_zoom(bridge, heads):
    figure = bridge.show(heads)
    figure.locator("[data-part=map]").focus()
    steps = drag(bridge, figure, (4, 1), (9, 4))
    next(steps)
    bridge.page.keyboard.press("Escape")
    next(steps)
    bridge.pump()
    assert heads.zoom is None
    heads.zoom = 4, 0, 6
    bridge.pump()
    bridge.page.keyboard.press("Escape")
    bridge.until(lambda: heads.zoom is None)
    bridge.until(lambda: live(figure) == "the whole map")


def test_the_map_is_zoomed_and_moved_from_the_keyboard(bridge, heads):
    figure = bridge.show(heads)
    press = bridge.page.keyboard.press
    figure.locator("[data-part=map]").focus()
    press("z")
    bridge.until(lambda: heads.zoom == [6, 1, 6] or heads.zoom == [6, 0, 6])
    press("z")
    bridge.until(lambda: heads.zoom[2] == 4)
    bridge.until(lambda: live(figure).startswith("zoomed to queries 8 to 11"))
    for _ in range(5):
        press("ArrowUp")
    bridge.until(lambda: heads.query == 6)
    assert heads.zoom[0] == 6, "what is chosen stays in sight"
    press("Shift+Z")
    bridge.until(lambda: heads.zoom[2] == 8)
    press("Shift+Z")
    bridge.until(lambda: heads.zoom is None)
    figure.get_by_role("button", name="Whole map").wait_for(state="hidden")


def test_a_long_text_is_zoomed_to_exact_values(bridge):
    values = patterns(1, 1, 1100)
    heads = AttentionHeads([f" {i}" for i in range(1100)], values, query=1099, key=0)
    figure = bridge.show(heads)
    heads.zoom = 700, 300, 40
    bridge.until(lambda: canvas(figure).evaluate("c => Math.round(c.clientWidth / c.dataset.cell)") == 40)
    canvas(figure).hover(position=cell(figure, 5, 7))
    bridge.until(lambda: read_out(figure) == f"␣705 → ␣307 {values[0, 0, 705, 307]:.3f}")
    bridge.kernel = False
    heads.zoom = None
    bridge.pump()
    figure.locator("[data-part=map]").focus()
    bridge.page.keyboard.press("z")
    bridge.page.wait_for_function("document.querySelector('[data-part=live]').textContent.startsWith('zoomed')")
    assert figure.get_by_role("button", name="Whole map").is_visible(), "what is here is enlarged without a kernel"


# -- long texts, comparisons, averages ------------------------------------------------------------------------------


def test_thumbnails_arrive_while_heads_are_chosen(bridge, monkeypatch):
    pytest.importorskip("torch")
    from interpwidgets import load
    from interpwidgets.widgets import attention_heads

    waiting: list[Any] = []

    class Loop:
        """Takes a step when the test says so."""

        def call_soon(self, step, *rest):
            waiting.append((step, rest))

        def call_later(self, _seconds, step, *rest):
            waiting.append((step, rest))

    monkeypatch.setattr(attention_heads, "KEPT_ABOVE", 0)
    monkeypatch.setattr(attention_heads, "STEP", 0)
    monkeypatch.setattr(attention_heads, "_loop_of_a_page", Loop)
    heads = AttentionHeads.from_model(load("demo"), "Lily ran to the park. Lily ran")
    figure = bridge.show(heads)
    grid = figure.locator("[data-part=heads] canvas")
    state = figure.locator("[data-part=state]")
    assert state.inner_text() == "Computing thumbnails"
    empty = grid.evaluate("c => c.toDataURL()")
    assert f"{heads.selected_value:.3f}" in read_out(figure), "the head on show is there at once"
    figure.get_by_role("button", name="next head").click()
    bridge.until(lambda: heads.head == 1 and f"{heads.selected_value:.3f}" in read_out(figure))
    for done in (1, 2):
        step, rest = waiting.pop()
        step(*rest)
        bridge.pump()
        if done == 1:
            assert state.inner_text() == "Computing thumbnails · layer 1 of 2"
            assert grid.evaluate("c => c.toDataURL()") != empty
            box = figure.locator("[data-part=prompt] textarea")
            box.fill("another one")
            assert figure.locator("[data-part=run]").is_enabled(), "nobody has to wait for the last layer"
    bridge.until(lambda: "Kernel connected" in state.inner_text())


def test_two_sides_share_what_is_chosen(bridge):
    first = AttentionHeads(SENTENCE, patterns(3, 4, 12), layer=1, head=2)
    second = AttentionHeads(SENTENCE, patterns(3, 4, 12, seed=1))
    heads = AttentionHeads.compare(first, second, "beside", names=("left", "<b>right</b>"), query=11, key=3)
    figure = bridge.show(heads)
    maps, outs = figure.locator("[data-part=map]"), figure.locator("[data-part=readout]")
    assert figure.locator("[data-part=side]").all_inner_texts() == ["left 12 tokens", "<b>right</b> 12 tokens"]
    maps.nth(1).locator("canvas").hover(position=cell(figure, 7, 4))
    for out, values in ((outs.nth(0), heads.selected), (outs.nth(1), heads.selected_other)):
        bridge.until(lambda out=out, values=values: out.inner_text() == f"␣girl → ␣time {values[7, 4]:.3f}")
    bridge.page.mouse.move(0, 0)
    figure.locator("[data-part=heads]").nth(1).focus()
    bridge.page.keyboard.press("ArrowDown")
    bridge.until(lambda: heads.layer == heads._other_tile["layer"] == 2)
    bridge.until(lambda: f"{heads.selected_other[11, 3]:.3f}" in outs.nth(1).inner_text())


def test_two_texts_of_different_lengths_are_read_each_for_itself(bridge):
    first = AttentionHeads(SENTENCE, patterns(3, 4, 12))
    second = AttentionHeads(list("abcde"), patterns(2, 4, 5, seed=1))
    heads = AttentionHeads.compare(first, second, "beside", layer=0, head=0)
    figure = bridge.show(heads)
    figure.locator("[data-part=map]").nth(1).focus()
    bridge.page.keyboard.press("ArrowUp")
    bridge.until(lambda: heads._other_query == 3)
    assert heads.query == 11
    figure.locator("[data-part=heads]").nth(1).focus()
    bridge.page.keyboard.press("ArrowDown")
    bridge.until(lambda: (heads.layer, heads._other_layer) == (0, 1))
    value = heads.selected_other[heads._other_query, heads._other_key]
    bridge.until(lambda: f"{value:.3f}" in figure.locator("[data-part=readout]").nth(1).inner_text())


def test_a_difference_and_an_average_say_what_they_are(bridge):
    first, second = AttentionHeads(SENTENCE, patterns(1, 2, 12)), AttentionHeads(SENTENCE, patterns(1, 2, 12, seed=1))
    heads = AttentionHeads.compare(first, second, names=("one", "two"))
    figure = bridge.show(heads)
    bridge.until(lambda: "one − two · values exact" in figure.locator("[data-part=state]").inner_text())
    assert f"{heads.selected_value:.3f}".replace("-", "−") in read_out(figure)
    assert figure.get_by_label("Bar").input_value() == "distance"


# -- keyboard and screen reader -----------------------------------------------------------------------------------


def test_every_function_works_from_the_keyboard(bridge, heads):
    figure = bridge.show(heads)
    press = bridge.page.keyboard.press
    figure.locator("[data-part=map]").focus()
    press("ArrowUp")
    press("ArrowLeft")
    bridge.until(lambda: (heads.query, heads.key) == (10, 2))
    press("Enter")
    bridge.until(lambda: heads.locked)
    press("Home")
    press("Escape")
    bridge.until(lambda: not heads.locked and heads.key == 0)
    press("PageDown")
    bridge.until(lambda: (heads.layer, heads.head) == (1, 3))
    figure.locator("[data-part=heads]").focus()
    press("ArrowUp")
    bridge.until(lambda: (heads.layer, heads.head) == (0, 3))
    press("ArrowRight")
    bridge.until(lambda: heads.head is None)
    figure.get_by_role("radio", name="Linear", exact=True).focus()
    press("ArrowRight")
    bridge.until(lambda: heads.scale == "row")
    press("ArrowRight")
    bridge.until(lambda: heads.scale == "log")


def test_the_tab_key_reaches_every_control_and_leaves(bridge):
    figure = bridge.show(AttentionHeads(SENTENCE, patterns(2, 2, 12)))
    bridge.page.evaluate(
        "document.querySelector('main').insertAdjacentHTML('beforeend', '<button id=after>after</button>')"
    )
    seen = []
    for _ in range(20):
        bridge.page.keyboard.press("Tab")
        active = "document.activeElement"
        seen.append(bridge.page.evaluate(f"{active}.id || {active}.ariaLabel || {active}.textContent"))
        if seen[-1] == "after":
            break
    assert seen[-1] == "after", f"the Tab key is caught: {seen}"
    text = " | ".join(seen)
    for part in (
        "Export",
        "previous head",
        "next head",
        "attention pattern",
        "Linear",
        "Sort",
        "Bar",
        "2 layers of 2 heads",
    ):
        assert part in text
    assert figure.count() == 1


def test_the_value_under_the_cursor_reaches_a_screen_reader(bridge, heads):
    figure = bridge.show(heads)
    figure.locator("[data-part=map]").focus()
    bridge.page.keyboard.press("ArrowUp")
    value = heads.selected[10, 3]
    bridge.until(lambda: live(figure) == f"Query 10 little, key 3 a: {value:.3f}")
    canvas(figure).hover(position=cell(figure, 8, 1))
    bridge.until(lambda: live(figure).startswith("Query 8 ,, key 1 Once"))
    figure.locator("[data-part=heads]").focus()
    bridge.page.keyboard.press("ArrowDown")
    bridge.until(lambda: live(figure).startswith("L2 H2, induction"))


@pytest.mark.parametrize("kind", ["alone", "beside", "difference"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_about(bridge, theme, kind):
    if not AXE.exists():
        pytest.skip("axe-core is not here: run `npm ci` in frontend/")
    heads = AttentionHeads(SENTENCE, patterns(3, 4, 12) * 0.9, theme=theme, caption="What to see here.")
    if kind != "alone":
        second = AttentionHeads(SENTENCE, patterns(3, 4, 12, seed=1))
        heads = AttentionHeads.compare(heads, second, kind, theme=theme)
        heads.zoom = 3, 2, 6
    figure = bridge.show(heads)
    bridge.page.evaluate("theme => document.body.style.background = theme === 'dark' ? '#111' : '#fff'", theme)
    figure.locator("[data-part=heads] canvas").first.hover(position={"x": 40, "y": 20})
    bridge.page.add_script_tag(path=AXE)
    for open_menu in (False, True):
        if open_menu:
            figure.get_by_role("button", name="Export").click()
        found = bridge.page.evaluate(
            "async () => (await axe.run('.iw')).violations.map((v) => [v.id, v.nodes.map((n) => n.html)])"
        )
        assert found == []


def test_the_menu_opens_and_closes_from_the_keyboard(bridge, heads):
    figure = bridge.show(heads)
    button = figure.get_by_role("button", name="Export")
    button.focus()
    bridge.page.keyboard.press("Enter")
    assert figure.get_by_role("menuitem", name="Picture").evaluate("e => e === document.activeElement")
    bridge.page.keyboard.press("ArrowDown")
    assert figure.get_by_role("menuitem", name="Drawing").evaluate("e => e === document.activeElement")
    bridge.page.keyboard.press("Escape")
    assert button.evaluate("e => e === document.activeElement")
    assert figure.get_by_role("menu").count() == 0


# -- out of the page ----------------------------------------------------------------------------------------------


def saved(bridge: Any, figure: Any, name: str) -> bytes:
    figure.get_by_role("button", name="Export").click()
    with bridge.page.expect_download() as download:
        figure.get_by_role("menuitem", name=name).click()
    return Path(download.value.path()).read_bytes()


def test_the_head_comes_out_as_csv_without_formulas(bridge):
    values = patterns(1, 1, 3)
    figure = bridge.show(AttentionHeads(["=1+1", 'say "hi"', "c"], values))
    lines = saved(bridge, figure, "This head").decode("utf-8-sig").split("\r\n")
    assert lines[0] == 'query \\ key,\'=1+1,"say ""hi""",c'
    np.testing.assert_allclose([float(x) for x in lines[3].split(",")[1:]], values[0, 0, 2], rtol=1e-6)


def test_the_picture_comes_out_as_png_and_as_svg(bridge):
    from xml.etree import ElementTree

    heads = AttentionHeads([*SENTENCE[:-1], "<b>&"], patterns(3, 4, 12))
    figure = bridge.show(heads)
    png = saved(bridge, figure, "Picture")
    assert png.startswith(b"\x89PNG")
    width = int.from_bytes(png[16:20], "big")
    assert width > 1000, "twice the size of the widget"
    svg = ElementTree.fromstring(saved(bridge, figure, "Drawing").decode())
    texts = ["".join(node.itertext()) for node in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert "<b>&" in texts
    assert "Attention heads" in texts
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}image"))) == 2, "the map and the grid"
    assert "var(" not in ElementTree.tostring(svg, encoding="unicode"), "colours stand on their own"


def test_a_cell_is_copied(bridge, heads):
    bridge.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    figure = bridge.show(heads)
    figure.locator("[data-part=map]").focus()
    bridge.page.keyboard.press("c")
    expected = re.compile(r" dog\t a\t0\.\d+")
    bridge.until(lambda: expected.fullmatch(bridge.page.evaluate("navigator.clipboard.readText()")))


# -- tokens, themes, widths ---------------------------------------------------------------------------------------


def test_hostile_tokens_appear_as_themselves(bridge):
    dialogs: list[str] = []
    bridge.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    heads = AttentionHeads(HOSTILE, patterns(1, 2, 12), title="<b>title</b>", caption="</style><i>", query=11)
    figure = bridge.show(heads)
    text = figure.locator("[data-part=strip]").inner_text()
    for shown in (
        "<img␣src=x␣onerror=alert(1)>",
        "</script>",
        "⏎",
        "⇥",
        "👩\u200d👧",
        "مرحبا",
        "∅",
        "\\u202egnp",
        "\\u200b",
        "<!--",
        "&amp;",
    ):
        assert shown in text
    assert "<b>title</b>" in figure.inner_text()
    assert figure.locator("img, b, i, script").count() == 0
    assert dialogs == []


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("document.body.setAttribute('data-jp-theme-light', 'false')", "dark"),
        ("document.body.classList.add('vscode-dark')", "dark"),
        ("document.documentElement.setAttribute('theme', 'dark')", "dark"),
        ("document.documentElement.classList.add('dark')", "dark"),
        ("document.body.style.background = '#1e1e1e'", "dark"),
        ("document.body.style.background = '#fafafa'", "light"),
    ],
)
def test_the_theme_of_the_host_is_followed(bridge, heads, page, expected):
    bridge.theme("light" if expected == "dark" else "dark")
    figure = bridge.show(heads)
    bridge.page.evaluate(page)
    bridge.until(lambda: figure.locator(".iw").get_attribute("data-theme") == expected)


def test_a_theme_that_was_asked_for_wins(bridge, heads):
    heads.theme = "dark"
    figure = bridge.show(heads)
    assert figure.locator(".iw").get_attribute("data-theme") == "dark"
    heads.theme = "auto"
    bridge.until(lambda: figure.locator(".iw").get_attribute("data-theme") == "light")


@pytest.mark.parametrize("width", [320, 420, 700, 1400])
def test_no_width_scrolls_the_page_sideways(bridge, width):
    bridge.page.set_viewport_size({"width": width, "height": 900})
    figure = bridge.show(AttentionHeads(SENTENCE, patterns(4, 16, 12), n_kv_heads=4))
    bridge.page.wait_for_timeout(100)
    assert bridge.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert canvas(figure).is_visible()
    if width < 640:
        map_top = canvas(figure).bounding_box()["y"]
        assert map_top < figure.locator("[data-part=heads]").bounding_box()["y"], "the large map comes first"


def test_a_wider_page_is_used(bridge, heads):
    figure = bridge.show(heads)
    narrow = figure.locator("[data-part=heads] canvas").bounding_box()["x"]
    bridge.page.set_viewport_size({"width": 480, "height": 900})
    bridge.until(lambda: figure.locator("[data-part=heads] canvas").bounding_box()["x"] < narrow)


@pytest.mark.parametrize(("tokens", "layers", "n_heads"), [(1, 1, 1), (2, 1, 3), (600, 1, 2)])
def test_sizes_at_the_edge(bridge, tokens, layers, n_heads):
    heads = AttentionHeads([f" {i}" for i in range(tokens)], patterns(layers, n_heads, tokens))
    figure = bridge.show(heads)
    value = f"{heads.selected_value:.3f}"
    bridge.until(lambda: value in read_out(figure))
    canvas(figure).click(position={"x": 1, "y": 1})
    bridge.until(lambda: heads.locked)
    assert heads.key <= heads.query <= 4, "the corner, or the first block of two"


def test_above_512_tokens_a_cell_names_the_pair_with_the_largest_value_in_its_block(bridge):
    values = np.zeros((1, 1, 600, 600), np.float32)
    values[..., 0] = 0.75
    values[0, 0, 401, 301] = 0.25
    heads = AttentionHeads([f" {i}" for i in range(600)], values, normalized=False, query=599, key=0)
    figure = bridge.show(heads)
    size = float(canvas(figure).get_attribute("data-cell"))
    canvas(figure).click(position={"x": (150 + 0.5) * size, "y": (200 + 0.5) * size})
    bridge.until(lambda: heads.locked)
    assert (heads.query, heads.key) == (401, 301)
    bridge.until(lambda: "␣401 → ␣301 0.250" in read_out(figure))
    bridge.until(lambda: figure.locator("[data-part=strip]").inner_text().startswith("Attention from ␣401"))


# -- notices, errors, kernels -------------------------------------------------------------------------------------


def test_a_notice_names_the_heads_and_can_be_dismissed(bridge):
    values = patterns(3, 4, 12)
    values[2, 1] *= 0.5
    figure = bridge.show(AttentionHeads(SENTENCE, values))
    notice = figure.get_by_role("note")
    assert "L2 H1" in notice.inner_text()
    notice.get_by_role("button", name="Show").click()
    bridge.until(lambda: "L2 H1" in figure.locator("[data-part=map]").get_attribute("aria-label"))
    notice.get_by_role("button", name="dismiss").click()
    bridge.until(lambda: notice.count() == 0)


def test_without_a_kernel_everything_already_computed_still_works(bridge, heads):
    figure = bridge.show(heads)
    bridge.kernel = False
    figure.get_by_role("button", name="next head").click()
    bridge.page.wait_for_function("document.querySelector('[data-part=state]').textContent.includes('busy or gone')")
    assert "L1 H3" in figure.inner_text()
    expected = patterns(3, 4, 12)[1, 3, 6, 1]
    canvas(figure).hover(position=cell(figure, 6, 1))
    bridge.page.wait_for_timeout(100)
    shown = re.search(r"≈(\d\.\d\d)", read_out(figure))
    assert shown, read_out(figure)
    assert abs(float(shown[1]) - expected) < 0.02 * expected + 0.006
    assert "two digits" in figure.locator("[data-part=state]").inner_text()


def test_the_prompt_runs_in_the_kernel_and_the_picture_follows(bridge):
    pytest.importorskip("torch")
    from interpwidgets import load

    heads = AttentionHeads.from_model(load("demo"), "one two one two")
    figure = bridge.show(heads)
    box = figure.locator("[data-part=prompt] textarea")
    box.fill("three four three")
    box.press("Enter")
    bridge.until(lambda: heads.prompt == "three four three")
    assert "three" in figure.locator("[data-part=strip]").inner_text()
    box.fill("")
    figure.locator("[data-part=run]").click()
    alert = figure.get_by_role("alert")
    bridge.until(lambda: alert.count() == 1)
    assert "three" in figure.locator("[data-part=strip]").inner_text(), "the former picture stays"
    box.fill("back again")
    box.press("Enter")
    bridge.until(lambda: alert.count() == 0)


def test_typing_in_the_prompt_reaches_no_shortcut_of_the_host(bridge):
    pytest.importorskip("torch")
    from interpwidgets import load

    figure = bridge.show(AttentionHeads.from_model(load("demo"), "one"))
    bridge.page.evaluate("document.addEventListener('keydown', (event) => { globalThis.heard = event.key; })")
    figure.locator("textarea").press_sequentially("dd c")
    assert bridge.page.evaluate("globalThis.heard") is None
    assert figure.locator("textarea").input_value().endswith("dd c")


# -- the real thing -----------------------------------------------------------------------------------------------


@pytest.mark.skipif(not STORIES.exists(), reason="the model stories260K is not beside this clone")
def test_a_real_model_in_jupyterlab(notebook, shot):
    page = notebook.run(
        "from interpwidgets import AttentionHeads, load",
        f"w = AttentionHeads.from_model(load({str(STORIES)!r}), "
        "'Once upon a time, there was a little girl named Lily.')\nw",
    )
    figure = page.locator(".iw")
    canvas(figure).wait_for()
    shot(figure, "jupyterlab_light")
    box = figure.locator("[data-part=heads] canvas").bounding_box()
    figure.locator("[data-part=heads] canvas").click(position={"x": box["width"] / 2, "y": box["height"] - 12})
    notebook.until("w.layer", "4")
    canvas(figure).click(position=cell(figure, 8, 2))
    notebook.until("(w.query, w.key, w.locked)", "(8, 2, True)")
    value = float(notebook.python("float(w.selected_value)"))
    assert f"{value:.3f}" in read_out(figure)
    notebook.execute("w.layer, w.head, w.query, w.key = 2, 5, 6, 1")
    page.wait_for_function("document.querySelector('[data-part=map]').ariaLabel.includes('L2 H5')")
    notebook.reload()
    figure = page.locator(".iw")
    canvas(figure).wait_for()
    page.wait_for_function("document.querySelector('[data-part=map]').ariaLabel.includes('L2 H5')")
    assert f"{float(notebook.python('float(w.selected_value)')):.3f}" in read_out(figure)


def test_arrow_keys_stay_in_the_widget_in_jupyterlab(notebook):
    page = notebook.run(
        "import numpy as np\nfrom interpwidgets import AttentionHeads",
        "w = AttentionHeads(list('abcdefgh'), np.tril(np.ones((2, 2, 8, 8))), normalized=False, query=7, key=0); w",
        "'a cell below'",
    )
    page.locator("[data-part=map]").focus()
    before = page.evaluate("jupyterapp.shell.currentWidget.content.activeCellIndex")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    notebook.until("(w.query, w.key)", "(6, 1)")
    assert page.evaluate("jupyterapp.shell.currentWidget.content.activeCellIndex") == before
