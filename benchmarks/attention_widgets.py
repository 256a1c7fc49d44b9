"""Attention pictures compared: AttentionHeads and its peers on the same random causal patterns, 12 layers x 12 heads.

    python benchmarks/attention_widgets.py                 # T = 16, 64, 128, 256 against CircuitsVis; ours at 512 too
    python benchmarks/attention_widgets.py --long          # ours at 2048 too
    python benchmarks/attention_widgets.py --bertviz       # BertViz as well (pip install -e ".[bench]")
    python benchmarks/attention_widgets.py --sizes 64 --repeat 1

Every case runs in a process of its own, one after the other. A step (building, first paint, one interaction) may take
60 s, and the process with its browser 4 GB beside the patterns: what passes that is written as such and counts as
60 s. Figures are the minimum of the runs. Measured are

    build        CPU seconds of Python for the picture, the arrays being there already
    saved        what a notebook keeps of it: HTML of the peers; of ours the widget's state with binary data as base64,
                 without the bundle that all widgets of a notebook share and without the fallback picture
    first paint  from the start of navigation to the frame after the large pattern has been drawn, in headless Chromium
    interaction  from the pointer event that chooses another head to the frame after its pattern has been drawn
    renderer     resident memory of the page's process after that
    hover        frames in a second while the mouse runs over the large pattern for two seconds, and the CPU
                 milliseconds of the main thread for each (a screen of 60 frames leaves it 16.7); ours only

Two lines at the end say what was promised at T = 128: first paint beside CircuitsVis, HTML beside BertViz.

Pages are files and the network is not needed. Runs on Linux (memory is read from /proc).
"""

import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

LAYERS = HEADS = 12
CAP_SECONDS = 60.0
CAP_BYTES = 4e9
START_SECONDS = 120.0  # to import and to make the arrays, which nobody counts

OURS = "AttentionHeads, all 144 heads"
WIDTH, HEIGHT = 1200, 900


def random_attention(n_tokens: int) -> tuple[list[str], np.ndarray]:
    """The tokens and patterns [layer, head, query, key] that every case gets."""
    patterns = np.random.default_rng(0).random((LAYERS, HEADS, n_tokens, n_tokens), dtype=np.float32)
    patterns *= 4
    np.exp(patterns, out=patterns)
    patterns *= np.tri(n_tokens, dtype=np.float32)
    patterns /= patterns.sum(-1, keepdims=True)
    return [f" tok{i % 50}" for i in range(n_tokens)], patterns


# -- the cases: (tokens, patterns) -> what to save, and a page that shows it -------------------------------------------


@dataclass(frozen=True)
class Picture:
    page: str
    saved_bytes: int


def attention_heads(tokens: list[str], patterns: np.ndarray) -> Any:
    from interpwidgets import AttentionHeads

    return AttentionHeads(tokens, patterns)


def our_page(widget: Any) -> Picture:
    """The widget in a notebook that was saved, as `interpwidgets export` makes it a page."""
    import nbformat
    from ipywidgets import Widget
    from nbformat.v4 import new_code_cell, new_notebook, new_output

    from interpwidgets.export import STATE, VIEW, export_html

    state = Widget.get_manager_state()
    view = {VIEW: {"model_id": widget.model_id, "version_major": 2, "version_minor": 0}}
    cell = new_code_cell("heads", outputs=[new_output("display_data", data=view)], execution_count=1)
    notebook = new_notebook(cells=[cell], metadata={"widgets": {STATE: state}})
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "heads.ipynb"
        nbformat.write(notebook, source)
        page = export_html(source).read_text(encoding="utf-8")
    return Picture(page, len(json.dumps(state["state"][widget.model_id])))


def circuitsvis(tokens: list[str], patterns: np.ndarray) -> Any:
    from circuitsvis.attention import attention_heads

    return attention_heads(patterns.reshape(-1, *patterns.shape[-2:]), tokens)


def circuitsvis_page(rendered: Any) -> Picture:
    html = rendered.local_src
    return Picture(f'<!doctype html><meta charset="utf-8"><body>{html}', len(html.encode()))


def bertviz(view: str, tokens: list[str], patterns: np.ndarray) -> str:
    import bertviz
    import torch

    attention = [torch.from_numpy(layer)[None] for layer in patterns]
    return str(getattr(bertviz, view)(attention, tokens, html_action="return").data)


def bertviz_page(html: str) -> Picture:
    return Picture(f'<!doctype html><meta charset="utf-8"><body>{html}', len(html.encode()))


