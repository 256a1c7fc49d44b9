"""The page side of the logit lens: the grid, the paths of tokens, long texts, odd tokens, a dead kernel."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traitlets as t

from interpwidgets.widgets import _base

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
SENTENCE = ["The", " capital", " of", " France", " is", " Paris", ".", " The", " capital", " of", " Italy", " is"]
VOCAB = [*dict.fromkeys(SENTENCE), " Rome", " the", " a", " not", " was", "\n", " city", " Lyon"]
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


def half(values: np.ndarray) -> dict[str, Any]:
    return _base.to_wire(values.astype(np.float16))


def codes(values: np.ndarray) -> dict[str, Any]:
    return {"data": values.astype("<u2").tobytes(), "dtype": "u2", "shape": list(values.shape)}


class Lens(_base.InterpWidget):
    """The state that the page reads, made by hand."""

    _kind = t.Unicode("logit_lens").tag(sync=True)
    tokens = t.List().tag(sync=True)
    _rows = t.List().tag(sync=True)
    _meta = t.Dict().tag(sync=True)
    _vocab = t.List().tag(sync=True)
    _planes = t.List().tag(sync=True)
    _followed = t.List().tag(sync=True)
    row = t.Int(0).tag(sync=True)
    position = t.Int(0).tag(sync=True)
    locked = t.Bool(False).tag(sync=True)
    measure = t.Unicode("probability").tag(sync=True)
    lens = t.Unicode("logit").tag(sync=True)
    compare = t.Unicode("").tag(sync=True)
    source = t.Unicode("residual").tag(sync=True)
    target = t.Unicode("").tag(sync=True)
    pinned = t.List().tag(sync=True)
    prompt = t.Unicode("").tag(sync=True)
    theme = t.Unicode("auto").tag(sync=True)
    title = t.Unicode("Logit lens").tag(sync=True)
    caption = t.Unicode("").tag(sync=True)
    _has_model = t.Bool(False).tag(sync=True)
    _status = t.Dict({"state": "ready", "text": "", "progress": None}).tag(sync=True)
    _error = t.Dict(default_value=None, allow_none=True).tag(sync=True)
    _notice = t.Dict(default_value=None, allow_none=True).tag(sync=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heard: list[dict[str, Any]] = []

    def _on_message(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        self.heard.append(content)


def plane(
    probs: np.ndarray, ids: np.ndarray, *, lens: str = "logit", source: str = "residual", nats: bool = True
) -> dict[str, Any]:
    """Top tokens of every cell, ``[row, position, k]``, as they cross to the page."""
    entropy = -(probs * np.log(probs)).sum(-1) + 3 * (1 - probs.sum(-1))
    kl = np.linspace(4, 0, len(probs))[:, None] * np.ones(probs.shape[1])
    known = {"entropy": half(entropy), "kl": half(kl)} if nats else {"entropy": None, "kl": None}
    return {"lens": lens, "source": source, "ids": codes(ids), "probs": half(probs), **known, "ready": True}


def drawn(rows: int, tokens: int, k: int = 5, seed: int = 0, vocab: int = len(VOCAB)) -> tuple[np.ndarray, np.ndarray]:
    """Top tokens that grow surer from layer to layer, and change now and then."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(1, tokens, vocab)) + rng.normal(size=(rows, tokens, vocab)).cumsum(0) / 2
    scores = scores * np.linspace(0.8, 1.6, rows)[:, None, None]
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    ids = np.argsort(-weights, -1)[..., :k]
    return np.take_along_axis(weights, ids, -1), ids


