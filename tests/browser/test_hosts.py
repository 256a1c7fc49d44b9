"""What every host must do for every widget: load the code once, keep views in step, survive a reload, clean up.

The widget is `mini.Mini`: a few lines, an array, a nested array, a message. The same promises are held for the real
widgets where a host could tell the difference.
"""

import json
from typing import Any

import ipywidgets
import mini
import nbformat
import numpy as np
import pytest
from ipywidgets import Widget

from interpwidgets.widgets import _base

HOSTILE = "<img src=x onerror=alert(1)></script><!--\u2028\U0001f642"
START = "import mini; mini.install()"
THREE = (START, "a = mini.example('a')\na", "b = mini.example('b')\nb", "c = mini.example('c')\nc")
STATE = "application/vnd.jupyter.widget-state+json"


@pytest.fixture(autouse=True)
def small_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widgets of this process carry mini's bundle too, in these tests only."""
    monkeypatch.setattr(_base, "static", mini.static)


def shows(page: Any, *parts: str) -> None:
    """Wait until the page shows one widget for each part, in this order, each with its part in it."""
    page.wait_for_function(
        """(parts) => {
            const all = (root) => [...root.querySelectorAll("*")].flatMap((el) =>
                [...(el.matches(".mini span") ? [el.textContent] : []), ...(el.shadowRoot ? all(el.shadowRoot) : [])]);
            const found = all(document);
            return found.length === parts.length && parts.every((part, i) => found[i].includes(part));
        }""",
        arg=list(parts),
        timeout=20_000,
    )


def hurry(page: Any) -> None:
    """Let the page wait a fiftieth of the time that it means to."""
    page.evaluate("() => { const real = setTimeout; globalThis.setTimeout = (f, ms, ...a) => real(f, ms / 50, ...a); }")


# -- without Jupyter ----------------------------------------------------------------------------------------------


def test_three_widgets_evaluate_the_code_once_and_carry_it_once(bridge):
    widgets = [mini.example(name) for name in "abc"]
    for widget in widgets:
        bridge.show(widget)
    shows(bridge.page, "token=a", "token=b", "token=c")
    assert bridge.page.evaluate("miniEvaluated") == 1
    assert len({widget.get_state("_bundle")["_bundle"] for widget in widgets}) == 1
    assert not any(mini.BUNDLE in str(widget.get_state()) for widget in widgets)


def test_the_stub_is_smaller_than_a_kilobyte():
    assert len(_base.static("stub.js").encode()) < 1000


def test_a_click_reaches_python_and_a_trait_reaches_every_view(bridge):
    w = mini.example()
    first, second = bridge.show(w), bridge.show(w)
    first.get_by_role("button", name="more").click()
    bridge.until(lambda: w.count == 1)
    w.count = 5
    bridge.pump()
    assert "count=5" in first.inner_text()
    assert "count=5" in second.inner_text()


def test_a_removed_view_leaves_nothing_behind(bridge):
    w = mini.example()
    kept = bridge.show(w)
    before = bridge.listening(w)
    gone = bridge.show(w)
    bridge.remove(gone)
    assert bridge.listening(w) == before
    assert bridge.page.evaluate("miniCleaned") == 1
    w.count = 3
    bridge.pump()
    assert "count=3" in kept.inner_text()


@pytest.mark.parametrize("found", [True, False], ids=["the code comes", "the code never comes"])
def test_a_view_removed_while_it_loads_stays_empty(bridge, found):
    w = mini.example()
    bridge.pump()
    bridge.page.evaluate(
        "id => globalThis.interpwidgetsHost.close(id)", w._bundle.model_id
    )  # so that the stub has to wait and try again
    if not found:
        hurry(bridge.page)
    bridge.page.evaluate(
        """(id) => {
            const el = document.createElement("div"), host = globalThis.interpwidgetsHost;
            globalThis.drawing = host.view(id, el).then(() => el.childNodes.length);
            setTimeout(() => host.remove(el), 100);
        }""",
        w.model_id,
    )
    if found:
        bridge.page.wait_for_timeout(150)
        bridge._publish(w._bundle.model_id, "comm_open", {"state": w._bundle.get_state(), "buffer_paths": []}, [])
        bridge.pump()
    assert bridge.page.evaluate("globalThis.drawing") == 0
    assert bridge.page.evaluate("globalThis.miniCleaned ?? 0") == 0


