"""No attack that a cell can make earns a point, stops the batch, reads an answer or leaves a trace.

The attacks are data: one file for each kind in ``attacks/``. ``does`` says in words what the cell does, ``earns``
whether that deserves the points ("full": it is strange but right) and ``says`` what the verdict has to contain. After
each of them an honest submission is judged in the same sandbox, and a file outside, a server and an abstract socket
must not have noticed anything.
"""

import hashlib
import os
import platform
import socket
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import interpwidgets
from interpwidgets.course import check, registry
from interpwidgets.course.verdict import Verdict

ATTACKED = "05.3"
HONEST = """
def honest(pattern):
    return pattern.diagonal(-1, -2, -1).mean((1, -1))
"""
AS_ASKED = """
def previous_token_score(pattern):
    return pattern.diagonal(-1, -2, -1).mean((1, -1))
"""
ATTACKS = [
    pytest.param(attack, id=f"{file.stem}: {attack['does']}")
    for file in sorted(Path(__file__).parent.glob("attacks/*.yaml"))
    for attack in yaml.safe_load(file.read_text())
]

Judge = Callable[..., Verdict]


@dataclass
class Outside:
    """What no submission may touch, and how to see whether one did."""

    canary: Path
    server: socket.socket
    secret: socket.socket
    name: str

    def names(self) -> dict[str, str]:
        """What stands in the cells for the places outside."""
        return {
            "{canary}": str(self.canary),
            "{port}": str(self.server.getsockname()[1]),
            "{socket}": self.name,
            "{pid}": str(os.getpid()),
            "{secret}": os.environ.get("HOME", "/root"),
            "{package}": str(Path(interpwidgets.__file__).parent),
            "{known}": repr(_visible_results()),
        }

    def untouched(self) -> bool:
        """True if nothing was written, connected or sent."""
        heard = []
        for one in (self.server, self.secret):
            try:
                heard.append(one.accept())
            except BlockingIOError:
                continue
        files = [path.name for path in self.canary.parent.iterdir()]
        return not heard and files == [self.canary.name] and self.canary.read_text() == "as it was"


def _visible_results() -> dict[str, list[Any]]:
    """The results of the cases that learners see, by their inputs."""
    exercise = registry.exercise(ATTACKED)
    cases = check.inputs(exercise, torch.device("cpu"))
    return {
        hashlib.sha256(pattern.contiguous().numpy().tobytes()).hexdigest(): exercise.reference(pattern).tolist()
        for _, (pattern,) in cases
    }


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Outside]:
    canary = tmp_path / "canary"
    canary.write_text("as it was")
    name = f"interpwidgets-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as secret:
        secret.bind(f"\0{name}")
        secret.listen()
        server.setblocking(False)
        secret.setblocking(False)
        yield Outside(canary, server, secret, name)


def _with(names: dict[str, str], cell: str) -> str:
    for name, value in names.items():
        cell = cell.replace(name, value)
    return textwrap.dedent(cell)


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_earns_what_it_deserves_and_harms_nobody(
    attack: dict[str, Any], judged: Judge, outside: Outside, record_property: Callable[..., None]
) -> None:
    if attack.get("machine", platform.machine()) != platform.machine():
        pytest.skip(f"an attack on {attack['machine']}")
    cell = _with(outside.names(), attack["cell"])
    for _ in range(2 if attack.get("twice") else 1):
        verdict = judged(ATTACKED, HONEST, cell)
        record_property("verdict", f"{verdict.points} {verdict.headline} {_sentences(verdict)}")
        assert verdict.points == (verdict.exercise.points if attack["earns"] == "full" else 0), repr(verdict)
        assert attack.get("says", "") in f"{verdict!r} {_sentences(verdict)}"
    assert outside.untouched()
    assert judged(ATTACKED, AS_ASKED, seed=11).passed


def _sentences(verdict: Verdict) -> str:
    failure = verdict.failure
    return " ".join([*failure.sentences, failure.stop.message if failure.stop else ""]) if failure else ""