def made(tokens: list[str] = SENTENCE, rows: int = 13, seed: int = 0, **kwargs: Any) -> Lens:
    vocab = kwargs.pop("vocab", VOCAB)
    probs, ids = drawn(rows, len(tokens), min(5, len(vocab)), seed, len(vocab))
    meta = {"model": "storylm", "layers": rows - 1, "tokens": len(tokens), "k": probs.shape[-1], "has_entropy": True}
    state = {
        "tokens": tokens,
        "_rows": ["emb", *(str(i) for i in range(rows - 1))] if rows > 1 else ["0"],
        "_meta": {**meta, "has_kl": True},
        "_vocab": vocab,
        "_planes": [plane(probs, ids)],
        "position": len(tokens) - 1,
        "row": rows // 2,
    }
    return Lens(**{**state, **kwargs})


def followed(token: str, prob: np.ndarray, rank: np.ndarray, lens: str = "logit") -> dict[str, Any]:
    tracks = {"prob": _base.to_wire(prob.astype(np.float32)), "rank": _base.to_wire(rank.astype(np.float32))}
    return {"token": token, "code": 0, "planes": [{"lens": lens, "source": "residual", **tracks}]}


PATHS = {
    " Rome": [0.00, 0.00, 0.00, 0.00, 0.01, 0.02, 0.05, 0.14, 0.31, 0.52, 0.68, 0.79, 0.83],
    " the": [0.01, 0.02, 0.04, 0.09, 0.16, 0.24, 0.29, 0.22, 0.13, 0.07, 0.04, 0.02, 0.01],
    " Paris": [0.00, 0.00, 0.00, 0.01, 0.02, 0.05, 0.09, 0.17, 0.19, 0.14, 0.08, 0.04, 0.03],
}


def capital(**kwargs: Any) -> Lens:
    """The sentence of the picture: at its end Rome rises, the and Paris come and go."""
    probs, ids = drawn(13, 12)
    facts, state = dict(PATHS), []
    for row in range(13):
        last = sorted(((p[row], VOCAB.index(token)) for token, p in facts.items()), reverse=True)
        others = [i for i in ids[row, 11] if i not in [code for _, code in last]][:2]
        probs[row, 11] = [*(max(p, 2e-3) for p, _ in last), 1e-3, 5e-4]
        ids[row, 11] = [*(code for _, code in last), *others]
    for token, values in facts.items():
        prob, rank = np.full((13, 12), 1e-4), np.full((13, 12), 800.0)
        prob[:, 11] = values
        rank[:, 11] = [VOCAB_RANK(values[row], row, facts) for row in range(13)]
        state.append(followed(token, prob, rank))
    return made(
        **{
            "_planes": [plane(probs, ids)],
            "_followed": state,
            "target": " Rome",
            "pinned": [" the", " Paris"],
            "row": 8,
            "prompt": "".join(SENTENCE),
            "_has_model": True,
            **kwargs,
        }
    )


def VOCAB_RANK(value: float, row: int, facts: dict[str, list[float]]) -> float:
    return float(sum(other[row] > value for other in facts.values())) if value > 0.01 else 10 ** (3.5 - 0.3 * row)


# -- helpers ------------------------------------------------------------------------------------------------------


def spot(figure: Any, row: int, position: int, which: int = 0) -> dict[str, float]:
    """The middle of a cell, relative to what scrolls."""
    scroller = figure.locator(".iw-scroll").nth(which)
    wide, high, left = scroller.evaluate("el => [+el.dataset.cell, +el.dataset.row, el.scrollLeft]")
    return {"x": (position + 0.5) * wide - left, "y": 24 + (row + 0.5) * high}


def hover(figure: Any, row: int, position: int, which: int = 0) -> None:
    figure.locator(".iw-scroll").nth(which).hover(position=spot(figure, row, position, which))


def click(figure: Any, row: int, position: int) -> None:
    figure.locator(".iw-scroll").first.click(position=spot(figure, row, position))


def text(figure: Any, part: str) -> str:
    return figure.locator(f"[data-part={part}]").inner_text()


def cells(figure: Any, which: int = 0) -> list[str]:
    """What stands in the cells that are drawn, row by row."""
    return figure.locator(".iw-scroll").nth(which).locator("text.iw-cell").all_text_contents()


