"""One call of somebody's function: what came back, or where it stopped, and what else it did.

    outcome = attempt(answer, (pattern, 4), None, seconds=10)
    outcome.value           # what it returned, or
    outcome.error           # where it stopped and why, as data: `Stopped`
    outcome.changed         # the arguments that it modified in place: [0]

An attempt leaves the process as it was: random state, default dtype and gradient mode are put back, and what the
function prints is kept (the first 20,000 characters) instead of filling the notebook once per case.
"""

import contextlib
import io
import linecache
import random
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from interpwidgets.course.limits import TimeUp, limited

if TYPE_CHECKING:  # whoever runs answers elsewhere needs this module without the others of the engine
    from interpwidgets.course.exercise import Answer, Arguments

_PRINTED = 20_000
_AROUND = 4  # lines shown on each side of the one where it stopped
_SAID = 300  # characters of an exception's message
_OURS = str(Path(__file__).resolve().parent.parent)
_LIBRARIES = tuple(
    {
        *(str(Path(sysconfig.get_path(name)).resolve()) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *(str(Path(place).resolve()) for place in sys.path if place.endswith("-packages")),
    }
)


@dataclass(frozen=True)
class Stopped:
    """An exception as data, so that what is said about it is the same wherever it was raised.

    ``names``: its class and those that it derives from. ``at``: the innermost line of the person's own code, None
    before their first; ``lines``: those round it, by number. ``stub``: the function of theirs that still raises
    NotImplementedError, else "". ``final``: another case would not end better. ``cause`` is for tracebacks of our own.
    """

    names: tuple[str, ...]
    message: str = ""
    at: int | None = None
    lines: Sequence[tuple[int, str]] = ()
    stub: str = ""
    cause: BaseException | None = field(default=None, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The class: "IndexError"."""
        return self.names[0]

    @property
    def final(self) -> bool:
        """True if time, memory or the process itself came to an end ("Lost": nobody is left to ask)."""
        return not {"TimeUp", "SystemExit", "MemoryError", "Lost"}.isdisjoint(self.names)


@dataclass
class Outcome:
    """What one call did. ``error`` is None if it returned ``value``; ``seconds`` is its time alone."""

    value: Any = None
    error: Stopped | None = None
    changed: list[int] = field(default_factory=list)
    seconds: float = 0.0
    printed: str = ""


def attempt(answer: "Answer", arguments: "Arguments", drive: Callable[..., Any] | None, seconds: float) -> Outcome:
    """Call ``answer`` (through ``drive`` if there is one) on a copy of ``arguments``, for at most ``seconds``.

    Every exception ends up in the outcome, `TimeUp` and ``SystemExit`` too; only Ctrl-C passes through.
    """
    outcome = Outcome()
    given = copied(arguments)
    before = [_frozen(argument) for argument in given]
    printed = _Bounded()
    with undisturbed(), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        begin = time.perf_counter()
        try:
            outcome.value = limited(seconds, drive, answer, *given) if drive else limited(seconds, answer, *given)
            _finish(given)
            outcome.seconds = time.perf_counter() - begin
        except KeyboardInterrupt:
            raise KeyboardInterrupt("stopped by you") from None
        except BaseException as error:  # whatever it is, it is a result
            outcome.seconds = time.perf_counter() - begin
            outcome.error = stopped(error, answer)
    outcome.printed = printed.getvalue()
    outcome.changed = [
        at for at, (now, then) in enumerate(zip(given, before, strict=True)) if not _as_it_was(now, then)
    ]
    return outcome


def _finish(arguments: "Arguments") -> None:
    """Wait for the accelerator, so that its time counts and its errors arrive here."""
    if any(isinstance(argument, torch.Tensor) and argument.is_cuda for argument in arguments):
        torch.cuda.synchronize()


class _Bounded(io.StringIO):
    def write(self, text: str) -> int:
        if (room := _PRINTED - self.tell()) > 0:
            super().write(text[:room])
        return len(text)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """The same random numbers for every call, and afterwards everything as it was."""
    dtype, grad = torch.get_default_dtype(), torch.is_grad_enabled()
    with torch.random.fork_rng(devices=_started_gpus()):
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  the learner may use the old one
        torch.manual_seed(0)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(grad)


def _started_gpus() -> list[int]:
    started = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return [*range(torch.cuda.device_count())] if started else []


# -- arguments ----------------------------------------------------------------------------------------------------


def copied(value: Any) -> Any:
    """A copy that an answer may spoil: tensors (strides kept), arrays, containers; anything else is passed as it is."""
    if type(value) in (torch.Tensor, torch.nn.Parameter) and value.layout == torch.strided:
        return _same_layout(value.detach()).requires_grad_(value.requires_grad)
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, torch.Generator):
        return value.clone_state()
    if type(value) in (list, tuple):
        return type(value)(copied(item) for item in value)
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return value


def _same_layout(value: torch.Tensor) -> torch.Tensor:
    if value.is_contiguous() or 0 in value.stride():
        return value.clone()
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=value.device).copy_(value)


def strided(value: Any) -> Any:
    """The same numbers, every second place in memory with a gap after each row: right code does not notice."""
    if isinstance(value, torch.Tensor) and value.dim():
        size = value.shape[-1]
        spread = value.new_zeros(*value.shape[:-1], 2 * size + 1)[..., : 2 * size : 2]
        spread.copy_(value.detach())
        return spread.requires_grad_(value.requires_grad)
    if type(value) in (list, tuple):
        return type(value)(strided(item) for item in value)
    return value


def _frozen(value: Any) -> Any:
    if isinstance(value, torch.nn.Module):
        return [(parameter, parameter._version) for parameter in value.parameters()]
    return copied(value)


def _as_it_was(now: Any, then: Any) -> bool:
    if isinstance(now, torch.nn.Module):
        return all(parameter._version == version for parameter, version in then)
    if isinstance(now, torch.Tensor):
        return now.shape == then.shape and now.dtype == then.dtype and _same(now, then)
    if isinstance(now, np.ndarray):
        return now.shape == then.shape and bool(((now == then) | ((now != now) & (then != then))).all())
    if type(now) in (list, tuple):
        return len(now) == len(then) and all(map(_as_it_was, now, then))
    if type(now) is dict:
        return now.keys() == then.keys() and all(_as_it_was(now[key], then[key]) for key in now)
    return True


def _same(now: torch.Tensor, then: torch.Tensor) -> bool:
    now, then = now.detach(), then.detach()
    if torch.equal(now, then):
        return True
    return bool(((now == then) | ((now != now) & (then != then))).all())


# -- where it stopped ---------------------------------------------------------------------------------------------


def stopped(error: BaseException, answer: Any) -> Stopped:
    """An exception that left somebody's function, as data."""
    place = _theirs(error, answer)
    code, at = place if place else (None, None)
    lines = _lines(code.co_filename, at, code.co_firstlineno) if code and at else []
    names = tuple(kind.__name__ for kind in type(error).__mro__)
    return Stopped(names, _message(error), at, lines, _stub(error, answer), error)


def _theirs(error: BaseException, answer: Any) -> tuple[CodeType, int] | None:
    """The innermost place of an exception in the person's own code: the function's code, the line; or None."""
    code = getattr(answer, "__code__", None)
    own = code.co_filename if code else ""
    places = [place for place in _places(error) if place[0].co_filename == own or not _library(place[0].co_filename)]
    return places[-1] if places else None


def _stub(error: BaseException, answer: Any) -> str:
    """The function that still raises NotImplementedError, if it is one of the person's own; else ""."""
    if not isinstance(error, NotImplementedError):
        return ""
    own, last = _theirs(error, answer), _places(error)[-1:]
    return last[0][0].co_name if last and own and own[0] is last[0][0] else ""


def _places(error: BaseException) -> Sequence[tuple[CodeType, int]]:
    if isinstance(error, TimeUp) and error.stood:
        return error.stood
    steps = traceback.walk_tb(error.__traceback__)
    return [(frame.f_code, line) for frame, line in steps]


def _library(name: str) -> bool:
    if name.startswith("<") and not name.startswith(("<ipython", "<string", "<stdin")):
        return True
    path = str(Path(name).resolve()) if not name.startswith("<") else name
    return path.startswith((_OURS, *_LIBRARIES)) or path.startswith(str(Path(sys.base_prefix) / "lib"))


def _message(error: BaseException) -> str:
    try:
        text = str(error).strip()
    except Exception:
        return "(its message cannot be shown)"
    first = text.splitlines()[0] if text else ""
    return first if len(first) <= _SAID else first[: _SAID - 1] + "…"


def _lines(file: str, at: int, begin: int) -> list[tuple[int, str]]:
    """The lines of a function round the one where it stopped, with their numbers and a common indent removed."""
    linecache.checkcache(file)
    source = linecache.getlines(file)
    if not 0 < at <= len(source):
        return []
    from_, to = max(begin, at - _AROUND), min(len(source), at + _AROUND)
    shown = [(number, source[number - 1].rstrip().expandtabs(4)) for number in range(from_, to + 1)]
    edge = next((i for i, (n, line) in enumerate(shown) if n > at and line and not line[0].isspace()), None)
    shown = shown[:edge]
    while shown and not shown[-1][1]:
        shown.pop()
    indent = min((len(line) - len(line.lstrip()) for _, line in shown if line), default=0)
    return [(number, line[indent:]) for number, line in shown]
