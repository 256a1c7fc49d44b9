"""Whose a file is, of which chapter, and which of several counts; nothing that was seen is passed over in silence."""

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from interpwidgets.course.chapters import find as chapter
from interpwidgets.grading import layouts
from interpwidgets.grading.submissions import Found, SubmissionsError, survey
from interpwidgets.grading.submissions import find as submissions

Tree = Mapping[str, bytes]
RAW = {number: json.loads(chapter(number, "chapters").read_bytes()) for number in ("00", "01", "02", "05")}


def notebook(number: str, note: str = "") -> bytes:
    """A chapter as handed out, told apart from others by a note in it."""
    return json.dumps({**RAW[number], "metadata": {"note": note}}).encode()


FIVE, TWO, ONE = notebook("05"), notebook("02"), notebook("01")


def as_folder(top: Path, tree: Tree) -> Path:
    top.mkdir(parents=True, exist_ok=True)
    for name, data in tree.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(data)
    return top


def zipped(tree: Tree) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in tree.items():
            archive.writestr(name, data)
    return out.getvalue()


def as_zip(top: Path, tree: Tree) -> Path:
    top.mkdir(parents=True, exist_ok=True)
    path = top / "submissions.zip"
    path.write_bytes(zipped(tree))
    return path


BOTH = pytest.mark.parametrize("made", [as_folder, as_zip])
Made = Callable[[Path, Tree], Path]


@pytest.fixture
def look(tmp_path: Path) -> Callable[[Made, Tree], Found]:
    def look(made: Made, tree: Tree) -> Found:
        return survey(made(tmp_path / "class", tree), tmp_path / "into")

    return look


Look = Callable[[Made, Tree], Found]


def people(found: Found) -> list[tuple[str, str]]:
    """Who handed in which chapter; those in trouble with "-"."""
    return [(one.student.name, one.chapter or "-") for one in found.submissions]


# -- layouts ------------------------------------------------------------------------------------------------------


@BOTH
def test_one_notebook_per_student(look: Look, made: Made) -> None:
    found = look(made, {"ada lovelace.ipynb": FIVE, "Šárka.ipynb": TWO, "roster.csv": b"x"})
    assert people(found) == [("ada lovelace", "05"), ("Šárka", "02")]
    assert found.submissions[0].notebook
    assert found.submissions[0].notebook.read_bytes() == FIVE


@BOTH
def test_a_folder_per_student(look: Look, made: Made) -> None:
    found = look(made, {"ada/05.ipynb": FIVE, "ada/more/01.ipynb": ONE, "bob/work.ipynb": TWO, "bob/notes.txt": b""})
    assert people(found) == [("ada", "01"), ("ada", "05"), ("bob", "02")]


@BOTH
def test_a_zip_file_per_student(look: Look, made: Made) -> None:
    found = look(made, {"ada.zip": zipped({"w/05.ipynb": FIVE}), "bob.zip": zipped({"05.ipynb": FIVE})})
    assert people(found) == [("ada", "05"), ("bob", "05")]


@BOTH
@pytest.mark.parametrize("top", ["submitted/", "course/submitted/"])
def test_nbgrader(look: Look, made: Made, top: str) -> None:
    tree = {f"{top}ada/ps5/05.ipynb": FIVE, f"{top}bob/ps5/05.ipynb": TWO, f"{top}bob/ps5/timestamp.txt": b"2026"}
    found = look(made, tree)
    assert people(found) == [("ada", "05"), ("bob", "02")]
    assert [one.student.login for one in found.submissions] == ["ada", "bob"]


def test_one_student_of_nbgrader_with_several_assignments(tmp_path: Path) -> None:
    path = as_folder(tmp_path / "submitted", {"ada/ps5/05.ipynb": FIVE, "ada/ps2/02.ipynb": TWO})
    assert people(survey(path, tmp_path / "into")) == [("ada", "02"), ("ada", "05")]


def test_a_whole_course_of_nbgrader(look: Look) -> None:
    tree = {f"{step}/ada/ps5/05.ipynb": FIVE for step in ("submitted", "autograded", "feedback")}
    found = look(as_folder, {**tree, "source/ps5/05.ipynb": FIVE})
    assert people(found) == [("ada", "05")]
    assert sum("not among what students submitted" in one.became for one in found.seen) == 3


CANVAS = {
    "doejane_100_2001_05_induction_heads.ipynb": FIVE,
    "doejane_100_2003_05_induction_heads-1.ipynb": notebook("05", "later"),
    "doejane_100_2002_02.ipynb": TWO,
    "o_neil_LATE_101_2004_work.zip": zipped({"x/05.ipynb": FIVE}),
    "muellerzoe_102_text.html": b"<p>",
    "LATE_anon_aX3_2009_05.ipynb": FIVE,
}


