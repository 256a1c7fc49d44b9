"""A class is graded once, whatever happens on the way: kills, dying workers, second runs, other folders."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any

import pytest

from interpwidgets.course import CourseError, chapters
from interpwidgets.grading import worker
from interpwidgets.grading.batch import Run, local
from interpwidgets.grading.grades import Grade, GradeError, Mark
from interpwidgets.grading.worker import Task, Worker

STUBS = {number: chapters.find(number, "chapters").read_bytes() for number in ("02", "05")}


def class_of(folder: Path, *names: str, chapter: str = "05") -> Path:
    """A folder of submissions: each the unsolved chapter, with a cell of its own so that no two are the same."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        notebook = json.loads(STUBS[chapter])
        notebook["cells"][0]["source"] = [*notebook["cells"][0]["source"], f"\n{name}"]
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook))
    return folder


class Crew:
    """Grades without judging, and remembers what it was asked; ``stop`` ends the run before so many are graded."""

    def __init__(self, stop: int = 10**6) -> None:
        self.asked: list[Task] = []
        self.stop = stop

    def __call__(self, tasks: Iterable[Task]) -> Generator[Grade, None, None]:
        for task in tasks:
            if len(self.asked) == self.stop:
                raise KeyboardInterrupt
            self.asked.append(task)
            seed = task.seeds["05.1"] if task.chapter == "05" else 0
            yield task.grade(marks=(Mark("05.1", "f", "t", 1, 1, "passed", "Agrees.", seed),))


def graded(submissions: Path, out: Path, crew: Any, **options: Any) -> list[Grade]:
    with Run(submissions, out, **options) as run:
        return list(run.grades(crew))


# -- once and for all ---------------------------------------------------------------------------------------------


def test_each_submission_has_its_own_file_and_inputs(tmp_path: Path) -> None:
    crew = Crew()
    found = graded(class_of(tmp_path / "in", "ann", "ben"), tmp_path / "out", crew)
    files = sorted((tmp_path / "out" / "grades").glob("*.json"))
    assert len(files) == 2
    assert sorted(Grade.read(file).student.name for file in files) == ["ann", "ben"]
    assert len({grade.marks[0].seed for grade in found}) == 2
    assert set(crew.asked[0].seeds) == {f"05.{number}" for number in range(1, 14)}


def test_a_second_run_grades_nothing_twice(tmp_path: Path) -> None:
    submissions = class_of(tmp_path / "in", "ann", "ben", "cleo")
    with pytest.raises(KeyboardInterrupt):
        graded(submissions, tmp_path / "out", Crew(stop=2))
    second = Crew()
    found = graded(submissions, tmp_path / "out", second)
    assert len(found) == 3
    assert [task.student.name for task in second.asked] == ["cleo"]


def test_a_new_notebook_of_a_student_is_graded_with_the_same_inputs(tmp_path: Path) -> None:
    submissions = class_of(tmp_path / "in", "ann", "ben")
    first = graded(submissions, tmp_path / "out", Crew())
    (submissions / "ann.ipynb").write_bytes(STUBS["05"])
    crew = Crew()
    second = graded(submissions, tmp_path / "out", crew)
    assert [task.student.name for task in crew.asked] == ["ann"]
    seeds = ({grade.student.name: grade.marks[0].seed for grade in run} for run in (first, second))
    assert next(seeds) == next(seeds)


@pytest.mark.parametrize(
    "change",
    [
        {"version": "0.0.1"},
        {"batch": "another"},
        {"notebook": "00"},
        {"unsafe": True},
        {"unfinished": True, "trouble": "Not graded: the process died.", "marks": ()},
    ],
)
def test_a_grade_of_another_release_batch_notebook_or_kind_is_made_again(tmp_path: Path, change: Any) -> None:
    submissions = class_of(tmp_path / "in", "ann")
    graded(submissions, tmp_path / "out", Crew())
    (file,) = (tmp_path / "out" / "grades").glob("*.json")
    dataclasses.replace(Grade.read(file), **change).write(file)
    crew = Crew()
    graded(submissions, tmp_path / "out", crew)
    assert len(crew.asked) == 1


@pytest.mark.parametrize("rest", [b"", b"{", b'{"format": 1}', b"\xff\xfe"])
def test_a_damaged_grade_is_made_again(tmp_path: Path, rest: bytes) -> None:
    submissions = class_of(tmp_path / "in", "ann")
    graded(submissions, tmp_path / "out", Crew())
    (file,) = (tmp_path / "out" / "grades").glob("*.json")
    file.write_bytes(rest)
    (grade,) = graded(submissions, tmp_path / "out", Crew())
    assert Grade.read(file) == grade


