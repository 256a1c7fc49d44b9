"""Ask TransformerLens, by its bridge, for sites, weights, lens, sweeps, paths, scores, circuits and attributions."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from asking import Answers, answer, difference, hf_model
from torch import Tensor
from transformer_lens import FactoredMatrix, head_detector, patching
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools.analysis.attribution_patching import attribution_patch
from transformer_lens.tools.analysis.direct_logit_attribution import direct_logit_attribution
from transformer_lens.tools.analysis.logit_lens import logit_lens
from transformers import AutoTokenizer

SITES = {
    "resid_pre": "hook_resid_pre", "q": "attn.hook_q", "k": "attn.hook_k", "v": "attn.hook_v",
    "pattern": "attn.hook_pattern", "z": "attn.hook_z", "attn_out": "hook_attn_out", "resid_mid": "hook_resid_mid",
    "mlp_pre": "mlp.hook_pre", "mlp_post": "mlp.hook_post", "mlp_out": "hook_mlp_out", "resid_post": "hook_resid_post",
}  # fmt: skip
ROTATED = {"q": "attn.hook_rot_q", "k": "attn.hook_rot_k"}
SWEEPS = {
    "resid_pre": patching.get_act_patch_resid_pre,
    "attn_out": patching.get_act_patch_attn_out,
    "mlp_out": patching.get_act_patch_mlp_out,
    "z": patching.get_act_patch_attn_head_out_all_pos,
    "z_by_position": patching.get_act_patch_attn_head_out_by_pos,
}
SENDER = (0, 1)


def bridge(folder: Path) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return TransformerBridge.boot_transformers(
        str(folder), hf_model=hf_model(folder), tokenizer=tokenizer, device="cpu", dtype=torch.float32
    )


def ask(folder: Path, inputs: Answers) -> Answers:
    model = bridge(folder)
    with torch.no_grad():
        answers = sites(model, inputs) | weights(model) | lens(model, inputs) | scores(model, inputs)
        answers |= sweeps(model, inputs) | ablations(model, inputs)
        if folder.name != "gemma2":  # a norm follows the heads there: neither of us has an answer
            answers |= paths(model, inputs)
        folded = bridge(folder)
        folded.enable_compatibility_mode(
            disable_warnings=True, center_writing_weights=False, center_unembed=False, fold_value_biases=False
        )
        answers |= weights(folded, "folded") | circuits(folded) | direct(folded, inputs)
        answers |= in_tokens(folded, inputs)
    return answers | first_order(model, inputs)


def sites(model: Any, inputs: Answers) -> Answers:
    logits, cache = model.run_with_cache(inputs["tokens"])
    there = SITES | (ROTATED if f"blocks.0.{ROTATED['q']}" in cache else {})
    layers = range(model.cfg.n_layers)
    found = {site: torch.stack([cache[f"blocks.{layer}.{hook}"] for layer in layers]) for site, hook in there.items()}
    return {"logits": logits} | {f"site/{site}": value for site, value in found.items()}


def weights(model: Any, kind: str = "weight") -> Answers:
    names = ("W_E", "W_Q", "W_K", "W_V", "W_O", "W_in", "W_gate", "W_out", "W_U")
    return {f"{kind}/{name}": value for name in names if isinstance(value := getattr(model, name), Tensor)}


def lens(model: Any, inputs: Answers) -> Answers:
    said = logit_lens(model, inputs["tokens"], positions=None)
    return {"lens/logits": said.readout.values, "lens/entropy": said.readout.entropy}


def scores(model: Any, inputs: Answers) -> Answers:
    """The share of all attention of each head that goes where such a head would look: [layer, head]."""
    _, cache = model.run_with_cache(inputs["repeated"])
    measure = partial(
        head_detector.compute_head_attention_similarity_score,
        exclude_bos=False, exclude_current_token=False, error_measure="mul",
    )  # fmt: skip
    answers = {}
    for name in ("previous_token", "duplicate_token", "induction"):
        there = getattr(head_detector, f"get_{name}_head_detection_pattern")(inputs["repeated"])
        patterns = [cache["pattern", layer][0] for layer in range(model.cfg.n_layers)]
        found = [[float(measure(head, detection_pattern=there)) for head in heads] for heads in patterns]
        answers[f"score/{name}"] = torch.tensor(found)
    return answers


def circuits(model: Any) -> Answers:
    full = FactoredMatrix(model.W_E, model.W_U)
    copying = (model.W_E @ model.OV @ model.W_U).eigenvalues
    answers = {
        "circuit/qk": model.QK.AB,
        "circuit/ov": model.OV.AB,
        "circuit/qk/singular": model.QK.S,
        "circuit/ov/singular": model.OV.S,
        "circuit/ov/norm": model.OV.norm(),
        "circuit/ov/eigenvalues": model.OV.eigenvalues.abs(),
        "circuit/full_ov": (model.W_E @ model.OV @ model.W_U).AB,
        "circuit/direct_path": full.AB,
        "circuit/copying": copying.sum(-1).real / copying.abs().sum(-1),
    }
    return answers | {f"composition/{mode}": model.all_composition_scores(mode).scores for mode in "QKV"}


def sweeps(model: Any, inputs: Answers) -> Answers:
    _, clean = model.run_with_cache(inputs["clean"])
    metric = partial(difference, inputs=inputs)
    return {f"sweep/{name}": sweep(model, inputs["corrupt"], clean, metric) for name, sweep in SWEEPS.items()}


def ablations(model: Any, inputs: Answers) -> Answers:
    """The metric of each text with one head set to zero, or to its mean over all texts and positions: [layer, head]."""

    def replaced(z: Tensor, hook: Any, head: int, mean: bool) -> Tensor:
        z[:, :, head] = z[:, :, head].mean((0, 1)) if mean else 0.0
        return z

    answers = {}
    for name in ("zero", "mean"):
        found = torch.zeros(model.cfg.n_layers, model.cfg.n_heads, len(inputs["tokens"]))
        for layer in range(model.cfg.n_layers):
            for head in range(model.cfg.n_heads):
                hook = partial(replaced, head=head, mean=name == "mean")
                logits = model.run_with_hooks(inputs["tokens"], fwd_hooks=[(f"blocks.{layer}.attn.hook_z", hook)])
                found[layer, head] = torch.stack([difference(row[None], inputs) for row in logits])
        answers[f"ablation/{name}"] = found
    return answers


def paths(model: Any, inputs: Answers) -> Answers:
    """The metric on the corrupt text where one part's clean output reaches one reader by one way alone."""
    (_, clean), (_, corrupt) = (model.run_with_cache(inputs[name]) for name in ("clean", "corrupt"))
    metric = partial(difference, inputs=inputs)
    grouped = model.cfg.n_key_value_heads not in (None, model.cfg.n_heads)
    answers = {
        f"path/{into}": patching.get_act_patch_direct_path(
            model, inputs["corrupt"], clean, corrupt, metric, *SENDER, component=into, verbose=False
        )
        for into in ("q" if grouped else "qkv")
    }
    return answers | paths_to_logits(model, inputs, clean, corrupt)