@dataclass(frozen=True)
class Case:
    """One tool showing so many layers. ``large``: the canvas of the large pattern, ``small``: a thumbnail to choose."""

    label: str
    build: Callable[[list[str], np.ndarray], Any]
    show: Callable[[Any], Picture]
    large: str = "undefined"
    small: str = "undefined"
    chooses_by: str = "pointerdown"
    layers: int = LAYERS
    imports: str = "interpwidgets"


_CANVASES = "document.querySelectorAll('canvas')"
CASES = {
    "ours": Case(
        OURS,
        attention_heads,
        our_page,
        large="document.querySelector('[data-part=map] canvas')",
        small="document.querySelector('[data-part=heads] canvas')",
    ),
    "circuitsvis-layer": Case(
        "CircuitsVis heads, 1 layer",
        circuitsvis,
        circuitsvis_page,
        large=f"{_CANVASES}[{HEADS}]",
        small=f"{_CANVASES}[{HEADS // 2}]",
        chooses_by="pointermove",
        layers=1,
        imports="circuitsvis",
    ),
    "circuitsvis": Case(
        "CircuitsVis heads, all 144 heads",
        circuitsvis,
        circuitsvis_page,
        large=f"{_CANVASES}[{LAYERS * HEADS}]",
        small=f"{_CANVASES}[{HEADS // 2}]",
        chooses_by="pointermove",
        imports="circuitsvis",
    ),
    # BertViz loads its code from a CDN and draws SVG: without a network only Python and bytes can be measured.
    "bertviz-head": Case("BertViz head view", partial(bertviz, "head_view"), bertviz_page, imports="bertviz"),
    "bertviz-model": Case("BertViz model view", partial(bertviz, "model_view"), bertviz_page, imports="bertviz"),
}


# -- one case, in a process of its own: prints a line of JSON after each step ------------------------------------------

WATCH = """
(() => {
  const small = new OffscreenCanvas(24, 24).getContext("2d", { willReadFrequently: true });
  small.imageSmoothingEnabled = false;
  const look = (canvas) => {  // 576 of its pixels: cheap, and enough to tell one head from another
    if (!canvas || !canvas.width) return "";
    small.clearRect(0, 0, 24, 24);
    small.drawImage(canvas, 0, 0, 24, 24);
    const seen = small.getImageData(0, 0, 24, 24).data;
    return seen.some((value) => value) ? seen.join() : "";
  };
  const until = (reached, then) => requestAnimationFrame(() =>
    reached() ? requestAnimationFrame(() => then(performance.now())) : until(reached, then));
  window.chosen = (before, event) => new Promise((resolve) =>
    addEventListener(event, ({ timeStamp }) =>
      until(() => look(LARGE) !== before, (now) => resolve(now - timeStamp)), { capture: true, once: true }));
  window.look = () => look(LARGE);
  window.painted = new Promise((resolve) => until(() => look(LARGE) && look(SMALL), resolve));
})();
"""


def run_case(key: str, n_tokens: int) -> None:
    """Measure one case and print what each step gave."""
    case = CASES[key]
    tokens, patterns = random_attention(n_tokens)
    patterns = patterns[: case.layers]
    importing = -time.process_time()
    __import__(case.imports)
    if key == "ours":
        attention_heads(tokens[:1], patterns[:, :, :1, :1])
    say("start", imports=importing + time.process_time())
    start = time.process_time()
    built = case.build(tokens, patterns)
    picture = case.show(built) if case.imports != "interpwidgets" else None  # their build is the HTML
    cpu = time.process_time() - start
    picture = picture or case.show(built)
    say("build", build=cpu, saved=picture.saved_bytes)
    if case.large != "undefined":
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "page.html"
            file.write_text(picture.page, encoding="utf-8")
            look_at(case, file)


def look_at(case: Case, file: Path) -> None:
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium if Path(chromium).exists() else None, args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(0)
        page.add_init_script(WATCH.replace("LARGE", case.large).replace("SMALL", case.small))
        page.goto(file.as_uri(), wait_until="commit")
        say("paint", paint=page.evaluate("painted") / 1000)
        say("interact", interaction=choose_another_head(page, case) / 1000)
        if case.imports == "interpwidgets":
            say("hover", **hover(page, case))
        processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
        say("memory", renderer=max(resident(p["id"]) for p in processes if p["type"] == "renderer"))
        browser.close()


def choose_another_head(page: Any, case: Case) -> float:
    """Milliseconds from the pointer event to the frame that shows the other head."""
    box = page.evaluate(f"{case.small}.getBoundingClientRect().toJSON()")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    if case.chooses_by == "pointerdown":  # hovering is no choice: be there first
        page.mouse.move(x, y)
        page.wait_for_timeout(300)
    page.evaluate(f"void (window.done = chosen(look(), {case.chooses_by!r}))")
    page.mouse.move(x, y)
    if case.chooses_by == "pointerdown":
        page.mouse.down()
        page.mouse.up()
    return float(page.evaluate("done"))


