"""AttentionHeads of what is not a text that looks at itself: cross attention, encoder-decoders, images."""

import itertools
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from interpwidgets.widgets._picture import png
from interpwidgets.widgets.attention_heads import AttentionHeads

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
SOURCE = ["The", " house", " at", " the", " end", " is", " small", " ."]
TARGET = ["<pad>", "Das", " Haus", " ist", " klein"]


def attention(queries: int, keys: int, layers: int = 2, heads: int = 4, *, seed: int = 0, causal: bool = False) -> Any:
    """Random attention in which every cell has a value of its own."""
    weights = np.random.default_rng(seed).random((layers, heads, queries, keys)).astype(np.float32) ** 3 + 0.01
    weights = np.tril(weights) if causal else weights
    return weights / weights.sum(-1, keepdims=True)


CROSS = attention(5, 8, layers=3, heads=2)


def translated() -> AttentionHeads:
    encoder, decoder = attention(8, 8, seed=1), attention(5, 5, layers=3, heads=2, seed=2, causal=True)
    return AttentionHeads.encoder_decoder(SOURCE, TARGET, encoder, decoder, CROSS, layer=1, head=1, query=4, key=7)


@pytest.fixture
def translation() -> AttentionHeads:
    return translated()


PIXELS = np.random.default_rng(5).integers(0, 256, (40, 60, 3), np.uint8)
ROWS, COLUMNS = 4, 6
PATCHES = attention(25, 25, layers=3, heads=4, seed=3)


def image(pixels: Any = PIXELS, **options: Any) -> AttentionHeads:
    tokens = ["[CLS]", *(f"{row},{column}" for row in range(ROWS) for column in range(COLUMNS))]
    fixed = {"image": pixels, "grid": (ROWS, COLUMNS), "layer": 1, "head": 2, "query": 0, "scale": "row"}
    return AttentionHeads(tokens, PATCHES, **{**fixed, **options})


def cell(figure: Any, row: int, column: int) -> dict[str, float]:
    size = float(figure.locator("[data-part=map] canvas").first.get_attribute("data-cell"))
    return {"x": (column + 0.5) * size, "y": (row + 0.5) * size}


def patch(figure: Any, row: int, column: int) -> dict[str, float]:
    size = figure.locator("[data-part=picture] canvas").first.bounding_box()["width"] / COLUMNS
    return {"x": (column + 0.5) * size, "y": (row + 0.5) * size}


def read_out(figure: Any) -> str:
    return figure.locator("[data-part=readout]").inner_text()


def live(figure: Any) -> str:
    return figure.locator("[data-part=live]").inner_text()


def saved(bridge: Any, figure: Any, name: str) -> bytes:
    figure.get_by_role("button", name="Export").click()
    with bridge.page.expect_download() as download:
        figure.get_by_role("menuitem", name=name).click()
    return Path(download.value.path()).read_bytes()


# -- keys of another text -----------------------------------------------------------------------------------------


def test_queries_are_of_one_text_and_keys_of_the_other(bridge):
    heads = AttentionHeads(TARGET, CROSS, key_tokens=SOURCE, query=4, key=0)
    figure = bridge.show(heads)
    assert "5 × 8 tokens" in figure.locator(".iw-meta").inner_text()
    figure.locator("[data-part=map] canvas").hover(position=cell(figure, 2, 7))
    bridge.until(lambda: read_out(figure) == f"␣Haus → ␣. {CROSS[0, 0, 2, 7]:.3f}")
    figure.locator("[data-part=map] canvas").click(position=cell(figure, 1, 6))
    bridge.until(lambda: (heads.query, heads.key) == (1, 6))
    strip = figure.locator("[data-part=strip]").inner_text()
    assert strip.split("\n")[0].startswith("Attention from Das 1")
    assert "␣house" in strip
    assert figure.locator("[data-query]").count() == 0, "the query is no token of this sentence"


def test_the_keyboard_stops_at_the_ends_of_each_text(bridge):
    heads = AttentionHeads(TARGET, CROSS, key_tokens=SOURCE, query=3, key=6)
    figure = bridge.show(heads)
    figure.locator("[data-part=map]").focus()
    for _ in range(3):
        bridge.page.keyboard.press("ArrowDown")
        bridge.page.keyboard.press("ArrowRight")
    bridge.until(lambda: (heads.query, heads.key) == (4, 7))
    bridge.until(lambda: live(figure) == f"Query 4 klein, key 7 .: {CROSS[0, 0, 4, 7]:.3f}")
    bridge.page.keyboard.press("Home")
    bridge.until(lambda: heads.key == 0)