def test_a_kill_in_the_middle_loses_no_grade_and_damages_none(tmp_path: Path) -> None:
    submissions = class_of(tmp_path / "in", *(f"student{at:02}" for at in range(12)))
    out = tmp_path / "out"
    slowly = f"""
        import time
        from pathlib import Path
        from interpwidgets.grading.batch import Run

        def crew(tasks):
            for task in tasks:
                time.sleep(0.15)
                yield task.grade(flags=("x" * 100_000,))

        with Run(Path({str(submissions)!r}), Path({str(out)!r})) as run:
            for grade in run.grades(crew):
                print(grade.student.name, flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(slowly)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    said = [process.stdout.readline().strip() for _ in range(4)]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    done = {file: file.read_bytes() for file in (out / "grades").glob("*.json")}
    assert {Grade.read(file).student.name for file in done} >= set(said)
    crew = Crew()
    assert len(graded(submissions, out, crew)) == 12
    assert len(crew.asked) == 12 - len(done)
    assert {file: file.read_bytes() for file in done} == done


def test_two_runs_at_once_are_one_too_many(tmp_path: Path) -> None:
    submissions = class_of(tmp_path / "in", "ann")
    with Run(submissions, tmp_path / "out"), pytest.raises(GradeError, match="Another run"):
        Run(submissions, tmp_path / "out").__enter__()
    graded(submissions, tmp_path / "out", Crew())  # and then it is free again


# -- what there is to grade ---------------------------------------------------------------------------------------


def test_what_cannot_be_read_has_a_grade_that_says_so_and_stops_nobody(tmp_path: Path) -> None:
    submissions = class_of(tmp_path / "in", "ann")
    (submissions / "ben.ipynb").write_text("{")
    found = {grade.student.name: grade for grade in graded(submissions, tmp_path / "out", Crew())}
    assert not found["ben"].graded
    assert found["ben"].trouble.endswith(".")
    assert found["ann"].graded


def test_one_chapter_can_be_graded_alone(tmp_path: Path) -> None:
    submissions = class_of(tmp_path / "in" / "ann", "five")
    class_of(submissions, "two", chapter="02")
    with Run(tmp_path / "in", tmp_path / "both") as run:
        assert list(run.chapters) == ["02", "05"]
    with Run(tmp_path / "in", tmp_path / "one", chapter="5") as run:
        assert list(run.chapters) == ["05"]
        assert run.others == 1


def test_a_chapter_that_nobody_handed_in_names_those_found_and_leaves_no_folder(tmp_path: Path) -> None:
    submissions = class_of(tmp_path / "in", "ann")
    with pytest.raises(GradeError, match="no notebook of chapter 02; chapters found: 05"):
        Run(submissions, tmp_path / "out", chapter="2").__enter__()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("submissions", "out", "chapter", "sentence"),
    [
        ("nowhere", "out", "", "There is no"),
        ("empty", "out", "", "holds no notebook"),
        ("in", "out", "77", "No chapter 77"),
        ("in", "out", "01", "no notebook of chapter 01"),
        ("in", "in/out", "", "among the submissions"),
        ("in", "thesis", "", "is not empty"),
        ("in", "file", "", "is a file"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence_and_nothing_is_written(
    tmp_path: Path, submissions: str, out: str, chapter: str, sentence: str
) -> None:
    class_of(tmp_path / "in", "ann")
    (tmp_path / "empty").mkdir()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("Once")
    (tmp_path / "file").write_text("x")
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(CourseError, match=sentence), Run(tmp_path / submissions, tmp_path / out, chapter):
        pass
    assert {path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "out"} == before


def test_a_folder_of_another_class_is_refused(tmp_path: Path) -> None:
    graded(class_of(tmp_path / "one", "ann"), tmp_path / "out", Crew())
    with pytest.raises(GradeError, match="holds the grades of"):
        graded(class_of(tmp_path / "two", "ann"), tmp_path / "out", Crew())


# -- workers ------------------------------------------------------------------------------------------------------

PLAY = """
import json, os, sys, time
sys.path[:0] = {path!r}
from interpwidgets.grading.worker import Task
print("ready", flush=True)
for line in sys.stdin.buffer:
    task = Task.from_json(line)
    name = task.student.name
    mark = {folder!r} + "/" + name
    times = len(open(mark).read()) if os.path.exists(mark) else 0
    open(mark, "a").write("x")
    if name.startswith("kills") or (name.startswith("once") and times == 0):
        os.kill(os.getpid(), 9)
    if name.startswith("fails"):
        raise RuntimeError("the reference is broken")
    if name.startswith("hangs"):
        time.sleep(60)
    if name.startswith("garbage"):
        print("no grade")
        sys.stdout.flush()
        continue
    print(task.grade(seconds=1.0, flags=(str(os.getpid()),)).as_json(), flush=True)
"""


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Workers that only play: what they do is in the name of the student. Returns where they note their tries."""
    notes = tmp_path / "notes"
    notes.mkdir()
    play = PLAY.format(path=[path for path in sys.path if path], folder=str(notes))
    monkeypatch.setattr(worker, "command", lambda unsafe: [sys.executable, "-c", play])
    return notes


