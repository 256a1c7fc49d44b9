"""Gradebooks: what they take is filled, everything else stays, and no cell becomes a formula."""

import csv
import dataclasses
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interpwidgets.grading import gradebooks
from interpwidgets.grading import roster as roster_module
from interpwidgets.grading.gradebooks import Plan, safe
from interpwidgets.grading.grades import Batch, Grade, GradeError, Mark, Reply, Slip, Who
from interpwidgets.grading.roster import Roster

CHAPTERS = {"05": "Induction heads and in-context learning"}
BATCH = Batch("b1", "x", b"s" * 32)
SIGN = Slip("the sign is turned", "You take early minus late.", "Next: look.")

CANVAS = """\
Student,ID,SIS User ID,SIS Login ID,Section,Essay (77),05 Induction heads (4711),Late days (90),Current Score,\
Final Score
,,,,,,Manual Posting,,,
    Points Possible,,,,,10,22,(read only),(read only),(read only)
"Haddad, Noor",101,S1,noor.h,"Mon, 9 am",7,,x,70,70
"Ruiz, Pablo",102,S2,pablo.r,A,=1+1,3,y,50,50
"O’Brien, Liam",103,S3,liam.o,A,9,EX,z,90,90
"Lind, Rosa",104,S4,rosa.l,A,9,18,z,90,90
"Student, Test",105,,7f3a,A,,,,,
"""

MOODLE = """\
Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,Last modified (submission),\
Last modified (grade),Feedback comments
Participant 9001,Noor Haddad,noor@example.org,Submitted for grading,,100.00,Yes,"Friday, 20 November 2026",-,
Participant 9002,Rosa Lind,rosa@example.org,No submission,,100.00,Yes,-,-,old words
"""


def grade(student: Who, earned: int = 6, **more: Any) -> Grade:
    marks = (
        Mark("05.1", "repeat_tokens", "Twice", earned, earned, "passed", "All 6 agree.", 1),
        Mark("05.2", "loss", "Loss", 11 - earned, 0, "differs", "4 of 8 differ.", 2, mistake=SIGN),
    )
    asked = (Reply("05.A", "Loss", 1, 1, "4.16"), Reply("05.B", "Head", 1, 0, "2"))
    plain = Grade(student, "05", CHAPTERS["05"], "n.ipynb", "00", "b1", marks=marks, replies=asked)
    return dataclasses.replace(plain, **more)


NOOR = Who("101", "haddadnoor", canvas="101")


def roster(folder: Path, text: str, name: str = "list.csv", encoding: str = "utf-8") -> Roster:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return Roster.read(path)


def written(
    folder: Path, grades: list[Grade], list_: Roster | None = None
) -> tuple[dict[str, list[list[str]]], list[str]]:
    """The tables by their file, and what a teacher is told."""
    told = gradebooks.write(folder / "out", BATCH, grades, list_, Plan.made(list_, CHAPTERS, ""))
    tables = {path.name: path.read_bytes().decode("utf-8-sig") for path in (folder / "out").glob("*.csv")}
    return {name: list(csv.reader(io.StringIO(text, newline=""))) for name, text in tables.items()}, told


# -- Canvas -------------------------------------------------------------------------------------------------------


def test_canvas_own_export_is_filled_and_nothing_else_in_it_changes(tmp_path: Path) -> None:
    before = list(csv.reader(io.StringIO(CANVAS, newline="")))
    tables, _ = written(tmp_path, [grade(NOOR)], roster(tmp_path, CANVAS))
    after = tables["canvas.csv"]
    changed = [(r, c) for r, row in enumerate(before) for c, cell in enumerate(row) if after[r][c] != cell]
    assert changed == [(3, 6)]
    assert after[3][6] == "12"  # 6 of 11 points, of an assignment of 22
    assert [len(row) for row in after] == [len(row) for row in before]


def test_who_handed_in_nothing_keeps_the_cell_as_it_came_and_is_named(tmp_path: Path) -> None:
    tables, told = written(tmp_path, [grade(NOOR)], roster(tmp_path, CANVAS))
    assert tables["canvas.csv"][4][6] == "3"
    assert tables["canvas.csv"][6][6] == "18"
    assert any("Pablo Ruiz, Liam O’Brien, Rosa Lind" in one and "no grade, not zero" in one for one in told)
    assert not any("Test" in one for one in told)


