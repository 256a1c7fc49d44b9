"""Every kind of wrong answer gets its own sentence, none passes, and the process lives on as it was."""

import signal
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interpwidgets.course import CourseError
from interpwidgets.course.check import check, judge
from interpwidgets.course.exercise import Case, Exercise, Mistake, Property
from interpwidgets.course.questions import ask
from interpwidgets.course.verdict import Verdict


def said(verdict: Verdict) -> str:
    """All that a learner reads, in one line."""
    return " ".join(repr(verdict).split())


def example(reference: Callable[..., Any], *values: Any, **more: Any) -> Exercise:
    """An exercise with one case for each tuple of arguments."""
    cases = [Case(f"case {n}", lambda seed, device, given=given: given) for n, given in enumerate(values, 1)]
    settings: dict[str, Any] = {"mistakes": [], "hints": ["a", "b", "c"], "first_step": "look.", **more}
    return Exercise(
        id="97.9", title="x", points=1, minutes=1, lines=(1, 1), reference=reference, cases=cases, **settings
    )


# -- answers ------------------------------------------------------------------------------------------------------


def right(scores: Tensor) -> Tensor:
    return scores.mean(-1)


def stub(scores: Tensor) -> Tensor:
    raise NotImplementedError


def relies_on_stub(scores: Tensor) -> Tensor:
    return stub(scores) / 2


def forgets_return(scores: Tensor) -> None:
    scores.mean(-1)


def endless(scores: Tensor) -> Tensor:
    while True:
        pass


def reads_too_far(scores: Tensor) -> Tensor:
    row = scores.mean(-1)
    return row[10]


def in_place(scores: Tensor) -> Tensor:
    scores /= scores.shape[-1]
    return scores.sum(-1)


def restores_nothing(scores: Tensor) -> Tensor:
    scores.data.zero_()
    return torch.tensor([2.0, 6.0])


def leaves(scores: Tensor) -> Tensor:
    raise SystemExit(0)


class LiesAboutEquality(Tensor):
    def __eq__(self, other: object) -> Any:
        return True

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return torch.tensor(True)


WRONG: list[tuple[str, Any, str]] = [
    ("not started", stub, "The cell still raises NotImplementedError. That is where everyone starts."),
    ("another's stub", relies_on_stub, "Your function calls `stub`, which still raises NotImplementedError"),
    ("None", forgets_return, "returns None; a tensor is asked. Does its last line say return?"),
    ("an exception", reads_too_far, "Dimension 0 has 2 entries, so its last index is 1; your code asks for 10."),
    ("numpy", lambda scores: scores.mean(-1).numpy(), "a numpy array; a tensor is asked"),
    ("a list", lambda scores: [0.0, 1.0], "returns a list; a tensor is asked"),
    ("a float", lambda scores: 2.0, "returns a float; a tensor is asked"),
    ("a function", lambda scores: scores.mean, "Is a pair of parentheses missing"),
    ("sparse", lambda scores: scores.mean(-1).to_sparse(), "a sparse tensor; a dense one is asked"),
    ("a subclass", lambda scores: torch.ones(2).as_subclass(LiesAboutEquality), "a LiesAboutEquality; a tensor"),
    ("an extra axis", lambda scores: scores.mean(-1, keepdim=True), "One axis too many"),
    ("a missing axis", lambda scores: scores.mean(), "One axis is missing"),
    ("another length", lambda scores: torch.zeros(7), "One axis has another length"),
    ("another dtype", lambda scores: scores.mean(-1).double(), "holds float64; float32 is asked"),
    ("whole numbers", lambda scores: scores.mean(-1).long(), "holds int64; float32 is asked"),
    ("another device", lambda scores: scores.mean(-1).to("meta"), "is on meta; the input is on cpu"),
    ("NaN", lambda scores: scores.mean(-1) * float("nan"), "NaN comes from 0 / 0"),
    ("infinity", lambda scores: scores.mean(-1) / 0, "Infinity comes from a division by zero"),
    ("in place", in_place, "After the call, `scores` is not what it was"),
    ("behind torch's back", restores_nothing, "After the call, `scores` is not what it was"),
    ("an offset", lambda scores: scores.mean(-1) + 0.5, "Every one of your values is 0.5 too high"),
    ("exit", leaves, "Your code asks Python to end"),
    ("no function", 3, "check takes the function itself, without parentheses"),
    ("a result", torch.ones(2), "It was given a tensor of shape [2]"),
    ("other parameters", lambda a, b: a, "It is called as `row_means(scores"),
]


