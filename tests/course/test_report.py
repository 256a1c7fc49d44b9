"""What the learner reads: facts, escaped, light and dark, without a script and without the answer."""

import re
from html.parser import HTMLParser
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets.course import colour, given, markup
from interpwidgets.course.check import judge
from interpwidgets.course.exercise import Case, Exercise, Mistake

HOSTILE = "<script>alert(1)</script>"


class Page(HTMLParser):
    """Tags that are open where they should not be, tags that may not be there, and the text of the page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)
        assert not any(name.startswith("on") for name, _ in attributes)
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: Any) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def page(shown: Any) -> Page:
    bundle = shown._repr_mimebundle_()
    assert bundle["text/plain"] == repr(shown)
    return Page(bundle["text/html"])


def differing(target: Tensor, yours: Tensor, **more: Any) -> Page:
    exercise = Exercise(
        id="97.9", title="x", points=1, minutes=1, lines=(1, 1), reference=lambda x: target.clone(), mistakes=[],
        cases=[Case("a case", lambda seed, device: (torch.ones(2),))], hints=["a"], first_step="look.", **more,
    )  # fmt: skip
    verdict = judge(exercise, lambda x: yours.clone())
    assert verdict.failure
    return page(verdict)


def raises(text: str) -> Any:
    def answer(scores: Tensor) -> Tensor:
        raise ValueError(text)

    return answer


def test_every_state_is_a_whole_page_without_a_script(toys: ModuleType) -> None:
    def stub(scores: Tensor) -> Tensor:
        raise NotImplementedError

    answers = [lambda s: s.mean(-1), lambda s: s.sum(-1), lambda s: s, stub, raises("x"), 3, lambda s: s.mean(-1) + 1]
    for answer in answers:
        assert "script" not in page(judge(toys.MEANS, answer)).tags


def test_what_comes_from_outside_is_escaped(toys: ModuleType) -> None:
    for shown in (judge(toys.MEANS, raises(HOSTILE)), judge(toys.MEANS, lambda s: HOSTILE)):
        assert "script" not in page(shown).tags
    assert HOSTILE in page(judge(toys.MEANS, raises(HOSTILE))).text

    def prints(scores: Tensor) -> Tensor:
        print(HOSTILE)
        return scores

    assert "script" not in page(judge(toys.MEANS, prints)).tags
    hostile = Exercise(
        id="97.9", title=HOSTILE, points=1, minutes=1, lines=(1, 1), reference=lambda text: torch.ones(2),
        cases=[Case(HOSTILE, lambda seed, device: (HOSTILE,))], axes=(HOSTILE,), hints=[HOSTILE], first_step=HOSTILE,
        mistakes=[Mistake(HOSTILE, lambda text: torch.zeros(2), HOSTILE, HOSTILE)],
    )  # fmt: skip
    shown = page(judge(hostile, lambda text: torch.zeros(2)))
    assert "script" not in shown.tags
    assert f"This is a known mistake: {HOSTILE}." in shown.text


def test_the_ringed_cell_is_that_of_the_largest_difference() -> None:
    target = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    yours = target + torch.tensor([[0.0, 0.2], [-0.5, 0.0]])
    shown = differing(target, yours, axes=("layer", "head"))
    assert "Target 0.300" in shown.text
    assert "Yours −0.200" in shown.text
    assert "Yours − target −0.500" in shown.text
    assert "2 of 4 values differ" in shown.text
    assert "layer 1, head 0 0.300 −0.200 −0.500 differs" in shown.text
    assert "layer 0, head 0 0.100 0.100 0 agrees" in shown.text


def test_a_tiny_difference_is_shown_with_the_digits_it_needs() -> None:
    assert "0.00020" in differing(torch.ones(3), torch.ones(3) + 0.0002).text


def test_nan_is_ringed_and_named() -> None:
    target = torch.tensor([float("nan"), 1.0])
    assert "Yours 5.000" in differing(target, torch.tensor([5.0, 9.0])).text


@pytest.mark.parametrize(
    ("shape", "tag"),
    [
        ((), "b"),
        ((3,), "b"),
        ((40,), "path"),
        ((3, 4), "b"),
        ((40, 50), "img"),
        ((2, 3, 4), "b"),
        ((2, 2, 20, 20), "img"),
    ],
)
def test_arrays_of_every_size_have_a_picture(shape: tuple[int, ...], tag: str) -> None:
    target = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    shown = differing(target, target + 0.5)
    assert tag in shown.tags
    assert "too low" in shown.text or shape == (40,)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float16, torch.bfloat16, torch.complex64])
def test_values_of_every_dtype_have_a_picture(dtype: torch.dtype) -> None:
    assert "differ" in differing(torch.tensor([1, 0, 1]).to(dtype), torch.tensor([0, 0, 1]).to(dtype)).text


def drawn_input(answer: Any) -> Page:
    exercise = Exercise(
        id="97.9", title="x", points=1, minutes=1, lines=(1, 1), reference=lambda x, weight, y, epsilon: x + y,
        cases=[Case("a case", lambda seed, device: (torch.full((2, 1, 1, 2), 3.0), torch.tensor([7.5]),
                                                    torch.full((2, 1, 1, 2), 5.0), 0.25))],
        mistakes=[], axes=("part", "text", "position", "d_model"), hints=["a"], first_step="look.",
    )  # fmt: skip
    return page(judge(exercise, answer))


def test_every_small_argument_is_drawn_under_its_name() -> None:
    shown = drawn_input(lambda x, weight, y, epsilon: x - y)
    assert (
        "x float32 [2, 1, 1, 2] 0 1 0 3 3 1 3 3 weight float32 [1] 7.50 y float32 [2, 1, 1, 2] 0 1 0 5 5" in shown.text
    )
    assert "epsilon 0.25" in shown.text


def test_a_result_of_another_shape_shows_its_input_too() -> None:
    shown = drawn_input(lambda x, weight, y, epsilon: (x + y)[0])
    assert "Smallest failing input a case x float32 [2, 1, 1, 2] 0 1 0 3 3" in shown.text


def test_a_head_is_ringed_where_the_result_has_one_value_for_it() -> None:
    pattern = torch.full((1, 2, 3, 3), 0.25)
    assert given.smallest("", {"pattern": pattern}, (0, 1)).count("iwr-ring") == 1
    assert "iwr-ring" not in given.smallest("", {"pattern": pattern}, (0, 0, 2, 1))


def test_a_large_argument_is_told_by_its_shape() -> None:
    told = given.smallest("", {"stack": torch.rand(9, 9, 9), "table": torch.rand(500, 500)})
    assert "[9, 9, 9]" in told
    assert "[500, 500]" in told
    assert "<img" not in told
    assert "iwr-c" not in told.replace("iwr-caption", "")


def test_the_answer_is_never_told(toys: ModuleType) -> None:
    for answer in (lambda s: s.sum(-1), lambda s: s, raises("x"), lambda s: s.mean(-1) + 1):
        assert ".mean(" not in page(judge(toys.MEANS, answer)).text.replace("s.mean(", "")


def test_nothing_praises_and_nothing_shouts(toys: ModuleType) -> None:
    for answer in (lambda s: s.mean(-1), lambda s: s.sum(-1), raises("x")):
        text = page(judge(toys.MEANS, answer)).text
        assert "!" not in text
        assert not re.search(r"great|good job|well done|excellent|wrong", text, re.IGNORECASE)


def test_both_themes_are_there_and_the_host_decides() -> None:
    style = markup.style()
    assert '[data-jp-theme-light="false"]' in style
    assert "html[theme=dark]" in style
    assert "prefers-color-scheme: dark" in style
    assert "%dark%" not in style


def test_the_ramps_are_those_of_the_widgets() -> None:
    for name, stops in colour.STOPS.items():
        for theme in colour.THEMES:
            colours, wanted = colour.ramp(name, theme), stops[theme].split()
            found = ["#{:02x}{:02x}{:02x}".format(*colours[end]) for end in (0, -1)]
            assert found == [wanted[0], wanted[-1]]
    assert colour.Scale("sequential", 0, 1).ink("light", 0.0) == "#000"
    assert colour.Scale("sequential", 0, 1).ink("light", 1.0) == "#fff"


def test_gpus_that_are_not_there_are_said_not_to_be(toys: ModuleType) -> None:
    if not torch.cuda.is_available():
        assert "GPU: not present" in page(judge(toys.MEANS, lambda s: s)).text
