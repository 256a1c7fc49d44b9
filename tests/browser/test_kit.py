"""The parts that widgets share, each on the gallery page: in both themes and narrow, by mouse and by keys."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

FRONTEND = Path(__file__).parents[2] / "frontend"
ESBUILD = FRONTEND / "node_modules" / ".bin" / "esbuild"
AXE = FRONTEND / "node_modules" / "axe-core" / "axe.min.js"
pytestmark = pytest.mark.skipif(not ESBUILD.exists(), reason="esbuild is not here: run `npm ci` in frontend/")


@pytest.fixture(scope="module")
def code() -> str:
    """The gallery, bundled as `npm run gallery` does."""
    command = [ESBUILD, "src/gallery.ts", "--bundle", "--format=esm", "--loader:.css=text"]
    return subprocess.run(command, cwd=FRONTEND, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def kit(bridge, code):
    """``kit(theme, width)``: the page with every part."""

    def show(theme: str = "light", width: int = 1000) -> Any:
        bridge.page.set_viewport_size({"width": width, "height": 900})
        bridge.page.emulate_media(color_scheme=theme)
        bridge.page.add_script_tag(content=code, type="module")
        bridge.page.wait_for_selector("[data-widget=gallery]")
        bridge.page.wait_for_timeout(50)
        return bridge.page.locator("[data-widget=gallery]")

    return show


def part(page: Any, name: str) -> Any:
    return page.locator(f"[data-kit='{name}']")


def live(page: Any) -> str:
    return page.locator("[data-part=live]").inner_text()


@pytest.mark.parametrize(("theme", "width"), [("light", 1000), ("dark", 1000), ("light", 420)])
def test_every_part_is_on_the_page_and_nothing_scrolls_it_sideways(kit, bridge, shot, theme, width):
    shown = kit(theme, width)
    names = shown.locator("[data-kit]").evaluate_all("parts => parts.map(part => part.dataset.kit)")
    assert len(names) == 10
    for name in names:
        box = part(shown, name).bounding_box()
        assert box["height"] > 20, f"{name} is empty"
    assert bridge.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    bridge.page.set_viewport_size({"width": width, "height": int(shown.bounding_box()["height"]) + 40})
    shot(bridge.page, f"kit_{theme}_{width}")


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: run `npm ci` in frontend/")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_parts_pass_axe(kit, bridge, theme):
    kit(theme)
    bridge.page.add_script_tag(path=AXE)
    found = bridge.page.evaluate("axe.run('[data-widget=gallery]')")
    assert [(v["id"], v["nodes"][0]["html"][:120]) for v in found["violations"]] == []


def test_a_map_tells_the_cell_under_the_pointer_and_a_click_chooses_it(kit, bridge):
    shown = kit()
    canvas = part(shown, "heat map, legend").locator("canvas")
    size = canvas.bounding_box()["width"] / 12
    canvas.hover(position={"x": 2.5 * size, "y": 9.5 * size})
    bridge.until(lambda: "row 9, column 2" in shown.locator("[data-part=state]").inner_text())
    canvas.click(position={"x": 2.5 * size, "y": 9.5 * size})
    bridge.until(lambda: live(shown) == "row 9, column 2")
    canvas.hover(position={"x": 9.5 * size, "y": 2.5 * size})
    bridge.until(lambda: "row 9, column 2" in shown.locator("[data-part=state]").inner_text())


def test_cells_are_whole_device_pixels(kit, bridge):
    shown = kit()
    canvas = part(shown, "heat map, legend").locator("canvas")
    sizes = canvas.evaluate("c => [c.width / 12, c.getBoundingClientRect().width * devicePixelRatio - c.width]")
    assert sizes[0] == int(sizes[0])
    assert abs(sizes[1]) < 0.01


def test_a_line_chart_marks_the_step_under_the_pointer(kit, bridge):
    chart = part(kit(), "line chart, down").locator("svg[role=img]")
    shapes = "svg => [...svg.querySelectorAll('path')].filter((p) => /^M.*z$/.test(p.getAttribute('d'))).length"
    assert chart.evaluate(shapes) == 3
    chart.hover(position={"x": 100, "y": 24 + 5.5 * 20})
    bridge.until(lambda: chart.evaluate(shapes) == 2)


@pytest.mark.parametrize("way", ["down", "across"])
def test_lines_are_named_where_they_run(kit, way):
    names = part(kit(), f"line chart, {way}").locator("text.iw-line-name")
    assert names.all_text_contents() == ["␣Rome", "␣the", "␣Paris"]


def test_a_bar_is_pressed_by_the_keyboard_and_keeps_the_focus(kit, bridge):
    bars = part(kit(), "bar list").locator("button")
    bars.nth(2).focus()
    bridge.page.keyboard.press("Enter")
    bridge.until(lambda: bars.nth(2).get_attribute("aria-pressed") == "true")
    assert bars.nth(1).get_attribute("aria-pressed") == "false"
    assert bars.nth(2).evaluate("button => button === document.activeElement")


def test_a_slider_moves_by_keys_and_says_its_value(kit, bridge):
    slider = part(kit(), "controls").get_by_role("slider", name="Sparsity")
    slider.focus()
    bridge.page.keyboard.press("ArrowRight")
    bridge.until(lambda: slider.get_attribute("aria-valuetext") == "0.94")
    bridge.page.keyboard.press("End")
    bridge.until(lambda: slider.get_attribute("aria-valuetext") == "1.00")


def test_odd_tokens_are_shown_and_never_run(kit):
    shown = kit()
    text = part(shown, "token strip").inner_text()
    assert "<img␣src=x␣onerror=alert(1)>" in text
    assert "\\u202e" in text
    assert shown.locator("img").count() == 0


def test_the_export_menu_saves_a_picture(kit, bridge, tmp_path):
    shown = kit()
    shown.get_by_role("button", name="Export").click()
    with bridge.page.expect_download() as found:
        shown.get_by_role("menuitem", name="Drawing").click()
    found.value.save_as(tmp_path / "kit.svg")
    drawing = (tmp_path / "kit.svg").read_text()
    assert found.value.suggested_filename == "kit.svg"
    assert "␣Rome" in drawing.replace('<tspan class="iw-space" dy="-1.5">␣</tspan><tspan dy="1.5">', "␣")
