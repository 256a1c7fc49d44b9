"""Chapter 01 keeps its word: what its text says about the models is what its cells find."""

import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch

from interpwidgets.exercises.ch01 import EXERCISES, QUESTIONS
from interpwidgets.exercises.ch01.inputs import TEXT
from interpwidgets.methods.transformer import count_parameters, gpt, opened
from interpwidgets.models.load import load


@pytest.fixture(scope="module")
def names(solved: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """What the cells of the solved chapter leave behind, run one after the other."""
    return solved("01")


def test_it_has_seventeen_exercises_and_three_questions() -> None:
    assert (len(EXERCISES), len(QUESTIONS)) == (17, 3)


# -- the claims, in the order of the chapter -------------------------------------------------------------------------


def test_some_directions_carry_over_and_some_do_not(names: dict[str, Any]) -> None:
    first = {step: names["analogy"](*step.split())[0] for step in names["STEPS"].split(", ")}
    assert first["dog dogs cat"] == "cats"
    assert first["he his she"] == "her"
    assert first["France French Germany"] == "German"
    assert first["doctor doctors teacher"] != "teachers"
    assert first["cat cats bird"] != "birds"


def test_the_learners_model_has_the_logits_of_the_library(names: dict[str, Any]) -> None:
    assert names["gap"] < 1e-4
    assert names["tokenizer"].decode(names["mine"][0, -1].argmax()) == "Mary"


def test_one_head_spends_46_percent_of_its_attention_one_step_back(names: dict[str, Any]) -> None:
    assert names["back"].max().item() == pytest.approx(0.46, abs=0.005)


def test_a_few_words_may_follow_the_king_until_it_gets_hot(names: dict[str, Any]) -> None:
    shares = [
        names["next_probabilities"](names["king_logits"], heat)[0, names["ten"]].sum().item() for heat in (0.5, 1, 2)
    ]
    assert min(shares[:2]) > 0.95
    assert shares[2] < 0.75


def test_hot_with_the_cut_reads_like_the_stories_and_without_it_does_not(names: dict[str, Any]) -> None:
    model, tokenizer = names["model"], names["tokenizer"]

    def surprise(**settings: float) -> float:
        losses: list[float] = []
        for seed in range(3):
            ids = tokenizer(names["write"]("Lily", seed=seed, **settings), return_tensors="pt").input_ids
            with torch.no_grad():
                losses.append(model(ids, labels=ids).loss.item())
        return sum(losses) / 3

    assert surprise(temperature=2.5) > 3 + surprise(temperature=2.5, p=0.9)
    assert surprise(temperature=1.0) < 2.5


def test_the_cache_changes_nothing(names: dict[str, Any]) -> None:
    assert names["cache_gap"] < 1e-4


def test_the_stream_is_the_sum_of_what_was_written(names: dict[str, Any]) -> None:
    assert names["sum_gap"] < 1e-4


def test_the_last_mlp_writes_most_and_embed_little(names: dict[str, Any]) -> None:
    *others, last = names["lengths"]
    assert last > 2 * max(others)
    assert 3 * names["start_length"] < min(others)


def test_the_stories_that_ask_have_an_answer(names: dict[str, Any]) -> None:
    told = [names["write"]("Lily", seed=seed, temperature=heat) for seed in range(3) for heat in (0.2, 1.0)]
    asked = [story.split("?")[1] for story in told if "?" in story]
    assert len(asked) >= 3
    assert all(re.search(r"is with [A-Z]", answer) for answer in asked)


def test_taps_and_hooks_agree(names: dict[str, Any]) -> None:
    torch.testing.assert_close(names["tapped"], names["theirs"], atol=1e-4, rtol=0)
    torch.testing.assert_close(names["tap"]["pattern", 0], names["my_pattern"], atol=1e-5, rtol=0)
    torch.testing.assert_close(names["tap"]["attn_out", 2], names["kept"]["transformer.h.2.attn"])
    assert names["with_a_tap"] == pytest.approx(names["without"][-1], abs=1e-5)


def test_what_is_needed_to_name_mary(names: dict[str, Any]) -> None:
    without, whole = dict(zip(names["labels"], names["without"], strict=True)), names["whole"]
    assert without["MLP 0"] < 0 < whole
    assert min(without["attention 1"], without["attention 2"]) > whole + 1


def test_without_mlp_0_neither_name_is_the_first_choice(names: dict[str, Any]) -> None:
    with torch.no_grad():
        out = names["run_edited"](names["model"], names["tokens"], "transformer.h.0.mlp", torch.zeros_like)
    assert out.logits[0, -1, names["john"]] > out.logits[0, -1, names["mary"]]
    assert names["tokenizer"].decode(out.logits[0, -1].argmax()) == "Rosa"


def test_folding_leaves_the_probabilities_as_they_were(names: dict[str, Any]) -> None:
    assert names["fold_gap"] < 1e-4


def test_a_few_seconds_of_training_go_half_of_the_way(names: dict[str, Any]) -> None:
    losses = names["losses"]
    assert losses[0] == pytest.approx(math.log(1041), abs=0.1)
    assert names["old_loss"] + 1 < sum(losses[-10:]) / 10 < 4
    assert names["young_gap"] < 1e-4


def test_the_optional_cell_puts_another_gpt2_into_the_learners_functions(
    cells: Callable[..., dict[str, str]], names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    found = dict(names, MODEL="storylm-small")
    exec(cells("01", "solutions", "code")["real"], found)
    assert found["gap_there"] < 1e-4
    assert "without transformer.h.0.mlp" in capsys.readouterr().out


def test_the_optional_cell_hooks_into_a_model_of_another_family(
    cells: Callable[..., dict[str, str]], names: dict[str, Any], stories: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(cells("01", "solutions", "code")["real"], dict(names, MODEL=stories))
    assert "without model.layers.0.mlp: its probability goes from" in capsys.readouterr().out


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
