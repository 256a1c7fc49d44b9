"""``interpwidgets grade`` from outside: what a teacher types, sees and finds afterwards."""

import csv
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from interpwidgets._version import __version__
from interpwidgets.cli import main
from interpwidgets.course import chapters
from interpwidgets.grading import batch, commands, sandbox
from interpwidgets.grading.grades import Grade, Mark, Slip

STUB = chapters.find("05", "chapters").read_bytes()
SOLVED = chapters.find("05", "solutions").read_bytes()

CANVAS = (
    "Student,ID,SIS Login ID,Section,05 Induction heads (9)\r\n    Points Possible,,,,10\r\n"
    '"Lee, Ann",1,ann,A,\r\n"Ruiz, Ben",2,ben,A,\r\n"Berg, Cleo",3,cleo,A,4\r\n'
)


@pytest.fixture
def submissions(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "ann.ipynb").write_bytes(STUB)
    (folder / "ben.ipynb").write_bytes(SOLVED)
    return folder


def crew_of(tasks: Any) -> Any:
    """Everybody makes the same known mistake; nothing is run."""
    slip = Slip("the sign is turned", "You take early minus late.", "Next: look.")
    for task in tasks:
        marks = tuple(
            Mark(id, "f", "t", 1, 0, "differs", "A fact.", seed, mistake=slip, picture="<div>drawn</div>")
            for id, seed in task.seeds.items()
        )
        yield task.grade(marks=marks)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grading without workers and without a sandbox: only what is round it."""
    monkeypatch.setattr(batch, "local", lambda workers, unsafe: crew_of)
    monkeypatch.setattr(sandbox, "refusal", lambda: None)


def grade(*words: object) -> Result:
    return CliRunner().invoke(main, ["grade", *map(str, words)])


# -- what is found afterwards -------------------------------------------------------------------------------------


def test_a_run_leaves_a_report_pages_and_gradebooks(quick: None, submissions: Path, tmp_path: Path) -> None:
    (tmp_path / "canvas.csv").write_text(CANVAS, encoding="utf-8", newline="")
    out = tmp_path / "out"
    told = grade(submissions, "--out", out, "--students", tmp_path / "canvas.csv")
    assert told.exit_code == 0, told.output
    assert "2 students, 2 submissions, chapters: 05" in told.output
    assert "2 of 2 submissions graded." in told.output
    assert "nothing handed in: Cleo Berg" in told.output
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        "grades", "class.html", "feedback", "gradescope", "grades.csv", "canvas.csv", "nbgrader.csv",
    }  # fmt: skip
    rows = list(csv.reader((out / "canvas.csv").read_text(encoding="utf-8").splitlines()))
    assert [row[4] for row in rows] == ["05 Induction heads (9)", "10", "0", "0", "4"]
    assert "Ann Lee" in (out / "class.html").read_text(encoding="utf-8")  # the name of the list, not of the file


WORKSHEET = (
    "Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,Last modified (submission),"
    "Last modified (grade),Feedback comments\r\n"
    "Participant 41,Ann_Lee,ann@x.org,Submitted for grading - 2 days 3 hours late,8.00,10.00,Yes,-,-,By hand\r\n"
    "Participant 42,Ben Ruiz,ben@x.org,Submitted for grading,,10.00,Yes,-,-,\r\n"
)


def test_a_class_of_moodle_gets_its_pages_back_as_moodle_takes_them(
    quick: None, submissions: Path, tmp_path: Path
) -> None:
    for number, name in ((41, "ann"), (42, "ben")):
        folder = submissions / f"{name.title()}_{number}_assignsubmission_file"
        folder.mkdir()
        (submissions / f"{name}.ipynb").rename(folder / "05.ipynb")
    (tmp_path / "sheet.csv").write_text(WORKSHEET, encoding="utf-8", newline="")
    out = tmp_path / "out"
    told = grade(submissions, "--out", out, "--students", tmp_path / "sheet.csv")
    assert told.exit_code == 0, told.output
    with zipfile.ZipFile(out / commands.FEEDBACK_ZIP) as back:
        assert sorted(back.namelist()) == [
            "Ann Lee_41_assignsubmission_file_feedback.html",
            "Ben Ruiz_42_assignsubmission_file_feedback.html",
        ]
        assert b"<html" in back.read("Ann Lee_41_assignsubmission_file_feedback.html")
    page = (out / "class.html").read_text(encoding="utf-8")
    for shown in (told.output, page):
        assert "Ann_Lee (8.00; we have 0)" in shown
    assert "Moodle says: 2 days 3 hours late." in page
    rows = list(csv.DictReader((out / "grades.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [(row["late"], row["email"], row["key"]) for row in rows] == [
        ("late", "ann@x.org", "moodle:41"),
        ("", "ben@x.org", "moodle:42"),
    ]


def test_without_a_terminal_lines_tell_how_far_it_is(quick: None, submissions: Path, tmp_path: Path) -> None:
    told = grade(submissions, "--out", tmp_path / "out").output
    assert "Starting the sandboxes.\n" in told
    assert "  1 of 2\n  2 of 2\n" in told


def test_every_link_of_the_report_leads_to_a_page(quick: None, submissions: Path, tmp_path: Path) -> None:
    (tmp_path / "canvas.csv").write_text(CANVAS, encoding="utf-8", newline="")
    for more in ((), ("--students", tmp_path / "canvas.csv")):  # which gives the students other names
        grade(submissions, "--out", tmp_path / "out", *more)
        page = (tmp_path / "out" / "class.html").read_text(encoding="utf-8")
        links = re.findall(r'href="(feedback/[^"]+)"', page)
        assert len(links) == 2
        assert {tmp_path / "out" / link for link in links} == set((tmp_path / "out" / "feedback").iterdir())


def test_the_picture_of_the_most_frequent_mistake_is_in_the_report_once(
    quick: None, submissions: Path, tmp_path: Path
) -> None:
    grade(submissions, "--out", tmp_path / "out")
    assert (tmp_path / "out" / "class.html").read_text(encoding="utf-8").count("<div>drawn</div>") == 1
    for page in (tmp_path / "out" / "feedback").iterdir():
        assert page.read_text(encoding="utf-8").count("<div>drawn</div>") == 13


def test_a_submission_that_cannot_be_graded_is_named_and_changes_the_status(
    quick: None, submissions: Path, tmp_path: Path
) -> None:
    (submissions / "cleo.ipynb").write_bytes(b"\x00\x01")
    told = grade(submissions, "--out", tmp_path / "out")
    assert told.exit_code == commands.UNGRADED
    assert "not graded: cleo (cleo.ipynb)" in told.output


@pytest.mark.parametrize("flat", [True, False])
def test_names_that_ring_colour_turn_or_are_half_reach_no_terminal(
    quick: None, submissions: Path, tmp_path: Path, flat: bool
) -> None:
    wild = "eve\x1b[31m\x07\u202ecod\u2066\udcff\u200c"
    names = [f"{wild}.ipynb", f"{wild}_12_34_05.ipynb"] if flat else [f"{wild}_99_assignsubmission_file/05.ipynb"]
    for name in names:
        (submissions / name).parent.mkdir(exist_ok=True)
        (submissions / name).write_bytes(b"no notebook")
    told = grade(submissions, "--out", tmp_path / "out")
    assert told.exit_code == commands.UNGRADED, told.output
    assert told.output.count("not graded: eve") == len(names)
    assert "not graded: ann" not in told.output
    page = (tmp_path / "out" / "class.html").read_text(encoding="utf-8")
    table = (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8")
    for shown in (told.output, page):
        assert not {*"\x1b\x07\u202e\u2066\udcff"} & {*shown}
    assert "eve\N{REPLACEMENT CHARACTER}[31m" in table


def test_who_handed_in_something_else_is_not_among_those_who_handed_in_nothing(
    quick: None, submissions: Path, tmp_path: Path
) -> None:
    (tmp_path / "canvas.csv").write_text(CANVAS, encoding="utf-8", newline="")
    (submissions / "cleo.ipynb").write_bytes(b"my dog ate it")
    grade(submissions, "--out", tmp_path / "out", "--students", tmp_path / "canvas.csv")
    page = (tmp_path / "out" / "class.html").read_text(encoding="utf-8")
    assert "Nothing handed in" not in page
    assert "Cleo Berg" in page


def test_unsafe_warns_and_is_written_everywhere(quick: None, submissions: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = grade(submissions, "--out", out, "--unsafe")
    assert "can forge its own points" in told.output
    for file in [out / "class.html", out / "grades.csv", *(out / "feedback").iterdir(), *out.rglob("results.json")]:
        assert "without a sandbox" in file.read_text(encoding="utf-8"), file
    assert all(Grade.read(file).unsafe for file in (out / "grades").iterdir())
    assert not (out / "nbgrader.csv").exists()
    assert (out / "unsafe-nbgrader.csv").exists()


# -- what is refused ----------------------------------------------------------------------------------------------


def test_without_a_sandbox_nothing_is_graded_and_the_container_is_pointed_to(
    monkeypatch: pytest.MonkeyPatch, submissions: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(sandbox, "refusal", lambda: "Grading needs Linux; this is Darwin on arm64.")
    told = grade(submissions, "--out", tmp_path / "out")
    assert told.exit_code == 1
    assert "Grading needs Linux; this is Darwin on arm64." in told.output
    assert commands.CONTAINER in told.output
    assert "--unsafe" in told.output
    assert not (tmp_path / "out").exists()


def test_the_recipe_that_is_pointed_to_is_there_and_installs_this_release() -> None:
    recipe = (Path(__file__).parents[2] / commands.CONTAINER / "Containerfile").read_text(encoding="utf-8")
    assert f"ARG VERSION={__version__}\n" in recipe
    assert "bubblewrap" in recipe


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere", "--out", "out"), "There is no"),
        (("in", "--out", "in"), "among the submissions"),
        (("in", "--out", "full"), "is not empty"),
        (("in", "--out", "out", "--chapter", "99"), "No chapter 99"),
        (("in", "--out", "out", "--students", "nowhere.csv"), "cannot be read"),
        (("in", "--out", "out", "--students", "odd.csv"), "does not say who"),
        (("in", "--out", "out", "--assignment", "x"), "--students"),
        (("in", "--out", "out", "--students", "canvas.csv", "--assignment", "x"), "No column"),
        (("in", "--out", "out", "--workers", "0"), "workers"),
        (("in",), "--out"),
    ],
)
def test_what_makes_no_sense_is_told_in_a_sentence_before_anything_is_graded(
    quick: None, submissions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: Any, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    (tmp_path / "odd.csv").write_text("colour\nred\n")
    (tmp_path / "canvas.csv").write_text(CANVAS, encoding="utf-8", newline="")
    told = grade(*words)
    assert told.exit_code in (1, 2)
    assert sentence in told.output
    assert "Traceback" not in told.output
    assert not (tmp_path / "out" / "grades").exists()


def test_a_cluster_that_is_not_there_is_told_in_a_sentence(submissions: Path, tmp_path: Path) -> None:
    told = grade(submissions, "--out", tmp_path / "out", "--scheduler", "nonsense")
    assert told.exit_code == 1
    installed = importlib.util.find_spec("distributed") is not None
    assert ("No scheduler answers at nonsense" if installed else "--scheduler needs Dask") in told.output
    assert "Traceback" not in told.output


def test_a_full_disk_is_told_in_a_sentence(
    quick: None, submissions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    told = grade(submissions, "--out", tmp_path / "out")
    assert told.exit_code == 1
    assert "No space left on device" in told.output
    assert "Traceback" not in told.output


def test_help_names_no_library_that_it_would_have_to_load() -> None:
    script = "import sys; from interpwidgets.cli import main; main(['grade', '--help'], standalone_mode=False); "
    script += "print(sorted({'torch', 'numpy', 'transformers', 'distributed'} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert told.stdout.endswith("[]\n")
    assert "--scheduler" in told.stdout


# -- for real -----------------------------------------------------------------------------------------------------

real = pytest.mark.skipif(bool(sandbox.refusal()), reason=f"no sandbox here: {sandbox.refusal()}")


@real
@pytest.mark.slow
def test_a_stopped_run_goes_on_and_the_honest_get_what_they_earned(submissions: Path, tmp_path: Path) -> None:
    hostile = json.loads(SOLVED)
    for cell in hostile["cells"]:
        if "def induction_score" in "".join(cell["source"]):
            cell["source"] = "import os\ndef induction_score(pattern, period):\n    os._exit(0)\n"
    (submissions / "mallory.ipynb").write_text(json.dumps(hostile), encoding="utf-8")
    out = tmp_path / "out"
    words = [sys.executable, "-m", "interpwidgets", "grade", str(submissions), "--out", str(out), "--workers", "1"]
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    end = time.monotonic() + 240
    while not list((out / "grades").glob("*.json")) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C reaches the whole group
    said, _ = process.communicate(timeout=60)
    assert process.returncode == commands.STOPPED, said
    assert "the same command goes on from here" in said
    assert "Traceback" not in said
    first = {file: file.stat().st_mtime_ns for file in (out / "grades").glob("*.json")}
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {file: file.stat().st_mtime_ns for file in first} == first
    earned = {one.student.name: one for one in map(Grade.read, (out / "grades").glob("*.json"))}
    assert earned["ben"].earned == earned["ben"].points
    assert earned["ann"].earned == 0
    assert earned["mallory"].earned == earned["ben"].points - 2
