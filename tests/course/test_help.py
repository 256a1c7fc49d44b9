"""Hints one at a time, solutions after a few tries, questions that keep their options."""

from types import ModuleType

import pytest

from interpwidgets.course import CourseError
from interpwidgets.course.check import check
from interpwidgets.course.hints import hint, reset, solution
from interpwidgets.course.questions import answer, ask


def test_hints_open_one_at_a_time_and_stay_open(toys: ModuleType) -> None:
    assert list(hint("97.1").hints) == ["Think of `averages`."]
    second = hint("97.1")
    assert len(second.hints) == 2
    assert 'hint("97.1")' in repr(second)
    assert "<code>averages</code>" in second._repr_mimebundle_()["text/html"]
    assert len(hint("97.1").hints) == len(hint("97.1").hints) == 3
    assert "&lt;b&gt;the last axis" in hint("97.1")._repr_mimebundle_()["text/html"]


def test_the_solution_opens_after_three_tries(toys: ModuleType) -> None:
    for left in ("after 3 more tries", "after 2 more tries", "after 1 more try"):
        assert left in repr(solution("97.1"))
        assert not solution("97.1").solution
        check("97.1", lambda scores: scores.sum(-1))
    assert "scores.mean(-1)" in solution("97.1").solution


def test_the_solution_opens_after_a_pass_and_a_stub_is_no_try(toys: ModuleType) -> None:
    def stub(scores: object) -> None:
        raise NotImplementedError

    for _ in range(4):
        assert check("97.1", stub).tries == 0
    assert "after 3 more tries" in repr(solution("97.1"))
    check("97.1", lambda scores: scores.mean(-1))
    assert solution("97.1").solution.startswith("def row_means")


def test_reset_starts_over(toys: ModuleType) -> None:
    hint("97.1")
    assert check("97.1", lambda scores: scores.sum(-1)).hints == 1
    reset("97.1")
    verdict = check("97.1", lambda scores: scores.sum(-1))
    assert (verdict.tries, verdict.hints) == (1, 0)


def test_a_question_keeps_its_options_and_tells_the_reason_in_the_chosen_one(toys: ModuleType) -> None:
    assert "2  It grows" in repr(ask("97.A"))
    assert "Look once more" not in repr(ask("97.A"))
    first, second = answer("97.A", 1), answer("97.A", 2)
    assert (first.right, first.points, second.right, second.points) == (False, 0, True, 1)
    assert "Not yet. Look once more." in repr(first)
    assert "Right. By one." in repr(second)
    assert "Right. Right." not in repr(second)
    for shown in (first, second):
        html = shown._repr_mimebundle_()["text/html"]
        assert "Nothing" in html
        assert "It grows" in html
        assert "&lt;i&gt;x" in html


def test_numbers_are_right_within_a_little_and_slips_are_told(toys: ModuleType) -> None:
    assert answer("97.B", 4.158).right
    assert answer("97.B", 6).said == "That is in bits."
    assert not answer("97.B", 5.0).right
    assert answer("97.B", 5.0).tries == 4


@pytest.mark.parametrize("given", ["two", 0, 3, None, True, 1.5])
def test_what_is_no_option_gets_one_sentence_and_is_no_try(toys: ModuleType, given: object) -> None:
    asked = answer("97.A", given)
    assert asked.said.startswith("The options are numbered 1 to 2")
    assert asked.tries == 0


@pytest.mark.parametrize("given", ["4", None, float("nan"), [1], True])
def test_what_is_no_number_gets_one_sentence(toys: ModuleType, given: object) -> None:
    assert answer("97.B", given).said.startswith("The answer is a number, in nats")


def test_three_dots_show_the_question(toys: ModuleType) -> None:
    assert answer("97.A", ...).given is None
    assert answer("97.A", ...).tries == 0


def test_an_unknown_question_gets_the_nearest(toys: ModuleType) -> None:
    with pytest.raises(CourseError, match=r"There is no question .97\.C.\. The nearest is"):
        ask("97.C")
