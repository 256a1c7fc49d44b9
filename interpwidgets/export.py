"""An executed notebook as one HTML file whose widgets live without Jupyter and without a network.

    from interpwidgets.export import export_html

    export_html("lesson.ipynb")                      # -> lesson.html, from the state saved in the notebook
    export_html("lesson.ipynb", execute=True)        # run it first

    ┌ lesson.html ─────────────────────────────────────────────────────────────┐
    │ the notebook, in JupyterLab's style, light or dark as the reader chooses │
    │ <div data-interpwidgets-model="1a2b"></div>       one per widget view    │
    │ <div data-interpwidgets-figure="0"></div>         one per plotly figure  │
    │ <script type="text/plain">        plotly.js, packed, if it has figures   │
    │ <script type="application/json">  the saved states, the code once        │
    │ <script type="module">            host.js: frontend/src/host             │
    └──────────────────────────────────────────────────────────────────────────┘

The page may not use the network: a Content-Security-Policy in its head allows the scripts that were in the notebook
when it was exported, by their hashes, and nothing else. So a token such as ``<img src=x onerror=...>`` could not run
even if it slipped through the escaping. For the same reason plotly's maps, which it loads from the
network, are described in words.
"""

import base64
import gzip
import hashlib
import html
import json
import mimetypes
import os
import re
import tempfile
import urllib.parse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
from jinja2 import DictLoader
from nbconvert import HTMLExporter

from interpwidgets.widgets._base import static
from interpwidgets.widgets.figure import ALT, PLOTLY, THEMES, in_svg

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"

# What frontend/src/host/controls.ts can draw besides anywidgets, and the models without a view that it obeys.
CONTROLS = frozenset({"BoxModel", "HBoxModel", "VBoxModel", "HTMLModel", "HTMLMathModel", "LabelModel"})
LINKS = frozenset({"LinkModel", "DirectionalLinkModel"})

RUN_FIRST = (
    "Run it first: `interpwidgets export --execute`, `interpwidgets run` or papermill keep the state of the widgets; "
    "in JupyterLab switch on Settings > Save Widget State Automatically, run all cells and save."
)


class ExportError(ValueError):
    """Why a notebook was not exported, in one sentence, and what to do."""


def export_html(
    notebook: str | os.PathLike[str], out: str | os.PathLike[str] | None = None, *, execute: bool = False
) -> Path:
    """Write an executed notebook as one self-contained HTML file and return its path.

    notebook  an ``.ipynb`` file that holds its outputs and the state of its widgets
    out       the file to write; by default beside the notebook, with the suffix ``.html``
    execute   run the notebook first, in its own folder; the notebook on disk stays as it is

    Raises `ExportError` if the notebook cannot be read or was not run, if a cell fails, or if `out` cannot be written.
    An existing `out` is replaced only by a complete page.
    """
    source = Path(notebook)
    target = Path(out) if out is not None else source.with_suffix(".html")
    page = _read(source)
    _check_target(source, target)
    if execute:
        _execute(page, source)
    models = _saved_models(page, source)
    _write(target, _render(page, models, source))
    return target


# -- reading ------------------------------------------------------------------------------------------------------


def _read(source: Path) -> Any:
    if not source.exists():
        raise ExportError(f"There is no notebook {source}.")
    if source.is_dir():
        raise ExportError(f"{source} is a folder; name one notebook (.ipynb) in it.")
    try:
        return nbformat.read(source, as_version=4)
    except OSError as error:
        raise ExportError(f"{source} cannot be read: {error.strerror}.") from error
    except Exception as error:  # nbformat raises its own, json's and attrs' errors
        raise ExportError(f"{source} is not a notebook: expected the JSON of an .ipynb file.") from error