def bars(figure: Any) -> Any:
    return figure.locator("[data-part=tip] .iw-bar-row")


# -- mouse --------------------------------------------------------------------------------------------------------


def test_every_cell_shows_its_top_token(bridge):
    lens = made(rows=3)
    figure = bridge.show(lens)
    ids = np.frombuffer(lens._planes[0]["ids"]["data"], "<u2").reshape(3, 12, 5)
    expected = [VOCAB[code].replace(" ", "␣").replace("\n", "⏎") for code in ids[..., 0].ravel()]
    shown = cells(figure)
    assert len(shown) == 36
    assert all(is_start(here, token) for here, token in zip(shown, expected, strict=True))


def is_start(shown: str, token: str) -> bool:
    """Whether this is the token, or as much of it as there is room for."""
    return shown == token or (shown.endswith("…") and token.startswith(shown[:-1]))


def test_hovering_shows_the_top_tokens_of_a_cell_and_tells_python_nothing(bridge):
    lens = capital()
    figure = bridge.show(lens)
    hover(figure, 8, 11)
    bridge.until(lambda: bars(figure).count() == 5)
    assert bars(figure).all_text_contents()[:3] == ["pin ␣Rome0.310", "pin ␣Paris0.190", "pin ␣the0.130"]
    assert "Layer 7 after ␣is: ␣Rome 0.310" in text(figure, "readout")
    hover(figure, 2, 11)
    bridge.until(lambda: "Layer 1" in text(figure, "tip"))
    assert (lens.row, lens.locked) == (8, False)
    bridge.page.mouse.move(0, 0)
    bridge.until(lambda: "Layer 7" in text(figure, "tip"))


def test_where_there_is_no_room_beside_the_grid_the_card_floats_next_to_its_cell(bridge):
    bridge.page.set_viewport_size({"width": 860, "height": 900})
    figure = bridge.show(capital())
    tip = figure.locator("[data-part=tip]")
    assert tip.is_hidden()
    for row, position in [(9, 4), (1, 1), (12, 11)]:
        hover(figure, row, position)
        bridge.until(tip.is_visible)
        bridge.until(lambda row=row: f"Layer {row - 1}" in tip.inner_text())
        card, grid = tip.bounding_box(), figure.locator(".iw-scroll").bounding_box()
        at = spot(figure, row, position)
        x, y = grid["x"] + at["x"], grid["y"] + at["y"]
        assert not card["x"] < x < card["x"] + card["width"], "over its column"
        assert not card["y"] < y < card["y"] + card["height"], "over its row"
    bridge.page.mouse.move(0, 0)
    bridge.until(tip.is_hidden)


def test_a_click_holds_a_cell_and_a_second_one_lets_it_go(bridge):
    lens = capital()
    figure = bridge.show(lens)
    click(figure, 3, 4)
    bridge.until(lambda: lens.locked)
    assert (lens.row, lens.position) == (3, 4)
    hover(figure, 12, 1)
    assert "Layer 2" in text(figure, "tip"), "a held cell stays under another pointer position"
    click(figure, 3, 4)
    bridge.until(lambda: not lens.locked)


def test_a_token_of_the_card_is_pinned_by_a_click_and_python_is_asked_for_its_path(bridge):
    lens = capital(locked=True)
    figure = bridge.show(lens)
    token = bars(figure).nth(3).locator(".iw-bar-name").inner_text().replace("␣", " ")
    bars(figure).nth(3).click()
    bridge.until(lambda: lens.pinned == [" the", " Paris", token])
    assert {"type": "follow", "tokens": [" Rome", " the", " Paris", token]} in lens.heard
    assert figure.locator(".iw-pin").count() == 4
    figure.get_by_role("button", name="unpin the").click()
    bridge.until(lambda: lens.pinned == [" Paris", token])


