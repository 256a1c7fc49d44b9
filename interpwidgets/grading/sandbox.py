"""A room in which somebody else's code can run, and from which nothing comes out but what was asked for.

    if why := refusal():
        raise SystemExit(why)                       # what this machine lacks, and what to do
    with Sandbox() as room:                         # bubblewrap, and in it one process that has imported torch
        for program in programs:
            with room.session() as session:         # a child of that process, with walls of its own, for one exercise
                session.ask(question, seconds=10)   # -> what it says; raises `Lost` if it dies, lies or takes too long

    grader ──control──> warm process     "fork", with one end of talk and of leash; it reads nothing else
       ├──────talk─────> child           questions and answers: see `interpwidgets.grading.wire`
       └─────leash─────> keeper          "kill it"; how it ended, its CPU time and memory

Only what is needed can be seen in there, read-only: Python, the installed packages, and of this package those modules
of models and data that answers use, what calls an answer, and the stages of the exercises. No references, no other
submission, no home, no network.
`Unsafe` has the same methods and no walls. A room serves one thread, and ends with the thread that opened it.
"""

import ast
import json
import os
import platform
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from interpwidgets.course import CourseError
from interpwidgets.grading.inside import TEMPORARY
from interpwidgets.grading.inside.syscalls import KNOWN

GRACE = 1.0  # seconds for a child to say itself that its time is over
START = 120.0  # seconds for imports, on a slow disk
_HEAD = 24  # bytes before each answer: length and token
_NOBODY = 65534
_PACKAGE = Path(__file__).resolve().parent.parent
_SHOWN = (
    *("__init__.py", "_errors.py", "_version.py", "_urls.py", "data/__init__.py", "data/stories"),
    *("models/__init__.py", "models/weights"),
    *("course/kinds.py", "course/attempt.py", "course/limits.py", "grading/wire.py", "grading/inside"),
)
_USED = (  # by answers, and by the cells that the course gives
    *("models/anatomy.py", "models/attention_only.py", "models/load.py", "models/taps.py", "data/repeats.py"),
)
_SYSTEM = (
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/sys/devices/system/cpu",
)
_HOME, _PYTHON = "/course", "/python"
_CONTAINER = "Or grade in the container whose recipe is in containers/grading."


class SandboxError(CourseError):
    """The sandbox itself does not work; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Limits:
    """What one answer may use: ``seconds`` for all cases of an exercise, bytes of ``memory`` beyond what is imported,
    bytes of ``files``, bytes of one ``result``."""

    seconds: float = 10.0
    memory: int = 2 << 30
    files: int = 64 << 20
    result: int = 32 << 20


class Lost(Exception):
    """A session that ended before its time. ``names``: what to call it, as classes of exceptions are called."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.names = (name, "Lost")


@dataclass
class Usage:
    """What all sessions of a room have used: CPU seconds of children and keepers, and most bytes of memory of one."""

    sessions: int = 0
    cpu: float = 0.0
    memory: int = 0


# -- sessions -----------------------------------------------------------------------------------------------------


