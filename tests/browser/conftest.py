"""A real Chromium in front of every host in which a widget must live.

    def test_click(bridge):                          # tier 1: no Jupyter, about one second
        w = AttentionHeads(tokens, patterns)
        figure = bridge.show(w)                      # a Locator of this view's element
        figure.locator("[data-part=map]").click()
        bridge.until(lambda: w.locked)               # messages of both sides run while it waits
        w.layer = 1
        bridge.pump()                                # deliver what is under way, then look

    def test_lab(notebook):                          # tier 2: a real JupyterLab, about eight seconds
        page = notebook.run("from interpwidgets import AttentionHeads", "w = AttentionHeads(...); w")
        page.locator(".iw").click()
        assert notebook.python("w.locked") == "True"     # the repr of an expression in the live kernel
        notebook.reload()                            # saves, then loads the page anew; the kernel lives on
        notebook.save()                              # -> the saved notebook (nbformat)

Fixtures
    browser     one Chromium for the session: ``/usr/bin/chromium``, or the one that ``CHROMIUM`` names, or playwright's
                own. Without any the tests are skipped; with ``INTERPWIDGETS_REQUIRE_BROWSER=1`` they fail.
    bridge      widgets of this process on a page without Jupyter (`Bridge`); ``bridge.kernel = False`` plays a dead one
    colab, vscode    this process's widgets again, handed over as these two hosts do (`Colab`, `VSCode`)
    notebook    one notebook in a real JupyterLab (`Notebook`); ``notebook7``: the same in Jupyter Notebook 7
    marimo      ``marimo(*cells) -> page``: an app of these cells, served by ``marimo run``
    executed    ``executed(*cells) -> notebook``: run without a page, its widgets saved in it
    exported    ``exported(*cells) -> page``: executed, through `export_html`, opened from disk with the network cut
    stock_html  ``stock_html(*cells) -> page``: the same through nbconvert, its CDN answered from this machine

Every page is watched. An error on the page or in its console fails the test (``.watch.forgive("part of it")`` takes
one back), and so does a request that leaves this machine (``.watch.outside``); only `stock_html` may ask, its CDN.
``shot(locator_or_page, "name")`` keeps a picture in ``$INTERPWIDGETS_SCREENSHOTS`` or in the test's temporary folder.
"""

import ast
import base64
import contextlib
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import nbformat
import pytest

from interpwidgets.widgets import _base

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ARGUMENTS = (
    "--no-sandbox",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--force-color-profile=srgb",
)

NOISE = ("Could not restore the debugger state",)  # JupyterLab's own complaint when a page leaves its kernel

NOTEBOOK7_NOISE = (  # its own as it loads, on a notebook without any widget too
    "page error: Cannot read properties of undefined (reading 'schema')",  # 7.6.5, of its settings
    "page error: Cannot read properties of undefined (reading 'last_modified')",  # 7.2.0, of a notebook never saved
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything beside this file drives a browser; what drives a JupyterLab says so by its fixture."""
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker("browser")
            if {"lab", "notebook7_server"} & set(getattr(item, "fixturenames", ())):
                item.add_marker("lab")


def missing(what: str) -> None:
    """Skip, or fail where the run insists on a browser."""
    if os.environ.get("INTERPWIDGETS_REQUIRE_BROWSER") == "1":
        pytest.fail(f"INTERPWIDGETS_REQUIRE_BROWSER=1, but {what}")
    pytest.skip(what)


# -- the browser and its pages ------------------------------------------------------------------------------------


def chromium() -> str | None:
    """The browser to start: the one asked for, Debian's, or None for playwright's own."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    return found or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    if importlib.util.find_spec("playwright") is None:
        missing("playwright is not installed: pip install -c constraints.txt -e '.[test]'")
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            started = playwright.chromium.launch(executable_path=chromium(), args=[*ARGUMENTS])
        except Error as error:
            missing(f"no Chromium starts here ({str(error).splitlines()[0]}): install chromium or set CHROMIUM")
        yield started
        started.close()


@dataclass
class Watch:
    """What happened on a page that nobody should see."""

    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def forgive(self, part: str) -> None:
        """Take back the errors that contain this text; there must be one."""
        assert any(part in error for error in self.errors), f"no error contains {part!r}: {self.errors}"
        self.errors = [error for error in self.errors if part not in error]

    def follow(self, context: Any) -> None:
        context.on("request", self._request)
        context.on("weberror", lambda found: self.errors.append(f"page error: {found.error}"))
        context.on("console", self._console)

    def _console(self, said: Any) -> None:
        if said.type == "error" and not said.text.startswith(NOISE):
            self.errors.append(f"console: {said.text} ({said.location.get('url', '')})")

    def _request(self, request: Any) -> None:
        local = ("data:", "blob:", "file:", "about:", "http://127.0.0.1", "ws://127.0.0.1", "http://localhost")
        if not request.url.startswith(local):
            self.outside.append(request.url)


def nothing_outside(watch: Watch) -> None:
    assert not watch.outside, f"the page asked the network for {watch.outside}"


@contextlib.contextmanager
def watched(browser: Any, **options: Any) -> Iterator[tuple[Any, Watch]]:
    """A fresh browser context with one page; ends by failing the test if the page complained."""
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 900}, **options})
    watch = Watch()
    watch.follow(context)
    page = context.new_page()
    page.watch = watch
    try:
        yield page, watch
    finally:
        context.close()
    assert not watch.errors, "the page complained:\n" + "\n".join(watch.errors)


