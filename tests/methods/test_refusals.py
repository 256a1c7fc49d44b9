"""What cannot be asked of a method is refused in one sentence, and the model is left as it was found."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap, load
from interpwidgets.methods.ablation import ablate_sweep
from interpwidgets.methods.attribution import logit_attribution
from interpwidgets.methods.attribution_patching import attribution_patch
from interpwidgets.methods.backward_lens import backward_lens
from interpwidgets.methods.circuits import full_ov, qk
from interpwidgets.methods.gradients import gradients, integrated_gradients
from interpwidgets.methods.lens import logit_lens
from interpwidgets.methods.metrics import logit_difference
from interpwidgets.methods.patching import patch_sweep
from interpwidgets.methods.path import path_patch
from interpwidgets.methods.projections import head_projections, neuron_writes
from interpwidgets.methods.tuned_lens import train_tuned_lens

METRIC = partial(logit_difference, right=5, wrong=6)
NO_LAYER = "4 layers, 0 to 3; there is no layer 9"
LENGTHS = "clean and corrupt have to be of one shape"
NOT_ONE_NUMBER = "one number for each"
TRAINING = "training mode"

Ask = Callable[[Any, Tensor, Tensor], Any]


@pytest.fixture(scope="module")
def storylm() -> Any:
    return load("storylm")


@pytest.fixture
def texts(storylm: Any) -> tuple[Tensor, Tensor]:
    """Two texts of one length."""
    sentences = ["Lily and Tom went to the park. Tom gave", "Lily and Tom went to the park. Lily gave"]
    a, b = (storylm.tokenizer(sentence, return_tensors="pt").input_ids for sentence in sentences)
    return a, b


def state(model: Any) -> tuple[Any, ...]:
    """Everything about a model that a method might leave changed."""
    modules = list(model.modules())
    return (
        [module.training for module in modules],
        sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules),
        ["forward" in vars(module) for module in modules],
        model.config._attn_implementation,
        [weight.requires_grad for weight in model.parameters()],
        [weight.grad is None for weight in model.parameters()],
        [weight._version for weight in model.parameters()],
    )


def open_with(model: Any, tokens: Tensor, edits: Any) -> None:
    with Tap(model, edits=edits):
        model(tokens)


REFUSED: dict[str, tuple[Ask, str]] = {
    "a tap of no layer": (lambda m, a, b: Tap(m, ("z", 9)), NO_LAYER),
    "a patch of the wrong shape": (lambda m, a, b: open_with(m, a, {("z", 0): torch.zeros(3)}), "its shape is \\[3\\]"),
    "a circuit of no layer": (lambda m, a, b: qk(m, 9), NO_LAYER),
    "a circuit of no head": (lambda m, a, b: full_ov(m, 0, 99), "there is no head 99"),
    "heads of no layer": (lambda m, a, b: head_projections(m, a, 9), NO_LAYER),
    "neurons of no layer": (lambda m, a, b: neuron_writes(m, 9, [0]), NO_LAYER),
    "gradients at no layer": (lambda m, a, b: gradients(m, a, METRIC, [("z", 9)]), NO_LAYER),
    "a lens on heads": (lambda m, a, b: logit_lens(m, a, sites="z"), "reads the residual stream"),
    "a text longer than the context": (lambda m, a, b: logit_lens(m, a.repeat(1, 9)), "this model's context holds 64"),
    "texts as numbers with a point": (lambda m, a, b: logit_lens(m, a.float()), "whole numbers from 0 to"),
    "a token that is none": (lambda m, a, b: logit_attribution(m, a, 99999), "there is no token 99999"),
    "a site that is none": (lambda m, a, b: attribution_patch(m, a, b, METRIC, ["foo"]), "there is no site 'foo'"),
    "a sweep over texts of two lengths": (lambda m, a, b: patch_sweep(m, a, b[:, 1:], METRIC), LENGTHS),
    "attributed patches of two lengths": (lambda m, a, b: attribution_patch(m, a, b[:, 1:], METRIC), LENGTHS),
    "paths between texts of two lengths": (
        lambda m, a, b: path_patch(m, a, b[:, 1:], sender=(0, 0), receivers=[(1, 0)], into="k"),
        LENGTHS,
    ),
    "a path to an earlier layer": (
        lambda m, a, b: path_patch(m, a, b, sender=(2, 0), receivers=[(1, 0)], into="k"),
        "receivers have to come after layer 2",
    ),
    "a path to no layer": (
        lambda m, a, b: path_patch(m, a, b, sender=(0, 0), receivers=[(9, 0)], into="k"),
        NO_LAYER,
    ),
    "a metric of one number for all runs": (lambda m, a, b: patch_sweep(m, a, b, lambda x: x.sum()), NOT_ONE_NUMBER),
    "a metric of logits": (lambda m, a, b: integrated_gradients(m, a, lambda x: x), NOT_ONE_NUMBER),
    "a metric without texts": (lambda m, a, b: ablate_sweep(m, a, lambda x: x.sum(0)), NOT_ONE_NUMBER),
}


@pytest.mark.parametrize("ask", REFUSED)
def test_it_is_refused_in_one_sentence(storylm: Any, texts: tuple[Tensor, Tensor], ask: str) -> None:
    call, told = REFUSED[ask]
    before = state(storylm)
    with pytest.raises(ValueError, match=told) as refusal:
        call(storylm, *texts)
    assert "\n" not in str(refusal.value)
    assert state(storylm) == before


def test_a_site_that_the_family_lacks_is_named() -> None:
    tokens = torch.ones(1, 5, dtype=torch.long)
    with pytest.raises(ValueError, match="AttentionOnlyForCausalLM has no site 'mlp_out'; it has"):
        patch_sweep(load("attn2l"), tokens, tokens, METRIC, "mlp_out")


IN_TRAINING: dict[str, Ask] = {
    "lens": lambda m, a, b: logit_lens(m, a),
    "tuned lens": lambda m, a, b: train_tuned_lens(m, [a]),
    "backward lens": lambda m, a, b: backward_lens(m, a, a[:, -1]),
    "projections": lambda m, a, b: head_projections(m, a, 0),
    "attribution": lambda m, a, b: logit_attribution(m, a, 5),
    "gradients": lambda m, a, b: gradients(m, a, METRIC, ["resid_pre"]),
    "integrated gradients": lambda m, a, b: integrated_gradients(m, a, METRIC),
    "sweep": lambda m, a, b: patch_sweep(m, a, b, METRIC),
    "attribution patching": lambda m, a, b: attribution_patch(m, a, b, METRIC),
    "ablation": lambda m, a, b: ablate_sweep(m, a, METRIC),
    "paths": lambda m, a, b: path_patch(m, a, b, sender=(0, 0), receivers=[(1, 0)], into="k"),
}


@pytest.mark.parametrize("method", IN_TRAINING)
def test_a_model_in_training_mode_is_refused_and_stays_in_it(texts: tuple[Tensor, Tensor], method: str) -> None:
    model: Any = load("storylm").train()
    before = state(model)
    with pytest.raises(ValueError, match=TRAINING):
        IN_TRAINING[method](model, *texts)
    assert state(model) == before