@pytest.mark.parametrize(("answer", "sentence"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG])
def test_each_wrong_answer_gets_its_own_sentence(toys: ModuleType, answer: Any, sentence: str) -> None:
    verdict = judge(toys.MEANS, answer)
    assert not verdict.passed
    assert sentence in said(verdict)
    assert "Traceback" not in said(verdict)


def test_a_multiple_is_told_where_three_values_agree_and_two_may_be_chance(toys: ModuleType) -> None:
    twice = judge(toys.OUTER, lambda x: 2 * toys.OUTER.reference(x))
    assert "Every one of your values is 2 times the target" in said(twice)
    assert "times the target" not in said(judge(toys.MEANS, lambda scores: 2 * scores.mean(-1)))


def test_all_those_sentences_differ() -> None:
    assert len({sentence for _, _, sentence in WRONG}) == len(WRONG) - 1  # NaN and friends: two ways to write in place


def test_an_endless_loop_is_ended_and_its_line_is_named(toys: ModuleType) -> None:
    begin = time.monotonic()
    verdict = judge(toys.MEANS, endless, seconds=0.3)
    assert time.monotonic() - begin < 3
    assert verdict.failure
    assert verdict.failure.stop
    assert verdict.failure.stop.message == "stopped after 0.3 seconds"
    assert verdict.failure.stop.at
    assert dict(verdict.failure.stop.lines)[verdict.failure.stop.at].strip() in ("while True:", "pass")
    assert judge(toys.MEANS, right).passed  # and nothing is left ticking
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_a_loop_that_swallows_every_exception_is_ended_too(toys: ModuleType) -> None:
    def stubborn(scores: Tensor) -> Tensor:
        while True:
            try:  # noqa: SIM105  a context manager is another path
                sum(range(100))
            except BaseException:
                pass

    assert "No end: stopped after 0.3 seconds" in said(judge(toys.MEANS, stubborn, seconds=0.3))


def test_outside_the_main_thread_a_loop_is_ended_as_well(toys: ModuleType) -> None:
    verdicts: list[Verdict] = []
    thread = threading.Thread(target=lambda: verdicts.append(judge(toys.MEANS, endless, seconds=0.3)), daemon=True)
    thread.start()
    thread.join(20)
    assert verdicts
    assert "No end: stopped after 0.3 seconds" in said(verdicts[0])


def test_somebody_elses_alarm_still_rings(toys: ModuleType) -> None:
    rung: list[int] = []
    former = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.4)
        judge(toys.MEANS, endless, seconds=0.1)
        time.sleep(0.5)
    finally:
        signal.signal(signal.SIGALRM, former)
    assert rung == [1]


def test_ctrl_c_passes_through(toys: ModuleType) -> None:
    def interrupted(scores: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(toys.MEANS, interrupted)
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


# -- what passes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        right,
        lambda scores, scale=1.0, extra=None: scores.sum(-1) / scores.shape[-1],
        lambda *given: given[0].mean(-1),
        lambda scores: torch.stack([sum(row) / len(row) for row in scores]),
        lambda scores: torch.nn.Parameter(scores.mean(-1)),
        lambda x: x.mean(-1),
    ],
)
def test_a_right_answer_passes_however_it_is_written(toys: ModuleType, answer: Any) -> None:
    verdict = judge(toys.MEANS, answer)
    assert verdict.passed, verdict
    assert "All 5 cases agree" in said(verdict)


def test_a_pass_says_what_it_found_what_it_cost_and_what_is_next(toys: ModuleType) -> None:
    verdict = check("97.1", right)
    assert verdict.points == 2
    assert verdict.found
    assert "All are 0.33." in said(verdict)
    assert verdict.cost
    assert verdict.cost.seconds > 0
    assert "Next: 97.2 pairs" in said(verdict)


