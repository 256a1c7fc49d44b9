"""Chapter 05 keeps its word: what its text says about the models is what its cells find."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
import torch

from interpwidgets.course.chapters import find
from interpwidgets.course.run import run
from interpwidgets.exercises.ch05 import EXERCISES, QUESTIONS

LN_64 = math.log(64)


@pytest.fixture(scope="module")
def names(solved: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """What the cells of the solved chapter leave behind, run one after the other."""
    return solved("05")


def test_it_has_thirteen_exercises_and_three_questions() -> None:
    assert (len(EXERCISES), len(QUESTIONS)) == (13, 3)


# -- the claims, in the order of the chapter -------------------------------------------------------------------------


def test_from_the_second_word_of_the_second_copy_on_it_is_almost_never_wrong(names: dict[str, Any]) -> None:
    right, period = names["right"], names["PERIOD"]
    assert right[:, period + 1 :].mean() > 0.98
    assert right[:, :period].mean() < 0.05


def test_all_models_start_at_ln_64_and_only_two_layers_reach_zero(names: dict[str, Any]) -> None:
    for name in ("attn2l", "attn1l", "attn0l"):
        loss = names["loss_by_position"](names["load"](name)(names["tokens"]).logits, names["tokens"])
        assert loss[0].item() == pytest.approx(LN_64, abs=0.05)
    late = names["late_loss"]
    assert late["attn2l"] < 0.05
    assert 1 < late["attn1l"] < LN_64 - 0.5
    assert late["attn0l"] == pytest.approx(LN_64, abs=0.1)


def test_one_layer_bets_on_the_words_of_the_text(names: dict[str, Any]) -> None:
    tokens, period = names["tokens"], names["PERIOD"]
    probabilities = names["load"]("attn1l")(tokens).logits.detach().softmax(-1)
    on_its_words = probabilities.gather(-1, tokens[:, None, 1 : period + 1].expand(-1, tokens.shape[1], -1)).sum(-1)
    assert on_its_words[:, 1].mean() < 0.35  # twenty of 64 words
    assert on_its_words[:, -6:-1].mean() == pytest.approx(0.70, abs=0.05)


def test_one_head_looks_back_two_have_the_stripe_and_none_looks_at_copies(names: dict[str, Any]) -> None:
    pattern, tokens = names["pattern"], names["tokens"]
    previous = names["previous_token_score"](pattern)
    assert previous.max() > 0.8
    assert int(previous.argmax()) == names["previous_head"]
    assert previous.flatten().topk(2).values[1] < 0.3
    assert names["duplicate_token_score"](pattern, tokens).max() < 0.05
    assert (names["mine"][1] > 0.8).all()
    assert (names["mine"][0] < 0.1).all()


def test_with_many_copies_the_stripe_sees_a_part_of_it(names: dict[str, Any]) -> None:
    often = names["pattern_often"]
    expected = names["model"](names["often"]).logits.argmax(-1)
    assert (expected[:, 7:-1] == names["often"][:, 8:]).float().mean() > 0.98  # the model copies as well as before
    stripe, all_copies = names["induction_score"](often, 6)[1], names["prefix_matching_score"](often, names["often"])[1]
    assert (stripe < 0.75 * names["mine"][1]).all()
    assert (all_copies > 0.8).all()


def test_what_each_head_is_for(names: dict[str, Any]) -> None:
    loss, right = names["second_loss"], names["second_right"]
    previous, other = f"L0 H{names['previous_head']}", f"L0 H{1 - names['previous_head']}"
    for lost in (previous, "both of L1"):
        assert right[lost] < 0.05
        assert loss[lost] == pytest.approx(LN_64, abs=0.2)
    assert right[other] > 0.98
    blind, tokens = names["without"]((0, names["previous_head"]))[0], names["tokens"]
    by_place = names["loss_by_position"](blind, tokens)
    assert by_place[-1] > by_place[0] + 0.1  # the in-context score is above 0
    surest = blind.softmax(-1).amax(-1).mean(0)
    assert surest[-7:-1].min() > 1.5 * surest[:20].max()
    for one in ("L1 H0", "L1 H1"):
        assert right[one] > 0.5
        assert loss["nothing"] + 0.5 < loss[one] < LN_64


def test_without_the_previous_token_head_the_stripe_is_gone(names: dict[str, Any]) -> None:
    """And the other options of question 05.B are wrong."""
    changed, tokens = names["changed_pattern"], names["tokens"]
    assert names["induction_score"](changed, names["PERIOD"]).max() < 0.2
    assert names["duplicate_token_score"](changed, tokens)[1].max() < 0.2
    assert names["previous_token_score"](changed)[1].max() < 0.2
    right = next(option for option in QUESTIONS[1].options if option.right)
    assert right.text == "The stripe goes away"


def test_the_induction_heads_write_the_answer(names: dict[str, Any]) -> None:
    shares = names["in_second_copy"]
    assert (shares[1] > 3).all()
    assert (shares[0].abs() < 0.2).all()
    assert abs(shares.sum() - names["whole"]) < 0.5


def test_the_weights_say_the_same(names: dict[str, Any]) -> None:
    copying, chance = names["copying"], names["by_chance"].std()
    assert min(copying[1, 0], copying[1, 1]) > 4 * chance
    assert max(copying[1, 0], copying[1, 1]) > 0.95
    assert max(copying[0, 0], copying[0, 1]) < 0
    composition, baseline = names["composition"], names["baseline"]
    assert baseline.numel() == 2_500
    assert composition[names["previous_head"]].min() > 1.5 * baseline.max()
    assert composition[names["previous_head"]].tolist() == pytest.approx([0.28, 0.28], abs=0.01)
    assert composition[1 - names["previous_head"]].max() < baseline.max()


def test_it_is_learned_all_at_once_and_by_two_heads_at_first(names: dict[str, Any]) -> None:
    steps, curves, half_way = names["steps"], names["curves"], names["half_way"]
    at = {step: i for i, step in enumerate(steps)}
    induction, right = curves["induction, best of layer 1"], curves["right on the second copy"]
    jump = half_way["induction, best of layer 1"]
    assert jump >= 200  # for a long while nothing happens
    assert half_way["right on the second copy"] == jump
    before = at[jump] - 1
    assert jump - steps[before] <= 100
    assert max(induction[before], right[before]) < 0.15
    assert min(induction[at[jump]], right[at[jump]]) > 0.6
    crisp = curves[f"previous token, L0 H{names['previous_head']}"]
    other = curves[f"previous token, L0 H{1 - names['previous_head']}"]
    assert crisp[at[jump]] < crisp[-1] / 2
    assert max(other) > 2 * other[0]
    assert other[-1] < max(other) / 2
    assert crisp[-1] > 0.8


def test_one_layer_has_no_induction_head(names: dict[str, Any]) -> None:
    with torch.no_grad(), names["Tap"](names["single"], "pattern") as tap:
        names["single"](names["tokens"])
    assert names["induction_score"](tap["pattern"], names["PERIOD"]).max() < 0.3


def test_the_model_of_chapter_0_has_one_where_that_chapter_says(names: dict[str, Any]) -> None:
    assert names["found"] == [(1, 0)]


@pytest.mark.parametrize("name", ["attn2l", "demo"])
def test_the_last_cell_finds_them_in_every_model_of_ours(
    cells: Callable[..., dict[str, str]], names: dict[str, Any], name: str
) -> None:
    found = dict(names, MODEL=name)
    exec(cells("05", "solutions", "code")["find"], found)
    assert found["found"] == {"attn2l": [(1, 0), (1, 1)], "demo": [(1, 0)]}[name]


@pytest.mark.slow
def test_the_last_exercise_runs_on_a_model_in_a_directory(stories: str, tmp_path: Path) -> None:
    run(find("05", "solutions"), tmp_path / "out.ipynb", {"MODEL": stories})
    found = {cell.id: cell for cell in nbformat.read(tmp_path / "out.ipynb", as_version=4).cells}
    assert "of 40 heads" in "".join(output.get("text", "") for output in found["find"].outputs)
