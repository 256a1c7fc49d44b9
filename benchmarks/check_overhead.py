"""What a check costs beyond the functions it runs: its own time for every exercise of chapter 05.

    python benchmarks/check_overhead.py

For each exercise the reference itself and its first known mistake are checked, shown as HTML and text and recorded,
five times each; the middle one is printed. ``functions``: the time inside the answer, the reference, the known
mistakes, the generators of the cases and the picture after a pass. ``overhead``: everything else. The limit is 50 ms.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch

from interpwidgets import check
from interpwidgets.course import registry

LIMIT = 0.050


class Clock:
    """Adds up the time inside functions that it wraps; a call inside another counts once."""

    def __init__(self) -> None:
        self.seconds, self.depth = 0.0, 0

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            with self.running():
                return function(*arguments, **named)

        return timed

    @contextmanager
    def running(self) -> Iterator[None]:
        begin, self.depth = time.perf_counter(), self.depth + 1
        try:
            yield
        finally:
            self.depth -= 1
            self.seconds += time.perf_counter() - begin if self.depth == 0 else 0.0


def measured(name: str, answer: Callable[..., Any]) -> tuple[float, float]:
    """Seconds in the functions, and seconds of everything else."""
    clock = Clock()
    engine, attempts = (vars(import_module(f"interpwidgets.course.{module}")) for module in ("check", "attempt"))
    limited, made = engine["limited"], engine["_made"]

    def timed_limited(seconds: float, function: Callable[..., Any], *arguments: Any) -> Any:
        return limited(seconds, clock.wrap(function), *arguments)

    engine["limited"] = attempts["limited"] = timed_limited
    engine["_made"] = clock.wrap(made)
    try:
        begin = time.perf_counter()
        check(name, answer)._repr_mimebundle_()
        total = time.perf_counter() - begin
    finally:
        engine["limited"], engine["_made"], attempts["limited"] = limited, made, limited
    return clock.seconds, total - clock.seconds


def main() -> None:
    torch.set_num_threads(1)
    os.environ["INTERPWIDGETS_HOME"] = tempfile.mkdtemp()
    worst = 0.0
    print(f"{'exercise':<36}{'functions':>12}{'overhead':>12}")
    for exercise in registry.chapter("05").exercises:
        answers = [("passes", exercise.reference), *((one.name, one.answer) for one in exercise.mistakes[:1])]
        for what, answer in answers:
            measured(exercise.id, answer)  # the first time imports and draws the ramps
            runs = [measured(exercise.id, answer) for _ in range(5)]
            functions, overhead = (statistics.median(run[at] for run in runs) for at in (0, 1))
            worst = max(worst, overhead)
            print(f"{exercise.id + ' ' + what:<36.36}{functions * 1e3:>9.1f} ms{overhead * 1e3:>9.1f} ms")
    print(f"\nlargest overhead {worst * 1e3:.1f} ms, limit {LIMIT * 1e3:.0f} ms")


if __name__ == "__main__":
    main()
