"""`interpwidgets learn` brings the chapters to the learner and never takes anything away from them."""

import json
import os
import threading
from pathlib import Path

import nbformat
import pytest

from interpwidgets.course import CourseError
from interpwidgets.course.copies import MEMORY, fingerprint, place

NAME = "00_start_here.ipynb"


def notebook(*texts: str, outputs: bool = False) -> str:
    """A notebook with these code cells, as it is stored; ``outputs`` as if it had been run."""
    cells = [nbformat.v4.new_code_cell(text, id=f"cell-{n}") for n, text in enumerate(texts)]
    for cell in cells if outputs else []:
        cell.execution_count = 1
        cell.outputs = [nbformat.v4.new_output("stream", text="seen\n")]
    return str(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """The chapters of a release, with a picture beside them."""
    folder = tmp_path / "release"
    (folder / "pictures").mkdir(parents=True)
    (folder / NAME).write_text(notebook("first"))
    (folder / "pictures" / "head.png").write_bytes(b"png")
    return folder


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The learner's folder; nobody has made it yet."""
    return tmp_path / "somewhere" / "course"


def lines(release: Path, mine: Path, number: str = "0.1.0") -> dict[str, str]:
    return {step.name: step.done for step in place(release, mine, number)}


def test_an_empty_folder_gets_every_chapter_and_its_pictures(release: Path, mine: Path) -> None:
    assert lines(release, mine) == {NAME: "placed", "pictures/head.png": "placed"}
    assert (mine / NAME).read_text() == (release / NAME).read_text()
    assert (mine / "pictures/head.png").read_bytes() == b"png"


def test_a_second_time_changes_nothing(release: Path, mine: Path) -> None:
    place(release, mine, "0.1.0")
    before = (mine / NAME).stat().st_mtime_ns
    assert lines(release, mine)[NAME] == "is up to date"
    assert (mine / NAME).stat().st_mtime_ns == before


def test_an_untouched_chapter_follows_the_release(release: Path, mine: Path) -> None:
    place(release, mine, "0.1.0")
    (release / NAME).write_text(notebook("second"))
    assert lines(release, mine, "0.2.0")[NAME] == "updated to 0.2.0 (you had not changed it)"
    assert "second" in (mine / NAME).read_text()


@pytest.mark.parametrize(
    "touched",
    [
        pytest.param(notebook("first", outputs=True), id="it was run"),
        pytest.param(notebook("first", ""), id="Shift-Enter in the last cell added an empty one"),
        pytest.param(notebook("first\n"), id="an editor added a line end"),
        pytest.param(notebook("first").replace("\n", ""), id="it was stored in another layout"),
    ],
)
def test_what_changes_no_cell_is_not_an_edit(release: Path, mine: Path, touched: str) -> None:
    place(release, mine, "0.1.0")
    (mine / NAME).write_text(touched)
    (release / NAME).write_text(notebook("second"))
    assert lines(release, mine, "0.2.0")[NAME].startswith("updated")


@pytest.mark.parametrize(
    "edited",
    [
        pytest.param(notebook("my own sentence"), id="a cell changed"),
        pytest.param(notebook("first", "a note"), id="a cell added"),
        pytest.param(notebook(), id="all cells deleted"),
        pytest.param("not a notebook any more", id="broken"),
        pytest.param("[]", id="JSON, but no notebook"),
    ],
)
def test_an_edited_chapter_is_kept_and_the_newer_one_goes_beside_it_once(
    release: Path, mine: Path, edited: str
) -> None:
    place(release, mine, "0.1.0")
    (mine / NAME).write_text(edited)
    assert lines(release, mine)[NAME] == "is yours: kept as it is"

    (release / NAME).write_text(notebook("second"))
    assert "00_start_here (0.2.0).ipynb" in lines(release, mine, "0.2.0")[NAME]
    assert lines(release, mine, "0.2.0")[NAME] == "is yours: kept as it is"
    assert (mine / NAME).read_text() == edited
    assert "second" in (mine / "00_start_here (0.2.0).ipynb").read_text()
    assert not (mine / "00_start_here (0.2.0, 2).ipynb").exists()

    (release / NAME).write_text(notebook("third"))
    assert "(0.3.0)" in lines(release, mine, "0.3.0")[NAME]


def test_a_file_of_that_name_that_we_never_placed_is_theirs(release: Path, mine: Path) -> None:
    mine.mkdir(parents=True)
    (mine / NAME).write_text(notebook("theirs"))
    (mine / "00_start_here (0.1.0).ipynb").write_text("theirs too")
    assert "00_start_here (0.1.0, 2).ipynb" in lines(release, mine)[NAME]
    assert (mine / NAME).read_text() == notebook("theirs")
    assert (mine / "00_start_here (0.1.0).ipynb").read_text() == "theirs too"


def test_a_deleted_chapter_is_placed_again(release: Path, mine: Path) -> None:
    place(release, mine, "0.1.0")
    (mine / NAME).unlink()
    assert lines(release, mine)[NAME] == "placed again (0.1.0)"
    assert (mine / NAME).exists()


def test_an_edited_picture_is_kept_too(release: Path, mine: Path) -> None:
    place(release, mine, "0.1.0")
    (mine / "pictures/head.png").write_bytes(b"drawn over")
    (release / "pictures/head.png").write_bytes(b"newer")
    assert "head (0.2.0).png" in lines(release, mine, "0.2.0")["pictures/head.png"]
    assert (mine / "pictures/head.png").read_bytes() == b"drawn over"


def test_what_tools_leave_about_is_no_part_of_the_course(release: Path, mine: Path) -> None:
    (release / ".ipynb_checkpoints").mkdir()
    (release / ".ipynb_checkpoints" / NAME).write_text("{}")
    (release / "__pycache__").mkdir()
    (release / "__pycache__" / "x.pyc").write_text("")
    assert set(lines(release, mine)) == {NAME, "pictures/head.png"}


@pytest.mark.parametrize("memory", ["{ half", "[]", '{"00_start_here.ipynb": 3}', ""])
def test_with_a_broken_memory_every_changed_file_counts_as_theirs(release: Path, mine: Path, memory: str) -> None:
    place(release, mine, "0.1.0")
    (mine / NAME).write_text(notebook("edited"))
    (mine / MEMORY).write_text(memory)
    assert lines(release, mine)[NAME].startswith("is yours")
    assert (mine / NAME).read_text() == notebook("edited")
    json.loads((mine / MEMORY).read_text())


def test_a_file_in_the_place_of_the_folder_gets_a_sentence(release: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    for target in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(CourseError, match="is a file; the course needs a folder"):
            place(release, target, "0.1.0")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_gets_a_sentence(release: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(CourseError, match=r"cannot be written to .*Name a folder of your own"):
        place(release, tmp_path / "locked", "0.1.0")


def test_a_full_disk_leaves_the_former_file(release: Path, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(release, mine, "0.1.0")
    former = (mine / NAME).read_text()
    (release / NAME).write_text(notebook("second"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(CourseError, match="No space left on device"):
        place(release, mine, "0.2.0")
    assert (mine / NAME).read_text() == former
    assert not list(mine.glob(".interpwidgets-*"))


def test_two_at_once_take_turns(release: Path, mine: Path) -> None:
    for n in range(1, 30):
        (release / f"{n:02}_more.ipynb").write_text(notebook(f"chapter {n}"))
    seen: list[dict[str, str]] = []
    learners = [threading.Thread(target=lambda: seen.append(lines(release, mine))) for _ in range(4)]
    for learner in learners:
        learner.start()
    for learner in learners:
        learner.join()
    assert sorted(steps[NAME] for steps in seen) == ["is up to date"] * 3 + ["placed"]
    assert len(list(mine.glob("*.ipynb"))) == 30


def test_the_fingerprint_of_a_notebook_is_that_of_its_cells(tmp_path: Path) -> None:
    one, other = tmp_path / "one.ipynb", tmp_path / "other.ipynb"
    one.write_text(notebook("a", "b"))
    other.write_text(notebook("a", "b", outputs=True))
    assert fingerprint(one) == fingerprint(other)
    other.write_text(notebook("b", "a"))
    assert fingerprint(one) != fingerprint(other)