def test_cells_are_square_and_thumbnails_have_the_shape_of_the_map(bridge):
    figure = bridge.show(AttentionHeads(TARGET, CROSS, key_tokens=SOURCE))
    box = figure.locator("[data-part=map] canvas").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(8 / 5, rel=0.01)
    without = figure.locator("[data-part=heads]").locator("xpath=..")
    assert without.locator("select:visible").count() == 0, "there are no scores to sort by"


def test_thumbnails_of_a_flat_map_leave_room_for_the_numbers_of_their_layers(bridge):
    keys = [f"k{i}" for i in range(60)]
    figure = bridge.show(AttentionHeads(["q"], attention(1, 60, layers=6, heads=2), key_tokens=keys))
    numbers = figure.locator("[data-part=heads] svg text[text-anchor=end]").all()
    boxes = [number.bounding_box() for number in numbers if number.inner_html().isdigit()]
    assert len(boxes) == 6
    assert all(below["y"] - above["y"] >= 14 for above, below in itertools.pairwise(boxes))


def test_a_wide_map_zooms_into_all_of_its_few_queries(bridge):
    keys = [f"k{i}" for i in range(60)]
    heads = AttentionHeads(TARGET, attention(5, 60, layers=1, heads=1), key_tokens=keys, query=2, key=40)
    figure = bridge.show(heads)
    figure.locator("[data-part=map]").focus()
    bridge.page.keyboard.press("z")
    bridge.until(lambda: heads.zoom == [0, 26, 30])
    bridge.until(lambda: live(figure) == "zoomed to queries 0 to 4, keys 26 to 55")
    bridge.page.keyboard.press("ArrowLeft")
    bridge.until(lambda: heads.key == 39)
    assert read_out(figure).startswith("␣Haus → k39")
    bridge.page.keyboard.press("Escape")
    bridge.until(lambda: heads.zoom is None)


def test_a_map_of_more_than_the_screen_holds_says_blocks_and_zooms_to_exact_numbers(bridge):
    weights = attention(40, 1000, layers=1, heads=1)
    queries, keys = ([f"{name}{i}" for i in range(n)] for name, n in (("q", 40), ("k", 1000)))
    heads = AttentionHeads(queries, weights, key_tokens=keys, query=39, key=999)
    figure = bridge.show(heads)
    assert "the maximum of 3 × 3" in figure.locator("[data-part=state]").inner_text()
    heads.zoom = 10, 600, 30
    bridge.pump()
    figure.locator("[data-part=map] canvas").hover(position=cell(figure, 4, 20))
    bridge.until(lambda: read_out(figure) == f"q14 → k620 {weights[0, 0, 14, 620]:.3f}")
    bridge.page.mouse.move(0, 0)
    heads.query = 12
    bridge.until(lambda: figure.locator("[data-part=strip]").inner_text().startswith("Attention from q12 12"))


def test_the_table_and_the_drawing_hold_both_texts(bridge):
    figure = bridge.show(AttentionHeads(TARGET, CROSS, key_tokens=SOURCE))
    lines = saved(bridge, figure, "This head").decode("utf-8-sig").split("\r\n")
    assert lines[0] == ",".join(["query \\ key", *SOURCE])
    assert [line.split(",")[0] for line in lines[1:]] == TARGET
    np.testing.assert_allclose([float(x) for x in lines[5].split(",")[1:]], CROSS[0, 0, 4], rtol=1e-6)
    svg = ElementTree.fromstring(saved(bridge, figure, "Drawing").decode())
    texts = ["".join(node.itertext()) for node in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"␣house", "␣Haus"} <= set(texts)


# -- encoder, decoder, cross --------------------------------------------------------------------------------------


def kind(figure: Any, name: str) -> Any:
    return figure.get_by_role("radiogroup", name="attention").get_by_role("radio", name=name)


def test_a_click_shows_another_kind_with_its_own_text_and_heads(bridge, translation):
    figure = bridge.show(translation)
    kind(figure, "Encoder").click()
    bridge.until(lambda: translation.attention == "encoder")
    assert "2 layers × 4 heads · 8 tokens" in figure.locator(".iw-meta").inner_text()
    assert translation.tokens == SOURCE
    bridge.until(lambda: live(figure) == "encoder attention, 2 layers of 4 heads")
    bridge.until(lambda: f"{translation.selected_value:.3f}" in read_out(figure))
    kind(figure, "Cross").click()
    bridge.until(lambda: translation.attention == "cross")
    assert (translation.layer, translation.head, translation.query, translation.key) == (1, 1, 4, 7)
    bridge.until(lambda: read_out(figure) == f"␣klein → ␣. {CROSS[1, 1, 4, 7]:.3f}")


