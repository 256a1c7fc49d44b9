"""What somebody may well try with a tap, and the sentence that answers it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from interpwidgets import Tap
from interpwidgets.models.families import suggest
from interpwidgets.models.tap_forward import StoppedError
from interpwidgets.models.taps import TapError


@pytest.mark.parametrize("layer", [np.int64(1), torch.tensor(1), True, np.int32(-2)])
def test_a_layer_may_be_any_whole_number(build: Callable[..., Any], ids: Tensor, layer: Any) -> None:
    model = build("gpt2")
    with torch.no_grad(), Tap(model, ("z", layer), {("resid_post", layer): lambda x: x}) as tap:
        model(ids)
    assert torch.equal(tap["z", 1], tap["z", layer])
    assert tap["z"].shape[0] == 1


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"save": [("z", "1")]}, "there is no layer '1': a layer is an integer from 0 to 2"),
        ({"save": ("z", "1")}, "there is no site '1'; a layer is an integer"),
        ({"save": ("z", [0, 1])}, r"a layer is an integer .* \[\('z', 0\), \('z', 1\)\]"),
        ({"save": ("z", slice(0, 2))}, "a layer is an integer"),
        ({"save": ("z", 1.0)}, "a layer is an integer"),
        ({"save": None}, "sites to keep are a name, a pair .* None is none"),
        ({"save": 3}, "3 is none"),
        ({"save": "z", "device": "gpu"}, "'gpu' is no device; .* 'cuda:0'"),
        ({"edits": {"z": lambda z, hook: z}}, r"the edit of 'z' has to take one tensor .* it takes \(z, hook\)"),
    ],
)
def test_what_cannot_be_is_refused_when_a_tap_is_made(
    build: Callable[..., Any], given: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(TapError, match=sentence):
        Tap(build("gpt2"), **given)


def test_an_edit_may_have_arguments_of_its_own(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("gpt2")
    for edit in (lambda z, factor=0: factor * z, lambda *z: z[0], torch.zeros_like, torch.nn.Identity()):
        with torch.no_grad(), Tap(model, edits={"z": edit}):
            model(ids)


def test_generating_needs_whole_runs(build: Callable[..., Any], ids: Tensor) -> None:
    model = build("gpt2")
    with Tap(model, "z", stop=True), pytest.raises(StoppedError, match="without stop, as generate needs it"):
        model.generate(ids[:, :4], attention_mask=torch.ones(2, 4), max_new_tokens=3)
    with torch.no_grad(), Tap(model, "z", stop=True):
        out = model(ids)
    for ask in (lambda: out[0], lambda: "logits" in out, lambda: list(out), lambda: out.logits):
        with pytest.raises(StoppedError, match="stopped once the tap had all"):
            ask()


def test_a_family_is_suggested_for_a_model_alone() -> None:
    with pytest.raises(TypeError, match="expected a Hugging Face transformer, but got a value of type str"):
        suggest("gpt2")
