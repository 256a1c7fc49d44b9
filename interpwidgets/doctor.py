"""Is everything here that interpwidgets needs, and what to do about what is not?

    from interpwidgets.doctor import examine

    for finding in examine():
        print(finding.mark, finding.what, finding.found, finding.advice)

Every finding is one of three: fine, worth knowing (something optional is missing), or broken (a package is missing or
too old, or a small model does not say what it should). Nothing is changed and the network is not touched.
"""

import json
import os
import platform
import shutil
import sys
import time
import webbrowser
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

State = Literal["fine", "optional", "broken"]
_MARKS: dict[State, str] = {"fine": "ok", "optional": "--", "broken": "!!"}


@dataclass(frozen=True)
class Finding:
    """One line of the examination: what was looked for, what was found, what to do."""

    what: str
    found: str
    state: State = "fine"
    advice: str = ""

    @property
    def mark(self) -> str:
        """``ok``, ``--`` (optional) or ``!!`` (broken)."""
        return _MARKS[self.state]


def examine() -> Iterator[tuple[str, list[Finding]]]:
    """The examination, heading by heading; the headings come one at a time because torch takes seconds to import."""
    yield "Python", [_python()]
    yield "Packages", list(_packages())
    yield "Devices", list(_devices())
    yield "A model", [_story()]
    yield "Notebooks", [_jupyterlab(), *_page_sides(), _browser()]
    yield "For teachers", [_sandbox()]
    yield "For the tests", [_chromium(), _node()]


def _python() -> Finding:
    return Finding("Python", f"{platform.python_version()} at {sys.executable}")


def _packages() -> Iterator[Finding]:
    """Every run-time requirement of this installation against what is installed."""
    for text in metadata.requires("interpwidgets") or []:
        needed = Requirement(text)
        if needed.marker and not needed.marker.evaluate({"extra": ""}):
            continue
        install = f'pip install "{needed.name}{needed.specifier}"'
        try:
            found = metadata.version(needed.name)
        except metadata.PackageNotFoundError:
            yield Finding(needed.name, "missing", "broken", install)
            continue
        if needed.specifier.contains(found, prereleases=True):
            yield Finding(needed.name, found)
        else:
            yield Finding(needed.name, f"{found}, needed is {needed.specifier}", "broken", f"{install} --upgrade")


def _devices() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:
        yield Finding(
            "torch", f"cannot be imported: {error}", "broken", "Install it again: pip install --force-reinstall torch"
        )
        return
    yield Finding("CPU", f"{torch.get_num_threads()} threads; enough for every chapter")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            card = torch.cuda.get_device_properties(index)
            yield Finding(f"CUDA {index}", f"{card.name}, {card.total_memory / 2**30:.0f} GiB")
    else:
        yield Finding("CUDA", "none", "optional", "Only large models of your own want one.")
    if platform.system() == "Darwin":
        found = torch.backends.mps.is_available()
        yield Finding("MPS", "Apple GPU" if found else "none", "fine" if found else "optional")


_STORY = ("Lily and Tom went to the park. Tom gave a kite to", "Lily")  # the first sentence of the course, and its end


def _story() -> Finding:
    """The whole way from the weights to a word and to a head's pattern, on the model that the course begins with."""
    what, (sentence, word) = "storylm reads a sentence", _STORY
    begin = time.perf_counter()
    try:
        from interpwidgets.models.load import load
        from interpwidgets.models.taps import Tap

        model: Any = load("storylm")
        with Tap(model, "pattern") as tap:
            logits = model(**model.tokenizer(sentence, return_tensors="pt")).logits[0, -1]
        said = model.tokenizer.decode(logits.argmax()).strip()
        rows = tap["pattern"].sum(-1)
    except Exception as error:
        return Finding(what, f"it cannot: {error}", "broken", "Install interpwidgets again.")
    if said != word or not bool((rows - 1).abs().max() < 1e-3):
        advice = "The numbers of this machine are wrong; install torch again: pip install --force-reinstall torch"
        return Finding(what, f"and ends it with {said!r} instead of {word!r}", "broken", advice)
    return Finding(what, f"and knows that the kite goes to {said} ({time.perf_counter() - begin:.1f} seconds)")


# -- notebooks ----------------------------------------------------------------------------------------------------


def _jupyterlab() -> Finding:
    try:
        return Finding("JupyterLab", metadata.version("jupyterlab"))
    except metadata.PackageNotFoundError:
        return Finding(
            "JupyterLab", "missing", "optional", 'To work through the course: pip install "interpwidgets[lab]"'
        )


def _page_sides() -> Iterator[Finding]:
    """A widget has two halves; the half in the page must be there, and be of the release that Python has."""
    yield _page_side("jupyterlab_widgets", "@jupyter-widgets/jupyterlab-manager", same_number=False)
    yield _page_side("anywidget", "anywidget", same_number=True)


def _page_side(package: str, extension: str, same_number: bool) -> Finding:
    what = f"{package} in the page"
    half = next((path for path in _extension_files(extension) if path.exists()), None)
    if half is None:
        return Finding(what, "missing", "broken", f"Widgets will not show: pip install --force-reinstall {package}")
    page, python = json.loads(half.read_text(encoding="utf-8"))["version"], metadata.version(package)
    if same_number and page != python:
        advice = f"Remove {half.parent} (it hides the right one), or: pip install --force-reinstall {package}"
        return Finding(what, f"{page}, but Python has {python}", "broken", advice)
    return Finding(what, page)


def _extension_files(name: str) -> list[Path]:
    """Where JupyterLab looks for the page side, in its order."""
    try:
        from jupyter_core.paths import jupyter_path
    except ImportError:
        return []
    return [Path(folder) / name / "package.json" for folder in jupyter_path("labextensions")]


def _browser() -> Finding:
    try:
        return Finding("Browser", f"{webbrowser.get().name} opens JupyterLab")
    except webbrowser.Error:
        return Finding(
            "Browser",
            "none that opens by itself",
            "optional",
            "Use `interpwidgets learn --no-browser` and open the address it prints in any browser.",
        )


# -- teachers -----------------------------------------------------------------------------------------------------


def _sandbox() -> Finding:
    """What `interpwidgets grade` shuts submitted code in, tried as it tries it."""
    from interpwidgets.grading import sandbox

    if reason := sandbox.refusal():
        return Finding("Sandbox", "none; `interpwidgets grade` wants one", "optional", reason)
    return Finding("Sandbox", "bubblewrap; every wall stands, `interpwidgets grade` works here")


# -- tests --------------------------------------------------------------------------------------------------------


def _chromium() -> Finding:
    """The browser that the tests drive; they look for it in the same places (tests/browser/conftest.py)."""
    named = os.environ.get("CHROMIUM")
    for name in (named,) if named else ("chromium", "chromium-browser"):
        if path := shutil.which(name):
            return Finding("Chromium", path)
    advice = "Without it the browser tests are skipped: apt-get install chromium, or CHROMIUM=/path/to/it"
    return Finding("Chromium", f"{named} (from CHROMIUM) does not exist" if named else "none", "optional", advice)


def _node() -> Finding:
    if path := shutil.which("node"):
        return Finding("Node", path)
    return Finding("Node", "none", "optional", "Only for changing the page side of the widgets (frontend/).")