def test_a_view_removed_before_its_widget_starts_stays_empty(bridge):
    w = mini.example()
    bridge.pump()
    drawn = bridge.page.evaluate(
        """async (id) => {
            const el = document.createElement("div"), host = globalThis.interpwidgetsHost;
            const drawing = host.view(id, el);
            host.remove(el);
            await drawing;
            return el.childNodes.length;
        }""",
        w.model_id,
    )
    assert drawn == 0


def test_a_reload_restores_what_python_knows(bridge):
    w = mini.example()
    bridge.show(w).get_by_role("button", name="more").click()
    bridge.until(lambda: w.count == 1)
    bridge.reload()
    assert "count=1" in bridge.show(w).inner_text()


def test_without_the_hidden_model_the_kernel_is_asked_for_the_code(bridge):
    w = mini.example()
    bridge.pump()
    bridge.page.evaluate("id => globalThis.interpwidgetsHost.close(id)", w._bundle.model_id)
    figure = bridge.show(w)
    assert "sum=15" in figure.inner_text()
    assert {"type": "bundle"} in [data["content"] for _, data, _ in bridge.sent if data["method"] == "custom"]


def test_when_nobody_has_the_code_the_reader_is_told(bridge):
    w = mini.example()
    bridge.pump()
    bridge.page.evaluate("id => globalThis.interpwidgetsHost.close(id)", w._bundle.model_id)
    bridge.kernel = False
    hurry(bridge.page)
    assert "Run the cell again" in bridge.show(w).inner_text()


def test_code_that_fails_once_is_not_remembered_as_failed(bridge, monkeypatch):
    monkeypatch.setattr(_base, "static", lambda name: "throw 1" if name == "bundle.js" else mini.static(name))
    broken = mini.example()
    bridge.kernel = False
    hurry(bridge.page)
    assert "Run the cell again" in bridge.show(broken).inner_text()
    monkeypatch.setattr(_base, "static", mini.static)
    broken._bundle.code = mini.BUNDLE
    assert "sum=15" in bridge.show(broken).inner_text()


def test_one_bundle_per_instance_where_the_switch_asks_for_it(bridge, monkeypatch):
    monkeypatch.setenv("INTERPWIDGETS_BUNDLE", "inline")
    widgets = [mini.example("a"), mini.example("b")]
    for widget in widgets:
        assert widget._bundle is None
        assert widget._esm == mini.BUNDLE
        bridge.show(widget)
    shows(bridge.page, "token=a", "token=b")


def test_widgets_work_after_all_were_closed(bridge):
    first = mini.example()
    Widget.close_all()
    second = mini.example()
    assert second._bundle is not first._bundle
    assert "sum=15" in bridge.show(second).inner_text()


def test_an_array_set_by_the_page_arrives_as_an_array(bridge):
    w = mini.example()
    bridge.show(w).get_by_role("button", name="double").click()
    bridge.until(lambda: w.values.sum() == 30)
    assert w.values.dtype == np.float32
    assert w.values.shape == (2, 3)


def test_messages_carry_bytes_both_ways(bridge):
    figure = bridge.show(mini.example())
    figure.get_by_role("button", name="ask").click()
    bridge.pump()
    assert figure.locator(".mini").get_attribute("data-echo") == "hello 2"
    assert figure.locator(".mini").get_attribute("data-kernel") == "true"


def test_boxes_and_texts_of_ipywidgets_stand_around_ours(bridge):
    a, b = mini.example("a"), mini.example("b")
    label = ipywidgets.Label(HOSTILE)
    box = ipywidgets.VBox([label, ipywidgets.HBox([a, b])])
    figure = bridge.show(box)
    shows(bridge.page, "token=a", "token=b")
    assert HOSTILE.replace("\u2028", "") in figure.inner_text().replace("\u2028", "").replace("\n", "")
    box.children = [a]
    bridge.pump()
    shows(bridge.page, "token=a")
    assert bridge.page.evaluate("miniCleaned") == 2