def test_who_is_excused_stays_excused_and_is_named(tmp_path: Path) -> None:
    liam = Who("103", "obrienliam", canvas="103")
    tables, told = written(tmp_path, [grade(liam)], roster(tmp_path, CANVAS))
    assert tables["canvas.csv"][5][6] == "EX"
    assert any("Excused" in one for one in told)


def test_points_of_another_scale_are_scaled_and_that_is_said(tmp_path: Path) -> None:
    _, told = written(tmp_path, [grade(NOOR)], roster(tmp_path, CANVAS))
    assert any("22 points, its exercises have 11: scaled" in one for one in told)
    assert gradebooks.number(2, 3, 10) == "6.67"
    assert gradebooks.number(0, 3, 10) == "0"
    assert gradebooks.number(3, 3, None) == "3"


def test_a_submission_that_could_not_be_graded_gets_no_grade(tmp_path: Path) -> None:
    lost = grade(NOOR, trouble="The file is empty.", marks=(), replies=())
    tables, _ = written(tmp_path, [lost], roster(tmp_path, CANVAS))
    assert tables["canvas.csv"][3][6] == ""
    assert tables["grades.csv"][1][3] == ""


def test_a_student_whom_nobody_knows_is_named_and_nobody_else_gets_the_points(tmp_path: Path) -> None:
    tables, told = written(tmp_path, [grade(Who("999", "Zoe Unknown", canvas="999"))], roster(tmp_path, CANVAS))
    assert [row[6] for row in tables["canvas.csv"]][3:] == ["", "3", "EX", "18", ""]
    assert any("Zoe Unknown" in one for one in told)


def test_two_submissions_that_claim_one_student_are_both_left_out(tmp_path: Path) -> None:
    claims = [grade(NOOR), grade(Who("fake", "Noor Haddad"), earned=11)]
    tables, told = written(tmp_path, claims, roster(tmp_path, CANVAS))
    assert tables["canvas.csv"][3][6] == ""
    assert any("there twice" in one for one in told)


