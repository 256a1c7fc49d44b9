"""What TransformerLens computes by its own hooks, weights and loops is what we compute."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap
from interpwidgets.methods.ablation import ablate_sweep, mean_ablate, zero_ablate
from interpwidgets.methods.attribution import logit_attribution
from interpwidgets.methods.attribution_patching import attribution_patch
from interpwidgets.methods.circuits import composition_scores, copying_scores, direct_path, full_ov, ov, qk
from interpwidgets.methods.induction import duplicate_token_score, prefix_matching_score, previous_token_score
from interpwidgets.methods.lens import follow, logit_lens
from interpwidgets.methods.metrics import logit_difference
from interpwidgets.methods.patching import patch_sweep
from interpwidgets.methods.path import path_patch
from interpwidgets.methods.projections import Said, head_projections, neuron_reads, neuron_writes
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.folding import fold_norms
from interpwidgets.models.taps import SITES

LIBRARY = "transformer_lens"
EVERY = pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2"])
PLAIN = pytest.mark.parametrize("family", ["gpt2", "llama"])
SWEEPS = ("resid_pre", "attn_out", "mlp_out", "z", "z_by_position")


def metric(inputs: dict[str, Tensor]) -> Any:
    return partial(logit_difference, right=int(inputs["right"]), wrong=int(inputs["wrong"]))


@EVERY
def test_every_site_holds_what_their_cache_holds(model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    with torch.no_grad(), Tap(model, SITES) as tap:
        logits = model(inputs["tokens"]).logits
    agree("sites: logits with all taps open", logits, theirs["logits"])
    for site in SITES:
        agree(f"sites: {site}", tap[site], theirs[f"site/{site}"])


READS = ("W_Q", "W_K", "W_V", "W_in", "W_gate", "W_U")  # through a norm
WRITES = ("W_O", "W_out")


@EVERY
def test_weights_go_by_the_same_names(model: Any, theirs: Any, agree: Any) -> None:
    for name in READS + WRITES:
        if f"weight/{name}" in theirs:
            agree("weights by name", weight(model, name), per_head(theirs[f"weight/{name}"]))


@EVERY
def test_folded_norms_leave_the_same_weights(model: Any, theirs: Any, agree: Any, family: str) -> None:
    folded = fold_norms(model)
    for name in READS + WRITES:
        if f"folded/{name}" in theirs:
            ours = weight(folded, name)
            # What LayerNorm makes has mean 0, to which a constant in each column is nothing: they take it out.
            centered = ours - ours.mean(-2, keepdim=True) if family == "gpt2" and name in READS else ours
            agree("weights, norms folded", centered, per_head(theirs[f"folded/{name}"]))


def weight(model: Any, name: str) -> Tensor:
    """[layer, (head,) rows, columns]; the unembedding is [rows, columns]."""
    parts = anatomy(model)
    return parts.W_U() if name == "W_U" else torch.stack([getattr(parts, name)(i) for i in range(parts.n_layers)])


def per_head(weight: Tensor) -> Tensor:
    """They have one matrix for each group of keys and values, we one for each of the four heads."""
    return weight.repeat_interleave(4 // weight.shape[1], 1) if weight.ndim == 4 else weight


@EVERY
def test_the_logit_lens_says_the_same(model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    sites = [("resid_pre", 0), "resid_post"]
    logits, vocab = theirs["lens/logits"], theirs["lens/logits"].shape[-1]
    lens = logit_lens(model, inputs["tokens"], k=vocab, sites=sites)
    probs, top = logits.softmax(-1), logits.argsort(dim=-1, descending=True)
    assert torch.equal(lens.top_tokens, top)
    agree("lens: probabilities", lens.top_probs, probs.gather(-1, top))
    agree("lens: entropy", lens.entropy, theirs["lens/entropy"])
    log_probs = logits.log_softmax(-1)
    agree("lens: KL to the end", lens.kl, (probs[-1] * (log_probs[-1] - log_probs)).sum(-1))
    everything = follow(model, inputs["tokens"], torch.arange(vocab), sites=sites)
    assert torch.equal(everything.rank, top.argsort(-1))


@EVERY
@pytest.mark.parametrize("name", SWEEPS)
def test_sweeps_give_the_same_picture(name: str, model: Any, theirs: Any, inputs: Any, agree: Any, family: str) -> None:
    site, by_position = name.removesuffix("_by_position"), name.endswith("_by_position")
    options = {"site": site, "by_position": by_position, "progress": False}
    ours = patch_sweep(model, inputs["clean"], inputs["corrupt"], metric(inputs), **options)
    expected = theirs[f"sweep/{name}"]  # by position: [layer, position, head]
    agree(f"patching: {name}", ours, expected.mT if by_position else expected)


@EVERY
@pytest.mark.parametrize(("name", "ablate"), [("zero", zero_ablate), ("mean", mean_ablate)])
def test_without_a_head_the_metric_is_the_same(
    name: str, ablate: Any, model: Any, theirs: Any, inputs: Any, agree: Any, family: str
) -> None:
    ours = ablate_sweep(model, inputs["tokens"], metric(inputs), ablate, progress=False)
    agree(f"ablation: {name}", ours, theirs[f"ablation/{name}"])


@pytest.mark.parametrize(("family", "into"), [("gpt2", "q"), ("gpt2", "k"), ("gpt2", "v"), ("llama", "q")])
def test_paths_from_a_head_to_a_head_carry_the_same(
    into: str, model: Any, theirs: Any, inputs: Any, agree: Any, family: str
) -> None:
    ours = torch.zeros(3, 4)
    for layer in (1, 2):
        for head in range(4):
            ours[layer, head] = path(model, inputs, (0, 1), [(layer, head)], into)
    agree(f"paths: head to {into}", ours, theirs[f"path/{into}"])


@PLAIN
def test_paths_to_the_logits_carry_the_same(model: Any, theirs: Any, inputs: Any, agree: Any, family: str) -> None:
    straight, around = (
        [[path(model, inputs, (i, head), "logits", through_mlps=mlps) for head in range(4)] for i in range(3)]
        for mlps in (False, True)
    )
    agree("paths: head to logits", torch.tensor(straight), theirs["path/logits"])
    agree("paths: head to logits through MLPs", torch.tensor(around), theirs["path/around"])
    from_mlps = [path(model, inputs, ("mlp_out", layer), "logits") for layer in range(3)]
    agree("paths: MLP to logits", torch.tensor(from_mlps), theirs["path/mlp_logits"])


def path(model: Any, inputs: Any, *way: Any, **options: Any) -> float:
    """The metric on the corrupt text where what comes along ``way`` is that of the clean one."""
    logits, _ = path_patch(model, inputs["corrupt"], inputs["clean"], *way, **options)
    return metric(inputs)(logits[:, -1]).item()


@EVERY
def test_heads_score_the_same(model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    tokens = inputs["repeated"]
    with torch.no_grad(), Tap(model, "pattern") as tap:
        model(tokens)
    repeating, n_queries = tokens.shape[1] // 2, tokens.shape[1]  # they count all queries, we those that have a key
    scores = {
        "previous_token": previous_token_score(tap["pattern"]) * (n_queries - 1),
        "duplicate_token": duplicate_token_score(tap["pattern"], tokens) * repeating,
        "induction": prefix_matching_score(tap["pattern"], tokens) * repeating,
    }
    for name, ours in scores.items():
        agree(f"head scores: {name}", ours / n_queries, theirs[f"score/{name}"])


@PLAIN
def test_heads_have_the_same_circuits(model: Any, theirs: Any, agree: Any) -> None:
    QK, OV = ([circuit(model, layer) for layer in range(3)] for circuit in (qk, ov))
    agree("circuits: QK", torch.stack([each.product() for each in QK]), theirs["circuit/qk"])
    agree("circuits: OV", torch.stack([each.product() for each in OV]), theirs["circuit/ov"])
    agree("circuits: SVD of QK", torch.stack([each.svd().S for each in QK]), theirs["circuit/qk/singular"])
    agree("circuits: SVD of OV", torch.stack([each.svd().S for each in OV]), theirs["circuit/ov/singular"])
    agree("circuits: norm of OV", torch.stack([each.norm() for each in OV]), theirs["circuit/ov/norm"])
    eigenvalues = torch.stack([each.eigenvalues().abs() for each in OV]).sort().values
    agree("circuits: eigenvalues of OV", eigenvalues, theirs["circuit/ov/eigenvalues"].sort().values)


@pytest.mark.parametrize("family", ["gemma2"])
def test_circuits_of_gemma_differ_by_what_they_leave_out(model: Any, theirs: Any, agree: Any) -> None:
    QK, OV = (torch.stack([circuit(model, layer).product() for layer in range(3)]) for circuit in (qk, ov))
    behind = torch.stack([1 + layer.post_attention_layernorm.weight for layer in model.model.layers])
    agree("circuits: QK", QK, theirs["circuit/qk"])
    agree("circuits: OV", OV, theirs["circuit/ov"] * behind[:, None, None])  # the norm behind the heads
    scale = model.get_input_embeddings().scalar_embed_scale
    agree("circuits: direct path", direct_path(model).product(), theirs["circuit/direct_path"] * scale)


@PLAIN
def test_heads_lead_from_token_to_token_as_strongly(model: Any, theirs: Any, agree: Any) -> None:
    full = torch.stack([full_ov(model, layer, head).product() for layer in range(3) for head in range(4)])
    agree("circuits: full OV", full, theirs["circuit/full_ov"].flatten(0, 1))
    agree("circuits: direct path", direct_path(model).product(), theirs["circuit/direct_path"])
    agree("circuits: copying scores", copying_scores(model), theirs["circuit/copying"])


@PLAIN
@pytest.mark.parametrize("kind", ["Q", "K", "V"])
def test_heads_compose_as_much(kind: str, model: Any, theirs: Any, agree: Any) -> None:
    agree(f"circuits: {kind}-composition", composition_scores(model, kind), theirs[f"composition/{kind}"])


@EVERY
def test_attribution_patching_gives_the_same_picture(model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    effects = attribution_patch(model, inputs["clean"], inputs["corrupt"], metric(inputs), ["z", "mlp_out"])
    agree("attribution patching: z", effects["z"][:, 0].mT, theirs["first_order/z"])
    agree("attribution patching: mlp_out", effects["mlp_out"][:, 0], theirs["first_order/mlp_out"])


@PLAIN
def test_heads_and_neurons_speak_for_the_same_tokens(model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    tokens, vocab = inputs["tokens"], model.config.vocab_size
    heads = [in_order(head_projections(model, tokens, layer, vocab)).movedim(2, 0) for layer in range(3)]
    agree("projections: heads", torch.cat(heads), theirs["said/heads"])
    for name, ask in (("neuron_writes", neuron_writes), ("neuron_reads", neuron_reads)):
        ours = torch.stack([in_order(ask(model, layer, k=vocab)) for layer in range(3)])
        agree(f"projections: {name}", ours, theirs[f"said/{name}"])


def in_order(said: Said) -> Tensor:
    """All tokens in the order of the vocabulary, instead of from the one most spoken for to the least."""
    return said.top_logits.gather(-1, said.top_tokens.argsort(-1))


@EVERY
def test_parts_have_the_same_share_of_a_difference_of_logits(
    model: Any, theirs: Any, inputs: Any, agree: Any, family: str
) -> None:
    ours = logit_attribution(model, inputs["tokens"], int(inputs["right"]), int(inputs["wrong"]))
    parts = [share for name, share in ours.parts.items() if name != "bias"]
    agree("direct logit attribution: parts", torch.stack(parts), theirs["direct/component"][: len(parts)])
    stages = ours.accumulated - ours["bias"]
    agree("direct logit attribution: accumulated", stages, theirs["direct/layer"][[0, 2, 4, 6]])
    heads = ours.heads.permute(0, 3, 1, 2).flatten(0, 1)  # [layer * head, batch, position]
    if family != "gemma2":
        agree("direct logit attribution: heads", heads, theirs["direct/head"][: len(heads)])