def test_html_of_ipywidgets_keeps_its_text_and_runs_nothing(bridge):
    html = ipywidgets.HTML(
        "<b onclick=alert(1)>bold</b><img src=x onerror=alert(1)><script>alert(1)</script><a href='//x'>x</a>"
    )
    figure = bridge.show(html)
    assert figure.inner_html() == "<b>bold</b><a>x</a>"


@pytest.mark.parametrize(("link", "back"), [(ipywidgets.jslink, True), (ipywidgets.jsdlink, False)])
def test_links_of_the_page_keep_traits_equal(bridge, link, back):
    a, b = mini.example("a"), mini.example("b")
    held = link((a, "count"), (b, "count"))
    first, second = bridge.show(a), bridge.show(b)
    first.get_by_role("button", name="more").click()
    bridge.until(lambda: b.count == 1)
    second.get_by_role("button", name="more").click()
    bridge.until(lambda: b.count == 2)
    bridge.pump()
    assert a.count == (2 if back else 1)
    held.close()


# -- JupyterLab ---------------------------------------------------------------------------------------------------


def test_jupyterlab_loads_three_widgets_once_and_saves_the_code_once(notebook):
    page = notebook.run(*THREE)
    shows(page, "token=a", "token=b", "token=c")
    assert page.evaluate("miniEvaluated") == 1
    saved = json.dumps(notebook.save(widgets=True))
    assert saved.count("miniEvaluated") == 2  # both in the one copy of the code
    assert len(saved) < len(mini.BUNDLE) + 20_000


def test_inline_bundles_make_three_copies_in_jupyterlab(notebook):
    page = notebook.run("import os; os.environ['INTERPWIDGETS_BUNDLE'] = 'inline'", *THREE)
    shows(page, "token=a", "token=b", "token=c")
    assert page.evaluate("miniEvaluated") == 3
    assert len(json.dumps(notebook.save(widgets=True))) > 3 * len(mini.BUNDLE)


def test_in_jupyterlab_views_stay_in_step_and_a_cleared_one_is_gone(notebook):
    page = notebook.run(START, "w = mini.example()\nw", "w")
    shows(page, "count=0", "count=0")
    page.get_by_role("button", name="more").first.click()
    shows(page, "count=1", "count=1")
    page.get_by_role("button", name="double").first.click()
    notebook.until("float(w.values.sum())", "30.0")
    page.evaluate("() => { jupyterapp.shell.currentWidget.content.activeCellIndex = 2; }")
    notebook.command("notebook:clear-cell-output")
    shows(page, "sum=30")
    page.wait_for_function("globalThis.miniCleaned === 1")
    notebook.execute("w.count = 9")
    shows(page, "count=9")


def test_jupyterlab_restores_widgets_after_a_reload(notebook):
    page = notebook.run(*THREE)
    page.get_by_role("button", name="more").nth(1).click()
    notebook.until("b.count", "1")
    notebook.reload()
    shows(page, "count=0", "count=1", "count=0")
    assert page.evaluate("miniEvaluated") == 1
    page.get_by_role("button", name="more").nth(1).click()
    notebook.until("b.count", "2")


def test_jupyterlab_shows_saved_widgets_of_a_fresh_kernel(notebook):
    page = notebook.run(*THREE)
    page.get_by_role("button", name="more").first.click()
    notebook.until("a.count", "1")
    notebook.save(widgets=True)
    notebook.shut_down_kernel()
    notebook.reload()
    shows(page, "count=1", "count=0", "count=0")
    assert page.evaluate("miniEvaluated") == 1


def test_an_untrusted_notebook_shows_the_picture_instead(notebook, executed):
    made = executed(START, "mini.example()")
    assert made.cells[1].outputs[0].data["image/png"].startswith("iVBOR")
    notebook.open(made)
    notebook.page.locator(".jp-OutputArea img").wait_for()
    assert notebook.page.locator(".mini").count() == 0


