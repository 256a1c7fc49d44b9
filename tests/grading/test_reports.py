"""The class report and the feedback pages as documents: what they say, and that nothing in them can do anything."""

import dataclasses
import random
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interpwidgets.grading.class_report import Notes, class_report
from interpwidgets.grading.feedback import feedback, opened
from interpwidgets.grading.grades import Grade, Mark, Reply, Slip, State, Who
from interpwidgets.grading.statistics import correlation, items, question_items, slips

SIGN = Slip("the sign is turned", "You take early minus late.", "Next: name the two positions.")
HOSTILE = "</style><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x00{{7*7}}"


def mark(number: int, state: State, **more: Any) -> Mark:
    earned = 2 if state == "passed" else 0
    return Mark(f"05.{number}", f"function_{number}", "Title", 2, earned, state, "A fact.", number, **more)


def grade(name: str, states: str, **more: Any) -> Grade:
    """``pdsu``: passed, differs, stopped, unstarted, and ``k`` for a known mistake."""
    word: dict[str, State] = {"p": "passed", "d": "differs", "s": "stopped", "u": "unstarted", "k": "differs"}
    marks = tuple(mark(at, word[one], mistake=SIGN if one == "k" else None) for at, one in enumerate(states, 1))
    asked = (Reply("05.A", "The loss", 1, 1, "4.16", "Right."), Reply("05.B", "The head", 1, 0))
    plain = Grade(
        Who(name, name), "05", "Induction heads", f"{name}.ipynb", "0" * 64, "batch1", marks=marks, replies=asked
    )
    return dataclasses.replace(plain, when="2026-11-20T14:05:00+00:00", **more)


NOTES = Notes("batch1", "0.1.0")


def report(*grades: Grade, notes: Notes = NOTES) -> str:
    return class_report(grades, notes, lambda student: "")


