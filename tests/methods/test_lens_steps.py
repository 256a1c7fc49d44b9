"""Single steps of lenses: they add up, and agree with the methods that do the same for any model."""

from typing import Any

import pytest
import torch

from interpwidgets.methods import lens_steps as steps
from interpwidgets.methods.attribution import logit_attribution
from interpwidgets.methods.backward_lens import gradient_factors
from interpwidgets.methods.lens import logit_lens, readout
from interpwidgets.methods.patchscope import patchscope
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.load import load
from interpwidgets.models.taps import Tap

TEXT = "When Luke and Eva were at the theater, Eva showed the blue necklace to"


@pytest.fixture(scope="module")
def run() -> dict[str, Any]:
    model: Any = load("storylm")
    tokens = torch.tensor([model.tokenizer(TEXT).input_ids])
    with torch.no_grad(), Tap(model, [("resid_pre", 0), "attn_out", "mlp_out", "resid_post"]) as tap:
        logits = model(tokens).logits
        parts = steps.residual_parts(tap["resid_pre", 0], tap["attn_out"], tap["mlp_out"])
        norm, W_U = anatomy(model).final_norm(), anatomy(model).W_U()
        assert norm is not None
        stages = steps.residual_stages(parts)
        said = steps.lens_logits(stages, norm.weight, norm.bias, W_U, norm.epsilon)
    return locals()


def test_parts_add_up_to_the_stream_after_each_layer(run: dict[str, Any]) -> None:
    torch.testing.assert_close(run["stages"][1:], run["tap"]["resid_post"], rtol=1e-4, atol=1e-4)


def test_a_frozen_norm_of_all_parts_is_the_norm(run: dict[str, Any]) -> None:
    norm = run["norm"]
    with torch.no_grad():
        together = steps.frozen_norm(run["parts"], norm.weight, norm.epsilon).sum(0) + norm.bias
        torch.testing.assert_close(together, norm.module(run["stages"][-1]), rtol=1e-3, atol=1e-3)


def test_direct_attribution_is_that_of_any_model(run: dict[str, Any]) -> None:
    tokens, norm = run["tokens"], run["norm"]
    luke, eva = tokens[:, 2], tokens[:, 4]
    with torch.no_grad():
        normed = steps.frozen_norm(run["parts"][:, :, -1], norm.weight, norm.epsilon)
        shares = steps.direct_attribution(normed, run["W_U"], luke, eva)[:, 0]
    whole = logit_attribution(run["model"], tokens, right=int(luke), wrong=int(eva))
    for layer in range(4):
        torch.testing.assert_close(shares[1 + 2 * layer], whole["attn_out", layer][0, -1], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(shares[2 + 2 * layer], whole["mlp_out", layer][0, -1], rtol=1e-3, atol=1e-3)


def test_the_lens_ends_in_the_model_and_agrees_with_the_lens_of_any_model(run: dict[str, Any]) -> None:
    torch.testing.assert_close(run["said"][-1], run["logits"], rtol=1e-4, atol=1e-3)
    lens = logit_lens(run["model"], run["tokens"], sites=[("resid_pre", 0), "resid_post"])
    torch.testing.assert_close(steps.kl_to_end(run["said"]), lens.kl, rtol=1e-3, atol=1e-3)
    ranks = steps.rank_of(run["said"][:, :, :-1], run["tokens"][:, 1:].expand(5, -1, -1))
    assert torch.equal(ranks, lens.target_rank)


def test_an_untrained_translator_changes_nothing_and_training_helps(run: dict[str, Any]) -> None:
    rows, end = run["stages"][2, 0].detach(), run["stages"][-1, 0].detach()
    read = readout(run["model"])
    none = steps.train_translator(rows, end, read, steps=0, rate=1.0)
    assert torch.equal(steps.translate(rows, *none), rows)
    some = steps.train_translator(rows, end, read, steps=20, rate=0.5)
    with torch.no_grad():
        before, after = (steps.kl_to_end(torch.stack([read(each), read(end)]))[0].mean()
                         for each in (rows, steps.translate(rows, *some)))  # fmt: skip
        assert after < before / 2
        assert steps.lens_bias(read(end), read(end)).abs() < 1e-6


def test_a_direction_that_is_taken_out_is_gone_and_nothing_else_is() -> None:
    rows, direction = torch.randn(6, 5), torch.randn(5)
    without = steps.ablate_direction(rows, direction)
    assert (without @ direction).std() < 1e-5
    torch.testing.assert_close(without.mean(0), rows.mean(0))
    torch.testing.assert_close(steps.ablate_direction(without, 3 * direction), without, rtol=1e-4, atol=1e-5)


def test_a_cut_edge_carries_nothing_and_rows_still_sum_to_one() -> None:
    pattern = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)).tril()
    pattern = pattern / pattern.sum(-1, keepdim=True)
    cut = steps.cut_edges(pattern, torch.tensor([2, 3]), torch.tensor([1, 0]))
    assert (cut[0, :, 2, 1] == 0).all()
    assert (cut[1, :, 3, 0] == 0).all()
    torch.testing.assert_close(cut.sum(-1), torch.ones(2, 3, 4))
    torch.testing.assert_close(cut[:, :, :2], pattern[:, :, :2])  # up to the last bit of a row's sum


def test_asking_the_model_is_a_patchscope(run: dict[str, Any]) -> None:
    model, rows = run["model"], run["stages"][2, 0].detach()
    prompt = run["tokens"][0, :6]
    theirs = readout(model)(patchscope(model, prompt, at=3)("resid_pre", 2, rows))
    torch.testing.assert_close(steps.ask_the_model(model, rows, prompt, 3, 2), theirs, rtol=1e-4, atol=1e-3)


def test_the_sum_over_tokens_is_the_gradient(run: dict[str, Any]) -> None:
    factors = gradient_factors(run["model"], run["tokens"], lambda logits: logits.square().mean())["W_out", 1]
    torch.testing.assert_close(steps.weight_gradient(factors.x, factors.d), factors.gradient)
