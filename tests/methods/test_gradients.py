"""Gradients are what small changes do, integrated ones add up to what a large one does, and nothing stays behind."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap
from interpwidgets.methods.gradients import gradient_times_input, gradients, integrated_gradients
from interpwidgets.methods.metrics import kl_to, log_probability, logit_difference
from interpwidgets.models.anatomy import anatomy

METRIC = partial(logit_difference, right=5, wrong=9)
FAMILIES = ["gpt2", "llama", "gemma2", "bert", "attention_only"]
STEP, NEAR = 1e-3, {"rtol": 5e-3, "atol": 1e-5}  # of Llama and Gemma the norms are in single precision whatever comes
SITES = [
    "resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_mid", "mlp_pre", "mlp_post", "mlp_out", "resid_post",
]  # fmt: skip


@pytest.fixture(scope="module", params=FAMILIES)
def model(request: pytest.FixtureRequest, tiny: Any) -> Any:
    """In double precision, so that differences of nearby runs are exact enough."""
    return tiny(request.param).double()


def sites(model: Any) -> list[str]:
    return [site for site in SITES if site in ("q", "k", "v", "pattern", "z") or site in anatomy(model).family.sites]


def test_a_gradient_is_what_a_small_change_at_the_site_does(model: Any, pair: Any) -> None:
    tokens = pair[0]
    found = gradients(model, tokens, METRIC, sites(model), at=4)
    assert {site for site, _ in found.gradients} == set(sites(model))
    for site in sites(model):
        change = torch.randn(found.values[site, 1].shape, dtype=torch.float64)
        with torch.no_grad():
            there, back = (
                run_with(model, tokens, site, found.values[site, 1] + sign * STEP * change) for sign in (1, -1)
            )
        expected = (there - back) / (2 * STEP)
        got = (found.gradients[site, 1] * change).flatten(1).sum(1)
        torch.testing.assert_close(got, expected, **NEAR, msg=lambda said, site=site: f"{site}: {said}")
        assert expected.abs().min() > 1e-4, f"{site} changes nothing, so this test could not fail"


def run_with(model: Any, tokens: Tensor, site: str, value: Tensor) -> Tensor:
    with Tap(model, edits={(site, 1): value}):
        return METRIC(model(tokens).logits[:, 4])


def test_values_and_score_are_those_of_the_plain_run(model: Any, pair: Any) -> None:
    found = gradients(model, pair[0], METRIC, sites(model))
    with torch.no_grad(), Tap(model, sites(model)) as tap:
        expected = METRIC(model(pair[0]).logits[:, -1])
    torch.testing.assert_close(found.score, expected)
    for (site, layer), value in found.values.items():
        torch.testing.assert_close(value, tap[site, layer])
        assert found.gradients[site, layer].shape == value.shape
        assert not value.requires_grad


def test_a_causal_model_has_no_gradient_behind_the_place_where_the_metric_looks(tiny: Any, pair: Any) -> None:
    found = gradients(tiny("gpt2"), pair[0], METRIC, ("resid_post", 1), at=3)
    slopes = found.gradients["resid_post", 1]
    assert not slopes[:, 4:].any()
    assert slopes[:, :4].any(-1).all()


def test_only_the_sites_that_are_asked_for_are_returned(tiny: Any, pair: Any) -> None:
    for wanted, spots in [
        ("z", [("z", 0), ("z", 1), ("z", 2)]),
        (("z", -1), [("z", 2)]),
        (["mlp_out", ("k", 0)], [("mlp_out", 0), ("mlp_out", 1), ("mlp_out", 2), ("k", 0)]),
    ]:
        assert list(gradients(tiny("llama"), pair[0], METRIC, wanted).gradients) == spots


def test_gradient_times_input_is_the_rate_at_which_the_metric_grows_with_an_embedding(model: Any, pair: Any) -> None:
    tokens, position = pair[0], 2
    result = gradient_times_input(model, tokens, METRIC)
    assert result.shape == tokens.shape

    def scaled(by: float) -> Tensor:
        factor = torch.ones(tokens.shape[1], 1, dtype=torch.float64)
        factor[position] = by
        hook = model.get_input_embeddings().register_forward_hook(lambda _, __, out: out * factor)
        with torch.no_grad():
            metric = METRIC(model(tokens).logits[:, -1])
        hook.remove()
        return metric

    expected = (scaled(1 + STEP) - scaled(1 - STEP)) / (2 * STEP)
    torch.testing.assert_close(result[:, position], expected, **NEAR)


# -- integrated gradients


def test_from_one_text_to_another_attributions_account_for_the_whole_difference(model: Any, pair: Any) -> None:
    tokens, baseline = pair
    result = integrated_gradients(model, tokens, METRIC, baseline, steps=64)
    with torch.no_grad():
        rise = METRIC(model(tokens).logits[:, -1]) - METRIC(model(baseline).logits[:, -1])
    assert rise.abs().min() > 0.01
    torch.testing.assert_close(result.attributions.sum(-1) + result.gap, rise)
    assert result.gap.abs().max() < 1e-4 * rise.abs().max()


def test_the_gap_says_how_much_is_missing_where_there_are_few_steps(tiny: Any, pair: Any) -> None:
    gaps = [
        integrated_gradients(tiny("gpt2").double(), *pair[:1], METRIC, pair[1], steps=steps).gap.abs().max()
        for steps in (1, 4, 32)
    ]
    assert gaps[0] > 10 * gaps[1] > 100 * gaps[2]


def test_a_text_as_its_own_baseline_has_nothing_to_account_for(model: Any, pair: Any) -> None:
    result = integrated_gradients(model, pair[0], METRIC, pair[0], steps=2)
    assert not result.attributions.any()
    assert not result.gap.any()


def test_only_tokens_that_differ_from_the_baseline_account_for_anything(model: Any, pair: Any) -> None:
    tokens, baseline = pair[0], pair[0].clone()
    baseline[:, 3] = 7
    attributions = integrated_gradients(model, tokens, METRIC, baseline, steps=2).attributions
    assert attributions[:, 3].abs().min() > 1e-6
    assert not attributions[:, [0, 1, 2, 4, 5, 6]].any()


def test_one_baseline_serves_all_texts(tiny: Any, pair: Any) -> None:
    model, (tokens, baseline) = tiny("llama"), pair
    one = integrated_gradients(model, tokens, METRIC, baseline[:1], steps=3)
    each = integrated_gradients(model, tokens, METRIC, baseline[:1].repeat(2, 1), steps=3)
    torch.testing.assert_close(one.attributions, each.attributions)


def test_through_a_linear_end_one_step_is_enough(tiny: Any, pair: Any) -> None:
    """With its last norm and all layers taken out, a model is linear, and all methods agree."""
    model = tiny("gpt2").double()
    model.transformer.ln_f = torch.nn.Identity().eval()
    metric = partial(logit_difference, right=5, wrong=9)
    with torch.no_grad():
        model.transformer.wpe.weight.zero_()
        for block in model.transformer.h:
            for weight in (*block.attn.c_proj.parameters(), *block.mlp.c_proj.parameters()):
                weight.zero_()
    exact = gradient_times_input(model, pair[0], metric)
    result = integrated_gradients(model, pair[0], metric, steps=1)
    torch.testing.assert_close(result.attributions, exact)
    assert result.gap.abs().max() < 1e-12
    assert not exact[:, :-1].any()
    assert exact[:, -1].abs().min() > 1e-4


def test_from_zero_most_of_the_difference_is_missing_behind_an_rms_norm_and_the_gap_says_so(
    tiny: Any, pair: Any
) -> None:
    """What matters is how large embeddings are beside the root of the norm's epsilon, here 0.001."""
    missing = []
    for scale in (1, 100):
        model = tiny("llama")
        with torch.no_grad():
            model.model.embed_tokens.weight.mul_(scale / 10)  # to about 0.01 and 1
        result = integrated_gradients(model, pair[0], METRIC, steps=50)
        rise = result.attributions.sum(-1) + result.gap
        missing.append((result.gap.norm() / rise.norm()).item())
    assert missing[0] < 0.001
    assert missing[1] > 0.1