def test_a_picture_that_fails_costs_nobody_the_pass(toys: ModuleType) -> None:
    verdict = judge(toys.MEANS, lambda scores: scores.mean(-1) if scores.shape != (3, 3) else 1 / 0)
    assert verdict.passed
    assert verdict.found is None


def test_classes_are_driven(toys: ModuleType) -> None:
    assert judge(toys.ADDER, toys.Adder).passed

    class Unstarted:
        def __init__(self, start: float) -> None:
            raise NotImplementedError

    assert judge(toys.ADDER, Unstarted).state == "unstarted"


# -- comparing ----------------------------------------------------------------------------------------------------


def test_nothing_broadcasts() -> None:
    ones = example(lambda x: torch.ones(2, 3), (torch.zeros(1),), (torch.zeros(2),))
    for value in (torch.ones(1), torch.ones(3), torch.ones(1, 3), torch.tensor(1.0), torch.ones(2, 3, 1)):
        assert not judge(ones, lambda x, value=value: value).passed


def test_small_targets_are_not_met_by_zeros() -> None:
    small = example(lambda x: x * 1e-7, (torch.arange(1.0, 5.0),))
    assert not judge(small, lambda x: x * 0).passed
    assert judge(small, lambda x: x / 1e7).passed


@pytest.mark.parametrize(
    ("dtype", "off", "passes"),
    [
        (torch.float32, 1e-6, True),
        (torch.float32, 1e-4, False),
        (torch.float64, 1e-6, False),
        (torch.bfloat16, 1e-3, True),
        (torch.float16, 0.1, False),
    ],
)
def test_the_tolerance_is_that_of_the_dtype(dtype: torch.dtype, off: float, passes: bool) -> None:
    exercise = example(lambda x: x, (torch.ones(3, dtype=dtype),))
    assert judge(exercise, lambda x: x * (1 + off)).passed == passes


def test_integers_and_truth_values_are_exact() -> None:
    assert not judge(example(lambda x: x, (torch.tensor([10**9]),)), lambda x: x + 1).passed
    assert not judge(example(lambda x: x > 0, (torch.ones(3),)), lambda x: x > 1).passed


def test_nan_and_infinity_are_right_where_they_are_asked() -> None:
    target = torch.tensor([1.0, float("nan"), -float("inf")])
    exercise = example(lambda x: target.clone(), (torch.ones(1),))
    assert judge(exercise, lambda x: target.clone()).passed
    for wrong in ([1.0, 0.0, -float("inf")], [1.0, float("nan"), 5.0], [1.0, float("nan"), float("inf")]):
        assert not judge(exercise, lambda x, wrong=wrong: torch.tensor(wrong)).passed


def test_dicts_lists_and_numbers_are_compared_part_by_part(toys: ModuleType) -> None:
    assert judge(toys.PAIRS, lambda x: {"high": x.amax(-1), "low": x.amin(-1)}).passed
    assert "has no key 'high'" in said(judge(toys.PAIRS, lambda x: {"low": x.amin(-1)}))
    assert "a dict with the keys 'low', 'high' is asked" in said(judge(toys.PAIRS, lambda x: (1, 2)))
    swapped = judge(toys.PAIRS, lambda x: {"high": x.amin(-1), "low": x.amin(-1)})
    assert "result['high'] differ" in said(swapped)
    assert judge(toys.COUNT, lambda x: (x > 0).sum()).passed
    assert judge(toys.COUNT, lambda x: np.int64((x > 0).sum())).passed
    for wrong in (lambda x: True, lambda x: float((x > 0).sum()), lambda x: "2"):
        assert "an int is asked" in said(judge(toys.COUNT, wrong))


def test_axes_in_another_order_are_told_from_other_values(toys: ModuleType) -> None:
    verdict = judge(toys.OUTER, lambda x: (x[:, None] - 2 * x[None, :]).T)
    assert "those asked, with the axes in another order" in said(verdict)
    rectangle = example(lambda x: x, (torch.rand(2, 3),), axes=("layer", "head"))
    verdict = judge(rectangle, lambda x: x.T)
    assert "Two axes are swapped" in said(verdict)
    assert verdict.failure
    assert verdict.failure.chips
    assert [(chip.name, chip.odd) for chip in verdict.failure.chips[1]] == [("head", True), ("layer", True)]


