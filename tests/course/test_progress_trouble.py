"""What happens to files happens to this one: the learner is told in a sentence, and what was written is not lost."""

import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from interpwidgets.course import events, progress
from interpwidgets.course.events import Store, store


def tries(item: str = "97.1") -> int:
    return progress.standing(item).tries


def note(times: int = 1, item: str = "97.1") -> None:
    for _ in range(times):
        progress.note(item, "check", "differs")


def noted(count: int) -> Path:
    """The file with so many events, written at once."""
    store().merge([(1000.0 + number, "97.1", "check", "differs") for number in range(count)])
    return store().path


def put_aside() -> list[Path]:
    return [path for path in store().path.parent.glob("*.broken-*") if path.suffix[-1].isdigit()]


def changed(path: Path, at: int, junk: bytes) -> None:
    """Other bytes in the middle of a file, as a bad disk leaves them."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(junk)


# -- the clock --------------------------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_changes_no_order(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([5000.0, 4000.0, 3000.0, 2000.0])
    monkeypatch.setattr(time, "time", lambda: next(clock))
    progress.note("97.1", "check", "passed")
    progress.note("97.1", "reset")
    progress.note("97.1", "check", "differs")
    assert [event[2:] for event in store().events()] == [("check", "passed"), ("reset", ""), ("check", "differs")]
    assert (progress.standing("97.1").passed, tries()) == (False, 1)
    assert progress.seconds_at_work([event[0] for event in store().events()]) < 200


# -- the disk ---------------------------------------------------------------------------------------------------------

NOTES = """
import sys
from pathlib import Path
from interpwidgets.course.events import store
for number in range(int(sys.argv[1])):
    store().add("97.1", "check", "differs")
said = store().trouble
for path in map(Path, sys.argv[2:]):
    path.unlink()