class Session:
    """A child that waits for questions. After `Lost` there is nobody left to ask."""

    def __init__(self, talk: socket.socket, leash: socket.socket, limits: Limits) -> None:
        self._talk, self._leash, self.limits = talk, leash, limits
        self._report: dict[str, Any] | None = None

    def ask(self, question: bytes, seconds: float) -> bytes:
        """Send a question and wait for its answer, at most ``seconds``. Raises `Lost`."""
        token = secrets.token_bytes(16)
        end = time.monotonic() + seconds
        try:
            self._send(len(question).to_bytes(8, "little") + token + question, end)
            head = self._take(_HEAD, end)
            if head[8:] != token:
                raise Lost("Garbled", "it said something that nobody had asked for")
            size = int.from_bytes(head[:8], "little")
            if size > self.limits.result + (1 << 20):
                raise Lost("TooLarge", f"it returns {size} bytes; at most {self.limits.result} are taken")
            answer = self._take(size, end)
            if self._more():
                raise Lost("Garbled", "it said more than it was asked")
        except TimeoutError:
            self.end()
            raise Lost("TimeUp", f"stopped after {seconds:.3g} seconds") from None
        except OSError:
            raise self._death() from None
        return answer

    def _send(self, data: bytes, end: float) -> None:
        self._wait(end)
        self._talk.sendall(data)

    def _take(self, count: int, end: float) -> bytes:
        taken = bytearray()
        while len(taken) < count:
            self._wait(end)
            some = self._talk.recv(min(count - len(taken), 1 << 20))
            if not some:
                raise self._death()
            taken += some
        return bytes(taken)

    def _wait(self, end: float) -> None:
        if (left := end - time.monotonic()) <= 0:
            raise TimeoutError
        self._talk.settimeout(left)

    def _more(self) -> bool:
        self._talk.settimeout(0)
        try:
            return bool(self._talk.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            return False

    def _death(self) -> Lost:
        """How the child ended by itself, in words."""
        self._talk.close()
        report = self.end(patience=0.3)  # it has hung up, so most likely it is about to end
        if "signal" in report and report["signal"] != signal.SIGKILL:
            name = signal.strsignal(report["signal"]) or "a signal"
            return Lost("Killed", f"the operating system ended it: {name.lower()}")
        if "code" in report:
            return Lost("SystemExit", f"it ended Python, with the code {report['code']}")
        return Lost("Killed", "it hung up, or took more memory or time than there is")

    def end(self, patience: float = 0.0) -> dict[str, Any]:
        """Kill the child, unless it ends by itself within ``patience`` seconds; returns the keeper's report."""
        if self._report is None:
            self._report = {}
            with suppress(OSError):
                waiting = select.poll()
                waiting.register(self._leash, select.POLLIN)
                if not waiting.poll(1000 * patience):
                    self._leash.sendall(b"k")
            with suppress(OSError, ValueError):
                self._leash.settimeout(20)
                self._report = json.loads(self._leash.recv(4096) or b"{}")
            self._talk.close()
            self._leash.close()
        return self._report


# -- rooms --------------------------------------------------------------------------------------------------------


class _Room:
    """A warm process that forks, and how to start it again."""

    walls: bool

    def __init__(self, python: str = sys.executable, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.used = Usage()
        self._python = python
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._said: IO[bytes] | None = None

    def __enter__(self) -> Any:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A child for one exercise. It is gone afterwards, whatever it has done."""
        session = self._session()
        try:
            yield session
        finally:
            report = session.end()
            self.used.sessions += 1
            self.used.cpu += report.get("cpu", 0.0)
            self.used.memory = max(self.used.memory, report.get("memory", 0))
            if not report:  # the keeper is gone: nobody knows what is left in there
                self._stop()

    def _session(self) -> Session:
        for _ in range(2):
            if self._control is None:
                self._start()
            assert self._control
            talk, theirs = socket.socketpair()
            leash, keepers = socket.socketpair()
            session = Session(talk, leash, self.limits)
            try:
                socket.send_fds(self._control, [b"fork"], [theirs.fileno(), keepers.fileno()])
                theirs.close()
                keepers.close()
                talk.settimeout(START)
                if (said := talk.recv(200)) == b"up":
                    return session
                trouble = said.removeprefix(b"!").decode() or session.end().get("wall", "")
                if trouble:
                    raise SandboxError(f"The sandbox has lost a wall: {trouble}. {_CONTAINER}")
            except OSError:
                pass
            self._stop()
        raise SandboxError(f"The sandbox ends as soon as it is used. {self._last_words()}")

    def _start(self) -> None:
        mine, theirs = socket.socketpair()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the process)
        command = self._command(_installed(self._python), theirs.fileno())
        self._process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=self._said,
            env=_environment(),
            cwd="/",
        )
        theirs.close()
        mine.settimeout(START)
        try:
            ready = mine.recv(16) == b"ready"
        except OSError:
            ready = False
        if not ready:
            mine.close()
            self._stop()
            raise SandboxError(f"The sandbox does not start. {self._last_words()} {refusal() or _CONTAINER}")
        self._control = mine

    def _stop(self) -> None:
        if self._control:
            self._control.close()
            self._control = None
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _last_words(self) -> str:
        if not self._said:
            return ""
        self._said.seek(0)
        lines = self._said.read()[-2000:].decode(errors="replace").strip().splitlines()
        return f"Its last words: {lines[-1]}" if lines else ""

    def _settings(self, control: int, path: list[str], stages: list[str], user: int | None) -> str:
        cpu = int(6 * self.limits.seconds) + 10
        settings = {"control": control, "path": path, "stages": stages, "walls": self.walls, "user": user}
        return json.dumps({**settings, "cpu": cpu, "memory": self.limits.memory, "room": self.limits.files})

    def _command(self, python: "_Python", control: int) -> list[str]:
        raise NotImplementedError


class Sandbox(_Room):
    """One warm process inside bubblewrap, for thousands of submissions. Raises `SandboxError` where it cannot be."""

    walls = True

    def __enter__(self) -> "Sandbox":
        if why := refusal():
            raise SandboxError(why)
        super().__enter__()
        return self

    def _command(self, python: "_Python", control: int) -> list[str]:
        shown = {f"{_HOME}/interpwidgets/{name}": str(path) for name, path in _ours().items()}
        settings = self._settings(control, python.inside, _stages(), _other_user())
        return [*_bubblewrap(python, shown), f"{_HOME}/interpwidgets/grading/inside/warm.py", settings]


class Unsafe(_Room):
    """The same without walls: code of submissions runs with all that the user who grades may do."""

    walls = False

    def __enter__(self) -> "Unsafe":
        if not hasattr(socket, "send_fds") or not hasattr(os, "fork"):
            raise SandboxError(f"This system cannot fork, so nothing can be graded on it. {_CONTAINER}")
        self._home = tempfile.TemporaryDirectory(prefix="interpwidgets-")
        for name, path in _ours().items():
            place = Path(self._home.name, "interpwidgets", name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(path)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._home.cleanup()

    def _command(self, python: "_Python", control: int) -> list[str]:
        path = [self._home.name, *python.standard, *python.packages]
        settings = self._settings(control, path, _stages(), None)
        script = f"{self._home.name}/interpwidgets/grading/inside/warm.py"
        return [python.executable, "-I", "-S", "-B", script, settings]


# -- what can be seen inside --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Python:
    """An interpreter: the program itself, what it stands on, its own modules, and the folders of installed packages."""

    executable: str
    prefix: str
    standard: tuple[str, ...]
    packages: tuple[str, ...]

    @property
    def inside(self) -> list[str]:
        """Where it finds modules inside."""
        standard = (_PYTHON + place.removeprefix(self.prefix) for place in self.standard)
        return [_HOME, *standard, *self.seen]

    @property
    def seen(self) -> dict[str, str]:
        """Place inside -> folder of packages."""
        return {f"/packages/{at}/site-packages": place for at, place in enumerate(self.packages)}


@cache
def _installed(python: str) -> _Python:
    ask = (
        "import json, os, sys; program = getattr(sys, '_base_executable', '') or sys.executable; "
        "print(json.dumps([os.path.realpath(program), sys.base_prefix, sys.path]))"
    )
    said = subprocess.run([python, "-I", "-c", ask], capture_output=True, check=True, timeout=60)
    executable, prefix, path = json.loads(said.stdout)
    there = [place for place in path if Path(place).exists()]
    standard = tuple(place for place in there if place.startswith(prefix) and "-packages" not in place)
    return _Python(executable, prefix, standard, tuple(place for place in there if place.endswith("-packages")))


def _ours() -> dict[str, Path]:
    """Of this package: what there is to see inside. Exercises are there with their stages alone."""
    stages = {path.relative_to(_PACKAGE).as_posix(): path for path in sorted(_PACKAGE.glob("exercises/ch*/stage.py"))}
    return {name: _PACKAGE / name for name in (*_SHOWN, *_with_imports(_USED)) if (_PACKAGE / name).exists()} | stages


@cache
def _with_imports(modules: tuple[str, ...]) -> tuple[str, ...]:
    """These modules of models and data, and those that they import in turn: no others, for others know answers."""
    found: set[str] = set()
    todo = [*modules]
    while todo:
        if (name := todo.pop()) not in found:
            found.add(name)
            todo += _imports(_PACKAGE / name)
    return tuple(sorted(found))


def _imports(path: Path) -> Iterator[str]:
    """The modules of models and data that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                file = f"{name.removeprefix('interpwidgets.').replace('.', '/')}.py"
                if name.startswith(("interpwidgets.models.", "interpwidgets.data.")) and (_PACKAGE / file).exists():
                    yield file


def is_there(module: str) -> bool:
    """Whether this module of our package can be imported where answers run."""
    place = module.removeprefix("interpwidgets.").replace(".", "/")
    names = {f"{place}.py", f"{place}/__init__.py"}
    return any(name in names or f"{place}.py".startswith(f"{name}/") or name == place for name in _ours())


def _stages() -> list[str]:
    return [f"interpwidgets.{name.removesuffix('.py').replace('/', '.')}" for name in _ours() if "/stage" in name]


def _bubblewrap(python: _Python, shown: dict[str, str]) -> list[str]:
    """Everything of the command but the program that it starts."""
    system = [place for place in _SYSTEM if Path(place).exists()]
    folders = {f"{_PYTHON}/{name}": f"{python.prefix}/{name}" for name in ("lib", "lib64")}
    shown = {**folders, f"{_PYTHON}/bin/python": python.executable, **python.seen, **shown}
    arguments = [shutil.which("bwrap") or "bwrap", "--die-with-parent", "--new-session", "--clearenv"]
    arguments += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try"]
    arguments += ["--cap-drop", "ALL"]
    if _other_user() is None:  # a user namespace in which nobody is root can have others in it, without any capability
        arguments += ["--unshare-user", "--uid", str(_NOBODY), "--gid", str(_NOBODY)]
    else:
        arguments += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    for name, value in _environment().items():
        arguments += ["--setenv", name, value]
    for folder in sorted({str(above) for place in [*system, *shown] for above in Path(place).parents} - {"/"}):
        if not Path(folder).is_symlink():
            arguments += ["--perms", "0755", "--dir", folder]
    for place in system:
        link = Path(place).is_symlink()
        arguments += ["--symlink", str(Path(place).readlink()), place] if link else ["--ro-bind", place, place]
    for inside, place in shown.items():
        arguments += ["--ro-bind", place, inside] if Path(place).exists() else []
    for place in _hidden(python, system):
        arguments += ["--tmpfs", place, "--remount-ro", place]
    arguments += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", TEMPORARY]
    arguments += ["--remount-ro", "/dev", "--remount-ro", "/"]
    return [*arguments, "--chdir", "/", f"{_PYTHON}/bin/python", "-I", "-S", "-B"]


def _hidden(python: _Python, system: list[str]) -> list[str]:
    """Folders inside that would show this package whole, or packages that this Python does not look for."""
    roots = {f"{_PYTHON}/{name}": f"{python.prefix}/{name}" for name in ("lib", "lib64")}
    roots |= {place: place for place in system if not Path(place).is_symlink()}
    other = [
        inside + str(place).removeprefix(root) for inside, root in roots.items()
        for pattern in ("python3*/site-packages", "python3*/dist-packages") for place in Path(root).glob(pattern)
    ]  # fmt: skip
    return [
        *other,
        *(f"{inside}/interpwidgets" for inside, place in python.seen.items() if Path(place, "interpwidgets").is_dir()),
    ]


def _environment() -> dict[str, str]:
    threads = {
        name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    }
    here = {
        "PATH": "/usr/bin",
        "LD_LIBRARY_PATH": f"{_PYTHON}/lib",
        "HOME": TEMPORARY,
        "TMPDIR": TEMPORARY,
        "LC_ALL": "C.UTF-8",
        "MALLOC_ARENA_MAX": "2",  # else every thread reserves addresses that count as its memory
    }
    return {**threads, **here, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


def _other_user() -> int | None:
    """Whom children become if root grades, for whom limits on processes do not hold; else they stay who they are."""
    if os.geteuid() != 0:
        return None
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    needed = 1 << 21 | 1 << 6 | 1 << 7  # CAP_SYS_ADMIN, CAP_SETGID, CAP_SETUID
    return _NOBODY if int(held.split()[1], 16) & needed == needed else None


# -- where there can be no sandbox --------------------------------------------------------------------------------


@cache
def refusal() -> str | None:
    """Why learner code cannot be locked up on this machine, and what to do; None if it can."""
    if sys.platform != "linux" or platform.machine() not in KNOWN:
        here = f"{platform.system()} on {platform.machine()}"
        return (
            f"Grading needs Linux on {' or '.join(KNOWN)}; this is {here}. Grade in the container (containers/grading)."
        )
    if not shutil.which("bwrap"):
        return (
            f"Grading needs bubblewrap: apt install bubblewrap (Debian, Ubuntu), dnf install bubblewrap. {_CONTAINER}"
        )
    return _unreadable() or _tried()


def _unreadable() -> str | None:
    """Where root grades, learner code runs as somebody else, who has to be able to read what there is to see."""
    if _other_user() is None:
        return None
    seen = [*_ours().values(), *map(Path, _installed(sys.executable).packages)]
    files = [
        one for place in seen for one in ([place, *place.rglob("*")] if place.is_relative_to(_PACKAGE) else [place])
    ]
    closed = next((one for one in files if not one.stat().st_mode & 0o004), None)
    if not closed:
        return None
    return (
        f"Learner code runs as another user than root, and {closed} can be read by root alone. "
        f"Let everybody read it: chmod -R a+rX {_PACKAGE if closed.is_relative_to(_PACKAGE) else closed}"
    )


def _tried() -> str | None:
    """Put up every wall once, round a process that ends at once."""
    python = _installed(sys.executable)
    shown = {f"{_HOME}/interpwidgets/{name}": str(path) for name, path in _ours().items() if name == "grading/inside"}
    settings = json.dumps({"user": _other_user(), "path": python.inside})
    command = [*_bubblewrap(python, shown), f"{_HOME}/interpwidgets/grading/inside/trial.py", settings]
    try:
        said = subprocess.run(command, capture_output=True, timeout=60, env=_environment(), cwd="/")
    except (OSError, subprocess.SubprocessError) as error:
        return f"bubblewrap does not start here: {error}. {_CONTAINER}"
    if said.stdout.strip() == b"ok":
        return None
    words = (said.stderr or said.stdout).decode(errors="replace").strip().splitlines()
    return (
        f"This machine gives programs no namespaces of their own ({words[-1] if words else 'no reason given'}). "
        "An administrator can allow them: sysctl kernel.unprivileged_userns_clone=1 (Debian), "
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), "
        f"or --security-opt seccomp=unconfined for Docker. {_CONTAINER}"
    )