@BOTH
@pytest.mark.parametrize("top", ["", "submissions/", "ps5 submissions/"])
def test_canvas(look: Look, made: Made, top: str) -> None:
    found = look(made, {top + name: data for name, data in CANVAS.items()})
    by_name = {(one.student.name, one.chapter): one for one in found.submissions}
    jane = by_name["doejane", "05"]
    assert jane.where.endswith("05_induction_heads-1.ipynb")
    assert jane.student.canvas_id == "100"
    assert "the newest counts" in jane.flags[-1]
    assert by_name["doejane", "02"].flags == ()
    assert by_name["o_neil", "05"].late
    assert not jane.late
    assert by_name["anonymous aX3", "05"].late
    assert by_name["muellerzoe", ""].trouble == "There is no notebook, only muellerzoe_102_text.html."


def test_numbers_in_the_names_of_files_make_nobody_somebody_else(look: Look) -> None:
    found = look(as_folder, {"ada_2026_11_hw.ipynb": FIVE, "bob_2026_11_hw.ipynb": FIVE})
    assert people(found) == [("ada", "05"), ("bob", "05")]


MOODLE = {
    "Jane Doe_4711_assignsubmission_file_/05.ipynb": FIVE,
    "Zoë van der Müller_4712_assignsubmission_file/deep/er/05.ipynb": FIVE,
    "Zoë van der Müller_4712_assignsubmission_onlinetext/onlinetext.html": b"",
    "Participant_4713_assignsubmission_file_/05.zip": zipped({"05.ipynb": TWO}),
    "Al Khwarizmi_4714_assignsubmission_file_05_4715_assignsubmission_file_x.ipynb": FIVE,
}


@BOTH
@pytest.mark.parametrize("top", ["", "ML-ps5-17/"])
def test_moodle(look: Look, made: Made, top: str) -> None:
    found = look(made, {top + name: data for name, data in MOODLE.items()})
    assert {(one.student.moodle_id, one.student.name, one.chapter) for one in found.submissions} == {
        ("4711", "Jane Doe", "05"),
        ("4712", "Zoë van der Müller", "05"),
        ("4713", "Participant", "02"),
        ("4714", "Al Khwarizmi", "05"),
    }


GRADESCOPE = """---
submission_1:
  :submitters:
  - :name: Jane Doe
    :sid: '555'
    :email: jane@example.org
  - :name: Sam Roe
    :email: sam@example.org
  :created_at: 2026-11-20
  :history:
  - :name: somebody else
submission_2:
  :submitters:
  - :name: Kim
    :sid: '7'
"""


@BOTH
@pytest.mark.parametrize("top", ["", "assignment_9_export/"])
def test_gradescope(look: Look, made: Made, top: str) -> None:
    tree = {
        f"{top}submission_metadata.yml": GRADESCOPE.encode(),
        f"{top}submission_1/05.ipynb": FIVE,
        f"{top}submission_2/a/05.ipynb": TWO,
    }
    found = look(made, tree)
    assert people(found) == [("Jane Doe", "05"), ("Kim", "02"), ("Sam Roe", "05")]
    assert [one.student.number for one in found.submissions] == ["555", "7", ""]
    assert found.submissions[2].student.email == "sam@example.org"


def test_a_folder_of_downloads_is_several_classes(look: Look) -> None:
    found = look(as_folder, {"one.zip": zipped(CANVAS), "two.zip": zipped(MOODLE), "roster.csv": b""})
    assert {one.student.name for one in found.submissions} >= {"doejane", "o_neil", "Jane Doe", "Participant"}


def test_layouts_may_be_mixed(look: Look) -> None:
    found = look(
        as_folder, {**CANVAS, **MOODLE, "ada.ipynb": FIVE, "bob/05.ipynb": TWO, "cy.zip": zipped({"x.ipynb": ONE})}
    )
    assert {"doejane", "Jane Doe", "ada", "bob", "cy"} <= {name for name, _ in people(found)}


@pytest.mark.parametrize("name", ["doejane_100_9999_05.ipynb", "Jane Doe_4711_assignsubmission_file_05.ipynb"])
@pytest.mark.parametrize("zip_it", [False, True])
def test_nobody_hands_in_for_another(look: Look, name: str, zip_it: bool) -> None:
    """A student names files as a course system names those of somebody else."""
    mine = {"mallory.zip": zipped({name: TWO})} if zip_it else {f"mallory/{name}": TWO}
    found = look(as_folder, {**mine, "ada/05.ipynb": FIVE})
    assert people(found) == [("ada", "05"), ("mallory", "02")]
    flat = look(as_zip, {f"mallory_7_70_{name}": TWO, "doejane_100_2001_05.ipynb": FIVE})
    assert sorted(people(flat)) == [("doejane", "05"), ("mallory", "02")]