@pytest.fixture
def shot(tmp_path: Path) -> Callable[[Any, str], Path]:
    """Keep a picture of a page or of a part of it."""

    def take(what: Any, name: str) -> Path:
        path = Path(os.environ.get("INTERPWIDGETS_SCREENSHOTS") or tmp_path) / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        what.screenshot(path=path)
        return path

    return take


def wait_until(what: Callable[[], Any], seconds: float = 10, step: Callable[[], Any] = lambda: time.sleep(0.02)) -> Any:
    """What `what` returns once it is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not within {seconds} seconds"
        step()
    return found


# -- tier 1: widgets of this process on a page without Jupyter ----------------------------------------------------

BRIDGE_URL = "http://localhost/"  # an address that counts as secure: the clipboard works
BRIDGE_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>interpwidgets</title>
<body style="margin: 16px"><main></main></body></html>"""


class Bridge:
    """Plays the kernel: comms of widgets in this process end on the page, and the page's messages come back here.

    page     the playwright page            kernel   set to False and the page's messages go nowhere
    sent     every message (id, data, buffers) that the page sent
    """

    def __init__(self, page: Any) -> None:
        self.page, self.watch, self.kernel = page, page.watch, True
        self.sent: list[tuple[str, dict[str, Any], list[bytes]]] = []
        self._inbox: list[tuple[str, dict[str, Any], list[bytes]]] = []
        self._outbox: list[tuple[str, str, dict[str, Any], list[str]]] = []
        self._comms: dict[str, Any] = {}
        page.route("**/*", self._serve)
        page.expose_function("interpwidgetsSend", self._hear)
        self.reload()

    def reload(self) -> None:
        """A fresh page over the widgets that are open, as after a browser's reload."""
        self.page.goto(BRIDGE_URL)
        self._load_host(self.page)
        self._outbox.clear()
        self._open_all()
        self.pump()

    def _load_host(self, place: Any) -> None:
        place.add_script_tag(content=_base.static("host.js"), type="module")
        place.wait_for_function("globalThis.interpwidgetsHost")

    def _open_all(self) -> None:
        from ipywidgets.widgets.widget import _instances, _remove_buffers

        for model_id in self._comms:
            state, paths, buffers = _remove_buffers(_instances[model_id].get_state())
            self._publish(model_id, "comm_open", {"state": state, "buffer_paths": paths}, buffers)

    def show(self, widget: Any) -> Any:
        """One more view of a widget, in an element of its own; the Locator of that element."""
        self.pump()
        return self._draw(self.page, widget)

    def _draw(self, place: Any, widget: Any) -> Any:
        """A view in the page or in one of its frames."""
        name = f"view-{uuid.uuid4().hex[:8]}"
        place.evaluate(
            """([id, name]) => {
                const el = document.createElement("div");
                el.id = name;
                document.querySelector("main").append(el);
                globalThis.interpwidgetsHost.view(id, el).catch((error) => console.error(error));
            }""",
            [widget.model_id, name],
        )
        figure = place.locator(f"#{name}")
        self.until(lambda: figure.evaluate("el => el.childNodes.length"), 20)
        self.pump()
        return figure

    def remove(self, figure: Any) -> None:
        """Remove a view as a host does when its cell is cleared."""
        figure.evaluate("el => globalThis.interpwidgetsHost.remove(el)")
        self.pump()

    def listening(self, widget: Any) -> int:
        """How many listeners the page keeps on a widget's model."""
        return int(self.page.evaluate("id => globalThis.interpwidgetsHost.listening(id)", widget.model_id))

    def theme(self, name: str) -> None:
        """The system's choice: "light" or "dark"."""
        self.page.emulate_media(color_scheme=name)
        self.pump()

    def until(self, what: Callable[[], Any], seconds: float = 10) -> Any:
        """Deliver messages until `what()` is true; returns what it returned."""
        return wait_until(what, seconds, self.pump)

    def pump(self) -> None:
        """Deliver messages in both directions until neither side has more to say."""
        quiet = 0
        while quiet < 2:
            self.page.wait_for_timeout(5)
            quiet = 0 if self._inbox or self._outbox else quiet + 1
            self._deliver()

    def _deliver(self) -> None:
        while self._inbox:
            model_id, data, buffers = self._inbox.pop(0)
            if self.kernel and model_id in self._comms:
                message = {"content": {"data": data}, "buffers": buffers, "header": {"msg_id": uuid.uuid4().hex}}
                self._comms[model_id].handle_msg(message)
        while self._outbox:
            model_id, verb, data, encoded = self._outbox.pop(0)
            match verb, data.get("method"):
                case "comm_close", _:
                    self._call("close", model_id)
                case "comm_open", _:
                    self._call("open", model_id, data["state"], data["buffer_paths"], encoded)
                case _, "update":
                    self._call("update", model_id, data["state"], data["buffer_paths"], encoded)
                case _, "custom":
                    self._call("message", model_id, data["content"], encoded)

    def _call(self, verb: str, *arguments: Any) -> None:
        plain = json.loads(json.dumps(arguments))  # what JSON cannot say would not reach a real page either
        self.page.evaluate("([verb, ...rest]) => void globalThis.interpwidgetsHost[verb](...rest)", [verb, *plain])

    def _hear(self, model_id: str, data: dict[str, Any], buffers: list[str]) -> None:
        data.setdefault("buffer_paths", [])
        message = (model_id, data, [base64.b64decode(buffer) for buffer in buffers])
        self.sent.append(message)
        self._inbox.append(message)

    def _serve(self, route: Any) -> None:
        if re.fullmatch(r"http://localhost(:\d+)?/", route.request.url):
            route.fulfill(body=BRIDGE_PAGE, content_type="text/html")
        else:
            route.abort()

    def _publish(self, comm_id: str, verb: str, data: dict[str, Any] | None, buffers: Any) -> None:
        self._outbox.append((comm_id, verb, data or {}, [base64.b64encode(bytes(b)).decode() for b in buffers or []]))

    @contextlib.contextmanager
    def connected(self) -> Iterator[None]:
        """While this holds, widgets of this process open their comms here."""
        import comm
        from comm.base_comm import BaseComm
        from ipywidgets import Widget
        from ipywidgets.widgets.widget import _instances

        bridge = self

        class PageComm(BaseComm):
            def publish_msg(self, msg_type: str, data: Any = None, metadata: Any = None, buffers: Any = None, **_: Any):
                if msg_type == "comm_open":
                    bridge._comms[self.comm_id] = self
                if msg_type == "comm_close":
                    bridge._comms.pop(self.comm_id, None)
                bridge._publish(self.comm_id, msg_type, data, buffers)

        former = comm.create_comm
        comm.create_comm = lambda *args, **kwargs: PageComm(*args, **kwargs)
        before = set(_instances)
        if _base._shared is not None:  # the bundle of an earlier test lives on no page
            _base._shared.close()
        try:
            yield
        finally:
            comm.create_comm = former
            for model_id in set(_instances) - before:
                Widget.close(_instances[model_id])


