"""Chapter 01: references pass, known mistakes fail and are recognised, right answers pass however they are written."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets.course.attempt import attempt
from interpwidgets.course.check import judge
from interpwidgets.course.compare import Rules, differing_values, first_difference
from interpwidgets.course.exercise import Answer, Exercise, Mistake
from interpwidgets.exercises.ch01 import EXERCISES, QUESTIONS
from interpwidgets.exercises.ch01.inputs import TEXT
from interpwidgets.methods.transformer import attention, count_parameters, gpt, opened
from interpwidgets.models.load import load


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _each(what: str) -> list[tuple[Exercise, Any]]:
    return [(exercise, each) for exercise in EXERCISES for each in getattr(exercise, what)]


def _called(exercise: Exercise, each: object) -> str:
    return f"{exercise.id} {getattr(each, 'name', None) or getattr(each, '__name__', '')}"


MISTAKES, ACCEPTED = _each("mistakes"), _each("accepted")


def test_they_are_numbered_in_teaching_order() -> None:
    assert [exercise.id for exercise in EXERCISES] == [f"01.{n}" for n in range(1, 18)]
    assert [question.id for question in QUESTIONS] == ["01.A", "01.B", "01.C"]


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_each_says_all_that_a_learner_is_promised(exercise: Exercise) -> None:
    assert len(exercise.mistakes) >= 3
    assert len(exercise.hints) == 3
    assert len(exercise.accepted) >= 3
    assert exercise.minutes > 0
    assert exercise.points > 0
    assert exercise.lines[0] <= exercise.lines[1]
    assert exercise.first_step.endswith((".", "?"))
    assert exercise.reference.__module__.startswith("interpwidgets.methods")


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
def test_each_reference_passes_and_shows_what_it_found(exercise: Exercise) -> None:
    verdict = judge(exercise, exercise.reference)
    assert verdict.passed, verdict.failure
    assert (verdict.found is None) == (exercise.found is None)  # a picture that stops shows nothing


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES, ids=[_called(*each) for each in MISTAKES])
def test_each_known_mistake_fails_and_is_recognised(exercise: Exercise, mistake: Mistake) -> None:
    verdict = judge(exercise, mistake.answer, extras=False)
    assert not verdict.passed
    assert verdict.mistake is mistake
    assert verdict.failure is not None
    assert verdict.failure.stop is None  # a mistake that raises would never be met as such


@pytest.mark.parametrize(("exercise", "answer"), ACCEPTED, ids=[_called(*each) for each in ACCEPTED])
def test_each_right_answer_passes_however_it_is_written(exercise: Exercise, answer: Answer) -> None:
    verdict = judge(exercise, answer, extras=False)
    assert verdict.passed, (verdict.headline, verdict.case, verdict.failure)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)
@pytest.mark.parametrize("seed", [11, 12])
def test_other_seeds_make_other_cases_that_still_tell_mistakes_apart(exercise: Exercise, seed: int) -> None:
    """The grader draws fresh inputs: no known mistake may pass on them."""
    cpu = torch.device("cpu")
    made = [case.make(seed, cpu) for case in exercise.cases]
    wanted = [attempt(exercise.reference, given, exercise.drive, 10).value for given in made]
    for mistake in exercise.mistakes:
        pairs = zip(made, wanted, strict=True)
        assert any(_differs(exercise, mistake.answer, given, target) for given, target in pairs), mistake.name


def _differs(exercise: Exercise, answer: Answer, given: tuple[Any, ...], target: Any) -> bool:
    outcome, rules = attempt(answer, given, exercise.drive, 10), Rules(tolerance=exercise.tolerance)
    if outcome.error or first_difference(target, outcome.value, rules):
        return True
    return differing_values(target, outcome.value, rules) is not None


def test_hints_do_not_hold_the_answer() -> None:
    for exercise in EXERCISES:
        source = inspect.getsource(exercise.reference)
        lines = {line.strip() for line in source.splitlines() if len(line.strip()) > 24 and "->" not in line}
        assert not any(line in hint for line in lines for hint in exercise.hints), exercise.id


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.id)
def test_each_question_has_one_right_answer_and_a_reason_for_every_wrong_one(question: Any) -> None:
    assert (question.number is None) == bool(question.options)
    if question.options:
        assert sum(option.right for option in question.options) == 1
        assert all(option.reason for option in question.options)
    else:
        assert all(abs(slip - question.number) > question.within for slip in question.slips)


# -- the references against the library ------------------------------------------------------------------------------


def test_the_reference_has_the_logits_of_the_library() -> None:
    model: Any = load("storylm")
    tokens = model.tokenizer(TEXT, return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(gpt(tokens, *opened(model)), model(tokens).logits, atol=1e-4, rtol=0)


def test_only_a_gpt2_can_be_opened_under_these_names() -> None:
    with pytest.raises(ValueError, match="takes a GPT2LMHeadModel"):
        opened(load("attn2l"))


def test_the_count_is_that_of_the_model_and_the_question_knows_it() -> None:
    model: Any = load("storylm")
    counted = sum(weight.numel() for weight in model.parameters())
    assert count_parameters(1041, 64, 128, 512, 4) == counted == 934_784
    in_mlps = sum(weight.numel() for name, weight in model.named_parameters() if ".mlp." in name)
    assert QUESTIONS[1].number == pytest.approx(in_mlps / counted)


# -- as people write them --------------------------------------------------------------------------------------------


def late_names(model: Any, tokens: Tensor, names: list[str]) -> dict[str, Tensor]:
    """The loop variable is looked up when the hook runs, and by then it is the last name."""
    kept: dict[str, Tensor] = {}
    handles = []
    try:
        for name in names:

            def keep(module: Any, inputs: Any, output: Any) -> None:
                kept[name] = output[0] if isinstance(output, tuple) else output  # noqa: B023  that is the mistake

            handles.append(model.get_submodule(name).register_forward_hook(keep))
        model(tokens)
    finally:
        for handle in handles:
            handle.remove()
    return kept


def no_return(model: Any, tokens: Tensor, name: str, edit: Any) -> Any:
    with model.get_submodule(name).register_forward_hook(lambda module, inputs, output: None):
        return model(tokens)


def attend(q: Tensor, k: Tensor) -> Tensor:
    """Loops, no mask."""
    rows = [[(k[b, :, h] @ q[b, i, h] / q.shape[-1] ** 0.5).softmax(0) for i in range(q.shape[1])]
            for b in range(q.shape[0]) for h in range(q.shape[2])]  # fmt: skip
    return torch.stack([torch.stack(row) for row in rows]).reshape(q.shape[0], q.shape[2], q.shape[1], -1)


def norm_with_std(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (x.std(-1, keepdim=True).square() + eps).sqrt() * weight + bias


def bare_logits(model: Any, tokens: Tensor, name: str, edit: Any) -> Any:
    def hook(module: Any, inputs: Any, output: Any) -> Any:
        return (edit(output[0]), *output[1:]) if isinstance(output, tuple) else edit(output)

    with model.get_submodule(name).register_forward_hook(hook):
        return model(tokens).logits


def loss_as_a_number(model: Any, tokens: Tensor, optimizer: Any) -> float:
    loss = torch.nn.functional.cross_entropy(model(tokens).logits[:, :-1].mT, tokens[:, 1:])
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def places_by_token(tokens: Tensor, W_E: Tensor, W_pos: Tensor) -> Tensor:
    return W_E[tokens] + W_pos[tokens]


def bias_in_every_head(x: Tensor, weights: dict[str, Tensor]) -> Tensor:
    heads = range(len(weights["W_O"]))
    one = [{k: w if w.dim() == 1 else w[[h]] for k, w in weights.items() if k[2:] in "QKVO"} for h in heads]
    return sum((attention(x, each) for each in one), torch.zeros_like(x))


def softmax_over_texts(logits: Tensor, temperature: float) -> Tensor:
    return torch.softmax(logits / temperature, dim=0)


def columns_scaled(weight: Tensor, bias: Tensor, W: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return W * weight, bias @ W + b


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("01.1", places_by_token, "places are looked up by token"),
        ("01.4", bias_in_every_head, "the output bias once for each head"),
        ("01.10", softmax_over_texts, "the softmax runs over the texts"),
        ("01.15", bare_logits, "the logits alone"),
        ("01.16", columns_scaled, "columns are scaled, not rows"),
        ("01.17", loss_as_a_number, "a number, not a tensor"),
        ("01.3", attend, "no mask"),
        ("01.2", norm_with_std, "the variance over n - 1"),
        ("01.14", late_names, "all under the last name"),
        ("01.15", no_return, "the hook returns nothing"),
    ],
)
def test_a_wrong_try_is_recognised_however_it_is_written(name: str, answer: Any, mistake: str) -> None:
    exercise = next(exercise for exercise in EXERCISES if exercise.id == name)
    verdict = judge(exercise, answer, extras=False)
    assert not verdict.passed
    assert verdict.mistake is not None
    assert verdict.mistake.name == mistake


def test_cross_entropy_of_three_axes_is_told_which_axes_it_takes() -> None:
    def unflattened(model: Any, tokens: Tensor, optimizer: Any) -> Tensor:
        return torch.nn.functional.cross_entropy(model(tokens).logits[:, :-1], tokens[:, 1:])

    verdict = judge(EXERCISES[-1], unflattened, extras=False)
    assert verdict.state == "stopped"
    assert "logits [n, vocab] and targets [n]" in repr(verdict.failure)
