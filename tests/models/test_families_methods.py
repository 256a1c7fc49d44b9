"""The methods on every family: they run, what has to add up adds up, and where one cannot run it says why."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import AttentionHeads, InductionHeads, LogitLens, Tap
from interpwidgets.methods.ablation import ablate_sweep, zero_ablate
from interpwidgets.methods.attention import value_weighted_norm
from interpwidgets.methods.attribution import logit_attribution
from interpwidgets.methods.attribution_patching import attribution_patch
from interpwidgets.methods.backward_lens import gradient_factors
from interpwidgets.methods.circuits import composition_scores, copying_scores, full_ov, ov, qk
from interpwidgets.methods.gradients import gradient_times_input, gradients
from interpwidgets.methods.lens import logit_lens
from interpwidgets.methods.metrics import logit_difference
from interpwidgets.methods.patching import patch_sweep
from interpwidgets.methods.patchscope import patchscope
from interpwidgets.methods.path import patch_head, path_patch
from interpwidgets.methods.projections import head_writes, neuron_reads, neuron_writes
from interpwidgets.methods.runs import score
from interpwidgets.methods.tuned_lens import TunedLens
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.attention import attention_patterns, kept_attention

STREAM_NORMS = ["opt 350m", "bert", "roberta", "distilbert"]
WITH_LAST_NORM = [
    "gpt2", "gpt_neo", "gptj", "gpt_neox", "gpt_neox sequential", "opt", "bloom", "falcon", "falcon 40b", "falcon 11b",
    "falcon rw", "phi", "phi3", "llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "olmo2",
]  # fmt: skip
TEXT = [*WITH_LAST_NORM, *STREAM_NORMS]
CAUSAL = [*WITH_LAST_NORM, "opt 350m"]
METRIC = partial(logit_difference, right=5, wrong=7)
CLOSE = {"rtol": 0, "atol": 2e-5}


@pytest.fixture
def model(any_model: Any) -> Any:
    return any_model.requires_grad_(False)


def every(names: list[str]) -> Any:
    return pytest.mark.parametrize("any_model", names, indirect=True)


# -- runs


@every(TEXT)
@pytest.mark.parametrize("site", ["resid_pre", "attn_out", "mlp_out", "z"])
def test_a_sweep_is_what_one_run_for_each_patch_gives(model: Any, ids: Tensor, site: Any) -> None:
    clean, corrupt = ids[:1, :4], ids[1:, :4]
    found = patch_sweep(model, clean, corrupt, METRIC, site, progress=False)
    with torch.no_grad(), Tap(model, site) as there:
        model(clean)

    def patched(layer: int, place: int) -> Tensor:
        def patch(x: Tensor) -> Tensor:
            index = (slice(None), slice(None), place) if site == "z" else (slice(None), place)
            x[index] = there[site, layer][index]
            return x

        with torch.no_grad(), Tap(model, edits={(site, layer): patch}):
            return score(model, corrupt, METRIC)[0]

    expected = [[patched(layer, place) for place in range(found.shape[1])] for layer in range(3)]
    torch.testing.assert_close(found, torch.tensor(expected), **CLOSE)


@every(TEXT)
def test_heads_are_taken_out_one_by_one(model: Any, ids: Tensor) -> None:
    found = ablate_sweep(model, ids, METRIC, zero_ablate, progress=False)
    with torch.no_grad(), Tap(model, edits={("result", 1): lambda heads: heads * torch.tensor([1, 1, 0, 1])[:, None]}):
        expected = score(model, ids, METRIC)
    torch.testing.assert_close(found[1, 2], expected, **CLOSE)


@every(TEXT)
def test_gradients_and_what_is_made_of_them(model: Any, ids: Tensor) -> None:
    found = gradients(model, ids, METRIC, ["resid_pre", "z"])
    assert found.gradients["resid_pre", 1].abs().max() > 0
    assert gradient_times_input(model, ids, METRIC).shape == ids.shape
    patches = attribution_patch(model, ids[:1], ids[1:], METRIC, ["resid_pre", "z", "mlp_out"])
    assert patches["z"].shape == (3, 1, 10, 4)


@every(TEXT)
def test_gradients_of_matrices_are_sums_over_positions(model: Any, ids: Tensor) -> None:
    parts = anatomy(model)
    names: Any = ["W_in", "W_out", *(["W_gate"] if parts.gated else [])]
    factors = gradient_factors(model, ids, lambda logits: logits.pow(2).mean(), tuple(names))
    modules = [parts.blocks[1].get_submodule(parts.family.mlp[name]) for name in names]
    weights: list[Any] = [module.weight.requires_grad_() for module in modules]
    slopes = torch.autograd.grad(model(ids).logits.pow(2).mean(), weights)
    for name, module, slope in zip(names, modules, slopes, strict=True):
        expected = parts.half(name, slope.T if isinstance(module, torch.nn.Linear) else slope)
        torch.testing.assert_close(factors[name, 1].gradient, expected, rtol=1e-4, atol=1e-6)


@every(TEXT)
def test_values_weigh_what_heads_attend_to(model: Any, ids: Tensor) -> None:
    with torch.no_grad(), Tap(model, ["pattern", "v"]) as tap:
        model(ids)
    found = value_weighted_norm(tap["pattern", 0], tap["v", 0], anatomy(model).W_O(0))
    assert found.shape == (2, 4, 10, 10)


# -- from the stream to the logits


@every(WITH_LAST_NORM)
def test_the_lens_ends_with_what_the_model_says(model: Any, ids: Tensor) -> None:
    seen = logit_lens(model, ids, sites=[("resid_pre", 0), "resid_post"])
    assert seen.kl[-1].abs().max() == 0
    assert seen.kl[0].mean() > 0
    said = model(ids).logits.softmax(-1).topk(5)
    assert torch.equal(seen.top_tokens[-1], said.indices)
    torch.testing.assert_close(seen.top_probs[-1], said.values, **CLOSE)
    scoped = logit_lens(model, ids, sites=[("resid_post", 1)], lens=patchscope(model, ids[0, :3]), chunk=20)
    assert scoped.kl.shape == (1, 2, 10)
    tuned = logit_lens(model, ids, sites=[("resid_post", 1)], lens=TunedLens.identity(model))
    torch.testing.assert_close(tuned.kl, seen.kl[2:3], **CLOSE)


@every(WITH_LAST_NORM)
def test_shares_of_a_logit_add_up_to_it(model: Any, ids: Tensor) -> None:
    found = logit_attribution(model, ids, 5, 7)
    logits, cap = model(ids).logits, getattr(model.config, "final_logit_softcapping", None)
    logits = logits if cap is None else cap * (logits / cap).atanh()
    torch.testing.assert_close(found.total, logits[..., 5] - logits[..., 7], rtol=1e-4, atol=1e-4)
    total = found.heads[1].sum(-1) + found.head_bias[1]
    torch.testing.assert_close(total, found["attn_out", 1], **CLOSE)


@every(WITH_LAST_NORM)
def test_what_heads_and_neurons_write_and_read(model: Any, ids: Tensor) -> None:
    parts = anatomy(model)
    with torch.no_grad(), Tap(model, "attn_out") as tap:
        model(ids)
    writes, after = head_writes(model, ids, 1).sum(-2), parts.norm_after(1, "attn_out")
    if after is None:
        writes = writes + parts.b_O(1)
    torch.testing.assert_close(writes, tap["attn_out", 1], **CLOSE)
    width = parts.W_out(1).shape[0]
    assert len(neuron_writes(model, 1).top_tokens) == len(neuron_reads(model, 1).top_tokens) == width


@every(STREAM_NORMS)
def test_what_needs_a_sum_of_all_that_is_written_refuses_norms_in_the_stream(model: Any, ids: Tensor) -> None:
    for ask in (
        lambda: logit_lens(model, ids),
        lambda: logit_attribution(model, ids, 5),
        lambda: path_patch(model, ids[:1], ids[1:], (0, 1), "logits"),
        lambda: full_ov(model, 0, 0),
        lambda: composition_scores(model, "K"),
    ):
        with pytest.raises(ValueError, match=r"norm"):
            ask()


# -- paths and circuits


@every(WITH_LAST_NORM)
def test_a_path_to_the_logits_is_the_direct_effect_of_a_head(model: Any, ids: Tensor) -> None:
    clean, corrupt = ids[:1], ids[1:]
    logits, tap = path_patch(model, clean, corrupt, (2, 1), "logits", save=["resid_post"])
    whole, everywhere = patch_head(model, clean, corrupt, [(2, 1)], save=["resid_post", "mlp_out"])
    parts = anatomy(model)
    if parts.family.parallel and parts.norm_after(2, "attn_out") is None:  # no MLP comes after the last heads
        torch.testing.assert_close(logits, whole, **CLOSE)
    else:
        assert (logits - whole).abs().max() > 1e-4
    torch.testing.assert_close(tap["resid_post", 1], everywhere["resid_post", 1], **CLOSE)
    reached, _ = path_patch(model, clean, corrupt, ("mlp_out", 0), [(2, 1)], into="q")
    assert (reached - model(clean).logits).abs().max() > 1e-5


@every(WITH_LAST_NORM)
def test_circuits_are_what_heads_compute(model: Any, ids: Tensor) -> None:
    for name, weight in model.named_parameters():
        weight.mul_(0 if name.endswith("bias") else 1)  # they are in no circuit
    parts, n = anatomy(model), 6
    with torch.no_grad(), Tap(model, ["resid_pre", "q", "k"]) as tap:
        model(ids[:1, :n])
    norm, x = parts.norm(1, "attention"), tap["resid_pre", 1][0]
    x = x if norm is None else x / norm.scale(x)[:, None]
    values = torch.einsum("btd,hde->bthe", _read(parts, tap), parts.W_V(1))
    written, after = parts.heads(values, 1), parts.norm_after(1, "attn_out")
    written = written if after is None else written * after.weight
    torch.testing.assert_close((x @ ov(model, 1).product()).transpose(0, 1)[None], written, **CLOSE)
    q, k = (tap[site, 1][0].repeat_interleave(4 // tap[site, 1].shape[2], 1) for site in "qk")
    q = q * (parts.d_head**0.5 if parts.family.scaled_queries else 1)
    if norms := parts.qk_norms(1):  # which divide each query and key by a number of its own
        q, k = (
            x * _divided_by(norm, _read(parts, tap), W)
            for norm, x, W in zip(norms, (q, k), _circuit_weights(parts), strict=True)
        )
    for back in (0, 2) if _turns(model) else (0,):
        found = torch.einsum("td,hde,te->th", x[back:], qk(model, 1, back).product(), x[: n - back])
        expected = torch.einsum("the,the->th", q[back:], k[: n - back])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("any_model", "why"),
    [
        ("gpt2", "positions do not turn queries and keys"),
        ("bloom", "positions do not turn queries and keys"),
        ("falcon rw", "positions do not turn queries and keys"),
        ("gptj", "GPTJAttention turns queries and keys in a way that is not known here"),
    ],
    indirect=["any_model"],
)
def test_a_circuit_at_a_distance_that_cannot_be_had_is_refused(model: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        qk(model, 1, 2)


@every(WITH_LAST_NORM)
def test_scores_of_circuits_are_numbers(model: Any) -> None:
    for found in (copying_scores(model), composition_scores(model, "K"), full_ov(model, 0, 0).norm()):
        assert found.isfinite().all()


def _read(parts: Any, tap: Tap) -> Tensor:
    """What layer 1 reads, by the norm as it is described."""
    norm, x = parts.norm(1, "attention"), tap["resid_pre", 1]
    return x if norm is None else norm.center(x) / norm.scale(x)[..., None] * norm.weight


def _circuit_weights(parts: Any) -> tuple[Tensor, Tensor]:
    return parts.W_Q(1), parts.W_K(1)


def _divided_by(norm: Any, x: Tensor, W: Tensor) -> Tensor:
    """The scale of each query or key, [position, head, 1]: of its head, or of all heads where each has its weight."""
    raw = torch.einsum("td,hde->the", x[0], W)
    return norm.scale(raw)[..., None] if len(norm.weight) == 1 else norm.scale(raw.flatten(1))[:, None, None]


def _turns(model: Any) -> bool:
    return hasattr(model.base_model, "rotary_emb") and not getattr(model.config, "alibi", False)


# -- long texts


@pytest.mark.parametrize("name", ["gpt_neo", "gptj", "bloom", "falcon", "falcon 40b", "falcon rw"])
def test_patterns_of_long_texts_are_computed_when_they_are_looked_at(
    build: Callable[..., Any], demo: Any, name: str
) -> None:
    model, text = build(name, vocab_size=4200), "Lily ran to the park. Lily ran. " * 2
    plain, kept = (ask(model, text, demo.tokenizer).patterns for ask in (attention_patterns, kept_attention))
    for layer, expected in ((0, plain[0]), (2, plain[2]), (1, plain[1]), (1, plain[1])):
        assert kept[layer].shape == expected.shape
        torch.testing.assert_close(torch.from_numpy(kept[layer].rows(slice(2, 7), 3)), expected[3:4, 2:7], **CLOSE)
        torch.testing.assert_close(torch.from_numpy(kept[layer].rows(slice(None))), expected, **CLOSE)


# -- widgets


@pytest.mark.parametrize("name", TEXT)
def test_widgets_show_every_family(build: Callable[..., Any], demo: Any, name: str) -> None:
    model = (
        build(name, vocab_size=4200, max_position_embeddings=64) if name != "bloom" else build(name, vocab_size=4200)
    )
    heads = AttentionHeads.from_model(model, "Lily ran. Lily ran.", demo.tokenizer)
    torch.testing.assert_close(torch.as_tensor(heads.selected).sum(-1), torch.ones(len(heads.selected)), **CLOSE)
    induction = InductionHeads.from_model(model, period=8, copies=2, tokenizer=demo.tokenizer)
    assert induction.tokens
    if name in WITH_LAST_NORM:
        assert LogitLens.from_model(model, "Lily ran.", demo.tokenizer).tokens
