"""A room for learner code that all tests of a file share, and what they put into it."""

import textwrap
from collections.abc import Callable, Iterator

import pytest

from interpwidgets.course import registry
from interpwidgets.course.verdict import Verdict
from interpwidgets.grading.judge import Program, verdicts
from interpwidgets.grading.sandbox import Limits, Sandbox, refusal

SMALL = Limits(seconds=1.0, memory=1 << 30, files=4 << 20, result=1 << 20)

Judge = Callable[..., Verdict]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox with small limits. Tests that need one are skipped where there can be none, with the reason."""
    if why := refusal():
        pytest.skip(why)
    with Sandbox(limits=SMALL) as room:
        yield room


@pytest.fixture
def judged(sandbox: Sandbox) -> Judge:
    """The verdict on cells, for one exercise, on the inputs of a seed: ``judged("05.3", cell, ..., seed=7)``."""

    def judge(name: str, *cells: str, seed: int = 7) -> Verdict:
        program = Program(tuple((f"{at}", textwrap.dedent(cell)) for at, cell in enumerate(cells, start=1)))
        (verdict,) = verdicts(program, [registry.exercise(name)], lambda _: seed, sandbox)
        return verdict

    return judge
