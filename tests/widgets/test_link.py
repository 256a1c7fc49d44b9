"""`link` from Python: what is chosen here is chosen there. That pages pass it on is in tests/browser/test_links.py."""

import ipywidgets
import numpy as np
import pytest
from ipywidgets import Widget
from ipywidgets.widgets.widget import _instances

from interpwidgets import AttentionHeads, LogitLens, link
from interpwidgets.widgets._arrays import InputError
from interpwidgets.widgets._base import InterpWidget

TOKENS = ["a", "b", "c"]


def heads(layers=2):
    return AttentionHeads(TOKENS, np.full((layers, 2, 3, 3), 1 / 3, "f4"), layer=0, head=0)


def lens(rows=("emb", 0, 1)):
    shape = (len(rows), 3, 1)
    return LogitLens(TOKENS, np.full(shape, "x"), np.full(shape, 0.5), layers=rows)


def ties():
    """The links of ipywidgets that pages hear of."""
    return [widget for widget in _instances.values() if type(widget) is ipywidgets.widgets.widget_link.Link]


@pytest.fixture(autouse=True)
def _closed():
    yield
    Widget.close_all()


def test_two_traits_follow_each_other_both_ways():
    a, b = heads(), lens()
    a.query = 1
    link(a, "query", b, "position")
    assert b.position == 1
    a.query = 0
    assert b.position == 0
    b.position = 2
    assert a.query == 2


def test_selections_of_one_name_are_tied_where_none_are_named():
    a, b = heads(), heads()
    held = link(a, b)
    a.layer, a.head, a.query = 1, 1, 0
    assert (b.layer, b.head, b.query) == (1, 1, 0)
    assert "AttentionHeads.layer = AttentionHeads.layer" in repr(held)


def test_heads_and_a_lens_have_their_layer_in_common():
    a, b = heads(), lens()
    link(a, b)
    a.layer = 1
    assert (b.layer, b.row) == (1, 2)
    b.row = 0
    assert a.layer == 0


def test_two_lenses_are_tied_by_rows_and_positions():
    a, b = lens(), lens()
    assert repr(link(a, b)) == "Link(LogitLens.row = LogitLens.row, LogitLens.position = LogitLens.position)"


def test_sliders_can_be_tied_too():
    a, slider = heads(), ipywidgets.IntSlider(max=1)
    link(a, "layer", slider, "value")
    slider.value = 1
    assert a.layer == 1


def test_undone_each_chooses_for_itself():
    a, b = heads(), lens()
    held = link(a, "query", b, "position")
    assert len(ties()) == 1
    held.unlink()
    a.query = 0
    assert b.position == 2
    assert not ties()
    assert repr(held) == "Link(undone)"
    held.unlink()


def test_what_the_other_does_not_have_stays_where_it_was_chosen():
    a, b = heads(layers=3), heads(layers=2)
    link(a, b)
    a.layer = 2
    assert (a.layer, b.layer) == (2, 0)
    a.layer = 1
    assert b.layer == 1


def test_what_the_page_sets_the_page_passes_on():
    """Passing it on here as well would send old values back to a page that is ahead."""
    a, b = heads(), lens()
    link(a, "query", b, "position")
    a.set_state({"query": 0})
    assert (a.query, b.position) == (0, 2)


@pytest.mark.parametrize("host", ["marimo", "colab"])
def test_where_pages_cannot_python_passes_it_on(monkeypatch, host):
    a, b = heads(), lens()
    if host == "marimo":
        monkeypatch.setattr(type(a.comm), "kernel", "marimo", raising=False)
    else:
        monkeypatch.setitem(__import__("sys").modules, "google.colab", ipywidgets)
    link(a, "query", b, "position")
    a.set_state({"query": 0})
    assert b.position == 0
    assert not ties()


class Other(InterpWidget):
    pass


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (lambda: (heads(),), r"link ties two widgets. Expected link\(a, b\) or .*, got link\(AttentionHeads\)"),
        (lambda: (heads(), "layer", lens()), "link ties two widgets"),
        (lambda: (heads(), "depth", lens(), "row"), r"AttentionHeads has no trait 'depth'. Expected one of .*layer"),
        (lambda: (3, "layer", lens(), "row"), "Only widgets can be tied. Expected a widget, got int"),
        (lambda: (heads(), Other()), "AttentionHeads and Other have no selection of the same name.*Other has none"),
        (lambda: (heads(), "caption", lens(), "row"), r"LogitLens.row cannot be what AttentionHeads.caption is, ''"),
    ],
)
def test_what_cannot_be_tied_is_refused_in_a_sentence(arguments, sentence):
    with pytest.raises(InputError, match=f"(?s){sentence}"):
        link(*arguments())


def test_a_widget_is_not_tied_to_itself():
    a = heads()
    with pytest.raises(InputError, match="cannot be tied to itself"):
        link(a, a)
    link(a, "query", a, "key")
    a.query = 1
    assert a.key == 1


def test_where_one_choice_cannot_be_taken_over_none_is():
    a, b = heads(layers=2), AttentionHeads(["a"], np.ones((2, 2, 1, 1), "f4"), layer=0, head=0)
    a.layer = 1
    with pytest.raises(InputError, match=r"AttentionHeads.query cannot be what AttentionHeads.query is, 2"):
        link(a, b)
    assert b.layer == 0
    a.layer = 0
    a.layer = 1
    assert b.layer == 0