@contextlib.contextmanager
def played(host: type[Bridge], browser: Any) -> Iterator[Any]:
    with watched(browser) as (page, watch):
        made = host(page)
        with made.connected():
            yield made
        nothing_outside(watch)


@pytest.fixture
def bridge(browser: Any) -> Iterator[Bridge]:
    with played(Bridge, browser) as made:
        yield made


# -- tier 1, as hosts that cannot run here do it -------------------------------------------------------------------

OTHER_HOST = """
const own = (await import("data:text/javascript;base64,%(esm)s")).default;
const cast = {
    Uint8Array: (view) => new Uint8Array(view.buffer, view.byteOffset, view.byteLength),
    ArrayBuffer: (view) => view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength),
}["%(buffers)s"];
const known = new WeakMap();
const handed = (value) => {
    if (value === null || typeof value !== "object" || value.get) return value;
    if (!known.has(value)) known.set(value, turned(value));
    return known.get(value);
};
const turned = (value) => {
    if (value instanceof DataView) return cast(value);
    if (Array.isArray(value)) return value.some((item) => handed(item) !== item) ? value.map(handed) : value;
    const items = ArrayBuffer.isView(value) ? [] : Object.entries(value);
    if (!items.some(([, item]) => handed(item) !== item)) return value;
    return Object.fromEntries(items.map(([name, item]) => [name, handed(item)]));
};
const get_model = (model) => async (id) => {
    globalThis.asked = (globalThis.asked ?? 0) + 1;
    if (globalThis.asked <= %(refusals)s) throw new Error("widget model not found");
    return disguise(await model.widget_manager.get_model(id));
};
const disguise = (model) => {
    const heard = new Map();
    const hear = (handler) => {
        if (!heard.has(handler)) heard.set(handler, (...values) => handler(...values.map(handed)));
        return heard.get(handler);
    };
    return {
        ...model,
        get: (name) => handed(model.get(name)),
        on: (names, handler) => model.on(names, hear(handler)),
        off: (names, handler) => model.off(names, handler && hear(handler)),
        widget_manager: %(manager)s ? { get_model: get_model(model) } : undefined,
    };
};
export default { ...own, render: (context) => own.render({ ...context, model: disguise(context.model) }) };
"""