def test_the_keyboard_turns_from_kind_to_kind(bridge, translation):
    figure = bridge.show(translation)
    kind(figure, "Cross").focus()
    bridge.page.keyboard.press("ArrowLeft")
    bridge.until(lambda: translation.attention == "decoder")
    assert kind(figure, "Decoder").evaluate("e => e === document.activeElement")
    assert kind(figure, "Decoder").get_attribute("aria-checked") == "true"


def test_python_turns_the_page_to_another_kind_in_every_view(bridge, translation):
    figures = [bridge.show(translation) for _ in range(2)]
    translation.attention = "decoder"
    translation.query, translation.key = 2, 1
    bridge.pump()
    for figure in figures:
        assert kind(figure, "Decoder").get_attribute("aria-checked") == "true"
        bridge.until(lambda figure=figure: read_out(figure) == f"␣Haus → Das {translation.selected_value:.3f}")


def test_numbers_of_one_kind_are_never_taken_for_those_of_another(bridge):
    square = [attention(5, 5, seed=seed) for seed in (1, 2, 3)]  # the sizes tell nothing
    heads = AttentionHeads.encoder_decoder(TARGET, TARGET, *square, query=4, key=2, layer=0, head=0)
    figure = bridge.show(heads)
    bridge.kernel = False
    for name, patterns in zip(("Encoder", "Decoder", "Cross"), square, strict=True):
        kind(figure, name).click()
        figure.locator("[data-part=map] canvas").hover(position=cell(figure, 3, 1))
        value = patterns[0, 0, 3, 1] if name == "Cross" else None
        bridge.until(lambda: "Das" in read_out(figure))
        shown = float(read_out(figure).split()[-1].lstrip("≈"))
        layer, head = (int(part[1:]) for part in figure.locator(".iw-panel-title").first.inner_text().split()[1:3])
        assert shown == pytest.approx(patterns[layer, head, 3, 1] if value is None else value, abs=0.01)


def test_without_a_kernel_all_kinds_stay(bridge, translation):
    figure = bridge.show(translation)
    bridge.kernel = False
    kind(figure, "Encoder").click()
    bridge.until(lambda: "8 tokens" in figure.locator(".iw-meta").inner_text())
    exact = read_out(figure).split()[-1]
    assert len(exact) == 5, "the first head of each kind is in the page, exactly"
    figure.locator("[data-part=heads]").focus()
    bridge.page.keyboard.press("End")
    bridge.until(lambda: "mean" in figure.locator(".iw-panel-title").first.inner_text())
    figure.locator("[data-part=heads]").focus()
    bridge.page.keyboard.press("ArrowLeft")
    bridge.until(lambda: read_out(figure).split()[-1].startswith("≈"))
    kind(figure, "Decoder").click()
    bridge.until(lambda: "5 tokens" in figure.locator(".iw-meta").inner_text())


def test_a_view_that_is_removed_hears_nothing_more(bridge, translation):
    bridge.show(translation)
    before = bridge.listening(translation)
    figure = bridge.show(translation)
    assert bridge.listening(translation) > before
    bridge.remove(figure)
    assert bridge.listening(translation) == before


MADE = (
    "import numpy as np; from interpwidgets import AttentionHeads",
    "def p(q, k): return np.random.default_rng(q).dirichlet(np.ones(k), (2, 3, q)).astype('f4')",
    "AttentionHeads.encoder_decoder(list('abcdef'), list('xyz'), p(6, 6), p(3, 3), p(3, 6))",
    "tokens = ['[CLS]', *(f'{i // 4},{i % 4}' for i in range(16))]",
    "AttentionHeads(tokens, p(17, 17), query=3, image=np.full((16, 16, 3), 200, np.uint8))",
)


def test_an_exported_page_turns_to_every_kind_and_shows_the_picture(exported):
    page = exported(*MADE)
    figure = page.locator(".iw").first
    figure.get_by_role("radio", name="Encoder").click()
    page.wait_for_function("document.querySelector('.iw-meta').textContent.includes('6 tokens')")
    assert "≈" not in read_out(figure)
    picture = page.locator(".iw").nth(1).locator("[data-part=picture]")
    picture.focus()
    page.keyboard.press("ArrowDown")
    page.get_by_text("row 1, column 2").first.wait_for()


# -- images -------------------------------------------------------------------------------------------------------


def test_a_click_on_a_patch_asks_what_it_attends_to(bridge):
    heads = image()
    figure = bridge.show(heads)
    figure.locator("[data-part=picture] canvas").click(position=patch(figure, 2, 3))
    bridge.until(lambda: heads.query == 1 + 2 * COLUMNS + 3)
    assert "row 2, column 3" in figure.locator(".iw-panel-title").first.inner_text()
    row = PATCHES[1, 2, heads.query]
    best = int(row[1:].argmax())
    told = f"row {best // COLUMNS}, column {best % COLUMNS}: {row[1:].max():.3f}"
    bridge.until(lambda: live(figure) == f"From row 2, column 3, most to {told}")
    assert f"most to {told}" in figure.inner_text()