COUNT = """
(seconds) => new Promise((resolve) => {
  const end = performance.now() + 1000 * seconds;
  let frames = 0;
  const frame = (now) => {
    if (now >= end) return resolve(frames / seconds);
    frames++;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})
"""


def hover(page: Any, case: Case, seconds: float = 2) -> dict[str, float]:
    """Frames a second, and the main thread's milliseconds for each, while the mouse runs over the large pattern."""
    box = page.evaluate(f"{case.large}.getBoundingClientRect().toJSON()")
    metrics = page.context.new_cdp_session(page)
    metrics.send("Performance.enable", {"timeDomain": "threadTicks"})  # of the processor: others may use it, too

    def worked() -> float:
        found = metrics.send("Performance.getMetrics")["metrics"]
        return float(next(metric["value"] for metric in found if metric["name"] == "TaskDuration"))

    before, end = worked(), time.monotonic() + seconds
    page.evaluate(f"void (window.counted = ({COUNT})({seconds}))")
    moves = 0
    while time.monotonic() < end:  # along the diagonal, where there is something in each row
        at = moves % 100 / 100
        page.mouse.move(box["x"] + at * 0.9 * box["width"], box["y"] + (0.05 + at * 0.9) * box["height"])
        moves += 1
    frames = float(page.evaluate("counted"))
    return {"frames": frames, "work": 1000 * (worked() - before) / (frames * seconds), "moves": moves / seconds}


def say(step: str, **figures: float) -> None:
    print(json.dumps({"step": step, **figures}), flush=True)


# -- all cases, from outside ------------------------------------------------------------------------------------------


@dataclass
class Result:
    key: str
    n_tokens: int
    figures: dict[str, float] = field(default_factory=dict)
    failed: str = ""
    """Why the figures end: ``> 60 s``, ``> 4 GB`` or what the process said."""

    def better_of(self, other: "Result") -> "Result":
        figures = {name: min(f for f in (self.figures.get(name), other.figures.get(name)) if f is not None)
                   for name in self.figures | other.figures}  # fmt: skip
        return Result(self.key, self.n_tokens, figures, self.failed and other.failed)


def measure(key: str, n_tokens: int) -> Result:
    """Run one case in a process of its own and stop it at the caps."""
    result = Result(key, n_tokens)
    command = [sys.executable, __file__, "--case", key, str(n_tokens)]
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, start_new_session=True)
        try:
            for line in steps(process, result):
                result.figures.update({name: value for name, value in json.loads(line).items() if name != "step"})
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # the case and its browser
            process.wait()
        errors.seek(0)
        if process.returncode > 0 and not result.failed:
            result.failed = (errors.read().strip().splitlines() or ["failed"])[-1]
    return result


def steps(process: "subprocess.Popen[bytes]", result: Result) -> Iterator[bytes]:
    """The lines of a case, until it ends or passes a cap."""
    assert process.stdout
    limit = START_SECONDS
    most_bytes = CAP_BYTES + 4 * LAYERS * HEADS * result.n_tokens**2
    while True:
        deadline = time.monotonic() + limit
        while not select.select([process.stdout], [], [], 0.2)[0]:
            if tree_bytes(process.pid) > most_bytes:
                result.failed = "> 4 GB"
                return
            if time.monotonic() > deadline:
                result.failed = "> 60 s"
                return
        line = process.stdout.readline()
        if not line:
            process.wait()
            return
        yield line
        limit = CAP_SECONDS


def resident(pid: int) -> int:
    """Bytes of memory that a process has in use; 0 if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def tree_bytes(root: int) -> int:
    """Memory of a process and all its descendants; the pages that processes share count in the largest one only."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    family, grown = {root}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in family} - family
        family, grown = family | more, bool(more)
    return sum(private(pid) for pid in family - {root}) + resident(root)


def private(pid: int) -> int:
    try:
        size = [int(n) for n in Path(f"/proc/{pid}/statm").read_text().split()]
    except OSError:
        return 0
    return (size[1] - size[2]) * os.sysconf("SC_PAGE_SIZE")


def cpu_of(code: str) -> float:
    """CPU seconds of a fresh Python that runs ``code``; the least of five."""
    clock = f"import time\n{code}\nprint(time.process_time())"
    return min(float(subprocess.check_output([sys.executable, "-c", clock])) for _ in range(5))


# -- the table --------------------------------------------------------------------------------------------------------

