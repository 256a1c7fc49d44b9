"""A class graded on a Dask cluster: the same grades as on one machine, even if a machine dies on the way."""

import dataclasses
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from interpwidgets.course import chapters
from interpwidgets.grading import sandbox
from interpwidgets.grading.batch import Run, local
from interpwidgets.grading.cluster import remote
from interpwidgets.grading.grades import Grade, GradeError, Who
from interpwidgets.grading.worker import Task

distributed = pytest.importorskip("distributed", reason="Dask is not installed: pip install -e '.[cluster]'")

PLAY = """
import os, sys, time
sys.path[:0] = {path!r}
from interpwidgets.grading.worker import Task
print("ready", flush=True)
for line in sys.stdin.buffer:
    task = Task.from_json(line)
    time.sleep(0.2)
    print(task.grade(flags=(str(os.getpid()),)).as_json(), flush=True)
"""


@contextmanager
def two_machines(folder: Path) -> Iterator[Any]:
    """Two workers, each a process of its own with one thread."""
    quiet = {"distributed.worker.memory.terminate": False, "logging.distributed": "critical"}
    made = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1",
        local_directory=str(folder), silence_logs=50, config=quiet,
    )  # fmt: skip
    with made:
        yield made


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Any]:
    with two_machines(tmp_path / "dask") as made:
        yield made


@pytest.fixture(scope="module")
def playing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A cluster whose grading processes only play."""
    with two_machines(tmp_path_factory.mktemp("dask")) as made:
        play(made)
        yield made


def play(cluster: Any) -> None:
    """Let every worker use a grading process that only plays, on workers that start later too."""
    import sys

    text = PLAY.format(path=[path for path in sys.path if path])

    def set_up() -> None:
        from interpwidgets.grading import worker

        worker.command = lambda unsafe: [sys.executable, "-c", text]  # type: ignore[assignment]

    with distributed.Client(cluster, set_as_default=False) as client:
        client.register_worker_callbacks(set_up)


def tasks(count: int) -> list[Task]:
    return [Task(Who(f"k{at}", f"s{at}"), "05", "t", "s", b"{}", f"{at}", "b", {}, unsafe=True) for at in range(count)]


def kill_one(cluster: Any) -> None:
    """End a worker as a power cut would."""
    with distributed.Client(cluster, set_as_default=False) as client:
        os.kill(sorted(client.run(os.getpid).values())[0], signal.SIGKILL)


def test_a_machine_that_dies_costs_no_grade(playing: Any) -> None:
    found: list[Grade] = []
    for grade in remote(playing.scheduler_address, unsafe=True)(tasks(12)):
        found.append(grade)
        if len(found) == 2:
            kill_one(playing)
    assert sorted(grade.student.name for grade in found) == sorted(f"s{at}" for at in range(12))
    assert all(grade.graded for grade in found)


def test_one_process_serves_a_thread_as_long_as_it_lives(playing: Any) -> None:
    pids = {grade.flags[0] for grade in remote(playing.scheduler_address, unsafe=True)(tasks(8))}
    assert 1 <= len(pids) <= 2


def test_only_as_many_notebooks_are_sent_as_there_is_work_for(playing: Any) -> None:
    taken: list[Task] = []

    def slowly() -> Iterator[Task]:
        for task in tasks(20):
            taken.append(task)
            yield task

    for done, _ in enumerate(remote(playing.scheduler_address, unsafe=True)(slowly()), 1):
        assert len(taken) <= done + 2 * 2


def test_a_scheduler_that_is_not_there_is_told_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from interpwidgets.grading import cluster as module

    monkeypatch.setattr(module, "WAIT", 1)
    with pytest.raises(GradeError, match=r"No scheduler answers at tcp://127\.0\.0\.1:1 "):
        list(remote("tcp://127.0.0.1:1")(tasks(1)))
    with pytest.raises(GradeError, match="No scheduler answers"):
        list(remote("nonsense")(tasks(1)))


def test_a_cluster_without_workers_is_told_in_a_sentence(tmp_path: Path) -> None:
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0", local_directory=str(tmp_path)) as empty,
        pytest.raises(GradeError, match="has no workers"),
    ):
        list(remote(empty.scheduler_address, unsafe=True)(tasks(1)))


def test_a_machine_with_another_release_is_refused(cluster: Any) -> None:
    def older() -> None:
        from interpwidgets.grading import cluster

        cluster.__version__ = "0.0.1"  # type: ignore[attr-defined]

    with distributed.Client(cluster, set_as_default=False) as client:
        client.run(older)
    with pytest.raises(GradeError, match=r"has interpwidgets 0\.0\.1"):
        list(remote(cluster.scheduler_address, unsafe=True)(tasks(1)))


@pytest.mark.slow
@pytest.mark.skipif(bool(sandbox.refusal()), reason=f"no sandbox here: {sandbox.refusal()}")
def test_a_cluster_with_a_worker_killed_on_the_way_gives_the_same_grades_as_one_machine(
    cluster: Any, tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name, shelf in [("ann", "solutions"), ("ben", "chapters"), ("cleo", "solutions"), ("dora", "solutions")]:
        text = chapters.find("05", shelf).read_text(encoding="utf-8")  # type: ignore[arg-type]
        if name == "dora":
            text = text.replace("stride", "strid").replace("diagonal(", "diagonal(1 + ")
        (tmp_path / "in" / f"{name}.ipynb").write_text(text, encoding="utf-8")
    with Run(tmp_path / "in", tmp_path / "out") as run:
        here = {grade.student.name: grade for grade in run.grades(local(1))}
    for file in (tmp_path / "out" / "grades").iterdir():
        file.unlink()
    there: dict[str, Grade] = {}
    with Run(tmp_path / "in", tmp_path / "out") as run:
        for grade in run.grades(remote(cluster.scheduler_address)):
            there[grade.student.name] = grade
            if len(there) == 1:
                kill_one(cluster)
    assert here["ann"].earned == here["ann"].points
    assert here["ben"].earned == 0
    assert {name: plain(grade) for name, grade in there.items()} == {name: plain(grade) for name, grade in here.items()}


def plain(grade: Grade) -> Grade:
    """Without what another run may change: when it was, and how long it took."""
    return dataclasses.replace(grade, when="", seconds=0.0)