def test_a_pinned_token_that_was_not_followed_has_gaps_and_says_so(bridge):
    figure = bridge.show(capital(_followed=[]))
    assert "Gaps: not among the top 5" in figure.inner_text()
    lens = capital()
    figure = bridge.show(lens)
    assert "Gaps" not in figure.inner_text()


# -- python -------------------------------------------------------------------------------------------------------


def test_what_python_sets_moves_every_view(bridge):
    lens = capital()
    first, second = bridge.show(lens), bridge.show(lens)
    lens.row, lens.position, lens.measure = 12, 11, "rank"
    for figure in (first, second):
        bridge.until(lambda figure=figure: "Layer 11 after ␣is: ␣Rome rank 0" in text(figure, "readout"))


@pytest.mark.parametrize("measure", ["probability", "rank", "entropy", "kl"])
def test_every_measure_has_its_colours_its_legend_and_its_lines(bridge, measure):
    lens = capital()
    figure = bridge.show(lens)
    names = {"probability": "Probability", "rank": "Rank", "entropy": "Entropy", "kl": "KL"}
    figure.get_by_role("radio", name=names[measure]).click()
    bridge.until(lambda: lens.measure == measure)
    bridge.until(lambda: measure in figure.locator(".iw-below-grid").inner_text().lower())
    lines = figure.locator("[data-part=trajectories] path[stroke-linejoin=round]").count()
    assert lines == (6 if measure in ("probability", "rank") else 2), "each line with its halo"
    if measure == "rank":
        assert cells(figure)[:12] == ["800"] * 11 + ["3162"]


def test_measures_that_are_not_known_cannot_be_chosen(bridge):
    probs, ids = drawn(4, 12)
    meta = {"model": "", "layers": 4, "tokens": 12, "k": 5, "has_entropy": False, "has_kl": False}
    figure = bridge.show(made(rows=4, _planes=[plane(probs, ids, nats=False)], _meta=meta))
    assert figure.get_by_role("radio").all_text_contents() == ["Probability", "Rank"]


def test_the_target_is_marked_where_it_is_on_top(bridge):
    lens = capital()
    figure = bridge.show(lens)
    ids = np.frombuffer(lens._planes[0]["ids"]["data"], "<u2").reshape(13, 12, 5)[..., 0]
    marked = figure.locator(".iw-scroll rect[width='4']")
    assert marked.count() == (ids == VOCAB.index(" Rome")).sum()
    figure.get_by_role("combobox", name="Target").select_option("")
    bridge.until(lambda: lens.target == "")
    follows = [VOCAB.index(token) for token in SENTENCE[1:]]
    bridge.until(lambda: marked.count() == (ids[:, :-1] == follows).sum())
    assert {"type": "follow", "tokens": [" the", " Paris"]} in lens.heard


def test_a_token_that_is_nowhere_on_top_is_pinned_by_its_text(bridge):
    lens = capital()
    figure = bridge.show(lens)
    box = figure.get_by_role("textbox", name="pin a token")
    box.fill("␣Madrid")
    box.press("Enter")
    bridge.until(lambda: " Madrid" in lens.pinned)
    assert box.input_value() == ""


# -- two lenses, other sources ------------------------------------------------------------------------------------


def both(tokens: list[str], **kwargs: Any) -> Lens:
    planes = [plane(*drawn(13, len(tokens), seed=seed), lens=lens) for seed, lens in ((0, "logit"), (4, "tuned"))]
    return made(tokens, **{"_planes": planes, "compare": "tuned", **kwargs})


