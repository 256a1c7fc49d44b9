"""What `figure` keeps in a notebook: a small description, literal texts, our look, words for who does not see it."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from interpwidgets.widgets import figure as module
from interpwidgets.widgets._arrays import InputError
from interpwidgets.widgets.figure import ACCENT, DIVERGING, PLOTLY, SEQUENTIAL, THEMES, figure, literal

ALT = "The score rises from 0.02 to 0.9 within 600 steps."


def bundle(fig: go.Figure, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return figure(fig, **{"alt": ALT, **options})._repr_mimebundle_()


def spec(fig: go.Figure, **options: Any) -> Any:
    return bundle(fig, **options)[0][PLOTLY]


# -- what is stored -----------------------------------------------------------------------------------------------


def test_a_notebook_keeps_a_description_and_the_alt_text_and_nothing_else():
    data, metadata = bundle(go.Figure(go.Scatter(x=[1, 2], y=[3, 4])), title="Scores")
    assert set(data) == {PLOTLY, "text/plain"}
    assert data["text/plain"] == f"Figure: Scores. {ALT}"
    words = metadata["interpwidgets"]
    assert (words["alt"], words["title"], words["caption"]) == (ALT, "Scores", "")
    assert len(json.dumps(data)) < 4000


def test_the_figure_that_was_handed_in_stays_as_it_is():
    fig = go.Figure(go.Scatter(x=["<b>"], y=[1]), layout={"title": {"text": "a < b"}})
    before = fig.to_json()
    figure(fig, alt=ALT, title="another title", caption="and a caption")
    assert fig.to_json() == before


def test_frames_are_kept_and_their_texts_are_literal():
    fig = go.Figure(go.Scatter(y=[1]), frames=[go.Frame(data=[go.Scatter(y=[2], text=["<b>"])], name="a")])
    assert spec(fig)["frames"][0]["data"][0]["text"] == ["&lt;b>"]
    assert "frames" not in spec(go.Figure(go.Scatter(y=[1])))


def test_points_are_drawn_in_svg():
    assert spec(go.Figure(go.Scattergl(y=[1])))["data"][0]["type"] == "scatter"


def test_importing_it_imports_no_plotly():
    code = "import sys, interpwidgets.widgets.figure; assert 'plotly' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# -- alt text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alt", ["", "a plot", None, 3, "  \n "], ids=repr)
def test_no_figure_without_a_sentence_for_those_who_do_not_see_it(alt):
    with pytest.raises(InputError, match="Readers who do not see the figure get this instead"):
        figure(go.Figure(), alt=alt)


def test_something_else_is_refused_by_name():
    with pytest.raises(InputError, match=r"Expected a plotly\.graph_objects\.Figure, got builtins\.list"):
        figure([1, 2, 3], alt=ALT)


# -- texts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", ["", "a", "Once upon", "x > 1", "50 %", "L1 H0", "é→🙂"])
def test_plain_text_needs_no_change(plain):
    assert literal(plain) == plain


def test_every_text_of_a_figure_is_literal():
    token, shown = "<b>&$x$\n", "&lt;b>&amp;&#36;x&#36;⏎"
    trace = go.Scatter(
        x=np.array([token, "b"], dtype=object), y=[1, 2], text=[token, "b"], name=token, hovertext=token,
        customdata=[[token]], hovertemplate=f"%{{x}}<br>{token}%{{y:$.2f}}<extra>{token}</extra>",
    )  # fmt: skip
    layout = {"xaxis": {"title": {"text": token}, "ticktext": [token], "tickvals": [0], "tickformat": "$,.2f"}}
    found = spec(go.Figure(trace, layout={**layout, "annotations": [{"text": token, "x": token}]}))
    data, axis, note = found["data"][0], found["layout"]["xaxis"], found["layout"]["annotations"][0]
    assert data["x"] == data["text"] == [shown, "b"]
    assert (data["name"], data["hovertext"], data["customdata"]) == (shown, shown, [[shown]])
    assert data["hovertemplate"] == f"%{{x}}<br>{shown}%{{y:$.2f}}<extra>{shown}</extra>"
    assert (axis["ticktext"], axis["tickformat"]) == ([shown], "$,.2f")
    broken = shown.replace("⏎", "<br>")
    assert axis["title"]["text"] == note["text"] == broken
    assert [note["text"] for note in found["layout"]["annotations"][1:]] == [ALT]  # unseen, for screen readers
    assert note["x"] == shown  # the place on the axis is the category, as the data name it


def test_half_a_character_is_spelled_out():
    found = spec(go.Figure(go.Scatter(x=["\ud83d"], y=[1], name="\ud83d")))
    assert found["data"][0]["name"] == "\\ud83d"
    json.dumps(found).encode()


def test_title_and_caption_are_literal_and_get_room():
    plain, titled = (spec(go.Figure(go.Scatter(y=[1])), **words) for words in ({}, {"title": "a<b", "caption": "c&d"}))
    assert titled["layout"]["title"]["text"] == "<b>a&lt;b</b>"
    assert titled["layout"]["title"]["subtitle"]["text"] == "c&amp;d"
    more = titled["layout"]["height"] - plain["layout"]["height"]
    assert more == titled["layout"]["margin"]["t"] - plain["layout"]["margin"]["t"] > 40


# -- colours ------------------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    r, g, b = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", ["ACCENT", "SERIES_2", "SERIES_3", "INK", "QUIET"])
def test_a_notebook_light_or_dark_reads_every_colour(name):
    colour = getattr(module, name)
    light, dark = THEMES[colour]
    assert min(contrast(colour, "#ffffff"), contrast(colour, "#111111")) >= 4.2
    assert min(contrast(light, "#ffffff"), contrast(dark, "#111111")) >= 4.5


def test_the_look_replaces_plotlys_and_keeps_what_the_figure_says_itself():
    fig = go.Figure([go.Scatter(y=[1], line_color=ACCENT), go.Bar(y=[2], marker_color="#123456")])
    found = spec(fig.update_layout(height=200, margin={"l": 50}))
    assert found["layout"]["template"]["layout"]["colorway"][0] == ACCENT
    assert (found["layout"]["height"], found["layout"]["margin"]["l"]) == (200, 50)
    assert found["data"][0]["line"]["color"] == ACCENT
    assert found["data"][1]["marker"]["color"] == "#123456"


def test_plotly_takes_the_look_for_a_template():
    go.layout.Template(module._template())  # raises for a name or a value that plotly does not know


def test_every_colour_of_the_look_has_a_light_and_a_dark_one():
    used = set(json.dumps(module._template()).replace("rgba(0,0,0,0)", "").split('"'))
    colours = {text for text in used if text.startswith(("#", "rgba"))}
    assert colours <= THEMES.keys()
    assert {*SEQUENTIAL, *DIVERGING} <= THEMES.keys()