class OtherHost(Bridge):
    """Hands the page's models to the widgets in another host's form.

    buffers     what binary values are: "DataView" (as in Jupyter), "Uint8Array" or "ArrayBuffer"
    manager     False: the model has no `widget_manager`
    refusals    how often `get_model` rejects before it answers
    """

    buffers, manager, refusals = "DataView", True, 0.0

    def _publish(self, comm_id: str, verb: str, data: dict[str, Any] | None, buffers: Any) -> None:
        if verb == "comm_open" and data and "_esm" in data["state"]:
            parts = {
                "esm": base64.b64encode(data["state"]["_esm"].encode()).decode(),
                "buffers": self.buffers,
                "refusals": "Infinity" if self.refusals == float("inf") else self.refusals,
                "manager": str(self.manager).lower(),
            }
            data = {**data, "state": {**data["state"], "_esm": OTHER_HOST % parts}}
        super()._publish(comm_id, verb, data, buffers)


class Colab(OtherHost):
    """Bytes are Uint8Array; each view stands in a sandboxed frame of an origin of its own, with models of its own."""

    buffers = "Uint8Array"

    def reload(self) -> None:
        self._outputs: list[Any] = []
        self.page.goto(BRIDGE_URL)
        self._outbox.clear()

    def show(self, widget: Any) -> Any:
        self.pump()
        former, url = self._outputs, f"http://localhost:{8001 + len(self._outputs)}/"
        self.page.evaluate(
            """(url) => new Promise((loaded) => {
                const frame = document.createElement("iframe");
                frame.sandbox = "allow-scripts allow-same-origin allow-forms";
                Object.assign(frame, { src: url, width: "1000", height: "900", onload: loaded });
                document.querySelector("main").append(frame);
            }).then(() => {})""",
            url,
        )
        frame = self.page.frame(url=url)
        self._load_host(frame)
        self._outputs = [frame]  # the others have these models already
        self._open_all()
        self._deliver()
        self._outputs = [*former, frame]
        return self._draw(frame, widget)

    def _call(self, verb: str, *arguments: Any) -> None:
        plain = json.loads(json.dumps(arguments))
        for frame in self._outputs:
            frame.evaluate("([verb, ...rest]) => void globalThis.interpwidgetsHost[verb](...rest)", [verb, *plain])


class VSCode(OtherHost):
    """Bytes are ArrayBuffer; the body's class says the theme; a model is not found while the page still loads."""

    buffers, refusals = "ArrayBuffer", 2

    def reload(self) -> None:
        super().reload()
        self.colours("vscode-dark")

    def colours(self, name: str) -> None:
        self.page.evaluate("name => { document.body.className = name; }", name)


