"""What `export_html` promises that needs no browser; that its pages live is in tests/browser/test_hosts.py."""

import base64
import json
import re
import stat
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest

from interpwidgets.export import CONTROLS, ExportError, export_html

STATE = "application/vnd.jupyter.widget-state+json"
VIEW = "application/vnd.jupyter.widget-view+json"
HOSTILE = "<img src=x onerror=alert(1)></script><!--\u2028\ud83d"
PNG = base64.b64encode(b"a picture").decode()


def model(name: str = "AnyModel", module: str = "anywidget", buffers: Any = (), **state: Any) -> dict[str, Any]:
    found = {"model_name": name, "model_module": module, "model_module_version": "1", "state": state}
    return {**found, "buffers": list(buffers)} if buffers else found


def shown(model_id: str, text: str = "Widget()", **data: str) -> Any:
    view = {"version_major": 2, "version_minor": 0, "model_id": model_id}
    return nbformat.v4.new_output("display_data", {VIEW: view, "text/plain": text, **data})


def saved(folder: Path, *outputs: Any, models: dict[str, Any] | None = None, name: str = "lesson.ipynb") -> Path:
    """A notebook of one executed cell."""
    cell = nbformat.v4.new_code_cell("1 + 1", execution_count=1, outputs=list(outputs))
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# Attention $x$"), cell])
    if models is not None:
        made.metadata["widgets"] = {STATE: {"version_major": 2, "version_minor": 0, "state": models}}
    path = folder / name
    path.write_text(json.dumps(made))  # plain json: keeps a lone surrogate, as a kernel's message does
    return path


def page_state(path: Path) -> dict[str, Any]:
    found = re.search(
        r'<script type="application/json" id="interpwidgets-state">(.*?)</script>', path.read_text("utf-8")
    )
    assert found
    return dict(json.loads(found[1]))


