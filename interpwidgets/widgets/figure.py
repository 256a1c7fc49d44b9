r"""Plotly figures in our look, named for those who do not see them, small in the notebook, alive in an exported page.

    import plotly.graph_objects as go
    from interpwidgets.widgets.figure import ACCENT, figure

    lines = go.Figure(go.Scatter(x=steps, y=scores, name="L1 H0", line_color=ACCENT))
    lines.update_layout(xaxis_title="training step", yaxis_title="induction score")
    figure(lines, alt="The induction score of L1 H0 stays at 0.02 until step 600 and is 0.9 from step 900 on.")

Only the figure's own description is stored in the notebook (``application/vnd.plotly.v1+json``, a few kB), never
plotly.js (4.8 MB) and never a ``FigureWidget``, which stores plotly.js with every figure. JupyterLab and Notebook 7
draw it with the extension that comes with the package plotly, and add a picture when they save; marimo and VS Code with
their own copy of plotly.js (marimo also asks the network for MathJax, and draws without it); a page of `interpwidgets
export` with one copy that all of its figures share.

**Colours.** plotly cannot follow a page that turns dark: its colours are numbers, not CSS variables. So a notebook gets
middle tones, at least 4.2:1 for texts and series on white and on JupyterLab's dark grey alike. An exported page
knows its reader: there every colour named here is swapped for the exact one of the light or the dark look.

**Tokens are data.** plotly takes ``<b>``, ``<a href=...>``, ``<br>``, ``&amp;`` and ``$x$`` in any text for markup.
Here every text appears as it is written: names, labels, titles, annotations, hover texts. A line feed breaks the line
in titles and annotations and shows as ⏎ elsewhere. Templates (``hovertemplate``, ``texttemplate``) keep ``<br>``,
``<extra>`` and their ``%{...}``. Texts inside a three-dimensional scene are drawn another way, and are not covered.
"""

import json
import re
import textwrap
from collections.abc import Sequence
from typing import Any

from interpwidgets.widgets._arrays import InputError, spelled

PLOTLY = "application/vnd.plotly.v1+json"

# -- the look -----------------------------------------------------------------------------------------------------

# Series in their order, then labels, ticks, hairlines, the area between two curves.
ACCENT, SERIES_2, SERIES_3, INK = "#cc5418", "#2f80bd", "#a06c2c", "#747a82"
QUIET, EDGE, LINE, SOFT = "#747a83", "#808892", "rgba(128,136,146,0.25)", "rgba(204,84,24,0.14)"
_HOVER = ("#1d2025", "#e7e9ed", "#535b66")  # background, text, border

SEQUENTIAL = ("#edf4f6", "#b2e0ec", "#81c6e0", "#52aad5", "#3b8bc1", "#2c6bac", "#264d8f", "#20326c", "#171a4c")
DIVERGING = ("#623606", "#a66c2b", "#d6b080", "#f4f2f0", "#7dc2dd", "#2981bb", "#1c3e81")
_SEQUENTIAL_DARK = ("#161920", "#222e4b", "#2d4577", "#30639d", "#3184bd", "#40a6d2", "#63c7e2", "#9ce4ed", "#d2fefd")
_DIVERGING_DARK = ("#fad99d", "#c18742", "#6f4720", "#1c1916", "#2c5186", "#38a0d2", "#a6ecf4")

THEMES: dict[str, tuple[str, str]] = {
    ACCENT: ("#c2410c", "#ff8a4c"),
    SERIES_2: ("#1c6fb3", "#5db4ea"),
    SERIES_3: ("#8a5a1e", "#d9a25c"),
    INK: ("#1a1d21", "#e7e9ec"),
    QUIET: ("#535b65", "#a9b0b9"),
    EDGE: ("#8a929c", "#6c737d"),
    LINE: ("#dfe2e6", "#30343a"),
    SOFT: ("#fdf0e9", "#2b1a10"),
    _HOVER[0]: ("#ffffff", "#1d2024"),
    _HOVER[1]: ("#1a1d21", "#e7e9ec"),
    _HOVER[2]: ("#8a929c", "#6c737d"),
    **{light: (light, dark) for light, dark in zip(SEQUENTIAL, _SEQUENTIAL_DARK, strict=True)},
    **{light: (light, dark) for light, dark in zip(DIVERGING, _DIVERGING_DARK, strict=True)},
}
"""What each colour of a figure is in a light and in a dark page; `interpwidgets.export` hands this to the page."""

FONT = '"Helvetica Neue", Arial, "Liberation Sans", sans-serif'
ALT = "interpwidgets-alt"  # the name of the annotation that says the alt text
CONFIG = {"displayModeBar": False, "displaylogo": False, "typesetMath": False}
HEIGHT = 344  # of the plot in px; title and caption are added
WRAP = 96  # characters in a line of the caption, in a notebook