@pytest.mark.parametrize("delimiter", [";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_file_is_spelt_as_it_came(tmp_path: Path, delimiter: str, encoding: str) -> None:
    rows = list(csv.reader(io.StringIO(CANVAS, newline="")))
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    written(tmp_path, [grade(NOOR)], roster(tmp_path, text.getvalue(), encoding=encoding))
    raw = (tmp_path / "out" / "canvas.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf") == (encoding == "utf-8-sig")
    assert raw.count(b"\r\n") == len(rows)
    assert len(next(csv.reader(io.StringIO(raw.decode(encoding)), delimiter=delimiter))) == 10


def header(*names: str) -> str:
    fives = ",".join("5" for _ in names)
    return f"Student,ID,SIS Login ID,Section,{','.join(names)}\n    Points Possible,,,,{fives}\nA,1,a,S\n"


@pytest.mark.parametrize(
    ("names", "assignment", "column"),
    [
        (("Essay (1)", "Induction heads and in-context learning (2)"), "", 5),
        (("Homework 4 (1)", "Homework 5 (2)"), "", 5),
        (("Chapter 05 (1)", "Quiz (5)"), "", 4),
        (("Anything (1)",), "", 4),
        (("Homework A (1)", "Homework B (2)"), "homework b", 5),
    ],
)
def test_the_column_of_a_chapter_is_found(tmp_path: Path, names: Any, assignment: str, column: int) -> None:
    assert Plan.made(roster(tmp_path, header(*names)), CHAPTERS, assignment).columns == {"05": column}


@pytest.mark.parametrize(
    ("names", "assignment"),
    [
        (("Essay (1)", "Quiz (2)"), ""),
        (("Homework 5 (1)", "Quiz 5 (2)"), ""),
        (("Essay (1)", "Quiz (2)"), "poem"),
        (("Total",), ""),
    ],
)
def test_a_column_that_could_be_another_is_asked_for_before_anything_is_graded(
    tmp_path: Path, names: Any, assignment: str
) -> None:
    with pytest.raises(GradeError, match="--assignment"):
        Plan.made(roster(tmp_path, header(*names)), CHAPTERS, assignment)


# -- Moodle -------------------------------------------------------------------------------------------------------


def test_moodles_worksheet_gets_grade_and_feedback_and_keeps_the_rest(tmp_path: Path) -> None:
    noor = Who("9001", "Noor Haddad", moodle="9001")
    tables, _ = written(tmp_path, [grade(noor, late=True)], roster(tmp_path, MOODLE))
    before, after = list(csv.reader(io.StringIO(MOODLE, newline=""))), tables["moodle.csv"]
    assert after[1][4] == "54.55"
    assert after[1][9].startswith("Handed in late. 6 of 11 points: 1 of 2 exercises pass.")
    assert "Questions, counted apart: 1 of 2 right." in after[1][9]
    assert "the sign is turned" in after[1][9]
    assert after[2] == before[2]
    assert [cell for at, cell in enumerate(after[1]) if at not in (4, 9)] == [
        cell for at, cell in enumerate(before[1]) if at not in (4, 9)
    ]


def test_a_worksheet_is_for_one_chapter(tmp_path: Path) -> None:
    with pytest.raises(GradeError, match="--chapter"):
        Plan.made(roster(tmp_path, MOODLE), {"01": "One", "05": "Five"}, "")


def test_nothing_that_a_student_wrote_comes_into_a_comment() -> None:
    hostile = Who("k", "<script>", login="=cmd()")
    told = gradebooks.comment(grade(hostile, flags=("<img src=x>",)))
    assert "<" not in told
    assert "=cmd" not in told


def test_a_comment_names_what_does_not_pass_and_no_file_of_the_teacher() -> None:
    marks = (
        *grade(NOOR).marks,
        Mark("05.3", "prefix", "P", 2, 0, "stopped", "in your line 1.", 3),
        Mark("05.4", "curve", "C", 2, 0, "missing", "x", 4),
    )
    told = gradebooks.comment(grade(NOOR, marks=marks))
    assert "05.2 loss, known mistake: the sign is turned." in told
    assert "Not yet: 05.3 prefix." in told
    assert "Not started: 05.4 curve." in told
    assert ".html" not in told


def test_who_handed_in_no_notebook_reads_in_moodle_what_to_do(tmp_path: Path) -> None:
    lost = Grade(Who("moodle:9001", "Noor Haddad", moodle="9001"), "", "", "a/cv.pdf", "", "b1", trouble="Only cv.pdf.")
    tables, _ = written(tmp_path, [lost], roster(tmp_path, MOODLE))
    row = tables["moodle.csv"][1]
    assert row[4] == ""
    assert "the file that ends in .ipynb" in row[9]
    assert "cv.pdf" not in row[9]


MARKED = """\
Identifier,Full name,Email address,Status,Grade,Maximum Grade,Grade can be changed,Last modified (submission),\
Last modified (grade),Feedback comments
Participant 9001,Noor Haddad,noor@example.org,Submitted for grading - 1 day 9 hours late,{0},11.00,{1},-,-,{2}
"""


def filled(folder: Path, stands: str, may: str, comment: str, overwrite: bool = False) -> tuple[list[str], str]:
    """The row of Noor after 6 points, and what the teacher is told."""
    list_ = roster(folder, MARKED.format(stands, may, comment))
    plan = Plan.made(list_, CHAPTERS, "", overwrite)
    told = gradebooks.write(
        folder / "out", BATCH, [grade(Who("moodle:9001", "Noor Haddad", moodle="9001"))], list_, plan
    )
    text = (folder / "out" / "moodle.csv").read_text(encoding="utf-8")
    return list(csv.reader(io.StringIO(text, newline="")))[1], " ".join(told)


def test_a_grade_that_a_teacher_gave_by_hand_stays_with_its_comment_and_is_named(tmp_path: Path) -> None:
    row, told = filled(tmp_path, "8.50", "Yes", "Half right counts.")
    assert (row[4], row[9]) == ("8.50", "Half right counts.")
    assert "Grades kept" in told
    assert "Noor Haddad (8.50; we have 6)" in told
    assert "--overwrite" in told


def test_a_comment_of_a_teacher_stays_beside_our_grade(tmp_path: Path) -> None:
    row, told = filled(tmp_path, "", "Yes", "Come and see me.")
    assert (row[4], row[9]) == ("6", "Come and see me.")
    assert "Comments kept" in told
    assert "Noor Haddad" in told


def test_with_overwrite_our_grade_and_comment_replace_what_stands_there(tmp_path: Path) -> None:
    row, told = filled(tmp_path, "8.50", "Yes", "Half right counts.", overwrite=True)
    assert row[4] == "6"
    assert "6 of 11 points" in row[9]
    assert "kept" not in told


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_row_that_may_not_be_changed_is_never_filled(tmp_path: Path, overwrite: bool) -> None:
    row, told = filled(tmp_path, "", "No", "", overwrite)
    assert (row[4], row[9]) == ("", "")
    assert "may not be changed" in told
    assert "Noor Haddad (no grade; we have 6)" in told


def test_what_stands_there_from_our_last_import_is_no_news(tmp_path: Path) -> None:
    first, _ = filled(tmp_path, "", "Yes", "")
    again, told = filled(tmp_path, "6.00", "Yes", f'"<p>{first[9]}</p>"')
    assert again[9] == first[9]
    assert "kept" not in told


@pytest.mark.parametrize(
    "earlier",
    [
        gradebooks.NOT_GRADED,
        gradebooks.comment(grade(Who("k", "Noor"), earned=1, late=True)),
        gradebooks.comment(grade(Who("k", "Noor"), earned=6, unsafe=True, replies=())),
    ],
)
def test_a_comment_of_ours_from_an_earlier_run_gives_way_and_one_with_a_teachers_words_does_not(
    tmp_path: Path, earlier: str
) -> None:
    row, told = filled(tmp_path, "", "Yes", f'"<p>{earlier}</p>"')
    assert row[9].startswith(("Handed in late. 6 of 11", "6 of 11"))
    assert "kept" not in told
    row, told = filled(tmp_path, "", "Yes", f'"<p>{earlier} Come and see me.</p>"')
    assert row[9].endswith("Come and see me.</p>")
    assert "Comments kept" in told


def test_two_who_share_a_name_are_told_apart_where_a_grade_is_kept(tmp_path: Path) -> None:
    head, row = MARKED.format("9", "Yes", "").splitlines()[0], MARKED.format("9", "Yes", "").splitlines()[1]
    list_ = roster(tmp_path, f"{head}\n{row}\n{row.replace('9001', '9002')}\n")
    both = [grade(Who(f"moodle:{one}", "Noor Haddad", moodle=one)) for one in ("9001", "9002")]
    told = gradebooks.write(tmp_path / "out", BATCH, both, list_, Plan.made(list_, CHAPTERS, ""))
    assert any("Noor Haddad [moodle:9001] (9; we have 6), Noor Haddad [moodle:9002]" in one for one in told)


def test_every_student_of_a_large_class_whose_grade_is_kept_is_named_in_the_report(tmp_path: Path) -> None:
    head, row = MARKED.format("9", "Yes", "").splitlines()
    rows = [row.replace("9001", f"{at}").replace("Noor Haddad", f"Noor the Student {at}") for at in range(100, 200)]
    list_ = roster(tmp_path, "\n".join([head, *rows]))
    all_ = [grade(Who(f"moodle:{at}", f"Noor the Student {at}", moodle=f"{at}")) for at in range(100, 200)]
    told = gradebooks.write(tmp_path / "out", BATCH, all_, list_, Plan.made(list_, CHAPTERS, ""))
    assert all(len(one) < 1000 for one in told)
    assert all(f"Student {at} (9; we have 6)" in " ".join(told) for at in range(100, 200))


def test_a_grade_in_canvas_that_differs_stays_and_is_named(tmp_path: Path) -> None:
    list_ = roster(tmp_path, CANVAS)
    tables, told = written(tmp_path, [grade(Who("102", "Pablo Ruiz", canvas="102"))], list_)
    assert tables["canvas.csv"][4][6] == "3"
    assert any("Pablo Ruiz (3; we have 12)" in one for one in told)
    gradebooks.write(
        tmp_path / "new", BATCH, [grade(Who("102", "P", canvas="102"))], list_, Plan.made(list_, CHAPTERS, "", True)
    )
    assert '"Ruiz, Pablo",102,S2,pablo.r,A,=1+1,12,' in (tmp_path / "new" / "canvas.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize(("assignment", "overwrite"), [("Week 5", False), ("", True)])
def test_an_option_that_has_no_use_is_refused(tmp_path: Path, assignment: str, overwrite: bool) -> None:
    list_ = roster(tmp_path, MOODLE if assignment else "login,name\nnoor,Noor Haddad\n")
    with pytest.raises(GradeError, match="leave it out"):
        Plan.made(list_, CHAPTERS, assignment, overwrite)


def test_moodles_worksheet_tells_how_late_a_submission_was(tmp_path: Path) -> None:
    list_ = roster(tmp_path, MARKED.format("", "Yes", ""))
    assert list_.lateness(Who("x", "Noor Haddad", moodle="9001")) == "1 day 9 hours"
    assert roster(tmp_path, MOODLE).lateness(Who("x", "Noor Haddad", moodle="9001")) == ""


# -- who is who ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("student", "name"),
    [
        (Who("x", "?", canvas="104"), "Rosa Lind"),
        (Who("pablo.r", "pablo.r"), "Pablo Ruiz"),
        (Who("x", "?", number="S3"), "Liam O’Brien"),
        (Who("x", "Noor Haddad"), "Noor Haddad"),
        (Who("x", "haddad, noor"), "Noor Haddad"),
        (Who("x", "haddadnoor"), "Noor Haddad"),
        (Who("x", "Noor"), ""),
        (Who("x", ""), ""),
        (Who("", "", login=""), ""),
    ],
)
def test_students_are_known_by_number_login_or_whole_name(tmp_path: Path, student: Who, name: str) -> None:
    list_ = roster(tmp_path, CANVAS)
    row = list_.row(student)
    assert (list_.names[row] if row is not None else "") == name


def test_a_large_class_is_sorted_out_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f'"Family{at}, Given",{at + 1000},S{at},login{at},A,,,,,\n' for at in range(500))
    list_ = roster(tmp_path, f"{CANVAS.partition(',,,,,,Manual')[0]}{rows}")
    looked: list[str] = []
    plain = roster_module._plain
    monkeypatch.setattr(roster_module, "_plain", lambda text: looked.append(text) or plain(text))
    found = [list_.row(Who(f"k{at}", f"Given Family{at}")) for at in range(500)]
    assert found == list(list_.students)
    assert len(looked) < 100 * 500  # and not 500 times 500


def test_a_name_that_two_have_decides_nothing(tmp_path: Path) -> None:
    list_ = roster(tmp_path, "login,name\nann1,Ann Lee\nann2,Ann Lee\n")
    assert list_.row(Who("x", "Ann Lee")) is None
    assert list_.row(Who("ann2", "Ann Lee")) == 1


def test_a_plain_list_says_who_is_missing_and_fills_no_gradebook(tmp_path: Path) -> None:
    list_ = roster(
        tmp_path, "student_id,first_name,last_name,email\nnoor,Noor,Haddad,n@x.org\npablo,Pablo,Ruiz,p@x.org\n"
    )
    tables, told = written(tmp_path, [grade(Who("noor", "noor"))], list_)
    assert any("nothing handed in: Pablo Ruiz" in one for one in told)
    assert set(tables) == {"grades.csv", "nbgrader.csv"}
    assert gradebooks.missing(list_, [grade(Who("noor", "noor"))]) == ["Pablo Ruiz"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no students"),
        ("Student,ID,Section\n", "holds no students"),
        ("colour,size\nred,3\n", "does not say who"),
        ("login,name\na,b,c\n", "row 2 has 3 columns"),
        ('login,name\na,"b\n', ""),
    ],
)
def test_a_list_that_is_none_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    if sentence:
        with pytest.raises(GradeError, match=sentence):
            roster(tmp_path, text)
    else:
        roster(tmp_path, text)


