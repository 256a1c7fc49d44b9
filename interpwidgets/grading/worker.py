"""One process that grades submissions, one after the other: how to start it, ask it, and what it does.

    with Worker(unsafe=False) as worker:
        grade = worker.grade(task)      # a Grade, always: a process that dies is started again, its task tried again

    ┌ the command, or a thread of Dask ┐  JSON  ┌ python -m interpwidgets.grading.worker ┐      ┌ sandbox ────────┐
    │ Worker.grade(task) ──────────────┼────────┼─> extract, judge, draw ────────────────┼──────┼─> learner code  │
    └──────────────────────────────────┘        └─ inputs, references, tolerances ───────┘      └─────────────────┘

A task carries the seeds of its inputs, never the secret that they are made of. Whoever asks never forks a process that
has threads; the worker runs references and compares, and learner code runs in the sandbox that it talks to.
"""

import base64
import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import IO, Any

from interpwidgets.course import CourseError
from interpwidgets.grading.grades import Grade, GradeError, Mark, Who

LIMIT = 900.0  # seconds for one submission; each of its exercises has a far shorter limit of its own
TRIES = 2
READY = b"ready\n"


@dataclass(frozen=True)
class Task:
    """A notebook to grade, and all that it takes: the seeds of its inputs by exercise, and what is known about it."""

    student: Who
    chapter: str
    title: str
    source: str
    notebook: bytes = field(repr=False)
    digest: str
    batch: str
    seeds: Mapping[str, int]
    late: bool = False
    flags: tuple[str, ...] = ()
    unsafe: bool = False

    def as_json(self) -> bytes:
        """The task in one line."""
        data = {**dataclasses.asdict(self), "notebook": base64.b64encode(self.notebook).decode()}
        return json.dumps(data).encode()

    @staticmethod
    def from_json(line: bytes) -> "Task":
        """The task of a line."""
        data = json.loads(line)
        data["student"], data["flags"] = Who(**data["student"]), tuple(data["flags"])
        data["notebook"] = base64.b64decode(data["notebook"])
        return Task(**data)

    def grade(self, **found: Any) -> Grade:
        """The grade of this task, with what was found."""
        return Grade(
            student=self.student,
            chapter=self.chapter,
            title=self.title,
            source=self.source,
            notebook=self.digest,
            batch=self.batch,
            late=self.late,
            unsafe=self.unsafe,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
            **{"flags": self.flags, **found},
        )


# -- asking -------------------------------------------------------------------------------------------------------


class Died(Exception):
    """The process ended, or had to be ended, before it answered; the message completes "it ..."."""


def command(unsafe: bool) -> list[str]:
    """How the process that grades is started: with -P, it imports nothing from the folder that it is started in."""
    return [sys.executable, "-P", "-m", "interpwidgets.grading.worker", *(["--unsafe"] if unsafe else [])]


class Worker:
    """The process that grades. Not for two threads at once; ``end`` may be called from any thread."""

    def __init__(self, unsafe: bool, limit: float = LIMIT) -> None:
        self.unsafe = unsafe
        self._limit = limit
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._ended = False
        self._changing = threading.Lock()  # between a start and an end from another thread

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()

    @property
    def pid(self) -> int | None:
        """The process that grades now, or None while there is none."""
        return self._process.pid if self._process else None

    def grade(self, task: Task) -> Grade:
        """Grade a submission. If the process dies it is tried once more, then the grade says why there is none.

        Raises `GradeError` if no process here can grade anything.
        """
        reason = ""
        for _ in range(TRIES):
            try:
                return self._ask(task)
            except Died as death:
                reason = str(death)
                self._drop()
            if self._ended:
                break
        told = f"Not graded: the process that should grade it {reason}, {TRIES} times. Run the same command again."
        return task.grade(trouble=told, unfinished=True)

    def _ask(self, task: Task) -> Grade:
        process = self._process or self._start()
        assert process.stdin
        with contextlib.suppress(OSError):
            process.stdin.write(task.as_json() + b"\n")
            process.stdin.flush()
        line = self._said_in_time(process)
        try:
            grade = Grade.from_json(line.decode())
        except ValueError:  # a `GradeError` is one
            raise Died("answered what is no grade") from None
        if (grade.student, grade.chapter, grade.notebook) != (task.student, task.chapter, task.digest):
            raise Died("answered for another submission")
        return grade

    def _said_in_time(self, process: subprocess.Popen[bytes]) -> bytes:
        """The next line that the process says; raises `Died` if it ends, or takes too long."""
        assert process.stdout
        watch = threading.Timer(self._limit, process.kill)
        watch.daemon = True
        watch.start()
        begin = time.monotonic()
        try:
            line = process.stdout.readline()
        except OSError:
            line = b""
        finally:
            watch.cancel()
        if not line.endswith(b"\n"):
            late = time.monotonic() - begin >= self._limit
            raise Died(f"did not finish within {self._limit:.0f} s" if late else self._last_words(process))
        return line

    def _start(self) -> subprocess.Popen[bytes]:
        process = self._started()
        if (first := self._said_in_time(process)) != READY:
            self._drop()
            raise GradeError(first.decode(errors="replace").strip())
        return process

    def _started(self) -> subprocess.Popen[bytes]:
        with self._changing:
            if self._ended:
                raise Died("was told to end")
            self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
            self._process = subprocess.Popen(
                command(self.unsafe),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                start_new_session=True,  # Ctrl-C is for the command, which ends its workers
            )
            return self._process

    def _last_words(self, process: subprocess.Popen[bytes]) -> str:
        code = process.wait()
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"was ended by {signal.Signals(-code).name}"
        words = ""
        if self._said:
            self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 2000))
            words = self._said.read().decode(errors="replace").strip().rpartition("\n")[2][:200]
        return f"ended with status {code}" + (f" ({words})" if words else "")

    def _drop(self) -> None:
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            for end in (process.stdin, process.stdout, self._said):
                with contextlib.suppress(OSError):
                    end.close()  # type: ignore[union-attr]

    def end(self) -> None:
        """End the process; whoever waits for its answer gets a grade that says so."""
        with self._changing:
            self._ended = True
            if self._process:
                self._process.kill()
                self._process.wait()


