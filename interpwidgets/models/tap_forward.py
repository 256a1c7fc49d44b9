"""Stand around the forward of a module for a while, for all who want to at once.

    with around(module, run):            # run(module, own_forward, args, kwargs) -> what the module returns
        model(**inputs)

Threads may open and close this in any order: the first one puts ``run`` in place, and the last one takes it away.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from threading import Lock
from typing import Any

from torch import nn

from interpwidgets._errors import Told

Run = Callable[[nn.Module, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]

_LOCK = Lock()


@dataclass
class _Standing:
    """Somebody stands around a module: how many asked for it, and what is to come back."""

    count: int
    forward: Callable[..., Any]
    before: Callable[..., Any] | None  # there is one where somebody else stands around it, too


_STANDING: dict[nn.Module, _Standing] = {}


@contextmanager
def around(module: nn.Module, run: Run) -> Iterator[None]:
    """While this holds, calls of ``module`` go through ``run``; one ``run`` for each module."""
    with _LOCK:
        if module in _STANDING:
            _STANDING[module].count += 1
        else:
            _STANDING[module] = _put(module, run)
    try:
        yield
    finally:
        with _LOCK:
            _STANDING[module].count -= 1
            if not _STANDING[module].count:
                _take_away(module, _STANDING.pop(module))


def _put(module: nn.Module, run: Run) -> _Standing:
    own = module.forward

    @wraps(own)  # the library asks forward for its signature
    def forward(*args: Any, **kwargs: Any) -> Any:
        return run(module, own, args, kwargs)

    standing = _Standing(1, forward, vars(module).get("forward"))
    vars(module)["forward"] = forward
    return standing


def _take_away(module: nn.Module, standing: _Standing) -> None:
    if vars(module).get("forward") is not standing.forward:
        return  # somebody came later and stays; ours, inside theirs, lets everything pass
    del vars(module)["forward"]
    if standing.before is not None:
        vars(module)["forward"] = standing.before


# -- a run that ends early


class Stop(Told, RuntimeError):
    """Everything that was asked for has been seen. `Stopped` comes back in its place, so that nobody meets it."""

    def __init__(self) -> None:
        super().__init__("this tap ends the runs of the model that it was opened on early; run that very model.")


class StoppedError(Told, AttributeError):
    """What a run that ended early was asked for, although it never came to that."""


class Stopped:
    """What a model returns from a run that ended early: nothing."""

    def __getattr__(self, name: str) -> Any:
        raise StoppedError(
            f"this run stopped once the tap had all it asked for (stop=True), so there is no {name!r}; read the tap, "
            "or open it without stop, as generate needs it."
        )

    def __getitem__(self, name: Any) -> Any:
        return self.__getattr__(name)

    def __contains__(self, name: Any) -> bool:
        return bool(self.__getattr__(name))

    def __iter__(self) -> Any:
        return self.__getattr__("outputs")