# -- what stays behind, and what cannot be


def all_three(model: Any, tokens: Tensor, metric: Any = METRIC) -> None:
    gradients(model, tokens, metric, "resid_post")
    gradient_times_input(model, tokens, metric)
    integrated_gradients(model, tokens, metric, steps=2)


@pytest.mark.parametrize("trainable", [True, False])
def test_the_model_is_left_as_it_was(model: Any, pair: Any, trace: Any, trainable: bool) -> None:
    flags = [weight.requires_grad for weight in model.parameters()]
    model.requires_grad_(trainable)
    before = trace(model)
    all_three(model, pair[0])
    assert trace(model) == before
    for weight, flag in zip(model.parameters(), flags, strict=True):
        weight.requires_grad_(flag)


def test_gradients_come_under_no_grad_as_well(tiny: Any, pair: Any) -> None:
    model = tiny("gpt2")
    expected = gradient_times_input(model, pair[0], METRIC)
    with torch.no_grad():
        torch.testing.assert_close(gradient_times_input(model, pair[0], METRIC), expected)
        assert not torch.is_grad_enabled()


def test_every_metric_has_a_gradient(tiny: Any, pair: Any) -> None:
    model = tiny("gpt2")
    reference = torch.zeros(61)
    for metric in (partial(log_probability, token=5), partial(kl_to, reference=reference)):
        assert gradient_times_input(model, pair[0], metric).abs().max() > 1e-4