@pytest.fixture
def colab(browser: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Colab]:
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))  # by this Python code knows Colab
    with played(Colab, browser) as made:
        yield made


@pytest.fixture
def vscode(browser: Any) -> Iterator[VSCode]:
    with played(VSCode, browser) as made:
        yield made


# -- tier 2: a real JupyterLab ------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def clean_environment(home: Path) -> dict[str, str]:
    """This environment without the user's own settings of Jupyter, and with this Python first."""
    folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
        "XDG_CONFIG_HOME": "xdg-config",
        "XDG_STATE_HOME": "xdg-state",
        "XDG_CACHE_HOME": "xdg-cache",
    }
    paths = [str(HERE), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        **{name: str(home / folder) for name, folder in folders.items()},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTHONUNBUFFERED": "1",
        "NO_PROXY": "127.0.0.1,localhost",
    }


@contextlib.contextmanager
def serving(command: list[str], url: str, home: Path, log: Path) -> Iterator[None]:
    """A server process that answers at `url` while this holds."""
    with log.open("w") as out:
        server = subprocess.Popen(command, env=clean_environment(home), cwd=home, stdout=out, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: _answers(url) or server.poll() is not None, 60)
            assert server.poll() is None, f"{command[:4]} ended:\n{log.read_text()[-2000:]}"
            yield
        finally:
            server.terminate()
            server.wait(20)


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError):
        return bool(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=1))
    return False


@dataclass
class Lab:
    """A running server.   page: where a notebook opens, by the name and the stem of its file"""

    url: str
    folder: Path
    page: str


@contextlib.contextmanager
def jupyter(application: str, home: Path, page: str, **own: Any) -> Iterator[Lab]:
    """A Jupyter server of this test run: no token, nothing of the user's, only on this machine."""
    port, folder = free_port(), home / "notebooks"
    url = f"http://127.0.0.1:{port}"
    folder.mkdir()
    quiet = home / "settings" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')  # else it asks, over our pictures
    settings = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.port_retries": 0,
        "ServerApp.root_dir": folder,
        "ServerApp.open_browser": False,
        "ServerApp.disable_check_xsrf": True,
        "IdentityProvider.token": "",
        "LabApp.news_url": "",
        "LabApp.extension_manager": "readonly",
        **own,
    }
    command = [sys.executable, "-m", application, "--allow-root", *(f"--{k}={v}" for k, v in settings.items())]
    with serving(command, f"{url}/api/status", home, home / "log.txt"):
        yield Lab(url, folder, url + page)


