"""Start JupyterLab on the learner's folder, and stay out of its way.

from interpwidgets.course.lab import start

start(Path("interpwidgets-course"), "00_start_here.ipynb", browser=True, port=None)    # until Ctrl-C
"""

import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from interpwidgets.course import CourseError


def check(port: int | None) -> None:
    """Raise `CourseError` if JupyterLab could not start: it is not installed, or the port is taken."""
    if find_spec("jupyterlab") is None:
        raise CourseError('JupyterLab is not installed here. Install it: pip install "interpwidgets[lab]"')
    if port is not None and _taken(port):
        raise CourseError(f"Port {port} is in use by another program. Name another one, or leave --port out.")


def start(folder: Path, notebook: str, browser: bool, port: int | None) -> int:
    """Run JupyterLab in ``folder`` with ``notebook`` open until it ends; returns its exit status."""
    check(port)
    command = [sys.executable, "-m", "jupyterlab", f"--LabApp.default_url=/lab/tree/{quote(notebook)}"]
    command += ["--log-level=WARN"]  # what is left to read is the address
    if not browser:
        command += ["--no-browser"]
    if port is not None:
        command += [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command += ["--allow-root"]  # a container; JupyterLab refuses to start there otherwise
    return _wait(subprocess.Popen(command, cwd=folder))


def _wait(lab: "subprocess.Popen[bytes]") -> int:
    """Wait for JupyterLab. Ctrl-C reaches it from the terminal: it asks, and decides; a polite end is handed on."""
    signal.signal(signal.SIGTERM, lambda *_: lab.terminate())
    while True:
        try:
            return lab.wait()
        except KeyboardInterrupt:
            continue


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