def test_tokens_are_text_in_jupyterlab(notebook):
    page = notebook.run(START, f"mini.example({HOSTILE!r})")
    shows(page, f"token={HOSTILE}")
    assert page.locator(".jp-OutputArea img").count() == 0


# -- marimo -------------------------------------------------------------------------------------------------------


def bundle_requests(page: Any) -> list[str]:
    """The requests by which widgets of this page asked the kernel for the code, filled as they happen."""
    asked: list[str] = []
    page.on("request", lambda request: '"bundle"' in (request.post_data or "") and asked.append(request.url))
    return asked


def test_marimo_loads_three_widgets_once_and_python_hears_them(marimo):
    page = marimo(
        f"{START}; import marimo as mo",
        "w = mo.ui.anywidget(mini.example('a'))\nw",
        f"mini.example({HOSTILE!r})",
        "mini.example('c')",
        "mo.md(f'python says {w.value[\"count\"]}')",
    )
    shows(page, "token=a", f"token={HOSTILE}", "token=c")
    assert page.evaluate("miniEvaluated") == 1
    page.get_by_role("button", name="more").first.click()
    page.get_by_text("python says 1").wait_for()
    page.get_by_role("button", name="ask").first.click()
    page.locator(".mini[data-echo='hello 2']").wait_for()
    page.get_by_role("button", name="double").first.click()
    shows(page, "sum=30", "sum=15", "sum=15")


def test_each_reader_of_a_marimo_app_finds_the_hidden_model(marimo, browser):
    page = marimo(START, "mini.example('a')", "mini.example('b')")
    shows(page, "token=a", "token=b")
    second = browser.new_context().new_page()
    asked = bundle_requests(second)
    second.goto(page.url)
    shows(second, "token=a", "token=b")
    assert not asked
    second.context.close()


def test_a_marimo_cell_that_runs_again_opens_a_new_hidden_model(marimo):
    page = marimo(
        f"{START}; import marimo as mo",
        "again = mo.ui.button(value=0, on_click=lambda value: value + 1, label='again')\nagain",
        "mini.example(f'round {again.value}')",
    )
    shows(page, "token=round 0")
    asked = bundle_requests(page)
    page.get_by_role("button", name="again").click()
    shows(page, "token=round 1")
    assert not asked


# -- pages --------------------------------------------------------------------------------------------------------


def test_an_exported_page_is_alive_with_the_network_cut(exported):
    page = exported(*THREE, "a")
    shows(page, "token=a", "token=b", "token=c", "token=a")
    page.get_by_role("button", name="more").first.click()
    shows(page, "count=1", "count=0", "count=0", "count=1")
    assert page.evaluate("miniEvaluated") == 1
    assert page.html.read_text().count("globalThis.miniEvaluated =") == 1
    assert page.locator(".mini[data-kernel=false]").count() == 4


def test_nothing_in_an_exported_page_runs_but_its_widgets(exported):
    page = exported(
        f"{START}; from IPython.display import HTML",
        f"mini.example({HOSTILE!r})",
        f"print({HOSTILE!r})",
        'HTML(\'<script>document.body.dataset.own = "ran"</script><b id=own onclick="document.title = 1">x</b>\')',
    )
    shows(page, f"token={HOSTILE}")
    assert page.locator("body").get_attribute("data-own") == "ran"  # a script of the notebook's own author
    page.locator("#own").click()
    assert page.title() != "1"
    page.watch.forgive("Content Security Policy")
    assert not page.evaluate("""() => {
        const made = document.createElement("script");
        made.textContent = "document.title = 2";
        document.body.append(made);
        return document.title === "2";
    }""")
    page.watch.forgive("Content Security Policy")


def test_an_exported_page_keeps_boxes_and_links(exported):
    page = exported(
        f"{START}; import ipywidgets as iw",
        "a, b = mini.example('a'), mini.example('b'); held = iw.jslink((a, 'count'), (b, 'count'))",
        "iw.VBox([iw.HTML('<b>two</b>'), iw.HBox([a, b]), iw.IntSlider()])",
    )
    shows(page, "token=a", "token=b")
    page.get_by_role("button", name="more").first.click()
    shows(page, "count=1", "count=1")
    assert page.get_by_text("IntSlider: this page cannot show this widget").count() == 1


