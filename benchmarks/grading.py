"""What grading a class costs: CPU seconds for each submission of chapter 05, and memory as the class grows.

    python benchmarks/grading.py                # 300 submissions on two workers
    python benchmarks/grading.py --students 30

The class is made from the solutions: a quarter solved, a quarter half solved, a quarter not started, and a quarter half
solved with the known mistakes in place of the rest. It is graded as `interpwidgets grade` does it, reports included.

CPU seconds of a submission: user and system time of the worker, of bubblewrap and of the warm process, read from /proc
before and after, and of the children that ran learner code with their keepers, as the sandbox counts them. What
starting a worker costs is told apart. Memory: the largest resident set so far of the command and of a worker, and the
memory of all processes together without counting shared pages twice (PSS).
"""

import argparse
import ast
import contextlib
import copy
import dataclasses
import inspect
import json
import os
import random
import re
import statistics
import tempfile
import textwrap
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

from interpwidgets.course import chapters, registry
from interpwidgets.grading import batch, commands
from interpwidgets.grading.gradebooks import Plan
from interpwidgets.grading.grades import Grade
from interpwidgets.grading.worker import Task, Worker

TICK = os.sysconf("SC_CLK_TCK")
IMPORTS = "import torch\nfrom jaxtyping import Float, Int\nfrom torch import Tensor\n\n\n"
DEFINITION = re.compile(r"^def (\w+)", re.MULTILINE)


# -- a class ------------------------------------------------------------------------------------------------------


class School:
    """Notebooks of chapter 05, solved as far as one likes."""

    def __init__(self) -> None:
        self.stub, solved = (
            json.loads(chapters.find("05", shelf).read_text(encoding="utf-8")) for shelf in ("chapters", "solutions")
        )
        self.solutions = {cell["id"]: cell["source"] for cell in solved["cells"]}
        self.exercises = {one.name: one for one in registry.chapter("05").exercises}

    def notebook(self, solved: float, mistaken: float, rng: random.Random) -> Any:
        """``solved`` of the exercises are right, ``mistaken`` of the others one of the known mistakes."""
        made = copy.deepcopy(self.stub)
        for cell in made["cells"]:
            source = "".join(cell["source"])
            found = DEFINITION.search(source)
            if cell["cell_type"] != "code" or not found or "NotImplementedError" not in source:
                continue
            if rng.random() < solved:
                cell["source"] = self.solutions[cell["id"]]
            elif rng.random() < mistaken and (wrong := self.mistake(found[1], rng)):
                cell["source"] = wrong
        return made

    def mistake(self, name: str, rng: random.Random) -> str:
        """The source of a known mistake as a learner would write it, or "" if none stands on its own."""
        found = [source for one in self.exercises[name].mistakes if (source := alone(name, one.answer))]
        return f"{IMPORTS}{rng.choice(found)}" if found else ""

    def hand_in(self, folder: Path, students: int) -> None:
        rng = random.Random(0)
        kinds = [(1.0, 0.0), (0.5, 0.0), (0.0, 0.0), (0.5, 1.0)]
        for at in range(students):
            made = self.notebook(*kinds[at % 4], rng)
            (folder / f"student {at:03}.ipynb").write_text(json.dumps(made), encoding="utf-8")


def alone(name: str, answer: Any) -> str:
    """A function's source under another name, if it uses nothing of ours."""
    if not inspect.isfunction(answer) or answer.__closure__:
        return ""
    used = [answer.__globals__.get(one) for one in answer.__code__.co_names]
    if any((getattr(one, "__module__", "") or "").startswith("interpwidgets") for one in used):
        return ""
    source = textwrap.dedent(inspect.getsource(answer))
    if source.startswith("def "):
        return DEFINITION.sub(f"def {name}", source, count=1)
    begin = source.index("lambda")
    for end in range(len(source), begin, -1):
        with contextlib.suppress(SyntaxError):
            tree = ast.parse(source[begin:end].strip(), mode="eval").body
            first = tree.elts[0] if isinstance(tree, ast.Tuple) else tree
            if isinstance(first, ast.Lambda):
                return f"def {name}({ast.unparse(first.args)}):\n    return {ast.unparse(first.body)}\n"
    return ""


# -- what it costs ------------------------------------------------------------------------------------------------