def _stops(colours: Sequence[str]) -> list[list[Any]]:
    return [[i / (len(colours) - 1), colour] for i, colour in enumerate(colours)]


def _template() -> dict[str, Any]:
    """Our look as plotly's template: dashes and symbols repeat what the colours say."""
    axis = {
        "gridcolor": LINE,
        "linecolor": EDGE,
        "zerolinecolor": LINE,
        "zerolinewidth": 1,
        "tickcolor": EDGE,
        "ticks": "outside",
        "ticklen": 4,
        "tickfont": {"size": 11},
        "title": {"font": {"size": 12}, "standoff": 8},
        "automargin": True,
    }
    dashes = (("solid", 2, "circle"), ("7px,3px", 1.5, "square"), ("2px,3px", 1.5, "diamond"), ("solid", 1, "x"))
    series = [{"line": {"dash": d, "width": w}, "marker": {"symbol": s, "size": 6}} for d, w, s in dashes]
    bar = {
        "thickness": 8,
        "outlinewidth": 0,
        "ticks": "outside",
        "ticklen": 4,
        "tickcolor": EDGE,
        "tickfont": {"size": 11},
    }
    map_ = {"colorbar": bar, "colorscale": _stops(SEQUENTIAL)}
    background, text, border = _HOVER
    layout = {
        "font": {"family": FONT, "size": 12, "color": QUIET},
        "colorway": [ACCENT, SERIES_2, SERIES_3, INK],
        "colorscale": {"sequential": _stops(SEQUENTIAL), "diverging": _stops(DIVERGING)},
        "coloraxis": {"colorbar": bar},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": {**axis, "showgrid": False, "showline": True},
        "yaxis": axis,
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "font": {"color": INK}},
        "hoverlabel": {
            "bgcolor": background,
            "bordercolor": border,
            "font": {"color": text, "size": 12},
            "namelength": -1,
        },
        "title": {"x": 0, "xref": "paper", "xanchor": "left", "y": 1, "yref": "container", "yanchor": "top"},
        "annotationdefaults": {"arrowcolor": EDGE, "arrowwidth": 1, "arrowhead": 0, "font": {"size": 11}},
        "shapedefaults": {"line": {"color": EDGE, "width": 1}},
    }
    return {"data": {"scatter": series, "heatmap": [map_], "contour": [map_]}, "layout": layout}


# -- text ---------------------------------------------------------------------------------------------------------

_TEMPLATES = re.compile(r"(hover|text)template(fallback)?")
_NO_TEXT = re.compile(r"\w*format|source|bdata|family")
_MARKUP = re.compile(r"(<br ?/?>|</?extra>|%\{[^}]*\})")


def literal(text: str, line_feed: str = "⏎") -> str:
    """The text as plotly must get it to show it as it is."""
    text = spelled(text).replace("&", "&amp;").replace("<", "&lt;").replace("$", "&#36;")
    return re.sub(r"\r\n?|\n", line_feed, text)


def _template_text(text: str) -> str:
    parts = _MARKUP.split(text)
    return "".join(spelled(part) if i % 2 else literal(part) for i, part in enumerate(parts))


def _literally(value: Any, path: tuple[str, ...] = ()) -> Any:
    """A description of a figure with every text in it as `literal` writes it. ``path``: the names that lead to it."""
    if isinstance(value, dict):
        return {name: _literally(item, (*path, name)) for name, item in value.items()}
    if getattr(getattr(value, "dtype", None), "kind", "") in ("O", "U"):  # an array of texts
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_literally(item, path) for item in value]
    if not isinstance(value, str) or _NO_TEXT.fullmatch(path[-1]):
        return value
    if _TEMPLATES.fullmatch(path[-1]):
        return _template_text(value)
    breaks = path[-1] == "text" and path[-2] in ("title", "subtitle", "annotations")
    return literal(value, "<br>" if breaks else "⏎")


# -- the figure ---------------------------------------------------------------------------------------------------


class Figure:
    """A plotly figure as a notebook shows and keeps it. Made by `figure`; the last line of a cell displays it.

    ``spec``: the description that plotly.js draws: data, layout, config, and frames if it has some.
    ``alt``, ``title``, ``caption``: its words.
    """

    def __init__(self, spec: dict[str, Any], alt: str, title: str, caption: str, room: int) -> None:
        self.spec, self.alt, self.title, self.caption = spec, alt, title, caption
        self._room = room  # what title and caption take of the height, in px

    def __repr__(self) -> str:
        heading = f"{self.title}. " if self.title else ""
        return f"Figure: {heading}{self.alt}"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        words = {"alt": self.alt, "title": self.title, "caption": self.caption, "room": self._room}
        return {PLOTLY: self.spec, "text/plain": repr(self)}, {"interpwidgets": words}

    def _display_(self) -> Any:
        """What marimo asks for: it draws plotly's figures itself."""
        import plotly.graph_objects as go

        return go.Figure({name: self.spec[name] for name in ("data", "layout")})


