"""All submissions of a class -> grades, on the cores of this machine, so that nothing is graded twice.

    with Run(Path("submissions.zip"), Path("out")) as run:
        for grade in run.grades(local(workers=4)):
            print(grade.student.name, grade.earned)

    out/
      .batch                  the secret that the inputs are made of, for you alone
      grades/NAME-05.json     a grade, written whole as soon as it is there

A grade is kept if it was made of the same notebook in the same batch by the same release; a second run makes only
those that are missing, so a run that was killed goes on where it was. Grades come in the order in which they are
ready, and at most a few notebooks are in memory at a time. Somebody asks for a second look? Delete that grade and run
again: it is made anew, with the same inputs.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from interpwidgets._version import __version__
from interpwidgets.course import registry
from interpwidgets.grading.grades import Batch, Grade, GradeError, Who
from interpwidgets.grading.submissions import Seen, Submission, survey
from interpwidgets.grading.worker import Task, Worker

Crew = Callable[[Iterable[Task]], Generator[Grade, None, None]]  # who does the tasks: `local`, or `cluster.remote`


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# -- who grades ---------------------------------------------------------------------------------------------------


def local(workers: int, unsafe: bool = False) -> Crew:
    """A crew of processes on this machine, each with a sandbox of its own."""

    def crew(tasks: Iterable[Task]) -> Generator[Grade, None, None]:
        staff = [Worker(unsafe) for _ in range(workers)]
        free = list(staff)

        def one(task: Task) -> Grade:
            worker = free.pop()
            try:
                return worker.grade(task)
            finally:
                free.append(worker)

        threads = ThreadPoolExecutor(workers)
        try:
            yield from a_few_at_a_time(tasks, lambda task: threads.submit(one, task), workers + 1)
        finally:
            for worker in staff:
                worker.end()
            threads.shutdown(cancel_futures=True)

    return crew


def a_few_at_a_time(
    tasks: Iterable[Task], start: Callable[[Task], Future[Grade]], most: int
) -> Generator[Grade, None, None]:
    """Start tasks, at most so many at a time, and give grades in the order in which they are ready."""
    under_way: set[Future[Grade]] = set()
    for task in tasks:
        under_way.add(start(task))
        if len(under_way) >= most:
            ready, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ready)
    while under_way:
        ready, under_way = wait(under_way, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in ready)


# -- one run ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """A submission, whose it is, the hash of its notebook, and the file that its grade goes into."""

    submission: Submission
    student: Who
    digest: str
    file: Path


class Run:
    """The submissions of a class, graded into a folder. One run at a time has the folder.

    ``chapter`` leaves out all other chapters. Raises `GradeError` in a sentence if there is nothing to grade, or if the
    folder is in use or belongs to something else.

    asked     every submission, in the order of the students
    others    how many were left out because they are of another chapter
    seen      every file, and what became of it
    """

    asked: Sequence[Asked]
    others: int
    seen: Sequence[Seen]

    def __init__(self, submissions: Path, out: Path, chapter: str = "", unsafe: bool = False) -> None:
        if not submissions.exists():
            raise GradeError(f"There is no {submissions}; name the folder or the zip file with the submissions.")
        self._chapter = registry.chapter(chapter).number if chapter else ""
        if out.resolve() == submissions.resolve() or submissions.resolve() in out.resolve().parents:
            raise GradeError(f"{out} is among the submissions; name a folder elsewhere with --out.")
        self._out, self._unsafe, self._submissions = out, unsafe, submissions
        self._closing = ExitStack()

    def __enter__(self) -> "Run":
        with ExitStack() as closing:
            self.into = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="interpwidgets-")))
            found = survey(self._submissions, self.into)
            wanted = [one for one in found.submissions if self._chapter in ("", one.chapter) or one.trouble]
            if len(wanted) < len(found.submissions) and not any(one.chapter for one in wanted):
                there = ", ".join(sorted({one.chapter for one in found.submissions} - {""}))
                raise GradeError(
                    f"{self._submissions} holds no notebook of chapter {self._chapter}; chapters found: {there}."
                )
            self.batch = Batch.at(self._out, str(self._submissions.resolve()))
            try:
                closing.enter_context(FileLock(self._out / ".lock", timeout=0))
            except Timeout:
                raise GradeError(f"Another run is grading into {self._out}; wait until it has ended.") from None
            self.seen = found.seen
            self.others = len(found.submissions) - len(wanted)
            self.asked = [self._asked(one) for one in wanted]
            self._closing = closing.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.close()

    def _asked(self, one: Submission) -> Asked:
        tells = one.student
        student = Who(tells.key, tells.name, tells.login, tells.email, tells.number, tells.canvas_id, tells.moodle_id)
        digest = hashlib.sha256(one.notebook.read_bytes()).hexdigest() if one.notebook else ""
        name = f"{self.batch.file_name(student)}-{one.chapter or 'unread'}.json"
        return Asked(one, student, digest, self._out / "grades" / name)

    @property
    def chapters(self) -> dict[str, str]:
        """The chapters that were handed in, with their titles."""
        numbers = sorted({one.submission.chapter for one in self.asked} - {""})
        return {number: registry.chapter(number).title for number in numbers}

    def grades(self, crew: Crew) -> Generator[Grade, None, None]:
        """Every grade, as soon as it is in its file: those that are kept first."""
        waiting: list[Asked] = []
        for one in self.asked:
            if kept := self._kept(one):
                yield kept
            elif one.submission.trouble:
                yield self._write(one.file, self._unreadable(one))
            else:
                waiting.append(one)
        files = {(one.student.key, one.submission.chapter): one.file for one in waiting}
        with closing(crew(map(self._task, waiting))) as made:
            for grade in made:
                yield self._write(files[grade.student.key, grade.chapter], grade)

    def _write(self, file: Path, grade: Grade) -> Grade:
        grade.write(file)
        return grade

    def _kept(self, one: Asked) -> Grade | None:
        """The grade that there is, if it was made of the same notebook, here, by this release, as safely."""
        try:
            grade = Grade.read(one.file)
        except (GradeError, OSError):
            return None
        made = (grade.notebook, grade.batch, grade.version, grade.student, grade.chapter, grade.unsafe)
        asked = (one.digest, self.batch.id, __version__, one.student, one.submission.chapter, self._unsafe)
        return grade if made == asked and not grade.unfinished and not one.submission.trouble else None

    def _task(self, one: Asked) -> Task:
        submission = one.submission
        assert submission.notebook
        chapter = registry.chapter(submission.chapter)
        return Task(
            student=one.student,
            chapter=submission.chapter,
            title=chapter.title,
            source=submission.where,
            notebook=submission.notebook.read_bytes(),
            digest=one.digest,
            batch=self.batch.id,
            seeds={exercise.id: self.batch.seed(one.student.key, exercise.id) for exercise in chapter.exercises},
            late=submission.late,
            flags=submission.flags,
            unsafe=self._unsafe,
        )

    def _unreadable(self, one: Asked) -> Grade:
        submission = one.submission
        title = registry.chapter(submission.chapter).title if submission.chapter else ""
        return Grade(
            student=one.student,
            chapter=submission.chapter,
            title=title,
            source=submission.where,
            notebook=one.digest,
            batch=self.batch.id,
            late=submission.late,
            flags=submission.flags,
            trouble=submission.trouble,
            unsafe=self._unsafe,
            when=datetime.now(UTC).isoformat(timespec="seconds"),
        )