COLUMNS: dict[str, tuple[str, float, str]] = {  # name -> (heading, factor, format)
    "build": ("build, CPU s", 1, ".3f"),
    "saved": ("saved, MB", 1e-6, ".2f"),
    "paint": ("first paint, s", 1, ".2f"),
    "interaction": ("interaction, s", 1, ".3f"),
    "renderer": ("renderer, MB", 1e-6, ".0f"),
    "frames": ("hover, frames/s", 1, ".0f"),
    "work": ("hover, ms a frame", 1, ".1f"),
}


def table(results: list[Result]) -> str:
    """Figures of each case; in parentheses how many times ours at the same T."""
    ours = {result.n_tokens: result for result in results if result.key == "ours"}
    rows = [["T", "", *(heading for heading, _, _ in COLUMNS.values())]]
    for result in sorted(results, key=lambda r: (r.n_tokens, list(CASES).index(r.key))):
        reference = ours.get(result.n_tokens) if result.key != "ours" else None
        cells = [cell(result, name, reference) for name in COLUMNS]
        rows.append([str(result.n_tokens), CASES[result.key].label, *cells])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def cell(result: Result, name: str, reference: Result | None) -> str:
    _, factor, form = COLUMNS[name]
    value = result.figures.get(name)
    timed = name in ("build", "paint", "interaction")
    reached = value is not None
    if value is None:  # the first timed figure that is missing is where it was stopped
        first = next(column for column in COLUMNS if column not in result.figures)
        if not timed or not result.failed.startswith(">"):
            return (result.failed if name == first else "") or "–"
        value = CAP_SECONDS
    text = f"{value * factor:{form}}" if reached else result.failed if name == first else "not reached"
    if reference is None or not reference.figures.get(name):
        return text
    ratio = value / reference.figures[name]
    times = f"{ratio:,.0f}" if ratio >= 10 else f"{ratio:.1f}"
    return f"{text} ({'' if reached else '> '}{times}×)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[16, 64, 128, 256], metavar="T")
    parser.add_argument("--long", action="store_true", help="ours at T = 2048 too (10 GB of memory)")
    parser.add_argument("--bertviz", action="store_true", help="BertViz as well")
    parser.add_argument("--only", choices=CASES, nargs="+", help="these cases only")
    parser.add_argument("--repeat", type=int, default=3, metavar="N", help="runs of each case (default 3)")
    parser.add_argument("--case", nargs=2, metavar=("CASE", "T"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        run_case(options.case[0], int(options.case[1]))
        return
    keys = options.only or [key for key in CASES if options.bertviz or not key.startswith("bertviz")]
    wanted = [(key, size) for size in options.sizes for key in keys]
    if "ours" in keys:
        wanted += [("ours", size) for size in (512, *([2048] if options.long else [])) if size not in options.sizes]
    results = []
    for key, size in wanted:
        result = measure(key, size)
        for _ in range(options.repeat - 1):
            if not result.failed:
                result = result.better_of(measure(key, size))
        print(f"T = {size}: {CASES[key].label} {result.failed}", file=sys.stderr, flush=True)
        results.append(result)
    print(table(results))
    print_promises(results)
    print_imports(results)


def print_promises(results: list[Result], n_tokens: int = 128) -> None:
    """What was promised of ours beside the peers, as far as it was measured."""
    at = {result.key: result for result in results if result.n_tokens == n_tokens}
    ours = at["ours"].figures if "ours" in at else {}
    peer = at.get("circuitsvis")
    if peer and "paint" in ours and ("paint" in peer.figures or peer.failed.startswith(">")):
        seconds = peer.figures.get("paint", CAP_SECONDS)
        times = seconds / ours["paint"]
        print(f"\nFirst paint at T = {n_tokens}: {times:.0f} times faster than CircuitsVis (promised: 50)")
    for key in ("bertviz-head", "bertviz-model"):
        if key in at and "saved" in ours and "saved" in at[key].figures:
            times = at[key].figures["saved"] / ours["saved"]
            print(f"HTML at T = {n_tokens}: {times:.0f} times less than {CASES[key].label} (promised: 40)")


def print_imports(results: list[Result]) -> None:
    least = cpu_of("import anywidget, numpy")
    widget = "import numpy, interpwidgets\ninterpwidgets.AttentionHeads(['a'], numpy.ones((1, 1, 1, 1)))"
    ours = cpu_of(widget)
    print(f"\nImports, CPU s: anywidget and numpy {least:.2f}; interpwidgets and a widget {ours:.2f}", end=" ")
    print(f"({ours / least:.2f}×)", end="")
    for name in sorted({CASES[result.key].imports for result in results} - {"interpwidgets"}):
        seconds = min(r.figures.get("imports", np.inf) for r in results if CASES[r.key].imports == name)
        print(f"; {name} {seconds:.2f} on top of numpy", end="")
    print()


if __name__ == "__main__":
    main()
