"""Figures in front of a reader: in JupyterLab, in marimo and in an exported page; no host may ask the network."""

from typing import Any

HOSTILE = '<b>bold</b> <a href="https://example.org">&lt; $x$</a>'
FIGURE = f"""
import plotly.graph_objects as go
from interpwidgets.widgets.figure import figure
steps = list(range(0, 2000, 100))
scores = [0.02 if step < 600 else 0.9 - 0.9 * 2 ** (-(step - 500) / 100) for step in steps]
lines = go.Figure([go.Scatter(x=steps, y=scores, name={HOSTILE!r}), go.Scatter(x=steps, y=[s / 3 for s in scores], name="L1 H1")])
lines.update_layout(xaxis_title="training step", yaxis_title="induction score")
shown = figure(lines, alt="The score of L1 H0 rises from 0.02 to 0.9 within 600 steps.", title="Two heads of layer 1",
    caption="Induction score on repeated tokens: how much a head looks at the token after the last copy of this one. One line is the first head, one the second.")
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


def test_what_jupyterlab_saves_is_small(notebook):
    texts(notebook.run(FIGURE))
    data = notebook.save().cells[0].outputs[0].data
    assert set(data) <= {"application/vnd.plotly.v1+json", "text/plain", "image/png"}  # JupyterLab adds a picture
    assert sum(len(str(value)) for value in data.values()) < 100_000


def test_marimo_shows_a_figure_by_itself(marimo, shot):
    page = marimo(FIGURE)
    assert HOSTILE in texts(page)
    assert page.get_by_role("img", name="The score of L1 H0 rises").count() == 1
    shot(page, "figure_marimo")
    page.watch.forgive("mathjax-full")  # marimo asks for MathJax with every figure of plotly, and draws without it
    page.watch.outside = [url for url in page.watch.outside if "mathjax" not in url]
