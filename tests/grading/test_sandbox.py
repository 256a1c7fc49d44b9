"""The room itself: what can be seen in it, how it starts again, and where there is none."""

import ast
import importlib
import inspect
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

import interpwidgets
from interpwidgets.course import attempt, check, compare, registry
from interpwidgets.course.exercise import Exercise
from interpwidgets.course.verdict import Verdict
from interpwidgets.grading import sandbox as module
from interpwidgets.grading.inside import syscalls
from interpwidgets.grading.judge import Program, verdicts
from interpwidgets.grading.sandbox import Limits, Lost, Sandbox, SandboxError, refusal
from interpwidgets.grading.wire import heard, packed

PACKAGE = Path(interpwidgets.__file__).parent
RIGHT = "def previous_token_score(pattern):\n    return pattern.diagonal(-1, -2, -1).mean((1, -1))\n"

Judge = Callable[..., Verdict]


WRITABLE = """
import os
def look():
    return [folder for folder, _, _ in os.walk("/") if os.access(folder, os.W_OK)]
"""


WALK = """
import importlib, inspect, pkgutil
def look():
    import interpwidgets
    found = []
    for one in pkgutil.walk_packages(interpwidgets.__path__, "interpwidgets.", onerror=lambda _: None):
        if one.name.startswith("interpwidgets.grading"):
            continue
        try:
            loaded = importlib.import_module(one.name)
        except Exception:
            continue
        for name, thing in vars(loaded).items():
            if (inspect.isfunction(thing) or inspect.isclass(thing)) and thing.__module__ == one.name:
                found.append(f"{one.name}:{name}")
    return found
"""
LEFT = """
import importlib, pkgutil
def look():
    import interpwidgets
    left = []
    for one in pkgutil.walk_packages(interpwidgets.__path__, "interpwidgets.", onerror=lambda _: None):
        if not one.name.endswith(".warm") and not one.name.endswith(".trial"):
            try:
                importlib.import_module(one.name)
            except Exception as error:
                left.append(f"{one.name}: {error!r}")
    return left
"""


def said(room: Sandbox, cell: str, seconds: float = 20) -> Any:
    """What ``look()``, defined in a cell, returns inside."""
    with room.session() as session:
        job = {"cells": [["1", cell]], "name": "look", "drive": "", "limit": 1 << 20, "seconds": seconds}
        assert heard(session.ask(packed(job), seconds))["state"] == "there"
        answer = heard(session.ask(packed(((), seconds)), seconds + 5))
    assert answer["error"] is None, answer["error"]
    return answer["value"]


@pytest.fixture(scope="module")
def wide() -> Iterator[Sandbox]:
    """A sandbox in which one can look round for longer."""
    if why := refusal():
        pytest.skip(why)
    with Sandbox(limits=Limits(seconds=20)) as room:
        yield room


# -- what can be seen -------------------------------------------------------------------------------------------------


def test_of_this_package_only_models_data_stages_and_what_calls_an_answer_can_be_seen(wide: Sandbox) -> None:
    found = said(
        wide,
        """
import os
def look():
    found = []
    for folder, _, files in os.walk("/"):
        for file in files:
            name = os.path.join(folder, file)
            if file.endswith((".py", ".pyc", ".ipynb", ".pth")) and not name.startswith("/sys"):
                if os.path.isfile(name) and b"interpwidgets" in open(name, "rb").read():
                    found.append(name)
    return found
""",
    )
    ours = {name.removeprefix("/course/interpwidgets/") for name in found if name.startswith("/course/")}
    tops = {name.split("/")[0] for name in ours if "/" in name}
    assert tops == {"course", "data", "exercises", "grading", "models"}
    assert {name for name in ours if name.startswith("course/")} == {"course/attempt.py", "course/limits.py"}
    exercises = {name for name in ours if name.startswith("exercises/")}
    assert {name.rsplit("/", 1)[1] for name in exercises} == {"stage.py"}
    assert {name.split("/")[1] for name in ours if name.startswith("grading/")} <= {"wire.py", "inside"}
    elsewhere = [name for name in found if not name.startswith("/course/")]
    assert all(".dist-info/" in name or name.endswith(".pth") or "__editable__" in name for name in elsewhere)