class Reader(HTMLParser):
    """Collects what a page holds: its tags with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def handle_data(self, data: str) -> None:
        self.text += data


def plain(page: str) -> str:
    return re.sub(r"\s+", " ", Reader(re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)).text)


def harmless(page: str) -> None:
    """No script, no request, no handler, and a policy that would stop them."""
    read = Reader(page)
    assert {tag for tag, _ in read.tags}.isdisjoint({"script", "iframe", "object", "embed", "form", "link", "base"})
    for tag, attributes in read.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert all(
            (attributes.get(name) or "").startswith(("data:", "#", "feedback/"))
            for name in ("src", "href")
            if name in attributes
        )
    policy = next(attributes["content"] for _, attributes in read.tags if attributes.get("http-equiv"))
    assert policy
    assert "default-src 'none'" in policy
    assert "script" not in policy


# -- figures ------------------------------------------------------------------------------------------------------


def test_counts_are_by_state() -> None:
    found = items([grade("a", "pp"), grade("b", "pd"), grade("c", "ss"), grade("d", "pu")])
    assert [(one.passed, one.tried, one.stopped, one.open) for one in found] == [(3, 1, 1, 0), (1, 2, 1, 1)]
    assert [one.share for one in found] == [75, 25]


def test_an_exercise_that_the_strong_pass_sorts_the_class_and_one_they_fail_is_to_be_looked_at() -> None:
    class_ = [grade(f"s{at}", ("pppp" if at < 10 else "uuuu") + ("u" if at < 10 else "p")) for at in range(20)]
    found = items(class_)
    assert found[0].words == "sorts the class"
    assert "look at it" in found[4].words


def test_few_students_are_no_ground_for_a_word() -> None:
    few = [grade(f"s{at}", "pp" if at < 9 else "uu") for at in range(19)]
    assert items(few)[0].words == ""
    assert items([*few, grade("last", "uu")])[0].words == "sorts the class"


def test_a_column_that_is_the_same_for_all_has_no_correlation() -> None:
    assert correlation([1, 1, 1], [1, 2, 3]) is None
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert correlation([1, 2, 3], [6, 4, 2]) == pytest.approx(-1)


def test_mistakes_are_counted_by_students_the_most_frequent_first() -> None:
    found = slips([grade("a", "kp"), grade("b", "kk"), grade("c", "dk"), grade("d", "ku")])
    assert [(one.id, one.students) for one in found] == [("05.1", 3), ("05.2", 2)]


def test_questions_are_counted_apart() -> None:
    found = question_items([grade("a", "p"), grade("b", "p")])
    assert [(one.id, one.passed, one.tried, one.open) for one in found] == [("05.A", 2, 0, 0), ("05.B", 0, 0, 2)]
    assert grade("a", "pp").points == 4


# -- the class report ---------------------------------------------------------------------------------------------


def test_students_stand_in_the_order_of_their_points() -> None:
    page = report(grade("Low", "uuu"), grade("High", "ppp"), grade("Mid", "puu"))
    assert page.index("High") < page.index("Mid") < page.index("Low")
    assert page.count('scope="row"') == 3 + 3 + 2  # students, exercises, questions


def test_the_most_frequent_mistake_comes_with_one_thing_to_do() -> None:
    told = plain(report(grade("a", "k"), grade("b", "k"), grade("c", "p")))
    assert "For the next lesson: 2 of 3 made the same known mistake in 05.1, the sign is turned." in told
    assert "They read: “You take early minus late.”" in told
    assert "A question to ask them: name the two positions." in told


def test_a_mistake_of_one_student_is_no_lesson_and_the_exercise_in_which_most_got_stuck_is() -> None:
    told = plain(report(grade("a", "kps"), grade("b", "pps"), grade("c", "ppp")))
    assert "For the next lesson: 05.3 function_3. 2 of 3 tried it and did not pass" in told
    assert "You take early minus late." not in told
    assert "For the next lesson" not in plain(report(grade("a", "pu"), grade("b", "pp")))


def test_every_column_of_the_points_is_named_in_the_same_way() -> None:
    many = [grade("a", "p" * 12 + "u"), grade("b", "u" * 13), grade("c", "p" * 13)]  # 26 points
    page = report(*many)
    assert "Students by points: 1 with 0 to 3, 2 with 24 to 26" in page
    assert re.findall(r"<text[^>]*>(\d+–\d+)", page) == ["0–3", "4–7", "8–11", "12–15", "16–19", "20–23", "24–26"]


def test_flags_and_lateness_are_told_and_take_no_points() -> None:
    told = plain(report(grade("Ann", "pp", flags=("A check cell was edited.",), late=True)))
    assert "A check cell was edited." in told
    assert "Handed in late." in told
    assert "A flag is a question, not a verdict." in told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("No end: stopped after 10 seconds", True),
        ("SystemExit: it ended Python, with the code 0", True),
        ("Killed: it hung up", True),
        ("MemoryError", True),
        ("NameError: name 'x' is not defined", False),
        ("ZeroDivisionError: division by zero", False),
        ("IndexError: 3", False),
    ],
)
def test_code_that_ended_as_mistakes_seldom_do_is_told_to_the_teacher(error: str, told: bool) -> None:
    one = dataclasses.replace(grade("Ann", "p"), marks=(mark(1, "passed"), mark(2, "stopped", error=error)))
    assert (f"05.2: {error}" in plain(report(one))) == told


def test_what_could_not_be_graded_stands_with_its_reason_and_in_no_mean() -> None:
    lost = Grade(Who("x", "Max"), "", "", "max.pdf", "", "batch1", trouble="The file is no notebook.")
    told = plain(report(grade("Ann", "pp"), lost))
    assert "Max max.pdfThe file is no notebook." in told
    assert told.index("The file is no notebook.") < told.index("students who passed each")
    assert "mean 4.0 of 4" in told
    assert "1 of 2 graded" in told


def test_other_files_are_those_of_which_nothing_else_is_said() -> None:
    lost = Grade(Who("x", "Max"), "", "", "max.pdf", "", "batch1", trouble="The file is no notebook.")
    files = [("max.pdf", "no notebook"), ("Ann/timestamp.txt", "no notebook"), ("notes.txt", "no notebook")]
    told = plain(report(grade("Ann", "pp"), lost, notes=Notes("b", "0.1.0", files=files)))
    assert "1 other file seen" in told
    assert "notes.txt" in told
    assert told.count("max.pdf") == 1
    assert "timestamp.txt" not in told


def test_who_handed_in_nothing_is_named() -> None:
    told = plain(report(grade("Ann", "p"), notes=Notes("b", "0.1.0", missing={"05": ["Tom Ford"]})))
    assert "Nothing handed in" in told
    assert "Tom Ford" in told


def test_unsafe_is_on_every_page() -> None:
    one = grade("Ann", "p", unsafe=True)
    assert "without a sandbox" in plain(report(one))
    assert "without a sandbox, so these points can be forged" in plain(feedback([one]))
    assert "sandbox on" not in plain(report(one))


def test_two_students_of_one_name_are_told_apart() -> None:
    one, other = (dataclasses.replace(grade("x", "p"), student=Who(key, "Ann Lee")) for key in ("ann1", "ann2"))
    told = plain(report(one, other))
    assert "ann1" in told
    assert "ann2" in told


def test_several_chapters_stand_apart() -> None:
    second = dataclasses.replace(grade("Ann", "p"), chapter="02", title="The stream")
    told = plain(report(grade("Ann", "p"), second))
    assert "2 chapters" in told
    assert "1 student " in told
    assert "02 The stream" in told
    assert "05 Induction heads" in told


def test_a_class_in_which_nothing_could_be_graded_still_has_a_report() -> None:
    lost = Grade(Who("x", "Max"), "", "", "max.pdf", "", "batch1", trouble="The file is no notebook.")
    assert "0 of 1 graded" in plain(report(lost))
    assert "0 of 0 graded" in plain(report())


def test_hundreds_of_students_make_a_page_of_bounded_size() -> None:
    rng = random.Random(0)
    class_ = [grade(f"Student {at}", "".join(rng.choice("pdsuk") for _ in range(13))) for at in range(300)]
    assert len(report(*class_)) < 700_000


# -- feedback -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ("ppp", "You can write every function"),
        ("pdu", "You can write `function_1`: it agrees"),
        ("pkd", "a known mistake explains the difference"),
        ("pud", "go on with 05.3"),
        ("ppu", "begin with 05.3"),
        ("uuu", "Nothing is started yet. That is where everyone starts. Begin with 05.1"),
        ("udk", "Go on with 05.2 `function_2`, where you have begun."),
        ("dsu", "You have begun 2 exercises of 3."),
        ("pppppd", "`function_1`, `function_2`, `function_3` and 2 more functions"),
    ],
)
def test_a_page_opens_with_what_the_student_can_do(states: str, words: str) -> None:
    assert words in opened(grade("Ann", states))


def test_each_exercise_says_what_is_known_and_what_comes_next() -> None:
    stop = mark(2, "stopped", error="NameError: name 'x' is not defined", lines=((4, "    return x"),), at=4)
    wrong = mark(
        3, "differs", held=("signature", "shape"), case="the smallest", picture='<div class="iwr-panels">here</div>'
    )
    one = dataclasses.replace(
        grade("Ann", "k"), marks=(mark(1, "differs", mistake=SIGN), stop, wrong, mark(4, "unstarted"))
    )
    told = plain(feedback([one]))
    assert "Known mistake: the sign is turned. You take early minus late." in told
    assert "Next: name the two positions." in told
    assert "NameError: name 'x' is not defined" in told
    assert "return x" in told
    assert "Stopped A fact." in told
    assert "2 properties hold. A fact." in told
    assert "here" in told
    assert "Not started." in told
    assert "05.A The loss" in told
    assert "1 of 1, apart" in told


def test_the_next_step_says_how_to_see_the_case_where_values_differ_and_nothing_where_none_came() -> None:
    differs = mark(1, "differs", case="two rows", broken="values, within 10⁻⁵")
    nothing = mark(2, "differs", case="two rows", broken="type")
    told = plain(feedback([dataclasses.replace(grade("Ann", "p"), marks=(differs, nothing))]))
    assert 'Next: run check("05.1", function_1) in the notebook: it shows this case, “two rows”.' in told
    assert told.count("Next:") == 1


def test_errors_are_told_in_words_that_a_person_can_use() -> None:
    package = mark(1, "stopped", error="ModuleNotFoundError: No module named 'seaborn'", next="print something.")
    memory = mark(2, "stopped", error="RuntimeError: can't allocate memory: you tried to allocate 171798691840 bytes.")
    told = plain(feedback([dataclasses.replace(grade("Ann", "p"), marks=(package, memory))]))
    assert "seaborn is not there when answers are graded" in told
    assert "RuntimeError: it asks for 171.8 GB of memory at once" in told


def test_stress_is_shown_as_stress_and_code_keeps_its_asterisks() -> None:
    sign = dataclasses.replace(SIGN, sentence="After each *layer* is asked, `a*b*c` and 2 * 3 * 4.")
    page = feedback([dataclasses.replace(grade("Ann", "p"), marks=(mark(1, "differs", mistake=sign),))])
    assert "After each <em>layer</em> is asked, <code>a*b*c</code> and 2 * 3 * 4." in page


def test_a_student_reads_no_path_of_the_teacher_and_no_comfort_where_points_were_lost() -> None:
    other = "There is another notebook of chapter 05 (class.zip/Ann_7_file/05_heads.ipynb); the newest counts."
    told = plain(feedback([grade("Ann", "p", flags=(other,))]))
    assert "another notebook of chapter 05 (05_heads.ipynb)" in told
    assert "No points were taken away." in told
    broken = grade("Ann", "ps", flags=("The cell of 05.2 was left out: line 1: invalid syntax.",))
    assert "No points were taken away." not in plain(feedback([broken]))


def test_the_answer_to_a_question_that_was_missed_is_never_given_away() -> None:
    assert "Not answered." in plain(feedback([grade("Ann", "p")]))


def test_a_notebook_that_could_not_be_read_gets_a_page_that_says_so() -> None:
    lost = Grade(Who("x", "Max"), "05", "Induction", "m.ipynb", "", "b", trouble="The file is empty: save it again.")
    told = plain(feedback([lost]))
    assert "The file is empty: save it again.Next: hand in the notebook itself, the file that ends in .ipynb." in told
    assert "m.ipynb" not in told


def test_one_student_with_two_chapters_has_one_page() -> None:
    second = dataclasses.replace(grade("Ann", "p"), chapter="02", title="The stream")
    page = feedback([second, grade("Ann", "p")])
    assert page.count("<h1>") == 1
    assert "02 The stream" in page


# -- nothing in a page can do anything ----------------------------------------------------------------------------


def hostile(text: str) -> Grade:
    stop = mark(2, "stopped", error=text, lines=((1, text),), at=1, sentences=(text,))
    wrong = mark(3, "differs", sentences=(text,), next=text, case=text)
    marks = (dataclasses.replace(mark(1, "differs"), headline=text, held=(text,)), stop, wrong)
    student = Who(text, text, login=text)
    asked = (Reply("05.A", "The loss", 1, 0, text, text),)
    one = Grade(student, "05", "Induction", text, "0" * 64, "b", marks=marks, replies=asked, flags=(text,), late=True)
    return dataclasses.replace(one, when=text)


def test_nothing_that_a_student_writes_becomes_markup() -> None:
    one = hostile(HOSTILE)
    lost = dataclasses.replace(one, marks=(), trouble=HOSTILE)
    notes = Notes("b", "0.1.0", missing={"05": [HOSTILE]}, files=[(HOSTILE, HOSTILE)], gradebooks=[HOSTILE])
    for page in (feedback([one]), feedback([lost]), report(one, one, lost, notes=notes)):
        harmless(page)
        assert "\x00" not in page
        assert "alert(1)" in plain(page)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=40))
def test_no_text_at_all_becomes_markup(text: str) -> None:
    one = hostile(text)
    clean = hostile("x")
    most = len(Reader(feedback([clean])).tags) + 2 * (text.count("`") + text.count("*")) * 8
    assert len(Reader(feedback([one])).tags) <= most
    harmless(feedback([one]))
    harmless(report(one))
    feedback([one]).encode("utf-8")  # whatever was in it, it can be written
    report(one).encode("utf-8")
