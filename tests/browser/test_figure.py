"""Figures in front of a reader: in JupyterLab, in marimo and in an exported page; no host may ask the network."""

from pathlib import Path
from typing import Any

import pytest

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = '<b>bold</b> <a href="https://example.org">&lt; $x$</a>'
FIGURE = f"""
import plotly.graph_objects as go
from interpwidgets.widgets.figure import figure
steps = list(range(0, 2000, 100))
scores = [0.02 if step < 600 else 0.9 - 0.9 * 2 ** (-(step - 500) / 100) for step in steps]
first, second = go.Scatter(x=steps, y=scores, name={HOSTILE!r}), go.Scatter(x=steps, y=scores[::-1], name="L1 H1")
lines = go.Figure([first, second])
lines.update_layout(xaxis_title="training step", yaxis_title="induction score")
shown = figure(lines, alt="The score of L1 H0 rises from 0.02 to 0.9 within 600 steps.", title="Two heads of layer 1",
    caption="Induction score on repeated tokens: how much a head looks at the token after the last copy of this one. "
    "It rises within 600 steps.")
shown
"""


def texts(page: Any) -> str:
    """All text of the figure, once it is drawn."""
    page.locator("svg.main-svg").first.wait_for(timeout=20_000)
    return "\n".join(page.locator("svg.main-svg text").all_text_contents())