@pytest.mark.parametrize(("count", "beside"), [(4, True), (12, False)])
def test_two_lenses_share_rows_selection_and_pins(bridge, count, beside):
    tokens = SENTENCE[:count]
    lens = both(tokens, pinned=[" the"])
    figure = bridge.show(lens)
    left, right = (figure.locator(".iw-scroll").nth(i).bounding_box() for i in (0, 1))
    assert (left["y"] == right["y"]) == beside
    click(figure, 5, 1)
    bridge.until(lambda: (lens.row, lens.position) == (5, 1))
    assert text(figure, "tip").count("entropy") == 2
    dashed = figure.locator("[data-part=trajectories] [stroke-dasharray]")
    assert dashed.count() == figure.locator("[data-part=trajectories] path[stroke-linejoin=round]").count() / 4
    figure.get_by_role("combobox", name="Beside").select_option("")
    bridge.until(lambda: lens.compare == "")
    bridge.until(lambda: figure.locator(".iw-scroll").count() == 1)


def test_the_card_floats_next_to_the_grid_under_the_pointer(bridge):
    bridge.page.set_viewport_size({"width": 860, "height": 1000})
    figure = bridge.show(both(SENTENCE))
    tip = figure.locator("[data-part=tip]")
    tops = []
    for which in (0, 1):
        hover(figure, 9, 4, which)
        bridge.until(tip.is_visible)
        bridge.page.wait_for_timeout(50)
        tops.append(tip.bounding_box()["y"])
        assert tip.inner_text().count("entropy") == 2
    grids = [figure.locator(".iw-scroll").nth(i).bounding_box()["y"] for i in (0, 1)]
    assert abs((tops[1] - tops[0]) - (grids[1] - grids[0])) < 40


def test_a_lens_that_is_not_there_yet_is_asked_for_once(bridge):
    lens = capital(_meta={**capital()._meta, "lenses": ["logit", "tuned"], "sources": ["residual", "mlp"]})
    figure = bridge.show(lens)
    figure.get_by_role("combobox", name="Source").select_option("mlp")
    bridge.until(lambda: {"type": "plane", "lens": "logit", "source": "mlp"} in lens.heard)
    assert "Computing the lens logit" in text(figure, "state")
    lens.position = 3
    bridge.pump()
    assert [message["type"] for message in lens.heard].count("plane") == 1
    lens._planes = [*lens._planes, plane(*drawn(13, 12, seed=7), source="mlp")]
    bridge.until(lambda: len(cells(figure)) == 156)


# -- keyboard and screen reader -----------------------------------------------------------------------------------


def test_the_keyboard_moves_holds_pins_and_copies(bridge):
    lens = capital(pinned=[])
    bridge.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    figure = bridge.show(lens)
    figure.locator("[data-part=map]").focus()
    for key, expected in [
        ("ArrowUp", (7, 11)),
        ("ArrowLeft", (7, 10)),
        ("Home", (7, 0)),
        ("PageDown", (12, 0)),
        ("PageDown", (12, 0)),
        ("PageUp", (7, 0)),
        ("End", (7, 11)),
        ("ArrowRight", (7, 11)),
    ]:
        bridge.page.keyboard.press(key)
        bridge.until(lambda expected=expected: (lens.row, lens.position) == expected)
    bridge.until(lambda: "Layer 6, after is, position 11: the 0.220" in text(figure, "live"))
    assert figure.locator("[data-part=tip]").is_visible(), "the card is there for the keyboard, too"
    bridge.page.keyboard.press("Enter")
    bridge.until(lambda: lens.locked)
    bridge.page.keyboard.press("p")
    bridge.until(lambda: lens.pinned == [" the"])
    bridge.page.keyboard.press("c")
    bridge.until(lambda: "copied" in text(figure, "live"))
    copied = bridge.page.evaluate("navigator.clipboard.readText()").split("\t")
    assert copied[:4] == ["6", "11", " is", " the"]
    bridge.page.keyboard.press("Escape")
    bridge.until(lambda: not lens.locked)


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: run `npm ci` in frontend/")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(bridge, theme):
    bridge.theme(theme)
    bridge.page.evaluate("theme => { document.body.style.background = theme === 'dark' ? '#111' : '#fff' }", theme)
    bridge.show(capital(locked=True))
    bridge.show(both(SENTENCE))
    bridge.page.add_script_tag(path=AXE)
    found = bridge.page.evaluate("axe.run('main')")
    assert [(v["id"], v["nodes"][0]["html"][:150]) for v in found["violations"]] == []


