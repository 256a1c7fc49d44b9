"""What people save, change and differentiate with nnsight is what taps give them."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap
from interpwidgets.methods.ablation import zero_ablate
from interpwidgets.methods.attribution_patching import attribution_patch
from interpwidgets.methods.gradients import gradients
from interpwidgets.methods.lens import follow
from interpwidgets.methods.metrics import logit_difference
from interpwidgets.methods.patchscope import patchscope

LIBRARY = "nnsight"
LAYER, HEAD, POSITION = 1, 2, 4
EVERY = pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])


@EVERY
def test_every_site_holds_what_they_save(model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    sites = ("resid_pre", "pattern", "z", "mlp_out", "resid_post")
    with torch.no_grad(), Tap(model, sites) as tap:
        logits = model(inputs["tokens"]).logits
    agree("sites: logits with all taps open", logits, theirs["logits"])
    for site in sites:
        ours = tap[site].flatten(-2) if site == "z" else tap[site]  # they have the heads side by side
        agree(f"sites: {site}", ours, theirs[f"site/{site}"])


def patched(model: Any, inputs: Any, site: str, edit: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Logits on the corrupt text with ``edit(corrupt, clean)`` in place of a site."""
    with torch.no_grad(), Tap(model, (site, LAYER)) as clean:
        model(inputs["clean"])
    with torch.no_grad(), Tap(model, edits={(site, LAYER): lambda x: edit(x, clean[site, LAYER])}):
        logits: Tensor = model(inputs["corrupt"]).logits
    return logits


@EVERY
def test_interventions_have_the_same_effect(model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    def one_position(x: Tensor, clean: Tensor) -> Tensor:
        x[:, POSITION] = clean[:, POSITION]
        return x

    without_head = patched(model, inputs, "z", lambda z, _: zero_ablate(z, HEAD))
    agree("interventions: a head set to zero", without_head, theirs["zeroed/z"])
    stream = patched(model, inputs, "resid_pre", one_position)
    agree("interventions: resid_pre patched", stream, theirs["patched/resid_pre"])
    mlp = patched(model, inputs, "mlp_out", lambda _, clean: clean)
    agree("interventions: mlp_out patched", mlp, theirs["patched/mlp_out"])


@EVERY
def test_a_patchscope_says_the_same(model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    lens = patchscope(model, inputs["clean"][0], at=POSITION)
    ours = follow(model, inputs["tokens"], torch.arange(model.config.vocab_size), lens=lens).prob
    agree("patchscope", ours.flatten(1, 2), theirs["patchscope"].softmax(-1))


@EVERY
@pytest.mark.parametrize("site", ["resid_pre", "z", "mlp_out"])
def test_a_backward_pass_by_hand_gives_the_same(site: str, model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    metric = partial(logit_difference, right=int(inputs["right"]), wrong=int(inputs["wrong"]))
    found = gradients(model, inputs["corrupt"], metric, site).gradients
    slopes = torch.stack([found[site, layer] for layer in range(len(found))])
    agree(f"gradients: {site}", slopes.flatten(3), theirs[f"gradient/{site}"])
    effects = attribution_patch(model, inputs["clean"], inputs["corrupt"], metric, site)[site]
    expected = theirs[f"first_order/{site}"].reshape(slopes.shape).sum(-1)
    agree(f"attribution patching: {site}", effects, expected)
