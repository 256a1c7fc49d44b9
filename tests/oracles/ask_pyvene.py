"""Ask pyvene what the model says when parts of it are taken from another text."""

from pathlib import Path
from typing import Any

import pyvene
import torch
from asking import Answers, answer, hf_model

LAYER, HEAD, POSITION = 1, 2, 4
STREAM = {"resid_pre": "block_input", "resid_post": "block_output"}
LAYERS = {"attn_out": "attention_output", "mlp_out": "mlp_output"}


@torch.no_grad()
def ask(folder: Path, inputs: Answers) -> Answers:
    model, texts = hf_model(folder), [{"input_ids": inputs[name]} for name in ("corrupt", "clean")]
    at_position, at_head = {"sources->base": POSITION}, {"sources->base": ([[[HEAD]]], [[[HEAD]]])}
    sandwich = folder.name == "gemma2"  # what it calls outputs there has yet to go through a norm
    answers = {
        f"patched/{site}": patched(model, component, "pos", at_position, *texts)
        for site, component in (STREAM if sandwich else STREAM | LAYERS).items()
    }
    if not sandwich:
        answers["patched/z"] = patched(model, "head_attention_value_output", "h", at_head, *texts)
    return answers


def patched(model: Any, component: str, unit: str, place: Any, base: Any, source: Any) -> torch.Tensor:
    """Logits on ``base`` where a unit of ``component`` comes from ``source``."""
    where = pyvene.RepresentationConfig(LAYER, component, unit, 1)
    config = pyvene.IntervenableConfig([where], intervention_types=pyvene.VanillaIntervention)
    _, out = pyvene.IntervenableModel(config, model)(base, [source], place)
    logits: torch.Tensor = out.logits
    return logits


if __name__ == "__main__":
    answer("pyvene", ("gpt2", "llama", "gemma2"), ask)
