"""SuperpositionToy as people use it: it trains by itself, is scrubbed, clicked, typed into, alone and with Python."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interpwidgets.widgets.superposition_toy import SuperpositionToy

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
SEEDS = range(10)
ANGLES = 2 * np.pi * np.arange(5) / 5
PENTAGON = np.stack([np.cos(ANGLES), np.sin(ANGLES)])


def part(figure: Any, name: str) -> Any:
    return figure.locator(f"[data-part={name}]")


def trained(bridge: Any, figure: Any) -> Any:
    bridge.until(lambda: "trained in this page" in part(figure, "state").inner_text(), 30)
    return figure


@pytest.fixture
def toy() -> SuperpositionToy:
    return SuperpositionToy(seed=4)


def step(figure: Any) -> int:
    return int(part(figure, "scrub").input_value())


def dimensions(figure: Any) -> list[float]:
    """What is written beside the bars."""
    texts = part(figure, "dimensions").locator("text").all_text_contents()
    return [float(text) for text in texts if text != "dimensionality"]


# -- training -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 700, 852])
def test_it_trains_without_being_asked(bridge, shot, toy, theme, width):
    toy.theme, toy.chosen = theme, 2
    bridge.page.set_viewport_size({"width": width + 40, "height": 800})
    bridge.page.evaluate("theme => document.body.style.background = theme === 'dark' ? '#111' : '#fff'", theme)
    figure = trained(bridge, bridge.show(toy))
    assert "2/5, a pentagon" in part(figure, "overlap").inner_text()
    assert step(figure) == 1000
    assert bridge.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shot(figure, f"toy_{theme}_{width}")


def test_the_page_shows_the_weights_that_python_computes(bridge, toy):
    figure = trained(bridge, bridge.show(toy))
    toy.step = 300
    bridge.until(lambda: step(figure) == 300)
    W = toy.selected
    texts = part(figure, "overlap").locator("svg[role=img]").first.locator("text").all_text_contents()
    cells = [float(text.replace("−", "-")) for text in texts if "." in text]
    np.testing.assert_allclose(np.reshape(cells, (5, 5)), W.T @ W, atol=0.0051)


def test_five_features_reach_the_pentagon_in_the_page(bridge):
    toy = SuperpositionToy()
    figure = bridge.show(toy)
    reached = 0
    for seed in SEEDS:
        toy.seed = seed
        bridge.pump()
        trained(bridge, figure)
        reached += all(abs(value - 0.4) < 0.05 for value in dimensions(figure))
    assert reached >= 9


def test_training_leaves_the_page_to_its_reader(bridge):
    """No frame of the training holds the page for long: what is measured is steps between frames, not time."""
    figure = bridge.show(SuperpositionToy(features=12, hidden=6, sparsity=0.2))
    seen = set()
    bridge.until(lambda: seen.add(step(figure)) or len(seen) > 3 or 1000 in seen, 30)
    assert len(seen) > 2, "the picture moves while it trains"
    trained(bridge, figure)


def test_all_is_shown_at_once_where_motion_is_reduced(bridge, toy):
    bridge.page.emulate_media(reduced_motion="reduce")
    figure = bridge.show(toy)
    seen = set()
    bridge.until(lambda: seen.add(step(figure)) or 1000 in seen, 30)
    assert seen <= {0, 1000}
    part(figure, "play").click()
    assert not toy.playing
    part(figure, "play").click()
    bridge.until(lambda: toy.step == 100)


# -- settings -----------------------------------------------------------------------------------------------------


def test_a_slider_trains_anew_and_python_follows(bridge, toy):
    figure = trained(bridge, bridge.show(toy))
    figure.get_by_role("slider", name="Features").fill("7")
    bridge.until(lambda: toy.features == 7)
    bridge.until(lambda: len(dimensions(figure)) == 7, 30)
    assert "7 features in 2 dimensions" in figure.inner_text()
    assert toy._phase_of == [7, 2]
    figure.get_by_role("slider", name="Hidden size").fill("1")
    bridge.until(lambda: toy.hidden == 1)
    trained(bridge, figure)


def test_without_a_kernel_everything_trains_and_the_map_says_what_it_is_of(bridge, toy):
    bridge.kernel = False
    figure = trained(bridge, bridge.show(toy))
    figure.get_by_role("slider", name="Features").fill("6")
    bridge.until(lambda: len(dimensions(figure)) == 6, 30)
    assert "This map is of 5 features in 2." in part(figure, "phase").inner_text()
    part(figure, "phase").get_by_role("button").click()
    bridge.until(lambda: len(dimensions(figure)) == 5, 30)
    assert "This map" not in part(figure, "phase").inner_text()


def test_a_click_into_the_phase_diagram_takes_the_toy_there(bridge, toy):
    figure = trained(bridge, bridge.show(toy))
    canvas = part(figure, "phase").locator("canvas")
    canvas.hover(position={"x": 6, "y": 6})
    bridge.until(lambda: "sparsity 0.00, decay 1.00" in part(figure, "phase").inner_text())
    canvas.click(position={"x": 23.5 * 12, "y": 13.5 * 12})
    bridge.until(lambda: (toy.sparsity, toy.decay) == (0.99, 0.4))
    part(figure, "phase").get_by_role("application").focus()
    bridge.page.keyboard.press("ArrowUp")
    bridge.until(lambda: toy.decay == 0.446)
    bridge.until(lambda: "decay 0.45" in part(figure, "live").inner_text())


def test_reset_goes_back_to_what_the_page_opened_with(bridge, toy):
    figure = trained(bridge, bridge.show(toy))
    toy.sparsity, toy.features, toy.step = 0.5, 3, 20
    bridge.until(lambda: len(dimensions(figure)) == 3, 30)
    part(figure, "reset").click()
    bridge.until(lambda: (toy.sparsity, toy.features, toy.step) == (0.93, 5, 1000))
    bridge.until(lambda: len(dimensions(figure)) == 5, 30)


# -- steps and features -------------------------------------------------------------------------------------------


def test_the_slider_and_the_loss_go_to_a_step(bridge, toy):
    figure = trained(bridge, bridge.show(toy))
    part(figure, "scrub").fill("250")
    bridge.until(lambda: toy.step == 250)
    assert "step 250" in part(figure, "arrows").inner_text()
    box = part(figure, "loss").locator("svg").first.bounding_box()
    part(figure, "loss").locator("svg").first.click(position={"x": 36 + (box["width"] - 44) / 2, "y": 60})
    bridge.until(lambda: abs(toy.step - 500) <= 5)


def test_play_runs_through_the_training_and_stops_where_it_is_paused(bridge, toy):
    figure = trained(bridge, bridge.show(toy))
    part(figure, "play").click()
    bridge.until(lambda: toy.playing)
    bridge.until(lambda: 0 < step(figure) < 1000)
    part(figure, "play").click()
    bridge.until(lambda: not toy.playing)
    assert 0 < toy.step < 1000
    assert step(figure) == toy.step
    toy.step, toy.playing = 900, True
    bridge.until(lambda: not toy.playing, 20)
    assert toy.step == 1000


def test_the_keyboard_plays_steps_and_chooses(bridge, toy):
    figure = trained(bridge, bridge.show(toy))
    part(figure, "arrows").focus()
    bridge.page.keyboard.press("ArrowLeft")
    bridge.until(lambda: toy.step == 990)
    bridge.until(lambda: part(figure, "live").inner_text().startswith("step 990, loss"))
    bridge.page.keyboard.press("Shift+ArrowRight")
    bridge.until(lambda: toy.step == 991)
    bridge.page.keyboard.press("4")
    bridge.until(lambda: toy.chosen == 3)
    bridge.until(lambda: "feature 4, length 1." in part(figure, "live").inner_text())
    assert "2/5, a pentagon" in part(figure, "live").inner_text()
    bridge.page.keyboard.press("ArrowDown")
    bridge.until(lambda: toy.chosen == 4)
    bridge.page.keyboard.press("Home")
    bridge.until(lambda: toy.step == 0)
    bridge.page.keyboard.press(" ")
    bridge.until(lambda: toy.playing)
    bridge.page.keyboard.press(" ")
    bridge.until(lambda: not toy.playing)


def test_a_click_chooses_a_feature(bridge, toy):
    figure = trained(bridge, bridge.show(toy))
    canvas = part(figure, "overlap").locator("canvas")
    canvas.hover(position={"x": 60, "y": 100})
    bridge.until(lambda: "3 and 2 " in part(figure, "overlap").inner_text())
    canvas.click(position={"x": 60, "y": 100})
    bridge.until(lambda: toy.chosen == 2)
    W = toy.selected[:, 1]
    middle = {"x": 132 + 60 * W[0], "y": 132 - 60 * W[1]}
    part(figure, "arrows").locator("svg").click(position=middle)
    bridge.until(lambda: toy.chosen == 1)


# -- weights from Python ------------------------------------------------------------------------------------------


def test_weights_of_ones_own_are_shown_while_they_train(bridge, shot):
    toy = SuperpositionToy.from_weights(0.1 * PENTAGON, title="Mine")
    figure = bridge.show(toy)
    assert "weights from Python" in figure.inner_text()
    assert not part(figure, "parameters").is_visible()
    for i in range(1, 40):
        toy.show((0.1 + i / 50) * PENTAGON, step=10 * i, loss=1 / i)
    bridge.until(lambda: "step 390" in part(figure, "arrows").inner_text())
    assert dimensions(figure) == [0.4] * 5
    part(figure, "scrub").fill("5")
    bridge.until(lambda: toy.step == 50)
    toy.show(PENTAGON, step=400)
    bridge.pump()
    assert "step 50" in part(figure, "arrows").inner_text(), "who looks at an earlier step stays there"
    shot(figure, "toy_sent")


def test_many_features_are_shown_too(bridge, shot):
    W = np.random.default_rng(0).normal(size=(20, 80)) / 4
    figure = bridge.show(SuperpositionToy.from_weights(W))
    assert "80 features in 20 dimensions" in figure.inner_text()
    assert not part(figure, "scrub").is_visible()
    shot(figure, "toy_80")


# -- everybody ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "theme"), [(360, "light"), (900, "dark")])
def test_axe_finds_nothing_to_complain_about(bridge, toy, theme, width):
    if not AXE.exists():
        pytest.skip("axe-core is not here: run `npm ci` in frontend/")
    toy.theme = theme
    bridge.page.set_viewport_size({"width": width, "height": 900})
    bridge.page.evaluate("theme => document.body.style.background = theme === 'dark' ? '#111' : '#fff'", theme)
    trained(bridge, bridge.show(toy))
    bridge.page.add_script_tag(path=AXE)
    found = bridge.page.evaluate("axe.run('main').then(({ violations }) => violations)")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def test_two_views_show_the_same_and_a_view_that_is_gone_leaves_nothing(bridge, toy):
    first, second = trained(bridge, bridge.show(toy)), trained(bridge, bridge.show(toy))
    part(first, "scrub").fill("400")
    bridge.until(lambda: step(second) == 400)
    assert dimensions(first) == dimensions(second)


def test_the_picture_can_be_taken_away(bridge, toy):
    figure = trained(bridge, bridge.show(toy))
    figure.get_by_role("button", name="Export").click()
    with bridge.page.expect_download() as waiting:
        figure.get_by_role("menuitem", name="Weights").click()
    rows = Path(waiting.value.path()).read_text(encoding="utf-8-sig").split("\n")
    assert rows[0].strip() == "feature,h1,h2,bias,length,dimensionality"
    np.testing.assert_allclose(float(rows[1].split(",")[1]), toy.selected[0, 0], atol=1e-9)


@pytest.mark.slow
def test_an_exported_page_trains_without_kernel_and_network(exported):
    page = exported("from interpwidgets.widgets.superposition_toy import SuperpositionToy", "SuperpositionToy(seed=4)")
    figure = page.locator("[data-widget=superposition_toy]")
    page.wait_for_function(
        "() => document.querySelector('[data-widget=superposition_toy] [data-part=state]')"
        "?.textContent.includes('trained in this page')"
    )
    assert "2/5, a pentagon" in part(figure, "overlap").inner_text()
    figure.get_by_role("slider", name="Features").fill("3")
    page.wait_for_function("() => document.querySelectorAll('[data-part=dimensions] rect').length === 6")


CELLS = ("from interpwidgets import SuperpositionToy", "toy = SuperpositionToy(seed=4)\ntoy")


def seen(page: Any, what: Callable[[], bool]) -> None:
    """Wait for it; a locator looks through marimo's shadow roots, a selector in a script does not."""
    for _ in range(600):
        if what():
            return
        page.wait_for_timeout(100)
    raise AssertionError("not within a minute")


def lives(page: Any) -> Any:
    """The toy trains, and a slider trains another."""
    figure = page.locator("[data-widget=superposition_toy]")
    figure.wait_for(timeout=60_000)
    seen(page, lambda: "2/5, a pentagon" in part(figure, "overlap").inner_text())
    figure.get_by_role("slider", name="Features").fill("3")
    seen(page, lambda: part(figure, "dimensions").locator("rect").count() == 6)
    return figure


def test_the_toy_lives_in_jupyterlab(notebook):
    lives(notebook.run(*CELLS))
    assert notebook.python("toy.features") == "3"
    assert notebook.python("toy.selected.shape") == "(2, 3)"


def test_the_toy_lives_in_marimo(marimo):
    lives(marimo(*CELLS))
