"""Ask pyvene what the model says when parts of it are taken from another text, or set to zero."""

from pathlib import Path
from typing import Any

import pyvene
import torch
from asking import Answers, answer, hf_model

LAYER, HEAD, POSITION = 1, 2, 4
COMPONENTS = {
    "resid_pre": "block_input", "resid_post": "block_output", "attn_out": "attention_output", "mlp_out": "mlp_output",
}  # fmt: skip


@torch.no_grad()
def ask(folder: Path, inputs: Answers) -> Answers:
    model = hf_model(folder)
    base, source = ({"input_ids": inputs[name]} for name in ("corrupt", "clean"))
    answers = {}
    for site, component in COMPONENTS.items():
        places = {"sources->base": POSITION}
        answers[f"patched/{site}"] = run(model, component, pyvene.VanillaIntervention, "pos", base, source, places)
    heads = {"sources->base": ([[[HEAD]]], [[[HEAD]]])}
    name = "head_attention_value_output"
    answers["patched/z"] = run(model, name, pyvene.VanillaIntervention, "h", base, source, heads)
    return answers


def run(model: Any, component: str, kind: Any, unit: str, base: Any, source: Any, places: Any) -> torch.Tensor:
    """Logits on ``base`` where a unit of ``component`` comes from ``source``."""
    where = pyvene.RepresentationConfig(LAYER, component, unit, 1)
    config = pyvene.IntervenableConfig([where], intervention_types=kind)
    changed = pyvene.IntervenableModel(config, model)
    _, out = changed(base, [source], places)
    return out.logits


if __name__ == "__main__":
    answer("pyvene", ("gpt2", "llama"), ask)