def test_keys_reach_no_shortcut_of_the_host(bridge):
    figure = bridge.show(capital())
    bridge.page.evaluate("document.addEventListener('keydown', (event) => { globalThis.heard = event.key; })")
    figure.locator("[data-part=map]").focus()
    bridge.page.keyboard.press("ArrowDown")
    bridge.page.keyboard.press("c")
    assert bridge.page.evaluate("globalThis.heard") is None
    bridge.page.keyboard.press("x")
    assert bridge.page.evaluate("globalThis.heard") == "x"


# -- sizes, odd tokens --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tokens", "rows"), [(1, 1), (2, 3), (128, 31)])
def test_sizes_at_the_edge(bridge, tokens, rows):
    lens = made([f" {i}" for i in range(tokens)], rows)
    figure = bridge.show(lens)
    click(figure, 0, tokens - 1)
    bridge.until(lambda: lens.locked)
    assert (lens.row, lens.position) == (0, tokens - 1)
    assert bridge.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_long_text_scrolls_with_the_chosen_column_in_sight_and_draws_only_what_is_seen(bridge):
    lens = made([f" {i}" for i in range(128)], 31)
    figure = bridge.show(lens)
    scroller = figure.locator(".iw-scroll")
    assert "of 128" in figure.locator(".iw-meta").inner_text()
    assert len(cells(figure)) < 31 * 30
    assert scroller.evaluate("el => el.scrollLeft + el.clientWidth >= el.scrollWidth - 1")
    lens.position = 5
    bridge.until(lambda: scroller.evaluate("el => el.scrollLeft <= 5 * el.dataset.cell"))
    bridge.until(lambda: "positions 5" in figure.locator(".iw-meta").inner_text())
    overview = figure.locator("[data-part=overview] canvas")
    overview.click(position={"x": overview.bounding_box()["width"] * 100.5 / 128, "y": 40})
    bridge.until(lambda: lens.position == 100)
    bridge.until(lambda: scroller.evaluate("el => el.scrollLeft + el.clientWidth >= 101 * el.dataset.cell - 1"))


@pytest.mark.parametrize("width", [320, 420, 700, 1200])
def test_nothing_scrolls_the_page_sideways(bridge, width):
    bridge.page.set_viewport_size({"width": width, "height": 900})
    figure = bridge.show(both(SENTENCE, _has_model=True, prompt="one two", pinned=[" the", " Paris"]))
    bridge.page.wait_for_timeout(100)
    assert bridge.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert float(figure.locator(".iw-scroll").first.get_attribute("data-cell")) >= 46


def test_odd_tokens_are_shown_and_never_run(bridge):
    lens = made(HOSTILE, vocab=HOSTILE, target="</script>", pinned=[HOSTILE[0], HOSTILE[10]], locked=True)
    figure = bridge.show(lens)
    assert figure.locator("img").count() == 0
    heads = (
        figure.locator(".iw-scroll svg").nth(1).locator("text").all_text_contents()[::2]
    )  # every other one is what follows
    assert heads[1].startswith("</scri")
    assert heads[8] == "\\u200b"
    assert bridge.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


# -- states -------------------------------------------------------------------------------------------------------


def test_before_the_numbers_come_the_frame_stands_and_progress_runs(bridge):
    busy = {"state": "busy", "text": "Reading layer 3 of 12", "progress": 0.25}
    lens = capital(_planes=[], _followed=[], _status=busy)
    figure = bridge.show(lens)
    assert text(figure, "state") == "Reading layer 3 of 12"
    assert cells(figure) == []
    assert figure.locator(".iw-scroll rect").count() == 156
    assert figure.locator("[data-part=run]").is_disabled()
    full = capital()
    lens._planes, lens._status = full._planes, full._status
    bridge.until(lambda: len(cells(figure)) == 156)