def test_no_function_that_can_be_imported_is_a_reference(wide: Sandbox) -> None:
    found = said(
        wide,
        """
import importlib, inspect, pkgutil
def look():
    import interpwidgets
    found = {}
    for module in pkgutil.walk_packages(interpwidgets.__path__, "interpwidgets.", onerror=lambda _: None):
        try:
            loaded = importlib.import_module(module.name)
        except Exception:
            continue
        for name, thing in vars(loaded).items():
            if inspect.isfunction(thing):
                found[f"{module.name}:{name}"] = thing.__code__.co_code.hex()
    return found
""",
    )
    assert len(found) > 50
    references = {
        exercise.reference.__code__.co_code.hex(): exercise.id
        for number in registry.numbers()
        for exercise in registry.chapter(number).exercises
        if hasattr(exercise.reference, "__code__")
    }
    assert {name: references[code] for name, code in found.items() if code in references} == {}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_exercise_is_passed_by_one_call_of_something_that_can_be_imported(wide: Sandbox) -> None:
    """Every function inside that can be called as an exercise calls its answer is tried in the answer's place."""
    names = said(wide, WALK)
    assert len(names) > 100
    assert not [name for name in names if name.startswith("interpwidgets.models.folding")]
    exercises = [one for number in registry.numbers() for one in registry.chapter(number).exercises if not one.drive]
    passed = []
    for exercise in exercises:
        cases = check.inputs(exercise, torch.device("cpu"), 5)
        targets = check.targets(exercise, cases)
        for name in names:
            module, _, function = name.partition(":")
            found = getattr(importlib.import_module(module), function)
            if binds(found, cases[0][1]) and all(
                agrees(exercise, attempt.attempt(found, arguments, None, 2), target)
                for (_, arguments), target in zip(cases, targets, strict=True)
            ):
                passed.append(f"{name} passes {exercise.id}")
    assert passed == []


def test_what_the_modules_inside_import_is_inside_and_nothing_else(wide: Sandbox) -> None:
    left = said(wide, LEFT)
    assert left == []
    assert module.is_there("interpwidgets.models.taps")
    assert module.is_there("interpwidgets.data.stories.windows")
    assert not module.is_there("interpwidgets.models.folding")
    assert not module.is_there("interpwidgets.methods.induction")


