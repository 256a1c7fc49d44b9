"""A grade as data: what comes back from a file is what was written, and nothing else comes back."""

import dataclasses
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from interpwidgets.course import registry
from interpwidgets.course.check import judge
from interpwidgets.grading.grades import Batch, Grade, GradeError, Mark, Reply, Slip, Who, mark_of, replies, write_whole

SLIP = Slip("the sign is turned", "You take early minus late.", "Next: name the two positions.")
MARKS = (
    Mark("05.1", "repeat_tokens", "Twice", 1, 1, "passed", "All 6 cases agree.", 11),
    Mark(
        "05.2",
        "loss_by_position",
        "Loss",
        2,
        0,
        "differs",
        "4 of 8 values differ.",
        12,
        ("shape",),
        "values",
        "smallest",
    ),
    Mark(
        "05.3", "score", "Back", 2, 0, "stopped", "NameError.", 13, error="NameError: x", lines=((3, "return x"),), at=3
    ),
    Mark("05.4", "other", "Other", 2, 0, "differs", "8 of 8 differ.", 14, mistake=SLIP, picture="<div>&lt;b&gt;</div>"),
)


def made(**changes: Any) -> Grade:
    plain = Grade(Who("k", "Noor Haddad"), "05", "Induction", "noor.ipynb", "ab" * 32, "batch", marks=MARKS)
    plain = dataclasses.replace(plain, replies=(Reply("05.A", "Loss", 1, 1, "4.16", "Yes."),), flags=("a", "b"))
    return dataclasses.replace(plain, **changes)


# -- JSON ---------------------------------------------------------------------------------------------------------


def test_a_grade_comes_back_from_its_file_as_it_was(tmp_path: Path) -> None:
    grade = made(seconds=1.25, unsafe=True, late=True, when="2026-11-20T14:05:00+00:00")
    grade.write(tmp_path / "g.json")
    assert Grade.read(tmp_path / "g.json") == grade
    assert (grade.earned, grade.points) == (1, 7)


@settings(max_examples=50, deadline=None)
@given(name=st.text(), flag=st.text(), given_=st.text())
def test_any_text_survives_the_way_through_json(name: str, flag: str, given_: str) -> None:
    grade = made(student=Who("k", name), flags=(flag,), replies=(Reply("05.A", "t", 1, 0, given_),))
    assert Grade.from_json(grade.as_json()) == grade


def test_the_text_of_a_grade_is_plain_ascii_on_one_line() -> None:
    told = made(student=Who("k", "Zoë\n\u202e\ud800")).as_json()
    assert told.isascii()
    assert "\n" not in told


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("late",), 1),
        (("seconds",), "1"),
        (("seconds",), True),
        (("flags",), "a"),
        (("flags",), [1]),
        (("student",), None),
        (("student", "name"), None),
        (("marks", 0, "points"), 1.0),
        (("marks", 0, "state"), "excellent"),
        (("marks", 2, "lines"), [[3]]),
        (("marks", 3, "mistake"), "sign"),
        (("marks", 0, "earned"), 5),  # more than there is
        (("marks", 1, "earned"), 2),  # points without a pass
        (("format",), 99),
    ],
)
def test_a_grade_that_was_tampered_with_is_refused_in_a_sentence(where: tuple[Any, ...], value: Any) -> None:
    data = json.loads(made().as_json())
    place = data
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    with pytest.raises(GradeError, match="grade"):
        Grade.from_json(json.dumps(data))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', "[" * 100_000, '{"format": NaN}'])
def test_what_is_no_grade_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(GradeError, match="grade"):
        Grade.from_json(text)