@pytest.mark.parametrize("name", ["submitted/alice/05/x.ipynb", "doejane_123_456_05.ipynb"])
def test_a_zip_file_alone_in_a_folder_is_one_student_whatever_is_in_it(look: Look, tmp_path: Path, name: str) -> None:
    inside = zipped({name: FIVE})
    assert people(look(as_folder, {"mallory.zip": inside})) == [("mallory", "05")]
    assert people(look(as_folder, {"mallory.zip": inside, "notes.txt": b"mine"})) == [("mallory", "05")]
    named = tmp_path / "class" / "mallory.zip"  # here the teacher says that it is a class
    assert people(survey(named, tmp_path / "into")) != [("mallory", "05")]


def test_one_notebook_alone_is_a_class_of_one(tmp_path: Path) -> None:
    path = as_folder(tmp_path, {"ada.ipynb": FIVE}) / "ada.ipynb"
    assert people(survey(path, tmp_path / "into")) == [("ada", "05")]


@pytest.mark.parametrize("outer", [as_folder, as_zip])
def test_a_folder_around_the_class_is_no_student(look: Look, outer: Made) -> None:
    found = look(outer, {"homework five/ada.ipynb": FIVE, "homework five/bob/x.ipynb": TWO})
    assert people(found) == [("ada", "05"), ("bob", "02")]


def test_the_chapters_of_one_student_are_no_class(look: Look) -> None:
    found = look(as_folder, {"ada/05_induction_heads.ipynb": FIVE, "ada/01.ipynb": ONE, "ada/notes.txt": b""})
    assert people(found) == [("ada", "01"), ("ada", "05")]


# -- which counts -------------------------------------------------------------------------------------------------


def test_the_newest_that_can_be_read_counts_and_the_others_are_told(look: Look) -> None:
    tree = {"a_1_30_05.ipynb": b"{", "a_1_9_05.ipynb": notebook("05", "9"), "a_1_10_05.ipynb": notebook("05", "10")}
    found = look(as_zip, tree)
    (one,) = found.submissions
    assert one.where.endswith("a_1_10_05.ipynb")
    assert [("was not read" in flag, "the newest counts" in flag) for flag in one.flags] == [
        (True, False),
        (False, True),
    ]


def test_the_number_of_a_file_says_which_is_newer_before_the_clock_does(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as out:
        out.writestr(zipfile.ZipInfo("a_1_20_05.ipynb", (2026, 1, 1, 0, 0, 0)), notebook("05", "new"))
        out.writestr(zipfile.ZipInfo("a_1_10_05.ipynb", (2026, 2, 1, 0, 0, 0)), notebook("05", "old"))
    (one,) = submissions(tmp_path / "c.zip", tmp_path / "into")
    assert one.where == "c.zip/a_1_20_05.ipynb"


@pytest.mark.parametrize(("older", "newest"), [("w10.ipynb", "w9.ipynb"), ("w9.ipynb", "w10.ipynb")])
def test_without_numbers_the_clock_counts_and_then_the_name(tmp_path: Path, older: str, newest: str) -> None:
    path = as_folder(tmp_path / "class", {f"ada/{older}": notebook("05", "a"), f"ada/{newest}": notebook("05", "b")})
    os.utime(path / "ada" / older, (1000, 1000))
    os.utime(path / "ada" / newest, (1000, 1000) if newest == "w10.ipynb" else (2000, 2000))
    as_folder(path, {"bob/05.ipynb": FIVE})
    assert next(iter(submissions(path, tmp_path / "into"))).where == f"ada/{newest}"


def test_the_same_notebook_twice_is_no_news(look: Look) -> None:
    (one,) = look(as_folder, {"ada.ipynb": FIVE, "ada (1).ipynb": FIVE}).submissions
    assert one.flags == ()
    assert one.student.name == "ada"


@pytest.mark.parametrize("name", ["whatever.ipynb", "01_wrong_name.ipynb", "05.ipynb.txt", "05.IPYNB", "05.ipynb.json"])
def test_the_chapter_is_told_by_the_cells_not_by_the_name(look: Look, name: str) -> None:
    assert people(look(as_folder, {f"ada/{name}": FIVE})) == [("ada", "05")]


def stripped(number: str, *keep: str) -> bytes:
    """A chapter of which cells keep their sources and nothing else but these keys."""
    cells = [
        {"cell_type": cell["cell_type"], "source": cell["source"], "outputs": [], **{k: cell.get(k) for k in keep}}
        for cell in RAW[number]["cells"]
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}).encode()


