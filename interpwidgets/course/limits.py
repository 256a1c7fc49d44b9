"""Code that may never end, stopped in time; the kernel lives.

    try:
        value = limited(10, answer, pattern, period)
    except TimeUp as error:
        error.stood                             # where the code was: (code object, line), innermost last

In the main thread a timer of the system interrupts (``SIGALRM``); elsewhere, and on Windows, a second thread raises
`TimeUp` in this one. Both go on until the code has left; the timer also ends a loop that swallows every exception.
Only the code that is limited is ever interrupted, never what comes after it. Neither way can interrupt a single call
into compiled code; it takes effect when that call returns.
"""

import ctypes
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

_AGAIN = 0.05  # seconds until the next interruption, should the code swallow the first

Place = tuple[CodeType, int]


class TimeUp(BaseException):
    """The time is over. No `Exception`, so that ``except Exception`` in somebody's loop lets it pass.

    ``stood``: where the code was at the first interruption.
    """

    stood: Sequence[Place] = ()


def limited(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function; raises `TimeUp` if it takes longer. Timers and signal handlers are left as they were."""
    here = threading.current_thread() is threading.main_thread()
    run = _by_alarm if here and hasattr(signal, "setitimer") else _by_watchdog
    return run(seconds, function, arguments)


def _inside(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    return function(*arguments)


def _places(frame: FrameType | None) -> list[Place] | None:
    """The calls from `_inside` down to this frame, innermost last; None if the frame is not inside."""
    found: list[Place] = []
    while frame is not None:
        if frame.f_code is _inside.__code__:
            return found[::-1]
        found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return None


def _by_alarm(seconds: float, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    begin, tracing = time.monotonic(), sys.gettrace()
    stood: list[Place] = []

    def ring(_number: int, frame: FrameType | None) -> None:
        places = _places(frame)
        if frame is None or not places:
            return
        if stood:  # this one lands in an "except:" again; the next line, now outside the "try", raises once more
            frame.f_trace = trace
            sys.settrace(trace)
        stood.extend([] if stood else places)
        raise TimeUp

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        if event == "line" and _places(frame):
            raise TimeUp
        return trace

    former = signal.signal(signal.SIGALRM, ring)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3), _AGAIN)
    try:
        return _inside(function, arguments)
    except TimeUp as error:
        error.stood = stood
        raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.settrace(tracing)
        signal.signal(signal.SIGALRM, former)
        if remaining:  # somebody else's timer, a test runner's for instance, goes on where it was
            signal.setitimer(signal.ITIMER_REAL, max(remaining - (time.monotonic() - begin), 1e-3), interval)


def _by_watchdog(seconds: float, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    target = threading.get_ident()
    done, lock = threading.Event(), threading.Lock()
    stood: list[Place] = []

    def watch() -> None:
        wait = seconds
        while not done.wait(wait):
            with lock:
                places = _places(sys._current_frames().get(target))
                if not done.is_set() and places:
                    stood.extend([] if stood else places)
                    _raise_in(target, TimeUp)
            wait = _AGAIN

    threading.Thread(target=watch, daemon=True, name="interpwidgets-time-limit").start()
    try:
        return _inside(function, arguments)
    except TimeUp as error:
        error.stood = stood
        raise
    finally:
        while not done.is_set():
            try:
                with lock:
                    done.set()
                    _raise_in(target, None)  # one that is under way but has not arrived is called back
            except TimeUp:  # it arrived just now
                continue


def _raise_in(thread: int, exception: type[BaseException] | None) -> None:
    what = ctypes.py_object(exception) if exception else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), what)
