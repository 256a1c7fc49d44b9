"""What every widget shares: arrays that cross to the page unharmed, one bundle, a picture where no widget can run."""

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import traitlets as t
from ipywidgets import Widget
from ipywidgets.widgets.widget import _put_buffers, _remove_buffers

from interpwidgets.widgets import _base
from interpwidgets.widgets._base import Array, InterpWidget, bundle, from_wire, to_wire


@pytest.fixture(autouse=True)
def small_bundle(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Tests of Python need no built page side."""
    former = _base.static
    monkeypatch.setattr(_base, "static", lambda name: "export default {}" if name == "bundle.js" else former(name))
    yield
    Widget.close_all()


class Picture(InterpWidget):
    values = Array()
    kept = Array(read_only=True)
    tile = t.Dict(None, allow_none=True).tag(sync=True)
    png: bytes | None = None

    def __repr__(self) -> str:
        return "Picture()"

    def _fallback_png(self) -> bytes | None:
        return self.png


ARRAYS = {
    "float32": np.arange(6, dtype="f4").reshape(2, 3),
    "float16": np.arange(6, dtype="f2"),
    "uint8": np.arange(6, dtype="u1"),
    "uint16": np.array([0, 255, 256, 65_535], "u2"),
    "big-endian": np.arange(6, dtype=">f4"),
    "transposed": np.arange(6, dtype="f4").reshape(2, 3).T,
    "every second": np.arange(6, dtype="f4")[::-2],
    "broadcast": np.broadcast_to(np.float32(2), (3, 4)),
    "empty": np.zeros((0, 3), "f4"),
    "no dimensions": np.full((), 2, "f4"),
    "one number": np.ones(1, "f4"),
    "locked": np.frombuffer(b"abc", "u1"),
    "a subclass": np.ma.masked_array(np.ones(3, "f4")),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_comes_back_from_the_wire_as_it_went(name):
    array = ARRAYS[name]
    state, paths, buffers = _remove_buffers({"values": Picture(values=array).get_state("values")["values"]})
    _put_buffers(state, paths, [memoryview(b) for b in buffers])
    wire = state["values"]
    assert wire["dtype"] in ("f4", "f2", "u1", "u2")
    assert wire["shape"] == list(array.shape)
    back = Picture()
    back.set_state({"values": wire})
    assert back.values.dtype.isnative
    np.testing.assert_array_equal(back.values, array)


def test_arrays_inside_other_traits_are_binary_too():
    w = Picture(tile={"layer": 1, "values": to_wire(np.ones((2, 2), "f4")), "list": [to_wire(np.ones(1, "u1"))]})
    _, paths, buffers = _remove_buffers(w.get_state(["tile", "values"]))
    assert paths == [["tile", "values", "data"], ["tile", "list", 0, "data"]]
    assert [len(b) for b in buffers] == [16, 1]


def test_a_message_is_not_torn_by_a_later_change():
    array = np.zeros(3, "f4")
    wire = to_wire(array)
    array[:] = 1
    assert not from_wire(wire).any()


WRONG = {
    "float64": np.zeros(3),
    "int64": np.zeros(3, int),
    "objects": np.array([None]),
    "a list": [1.0, 2.0],
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_array_of_the_wire_is_refused(name):
    with pytest.raises(t.TraitError, match="numpy array of uint8, uint16, float16 or float32, or None"):
        Picture(values=WRONG[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dtype": "f8"}, "one of the dtypes u1, u2, f2, f4"),
        ({"shape": [3]}, "expected 12 bytes"),
        ({"data": b""}, "got 0"),
    ],
)
def test_bytes_that_do_not_fit_their_description_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        from_wire({**to_wire(np.ones(2, "f4")), **change})


def test_a_new_array_is_a_change_and_the_same_one_is_not():
    w, heard = Picture(), []
    w.observe(lambda change: heard.append((change.old is None, change.new is None)), "values")
    array = np.ones(2, "f4")
    w.values = array
    w.values = array
    w.values = array.copy()
    w.values = None
    assert heard == [(True, False), (False, False), (False, True)]


def test_validators_and_read_only_hold_for_arrays():
    class Square(Picture):
        @t.validate("values")
        def _square(self, proposal: Any) -> Any:
            if proposal.value is not None and proposal.value.ndim != 2:
                raise t.TraitError("two dimensions, please")
            return proposal.value

    with pytest.raises(t.TraitError, match="two dimensions"):
        Square().values = np.ones(3, "f4")
    with pytest.raises(t.TraitError, match="read-only"):
        Square().kept = np.ones(3, "f4")


def test_arrays_set_under_hold_sync_and_hold_trait_notifications_arrive():
    w = Picture()
    with w.hold_sync(), w.hold_trait_notifications():
        w.values = np.ones(2, "f4")
        w.values = np.full(2, 2, "f4")
    assert w.get_state("values")["values"]["data"] == np.full(2, 2, "f4").tobytes()


# -- one bundle ---------------------------------------------------------------------------------------------------


def test_all_widgets_refer_to_one_bundle_that_is_never_shown():
    a, b = Picture(), Picture()
    assert a._bundle is b._bundle is bundle()
    assert a.get_state("_bundle") == {"_bundle": f"IPY_MODEL_{bundle().model_id}"}
    assert bundle()._repr_mimebundle_() is None


def test_a_closed_bundle_is_replaced():
    first = bundle()
    first.close()
    assert bundle() is not first
    second = bundle()
    Widget.close_all()
    assert bundle() is not second


def test_a_bundle_whose_channel_the_host_closed_is_replaced():
    first = bundle()
    first.comm._closed = True  # as marimo leaves it when it runs the cell again
    assert bundle() is not first


def test_threads_share_one_bundle_in_jupyter_and_have_their_own_in_marimo(monkeypatch):
    def in_a_thread() -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(bundle()))
        thread.start()
        thread.join()
        return found[0]

    assert in_a_thread() is bundle()
    Widget.close_all()
    monkeypatch.setattr(type(Picture().comm), "kernel", "marimo", raising=False)
    Widget.close_all()
    assert in_a_thread() is not bundle()


def test_the_switch_puts_the_code_into_each_instance(monkeypatch):
    monkeypatch.setenv("INTERPWIDGETS_BUNDLE", "inline")
    state = Picture().get_state()
    assert state["_bundle"] is None
    assert state["_esm"] == "export default {}"
    monkeypatch.delenv("INTERPWIDGETS_BUNDLE")
    assert Picture().get_state()["_esm"] == _base.static("stub.js")


def test_the_kernel_answers_a_ping_and_a_page_without_the_bundle(monkeypatch):
    class Chatty(Picture):
        def _on_message(self, content: dict[str, Any], buffers: list[bytes]) -> None:
            heard.append(content)

    sent: list[Any] = []
    heard: list[Any] = []
    monkeypatch.setattr(Chatty, "send", lambda self, content, buffers=None: sent.append((content, buffers)))
    w = Chatty()
    for content in ({"type": "ping"}, {"type": "bundle"}, {"type": "run"}, {"kind": "anywidget-command"}):
        w._handle_custom_msg(content, [])
    assert sent[0] == ({"type": "pong"}, None)
    assert sent[1] == ({"type": "bundle", "hash": bundle().hash}, [b"export default {}"])
    assert heard == [{"type": "run"}]


# -- where no widget can run --------------------------------------------------------------------------------------


def test_the_display_has_a_text_a_picture_and_all_that_anywidget_says():
    w = Picture()
    data, _ = w._repr_mimebundle_()
    assert data["text/plain"] == "Picture()"
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == w.model_id
    assert "image/png" not in data
    w.png = b"\x89PNG"
    assert w._repr_mimebundle_()[0]["image/png"] == "iVBORw=="


def test_the_module_loads_no_tensor_library():
    code = "import sys, interpwidgets.widgets._base; print({'torch', 'transformers', 'jax'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