def paths_to_logits(model: Any, inputs: Answers, clean: Any, corrupt: Any) -> Answers:
    """From heads [layer, head] and MLPs [layer] to the logits: straight, or by any way that meets no other head."""
    layers, heads = range(model.cfg.n_layers), range(model.cfg.n_heads)
    end = f"blocks.{layers[-1]}.hook_resid_post"
    z_names = [f"blocks.{layer}.attn.hook_z" for layer in layers]

    def run(*hooks: Any) -> Tensor:
        return difference(model.run_with_hooks(inputs["corrupt"], fwd_hooks=list(hooks)), inputs)

    def add(change: Tensor) -> Any:
        return end, lambda x, hook: x + change

    def hold(name: str, new: Tensor) -> Any:
        return name, lambda x, hook: new

    straight, around = torch.zeros(len(layers), len(heads)), torch.zeros(len(layers), len(heads))
    from_mlp = torch.zeros(len(layers))
    for layer in layers:
        mlp_out, z = f"blocks.{layer}.hook_mlp_out", z_names[layer]
        from_mlp[layer] = run(add(clean[mlp_out] - corrupt[mlp_out]))
        for head in heads:
            straight[layer, head] = run(add((clean[z] - corrupt[z])[:, :, head] @ model.W_O[layer, head]))
            swapped = corrupt[z].clone()
            swapped[:, :, head] = clean[z][:, :, head]
            around[layer, head] = run(*(hold(name, swapped if name == z else corrupt[name]) for name in z_names))
    return {"path/logits": straight, "path/mlp_logits": from_mlp, "path/around": around}


def direct(model: Any, inputs: Answers) -> Answers:
    tokens = inputs["right"].item(), inputs["wrong"].item()
    return {
        f"direct/{unit}": direct_logit_attribution(model, inputs["tokens"], *tokens, unit=unit, pos=None).attribution
        for unit in ("component", "layer", "head")
    }


def in_tokens(model: Any, inputs: Answers) -> Answers:
    """What heads add to all logits [layer * head, batch, position, vocab]; what neurons write and read, in tokens."""
    _, cache = model.run_with_cache(inputs["tokens"])
    reads = model.W_in if model.W_gate is None else model.W_gate
    return {
        "said/heads": cache.stack_head_results(apply_ln=True) @ model.W_U,
        "said/neuron_writes": model.W_out @ model.W_U,
        "said/neuron_reads": reads.mT @ model.W_E.T,
    }


def first_order(model: Any, inputs: Answers) -> Answers:
    """Attribution patching: [layer, head, position] for heads, [layer, position] for MLPs."""
    metric = partial(difference, inputs=inputs)
    effects = attribution_patch(model, inputs["clean"], inputs["corrupt"], metric).node_scores
    n_layers, n_heads, n_positions = model.cfg.n_layers, model.cfg.n_heads, inputs["clean"].shape[1]
    heads, mlps = torch.zeros(n_layers, n_heads, n_positions), torch.zeros(n_layers, n_positions)
    for node, effect in effects.items():
        if node.kind == "attn_head_out":
            heads[node.layer, node.head, node.position] = effect
        elif node.kind == "mlp_out":
            mlps[node.layer, node.position] = effect
    return {"first_order/z": heads, "first_order/mlp_out": mlps}


if __name__ == "__main__":
    answer("transformer_lens", ("gpt2", "llama", "gemma2"), ask)
