"""What is chosen in one widget is chosen in another, too.

    from interpwidgets import link

    held = link(heads, "query", lens, "position")       # two traits, both ways
    held = link(first, second)                          # all selections that both have: layer, head, query, ...
    held.unlink()

With or without a kernel. Whichever side a change comes from passes it on:

    set in Python       Python sets the other trait, at once
    set in the page     a link of ipywidgets (jslink) in JupyterLab, Notebook 7, VS Code and exported pages; where there
                        is none (marimo, Colab, whose outputs cannot reach each other), Python, when it hears of it

A value that the other widget refuses, such as a layer that only one of two models has, stays where it was set.
"""

import sys
from collections.abc import Callable
from typing import Any

import traitlets as t
from ipywidgets import Widget, jslink

from interpwidgets.widgets._arrays import InputError

SELECTIONS = ("layer", "head", "query", "key", "row", "position", "token")


class Link:
    """Traits that are tied, until `unlink`. Made by `link`."""

    def __init__(self, a: Widget, b: Widget, pairs: list[tuple[str, str]]) -> None:
        self._a, self._b, self._pairs = a, b, pairs
        self._on_page: list[Any] = []
        self._watched: list[tuple[Widget, str, Callable[[Any], None]]] = []
        _start(a, b, pairs)
        for here, there in pairs:
            self._watch(a, here, b, there)
            self._watch(b, there, a, here)
        if not _only_through_python(a):
            self._on_page = [jslink((a, here), (b, there)) for here, there in pairs]

    def _watch(self, source: Widget, name: str, target: Widget, other: str) -> None:
        def pass_on(change: Any) -> None:
            if self._on_page and name in getattr(source, "_from_page", ()):
                return  # the page has passed it on, too; doing it twice would hold up who moves fast
            try:
                setattr(target, other, change["new"])
            except t.TraitError:
                return

        source.observe(pass_on, name)
        self._watched.append((source, name, pass_on))

    def unlink(self) -> None:
        """Let each widget choose for itself again."""
        for source, name, heard in self._watched:
            source.unobserve(heard, name)
        for tie in self._on_page:
            tie.target = tie.source  # notebooks that are run without a page keep what was closed
            tie.close()
        self._watched, self._on_page = [], []

    def __repr__(self) -> str:
        kinds = type(self._a).__name__, type(self._b).__name__
        ties = ", ".join(f"{kinds[0]}.{here} = {kinds[1]}.{there}" for here, there in self._pairs)
        return f"Link({ties})" if self._watched else "Link(undone)"


def link(a: Widget, *rest: Any) -> Link:
    """Tie traits of two widgets, both ways: ``link(a, "layer", b, "row")``, or ``link(a, b)`` for all of one name.

    ``a`` and ``b``: widgets of ours or of ipywidgets. Selections are layer, head, query, key, row, position and token,
    as far as both have them. At first ``b`` takes over what is chosen in ``a``.

    Returns the `Link`, whose ``unlink()`` undoes it. Raises `InputError` (a `ValueError`) for what is no widget, a
    trait that there is not or that does not reach the page, no selection in common, and if ``b`` refuses what ``a``
    has.
    """
    match rest:
        case (Widget() as b,):
            names = [name for name in SELECTIONS if _synced(a, name) and _synced(b, name)]
            pairs = [(name, name) for name in names if name != "layer" or "row" not in names]  # a row says more
            if not pairs:
                raise InputError(
                    f"{_kind(a)} and {_kind(b)} have no selection of the same name.",
                    [("expected", f"one of {', '.join(SELECTIONS)} in both"), ("got", f"{_has(a)}; {_has(b)}")],
                    'Name the two traits: link(a, "query", b, "position").',
                )
        case (str(here), Widget() as b, str(there)):
            _check(a, here)
            _check(b, there)
            pairs = [(here, there)]
        case _:
            raise InputError(
                "link ties two widgets.",
                [
                    ("expected", 'link(a, b) or link(a, "layer", b, "row")'),
                    ("got", f"link({', '.join(_shown(argument) for argument in (a, *rest))})"),
                ],
            )
    if a is b and any(here == there for here, there in pairs):
        raise InputError("A widget cannot be tied to itself.", [("expected", "two widgets"), ("got", _kind(a))])
    return Link(a, b, pairs)


def _start(a: Widget, b: Widget, pairs: list[tuple[str, str]]) -> None:
    """Let ``b`` take over what is chosen in ``a``, all of it or nothing."""
    before = [(there, getattr(b, there)) for _, there in pairs]
    for here, there in pairs:
        try:
            setattr(b, there, getattr(a, here))
        except t.TraitError as error:
            for name, value in before:
                setattr(b, name, value)
            raise InputError(
                f"{_kind(b)}.{there} cannot be what {_kind(a)}.{here} is, {getattr(a, here)!r}.",
                advice=f"Choose something that both have, then link them. {error}",
            ) from error


def _only_through_python(widget: Widget) -> bool:
    """Whether the page cannot pass a change on from output to output, or has no links."""
    return getattr(widget.comm, "kernel", None) == "marimo" or "google.colab" in sys.modules


def _synced(widget: Any, name: str) -> bool:
    return isinstance(widget, Widget) and name in widget.keys


def _check(widget: Any, name: str) -> None:
    if isinstance(widget, Widget) and not _synced(widget, name):
        names = [key for key in widget.keys if not key.startswith("_")]
        raise InputError(
            f"{_kind(widget)} has no trait {name!r}.", [("expected", f"one of {', '.join(sorted(names))}")]
        )
    if not isinstance(widget, Widget):
        raise InputError("Only widgets can be tied.", [("expected", "a widget"), ("got", _shown(widget))])


def _has(widget: Any) -> str:
    found = [name for name in SELECTIONS if _synced(widget, name)]
    return f"{_kind(widget)} has {', '.join(found) or 'none'}"


def _kind(widget: Any) -> str:
    return type(widget).__name__


def _shown(argument: Any) -> str:
    return repr(argument) if isinstance(argument, str) else _kind(argument)