@pytest.mark.parametrize("number", ["01", "02", "05"])
def test_the_chapter_is_told_without_ids(look: Look, number: str) -> None:
    assert people(look(as_folder, {"ada.ipynb": stripped(number)})) == [("ada", number)]
    assert people(look(as_folder, {"ada.ipynb": stripped(number, "metadata")})) == [("ada", number)]


def test_the_chapter_is_told_by_the_functions_alone(look: Look) -> None:
    cells = [{"cell_type": "code", "source": "def induction_score(p, n):\n    return 1"}]
    assert people(look(as_folder, {"ada.ipynb": json.dumps({"cells": cells}).encode()})) == [("ada", "05")]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (json.dumps({"cells": [{"cell_type": "markdown", "source": "# Homework\n"}]}).encode(), 'is "Homework"'),
        (json.dumps({"cells": []}).encode(), "of no chapter of this course"),
        (notebook("00"), "chapter 00, which has no exercises"),
        (b"", "empty"),
        (b"import torch", "not a whole notebook"),
    ],
)
def test_what_belongs_to_no_chapter_is_told_in_a_sentence(look: Look, data: bytes, said: str) -> None:
    (one,) = look(as_folder, {"ada.ipynb": data}).submissions
    assert said in one.trouble
    assert one.trouble.endswith(".")
    assert one.notebook is None


# -- what was seen ------------------------------------------------------------------------------------------------


def test_every_file_is_accounted_for(look: Look) -> None:
    tree = {
        "ada.ipynb": FIVE,
        "ada (1).ipynb": notebook("05", "new"),
        "bob/report.pdf": b"",
        "cy.zip": zipped({"a.ipynb": TWO, "b.txt": b"", "c.zip": zipped({"d.ipynb": ONE})}),
        "dan.rar": b"Rar!",
        ".DS_Store": b"",
        "eve/.ipynb_checkpoints/05-checkpoint.ipynb": FIVE,
        "eve/05.ipynb": FIVE,
    }
    found = look(as_folder, tree)
    seen = {one.where: one.became for one in found.seen}
    assert seen == {
        "ada.ipynb": "left out: older than ada (1).ipynb",
        "ada (1).ipynb": "graded as chapter 05",
        "bob/report.pdf": "left out: it is no notebook",
        "cy.zip": "opened: 3 files",
        "cy.zip/a.ipynb": "graded as chapter 02",
        "cy.zip/b.txt": "left out: it is no notebook",
        "cy.zip/c.zip": "not read: it is an archive within an archive",
        "dan.rar": "not read: it is an archive, and only zip files are opened",
        ".DS_Store": "left out: a program made it, not a person",
        "eve/.ipynb_checkpoints/05-checkpoint.ipynb": "left out: a program made it, not a person",
        "eve/05.ipynb": "graded as chapter 05",
    }
    assert people(found) == [("ada", "05"), ("bob", "-"), ("cy", "02"), ("dan", "-"), ("eve", "05")]


def test_names_that_differ_in_capitals_stay_apart_and_are_told(look: Look) -> None:
    found = look(as_zip, {"Ada/05.ipynb": FIVE, "ada/05.ipynb": TWO})
    assert people(found) == [("Ada", "05"), ("ada", "02")]
    assert all("capital letters" in one.flags[0] for one in found.submissions)


@BOTH
@pytest.mark.parametrize("tree", [{}, {"roster.csv": b""}, {".DS_Store": b""}])
def test_a_class_without_submissions_is_refused_in_a_sentence(look: Look, made: Made, tree: Tree) -> None:
    with pytest.raises(SubmissionsError, match="holds no notebook"):
        look(made, tree)


def test_what_is_no_folder_and_no_zip_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SubmissionsError, match="There is nothing at"):
        submissions(tmp_path / "none", tmp_path / "into")
    (tmp_path / "x.zip").write_bytes(b"no")
    with pytest.raises(SubmissionsError, match="not a whole one"):
        submissions(tmp_path / "x.zip", tmp_path / "into")


def test_the_metadata_of_gradescope_are_read_line_by_line() -> None:
    hostile = (
        "submission_1:\n  :submitters:\n  - &a :name: [*a, *a]\n  - :name: !!python/object/apply:os.system ['x']\n"
    )
    assert [one.name for one in layouts.of_metadata(hostile)["submission_1"]] == [
        "!!python/object/apply:os.system ['x']".strip("'\"")
    ]


def test_students_come_one_by_one(tmp_path: Path) -> None:
    path = as_folder(tmp_path / "class", {f"s{n}.ipynb": notebook("05", str(n)) for n in range(4)})
    found: Any = submissions(path, tmp_path / "into")
    next(found)
    assert len(list((tmp_path / "into").iterdir())) == 1
