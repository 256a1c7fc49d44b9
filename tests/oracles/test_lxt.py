"""Relevance that LXT hands back through the last norm to the parts of the residual stream is our direct attribution."""

from typing import Any

import pytest
import torch

from interpwidgets.methods.attribution import logit_attribution

LIBRARY = "lxt"


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_parts_have_the_same_share_of_a_difference_of_logits(
    model: Any, theirs: Any, inputs: Any, agree: Any, family: str
) -> None:
    ours = logit_attribution(model, inputs["tokens"], int(inputs["right"]), int(inputs["wrong"]))
    start = [share for name, share in ours.parts.items() if name in ("embed", "positions")]
    layers = [share for name, share in ours.parts.items() if not isinstance(name, str)]
    parts = torch.stack([torch.stack(start).sum(0), *layers])
    agree("direct logit attribution: parts", parts, theirs["direct/component"])