def test_a_list_in_another_encoding_or_place_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("login,name\na,Elif Aydın".encode("cp1254"))
    with pytest.raises(GradeError, match="UTF-8"):
        Roster.read(tmp_path / "latin.csv")
    with pytest.raises(GradeError, match="cannot be read"):
        Roster.read(tmp_path / "nowhere.csv")


GERMAN = """\
ID;Vollständiger Name;E-Mail-Adresse;Status;Bewertung;Bestwertung
Teilnehmer/in40211;Ana Brito;ana@uni.example;Zur Bewertung abgegeben;;25,00
"""


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (GERMAN, "columns are ID, Vollständiger Name, .*set your language in Moodle to English"),
        ("login,name\nzoe,Zoe Zander\n", "none of the 1 students .* columns are login, name. Needed is"),
    ],
)
def test_a_list_of_another_class_or_language_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(GradeError, match=sentence):
        gradebooks.acquainted(roster(tmp_path, text), [Who("moodle:40211", "Ana Brito", moodle="40211")])


def test_a_list_that_has_one_of_the_students_is_taken(tmp_path: Path) -> None:
    gradebooks.acquainted(roster(tmp_path, CANVAS), [NOOR, Who("z", "Zoe")])


def test_the_list_tells_name_login_and_address_where_the_submission_does_not(tmp_path: Path) -> None:
    list_ = roster(tmp_path, "login,name,email\nnoor.h,Noor Haddad,n@x.org\n")
    assert list_.completed(Who("moodle:1", "Noor Haddad")) == Who("moodle:1", "Noor Haddad", "noor.h", "n@x.org")
    assert list_.completed(Who("noor.h", "noor.h", login="other")).login == "other"
    assert list_.completed(Who("z", "Zoe")) == Who("z", "Zoe")