@pytest.fixture(scope="session")
def lab(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if importlib.util.find_spec("jupyterlab") is None:
        missing("JupyterLab is not installed: pip install -c constraints.txt -e '.[test]'")
    page = "/lab/workspaces/{stem}/tree/{name}?reset"  # a workspace of its own never restores the tabs of other tests
    with jupyter("jupyterlab", tmp_path_factory.mktemp("lab"), page, **{"LabApp.expose_app_in_browser": True}) as made:
        yield made


@pytest.fixture(scope="session")
def notebook7_server(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if importlib.util.find_spec("notebook") is None:
        missing("Jupyter Notebook is not installed: pip install -c constraints.txt -e '.[test]'")
    own = {"JupyterNotebookApp.expose_app_in_browser": True}
    with jupyter("notebook", tmp_path_factory.mktemp("notebook7"), "/notebooks/{name}", **own) as made:
        yield made


class Notebook:
    """One notebook open in JupyterLab or Notebook 7.   page: the playwright page   path: the file on disk"""

    def __init__(self, lab: Lab, page: Any) -> None:
        self.lab, self.page, self.watch = lab, page, page.watch
        self.path = lab.folder / f"n{uuid.uuid4().hex[:8]}.ipynb"

    def run(self, *cells: str) -> Any:
        """Open a notebook with these cells, run them all, wait for the end; fails if one raises. Returns the page."""
        self.open(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]))
        self.command("notebook:run-all-cells")
        assert not (errors := self._errors()), "\n".join(errors)
        return self.page

    def open(self, notebook: Any) -> None:
        """Open a notebook without running it."""
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.path)
        self._load()

    def reload(self) -> None:
        """Save and load the page again; the kernel lives on."""
        self.save()
        self._load()

    def _load(self) -> None:
        name = self.path.name
        self.page.goto(self.lab.page.format(name=name, stem=self.path.stem))
        opened = "name => window.jupyterapp?.shell?.currentWidget?.context?.path === name"
        self.page.wait_for_function(opened, arg=name, timeout=60_000)
        self.page.evaluate("""async () => {
            await jupyterapp.restored;
            const notebook = jupyterapp.shell.currentWidget;
            await Promise.all([notebook.context.ready, notebook.revealed]);
            await notebook.sessionContext.ready;
            await notebook.sessionContext.session.kernel.info;
        }""")

    def command(self, name: str) -> None:
        """Execute one of JupyterLab's commands and wait for its end."""
        self.page.evaluate("name => jupyterapp.commands.execute(name).then(() => {})", name)

    def execute(self, code: str) -> None:
        """Run code in the live kernel, outside the notebook."""
        self.python("None", code)

    def python(self, expression: str, code: str = "") -> str:
        """The repr of an expression in the live kernel, after running `code`."""
        found = self.page.evaluate(
            """async ([code, value]) => {
                const { kernel } = jupyterapp.shell.currentWidget.sessionContext.session;
                const request = { code, user_expressions: { value }, store_history: false };
                const { content } = await kernel.requestExecute(request).done;
                return content.status === "ok" ? content.user_expressions.value : content;
            }""",
            [code, expression],
        )
        assert found["status"] == "ok", f"{found['ename']}: {found['evalue']}"
        return str(found["data"]["text/plain"])

    def until(self, expression: str, expected: str, seconds: float = 10) -> None:
        """Wait until an expression in the kernel has this repr."""
        wait_until(lambda: self.python(expression) == expected, seconds, lambda: self.page.wait_for_timeout(50))

    def save(self, widgets: bool = False) -> Any:
        """Save, on request with the state of the widgets (off in JupyterLab by default), and read what is on disk."""
        toggle = "@jupyter-widgets/jupyterlab-manager:saveWidgetState"
        for command in (toggle, "docmanager:save", toggle) if widgets else ("docmanager:save",):
            self.command(command)
            if command == toggle:
                self.page.wait_for_timeout(300)  # the setting takes effect when its plugin hears of it
        return nbformat.read(self.path, as_version=4)

    def shut_down_kernel(self) -> None:
        self.page.evaluate("() => jupyterapp.shell.currentWidget.sessionContext.shutdown()")

    def _errors(self) -> list[str]:
        return list(
            self.page.evaluate("""() => jupyterapp.shell.currentWidget.content.widgets.flatMap((cell) =>
                (cell.model.sharedModel.outputs ?? []).filter((output) => output.output_type === "error")
                    .map((output) => [].concat(output.traceback).join("\\n")))""")
        )


@contextlib.contextmanager
def opened(lab: Lab, browser: Any) -> Iterator[Notebook]:
    with watched(browser, viewport={"width": 1100, "height": 1400}) as (page, watch):
        made = Notebook(lab, page)
        yield made
        with contextlib.suppress(Exception):
            made.shut_down_kernel()
        nothing_outside(watch)


@pytest.fixture
def notebook(lab: Lab, browser: Any) -> Iterator[Notebook]:
    with opened(lab, browser) as made:
        yield made


@pytest.fixture
def notebook7(notebook7_server: Lab, browser: Any) -> Iterator[Notebook]:
    with opened(notebook7_server, browser) as made:
        yield made
        made.watch.errors = [error for error in made.watch.errors if error not in NOTEBOOK7_NOISE]


# -- the other hosts ----------------------------------------------------------------------------------------------


def execute(*cells: str) -> Any:
    """A notebook of these cells, run as `interpwidgets run` and papermill do: its widgets are saved in it."""
    from nbclient import NotebookClient

    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(made, timeout=120, kernel_name="python3").execute(cwd=str(HERE))
    return made


@pytest.fixture
def executed() -> Callable[..., Any]:
    return execute