def test_an_error_says_what_to_do_and_the_former_picture_stays(bridge):
    wrong = {"title": "' Roma' is 2 tokens.", "rows": [["expected", "one"], ["got", "2"]], "advice": "Pass one."}
    lens = capital(_error=wrong)
    figure = bridge.show(lens)
    assert "Pass one." in figure.get_by_role("alert").inner_text()
    assert len(cells(figure)) == 156
    figure.get_by_role("button", name="dismiss").click()
    bridge.until(lambda: lens._error is None)


def test_without_a_kernel_everything_already_computed_still_works(bridge):
    lens = capital()
    figure = bridge.show(lens)
    bridge.kernel = False
    figure.get_by_role("combobox", name="Target").select_option(" the")
    bridge.page.wait_for_function("document.querySelector('[data-part=state]').textContent.includes('busy or gone')")
    figure.get_by_role("radio", name="Entropy").click()
    hover(figure, 8, 11)
    bridge.until(lambda: "entropy" in text(figure, "readout"))


def test_without_tokens_it_says_what_to_do(bridge):
    meta = {"model": "", "layers": 2, "tokens": 0, "k": 0, "has_entropy": False, "has_kl": False}
    figure = bridge.show(Lens(tokens=[], _rows=["0", "1"], _meta=meta))
    assert "No tokens to read" in figure.inner_text()


def test_a_removed_view_leaves_no_listener(bridge):
    lens = capital()
    bridge.pump()
    before = bridge.listening(lens)
    for _ in range(5):
        bridge.remove(bridge.show(lens))
    assert bridge.listening(lens) == before
    lens.row = 3
    bridge.pump()


def test_the_table_and_the_drawing_are_saved(bridge, tmp_path):
    figure = bridge.show(capital(tokens=["=1+1", *SENTENCE[1:]]))
    files = {}
    for name in ("All cells", "Drawing"):
        figure.get_by_role("button", name="Export").click()
        with bridge.page.expect_download() as found:
            figure.get_by_role("menuitem", name=name).click()
        found.value.save_as(tmp_path / "file")
        files[name] = (tmp_path / "file").read_text("utf-8-sig")
    lines = files["All cells"].splitlines()
    assert lines[0].startswith("layer,position,token,lens,source,entropy,kl,token 1,probability 1")
    assert lines[1].startswith("emb,0,'=1+1,logit,residual,")
    assert len(lines) >= 157
    assert files["Drawing"].startswith("<svg")
    assert "clip-path" in files["Drawing"]


# -- the real thing -----------------------------------------------------------------------------------------------


def test_a_model_is_read_again_for_a_new_prompt_and_for_what_is_chosen(bridge):
    pytest.importorskip("torch")
    from interpwidgets import load
    from interpwidgets.widgets.logit_lens import LogitLens

    lens = LogitLens.from_model(load("demo"), "one two one two")
    figure = bridge.show(lens)
    map_ = figure.locator("[data-part=map]")
    map_.focus()
    bridge.page.keyboard.press("p")
    bridge.until(lambda: len(lens.pinned) == 1)
    bridge.until(lambda: lens.pinned[0] in [one["token"] for one in lens._followed])
    assert "Gaps" not in figure.locator(".iw-pins").inner_text()
    probs = lens.selected["probs"]
    bridge.until(lambda: f"{probs[0]:.3f}" in text(figure, "readout"))
    box = figure.locator("[data-part=prompt] textarea")
    box.fill("three four three")
    box.press("Enter")
    bridge.until(lambda: lens.prompt == "three four three")
    bridge.until(lambda: "three" in figure.locator(".iw-scroll").inner_text())
    box.fill("")
    figure.locator("[data-part=run]").click()
    bridge.until(lambda: figure.get_by_role("alert").count() == 1)