# -- our own tables, nbgrader, Gradescope -------------------------------------------------------------------------


def test_the_plain_table_has_a_column_for_each_exercise_and_question(tmp_path: Path) -> None:
    tables, _ = written(tmp_path, [grade(Who("noor", "Noor Haddad"))])
    row = dict(zip(*tables["grades.csv"], strict=True))
    assert (row["points"], row["of"], row["questions right"], row["05.1"], row["05.2"]) == ("6", "11", "1", "6", "0")
    assert (tmp_path / "out" / "grades.csv").read_bytes().startswith(b"\xef\xbb\xbf")  # so that Excel reads names


def test_nbgrader_gets_its_own_columns(tmp_path: Path) -> None:
    tables, _ = written(tmp_path, [grade(Who("k", "Noor Haddad", login="noor")), grade(Who("moodle:7", "Liam"))])
    columns = "assignment duedate timestamp student_id last_name first_name email raw_score late_submission_penalty"
    assert tables["nbgrader.csv"][0] == [*columns.split(), "score", "max_score"]
    row = dict(zip(*tables["nbgrader.csv"][:2], strict=True))
    assert (row["assignment"], row["student_id"], row["score"], row["max_score"]) == (
        "05_induction_heads",
        "noor",
        "6.0",
        "11.0",
    )
    assert tables["nbgrader.csv"][2][3] == "Liam"  # where nothing tells a login