def test_an_exported_figure_has_a_name_and_a_picture_without_javascript(exported):
    page = exported(START, "mini.example('</noscript>')", java_script_enabled=False)
    figure = page.get_by_role("figure", name="Mini(count=0, token='</noscript>')")
    assert figure.locator("img").count() == 1


def test_an_exported_page_follows_the_readers_theme(exported):
    page = exported(START, "mini.example()", color_scheme="dark")
    shows(page, "token=a")
    shade = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(shade) == "rgb(17, 17, 17)"
    assert page.locator("body").get_attribute("data-jp-theme-light") == "false"
    page.emulate_media(color_scheme="light")
    page.locator("body[data-jp-theme-light=true]").wait_for()
    assert page.evaluate(shade) == "rgb(255, 255, 255)"


def test_stock_nbconvert_pages_load_three_widgets_once(stock_html):
    page = stock_html(*THREE, "a")
    shows(page, "token=a", "token=b", "token=c", "token=a")
    page.get_by_role("button", name="more").first.click()
    shows(page, "count=1", "count=0", "count=0", "count=1")
    assert page.evaluate("miniEvaluated") == 1


def test_an_executed_notebook_keeps_the_code_once(executed):
    made = executed(*THREE)
    text = nbformat.writes(made)
    assert text.count("globalThis.miniEvaluated =") == 1
    assert len(text) < len(mini.BUNDLE) + 30_000


# -- the real widgets ---------------------------------------------------------------------------------------------

TOKENS = ("<img src=x onerror=alert(1)>", "</script>", "\n", "\t", "\U0001f642", "\u0633\u0644\u0627\u0645", "")
HEADS = (
    "import numpy as np; from interpwidgets import AttentionHeads",
    "patterns = np.random.default_rng(0).dirichlet(np.ones(7), (2, 3, 7)).astype('f4')",
    f"a = AttentionHeads({TOKENS!r}, patterns)\na",
    f"b = AttentionHeads({TOKENS!r}, patterns)\nb",
    f"c = AttentionHeads({TOKENS!r}, patterns)\nc",
)


def three_heads_live(page: Any) -> None:
    """Three figures of one evaluated bundle, drawn, light as the page, their tokens as text; a key moves one."""
    figures = page.locator(".iw[data-widget=attention_heads]")
    figures.nth(2).wait_for(timeout=20_000)
    assert figures.count() == 3
    assert page.evaluate("globalThis.__interpwidgets.size") == 1
    for figure in figures.all():
        assert figure.get_attribute("data-theme") == "light"
        inks = figure.locator("[data-part=map] canvas").first.evaluate(
            """canvas => new Set(new Uint32Array(
                canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"""
        )
        assert inks > 5
        assert "</script>" in figure.locator("[data-part=strip]").inner_text()
        assert figure.locator("img").count() == 0


def test_attention_heads_live_in_jupyterlab(notebook, shot):
    page = notebook.run(*HEADS)
    three_heads_live(page)
    shot(page, "attention-heads-jupyterlab")
    notebook.execute("a.layer = 1")
    page.locator(".iw").first.get_by_text("L1 H").first.wait_for()
    notebook.reload()
    three_heads_live(page)
    page.locator(".iw").first.get_by_text("L1 H").first.wait_for()


def test_attention_heads_live_in_marimo(marimo, shot):
    page = marimo(*HEADS)
    three_heads_live(page)
    shot(page, "attention-heads-marimo")


def test_attention_heads_live_in_an_exported_page(exported, shot):
    page = exported(*HEADS)
    three_heads_live(page)
    shot(page, "attention-heads-exported")
    page.emulate_media(color_scheme="dark")
    page.locator(".iw[data-theme=dark]").nth(2).wait_for()
    shot(page, "attention-heads-exported-dark")


def test_attention_heads_live_in_a_stock_page(stock_html, shot):
    page = stock_html(*HEADS)
    three_heads_live(page)
    shot(page, "attention-heads-stock")
