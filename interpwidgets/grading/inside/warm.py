"""The process that waits in the sandbox: it imports, runs no operator and no learner code, and forks.

    python -I -S -B warm.py SETTINGS        # started by `interpwidgets.grading.sandbox`, with a socket

For each exercise the grader sends two sockets: ``talk`` goes to the child, in which learner code runs, ``leash`` to
the child's keeper. The keeper kills the child when the leash says so or hangs up, and reports how it ended; it never
reads what the child says. Nor does this process: it reads the control socket, whose other end the grader holds.
"""

import ctypes
import gc
import importlib
import json
import os
import resource
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

IMPORTED = (
    "torch",
    "numpy",
    "interpwidgets.models.taps",
    "interpwidgets.models.load",
    "interpwidgets.models.anatomy",
    "interpwidgets.models.attention_only",
    "transformers.models.gpt2.modeling_gpt2",
    "einops",
    "jaxtyping",
    "interpwidgets.grading.inside.child",
)

_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25


def main(settings: dict[str, Any]) -> None:
    """Import, say "ready", and serve until the grader hangs up."""
    from interpwidgets.grading.inside import walls

    for name in (*IMPORTED, *settings["stages"]):
        with suppress(ImportError):  # not everybody has installed everything
            importlib.import_module(name)
    import torch

    torch.backends.cpu.get_cpu_capability()  # asks /proc what this processor can do, while there is a /proc
    control = socket.socket(fileno=settings["control"])
    if settings["walls"]:
        walls.quiet()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers are not waited for
    gc.collect()
    gc.freeze()  # what was imported stays in pages that all children share
    with suppress(OSError):  # a system without /proc
        _use_large_pages()
    control.sendall(b"ready")
    while True:
        _, given, _, _ = socket.recv_fds(control, 16, 2)
        if len(given) != 2:
            return
        if os.fork() == 0:
            control.close()
            os._exit(_keep(given[0], given[1], settings))
        for descriptor in given:
            os.close(descriptor)


def _use_large_pages() -> None:
    """Gather this process's memory in pages of 2 MB, where the kernel can (Linux 6.1): a fork copies 500 times fewer
    entries, which takes a quarter of the time."""
    libc = ctypes.CDLL(None)
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, rights, _, _, inode, *_ = line.split()
        begin, end = (int(edge, 16) for edge in span.split("-"))
        if rights == "rw-p" and inode == "0" and end - begin >= 2 << 20:
            for advice in (_MADV_HUGEPAGE, _MADV_COLLAPSE):
                libc.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), advice)


def _keep(talk: int, leash: int, settings: dict[str, Any]) -> int:
    """Fork the child, see it through, and report its end: {"signal" or "code", "cpu" in seconds, "memory" in bytes}."""
    from interpwidgets.grading.inside import walls

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    report: dict[str, Any] = {}
    try:
        if settings["walls"]:
            walls.leave(settings["user"])
        child = os.fork()
        if child == 0:
            os.close(leash)
            _live(talk, settings)
        os.close(talk)
        report = _waited(child, leash)
    except OSError as error:
        report = {"wall": str(error.args[-1])}
    with suppress(OSError):
        os.write(leash, json.dumps(report).encode())
    return 0


def _waited(child: int, leash: int) -> dict[str, Any]:
    handle = os.pidfd_open(child) if hasattr(os, "pidfd_open") else -1
    while True:
        ready = select.select([leash, *([handle] if handle >= 0 else [])], [], [], None if handle >= 0 else 0.05)[0]
        if leash in ready:
            os.kill(child, signal.SIGKILL)
        ended, status, used = os.wait4(child, 0 if ready else os.WNOHANG)
        if ended:
            break
    how = {"signal": os.WTERMSIG(status)} if os.WIFSIGNALED(status) else {"code": os.WEXITSTATUS(status)}
    mine = resource.getrusage(resource.RUSAGE_SELF)
    cpu = sum((used.ru_utime, used.ru_stime, mine.ru_utime, mine.ru_stime))
    return {**how, "cpu": cpu, "memory": used.ru_maxrss * 1024}


def _live(talk: int, settings: dict[str, Any]) -> NoReturn:
    """The child: walls first, then somebody else's code, until there is nothing more to do."""
    from interpwidgets.grading.inside import child, walls

    code = 1
    try:
        walls.close_all_but(talk)
        if settings["walls"]:
            walls.enclose(settings["room"], settings["cpu"], settings["memory"])
        os.write(talk, b"up")
        child.serve(socket.socket(fileno=talk))
        code = 0
    except OSError as error:
        os.write(talk, b"!" + str(error.args[-1]).encode())
    finally:  # whatever was raised, nothing of this process goes on
        os._exit(code)


if __name__ == "__main__":
    given: dict[str, Any] = json.loads(sys.argv[1])
    sys.path[:] = given["path"]
    main(given)