def tries(notes: Path, name: str) -> int:
    return len((notes / name).read_text())


def test_a_worker_that_dies_is_replaced_and_its_submission_tried_once_more(tmp_path: Path, played: Path) -> None:
    submissions = class_of(tmp_path / "in", "ann", "kills", "once", "zoe", "fails", "garbage")
    found = {grade.student.name: grade for grade in graded(submissions, tmp_path / "out", local(2))}
    assert {name for name, grade in found.items() if grade.graded} == {"ann", "once", "zoe"}
    assert {name: tries(played, name) for name in found} == {
        "ann": 1, "zoe": 1, "once": 2, "kills": 2, "fails": 2, "garbage": 2,
    }  # fmt: skip
    assert "SIGKILL" in found["kills"].trouble
    assert "the reference is broken" in found["fails"].trouble
    assert all(grade.unfinished for name, grade in found.items() if not grade.graded)
    again = Crew()
    graded(submissions, tmp_path / "out", again)
    assert sorted(task.student.name for task in again.asked) == ["fails", "garbage", "kills"]


def test_a_machine_that_cannot_grade_says_so_once_and_writes_no_grade(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse = "print('This machine gives programs no namespaces of their own.')"
    monkeypatch.setattr(worker, "command", lambda unsafe: [sys.executable, "-c", refuse])
    with pytest.raises(GradeError, match=r"^This machine gives programs no namespaces of their own\.$"):
        graded(class_of(tmp_path / "in", "ann", "ben"), tmp_path / "out", local(2))
    assert not (tmp_path / "out" / "grades").exists()


def test_a_worker_that_hangs_is_ended(played: Path) -> None:
    task = Task(dataclasses.replace(STUDENT, name="hangs"), "05", "t", "s", b"{}", "00", "b", {})
    begin = time.monotonic()
    with Worker(unsafe=False, limit=1.0) as one:
        grade = one.grade(task)
    assert time.monotonic() - begin < 30
    assert "did not finish within 1 s" in grade.trouble


def test_a_worker_imports_nothing_from_the_folder_it_is_started_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("base64", "torch", "numpy", "interpwidgets"):  # as a student may have called a file
        (tmp_path / f"{name}.py").write_text("open('canary', 'w')")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "torch.py").write_text("raise SystemExit(7)")  # far enough to have imported the others
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "elsewhere"))
    ended = subprocess.run(worker.command(False), stdin=subprocess.DEVNULL, cwd=tmp_path, timeout=60)
    assert ended.returncode == 7
    assert not (tmp_path / "canary").exists()


def test_one_worker_serves_many_submissions_and_is_gone_afterwards(tmp_path: Path, played: Path) -> None:
    submissions = class_of(tmp_path / "in", *"abcdefgh")
    pids = {int(grade.flags[0]) for grade in graded(submissions, tmp_path / "out", local(2))}
    assert 1 <= len(pids) <= 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_who_stops_in_the_middle_leaves_no_process_behind(tmp_path: Path, played: Path) -> None:
    submissions = class_of(tmp_path / "in", "ann", *(f"hangs{at}" for at in range(4)))
    with Run(submissions, tmp_path / "out") as run:
        grades = run.grades(local(2))
        first = next(grades)
        begin = time.monotonic()
        grades.close()
    assert time.monotonic() - begin < 20
    with pytest.raises(ProcessLookupError):
        os.kill(int(first.flags[0]), 0)
    assert len(list((tmp_path / "out" / "grades").glob("*.json"))) == 1  # what was under way is not called ungradable


def test_only_a_few_notebooks_are_in_memory_at_a_time(tmp_path: Path, played: Path) -> None:
    taken: list[int] = []

    def tasks() -> Generator[Task, None, None]:
        for at in range(30):
            taken.append(at)
            yield Task(dataclasses.replace(STUDENT, name=f"s{at}"), "05", "t", "s", b"{}", "00", "b", {})

    for done, _ in enumerate(local(2)(tasks()), 1):
        assert len(taken) <= done + 2 + 2


STUDENT = Task.from_json(
    b'{"student": {"key": "k", "name": "n"}, "chapter": "05", "title": "", "source": "", "notebook": "", "digest": "",'
    b' "batch": "", "seeds": {}, "flags": []}'
).student


def test_a_task_comes_through_the_pipe_as_it_was_and_never_with_the_secret(tmp_path: Path) -> None:
    crew = Crew()
    with Run(class_of(tmp_path / "in", "ann"), tmp_path / "out") as run:
        list(run.grades(crew))
        secret = run.batch.secret
    line = crew.asked[0].as_json()
    assert b"\n" not in line
    assert Task.from_json(line) == crew.asked[0]
    assert secret.hex().encode() not in line
    assert secret not in line
