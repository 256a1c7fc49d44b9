"""What every widget shares: one bundle for the whole page, arrays as binary, a picture where no widget can run.

anywidget saves the JavaScript of a widget with every instance. Ours is a stub of under 1 kB that finds one hidden
model, the `Bundle`, which holds the code of all widgets once per notebook:

    widget 1 ── _bundle ──┐
    widget 2 ── _bundle ──┼──>  Bundle(code, hash)      (frontend/src/stub.ts is the other side)
    widget 3 ── _bundle ──┘

If a host cannot hand the hidden model over, the stub asks the kernel for the code by message. If even that fails
somewhere, set the environment variable ``INTERPWIDGETS_BUNDLE=inline``: every instance then carries the whole code.
"""

import hashlib
import os
from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets as t
from ipywidgets import Widget, widget_serialization

STATIC = Path(__file__).parent / "static"


@cache
def static(name: str) -> str:
    """The text of a built file beside this module."""
    return (STATIC / name).read_text(encoding="utf-8")


class Bundle(anywidget.AnyWidget):
    """The hidden model that carries the code of all widgets."""

    _esm = "export default {}"
    code = t.Unicode().tag(sync=True)
    hash = t.Unicode().tag(sync=True)


_bundle: Bundle | None = None


def bundle() -> Bundle:
    """The one `Bundle` of this process; a new one when `Widget.close_all()` closed the last."""
    global _bundle
    if _bundle is None or _bundle.comm is None:
        code = static("bundle.js")
        _bundle = Bundle(code=code, hash=hashlib.sha256(code.encode()).hexdigest()[:12])
    return _bundle


def _array_to_json(value: "np.ndarray | None", _widget: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    value = np.ascontiguousarray(value)
    return {"data": memoryview(value.view(np.uint8).reshape(-1)), "dtype": value.dtype.str[1:], "shape": value.shape}


def _array_from_json(value: dict[str, Any] | None, _widget: Any) -> "np.ndarray | None":
    if value is None:
        return None
    return np.frombuffer(value["data"], dtype="<" + value["dtype"]).reshape(value["shape"])


class Array(t.TraitType):  # type: ignore[type-arg]
    """A numpy array that crosses to the page as ``{data: bytes, dtype: "f4", shape: [...]}`` (core/buffers.ts)."""

    info_text = "a numpy array"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_value=None, allow_none=True, **kwargs)
        self.tag(sync=True, to_json=_array_to_json, from_json=_array_from_json)

    def _validate(self, obj: Any, value: Any) -> Any:
        return value

    def set(self, obj: Any, value: Any) -> None:
        """Compare by identity: two arrays have no single truth value."""
        old = obj._trait_values.get(self.name)
        obj._trait_values[self.name] = value
        if old is not value:
            obj._notify_trait(self.name, old, value)


class InterpWidget(anywidget.AnyWidget):
    """A picture of arrays with a selection that Python can set and observe."""

    _esm = static("bundle.js" if os.environ.get("INTERPWIDGETS_BUNDLE") == "inline" else "stub.js")
    _kind = t.Unicode().tag(sync=True)
    _bundle = t.Instance(Widget, allow_none=True).tag(sync=True, **widget_serialization)

    def __init__(self, **kwargs: Any) -> None:
        if os.environ.get("INTERPWIDGETS_BUNDLE") != "inline":
            kwargs["_bundle"] = bundle()
        super().__init__(**kwargs)
        self.on_msg(self._receive)

    def _receive(self, _widget: Any, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Messages of the page that every widget answers; the others go to `_on_message`."""
        match content.get("type"):
            case "ping":
                self.send({"type": "pong"})
            case "bundle":
                self.send({"type": "bundle", "hash": bundle().hash}, buffers=[static("bundle.js").encode()])
            case _:
                self._on_message(content, buffers)

    def _on_message(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Answer a message of this widget's own page side; by default there are none."""

    # -- where no widget can run ------------------------------------------------------------------------------

    def _fallback_png(self) -> bytes | None:
        """A small picture for pages that show no widgets (an untrusted notebook, a diff, a search index)."""
        return None

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        found = super()._repr_mimebundle_(**kwargs)
        data, metadata = found if isinstance(found, tuple) else (found, {})
        png = self._fallback_png()
        return {"text/plain": repr(self), **({"image/png": png} if png else {}), **data}, metadata