def test_nbgrader_never_gets_two_students_under_one_id(tmp_path: Path) -> None:
    three = [Who("moodle:7", "Li Wei"), Who("moodle:8", "Li Wei"), Who("ana.brito", "Ana Brito", email="a@x.org")]
    tables, _ = written(tmp_path, [grade(who) for who in three])
    assert [row[3] for row in tables["nbgrader.csv"][1:]] == ["moodle:7", "moodle:8", "ana.brito"]
    head, *rows = tables["grades.csv"]
    assert [row[head.index("key")] for row in rows] == ["moodle:7", "moodle:8", "ana.brito"]
    assert [row[head.index("email")] for row in rows] == ["", "", "a@x.org"]


def test_gradescope_gets_a_test_for_each_exercise(tmp_path: Path) -> None:
    one = grade(Who("noor", "Noor Haddad"), unsafe=True)
    written(tmp_path, [one])
    (file,) = (tmp_path / "out" / "gradescope").rglob("results.json")
    assert file.parent.name == f"{BATCH.file_name(one.student)}-05"
    results = json.loads(file.read_text())
    assert results["score"] == 6
    assert [(test["number"], test["score"], test["max_score"]) for test in results["tests"]] == [
        ("05.1", 6, 6),
        ("05.2", 0, 5),
    ]
    assert "the sign is turned" in results["tests"][1]["output"]
    assert "without a sandbox" in results["output"]


def test_unsafe_is_in_every_gradebook_or_in_its_name(tmp_path: Path) -> None:
    one = grade(NOOR, unsafe=True)
    canvas, _ = written(tmp_path / "a", [one], roster(tmp_path, CANVAS))
    assert set(canvas) == {"grades.csv", "unsafe-canvas.csv", "unsafe-nbgrader.csv"}
    assert "without a sandbox" in " ".join(canvas["grades.csv"][1])
    moodle, _ = written(tmp_path / "b", [grade(Who("9001", "n", moodle="9001"), unsafe=True)], roster(tmp_path, MOODLE))
    assert "without a sandbox" in moodle["moodle.csv"][1][9]


@pytest.mark.parametrize("active", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_becomes_a_formula(tmp_path: Path, active: str) -> None:
    assert safe(active) == "'" + active.replace("\t", " ").replace("\r", " ").replace("\n", " ")
    one = grade(Who(active, active, login=active), source=active, flags=(active,))
    tables, _ = written(tmp_path, [one])
    for table in tables.values():
        assert not [cell for row in table for cell in row if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=30))
def test_any_name_makes_a_table_that_reads_back(name: str) -> None:
    with TemporaryDirectory() as folder:
        tables, _ = written(Path(folder), [grade(Who("k", name), source=name)])
    assert [len({len(row) for row in table}) for table in tables.values()] == [1, 1]
    assert all(len(table) == 2 for table in tables.values())