def test_the_report_is_about_the_smallest_failing_case(toys: ModuleType) -> None:
    verdict = judge(toys.MEANS, lambda scores: scores.mean(-1) if len(scores) < 4 else scores.mean(0))
    assert verdict.case == "random numbers, [4, 4]"
    assert "CPU: 4 of 5 cases agree" in said(verdict)


def test_properties_stand_in_order_before_the_values(toys: ModuleType) -> None:
    verdict = judge(toys.MEANS, lambda scores: scores.mean(-1) * 1.5)
    assert list(verdict.held) == [
        "signature", "no exception", "type", "shape [2]", "float32", "device", "finite", "input unchanged",
        "no larger than the largest",
    ]  # fmt: skip
    assert verdict.failure
    assert verdict.failure.property == "values, within 10⁻⁵"


def test_a_promise_of_the_exercise_that_is_broken_says_how() -> None:
    positive = Property("positive", lambda given, result: "Entry 0 is below 0." if result[0] < 0 else None)
    exercise = example(lambda x: x, (torch.ones(2),), properties=[positive])
    assert "Entry 0 is below 0." in said(judge(exercise, lambda x: -x))


def test_the_same_numbers_not_contiguous_in_memory_are_a_case(toys: ModuleType) -> None:
    verdict = judge(toys.MEANS, lambda scores: scores.view(-1).view(scores.shape).mean(-1))
    assert verdict.case == "two rows of three, not contiguous in memory"
    assert "`reshape` does not" in said(verdict)
    seen: list[bool] = []
    judge(toys.MEANS, lambda scores: (seen.append(scores.is_contiguous()), scores.mean(-1))[1], extras=False)
    assert seen[-1] is False


# -- mischief -----------------------------------------------------------------------------------------------------


