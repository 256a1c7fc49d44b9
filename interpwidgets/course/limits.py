"""Code that may never end, stopped in time; the kernel lives.

    try:
        with time_limit(10):
            answer(*arguments)
    except TimeUp:
        ...                                     # its traceback says where the code stood

In the main thread a timer of the system interrupts (``SIGALRM``); elsewhere, and on Windows, a second thread raises
`TimeUp` in this one. Both go on until the code has left: a loop that swallows every exception swallows one, not all.
Neither can interrupt a single call into compiled code; it takes effect when that call returns.
"""

import ctypes
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

_AGAIN = 0.05  # seconds until the next interruption, should the code swallow the first


class TimeUp(BaseException):
    """The time is over. No `Exception`, so that ``except Exception`` in somebody's loop lets it pass.

    ``stood``: where the code was at the first interruption, innermost last: (code object, line).
    """

    stood: Sequence[tuple[CodeType, int]] = ()


def _stack(frame: FrameType | None) -> list[tuple[CodeType, int]]:
    found = []
    while frame is not None:
        found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return found[::-1]


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeUp` in the block if it takes longer; timers and signal handlers are left as they were."""
    here = threading.current_thread() is threading.main_thread()
    with _alarm(seconds) if here and hasattr(signal, "setitimer") else _watchdog(seconds):
        yield


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    begin = time.monotonic()
    tracing = sys.gettrace()
    stood: list[tuple[CodeType, int]] = []

    def ring(_number: int, frame: FrameType | None) -> None:
        if stood:
            _raise_at_every_line(frame)
        else:
            stood.extend(_stack(frame))
        raise TimeUp

    former = signal.signal(signal.SIGALRM, ring)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), _AGAIN)
    try:
        yield
    except TimeUp as error:
        error.stood = stood
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.settrace(tracing)
        signal.signal(signal.SIGALRM, former)
        if remaining:  # somebody else's timer, a test runner's for instance, goes on where it was
            signal.setitimer(signal.ITIMER_REAL, max(remaining - (time.monotonic() - begin), 1e-3), interval)


def _raise_at_every_line(frame: FrameType | None) -> None:
    """The exception that follows lands in ``except:``; its first line raises again, now outside the ``try``."""

    def trace(_frame: FrameType, _event: str, _argument: Any) -> Any:
        raise TimeUp

    if frame and frame.f_code.co_filename != __file__:
        frame.f_trace = trace
        sys.settrace(trace)


@contextmanager
def _watchdog(seconds: float) -> Iterator[None]:
    target = threading.get_ident()
    done, lock = threading.Event(), threading.Lock()
    stood: list[tuple[CodeType, int]] = []

    def watch() -> None:
        wait = seconds
        while not done.wait(wait):
            with lock:
                if not done.is_set():
                    if not stood:
                        stood.extend(_stack(sys._current_frames().get(target)))
                    _raise_in(target, TimeUp)
            wait = _AGAIN

    threading.Thread(target=watch, daemon=True, name="interpwidgets-time-limit").start()
    try:
        yield
    except TimeUp as error:
        error.stood = stood
        raise
    finally:
        with lock:
            done.set()
            _raise_in(target, None)  # one that is under way but has not arrived is called back


def _raise_in(thread: int, exception: type[BaseException] | None) -> None:
    what = ctypes.py_object(exception) if exception else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)