# -- answering ----------------------------------------------------------------------------------------------------


def graded(task: Task, room: Any) -> Grade:
    """Judge one submission with learner code running in ``room``, a `Sandbox` or `Unsafe`."""
    from interpwidgets.course import registry
    from interpwidgets.course.exercise import Exercise
    from interpwidgets.grading import grades, judge
    from interpwidgets.grading.extract import extract

    begin = time.process_time() + room.used.cpu
    chapter = registry.chapter(task.chapter)
    found = extract(task.notebook, chapter)

    def seed_of(exercise: Exercise) -> int:
        return task.seeds[exercise.id]

    if found.trouble:
        return task.grade(trouble=found.trouble)
    verdicts = judge.verdicts(found.program, chapter.exercises, seed_of, room)
    marks, flags = [], [*task.flags, *found.flags]
    for verdict in verdicts:
        name = verdict.exercise.id
        missing = found.states.get(name) == "missing"
        try:
            mark = grades.mark_of(verdict, task.seeds[name], missing)
        except Exception as error:  # values of which nobody has thought, in a picture
            verdict = judge.unjudged(verdict.exercise, error, room.limits.seconds)
            mark = grades.mark_of(verdict, task.seeds[name], missing)
        marks.append(mark)
        flags += filter(None, [judge.flag(verdict)])
    marks = [_unread(one, found.broken[one.id]) if one.id in found.broken else one for one in marks]
    return task.grade(
        marks=tuple(marks),
        replies=grades.replies(chapter.questions, found.questions),
        flags=tuple(flags),
        seconds=round(time.process_time() + room.used.cpu - begin, 3),
    )


def _unread(mark: Mark, why: str) -> Mark:
    """The mark of an answer in a cell that Python cannot read: begun, and stopped."""
    return dataclasses.replace(
        mark,
        state="stopped",
        headline="before your first line.",
        error=f"SyntaxError: {why}",
        sentences=("Python cannot read the cell of this answer, so nothing in it could run.",),
        next="run the cell in the notebook: Python points at the place.",
    )


def serve(unsafe: bool) -> None:
    """Read tasks from the standard input, one a line, and answer each with its grade, until there are no more.

    The first line that it says is `READY`, or the sentence why it cannot grade.
    """
    import torch

    from interpwidgets.grading import sandbox

    torch.set_num_threads(1)

    def say(line: bytes) -> None:
        answers.write(line)
        answers.flush()

    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a reference prints is no answer
    with contextlib.ExitStack() as closing:
        try:
            room = closing.enter_context(sandbox.Unsafe() if unsafe else sandbox.Sandbox())
        except CourseError as error:
            say(str(error).replace("\n", " ").encode() + b"\n")
            return
        say(READY)
        for line in sys.stdin.buffer:
            say(graded(Task.from_json(line), room).as_json().encode() + b"\n")


if __name__ == "__main__":
    serve("--unsafe" in sys.argv[1:])
