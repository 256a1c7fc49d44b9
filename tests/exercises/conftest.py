"""What the tests of all chapters share: solved notebooks, their cells, and the word for a known mistake.

def test_it(solved):
    solved("05")["found"]                            # what the cells of the solved chapter leave behind
def test_it(cells):
    cells("05", "chapters", "code")["setup"]         # the cells of a notebook by their ids
def test_it(recognised):
    recognised("05.5", wrong)                        # the name of the mistake that the check sees in an answer
"""

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch

from interpwidgets.course import registry
from interpwidgets.course.chapters import Shelf, find
from interpwidgets.course.check import judge


@pytest.fixture(scope="module", autouse=True)
def _own_progress_and_one_thread(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERPWIDGETS_HOME", str(tmp_path_factory.mktemp("home")))
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cells() -> Callable[[str, Shelf, str], dict[str, str]]:
    """cells("05", "solutions", "code") -> the source of each cell of that kind, as plain Python."""

    def cells(number: str, shelf: Shelf, kind: str) -> dict[str, str]:
        found = nbformat.read(find(number, shelf), as_version=4).cells
        return {
            cell.id: re.sub(r"(?m)^    %pip.*$", "    pass", cell.source) for cell in found if cell.cell_type == kind
        }

    return cells


@pytest.fixture(scope="session")
def solved(cells: Callable[[str, Shelf, str], dict[str, str]]) -> Callable[[str], dict[str, Any]]:
    """solved("05") -> what the cells of the solved chapter leave behind, run once, one after the other."""

    @cache
    def solved(number: str) -> dict[str, Any]:
        torch.manual_seed(0)
        found: dict[str, Any] = {}
        for source in cells(number, "solutions", "code").values():
            exec(source, found)
        return found

    return solved


@pytest.fixture(scope="session")
def recognised() -> Callable[[str, Any], str]:
    """recognised("05.5", answer) -> the name of the known mistake that the check sees in a wrong answer."""

    def recognised(exercise: str, answer: Any) -> str:
        verdict = judge(registry.exercise(exercise), answer, extras=False)
        assert not verdict.passed
        assert verdict.mistake is not None
        return verdict.mistake.name

    return recognised


@pytest.fixture(scope="session")
def stories() -> str:
    """The directory of a real pretrained model of another family."""
    beside = Path(__file__).parents[3] / "shared" / "models" / "stories260K"
    directory = Path(os.environ.get("INTERPWIDGETS_STORIES260K", beside))
    if not (directory / "config.json").is_file():
        pytest.skip(f"no stories260K in {directory}; set INTERPWIDGETS_STORIES260K to the directory that has it")
    return str(directory)
