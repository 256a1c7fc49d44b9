"""Four notebooks write, are killed at random moments and begin again: what was noted is there, and the file is sound.

What a killed process may not lose can be tried; what a machine without power may not lose cannot. For that the file
relies on sqlite and on a disk that does what fsync asks (interpwidgets/course/events.py).
"""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from interpwidgets.course import progress
from interpwidgets.course.events import store

WRITES, WRITERS, SECONDS = 2000, 4, 60

# Imports once, then forks a writer for every line it reads: a new notebook without two seconds of importing torch.
NURSERY = """
import os, random, signal, sys, time
from interpwidgets.course import progress

def write(writer, log):
    number = 0
    while True:
        item, number = f"97.{writer}{number:04}", number + 1
        progress.note(item, "check", "differs")
        if not progress.trouble():
            os.write(log, f"{item}\\n".encode())   # acknowledged: this line survives the writer
        time.sleep(random.choice((0, 0, 0.02)) * random.random())  # else nobody but writers ever gets a turn

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
print("ready", flush=True)
for line in sys.stdin:
    if (pid := os.fork()) == 0:
        write(line.strip(), log)
    print(pid, flush=True)
"""


@contextmanager
def nursery(log: Path) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", NURSERY, str(log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture(autouse=True)
def _no_disk_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """To a killed process memory is as good as a disk, and 10,000 times fsync on a busy one would take minutes."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        monkeypatch.setenv("INTERPWIDGETS_HOME", folder)
        yield


def begin(process: "subprocess.Popen[str]", writer: int) -> int:
    """A new writer: its process."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{writer}\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def is_sound(path: Path) -> bool:
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok")


def acknowledged(log: Path) -> list[str]:
    return log.read_text().splitlines()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="writers are forked")
def test_nothing_acknowledged_is_lost_when_writers_are_killed(tmp_path: Path) -> None:
    chance, log, kills = random.Random(9), tmp_path / "acknowledged", 0
    path, names = store().path, iter(range(10_000, 99_999))
    with nursery(log) as process:
        writers = [begin(process, next(names)) for _ in range(WRITERS)]
        ends = time.monotonic() + SECONDS
        try:
            while len(acknowledged(log)) < WRITES and time.monotonic() < ends:
                time.sleep(chance.uniform(0.0, 0.05))
                os.kill(writers.pop(chance.randrange(WRITERS)), signal.SIGKILL)
                kills += 1
                assert is_sound(path), f"after {kills} kills"
                writers.append(begin(process, next(names)))
        finally:
            for writer in writers:
                os.kill(writer, signal.SIGKILL)
    noted = [event[1] for event in store().events()]
    assert progress.trouble() == ""
    assert is_sound(path)
    assert len(acknowledged(log)) >= WRITES
    assert set(acknowledged(log)) <= set(noted)
    assert len(noted) == len(set(noted)), "an event was written twice"
    assert len(noted) - len(acknowledged(log)) <= kills + WRITERS, "only the last of each killed writer may be unsaid"
    print(f"{len(acknowledged(log))} writes, {kills} kills, {len(noted) - len(acknowledged(log))} saved but not said")


# A new file with one event, then an import of many more; what is acknowledged goes to a file of its own.
ONE_THEN_MANY = """
import os, sys
from interpwidgets.course.events import store
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
store().add("97.1", "check", "differs")
if not store().trouble:
    os.write(log, b"1\\n")
store().merge([(float(n), "97.2", "check", "differs") for n in range(300)])
os.write(log, b"301\\n")
"""
STEPS = "pwrite64,fdatasync,fsync,ftruncate"


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace, which ends a process at its Nth write, is not here")
def test_a_kill_at_any_single_step_of_writing_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = os.environ["INTERPWIDGETS_HOME"]
    for step in range(1, 100):
        monkeypatch.setenv("INTERPWIDGETS_HOME", f"{home}/{step}")
        log = tmp_path / f"acknowledged{step}"
        kill = ["-e", f"trace={STEPS}", "-e", f"inject={STEPS}:signal=SIGKILL:when={step}"]
        done = subprocess.run(
            ["strace", "-f", "-qq", "-o", os.devnull, *kill, sys.executable, "-c", ONE_THEN_MANY, str(log)],
            capture_output=True,
            text=True,
        )
        if "ptrace" in done.stderr:
            pytest.skip(f"strace may not watch processes here: {done.stderr.strip()}")
        store().path.parent.mkdir(exist_ok=True)
        assert is_sound(store().path), f"killed at step {step}"
        said = int(["0", *acknowledged(log)][-1])
        assert said <= len(store().events()) in (0, 1, 301), f"killed at step {step}"
        assert progress.trouble() == ""
        if done.returncode == 0:
            break
    assert said == 301
    assert step > 20, "there were no steps to be killed at"
