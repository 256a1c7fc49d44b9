"""The same tasks on more machines: a crew of Dask workers, each with a grading process of its own.

    crew = remote("tcp://10.0.0.1:8786")
    grades = run.grades(crew)           # the same grades as `batch.local`, in whatever order they are ready

A Dask thread never judges and never forks: it hands the task to a `Worker`, a process beside it that lives as long as
the Dask worker does. If a machine dies, Dask gives its tasks to another; a grade depends on the task alone, so it does
not matter where, or how often, it was made. Every machine needs the same release of interpwidgets.
"""

import atexit
import threading
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any

from interpwidgets._version import __version__
from interpwidgets.grading.grades import Grade, GradeError
from interpwidgets.grading.worker import Task, Worker

if TYPE_CHECKING:  # a Dask worker imports this module, and needs no torch
    from interpwidgets.grading.batch import Crew

WAIT = 30  # seconds for a scheduler to answer
RETRIES = 3  # machines that may die over one task

_own = threading.local()


def remote(scheduler: str, unsafe: bool = False) -> "Crew":
    """A crew on the cluster of this scheduler. Raises `GradeError` if it does not answer or has no workers that fit."""

    def crew(tasks: Iterable[Task]) -> Generator[Grade, None, None]:
        try:
            from distributed import Client
        except ImportError:
            raise GradeError("--scheduler needs Dask: pip install 'interpwidgets[cluster]'.") from None
        try:
            client = Client(scheduler, timeout=WAIT, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise GradeError(f"No scheduler answers at {scheduler} ({error}).") from None
        with client:
            _ready(client, scheduler, unsafe)
            yield from _all(client, tasks)

    return crew


def _ready(client: Any, scheduler: str, unsafe: bool) -> None:
    """Every worker has this release, and can shut learner code in."""
    told = client.run(_equipment, unsafe)
    if not told:
        raise GradeError(f"The scheduler at {scheduler} has no workers; start some with `dask worker {scheduler}`.")
    for address, (version, reason) in sorted(told.items()):
        if version != __version__:
            raise GradeError(f"{address} has interpwidgets {version}, this machine {__version__}; install the same.")
        if reason:
            raise GradeError(f"{address}: {reason}")


def _equipment(unsafe: bool) -> tuple[str, str]:
    from interpwidgets.grading import sandbox

    return __version__, "" if unsafe else sandbox.refusal() or ""


def _all(client: Any, tasks: Iterable[Task]) -> Generator[Grade, None, None]:
    """Keep every thread of the cluster busy, with few tasks waiting: notebooks are sent when they are needed."""
    from distributed import as_completed

    under_way = as_completed(loop=client.loop)
    waiting = iter(tasks)
    sent: dict[str, Task] = {}

    def send() -> bool:
        task = next(waiting, None)
        if task is None:
            return False
        future = client.submit(on_a_machine, task.as_json(), pure=False, retries=RETRIES)
        sent[future.key] = task
        under_way.add(future)
        return True

    while len(sent) < 2 * max(1, sum(client.nthreads().values())) and send():
        pass
    for future in under_way:
        task = sent.pop(future.key)
        if future.status == "finished":
            yield Grade.from_json(future.result())
        else:
            told = f"Not graded: the cluster lost it ({str(future.exception())[:200]}). Run the same command again."
            yield task.grade(trouble=told, unfinished=True)
        send()


def on_a_machine(task: bytes) -> str:
    """Grade one task on this Dask worker, in the process that belongs to this thread."""
    asked = Task.from_json(task)
    worker = getattr(_own, "worker", None)
    if worker is None or worker.unsafe != asked.unsafe:
        worker = _own.worker = Worker(asked.unsafe)
        atexit.register(worker.end)
    return worker.grade(asked).as_json()
