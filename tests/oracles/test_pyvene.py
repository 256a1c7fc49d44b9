"""What pyvene's interventions do to the logits is what our edits do."""

from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap

LIBRARY = "pyvene"
LAYER, HEAD, POSITION = 1, 2, 4
STREAM, LAYERS = ("resid_pre", "resid_post"), ("attn_out", "mlp_out", "z")
KNOWN = [(family, site) for family in ("gpt2", "llama") for site in STREAM + LAYERS]
KNOWN += [("gemma2", site) for site in STREAM]  # it has no name for what leaves the norms behind attention and MLP


@pytest.mark.parametrize(("family", "site"), KNOWN)
def test_interchanging_a_part_has_the_same_effect(
    site: str, model: Any, theirs: Any, inputs: Any, agree: Any, family: str
) -> None:
    def edit(x: Tensor) -> Tensor:
        place = (slice(None), slice(None), HEAD) if site == "z" else (slice(None), POSITION)
        x[place] = clean[site, LAYER][place]
        return x

    with torch.no_grad(), Tap(model, (site, LAYER)) as clean:
        model(inputs["clean"])
    with torch.no_grad(), Tap(model, edits={(site, LAYER): edit}):
        ours = model(inputs["corrupt"]).logits
    agree(f"interventions: {site} patched", ours, theirs[f"patched/{site}"])