def test_the_process_is_left_as_it_was(toys: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def messy(scores: Tensor) -> Tensor:
        torch.manual_seed(5)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        print("x" * 100_000)
        return scores.mean(-1)

    state = torch.random.get_rng_state()
    verdict = judge(toys.MEANS, messy)
    assert verdict.passed
    assert torch.equal(state, torch.random.get_rng_state())
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert capsys.readouterr().out == ""


def test_what_it_printed_in_the_failing_case_is_shown(toys: ModuleType) -> None:
    def talks(scores: Tensor) -> Tensor:
        print("shape is", tuple(scores.shape))
        return scores.sum(-1)

    assert "shape is (2, 3)" in judge(toys.MEANS, talks)._repr_mimebundle_()["text/html"]


def test_targets_are_known_before_the_answer_runs() -> None:
    memory = {"factor": 2.0}
    exercise = example(lambda x: memory["factor"] * x, (torch.ones(2),), (torch.arange(3.0),))

    def cheats(x: Tensor) -> Tensor:
        memory["factor"] = 0.0
        return 0 * x

    assert not judge(exercise, cheats).passed


def test_returning_the_same_buffer_every_time_is_judged_call_by_call() -> None:
    buffer = torch.zeros(2)
    exercise = example(lambda x: x * 2, (torch.ones(2),), (torch.full((2,), 3.0),))
    assert judge(exercise, lambda x: buffer.copy_(x * 2)).passed


# -- known mistakes -----------------------------------------------------------------------------------------------


def test_a_known_mistake_is_called_by_its_name(toys: ModuleType) -> None:
    for mistake in toys.MEANS.mistakes:
        verdict = judge(toys.MEANS, mistake.answer)
        assert verdict.mistake is mistake
        assert mistake.sentence in said(verdict)
        assert mistake.next in said(verdict)
    assert judge(toys.MEANS, lambda scores: scores.mean(-1) + 1).mistake is None


def test_the_first_of_two_mistakes_that_fit_is_said() -> None:
    first, second = Mistake("a", lambda x: x + 1, "A.", "a?"), Mistake("b", lambda x: 1 + x, "B.", "b?")
    exercise = example(lambda x: x, (torch.ones(2),), mistakes=[first, second])
    assert judge(exercise, lambda x: x + 1).mistake is first


def test_a_mistake_counts_only_where_it_is_defined() -> None:
    def only_long(x: Tensor) -> Tensor:
        if len(x) < 2:
            raise ValueError
        return x + 1

    mistake = Mistake("one more", only_long, "You add one.", "why?")
    exercise = example(lambda x: x, (torch.ones(1),), (torch.ones(3),), mistakes=[mistake])
    assert judge(exercise, lambda x: x + 1).mistake is mistake
    assert judge(exercise, lambda x: x if len(x) > 1 else x + 1).mistake is None
    assert judge(exercise, only_long).mistake is mistake


def test_a_mistake_in_place_is_not_one_that_only_returns_the_same() -> None:
    mistake = Mistake("in place", lambda x: x.mul_(2), "You write into x.", "look at x.")
    exercise = example(lambda x: 2 * x, (torch.ones(2),), mistakes=[mistake])
    assert judge(exercise, lambda x: x.mul_(2)).mistake is mistake
    assert judge(exercise, lambda x: x.add_(1)).mistake is mistake  # the same in this case
    assert judge(exercise, lambda x: 3 * x).mistake is None


def test_a_mistake_in_another_precision_is_the_same_mistake() -> None:
    mistake = Mistake("doubled", lambda x: 2 * x, "You double.", "look at x.")
    exercise = example(
        lambda x: x, (torch.ones(2),), (torch.full((3,), 1.5, dtype=torch.bfloat16),), mistakes=[mistake]
    )
    assert judge(exercise, lambda x: 2 * x.float()).mistake is mistake
    assert judge(exercise, lambda x: 3 * x.float()).mistake is None


def test_complex_numbers_are_told_from_whole_ones() -> None:
    exercise = example(lambda x: x.sum(), (torch.eye(2),))
    assert ".real takes it" in said(judge(exercise, lambda x: torch.linalg.eigvals(x).sum()))
    assert "Whole numbers" in said(judge(exercise, lambda x: x.sum().long()))


def test_parameters_are_said_without_their_types() -> None:
    def two(x: Tensor, *, deeply: Tensor) -> Tensor:
        return x

    exercise = example(right, (torch.ones(2),))
    assert "It is called as `right(scores)`; yours is `right(x, *, deeply)`." in said(judge(exercise, two))


def test_a_pass_keeps_its_points_when_the_answer_is_changed(toys: ModuleType) -> None:
    assert "0 of 2 points" in said(check("97.1", lambda scores: scores.sum(-1)))
    assert "2 of 2 points" in said(check("97.1", right))
    again = check("97.1", lambda scores: scores.sum(-1))
    assert not again.passed
    assert "2 of 2 points, from an earlier pass" in said(again)


# -- names and modes ----------------------------------------------------------------------------------------------


def test_an_unknown_id_gets_the_nearest_and_the_list(toys: ModuleType) -> None:
    with pytest.raises(CourseError) as error:
        check("97.11", right)
    assert 'The nearest is "97.1"' in str(error.value)
    assert "97.4  A matrix" in str(error.value)
    assert error.value._render_traceback_() == [str(error.value)]
    with pytest.raises(CourseError, match="No chapter 96 has exercises"):
        check("96.1", right)
    with pytest.raises(CourseError, match=r'such as "05\.2"; this is 97\.1'):
        check(97.1, right)  # type: ignore[arg-type]
    with pytest.raises(CourseError, match=r'check needs your function too: check\("97\.1", row_means\)'):
        check("97.1")


def test_questions_and_exercises_are_not_taken_for_each_other(toys: ModuleType) -> None:
    with pytest.raises(CourseError, match=r'97\.A is a question: ask\("97\.A"\) shows it'):
        check("97.a", right)
    with pytest.raises(CourseError, match=r'97\.2 is an exercise: write pairs, then check\("97\.2", pairs\)'):
        ask("97.2")


def test_a_reference_that_stops_is_our_mistake() -> None:
    with pytest.raises(CourseError, match="That is a mistake of ours, not of your code"):
        judge(example(lambda x: 1 / 0, (torch.ones(1),)), right)


def test_strict_mode_raises_what_does_not_pass(toys: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERPWIDGETS_STRICT", "1")
    assert check("97.1", right).passed
    with pytest.raises(CourseError, match="That is where everyone starts"):
        check("97.1", stub)
