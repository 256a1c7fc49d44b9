"""What every widget shares: one bundle for the whole page, arrays as binary, a picture where no widget can run.

    class Heatmap(InterpWidget):
        _kind = t.Unicode("heatmap").tag(sync=True)      # frontend/src/widgets/heatmap.ts
        values = Array()                                 # arrives there as {data, dtype, shape}

anywidget saves the JavaScript of a widget with every instance. Ours is a stub of under 1 kB that finds one hidden
model, the `Bundle`, which holds the code of all widgets once per notebook:

    widget 1 ── _bundle ──┐
    widget 2 ── _bundle ──┼──>  Bundle(code, hash)      (frontend/src/stub.ts is the other side)
    widget 3 ── _bundle ──┘

If a host cannot hand the hidden model over, the stub asks the kernel for the code by message. If even that fails
somewhere, set the environment variable ``INTERPWIDGETS_BUNDLE=inline``: every instance then carries the whole code.
"""

import base64
import hashlib
import os
import threading
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


# -- one bundle ---------------------------------------------------------------------------------------------------


class Bundle(anywidget.AnyWidget):
    """The hidden model that carries the code of all widgets. It has no view."""

    _esm = "export default {}"
    _view_name = t.Unicode(None, allow_none=True).tag(sync=True)  # type: ignore[assignment]
    code = t.Unicode().tag(sync=True)
    hash = t.Unicode().tag(sync=True)


class _Current(threading.local):
    bundle: Bundle | None = None


_current = _Current()  # `marimo run` serves each reader from a thread, and each reader's page has models of its own
_shared: Bundle | None = None  # everywhere else all threads write to one page
_lock = threading.Lock()


def bundle() -> Bundle:
    """The one open `Bundle` of this page; a new one when the last was closed (`Widget.close_all()`, a rerun cell)."""
    global _shared
    with _lock:
        for held in (_current.bundle, _shared):
            if held is not None and _is_open(held):
                return held
        made = _current.bundle = Bundle(code=static("bundle.js"), hash=bundle_hash())
        if getattr(made.comm, "kernel", None) != "marimo":
            _shared = made
        return made


def bundle_hash() -> str:
    """The name under which a page keeps the evaluated code."""
    return hashlib.sha256(static("bundle.js").encode()).hexdigest()[:12]


def _is_open(widget: Widget) -> bool:
    return widget.comm is not None and not getattr(widget.comm, "_closed", False)


def _inline() -> bool:
    return os.environ.get("INTERPWIDGETS_BUNDLE") == "inline"


# -- arrays -------------------------------------------------------------------------------------------------------

_DTYPES = ("u1", "u2", "f2", "f4")  # what frontend/src/core/buffers.ts reads
_NUMBERS = "uint8, uint16, float16 or float32"


def to_wire(array: "np.ndarray") -> dict[str, Any]:
    """An array as the page reads it: ``{"data": bytes, "dtype": "u1" | "u2" | "f2" | "f4", "shape": [...]}``.

    The bytes are a copy in row-major, little-endian order, so later changes of the array cannot tear a message.

    Raises TypeError for any other dtype: conversion loses something, so the caller chooses it.
    """
    name = array.dtype.str[1:]
    if name not in _DTYPES:
        raise TypeError(f"expected an array of {_NUMBERS}, got {array.dtype}; convert it with .astype()")
    return {
        "data": array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes(),
        "dtype": name,
        "shape": list(array.shape),
    }


def from_wire(value: dict[str, Any]) -> "np.ndarray":
    """The inverse of `to_wire`; the array is read-only. Raises ValueError if the parts do not fit together."""
    if value["dtype"] not in _DTYPES:
        raise ValueError(f"expected one of the dtypes {', '.join(_DTYPES)}, got {value['dtype']!r}")
    shape, dtype = tuple(value["shape"]), np.dtype("<" + value["dtype"])
    data = bytes(value["data"])
    expected = int(np.prod(shape, dtype=int)) * dtype.itemsize
    if len(data) != expected:
        raise ValueError(f"expected {expected} bytes for shape {shape} of {dtype}, got {len(data)}")
    return np.ndarray(shape, dtype, buffer=data)


class Array(t.TraitType):  # type: ignore[type-arg]
    """A numpy array (uint8, uint16, float16 or float32) or None that crosses to the page as `to_wire` says.

    Assigning another array is a change even if its numbers are the same; changing an array in place is not seen.
    """

    info_text = f"a numpy array of {_NUMBERS}, or None"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_value=None, allow_none=True, **kwargs)
        self.tag(
            sync=True,
            to_json=lambda value, _widget: None if value is None else to_wire(value),
            from_json=lambda value, _widget: None if value is None else from_wire(value),
        )

    def validate(self, obj: Any, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype.str[1:] in _DTYPES:
            return value
        return self.error(obj, value)

    def set(self, obj: Any, value: Any) -> None:
        """Compare by identity: two arrays have no single truth value."""
        new = self._validate(obj, value)
        old = obj._trait_values.get(self.name)
        obj._trait_values[self.name] = new
        if old is not new:
            obj._notify_trait(self.name, old, new)


# -- the widget ---------------------------------------------------------------------------------------------------


class InterpWidget(anywidget.AnyWidget):
    """A picture of arrays with a selection that Python can set and observe."""

    _from_page: frozenset[str] = frozenset()  # the traits that the page is setting just now

    _esm = static("stub.js")
    _kind = t.Unicode().tag(sync=True)
    _bundle = t.Instance(Widget, allow_none=True).tag(sync=True, **widget_serialization)

    def __init__(self, **kwargs: Any) -> None:
        if _inline():
            kwargs["_esm"] = static("bundle.js")
        else:
            kwargs["_bundle"] = bundle()
        super().__init__(**kwargs)
        self.on_msg(self._receive)

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take what the page sets."""
        self._from_page = frozenset(sync_data)
        try:
            super().set_state(sync_data)
        finally:
            self._from_page = frozenset()

    def _receive(self, _widget: Any, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Messages of the page that every widget answers; the others go to `_on_message`."""
        match content.get("type"):
            case "ping":
                self.send({"type": "pong"})
            case "bundle":
                self.send({"type": "bundle", "hash": bundle_hash()}, buffers=[static("bundle.js").encode()])
            case str():
                self._on_message(content, buffers)

    def _on_message(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        """Answer a message of this widget's own page side; by default there are none."""

    # -- where no widget can run ------------------------------------------------------------------------------

    def _alt(self) -> str:
        """What the picture shows, in a sentence, for readers who do not see it."""
        return repr(self)

    def _fallback_png(self) -> bytes | None:
        """A small picture for pages that show no widgets (an untrusted notebook, a diff, a search index)."""
        return None

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        found = super()._repr_mimebundle_(**kwargs)
        if found is None:  # a widget without a view
            return None
        data, metadata = found if isinstance(found, tuple) else (found, {})
        png = self._fallback_png()
        picture = {"image/png": base64.b64encode(png).decode()} if png else {}
        return {**data, **picture, "text/plain": repr(self)}, {**metadata, "interpwidgets": {"alt": self._alt()}}