def figure(fig: Any, alt: str = "", title: str | None = None, caption: str | None = None) -> Figure:
    """Show a plotly figure in our look.

    ``fig``: a ``plotly.graph_objects.Figure``; it stays as it is. Its template is replaced by ours; colours, sizes and
    ranges that it sets itself are kept; a height is that of the plot without title and caption.
    ``alt``: what the figure shows, in a sentence, for readers who do not see it. Say the finding, not the kind of plot.
    ``title``, ``caption``: text above the figure.

    Raises `InputError` (a `ValueError`) if ``alt`` is no sentence, or if ``fig`` is no plotly figure.
    """
    alt = _sentence(alt)
    spec = _described(fig)
    layout = spec["layout"]
    layout["template"] = _template()
    title, caption = spelled(title or "").strip(), spelled(caption or "").strip()
    room = _add_title(layout, title, caption) if title or caption else 0
    margin = {"t": 8 + 24 * _has_legend(spec), "r": 16, "b": 8, "l": 8, **layout.get("margin", {})}
    layout["margin"] = {**margin, "t": margin["t"] + room}
    layout["height"] = layout.get("height", HEIGHT) + room
    layout["annotations"] = [*layout.get("annotations", []), _spoken(alt)]
    return Figure(spec, alt, title, caption, room)


def _sentence(alt: Any) -> str:
    words = spelled(alt).split() if isinstance(alt, str) else []
    if len(words) < 4:
        raise InputError(
            "The figure needs alt text.",
            [("expected", "a sentence of four words or more"), ("got", repr(alt) if alt else "none")],
            "Readers who do not see the figure get this instead: say what it shows, for example "
            'alt="The induction score of L1 H0 rises from 0.02 to 0.9 between steps 600 and 900."',
        )
    return " ".join(words)


def _spoken(alt: str) -> dict[str, Any]:
    """The alt text as an unseen text of the drawing: the only place where JupyterLab lets a screen reader find it."""
    place = {"x": 0, "y": 0, "xref": "paper", "yref": "paper", "xanchor": "left"}
    return {**place, "name": ALT, "text": literal(alt), "opacity": 0, "showarrow": False, "font": {"size": 1}}


def _described(fig: Any) -> dict[str, Any]:
    """The figure as JSON, its texts literal, without plotly's own look."""
    from plotly.basedatatypes import BaseFigure
    from plotly.io.json import to_json_plotly

    if not isinstance(fig, BaseFigure):
        kind = type(fig)
        raise InputError(
            "This is no plotly figure.",
            [("expected", "a plotly.graph_objects.Figure"), ("got", f"{kind.__module__}.{kind.__qualname__}")],
        )
    found = fig.to_plotly_json()
    found["layout"].pop("template", None)
    named = {name: found[name] for name in ("data", "layout", "frames") if found.get(name) is not None}
    texts = _literally({**named, "data": in_svg(named["data"])})
    return {**json.loads(to_json_plotly(texts, engine="json")), "config": CONFIG}


def in_svg(traces: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Traces whose points are drawn in SVG: for points plotly's WebGL needs ``eval``, which exported pages forbid."""
    plain = {"scattergl": "scatter", "scatterpolargl": "scatterpolar"}
    return [{**trace, "type": plain.get(kind, kind)} if (kind := trace.get("type")) else trace for trace in traces]


def _has_legend(spec: dict[str, Any]) -> bool:
    asked = spec["layout"].get("showlegend")
    named = [trace for trace in spec["data"] if trace.get("showlegend", True) and "z" not in trace]
    return bool(asked) if asked is not None else len(named) > 1


def _add_title(layout: dict[str, Any], title: str, caption: str) -> int:
    """Title and caption as plotly draws them; returns the height that they take, in px."""
    lines = textwrap.wrap(caption, WRAP)
    layout["title"] = {
        "text": f"<b>{literal(title)}</b>" if title else "",
        "font": {"size": 14, "color": INK},
        "subtitle": {"text": "<br>".join(map(literal, lines)), "font": {"size": 12, "color": QUIET}},
        "pad": {"t": 4},
    }
    return 28 * bool(title) + 17 * len(lines) + 8