def test_jupyterlab_shows_a_figure_and_its_texts_as_they_are(notebook, shot):
    page = notebook.run(FIGURE)
    assert HOSTILE in texts(page)
    assert page.locator("svg.main-svg a").count() == 0
    drawn = page.locator(".jp-OutputArea-output").first
    shot(drawn, "figure_lab_light")
    height = drawn.bounding_box()["height"]
    page.evaluate("() => jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    page.wait_for_timeout(500)  # the style sheet of the theme
    shot(drawn, "figure_lab_dark")
    assert drawn.bounding_box()["height"] == height
    page.evaluate("() => jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Light' })")
    page.locator("body[data-jp-theme-light=true]").wait_for(state="attached")


def test_a_screen_reader_finds_the_alt_text_in_jupyterlab(notebook):
    page = notebook.run(FIGURE)
    texts(page)
    spoken = page.locator(".jp-RenderedPlotly").aria_snapshot()
    assert "The score of L1 H0 rises from 0.02 to 0.9 within 600 steps." in spoken


def test_what_jupyterlab_saves_is_small(notebook):
    texts(notebook.run(FIGURE))
    data = notebook.save().cells[0].outputs[0].data
    assert set(data) <= {"application/vnd.plotly.v1+json", "text/plain", "image/png"}  # JupyterLab adds a picture
    assert sum(len(str(value)) for value in data.values()) < 100_000


def test_marimo_shows_a_figure_by_itself(marimo, shot):
    page = marimo(FIGURE)
    assert HOSTILE in texts(page)
    assert "The score of L1 H0 rises from 0.02 to 0.9 within 600 steps." in page.locator("body").aria_snapshot()
    shot(page, "figure_marimo")
    page.watch.forgive("mathjax-full")  # marimo asks for MathJax with every figure of plotly, and draws without it
    page.watch.outside = [url for url in page.watch.outside if "mathjax" not in url]


# -- the exported page --------------------------------------------------------------------------------------------

HEAT = """
from interpwidgets.widgets.figure import figure
import plotly.graph_objects as go
words = ["Once", " upon", "<b>", " time"]
map_ = go.Figure(go.Heatmap(z=[[1, 0, 0, 0], [.5, .5, 0, 0], [.2, .3, .5, 0], [.1, .1, .1, .7]], x=words, y=words))
figure(map_.update_yaxes(autorange="reversed"), alt="Each token attends to itself and to the ones before it.")
"""


def ready(page: Any) -> Any:
    page.locator("html[data-interpwidgets=ready]").wait_for(state="attached", timeout=20_000)
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_exported_page_draws_figures_in_the_readers_colours(exported, shot, scheme):
    page = ready(exported(FIGURE, HEAT, color_scheme=scheme))
    assert HOSTILE in texts(page)
    strokes = page.locator(".js-line").evaluate_all("lines => lines.map((line) => getComputedStyle(line).stroke)")
    assert strokes[0] == {"light": "rgb(194, 65, 12)", "dark": "rgb(255, 138, 76)"}[scheme]
    shot(page, f"figure_export_{scheme}")


def test_a_figure_is_an_image_with_words_and_a_caption(exported):
    page = ready(exported(FIGURE, HEAT))
    image = page.get_by_role("img", name="The score of L1 H0 rises from 0.02 to 0.9 within 600 steps.")
    assert image.locator("svg.main-svg").count() > 0
    assert page.get_by_role("figure").first.locator("figcaption strong").inner_text() == "Two heads of layer 1"
    assert "Two heads" not in texts(page)  # once, not twice
    assert "rises from" not in texts(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_about(exported, scheme):
    if not AXE.exists():
        pytest.skip("axe-core is not here: run `npm ci` in frontend/")
    page = ready(exported(FIGURE, HEAT, color_scheme=scheme, bypass_csp=True))
    page.add_script_tag(path=AXE)
    found = page.evaluate("axe.run('.interpwidgets-plot').then((result) => result.violations)")
    assert not found, [(one["id"], one["nodes"][0]["html"][:200]) for one in found]


def test_a_token_under_the_pointer_reads_as_it_is(exported, shot):
    page = ready(exported(HEAT))
    page.locator(".nsewdrag").hover(position={"x": 40, "y": 200})
    label = page.locator(".hoverlayer text")
    label.first.wait_for()
    assert "<b>" in "".join(label.all_text_contents())
    assert "<b>" in page.locator(".ytick text").all_text_contents()
    shot(page, "figure_heat")


def test_figures_turn_with_the_theme_and_fit_a_narrow_page(exported, shot):
    page = ready(exported(FIGURE, HEAT, viewport={"width": 420, "height": 900}, color_scheme="light"))
    from playwright.sync_api import expect

    narrow = page.locator("svg.main-svg").first.get_attribute("width")
    page.emulate_media(color_scheme="dark")
    expect(page.locator(".js-line").first).to_have_css("stroke", "rgb(255, 138, 76)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shot(page, "figure_export_narrow")
    page.set_viewport_size({"width": 800, "height": 900})
    expect(page.locator("svg.main-svg").first).not_to_have_attribute("width", narrow)
    assert float(page.locator("svg.main-svg").first.get_attribute("width")) > 500


def test_plotlys_own_display_is_drawn_too(exported):
    """Shown without `figure`; many points, which plotly would draw with eval."""
    page = ready(exported("import plotly.graph_objects as go\ngo.Figure(go.Scattergl(y=[1, 2, 3], mode='markers'))"))
    assert page.locator(".scatterlayer .point").count() == 3


def test_a_figure_that_a_page_cannot_draw_is_told_in_words_and_the_next_is_drawn(exported):
    map_ = "figure(go.Figure(go.Scattergeo(lat=[1], lon=[1])), alt='One point lies in the Gulf of Guinea.')"
    page = ready(exported(f"{FIGURE}\n{map_}", HEAT))
    assert "open the notebook" in page.get_by_role("img", name="One point lies").inner_text()
    assert "<b>" in page.locator(".ytick text").all_text_contents()
    page.watch.forgive("Content Security Policy")  # stopped plotly, which wanted the outlines of the land
    page.watch.outside.clear()
    page.watch.errors.clear()  # what it says then differs from version to version


def test_plotly_is_in_the_page_once_and_only_with_figures(exported):
    two, none = exported(FIGURE, HEAT), exported("1 + 1")
    assert two.html.read_text("utf-8").count('id="interpwidgets-plotly"') == 1
    assert two.html.stat().st_size < 2_600_000
    assert none.html.stat().st_size < 400_000