@pytest.fixture
def exported(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """``exported(*cells, **context_options)``: the page of `export_html`, from disk; any request fails the test."""
    from interpwidgets.export import export_html

    with contextlib.ExitStack() as pages:

        def show(*cells: str, **options: Any) -> Any:
            path = tmp_path / f"{uuid.uuid4().hex[:8]}.ipynb"
            nbformat.write(execute(*cells), path)
            page, watch = pages.enter_context(watched(browser, **options))
            pages.callback(nothing_outside, watch)
            page.context.route(re.compile("^(?!file:|blob:|data:)"), lambda route: route.abort())
            page.html = export_html(path)
            page.goto(page.html.as_uri())
            return page

        yield show


CDN = {  # what stock nbconvert pages load, and the package that holds it here
    r"cdnjs\.cloudflare\.com/ajax/libs/require\.js/.*": "requirejs/require.js",
    r"unpkg\.com/@jupyter-widgets/html-manager@.*/embed-amd\.js": "@jupyter-widgets/html-manager/dist/embed-amd.js",
    r"cdn\.jsdelivr\.net/npm/anywidget@.*/dist/index\.js": "anywidget",
}


def _cdn_file(name: str) -> Path:
    if name == "anywidget":
        found = importlib.util.find_spec("anywidget")
        assert found is not None
        assert found.origin is not None
        return Path(found.origin).parent / "nbextension" / "index.js"
    return ROOT / "frontend" / "node_modules" / name


@pytest.fixture
def stock_html(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """``stock_html(*cells)``: nbconvert's own page, as it looks to a reader with a network."""
    from nbconvert import HTMLExporter

    if not _cdn_file("requirejs/require.js").exists():
        missing("the files of the CDN are not here: run `npm ci` in frontend/")
    watches: list[Watch] = []
    with contextlib.ExitStack() as pages:

        def show(*cells: str) -> Any:
            path = tmp_path / f"{uuid.uuid4().hex[:8]}.html"
            path.write_text(HTMLExporter().from_notebook_node(execute(*cells))[0])
            page, watch = pages.enter_context(watched(browser))
            watches.append(watch)
            page.context.route(re.compile("^https?:"), _answer_cdn)
            page.goto(path.as_uri())
            return page

        yield show
        for watch in watches:
            watch.forgive("/anywidget.js)")  # the manager looks beside the page before it asks the CDN


def _answer_cdn(route: Any) -> None:
    for address, name in CDN.items():
        if re.search(address, route.request.url):
            route.fulfill(body=_cdn_file(name).read_bytes(), content_type="text/javascript")
            return
    route.fulfill(body="", content_type="text/javascript")  # MathJax and the like: nothing that a widget needs


@pytest.fixture
def marimo(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """``marimo(*cells)``: the page of an app with these cells, served by ``marimo run``."""
    if importlib.util.find_spec("marimo") is None:
        missing("marimo is not installed: pip install -c constraints.txt -e '.[test]'")
    with contextlib.ExitStack() as running:

        def show(*cells: str) -> Any:
            folder = tmp_path / uuid.uuid4().hex[:8]
            folder.mkdir()
            app, port = folder / "app.py", free_port()
            app.write_text(marimo_app(*cells))
            url = f"http://127.0.0.1:{port}"
            command = [sys.executable, "-m", "marimo", "run", str(app), "--headless", "--no-token"]
            command += ["--host", "127.0.0.1", "--port", str(port)]
            running.enter_context(serving(command, f"{url}/health", folder, folder / "log.txt"))
            page, watch = running.enter_context(watched(browser))
            running.callback(nothing_outside, watch)
            page.goto(url)
            return page

        yield show


def marimo_app(*cells: str) -> str:
    """A marimo app of these cells: what a cell defines, the later ones can use; its last line is shown."""
    lines = ["import marimo", "app = marimo.App()"]
    known: list[str] = []
    for cell in cells:
        tree = ast.parse(cell)
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        made = [name for name in _defined(tree) if not name.startswith("_")]
        lines += ["@app.cell", f"def _({', '.join(name for name in known if name in used)}):"]
        lines += [textwrap.indent(cell, "    ")]
        lines += [f"    return {', '.join(made)}{',' if made else ''}"]
        known += made
    return "\n".join([*lines, ""])


def _defined(tree: ast.Module) -> list[str]:
    names = [a.asname or a.name for node in tree.body if isinstance(node, ast.Import) for a in node.names]
    names += [a.asname or a.name for node in tree.body if isinstance(node, ast.ImportFrom) for a in node.names]
    names += [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return list(dict.fromkeys(names))