def _check_target(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        raise ExportError(f"The page would overwrite the notebook {source}; give it another name with -o.")
    if target.is_dir():
        raise ExportError(f"{target} is a folder; name the HTML file to write in it.")
    if not target.parent.is_dir():
        raise ExportError(f"There is no folder {target.parent} to write {target.name} into.")


def _execute(page: Any, source: Path) -> None:
    from jupyter_client.kernelspec import NoSuchKernel
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    client = NotebookClient(page, timeout=None, resources={"metadata": {"path": str(source.parent.resolve())}})
    try:
        client.execute()
    except CellExecutionError as error:
        number = 1 + next(i for i, cell in enumerate(page.cells) if _failed(cell))
        raise ExportError(
            f"Cell {number} of {source} raised {error.ename}: {error.evalue}. Nothing was written."
        ) from error
    except NoSuchKernel as error:
        raise ExportError(f"{source} asks for the kernel {error.name!r}, which is not installed here.") from error


def _failed(cell: Any) -> bool:
    return any(output.output_type == "error" for output in cell.get("outputs", []))


def _saved_models(page: Any, source: Path) -> dict[str, Any]:
    """The saved widget models by their id; an error where the notebook shows widgets but kept none of them."""
    code = [cell for cell in page.cells if cell.cell_type == "code" and cell.source.strip()]
    if code and not any(cell.get("outputs") or cell.get("execution_count") for cell in code):
        raise ExportError(f"{source} has never been run, so there is nothing to show. {RUN_FIRST}")
    models: dict[str, Any] = page.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    shown = [model_id for output in _outputs(page) if (model_id := _model_id(output))]
    if shown and not models.keys() & set(shown):
        raise ExportError(f"{source} shows {len(shown)} widgets but was saved without their state. {RUN_FIRST}")
    return models


def _outputs(page: Any) -> Iterator[Any]:
    for cell in page.cells:
        yield from cell.get("outputs", [])


def _model_id(output: Any) -> str | None:
    found = output.get("data", {}).get(VIEW)
    return found.get("model_id") if isinstance(found, dict) else None


# -- widgets ------------------------------------------------------------------------------------------------------


def _can_draw(model: Any) -> bool:
    return model["model_module"] == "anywidget" or model["model_name"] in CONTROLS


def _references(value: Any) -> Iterator[str]:
    """The ids of the models that a state refers to."""
    if isinstance(value, str):
        for prefix in ("IPY_MODEL_", "anywidget:"):
            if value.startswith(prefix):
                yield value.removeprefix(prefix)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _references(item)


def _needed(shown: set[str], models: dict[str, Any]) -> set[str]:
    """The shown models, what they refer to, and the links between them."""
    found: set[str] = set()
    waiting = list(shown)
    while waiting:
        model_id = waiting.pop()
        if model_id in found or model_id not in models:
            continue
        found.add(model_id)
        waiting += _references(_state(models[model_id]))
    for model_id, model in models.items():
        if model["model_name"] in LINKS and set(_references(model["state"])) <= found:
            found.add(model_id)
    return found


def _state(model: Any) -> dict[str, Any]:
    """A saved state without what only Jupyter reads: versions, layout, the name of the view."""
    idle = {"layout", "style", "tabbable", "tooltip", "_dom_classes", "_anywidget_id", "_view_count"}
    kept = {k: v for k, v in model["state"].items() if k not in idle and not k.startswith("_view_")}
    kept.pop("_model_module_version", None)
    return {**kept, "_model_module": model["model_module"], "_model_name": model["model_name"]}


def _buffers(model: Any) -> list[dict[str, Any]]:
    """The binary values as base64, without those whose place is gone (a stale one of a value that is now None)."""
    found = []
    for buffer in model.get("buffers", []):
        place: Any = model["state"]
        for step in buffer["path"][:-1]:
            place = place.get(step) if isinstance(place, dict) else place[step] if isinstance(place, list) else None
        if place is None:
            continue
        data = buffer["data"]
        if buffer.get("encoding") == "hex":
            data = base64.b64encode(bytes.fromhex(data)).decode()
        found.append({"path": buffer["path"], "data": data})
    return found


def _pack(models: dict[str, Any], ids: set[str]) -> dict[str, Any]:
    """What frontend/src/host/page.ts reads: the models, and every module or style text once."""
    texts: dict[str, int] = {}
    packed = {}
    for model_id in sorted(ids):
        state = _state(models[model_id])
        entry: dict[str, Any] = {"state": state, "buffers": _buffers(models[model_id])}
        for name in ("_esm", "_css"):
            if text := state.pop(name, None):
                entry[name[1:]] = texts.setdefault(text, len(texts))
        packed[model_id] = entry
    return {"models": packed, "texts": list(texts)}


def _words(model: Any) -> tuple[str, str]:
    """The title and the caption of a widget."""
    title, caption = (str(model["state"].get(name) or "") for name in ("title", "caption"))
    return title, caption


def _alt(output: Any) -> str:
    """What a widget says of its picture (`InterpWidget._alt`), else its text."""
    said = output.metadata.get("interpwidgets")
    return (said.get("alt") if isinstance(said, dict) else "") or _text(output) or "widget"


def _text(output: Any) -> str:
    found = output.data.get("text/plain", "")
    return found if isinstance(found, str) else "".join(found)


def _picture(output: Any, label: str) -> str:
    """What a page shows that runs no script: the picture saved beside the widget, else its text."""
    png = output.data.get("image/png")
    if png:
        data = "".join(png).replace("\n", "")
        return f'<img alt="{html.escape(label)}" src="data:image/png;base64,{html.escape(data)}">'
    return f"<pre>{html.escape(_text(output))}</pre>"


def _place_widgets(page: Any, models: dict[str, Any]) -> set[str]:
    """Put a container where each widget was shown, or a note where none can be; returns the ids to draw."""
    drawn = set()
    for output in _outputs(page):
        model_id = _model_id(output)
        if not model_id:
            continue
        model = models.get(model_id)
        if model and _can_draw(model):
            drawn.add(model_id)
            markup = (_figure_of if model["model_module"] == "anywidget" else _box)(output, model_id, models)
        else:
            markup = _note(output, model)
        output.data = nbformat.from_dict({"text/html": markup})
        output.metadata["interpwidgets"] = True
    return drawn


def _note_the_unseen(page: Any, shown: set[str]) -> None:
    """A line where an output has no form that a page can show; otherwise it would vanish without a word."""
    for output in _outputs(page):
        kinds = output.get("data", {}).keys()
        if kinds and not kinds & shown:
            note = f"{html.escape(', '.join(kinds))}: this output needs Jupyter."
            output.data = nbformat.from_dict({"text/html": f'<p class="interpwidgets-note">{note}</p>'})


def _figure_of(output: Any, model_id: str, models: dict[str, Any]) -> str:
    """A widget of ours shows its title and caption itself; without scripts and to screen readers, the page does."""
    (title, caption), alt = _words(models[model_id]), _alt(output)
    name = ": ".join(filter(None, (title, caption))) or alt
    words = f"<strong>{html.escape(title)}</strong> {html.escape(caption)} " if title or caption else ""
    return (
        f'<figure class="interpwidgets-live" aria-label="{html.escape(name)}">{_place(output, model_id, alt)}'
        f"<figcaption>{words}<span>{html.escape(alt)}</span></figcaption></figure>"
    )


def _box(output: Any, model_id: str, models: dict[str, Any]) -> str:
    """Boxes and texts of ipywidgets, named by the widgets that they hold; the page makes each of these a figure."""
    name = ", ".join(_titles(model_id, models)) or _text(output) or "widget"
    return f'<div role="group" aria-label="{html.escape(name)}">{_place(output, model_id, name)}</div>'


def _titles(model_id: str, models: dict[str, Any]) -> Iterator[str]:
    """The titles of the widgets in a box, in their order."""
    if model_id in models:
        yield from filter(None, [_words(models[model_id])[0]])
        for child in _references(models[model_id]["state"].get("children", [])):
            yield from _titles(child, models)


def _place(output: Any, model_id: str, alt: str) -> str:
    return (
        f'<div data-interpwidgets-model="{html.escape(model_id)}"></div>'
        f"<noscript>{_picture(output, alt)}<p>This figure is interactive where JavaScript is on.</p></noscript>"
    )


def _note(output: Any, model: Any) -> str:
    name = str(model["model_name"]).removesuffix("Model") if model else "A widget"
    why = "needs Jupyter" if model else "was not saved with the notebook"
    note = f"{html.escape(name)} {why}; this is its picture or text."
    return f'<p class="interpwidgets-note">{note}</p>{_picture(output, name)}'


# -- plotly figures -----------------------------------------------------------------------------------------------


def _place_figures(page: Any) -> list[Any]:
    """Put a container where each plotly figure was shown; returns what plotly.js draws there."""
    specs: list[Any] = []
    for output in _outputs(page):
        spec = output.get("data", {}).get(PLOTLY)
        if not isinstance(spec, dict):
            continue
        words = output.metadata.get("interpwidgets") or {}  # of `interpwidgets.widgets.figure`; other figures have none
        if words:
            spec = _without_words(spec, words["room"])
        markup = _figure(output, len(specs), words, spec.get("layout", {}).get("height", 360))
        specs.append({**spec, "data": in_svg(spec.get("data", []))})
        output.data = nbformat.from_dict({"text/html": markup})
        output.metadata["interpwidgets"] = True
    return specs


def _without_words(spec: Any, room: int) -> Any:
    """The figure without title and alt text: a page sets one as text that breaks its lines, and speaks the other."""
    layout = {name: value for name, value in spec["layout"].items() if name != "title" or not room}
    layout["annotations"] = [note for note in layout["annotations"] if note.get("name") != ALT]
    layout["height"] -= room
    layout["margin"] = {**layout["margin"], "t": layout["margin"]["t"] - room}
    return {**spec, "layout": layout}


def _figure(output: Any, number: int, words: Any, height: int) -> str:
    alt = html.escape(words.get("alt") or _text(output) or "a plotly figure")
    title, caption = (html.escape(words.get(name, "")) for name in ("title", "caption"))
    heading = f"<figcaption><strong>{title}</strong><span>{caption}</span></figcaption>" if title or caption else ""
    return (
        f'<figure class="interpwidgets-plot">{heading}'
        f'<div role="img" aria-label="{alt}" data-interpwidgets-figure="{number}" style="height: {int(height)}px">'
        f"</div><noscript>{_picture(output, words.get('alt', 'a plotly figure'))}</noscript></figure>"
    )


@cache
def _plotly() -> str:
    """plotly.js as the package plotly brings it, packed to two fifths of its size."""
    from plotly.offline import get_plotlyjs

    return base64.b64encode(gzip.compress(get_plotlyjs().encode("utf-8"), mtime=0)).decode()


# -- the page -----------------------------------------------------------------------------------------------------

POLICY = "@interpwidgets-policy@"  # stands in the head until the scripts of the finished page are known

TEMPLATE = """
{%- extends "index.html.j2" -%}
{% block html_head_js %}
<meta http-equiv="Content-Security-Policy" content="POLICY">
<meta name="color-scheme" content="light dark">
{% endblock %}
{% block jupyter_widgets %}{% endblock %}
{% block html_head_js_mathjax %}{% endblock %}
{% block html_head_js_mermaidjs %}{% endblock %}
{% block html_head_css %}
<style>
@media (prefers-color-scheme: dark) { {{ dark_theme() }} }
:root { color-scheme: light dark; }
body.jp-Notebook { background: var(--jp-layout-color0); color: var(--jp-content-font-color1); }
.interpwidgets-figure { min-width: 0; padding: 8px 0; }
.interpwidgets-figure img { max-width: 100%; }
.interpwidgets-plot, .interpwidgets-live { margin: 0; min-width: 0; }
@media (scripting: enabled) {
  .interpwidgets-live { position: relative; }
  .interpwidgets-live > figcaption { position: absolute; width: 1px; height: 1px; overflow: hidden;
    clip-path: inset(50%); }
}
.interpwidgets-plot > div { width: 100%; overflow: hidden; }
.interpwidgets-plot figcaption { max-width: 640px; margin-bottom: 8px; color: light-dark(#535b65, #a9b0b9);
  font: 12px/16px "Helvetica Neue", Arial, "Liberation Sans", sans-serif; }
.interpwidgets-plot strong { display: block; font-size: 14px; line-height: 20px; color: light-dark(#1a1d21, #e7e9ec); }
.interpwidgets-note { color: var(--jp-content-font-color2); font-size: 12px; margin: 0 0 4px; }
</style>
{% endblock %}
{% block data_html scoped -%}
{%- if output.metadata.interpwidgets -%}
<div class="jp-OutputArea-output interpwidgets-figure">{{ output.data["text/html"] }}</div>
{%- else -%}{{ super() }}{%- endif -%}
{%- endblock data_html %}
""".replace("POLICY", POLICY)


def _render(page: Any, models: dict[str, Any], source: Path) -> str:
    drawn = _place_widgets(page, models)
    figures = _place_figures(page)
    page.metadata.pop("widgets", None)
    exporter = HTMLExporter(  # type: ignore[no-untyped-call]
        extra_loaders=[DictLoader({"interpwidgets.html.j2": TEMPLATE})], template_file="interpwidgets.html.j2"
    )
    exporter.environment.globals["dark_theme"] = lambda: _dark_theme(exporter)
    _note_the_unseen(page, set(exporter.config.NbConvertBase.display_data_priority))
    body, _ = exporter.from_notebook_node(page, resources={"metadata": {"name": source.stem}})
    body = _embed_pictures(body, source.parent.resolve())
    if drawn or figures:
        head, closing, tail = body.rpartition("</body>")
        body = f"{head}{_scripts(_pack(models, _needed(drawn, models)), figures)}{closing}{tail}"
    body = re.sub(r"\r\n?", "\n", body)  # as a browser reads it before it takes the hash of a script
    return body.replace(POLICY, _policy(body), 1)


def _scripts(state: dict[str, Any], figures: list[Any]) -> str:
    plotly = ""
    if figures:
        state = {**state, "figures": figures, "colours": THEMES}
        plotly = f'<script type="text/plain" id="interpwidgets-plotly">{_plotly()}</script>'
    return (
        f'{plotly}<script type="application/json" id="interpwidgets-state">{_json(state)}</script>'
        f'<script type="module">{static("host.js")}</script>'
    )


def _embed_pictures(body: str, folder: Path) -> str:
    """Pictures that the text takes from files beside the notebook, as part of the page."""

    def embed(found: re.Match[str]) -> str:
        path = (folder / urllib.parse.unquote(html.unescape(found["src"]))).resolve()
        kind, _ = mimetypes.guess_type(path.name)
        if not (kind and path.is_relative_to(folder) and path.is_file()):
            return found[0]
        return f"{found['before']}data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"

    return re.sub(r'(?P<before><img\b[^>]*?\ssrc=")(?!\w+:)(?P<src>[^"]+)', embed, body)


def _dark_theme(exporter: HTMLExporter) -> str:
    text, *_ = exporter.environment.loader.get_source(exporter.environment, "static/theme-dark.css")
    return str(text)


def _json(value: Any) -> str:
    """JSON that no HTML parser can mistake for a tag or a comment: ASCII, without < and >."""
    return json.dumps(value, separators=(",", ":")).replace("<", r"\u003c").replace(">", r"\u003e")


def _policy(body: str) -> str:
    """No network at all; scripts only if they are in the page now, and modules that these make themselves."""
    scripts = re.findall(r"<script\b[^>]*>(.*?)</script\s*>", body, re.DOTALL | re.IGNORECASE)
    hashes = {
        base64.b64encode(hashlib.sha256(script.encode("utf-8", "replace")).digest()).decode() for script in scripts
    }
    allowed = " ".join(f"'sha256-{digest}'" for digest in sorted(hashes))
    return (
        f"default-src 'none'; script-src blob: {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "font-src data:; media-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _write(target: Path, text: str) -> None:
    """Replace `target` at once, so that nobody finds half a page."""
    try:
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise ExportError(f"{target} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
        Path(draft).chmod(0o644)
        Path(draft).replace(target)
    except OSError as error:
        raise ExportError(f"{target} cannot be written: {error.strerror}.") from error
    finally:
        Path(draft).unlink(missing_ok=True)