def binds(function: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether it can be called with these."""
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError):
        return False
    return True


def agrees(exercise: Exercise, yours: attempt.Outcome, target: attempt.Outcome) -> bool:
    """Whether a result is the one that is asked."""
    rules = compare.Rules(tuple(exercise.axes), exercise.tolerance)
    return not yours.error and not (
        compare.first_difference(target.value, yours.value, rules)
        or compare.differing_values(target.value, yours.value, rules)
    )


def test_stages_know_nothing_that_knows_an_answer() -> None:
    allowed = (
        "torch",
        "numpy",
        "transformers",
        "interpwidgets.models",
        "interpwidgets.data",
        "interpwidgets.course.kinds",
    )
    stages = sorted(PACKAGE.glob("exercises/ch*/stage.py"))
    assert stages
    for stage in stages:
        for node in ast.walk(ast.parse(stage.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or "."] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                known = name.split(".")[0] in sys.stdlib_module_names
                assert known or name.startswith(allowed), f"{stage} imports {name}"


def test_nothing_can_be_written_but_an_empty_folder_of_its_own(wide: Sandbox) -> None:
    assert set(said(wide, WRITABLE)) == {"/tmp", "/dev/shm"}


def test_nor_where_it_is_the_user_who_grades(monkeypatch: pytest.MonkeyPatch) -> None:
    if why := refusal():
        pytest.skip(why)
    monkeypatch.setattr(module, "_other_user", lambda: None)
    with Sandbox(limits=Limits(seconds=20)) as room:
        assert set(said(room, WRITABLE)) == {"/tmp", "/dev/shm"}
        assert judged(room).passed


def test_the_environment_is_made_for_it_and_says_nothing_of_the_grader(wide: Sandbox) -> None:
    names = said(wide, "import os\ndef look():\n    return dict(os.environ)\n")
    assert names["OMP_NUM_THREADS"] == "1"
    assert not {name for name in names if name.startswith(("PYTEST", "VIRTUAL", "SSH", "INTERPWIDGETS", "USER"))}
    assert names["HOME"] == "/tmp"


def test_an_answer_is_alone_among_processes_and_has_no_power(wide: Sandbox) -> None:
    user, process, threads = said(
        wide, "import os, threading\ndef look():\n    return [os.getuid(), os.getpid(), threading.active_count()]\n"
    )
    assert process == 1
    assert user == 65534
    assert threads == 1


# -- how it lives -----------------------------------------------------------------------------------------------------


IDLE = 3  # bubblewrap outside, bubblewrap inside, the warm process
ENDLESS = "def look():\n    while True: pass\n"


def processes(room: Sandbox) -> list[psutil.Process]:
    """bubblewrap, and all that lives in it."""
    assert room._process
    outermost = psutil.Process(room._process.pid)
    return [outermost, *outermost.children(recursive=True)]


def comes_to(number: int, room: Sandbox) -> bool:
    """Whether only so many processes are left, after a while."""
    end = time.monotonic() + 10
    while len(processes(room)) != number and time.monotonic() < end:
        time.sleep(0.05)
    return len(processes(room)) == number


def judged(room: Sandbox) -> Verdict:
    return verdicts(Program((("1", RIGHT),)), [registry.exercise("05.3")], lambda _: 3, room)[0]


def test_a_sandbox_whose_processes_were_killed_starts_again(wide: Sandbox) -> None:
    assert judged(wide).passed
    for process in processes(wide):
        with suppress(psutil.NoSuchProcess):  # gone with the one before
            process.kill()
    assert judged(wide).passed


def test_leaving_ends_every_process() -> None:
    if why := refusal():
        pytest.skip(why)
    with Sandbox() as room, room.session() as session:
        job = {"cells": [["1", ENDLESS]], "name": "look", "drive": "", "limit": 1 << 20, "seconds": 9.0}
        session.ask(packed(job), 5)
        with pytest.raises(Lost, match="stopped after"):
            session.ask(packed(((), 9.0)), 0.2)
        there = processes(room)
        assert there
    gone, left = psutil.wait_procs(there, timeout=10)
    assert gone
    assert not left


def test_a_child_that_never_ends_is_gone_with_its_session(wide: Sandbox) -> None:
    assert judged(wide).passed
    assert comes_to(IDLE, wide)
    with wide.session() as session:
        job = {"cells": [["1", ENDLESS]], "name": "look", "drive": "", "limit": 1 << 20, "seconds": 9.0}
        session.ask(packed(job), 5)
        session._send(b"\0" * 24, time.monotonic() + 5)
        assert len(processes(wide)) > IDLE
    assert comes_to(IDLE, wide)


def test_it_counts_what_its_children_use(sandbox: Sandbox) -> None:
    before = sandbox.used.sessions, sandbox.used.cpu
    assert judged(sandbox).passed
    assert sandbox.used.sessions == before[0] + 1
    assert 0 < sandbox.used.cpu - before[1] < 5
    assert sandbox.used.memory > 50 << 20


# -- where there is none ----------------------------------------------------------------------------------------------


@pytest.fixture
def anew() -> Iterator[None]:
    """`refusal` asks the machine again."""
    refusal.cache_clear()
    yield
    refusal.cache_clear()


def test_without_bubblewrap_it_says_what_to_install(anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "apt install bubblewrap" in (refusal() or "")
    with pytest.raises(SandboxError, match="apt install bubblewrap"), Sandbox():
        pass


def test_on_another_system_it_points_to_the_container(anew: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    why = refusal() or ""
    assert "this is Darwin" in why
    assert "containers/grading" in why


def test_where_namespaces_are_forbidden_it_says_who_can_allow_them(
    anew: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refuses = tmp_path / "bwrap"
    refuses.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refuses.chmod(0o755)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(shutil, "which", lambda _: str(refuses))
    why = refusal() or ""
    assert "No permissions to create new namespace" in why
    assert "unprivileged_userns" in why


def test_on_a_system_without_limits_for_processes_it_can_still_say_so() -> None:
    ask = "import sys; sys.modules['resource'] = sys.modules['fcntl'] = None; import interpwidgets.grading.judge"
    assert subprocess.run([sys.executable, "-c", ask], check=False).returncode == 0


def test_a_machine_with_a_sandbox_has_no_reason_to_refuse() -> None:
    if refusal() is not None:
        pytest.skip(refusal() or "")
    assert module._tried() is None


@pytest.mark.parametrize("machine", syscalls.KNOWN)
def test_the_filter_of_system_calls_lets_its_end_be_reached_and_jumps_nowhere_else(machine: str) -> None:
    code = syscalls.program(machine)
    lines = [code[at : at + 8] for at in range(0, len(code), 8)]
    for at, line in enumerate(lines):
        kind, yes, no = int.from_bytes(line[:2], "little"), line[2], line[3]
        if kind & 0x07 == 0x05:
            assert at + 1 + max(yes, no) < len(lines)
    assert lines[-1][:2] == b"\x06\x00"
    assert len(lines) < 4096
