"""What pyvene's interventions do to the logits is what our edits do."""

from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap

LIBRARY = "pyvene"
LAYER, HEAD, POSITION = 1, 2, 4
KNOWN = pytest.mark.parametrize("family", ["gpt2", "llama"])


@KNOWN
@pytest.mark.parametrize("site", ["resid_pre", "resid_post", "attn_out", "mlp_out", "z"])
def test_interchanging_a_part_has_the_same_effect(site: str, model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    def edit(x: Tensor) -> Tensor:
        place = (slice(None), slice(None), HEAD) if site == "z" else (slice(None), POSITION)
        x[place] = clean[site, LAYER][place]
        return x

    with torch.no_grad(), Tap(model, (site, LAYER)) as clean:
        model(inputs["clean"])
    with torch.no_grad(), Tap(model, edits={(site, LAYER): edit}):
        ours = model(inputs["corrupt"]).logits
    agree(f"interventions: {site} patched", ours, theirs[f"patched/{site}"])