class Tags(HTMLParser):
    """Every start tag of a page, as a browser without scripts reads it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


# -- what the page holds ------------------------------------------------------------------------------------------


def test_one_file_names_no_address_to_load_from(tmp_path):
    path = export_html(saved(tmp_path, shown("a"), models={"a": model(_esm="export default {}")}))
    assert path == tmp_path / "lesson.html"
    loading = {"src", "srcset", "data", "poster", "background", "action"}
    for tag, attributes in Tags(path.read_text("utf-8")).found:
        addresses = [
            value or "" for name, value in attributes.items() if name in loading or (tag, name) == ("link", "href")
        ]
        assert all(address.startswith("data:") for address in addresses), (tag, attributes)
    assert "@import" not in path.read_text("utf-8")
    assert not re.search(r"url\(\s*['\"]?(?!data:|#|['\"]?data:)", path.read_text("utf-8"))


def test_the_page_forbids_the_network_and_unknown_scripts(tmp_path):
    text = export_html(saved(tmp_path, shown("a"), models={"a": model(_esm="export default {}")})).read_text("utf-8")
    (policy,) = (a["content"] for t, a in Tags(text).found if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src blob: 'sha256-")
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    assert text.index("Content-Security-Policy") < text.index("<script")


def test_code_and_style_are_stored_once_for_all_instances(tmp_path):
    models = {name: model(_esm="export default {/* once */}", _css="b {}", n=name) for name in "abc"}
    state = page_state(export_html(saved(tmp_path, *map(shown, "abc"), models=models)))
    assert state["texts"] == ["export default {/* once */}", "b {}"]
    assert [m["esm"] for m in state["models"].values()] == [0, 0, 0]


def test_only_what_is_shown_and_what_it_refers_to_is_kept(tmp_path):
    models = {
        "box": model("VBoxModel", "@jupyter-widgets/controls", children=["IPY_MODEL_a"], layout="IPY_MODEL_l"),
        "a": model(_esm="", _bundle="IPY_MODEL_code", nested={"deep": ["anywidget:b"]}),
        "b": model(_esm=""),
        "code": model(_esm="", code="..."),
        "l": model("LayoutModel", "@jupyter-widgets/base"),
        "link": model(
            "LinkModel", "@jupyter-widgets/controls", source=["IPY_MODEL_a", "x"], target=["IPY_MODEL_b", "x"]
        ),
        "far": model(
            "LinkModel", "@jupyter-widgets/controls", source=["IPY_MODEL_a", "x"], target=["IPY_MODEL_z", "x"]
        ),
        "z": model(_esm="never shown"),
    }
    state = page_state(export_html(saved(tmp_path, shown("box"), models=models)))
    assert sorted(state["models"]) == ["a", "b", "box", "code", "link"]


def test_hostile_tokens_are_only_ever_text(tmp_path):
    models = {"a": model(_esm="", tokens=[HOSTILE], title=HOSTILE)}
    stream = nbformat.v4.new_output("stream", text=HOSTILE)
    path = export_html(saved(tmp_path, shown("a", text=HOSTILE), stream, models=models))
    assert page_state(path)["models"]["a"]["state"]["tokens"] == [HOSTILE]
    tags = Tags(path.read_text("utf-8")).found
    assert not any("onerror" in attributes for _, attributes in tags)
    assert sum(tag == "script" for tag, _ in tags) == 2
    labels = [attributes["aria-label"] for tag, attributes in tags if tag == "figure"]
    assert labels == [HOSTILE.replace("\ud83d", "?")]


def test_a_widget_is_a_figure_with_title_caption_and_alt_text(tmp_path):
    titled = shown("a", **{"image/png": PNG})
    titled.metadata["interpwidgets"] = {"alt": "Twelve heads look at the first token."}
    models = {"a": model(_esm="", title="Attention heads", caption="GPT-2"), "b": model(_esm="")}
    text = export_html(saved(tmp_path, titled, shown("b", text="Heads(2)"), models=models)).read_text("utf-8")
    assert [attributes["aria-label"] for tag, attributes in Tags(text).found if tag == "figure"] == [
        "Attention heads: GPT-2",
        "Heads(2)",
    ]
    assert re.findall(r"<figcaption>(.*?)</figcaption>", text) == [
        "<strong>Attention heads</strong> GPT-2 <span>Twelve heads look at the first token.</span>",
        "<span>Heads(2)</span>",
    ]
    without_scripts = re.findall(r"<noscript>(.*?)</noscript>", text, re.DOTALL)
    assert f'<img alt="Twelve heads look at the first token." src="data:image/png;base64,{PNG}"' in without_scripts[0]
    assert "<pre>Heads(2)</pre>" in without_scripts[1]


def test_a_box_is_a_group_named_by_the_widgets_in_it(tmp_path):
    models = {
        "a": model(_esm="", title="Logit lens", caption="of GPT-2"),
        "b": model(_esm="", title="Attention heads"),
        "box": model("HBoxModel", "@jupyter-widgets/controls", children=["IPY_MODEL_b", "IPY_MODEL_a"]),
    }
    text = export_html(saved(tmp_path, shown("box", text="HBox(children=...)"), models=models)).read_text("utf-8")
    assert ("div", {"role": "group", "aria-label": "Attention heads, Logit lens"}) in Tags(text).found


def test_binary_values_of_either_encoding_arrive_and_stale_ones_do_not(tmp_path):
    buffers = [
        {"path": ["values", "data"], "encoding": "base64", "data": "AQI="},
        {"path": ["tile", "list", 1], "encoding": "hex", "data": "0102"},
        {"path": ["gone", "data"], "encoding": "base64", "data": "AQI="},
        {"path": ["none", "where", "data"], "encoding": "base64", "data": "AQI="},
    ]
    state = {"values": {"dtype": "u1"}, "tile": {"list": [None, None]}, "none": {"where": None}}
    path = export_html(saved(tmp_path, shown("a"), models={"a": model(_esm="", buffers=buffers, **state)}))
    kept = page_state(path)["models"]["a"]["buffers"]
    assert kept == [{"path": ["values", "data"], "data": "AQI="}, {"path": ["tile", "list", 1], "data": "AQI="}]


def test_a_widget_that_needs_jupyter_keeps_its_picture_or_text_and_says_so(tmp_path):
    models = {"s": model("IntSliderModel", "@jupyter-widgets/controls"), "a": model(_esm="")}
    outputs = (shown("s", text="IntSlider(value=<3>)"), shown("lost", **{"image/png": PNG}), shown("a"))
    text = export_html(saved(tmp_path, *outputs, models=models)).read_text("utf-8")
    assert "IntSlider needs Jupyter; this is its picture or text." in text
    assert "IntSlider(value=&lt;3&gt;)" in text
    assert "A widget was not saved with the notebook; this is its picture or text." in text
    assert PNG in text


def test_pictures_beside_the_notebook_are_part_of_the_page(tmp_path):
    (tmp_path / "a picture.png").write_bytes(b"a picture")
    (tmp_path / "inner").mkdir()
    made = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_markdown_cell(
                "![one](../a%20picture.png) ![two](b%20c.png) <b>bold</b> ![three](gone.png)"
            ),
            nbformat.v4.new_markdown_cell(
                '<details><summary><img alt="four" src="b c.png"></summary>\n\n**x**\n\n</details>'
            ),
        ]
    )
    (tmp_path / "inner" / "b c.png").write_bytes(b"a picture")
    nbformat.write(made, tmp_path / "inner" / "n.ipynb")
    text = export_html(tmp_path / "inner" / "n.ipynb").read_text("utf-8")
    sources = {a["alt"]: a["src"] for tag, a in Tags(text).found if tag == "img"}
    inside = f"data:image/png;base64,{PNG}"
    assert sources == {"one": "../a%20picture.png", "two": inside, "three": "gone.png", "four": inside}
    assert "<b>bold</b>" in text


def test_an_output_that_no_page_can_show_says_so(tmp_path):
    plotly = nbformat.v4.new_output("display_data", {"application/geo+json": {"data": []}})
    text = export_html(saved(tmp_path, plotly)).read_text("utf-8")
    assert "application/geo+json: this output needs Jupyter." in text


def test_a_notebook_without_widgets_is_a_plain_page(tmp_path):
    text = export_html(saved(tmp_path, nbformat.v4.new_output("stream", text="2"))).read_text("utf-8")
    assert "interpwidgets-state" not in text
    assert "<script" not in text


def test_the_page_draws_the_controls_that_the_exporter_promises():
    source = Path(__file__).parents[1] / "frontend" / "src" / "host" / "controls.ts"
    if not source.exists():
        pytest.skip("frontend/ is not here (an installed copy)")
    table = source.read_text("utf-8").partition("export const CONTROLS")[2].partition("};")[0]
    assert set(re.findall(r"^  (\w+Model):", table, re.MULTILINE)) == CONTROLS


# -- what it says when it cannot ----------------------------------------------------------------------------------


def unrun(folder: Path) -> Path:
    path = folder / "unrun.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), path)
    return path


def text_file(folder: Path) -> Path:
    path = folder / "notes.ipynb"
    path.write_text("not json")
    return path


REFUSALS = {
    "missing": (lambda folder: folder / "no.ipynb", "There is no notebook"),
    "a folder": (lambda folder: folder, "is a folder; name one notebook"),
    "not a notebook": (text_file, "is not a notebook: expected the JSON of an .ipynb file"),
    "never run": (unrun, "has never been run, so there is nothing to show. Run it first"),
    "no state": (
        lambda folder: saved(folder, shown("a"), shown("b")),
        "shows 2 widgets but was saved without their state",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_notebook_that_cannot_be_exported_is_refused_in_a_sentence(tmp_path, case):
    make, sentence = REFUSALS[case]
    with pytest.raises(ExportError, match=re.escape(sentence)):
        export_html(make(tmp_path), tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_the_notebook_is_never_overwritten(tmp_path):
    path = saved(tmp_path, nbformat.v4.new_output("stream", text="2"))
    before = path.read_text()
    with pytest.raises(ExportError, match="would overwrite the notebook"):
        export_html(path, tmp_path / "." / "lesson.ipynb")
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("out", "sentence"), [("folder", "is a folder; name the HTML file"), ("no/x.html", "There is no folder")]
)
def test_a_place_that_cannot_hold_the_page_is_named(tmp_path, out, sentence):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ExportError, match=sentence):
        export_html(saved(tmp_path, nbformat.v4.new_output("stream", text="2")), tmp_path / out)


def test_a_disk_that_fails_leaves_the_old_page_and_no_draft(tmp_path, monkeypatch):
    path = saved(tmp_path, nbformat.v4.new_output("stream", text="2"))
    old = tmp_path / "lesson.html"
    old.write_text("old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ExportError, match=r"lesson.html cannot be written: No space left on device"):
        export_html(path)
    assert old.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lesson.html", "lesson.ipynb"]


def test_the_page_may_be_read_by_others(tmp_path):
    path = export_html(saved(tmp_path, nbformat.v4.new_output("stream", text="2")))
    assert stat.S_IMODE(path.stat().st_mode) & 0o044


# -- running it first ---------------------------------------------------------------------------------------------


def test_execute_runs_in_the_notebooks_folder_and_leaves_the_file_alone(tmp_path):
    path = tmp_path / "run.ipynb"
    cells = [nbformat.v4.new_code_cell("from pathlib import Path\nPath('beside.txt').read_text()")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    (tmp_path / "beside.txt").write_text("found " * 2)
    before = path.read_bytes()
    assert "found found" in export_html(path, execute=True).read_text("utf-8")
    assert path.read_bytes() == before


def test_a_failing_cell_is_named_and_nothing_is_written(tmp_path):
    path = tmp_path / "run.ipynb"
    cells = [nbformat.v4.new_markdown_cell("x"), nbformat.v4.new_code_cell("1"), nbformat.v4.new_code_cell("1 / 0")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    with pytest.raises(ExportError, match=r"Cell 3 of .*run.ipynb raised ZeroDivisionError: division by zero"):
        export_html(path, execute=True)
    assert not path.with_suffix(".html").exists()


def test_a_kernel_that_is_not_installed_is_named(tmp_path):
    path = tmp_path / "run.ipynb"
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    made.metadata["kernelspec"] = {"name": "julia-9", "display_name": "Julia"}
    nbformat.write(made, path)
    with pytest.raises(ExportError, match="asks for the kernel 'julia-9', which is not installed here"):
        export_html(path, execute=True)