def test_a_metric_that_fails_leaves_the_model_as_it_was(tiny: Any, pair: Any, trace: Any) -> None:
    model = tiny("gpt2")
    before = trace(model)
    for metric, says in [
        (lambda logits: logits.argmax(-1), "the metric has no gradient"),
        (lambda logits: METRIC(logits).detach(), "the metric has no gradient"),
        (lambda logits: logits.mean(), r"a tensor of shape \[2\]; it returned something of shape \[\]"),
        (lambda logits: 0.5, "it returned something of type float"),
    ]:
        for method in (gradient_times_input, integrated_gradients, partial(gradients, sites="z")):
            with pytest.raises(ValueError, match=says):
                method(model, pair[0], metric=metric)
            assert trace(model) == before


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 0}, "at least one step, not 0"),
        ({"baseline": torch.full((2, 6), 3)}, r"shape of the tokens, \[2, 7\], .*; its shape is \[2, 6\]"),
        ({"baseline": torch.full((2, 7), 61)}, "tokens of the baseline have to be whole numbers from 0 to 60"),
        ({"at": -8}, "cannot look at -8"),
        ({"tokens": torch.zeros(2, 7)}, "whole numbers"),
    ],
)
def test_what_cannot_be_integrated_says_why(tiny: Any, pair: Any, change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        integrated_gradients(tiny("gpt2"), **{"tokens": pair[0], "metric": METRIC, **change})


def test_a_site_or_a_model_that_has_no_gradient_says_why(tiny: Any, pair: Any) -> None:
    with pytest.raises(ValueError, match="did you mean 'resid_post'"):
        gradients(tiny("gpt2"), pair[0], METRIC, "resid_pst")
    with pytest.raises(ValueError, match="3 layers, 0 to 2; there is no layer 3"):
        gradients(tiny("gpt2"), pair[0], METRIC, ("z", 3))
    training = tiny("gpt2").train()
    for method in (gradient_times_input, integrated_gradients, partial(gradients, sites="z")):
        with pytest.raises(ValueError, match="training mode"):
            method(training, pair[0], metric=METRIC)
        assert training.training
