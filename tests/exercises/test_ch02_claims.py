"""Chapter 02 keeps its word: what its text says about storylm is what its cells find."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from interpwidgets.exercises.ch02 import EXERCISES, QUESTIONS


@pytest.fixture(scope="module")
def names(solved: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """What the cells of the solved chapter leave behind, run one after the other."""
    return solved("02")


def top_of(logits: torch.Tensor, n: int) -> list[int]:
    return [int(token) for token in logits.topk(n).indices]


def test_it_has_fourteen_exercises_and_three_questions() -> None:
    assert (len(EXERCISES), len(QUESTIONS)) == (14, 3)


# -- the claims, in the order of the chapter -------------------------------------------------------------------------


def test_the_model_says_luke(names: dict[str, Any]) -> None:
    assert names["chances"][names["luke"]] > 0.99


def test_parts_add_up_and_the_stream_grows(names: dict[str, Any]) -> None:
    lengths = names["lengths"].tolist()
    assert lengths == sorted(lengths)
    assert lengths[1] > 10 * lengths[0]  # most of all in layer 0
    assert names["shares"].sum().item() == pytest.approx(names["lead"], abs=0.1)


def test_the_last_mlp_speaks_loudest_and_no_head_to_speak_of(names: dict[str, Any]) -> None:
    shares = names["shares"]
    assert int(shares.argmax()) == 8
    assert shares[8] > 0.5 * names["lead"]
    assert names["by_head"].abs().max() < 0.1 * names["lead"]


def test_cuts_show_which_way_the_name_came(names: dict[str, Any]) -> None:
    lead, right = names["mean_lead"], names["still_right"]
    whole = lead["nothing"]
    assert right["nothing"] == right["end to both first names"] == 1
    assert lead["end to both first names"] > 0.9 * whole
    assert 0.35 * whole < lead["end to the end of clause 1"] < 0.65 * whole
    assert lead["end to the giver's second naming"] < 0.1 * whole
    assert lead["end of clause 1 to the receiver"] < 0.15 * whole
    assert lead["end of clause 1 to the giver"] > whole


def test_the_comma_looks_first_and_the_end_looks_at_the_comma(names: dict[str, Any]) -> None:
    most = names["most"]
    assert names["words"][names["AGAIN"]].strip() == "Eva"
    assert most["comma at Luke"][0] == 0
    assert most["comma at Luke"][1] > 0.3
    assert most["to at the comma"][0] == 1
    assert most["to at the comma"][1] > 0.95
    assert most["to at Luke"][1] < 0.12


def test_what_question_a_promises_holds_for_its_sentence(names: dict[str, Any]) -> None:
    end = names["tokens"].shape[1] - 1

    def cut(pattern: torch.Tensor) -> torch.Tensor:
        for key in (2, 4):
            pattern = names["cut_edges"](pattern, torch.tensor([end]), torch.tensor([key]))
        return pattern

    with torch.no_grad(), names["Tap"](names["model"], edits={"pattern": cut}):
        said = names["model"](names["tokens"]).logits[0, -1]
    assert int(said.argmax()) == int(names["luke"])
    assert (said[names["luke"]] - said[names["eva"]]).item() == pytest.approx(names["lead"], abs=0.5)
    assert [option.right for option in QUESTIONS[0].options].index(True) == 1


def test_the_lens_says_the_word_itself_then_eva_then_luke(names: dict[str, Any]) -> None:
    top = names["early"].argmax(-1)
    assert torch.equal(top[0], names["tokens"][0])  # question B, at every word
    assert [option.right for option in QUESTIONS[1].options].index(True) == 2
    assert names["model"].tokenizer.decode([int(top[1, -1])]).strip() == "Nina"
    assert int(top[2, -1]) == int(names["eva"])
    assert int(top[3, -1]) == int(top[4, -1]) == int(names["luke"])
    assert names["ranks"]["Luke"][1:] == [167, 4, 0, 0]
    assert (top[1] == names["tokens"][0]).sum() <= 2
    near = names["model"].tokenizer.convert_ids_to_tokens(top_of(names["early"][1, -1], 8))
    assert sum(word.strip().istitle() for word in near) >= 6  # mostly names, though not yet Luke's
    assert names["ranks"]["Eva"][2] == 0


def test_each_layer_leaves_less_missing_and_training_leaves_less_still(names: dict[str, Any]) -> None:
    missing, tuned = names["missing"], names["missing_tuned"]
    assert 17 < missing[0] < 19.5  # eighteen nats
    assert (missing[:-1] > missing[1:]).all()
    assert (tuned[:4] < missing[:4]).all()
    assert tuned[0] < 0.25 * missing[0]  # most of it was the lens's own fault


def test_the_tuned_lens_is_less_biased_after_layers_and_not_before_them(names: dict[str, Any]) -> None:
    logit, tuned = names["bias"]["logit lens"], names["bias"]["tuned lens"]
    assert all(tuned[stage] < 0.4 * logit[stage] for stage in (1, 2, 3))
    assert logit[0] < tuned[0]


def test_the_logit_lens_agrees_better_with_what_matters_to_the_model(names: dict[str, Any]) -> None:
    logit, tuned = names["agreement"].tolist()
    assert logit > tuned > 0.2
    assert logit > 0.6


def test_both_lenses_move_far_more_than_the_model(names: dict[str, Any]) -> None:
    in_model, in_lenses = names["influence"][:, :1], names["influence"][:, 1:]
    assert int((in_lenses > 2 * in_model).all(1).sum()) == 19
    assert ((in_lenses / in_model).median(0).values - 10).abs().max() < 2  # often about ten times
    assert 0.0014 < in_model.min() < in_model.max() < 0.085
    assert 0.0145 < in_lenses.min() < in_lenses.max() < 0.225


def test_a_patchscope_reads_early_layers_better_than_the_logit_lens(names: dict[str, Any]) -> None:
    top, nats = names["same_top"], names["nats"]
    for stage in (1, 2):
        assert top["patchscope"][stage] > top["logit lens"][stage] + 0.15
        assert nats["patchscope"][stage] < 0.5 * nats["logit lens"][stage]
        assert abs(top["patchscope"][stage] - top["tuned lens"][stage]) < 0.1
    assert top["tuned lens"][0] > top["patchscope"][0]


def test_after_layer_1_two_lenses_say_luke_where_the_logit_lens_says_eva(names: dict[str, Any]) -> None:
    last, luke, anna = names["stages"][:, 0, -1:], int(names["luke"]), names["ids_of"](" Anna")
    tuned = names["my_lens"](names["my_tuned_lens"]("resid_pre", 2, last[2])).softmax(-1)[0]
    assert int(tuned.argmax()) == luke
    assert tuned[luke].item() == pytest.approx(0.27, abs=0.01)
    asked = [names["my_patchscope"]("resid_pre", stage, last[stage]).softmax(-1)[0] for stage in range(4)]
    assert [int(said.argmax()) for said in asked] == [anna, anna, luke, luke]
    assert asked[2][luke] > 0.8
    assert anna in names["prompt"]
    assert anna not in names["tokens"]


def test_a_city_comes_too_late_after_layer_0(names: dict[str, Any]) -> None:
    assert len(names["there"]) >= 4
    assert names["got"] == {"embedding": [1, 0, 0, 0], "same layer": [1, 0, 0, 0]}
    with torch.no_grad(), names["Tap"](names["model"], "resid_pre") as tap:
        names["model"](names["told_of"])
    for layer in (1, 2, 3):
        for taken in (0, layer):
            said = names["ask_the_model"](
                names["model"], tap["resid_pre", taken][:, 3], names["question"], 4, layer
            ).argmax(-1)
            assert (said == names["ids_of"](" Spain")).all()


def test_the_gradient_is_a_sum_of_low_rank_that_speaks_of_eva(names: dict[str, Any]) -> None:
    assert torch.allclose(names["mine"], names["theirs"], rtol=1e-3, atol=1e-6)
    assert torch.linalg.matrix_rank(names["mine"]) <= names["tokens"].shape[1]
    top = names["learned"].shift.top_tokens[:, 0, -1, 0]
    assert (top[1:] == names["eva"]).all()
    assert not (names["learned"].shift.bottom_tokens[3, 0, -1] == names["luke"]).any()


@pytest.mark.slow
def test_the_optional_cells_run_on_a_model_in_a_directory(
    cells: Callable[..., dict[str, str]], names: dict[str, Any], stories: str
) -> None:
    found = dict(names, MODEL=stories)
    exec(cells("02", "solutions", "code")["real"], found)
    kl = found["real_lens"].kl.mean((1, 2))
    assert kl[-1] < 1e-4
    assert kl[0] > kl[-2]
