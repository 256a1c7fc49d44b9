"""The page on families: its tables say what the models have, and its examples run."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.families import FAMILIES, SITES

PAGE = Path(__file__).parents[2] / "docs/families.md"
EVERY = {"embed", *SITES, "result", "final_norm", "logits"}

pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="only in a clone")

TEXT = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""


def table(title: str) -> list[list[str]]:
    """The rows of the first table below a title, a list of cells each."""
    section = TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


FIRST, SECOND = (table(title) if TEXT else [] for title in ("First tier", "Second tier"))


@pytest.mark.parametrize("row", FIRST, ids=lambda row: row[1])
def test_what_the_page_says_of_the_first_tier_is_so(build: Callable[..., Any], row: list[str]) -> None:
    (name,) = named(row[1])
    assert EVERY - set(anatomy(build(name)).sites) == set(named(row[2]))
    assert (row[2] == "nothing") == (not named(row[2]))


@pytest.mark.parametrize("row", SECOND, ids=lambda row: f"{row[1]} {row[2]}")
def test_what_the_page_says_of_the_second_tier_is_so(build: Callable[..., Any], row: list[str]) -> None:
    (name,) = named(row[1])
    sites = set(anatomy(build(name), *named(row[2])).sites)
    assert set(named(row[3])) == EVERY - sites
    assert set(named(row[4])) == sites - EVERY


def test_no_family_is_left_out_of_the_page() -> None:
    told = {named(row[1])[0].split()[0] for row in FIRST + SECOND}
    pieces = {"t5": "t5_", "switch": "switch_", "bart": "bart_", "clip": "clip_", "gemma3": "gemma3_"}
    ours = {"attention_only", "modular"}  # in the text below
    rest = {name for name in FAMILIES if not name.startswith(tuple(pieces.values()))} - ours
    assert rest <= told
    assert set(pieces) <= told


@pytest.fixture
def _rows_stay_as_they_were() -> Iterator[None]:
    before = dict(FAMILIES)
    yield
    FAMILIES.clear()
    FAMILIES.update(before)


@pytest.mark.usefixtures("_rows_stay_as_they_were")
def test_the_examples_of_the_page_run_and_their_comments_are_true() -> None:
    torch.manual_seed(0)
    known: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), known)
    assert list(known["reads"]["pattern", 0].shape) == [1, 4, 10, 10]
    assert list(known["looks"]["pattern", 0].shape) == [1, 4, 7, 10]
    assert known["errors"]["logits"] < 1e-5
    assert max(known["errors"].values()) < 1e-5
    assert known["tap"]["state", 1][:, 4].abs().max() == 0
    assert "starcoder2" in FAMILIES