def family(pid: int) -> list[int]:
    """A process and everything below it."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := stat(int(entry.name))):
            below.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += below.get(one, [])
    return found


def stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, or nothing if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cpu(pid: int) -> float:
    """CPU seconds of a process and all below it, those that have ended and were waited for too."""
    return sum(sum(map(int, fields[11:15])) for one in family(pid) if (fields := stat(one))) / TICK


def own(pid: int) -> float:
    """CPU seconds of a process alone."""
    return sum(map(int, stat(pid)[11:13])) / TICK


def memory(pid: int, file: str, field: str) -> float:
    """A field of /proc/PID/``file``, in MB."""
    try:
        found = re.search(rf"^{field}:\s+(\d+) kB", Path(f"/proc/{pid}/{file}").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(found[1]) / 1e3 if found else 0.0


class Measured(Worker):
    """A worker whose submissions are timed."""

    seconds: ClassVar[list[float]] = []
    starts: ClassVar[list[float]] = []
    lock = threading.Lock()

    def grade(self, task: Task) -> Grade:
        if self.pid is None:
            self._start()
            empty = super().grade(_nothing(task))  # imports, and the warm process
            assert empty.trouble
            assert self.pid
            with self.lock:
                self.starts.append(cpu(self.pid))
        assert self.pid
        before, alone = cpu(self.pid), own(self.pid)
        grade = super().grade(task)
        children = grade.seconds - (own(self.pid) - alone)
        with self.lock:
            self.seconds.append(cpu(self.pid) - before + max(0.0, children))
        return grade


def _nothing(task: Task) -> Task:
    return dataclasses.replace(task, notebook=b"")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--students", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--unsafe", action="store_true", help="without walls: what the sandbox adds is the difference")
    asked = parser.parse_args()
    batch.Worker = Measured  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        (top / "in").mkdir()
        School().hand_in(top / "in", asked.students)
        print(f"{'graded':>6} {'command, MB':>12} {'workers, MB':>12} {'all, PSS, MB':>13}")
        begin, grades = time.monotonic(), list[Grade]()
        kept: set[tuple[str, str]] = set()
        with batch.Run(top / "in", top / "out", unsafe=asked.unsafe) as run:
            for grade in run.grades(batch.local(asked.workers, asked.unsafe)):
                grades.append(commands.slim(grade, kept))
                if len(grades) in (10, 30, 75, 150, asked.students):
                    remember(len(grades))
            graded = time.monotonic()
            commands.write_all(top / "out", run, grades, None, Plan({}), graded - begin)
        report(grades, graded - begin, time.monotonic() - graded)


def remember(count: int) -> None:
    """Memory now: largest resident set so far of the command and of its workers; PSS of all."""
    me = os.getpid()
    workers = [pid for pid in family(me)[1:] if b"interpwidgets.grading.worker" in _line(pid)]
    largest = max((memory(pid, "status", "VmHWM") for pid in workers), default=0.0)
    shared = sum(memory(pid, "smaps_rollup", "Pss") for pid in family(me))
    print(f"{count:>6} {memory(me, 'status', 'VmHWM'):>12.0f} {largest:>12.0f} {shared:>13.0f}", flush=True)


def _line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def report(grades: list[Grade], seconds: float, writing: float) -> None:
    ordered = sorted(Measured.seconds)
    lost = [grade for grade in grades if not grade.graded]
    print(
        f"\n{len(grades)} submissions, {len(lost)} not graded, {seconds:.0f} s; reports and gradebooks {writing:.1f} s"
    )
    middle, most = statistics.median(ordered), ordered[int(0.95 * len(ordered))]
    print(
        f"CPU seconds for each: median {middle:.2f}, p95 {most:.2f}, largest {ordered[-1]:.2f}, sum {sum(ordered):.0f}"
    )
    print(f"to start a worker: {', '.join(f'{one:.1f}' for one in Measured.starts)} CPU seconds")
    for points in ("all", "half", "none", "mistakes"):
        at = ("all", "half", "none", "mistakes").index(points)
        own = [one for one in grades if int(one.student.name.split()[-1]) % 4 == at]
        known = sum(mark.mistake is not None for one in own for mark in one.marks) / len(own)
        mean = statistics.mean(one.earned for one in own)
        print(f"  {points:<9} {mean:.1f} of {own[0].points} points, {known:.1f} known mistakes")


if __name__ == "__main__":
    main()
