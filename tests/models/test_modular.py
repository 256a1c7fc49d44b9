"""The model of addition is an ordinary model: it computes what its drawing says, opens to taps, saves and loads."""

from pathlib import Path

import pytest
import torch

from interpwidgets import Tap, load
from interpwidgets.data.addition import questions
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.modular import ModularConfig, ModularForCausalLM
from interpwidgets.models.numbers import NumberTokenizer, UnknownNumberError

CLOSE = {"rtol": 1e-5, "atol": 1e-6}


@pytest.fixture(scope="module")
def model() -> ModularForCausalLM:
    torch.manual_seed(0)
    return ModularForCausalLM(ModularConfig(p=7, d_model=16, n_heads=2, d_head=8, d_mlp=12)).eval()


def test_it_computes_what_its_drawing_says(model: ModularForCausalLM) -> None:
    asked, base, layer = questions(7), model.model, model.model.layers[0]
    x = base.embed.weight[asked] + base.positions.weight
    resid = x
    for head in (slice(0, 8), slice(8, 16)):
        q, k, v = (x @ project.weight[head].T for project in (layer.attention.q, layer.attention.k, layer.attention.v))
        scores = (q @ k.mT / 8**0.5).masked_fill(torch.ones(3, 3).triu(1).bool(), float("-inf"))
        resid = resid + scores.softmax(2) @ v @ layer.attention.o.weight[:, head].T
    neurons = (resid @ layer.mlp.up.weight.T + layer.mlp.up.bias).relu()
    resid = resid + neurons @ layer.mlp.down.weight.T + layer.mlp.down.bias
    torch.testing.assert_close(model(asked).logits, resid @ model.unembed.weight.T, **CLOSE)


def test_every_site_can_be_read_and_the_sums_hold(model: ModularForCausalLM) -> None:
    asked = questions(7)
    with Tap(model, ["resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_mid", "mlp_pre", "mlp_post",
                     "mlp_out", "resid_post"]) as tap:  # fmt: skip
        logits = model(asked).logits
    torch.testing.assert_close(tap["resid_mid", 0], tap["resid_pre", 0] + tap["attn_out", 0], **CLOSE)
    torch.testing.assert_close(tap["resid_post", 0], tap["resid_mid", 0] + tap["mlp_out", 0], **CLOSE)
    torch.testing.assert_close(tap["mlp_post", 0], tap["mlp_pre", 0].relu(), **CLOSE)
    torch.testing.assert_close(model.unembed(tap["resid_post", 0]), logits, **CLOSE)
    torch.testing.assert_close(anatomy(model).heads(tap["z", 0], 0).sum(2), tap["attn_out", 0], **CLOSE)


def test_an_edit_in_the_middle_reaches_the_mlp_and_the_sum(model: ModularForCausalLM) -> None:
    asked = questions(7)
    with Tap(model, ["mlp_out", "resid_post"], edits={("resid_mid", 0): torch.zeros_like}) as tap:
        model(asked)
    torch.testing.assert_close(tap["resid_post", 0], tap["mlp_out", 0], **CLOSE)
    torch.testing.assert_close(tap["mlp_out", 0], model.model.layers[0].mlp(torch.zeros(49, 3, 16)), **CLOSE)


def test_it_has_no_norms(model: ModularForCausalLM) -> None:
    parts = anatomy(model)
    assert (parts.norm(0, "attention"), parts.norm(0, "mlp")) == (None, None)
    last = parts.final_norm()
    assert last is not None
    assert not last.divides
    assert (parts.n_layers, parts.n_heads, parts.d_head, parts.max_context, parts.causal) == (1, 2, 8, 3, True)


def test_it_saves_and_loads_itself_and_its_tokenizer(model: ModularForCausalLM, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    NumberTokenizer.up_to(113, "=").save_pretrained(tmp_path)
    loaded = load(tmp_path)
    assert torch.equal(loaded(questions(7)).logits, model(questions(7)).logits)
    assert loaded.tokenizer("3 + 60 =").input_ids == [3, 60, 113]
    assert set(loaded.tokenizer("3 + 60 =")) == {"input_ids", "attention_mask"}
    with pytest.raises(UnknownNumberError, match=r"reads the numbers 0 to 112 and '=', but got '113'"):
        loaded.tokenizer("3 + 113 =")


def test_a_question_that_is_too_long_is_told(model: ModularForCausalLM) -> None:
    with pytest.raises(ValueError, match=r"the question is 4 tokens long, but it has to be 3: a, b and ="):
        model(torch.zeros(1, 4, dtype=torch.long))


@pytest.mark.parametrize(
    ("text", "ids"), [("67 + 58 =", [67, 58, 113]), ("67 58=", [67, 58, 113]), ("1, 2, 3", [1, 2, 3]), ("", [])]
)
def test_numbers_are_their_own_ids(text: str, ids: list[int]) -> None:
    assert NumberTokenizer.up_to(113, "=")(text).input_ids == ids


def test_numbers_come_back_as_text() -> None:
    assert NumberTokenizer.up_to(113, "=").decode([67, 58, 113]) == "67 58 ="