store().add("97.2", "check", "passed")
print(len(store().events()), len(store().unsaved), "|", said, "|", store().trouble)
"""


def noted_inside(home: Path, *walls: str, times: int = 1, then_remove: Path | None = None) -> list[str]:
    """What a notebook says that writes in a namespace of its own: events and unsaved, trouble, and trouble after."""
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap, which makes such a disk, is not here")
    removed = [str(then_remove)] if then_remove else []
    done = subprocess.run(
        ["bwrap", "--dev-bind", "/", "/", *walls, sys.executable, "-c", NOTES, str(times), *removed],
        env={**os.environ, "INTERPWIDGETS_HOME": str(home)},
        capture_output=True,
        text=True,
    )
    if "bwrap:" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    assert done.stderr == ""
    return [part.strip() for part in done.stdout.split("|")]


def test_a_full_disk_is_told_and_what_was_noted_is_saved_when_there_is_room(tmp_path: Path) -> None:
    home = tmp_path / "small"
    home.mkdir()
    filler = home / "filler"
    small = ["--size", str(64 * 1024), "--tmpfs", str(home)]
    fill = ["sh", "-c", f'head -c 40000 /dev/zero > {filler}; exec "$@"', "sh"]
    counted, said, after = noted_inside(home, *small, *fill, times=500, then_remove=filler)
    assert "Progress is not saved (database or disk is full" in said
    assert (counted, after) == ("501 0", "")


def test_a_read_only_home_shows_what_was_done_and_tells_that_no_more_is_saved(tmp_path: Path) -> None:
    home = tmp_path / "home"
    note(3)
    counted, said, after = noted_inside(home, "--ro-bind", str(home), str(home))
    assert counted == "5 2"
    assert said == after
    assert said.startswith("Progress is not saved (attempt to write a readonly database")
    assert tries() == 3


def test_a_home_that_cannot_be_made_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INTERPWIDGETS_HOME", str(tmp_path / "file/home"))
    note(2)
    assert "Progress is not saved (" in progress.trouble()
    assert tries() == 2


def test_what_is_not_saved_counts_for_its_own_exercise_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("INTERPWIDGETS_HOME", str(tmp_path / "file/home"))
    note(item="97.12")
    assert (tries("97.1"), tries("97.12")) == (0, 1)


def test_a_google_drive_is_no_place_for_a_file_in_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(events, "DRIVE", tmp_path / "drive")
    monkeypatch.setenv("INTERPWIDGETS_HOME", str(tmp_path / "drive/MyDrive"))
    note()
    assert "interpwidgets progress export" in progress.trouble()
    assert not (tmp_path / "drive").exists()


def test_no_memory_is_shared_through_the_folder_so_that_it_may_be_a_network_one() -> None:
    """A write-ahead log would lie here as -wal and -shm; on NFS, -shm is what fails."""
    note()
    assert {path.suffix for path in store().path.parent.iterdir()} <= {".sqlite", ".sqlite-journal"}


# -- files that are not as we left them -------------------------------------------------------------------------------


def test_a_file_of_the_first_release_is_taken_over_with_its_events() -> None:
    path = store().path
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as old:
        old.execute("PRAGMA journal_mode=WAL")
        old.execute(
            "CREATE TABLE events (at REAL NOT NULL, item TEXT NOT NULL, kind TEXT NOT NULL, what TEXT NOT NULL)"
        )
        old.execute("INSERT INTO events VALUES (5.0, '97.1', 'check', 'differs')")
        old.commit()
        Store(path).add("97.1", "check", "differs")  # while the older release has it open
    gc.collect()  # and now both are closed
    note()
    assert (tries(), progress.trouble()) == (3, "")
    assert {found.name for found in path.parent.iterdir()} <= {path.name, f"{path.name}-journal"}


def test_a_file_of_a_newer_release_is_left_alone() -> None:
    path = store().path
    note()
    Store(path)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version=7")
    before, reopened = path.read_bytes(), Store(path)
    reopened.add("97.1", "check", "passed")
    assert "a newer interpwidgets wrote this file, update yours" in reopened.trouble
    assert path.read_bytes() == before


def test_a_file_of_another_program_is_left_alone() -> None:
    path = store().path
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as foreign:
        foreign.execute("CREATE TABLE events (name, place, day, hour, price)")
    before = path.read_bytes()
    note()
    assert "Progress is not saved" in progress.trouble()
    assert path.read_bytes() == before


@pytest.mark.parametrize("cut", [100, 4096, 6000, 12_000])
def test_a_file_that_was_cut_off_is_put_aside_and_work_goes_on(cut: int) -> None:
    path = noted(400)
    content = path.read_bytes()
    later = Store(path)
    path.write_bytes(content[:cut])
    later.add("97.2", "check", "passed")
    assert len(later.unsaved) == 0
    assert ("97.2", "check", "passed") in [event[1:] for event in Store(path).events()]
    (aside,) = put_aside()
    assert aside.read_bytes()[:cut] == content[:cut]
    assert str(aside) in later.trouble


def test_what_can_be_read_of_a_damaged_file_is_kept() -> None:
    path = noted(1000)
    changed(path, path.stat().st_size // 2 // 4096 * 4096, os.urandom(4096))  # a page in the middle
    later = Store(path)
    later.add("97.1", "check", "passed")
    kept = len(later.events())
    assert 800 <= kept < 1001
    assert f"{kept - 1} events, is in a new one" in later.trouble


@pytest.mark.parametrize(
    "row", [(5.0, "97.1", "hint", "x"), (5.0, "97.1", b"\xff", "\xff"), (1e300, "97.1", "check", "")]
)
def test_a_row_that_nobody_wrote_is_passed_over(row: tuple[object, ...]) -> None:
    note()
    with closing(sqlite3.connect(store().path)) as disk:
        disk.execute("INSERT INTO events VALUES (?, CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT))", row)
        disk.commit()
    note()
    assert (tries(), progress.trouble()) == (2, "")
    assert store().events()[-1][0] < time.time() + 1


def test_what_is_no_event_is_not_noted() -> None:
    with pytest.raises(ValueError, match="is no event"):
        progress.note("97.1", "praise", "well done")
    assert store().events() == []


def test_notebooks_that_find_the_same_damage_lose_nothing_to_each_other() -> None:
    note()
    path = store().path
    notebooks = [Store(path) for _ in range(3)]
    path.write_bytes(b"no database, " * 1000)
    for number, notebook in enumerate([*notebooks, *notebooks]):
        notebook.add(f"97.{number + 1}", "check", "differs")
    assert [event[1] for event in Store(path).events()] == [f"97.{number + 1}" for number in range(6)]
    assert len(put_aside()) == 1


def test_a_journal_is_never_left_beside_a_new_file() -> None:
    path = noted(50)
    Path(f"{path}-journal").write_bytes(os.urandom(5000))
    path.write_bytes(b"no database, " * 1000)
    Store(path).add("97.2", "check", "differs")
    assert [event[1] for event in Store(path).events()] == ["97.2"]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_file_that_was_removed_under_a_running_notebook_is_begun_again() -> None:
    note(2)
    store().path.unlink()
    note()
    assert (tries(), progress.trouble()) == (1, "")
    assert len(Store(store().path).events()) == 1


def test_an_interrupted_check_leaves_the_file_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    note()

    def stop() -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(events, "_append", lambda connection, _: (connection.execute("BEGIN IMMEDIATE"), stop()))
        with pytest.raises(KeyboardInterrupt):
            note()
    note()
    assert progress.trouble() == "" or tries() == 3
    note()
    assert (tries(), progress.trouble(), len(Store(store().path).events())) == (4, "", 4)
