"""Ask nnsight for sites, for what interventions do, and for attribution patching as its users write it."""

from pathlib import Path
from typing import Any

import nnsight
import torch
from asking import Answers, answer, difference, hf_model
from torch import Tensor
from transformers import AutoTokenizer

LAYER, HEAD, POSITION = 1, 2, 4


def ask(folder: Path, inputs: Answers) -> Answers:
    model = nnsight.TransformersModel(
        hf_model(folder), task="text-generation", tokenizer=AutoTokenizer.from_pretrained(folder)
    )
    answers = sites(model, inputs) | interventions(model, inputs) | first_order(model, inputs)
    return answers | {"patchscope": patchscope(model, inputs)}


def parts(model: Any) -> tuple[Any, Any, Any, Any]:
    """The blocks, and of a block: attention, its projection, what the MLP adds to the stream leaves."""
    if hasattr(model, "transformer"):
        return model.transformer.h, lambda block: block.attn, lambda block: block.attn.c_proj, lambda block: block.mlp
    sandwich = hasattr(model.model.layers[0], "post_feedforward_layernorm")
    adds = (lambda block: block.post_feedforward_layernorm) if sandwich else (lambda block: block.mlp)
    return model.model.layers, lambda block: block.self_attn, lambda block: block.self_attn.o_proj, adds


def sites(model: Any, inputs: Answers) -> Answers:
    blocks, attention, projection, adds = parts(model)
    kept: dict[str, list[Tensor]] = {"resid_pre": [], "pattern": [], "z": [], "mlp_out": [], "resid_post": []}
    with torch.no_grad(), model.trace(inputs["tokens"]):
        for block in blocks:
            kept["resid_pre"].append(block.input.save())
            kept["z"].append(projection(block).input.save())
            kept["pattern"].append(attention(block).output[1].save())
            kept["mlp_out"].append(adds(block).output.save())
            kept["resid_post"].append(block.output.save())
        logits = model.output.logits.save()
    return {"logits": logits} | {f"site/{site}": torch.stack(values) for site, values in kept.items()}


def interventions(model: Any, inputs: Answers) -> Answers:
    """Logits on the corrupt text with a head set to zero, and with one position of the stream taken from the clean."""
    blocks, _, projection, adds = parts(model)
    d_head = model.config.to_dict().get("head_dim") or model.config.hidden_size // model.config.num_attention_heads
    with torch.no_grad():
        with model.trace(inputs["clean"]):
            stream = blocks[LAYER].input.save()
            added = adds(blocks[LAYER]).output.save()
        with model.trace(inputs["corrupt"]):
            projection(blocks[LAYER]).input[:, :, HEAD * d_head : (HEAD + 1) * d_head] = 0
            without_head = model.output.logits.save()
        with model.trace(inputs["corrupt"]):
            blocks[LAYER].input[:, POSITION] = stream[:, POSITION]
            patched_stream = model.output.logits.save()
        with model.trace(inputs["corrupt"]):
            adds(blocks[LAYER]).output[:] = added
            patched_mlp = model.output.logits.save()
    return {"zeroed/z": without_head, "patched/resid_pre": patched_stream, "patched/mlp_out": patched_mlp}


def patchscope(model: Any, inputs: Answers) -> Tensor:
    """What the model says at the end of a prompt that a row of the stream was put into: [layer, row, vocab]."""
    blocks, *_ = parts(model)
    streams: list[Tensor] = []
    said = []
    with torch.no_grad():
        with model.trace(inputs["tokens"]):
            for block in blocks:
                streams.append(block.output.save())
        for block, stream in zip(blocks, streams, strict=True):
            rows = stream.flatten(0, 1)
            with model.trace(inputs["clean"].expand(len(rows), -1)):
                block.output[:, POSITION] = rows
                logits = model.output.logits.save()
            said.append(logits[:, -1])
    return torch.stack(said)


def first_order(model: Any, inputs: Answers) -> Answers:
    """The gradient on the corrupt text, and (clean - corrupt) times it: the stream, all heads side by side, MLPs."""
    blocks, _, projection, adds = parts(model)
    there: dict[str, list[Tensor]] = {"resid_pre": [], "z": [], "mlp_out": []}
    here: dict[str, list[Tensor]] = {"resid_pre": [], "z": [], "mlp_out": []}
    slopes: dict[str, list[Tensor]] = {"resid_pre": [], "z": [], "mlp_out": []}
    with torch.no_grad(), model.trace(inputs["clean"]):
        for block in blocks:
            there["resid_pre"].append(block.input.save())
            there["z"].append(projection(block).input.save())
            there["mlp_out"].append(adds(block).output.save())
    with model.trace(inputs["corrupt"]):
        for block in blocks:
            here["resid_pre"].append(block.input.save())
            here["z"].append(projection(block).input.save())
            here["mlp_out"].append(adds(block).output.save())
        metric = difference(model.output.logits, inputs)
        with metric.backward():
            for layer in reversed(range(len(blocks))):
                for site in ("mlp_out", "z", "resid_pre"):
                    slopes[site].append(here[site][layer].grad.save())
    answers = {}
    for site, slope in slopes.items():
        slopes_there = torch.stack(slope[::-1])  # [layer, 1, position, ...]
        moved = torch.stack(there[site]) - torch.stack(here[site])
        answers |= {f"gradient/{site}": slopes_there, f"first_order/{site}": moved * slopes_there}
    return answers


if __name__ == "__main__":
    answer("nnsight", ("gpt2", "llama", "gemma2"), ask)
