"""What Captum says of each token by gradients with respect to embeddings is what we say."""

from functools import partial
from typing import Any

import pytest

from interpwidgets.methods.gradients import gradient_times_input, integrated_gradients
from interpwidgets.methods.metrics import logit_difference

LIBRARY = "captum"
STEPS = 32
EVERY = pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])


def metric(inputs: Any) -> Any:
    return partial(logit_difference, right=int(inputs["right"]), wrong=int(inputs["wrong"]))


@EVERY
def test_gradients_times_inputs_are_the_same(model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    ours = gradient_times_input(model, inputs["clean"], metric(inputs))
    agree("gradient x input", ours, theirs["gradient_x_input"].sum(-1))


@EVERY
@pytest.mark.parametrize("start", ["zero", "corrupt"])
def test_integrated_gradients_are_the_same(
    start: str, model: Any, theirs: Any, inputs: Any, agree: Any, family: str
) -> None:
    baseline = None if start == "zero" else inputs[start]
    ours = integrated_gradients(model, inputs["clean"], metric(inputs), baseline, steps=STEPS)
    agree(f"integrated gradients from {start}", ours.attributions, theirs[f"integrated/{start}"].sum(-1))
    agree("integrated gradients: gap", -ours.gap, theirs[f"gap/{start}"])
