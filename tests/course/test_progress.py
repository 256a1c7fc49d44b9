"""What was done is remembered, by many notebooks at once, and a check never fails for the disk's sake."""

import sqlite3
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from interpwidgets.course import events, progress, registry
from interpwidgets.course.check import check
from interpwidgets.course.hints import hint
from interpwidgets.course.questions import answer


def states() -> dict[str, str]:
    return {item["id"]: item["state"] for item in progress.items(registry.chapter("97"))}


def test_items_are_open_tried_hinted_or_done(toys: ModuleType) -> None:
    assert set(states().values()) == {"open"}
    check("97.1", lambda scores: scores.sum(-1))
    assert states()["97.1"] == "tried"
    check("97.1", lambda scores: scores.mean(-1))
    assert states()["97.1"] == "done"
    hint("97.3")
    check("97.3", lambda x: (x > 0).sum())
    assert states()["97.3"] == "hinted"
    hint("97.1")
    assert states()["97.1"] == "done"  # a hint after the pass is only reading
    answer("97.A", 2)
    assert states()["97.A"] == "done"


def test_a_pass_shows_the_chapter(toys: ModuleType) -> None:
    verdict = check("97.1", lambda scores: scores.mean(-1))
    assert [item["state"] for item in verdict.chapter][:2] == ["done", "open"]
    assert "chapter 97" in verdict._repr_mimebundle_()["text/html"]


def test_time_at_work_counts_pauses_as_short() -> None:
    assert progress.seconds_at_work([]) == 0
    minute = 60.0
    assert progress.seconds_at_work([0, 5 * minute]) == 8 * minute
    assert progress.seconds_at_work([0, 600 * minute]) == 6 * minute


def test_the_table_is_what_the_widget_takes(toys: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "numbers", lambda: ("97",))
    check("97.2", lambda x: x)
    (chapter,) = progress.chapters()
    assert (chapter["number"], chapter["title"], chapter["part"]) == ("97", "Toys", "None")
    assert {"id", "name", "kind", "state", "points", "minutes"} <= set(chapter["items"][0])
    assert chapter["minutes"] == 3
    assert progress.current() == "97.2"
    check("97.2", lambda x: {"low": x.amin(-1), "high": x.amax(-1)})
    assert progress.current() == "97.3"
    assert progress.progress() is not None


def test_notebooks_write_at_the_same_time(tmp_path: Path) -> None:
    code = "from interpwidgets.course import progress\nfor _ in range(50): progress.note('97.1', 'check', 'differs')"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(3)]
    assert [process.wait(60) for process in running] == [0, 0, 0]
    assert progress.standing("97.1").tries == 150


@pytest.mark.parametrize("trouble", ["a folder that is a file", "not a database", "locked"])
def test_a_broken_disk_breaks_no_check(
    toys: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    home = tmp_path / "elsewhere"
    monkeypatch.setenv("INTERPWIDGETS_HOME", str(home))
    monkeypatch.setattr(events, "_BUSY", 0.05)
    holder = None
    if trouble == "a folder that is a file":
        home.write_text("")
    elif trouble == "not a database":
        home.mkdir()
        (home / "progress.sqlite").write_text("this is no database, " * 100)
    else:
        home.mkdir()
        holder = sqlite3.connect(home / "progress.sqlite")
        holder.execute("CREATE TABLE x (y)")
        holder.execute("BEGIN EXCLUSIVE")
    verdict = check("97.1", lambda scores: scores.sum(-1))
    assert verdict.tries == 1
    assert len(verdict.notes) == 1
    assert ("damaged" if trouble == "not a database" else "Progress is not saved") in verdict.notes[0]
    assert check("97.1", lambda scores: scores.sum(-1)).tries == 2
    if holder:  # once the lock is gone, nothing is lost
        holder.rollback()
        holder.close()
        verdict = check("97.1", lambda scores: scores.sum(-1))
        assert (verdict.tries, list(verdict.notes)) == (3, [])