def test_pointing_at_a_patch_reads_what_it_gets(bridge):
    heads = image()
    figure = bridge.show(heads)
    figure.locator("[data-part=picture] canvas").hover(position=patch(figure, 3, 5))
    bridge.until(lambda: read_out(figure) == f"[CLS] → 3,5 {PATCHES[1, 2, 0, 24]:.3f}")
    bridge.until(lambda: live(figure) == f"Query 0 [CLS], key 24 3,5: {PATCHES[1, 2, 0, 24]:.3f}")
    assert heads.query == 0


def test_arrows_choose_patches_and_stop_at_the_edge(bridge):
    heads = image()
    figure = bridge.show(heads)
    figure.locator("[data-part=picture]").focus()
    for key, expected in [("ArrowRight", 1), ("ArrowLeft", 1), ("ArrowDown", 7), ("End", 12), ("ArrowRight", 12),
                          ("ArrowUp", 6), ("ArrowUp", 6), ("Home", 1)]:  # fmt: skip
        bridge.page.keyboard.press(key)
        bridge.until(lambda expected=expected: heads.query == expected)


def test_the_token_of_the_whole_stands_beside_and_can_be_chosen(bridge):
    heads = image(query=5)
    figure = bridge.show(heads)
    whole = figure.get_by_role("button", name="[CLS]")
    assert whole.inner_text() == f"[CLS] {PATCHES[1, 2, 5, 0]:.3f}"
    whole.focus()
    bridge.page.keyboard.press("Enter")
    bridge.until(lambda: heads.query == 0)
    assert whole.get_attribute("aria-pressed") == "true"


def inks(figure: Any) -> list[int]:
    return figure.locator("[data-part=picture] canvas").evaluate(
        """canvas => [...new Uint32Array(
            canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)]"""
    )


def test_the_picture_shows_through_and_another_head_colours_it_anew(bridge):
    heads = image()
    figure = bridge.show(heads)
    bridge.until(lambda: len(set(inks(figure))) > ROWS * COLUMNS)
    before = inks(figure)
    heads.head = 0
    bridge.until(lambda: inks(figure) != before)


@pytest.mark.parametrize("host", ["colab", "vscode"])
def test_other_hosts_hand_over_pictures_and_kinds_in_their_ways(request, host):
    page = request.getfixturevalue(host)
    translation = translated()
    figure = page.show(image())
    page.until(lambda: len(set(inks(figure))) > ROWS * COLUMNS)
    figure = page.show(translation)
    kind(figure, "Encoder").click()
    page.until(lambda: translation.attention == "encoder")
    page.until(lambda: f"{translation.selected_value:.3f}" in read_out(figure))


@pytest.mark.parametrize("picture", [b"<svg onload=alert(1)>", b"\x89PNG\r\n\x1a\nrest", png(PIXELS)[:60]])
def test_a_picture_that_is_none_leaves_the_colours(bridge, picture):
    heads = image()
    heads._image = {**heads._image, "png": picture}
    figure = bridge.show(heads)
    bridge.pump()
    assert 1 < len(set(inks(figure))) <= ROWS * COLUMNS


def test_two_pictures_stand_side_by_side(bridge):
    other = image(255 - PIXELS)
    both = AttentionHeads.compare(image(), other, "beside", names=("picture", "negative"))
    bridge.page.set_viewport_size({"width": 1000, "height": 900})
    figure = bridge.show(both)
    assert figure.locator("[data-part=picture]").count() == 2
    figure.locator("[data-part=picture] canvas").nth(1).click(position=patch(figure, 1, 1))
    bridge.until(lambda: both.query == 8)


# -- for everybody ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["kinds", "image"])
@pytest.mark.parametrize(("theme", "width"), [("light", 852), ("dark", 852), ("light", 420)])
def test_axe_finds_nothing_to_complain_about(bridge, translation, theme, width, what):
    if not AXE.exists():
        pytest.skip("axe-core is not here: run `npm ci` in frontend/")
    heads = translation if what == "kinds" else image()
    heads.theme = theme
    bridge.page.set_viewport_size({"width": width, "height": 900})
    bridge.page.evaluate("theme => document.body.style.background = theme === 'dark' ? '#111' : '#fff'", theme)
    bridge.show(heads)
    bridge.page.add_script_tag(path=AXE)
    found = bridge.page.evaluate(
        "async () => (await axe.run('.iw')).violations.map((v) => [v.id, v.nodes.map((n) => n.html)])"
    )
    assert found == []
    assert bridge.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing scrolls the page"
