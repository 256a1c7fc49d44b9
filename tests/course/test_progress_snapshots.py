"""A snapshot carries progress: nothing is forgotten, nothing counts twice, and what is no snapshot changes nothing."""

import hashlib
import json
import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from interpwidgets.cli import main
from interpwidgets.course import CourseError, progress, snapshots
from interpwidgets.course.events import Event, Store, store

KINDS = [("check", "differs"), ("check", "passed"), ("hint", "2"), ("solution", ""), ("reset", "")]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test stands in an empty folder."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sit down at another computer."""
    return lambda name: monkeypatch.setenv("INTERPWIDGETS_HOME", str(tmp_path / name))


def say(*words: str) -> Result:
    result = CliRunner().invoke(main, ["progress", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def note(*items: str) -> list[Event]:
    for item in items:
        progress.note(item, "check", "passed")
    return store().events()


# -- there and back ---------------------------------------------------------------------------------------------------


def test_what_was_done_here_is_done_there(computer: Callable[[str], None]) -> None:
    done = note("97.1", "97.2")
    assert say("export", "mine.jsonl").output == "Wrote mine.jsonl (2 events)\n"
    computer("there")
    assert say("import", "mine.jsonl").output == "2 events were new here.\n"
    assert store().events() == done
    assert progress.standing("97.1").passed


def test_twice_is_once() -> None:
    done = note("97.1")
    path = progress.export_to("mine.jsonl")
    content = path.read_bytes()
    assert [progress.import_from(path), progress.import_from(path)] == [0, 0]
    assert store().events() == done
    assert progress.export_to(path).read_bytes() == content


EVENTS = st.lists(
    st.tuples(
        st.floats(0, 2e9), st.sampled_from(["97.1", "97.2", "97.A"]), st.sampled_from(KINDS)
    ).map(lambda drawn: (drawn[0], drawn[1], *drawn[2])),
    max_size=20,
    unique=True,
)  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(parts=st.lists(EVENTS, min_size=2, max_size=3), seed=st.integers())
def test_snapshots_of_several_computers_come_together_in_any_order(
    parts: list[list[Event]], seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("many")
    files = [folder / f"{number}.jsonl" for number in range(len(parts))]
    for path, events in zip(files, parts, strict=True):
        path.write_bytes(snapshots.text(events))
    found = []
    for order in (files, random.Random(seed).sample([*files, *files], 2 * len(files))):
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("INTERPWIDGETS_HOME", str(folder / f"home{len(found)}"))
            new = sum(map(progress.import_from, order))
            found.append(store().events())
        assert new == len(found[-1])
    assert found[0] == found[1]
    assert set(found[0]) == {event for part in parts for event in part}


def test_a_snapshot_never_forgets_what_it_held(computer: Callable[[str], None]) -> None:
    """A new Colab session that exports before it imports would otherwise wipe out all earlier ones."""
    before = note("97.1")
    progress.export_to("mine.jsonl")
    computer("a new session")
    note("97.2")
    progress.export_to("mine.jsonl")
    assert progress.import_from("mine.jsonl") == 1
    assert set(before) < set(store().events())


def test_what_could_not_be_saved_can_be_exported(
    computer: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    (here / "file").write_text("")
    monkeypatch.setenv("INTERPWIDGETS_HOME", str(here / "file/home"))
    note("97.1")
    progress.export_to("mine.jsonl")
    computer("there")
    assert progress.import_from("mine.jsonl") == 1


def test_without_a_name_it_is_on_the_drive_if_there_is_one(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "DRIVE", tmp_path / "drive")
    note("97.1")
    assert say("export").output == f"Wrote {snapshots.NAME} (1 events)\n"
    assert (here / snapshots.NAME).exists()
    (tmp_path / "drive/MyDrive").mkdir(parents=True)
    assert "MyDrive" in say("export").output
    assert (tmp_path / "drive/MyDrive" / snapshots.NAME).exists()
    assert say("import").output == "0 events were new here.\n"


def test_a_folder_gets_the_usual_name(here: Path) -> None:
    assert progress.export_to(here) == here / snapshots.NAME
    assert progress.import_from(here) == 0


# -- what is refused --------------------------------------------------------------------------------------------------


def made(*lines: object, **about: object) -> bytes:
    """A snapshot with a right checksum over whatever lines."""
    rest = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines).encode()
    head = {"interpwidgets": "progress", "version": 1, "events": len(lines), "sha256": hashlib.sha256(rest).hexdigest()}
    return json.dumps({**head, **about}).encode() + b"\n" + rest


GOOD = [5.0, "97.1", "check", "passed"]
REFUSED = {
    "empty": (b"", "no snapshot"),
    "a notebook": (b'{"cells": [], "nbformat": 4}', "no snapshot"),
    "not text": (os.urandom(5000), "no snapshot"),
    "deeply nested": (b"[" * 100_000, "no snapshot"),
    "an endless number": (b"9" * 100_000, "no snapshot"),
    "of another version": (made(GOOD, version=2), "newer release"),
    "no version": (made(GOOD, version=None), "newer release"),
    "cut off": (made(GOOD, GOOD)[:-9], "damaged"),
    "changed": (made(GOOD).replace(b"passed", b"differs"), "damaged"),
    "too few": (made(GOOD, events=2), "damaged"),
    "not a number": (made('[NaN, "97.1", "check", "passed"]'), "damaged"),
    "the end of time": (made([1e300, "97.1", "check", "passed"]), "damaged"),
    "true as a time": (made([True, "97.1", "check", "passed"]), "damaged"),
    "an item of ours that is none": (made([5.0, "97.1'; DROP TABLE events", "check", "passed"]), "damaged"),
    "a kind that is none": (made([5.0, "97.1", "grade", "100"]), "damaged"),
    "a hint that is no number": (made([5.0, "97.1", "hint", "all"]), "damaged"),
    "a row too long": (made([*GOOD, "more"]), "damaged"),
    "no row": (made({"at": 5}), "damaged"),
    "nested rows": (made("[" * 100_000), "damaged"),
    "lone surrogates": (made(r'[5.0, "97.1", "check", "\ud800"]'), "damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_snapshot_is_refused_and_changes_nothing(name: str, here: Path) -> None:
    content, sentence = REFUSED[name]
    done = note("97.2")
    path = here / "given"
    path.write_bytes(content)
    for command in ("import", "export"):  # nor is it overwritten
        answer = say(command, str(path))
        assert answer.exit_code == 1
        assert sentence in answer.output
        assert answer.output.startswith(f"Error: {path} ")
        assert "Nothing was changed" in answer.output
    assert store().events() == done
    assert path.read_bytes() == content


def test_a_good_one_made_by_hand_is_taken(here: Path) -> None:
    (here / "given").write_bytes(made(GOOD))
    assert progress.import_from("given") == 1


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(CourseError, match="larger than 16 MiB"):
        progress.import_from("/dev/zero")


def test_a_missing_file_is_a_sentence_that_says_how_to_make_one() -> None:
    answer = say("import", "nothing.jsonl")
    assert (answer.exit_code, "interpwidgets progress export" in answer.output) == (1, True)


def test_a_place_that_cannot_be_written_is_a_sentence(here: Path) -> None:
    (here / "file").write_text("")
    answer = say("export", "file/mine.jsonl")
    assert answer.exit_code == 1
    assert "cannot be written" in answer.output or "cannot be read" in answer.output


def test_an_import_that_cannot_be_written_is_a_sentence(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    progress.export_to("mine.jsonl")
    (here / "file").write_text("")
    monkeypatch.setenv("INTERPWIDGETS_HOME", str(here / "file/home"))
    answer = say("import", "mine.jsonl")
    assert (answer.exit_code, "Nothing was imported" in answer.output) == (1, True)


def test_an_export_of_what_cannot_be_read_does_not_pass_for_a_whole_one(monkeypatch: pytest.MonkeyPatch) -> None:
    note("97.1")
    with closing(sqlite3.connect(store().path)) as newer:
        newer.execute("PRAGMA user_version=7")
    monkeypatch.setattr(Store, "_in_place", lambda _: False)  # as a notebook that was begun just now
    answer = say("export", "mine.jsonl")
    assert (answer.exit_code, Path("mine.jsonl").exists()) == (1, False)
    assert "Nothing was exported: your progress cannot be read (a newer interpwidgets" in answer.output


def test_a_write_that_fails_leaves_the_former_snapshot(monkeypatch: pytest.MonkeyPatch, here: Path) -> None:
    note("97.1")
    path = progress.export_to("mine.jsonl")
    content = path.read_bytes()
    note("97.2")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "No space left on device" in say("export", "mine.jsonl").output
    assert path.read_bytes() == content
    assert [found.name for found in here.iterdir()] == ["mine.jsonl"]
