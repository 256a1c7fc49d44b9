"""The child: define what a notebook defines, find the answer, call it on what arrives, say what came of it.

Everything here runs beside the learner's code, which can change all of it; so nothing here is trusted by the grader. A
frame is a length, the token of the question it answers, and a value of `interpwidgets.grading.wire`.
"""

import __future__

import ast
import contextlib
import importlib
import inspect
import io
import linecache
import socket
import struct
import sys
import types
from typing import Any

from interpwidgets.course.attempt import Outcome, Stopped, attempt, stopped
from interpwidgets.course.limits import TimeUp, limited
from interpwidgets.grading.wire import TooLarge, told, unpacked

HEAD = struct.Struct("<Q16s")


class Absent:
    """What a name stands for that could not be imported or defined: whoever uses it is told why."""

    def __init__(self, name: str, why: str, error: Stopped | None = None) -> None:
        self._told, self._error = f"{name!r} is not there: {why}", error

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise NameError(self._told)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NameError(self._told)


def serve(talk: socket.socket) -> None:
    """Answer the grader's questions until it hangs up. The first is the job, each other one the arguments of a case."""
    line = talk.makefile("rwb")
    job: dict[str, Any] = {}
    answer: Any = None
    while len(head := line.read(HEAD.size)) == HEAD.size:
        size, token = HEAD.unpack(head)
        question = unpacked(line.read(size))
        if not job:
            job = question
            answer, said = _prepared(job)
        else:
            said = _called(answer, job, *question)
        line.write(HEAD.pack(len(said), token) + said)
        line.flush()


def _called(answer: Any, job: dict[str, Any], arguments: tuple[Any, ...], seconds: float) -> bytes:
    try:
        outcome = attempt(answer, arguments, _named(job["drive"]) if job["drive"] else None, seconds)
    except KeyboardInterrupt as error:  # there is no keyboard here
        outcome = Outcome(error=stopped(error, answer))
    try:
        return told(_as_data(outcome), job["limit"])
    except TooLarge as error:
        outcome.value, outcome.error = None, Stopped(("TooLarge",), f"it returns {error}")
    except BaseException as error:  # a value that looks at itself while it is looked at
        outcome.value, outcome.error = None, stopped(error, answer)
    return told(_as_data(outcome), job["limit"])


def _as_data(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    return {
        "value": outcome.value,
        "error": error and _stopped_as_data(error),
        "changed": list(outcome.changed),
        "seconds": outcome.seconds,
        "printed": outcome.printed,
    }


def _stopped_as_data(error: Stopped) -> list[Any]:
    return [list(error.names), error.message, error.at, [list(line) for line in error.lines], error.stub]


def _named(home: str) -> Any:
    module, name = home.split(":")
    return getattr(importlib.import_module(module), name)


# -- what the cells define ----------------------------------------------------------------------------------------


def _prepared(job: dict[str, Any]) -> tuple[Any, bytes]:
    """The answer, and what the grader has to know of it: {"state", "error", and what is known of it}."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    names = vars(main)
    quiet = io.StringIO()
    error: Stopped | None = None
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            limited(job["seconds"], _define_all, job["cells"], names)
    except BaseException as raised:  # the time is over; what is defined by now counts
        error = stopped(raised, None)
    found = names.get(job["name"])
    if isinstance(found, Absent):
        error = found._error
    elif job["name"] in names:
        error = None
    state = "broken" if error else "there" if job["name"] in names else "absent"
    about = {"state": state, "error": error and _stopped_as_data(error), "callable": False}
    if state == "there" and callable(found):
        about |= {"callable": True, "parameters": _parameters(found), "own": _own_name(found)}
    elif state == "there":
        with contextlib.suppress(TooLarge):
            return found, told({**about, "given": found}, job["limit"])
    return found, told(about, job["limit"])


def _parameters(answer: Any) -> list[Any] | None:
    """[name, kind, has a default] of each parameter, or None where Python cannot tell."""
    try:
        signature = limited(1, inspect.signature, answer)
    except BaseException:
        return None
    return [[one.name, int(one.kind), one.default is not one.empty] for one in signature.parameters.values()]


def _own_name(answer: Any) -> str:
    name = getattr(answer, "__name__", "")
    return name if type(name) is str else ""


def _define_all(cells: list[Any], names: dict[str, Any]) -> None:
    flags = 0
    for name, source in cells:
        file = f"<ipython-input {name}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        try:
            body = ast.parse(source, file).body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # such a cell defines nothing, as in a notebook
        for node in body:
            flags |= _future(node)
            _define(node, file, names, flags)


def _define(node: ast.stmt, file: str, names: dict[str, Any], flags: int) -> None:
    """Run one import, definition or assignment; if it fails, its names say why."""
    try:
        exec(compile(ast.Module([node], []), file, "exec", flags, dont_inherit=True), names)  # noqa: S102
    except BaseException as error:  # a cell that asks Python to end ends no other one either
        if isinstance(node, ast.ImportFrom) and len(node.names) > 1:
            for alias in node.names:
                one = ast.ImportFrom(node.module, [alias], node.level)
                _define(ast.copy_location(one, node), file, names, flags)
            return
        why = f"{type(error).__name__}: {error}" if not isinstance(error, ImportError) else "grading runs without it"
        for name in _defined(node):
            names[name] = Absent(name, why[:200], stopped(error, None))
        if isinstance(error, TimeUp):
            raise


def _future(node: ast.stmt) -> int:
    if not (isinstance(node, ast.ImportFrom) and node.module == "__future__"):
        return 0
    features = (getattr(__future__, alias.name, None) for alias in node.names)
    return sum(feature.compiler_flag for feature in features if feature)


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names]
    return [each.id for each in ast.walk(node) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