def test_a_field_too_many_or_too_few_is_refused() -> None:
    data = json.loads(made().as_json())
    with pytest.raises(GradeError, match=r"grade\.bonus` is unknown"):
        Grade.from_json(json.dumps({**data, "bonus": 3}))
    del data["late"]
    with pytest.raises(GradeError, match=r"grade\.late` is missing"):
        Grade.from_json(json.dumps(data))


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "g.json"
    write_whole(file, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(file, b"new")
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


# -- the batch ----------------------------------------------------------------------------------------------------


def test_a_secret_is_for_its_owner_alone_and_stays_the_same(tmp_path: Path) -> None:
    batch = Batch.at(tmp_path / "out", "class.zip")
    assert stat.S_IMODE((tmp_path / "out" / ".batch").stat().st_mode) == 0o600
    assert Batch.at(tmp_path / "out", "class.zip") == batch
    assert batch.secret.hex() not in repr(batch)


def test_inputs_are_the_same_on_a_retry_and_fresh_for_each_student_exercise_and_batch(tmp_path: Path) -> None:
    one, other = Batch.at(tmp_path / "a", "x"), Batch.at(tmp_path / "b", "x")
    assert one.seed("noor", "05.4") == Batch.at(tmp_path / "a", "x").seed("noor", "05.4")
    seeds = [one.seed("noor", "05.4"), one.seed("noor", "05.5"), one.seed("liam", "05.4"), other.seed("noor", "05.4")]
    seeds += [one.seed("noor0", "5.4")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda out: out.write_text("x"), "is a file"),
        (lambda out: (out.mkdir(), (out / "thesis.tex").write_text("x")), "is not empty"),
        (lambda out: (out.mkdir(), (out / ".batch").write_text("{")), "cannot be read"),
        (lambda out: Batch.at(out, "other.zip"), "holds the grades of other.zip"),
    ],
)
def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path, spoil: Any, sentence: str) -> None:
    out = tmp_path / "out"
    spoil(out)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(GradeError, match=sentence):
        Batch.at(out, "class.zip")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=300), st.text(max_size=30), st.text(max_size=30))
def test_the_file_of_a_student_has_a_safe_name_of_its_own(name: str, key: str, other: str) -> None:
    batch = Batch("id", "x", b"secret" * 6)
    file = batch.file_name(Who(key, name))
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", file)
    assert len(file) < 60
    assert (file == batch.file_name(Who(other, name))) == (key == other)
    assert file != Batch("id", "x", b"secre!" * 6).file_name(Who(key, name))  # nobody can work it out


# -- from a verdict -----------------------------------------------------------------------------------------------

EXERCISE = registry.exercise("05.5")


def unstarted(pattern: Any, period: int) -> Any:
    raise NotImplementedError


def stops(pattern: Any, period: int) -> Any:
    return pattern[1_000_000]


def differs(pattern: Any, period: int) -> Any:
    return EXERCISE.reference(pattern, period) + 0.25


@pytest.mark.parametrize(
    ("answer", "state", "earned"),
    [(EXERCISE.reference, "passed", 2), (differs, "differs", 0), (stops, "stopped", 0), (unstarted, "unstarted", 0)],
)
def test_a_mark_says_what_the_verdict_says(answer: Any, state: str, earned: int) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    mark = mark_of(judge(EXERCISE, answer, extras=False), 99)
    torch.set_num_threads(threads)
    assert (mark.state, mark.earned, mark.points, mark.seed) == (state, earned, 2, 99)
    assert ("iwr-panels" in mark.picture) == (state == "differs")
    assert bool(mark.error) == (state == "stopped")
    assert Grade.from_json(made(marks=(mark,)).as_json()).marks == (mark,)


def test_a_known_mistake_is_kept_with_its_sentence_and_what_to_do_next() -> None:
    mistake = EXERCISE.mistakes[0]
    mark = mark_of(judge(EXERCISE, mistake.answer, extras=False), 1)
    assert mark.mistake == Slip(mistake.name, mistake.sentence, mistake.next)


def test_an_answer_that_is_not_there_is_told_apart_from_one_not_started() -> None:
    verdict = judge(EXERCISE, unstarted, extras=False)
    assert mark_of(verdict, 1, missing=True).state == "missing"


def test_questions_are_judged_as_the_course_does_and_remember_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from interpwidgets.course import progress

    monkeypatch.setattr(progress, "note", lambda *_: pytest.fail("a grade is no try of the teacher's"))
    questions = registry.chapter("05").questions
    found = replies(questions, {"05.A": 4.16, "05.B": "2", "05.C": None})
    assert [one.earned for one in found] == [1, 0, 0]
    assert [bool(one.given) for one in found] == [True, True, False]
    assert "numbered 1 to" in found[1].said
