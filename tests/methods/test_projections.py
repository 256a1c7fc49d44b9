"""What heads, neurons and vectors say: shares that add up to the logits, and cases that are known beforehand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap, load
from interpwidgets.methods.lens import readout
from interpwidgets.methods.projections import (
    CHUNK,
    frozen_scale,
    head_projections,
    head_writes,
    neuron_reads,
    neuron_writes,
    say,
    vocabulary_logits,
)
from interpwidgets.models.anatomy import anatomy

VOCAB, D_MODEL, N_LAYERS, N_HEADS, D_MLP = 61, 32, 3, 4, {"gpt2": 128, "llama": 48, "gemma2": 48}
Build = Callable[..., Any]


def texts(n_texts: int = 2, n: int = 7) -> Tensor:
    return torch.randint(3, VOCAB, (n_texts, n), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["gpt2", "llama", "gemma2", "attention_only"])
def model(request: pytest.FixtureRequest, tiny: Build) -> Any:
    torch.set_num_threads(1)
    return tiny(request.param)


@pytest.fixture(params=[*D_MLP])
def with_mlp(request: pytest.FixtureRequest, tiny: Build) -> Any:
    return tiny(request.param)


def run(model: Any) -> Tap:
    sites = [site for site in ("attn_out", "mlp_out", "resid_post") if site in anatomy(model).family.sites]
    with torch.no_grad(), Tap(model, [("resid_pre", 0), *sites]) as tap:
        model(texts())
    return tap


# -- heads


def test_embedding_heads_and_mlps_add_up_to_the_logits(model: Any) -> None:
    parts = anatomy(model)
    if "Gemma2" in type(model).__name__:
        with torch.no_grad():  # its bias, which is no head's, would go through the norm behind the heads
            for layer in range(N_LAYERS):
                parts.b_O(layer).zero_()
    tap = run(model)
    scale = frozen_scale(model, tap["resid_post", -1])
    written = [tap["resid_pre", 0]]
    for layer in range(N_LAYERS):
        written += [*head_writes(model, texts(), layer).unbind(2), parts.b_O(layer).detach().expand(2, 7, -1)]
        written += [tap["mlp_out", layer]] if "mlp_out" in parts.family.sites else []
    shares = [vocabulary_logits(model, each, scale) for each in written]
    norm = parts.final_norm()
    assert norm is not None
    total = torch.stack(shares).sum(0) + norm.bias @ parts.W_U() + parts.b_U()
    cap = getattr(model.config, "final_logit_softcapping", None)
    with torch.no_grad():
        own = readout(model)(tap["resid_post", -1])
        torch.testing.assert_close(total if cap is None else cap * (total / cap).tanh(), own, rtol=1e-5, atol=1e-5)


def test_heads_say_what_their_share_of_the_logits_says(model: Any) -> None:
    tap = run(model)
    said = head_projections(model, texts(), layer=1, k=3)
    shares = vocabulary_logits(
        model, head_writes(model, texts(), 1), frozen_scale(model, tap["resid_post", -1])[..., None]
    )
    assert said.top_tokens.shape == (2, 7, N_HEADS, 3)
    torch.testing.assert_close(said.top_logits, shares.topk(3).values)
    torch.testing.assert_close(said.bottom_logits, shares.topk(3, largest=False).values)
    torch.testing.assert_close(shares.gather(-1, said.top_tokens), said.top_logits)
    torch.testing.assert_close(shares.gather(-1, said.bottom_tokens), said.bottom_logits)


def test_layers_count_from_the_end_too(model: Any) -> None:
    assert torch.equal(head_writes(model, texts(), -1), head_writes(model, texts(), N_LAYERS - 1))


def test_the_hand_written_induction_head_speaks_for_the_token_that_comes_next() -> None:
    model: Any = load("demo")
    tokens = torch.tensor([[0, 300, 301, 302, 303, 300, 301, 302, 303]])
    said = head_projections(model, tokens, layer=1, k=1)
    assert (said.top_tokens[0, 5:8, :, 0] == tokens[0, 6:, None]).any(-1).all()


# -- neurons


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_a_neuron_that_fires_adds_to_the_logits_what_it_says(family: str, tiny: Build) -> None:
    model = tiny(family)
    tap, norm, row = run(model), anatomy(model).final_norm(), anatomy(model).W_out(-1)[5].detach()
    assert norm is not None
    stream, read = tap["resid_post", -1], readout(model)
    scale = norm.scale(stream)[0, 0]
    with torch.no_grad():  # it fires a little, so that the scale stays what it was
        moved = (read(stream + 1e-2 * row) - read(stream - 1e-2 * row))[0, 0] / 2e-2 * scale
        along = norm.center(stream[0, 0]) / scale  # what the scale, if it did move, would take back
        back = vocabulary_logits(model, along) * (norm.center(row) @ along / D_MODEL)
    said = neuron_writes(model, -1, neurons=[5], k=VOCAB)
    torch.testing.assert_close((moved + back)[said.top_tokens[0]], said.top_logits[0], rtol=1e-2, atol=1e-2)


def test_what_a_neuron_writes_in_gemma_goes_through_the_weight_of_the_norm_behind_it(tiny: Build) -> None:
    model = tiny("gemma2")
    plain = neuron_writes(model, 1, k=VOCAB).top_tokens
    weight = model.model.layers[1].post_feedforward_layernorm.weight
    with torch.no_grad():
        weight.copy_(-2 - weight)  # 1 + w becomes its negative
    assert torch.equal(neuron_writes(model, 1, k=VOCAB).bottom_tokens, plain)


def test_a_neuron_reads_the_token_whose_embedding_it_was_made_of(with_mlp: Any) -> None:
    parts = anatomy(with_mlp)
    norm = parts.norm(0, "mlp")
    assert norm is not None
    matrix = parts.W_gate(0) if parts.gated else parts.W_in(0)
    with torch.no_grad():
        W_E = norm.center(parts.W_E()) * norm.weight
        matrix[:, 7].copy_(W_E[11] / W_E[11].norm() ** 2)
        expected = norm.center(parts.W_E()) * norm.weight @ matrix[:, 7]
    said = neuron_reads(with_mlp, 0, neurons=[7], k=VOCAB)
    torch.testing.assert_close(said.top_logits[0], expected.sort(descending=True).values, rtol=1e-4, atol=1e-5)
    assert said.top_logits[0, said.top_tokens[0] == 11].item() == pytest.approx(1, abs=1e-4)


def test_all_neurons_are_looked_at_a_few_at_a_time(tiny: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = tiny("gpt2"), []
    topk = torch.Tensor.topk
    monkeypatch.setattr(torch.Tensor, "topk", lambda x, *args, **more: (seen.append(len(x)), topk(x, *args, **more))[1])
    assert neuron_writes(model, 0).top_tokens.shape == (D_MLP["gpt2"], 5)
    assert neuron_reads(model, 0).bottom_tokens.shape == (D_MLP["gpt2"], 5)
    assert max(seen) == CHUNK < D_MLP["gpt2"]
    picked = neuron_writes(model, 0, neurons=[100, 3])
    assert torch.equal(picked.top_tokens, neuron_writes(model, 0).top_tokens[[100, 3]])


# -- any vector


def test_a_row_of_the_unembedding_speaks_for_its_token(model: Any) -> None:
    W_U = anatomy(model).W_U().detach()
    norm = anatomy(model).final_norm()
    assert norm is not None
    token = int((norm.center(W_U.T * norm.weight)).norm(dim=-1).argmax())
    assert say(model, norm.center(W_U[:, token] * norm.weight), k=1).top_tokens.tolist() == [token]


def test_vectors_keep_their_shape_even_if_there_are_none(tiny: Build) -> None:
    model = tiny("llama")
    assert say(model, torch.randn(2, 3, D_MODEL), k=4).bottom_logits.shape == (2, 3, 4)
    assert say(model, torch.randn(D_MODEL)).top_logits.shape == (5,)
    assert say(model, torch.zeros(0, D_MODEL)).top_tokens.shape == (0, 5)
    assert not say(model, torch.randn(D_MODEL)).top_logits.requires_grad


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda m: say(m, torch.zeros(3, 7)), r"\[\.\.\., 32\]; these are \[3, 7\]"),
        (lambda m: say(m, torch.zeros(32), k=62), f"k has to be between 1 and {VOCAB}"),
        (lambda m: neuron_reads(m, 0, k=0), "it is 0"),
        (lambda m: neuron_writes(m, 0, neurons=[48]), "48 neurons, 0 to 47; there is no neuron 48"),
        (lambda m: neuron_writes(m, 0, neurons=[]), "none was asked for"),
        (lambda m: neuron_writes(m, 3), "there is no layer 3"),
        (lambda m: head_projections(m, texts(), 3), "there is no layer 3"),
        (lambda m: head_projections(m, torch.full((1, 2), VOCAB), 0), "tokens have to be whole numbers"),
        (lambda m: head_projections(m.train(), texts(), 0), "training mode"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(ask: Callable[[Any], Any], sentence: str, tiny: Build) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        ask(tiny("llama"))
    assert "\n" not in str(raised.value)


def test_a_model_without_neurons_and_bert_are_refused(tiny: Build) -> None:
    with pytest.raises(ValueError, match="no MLP, so it has no W_out"):
        neuron_writes(tiny("attention_only"), 0)
    with pytest.raises(ValueError, match="BertForMaskedLM has no last norm"):
        head_projections(tiny("bert"), texts(), 0)
    with pytest.raises(ValueError, match="BertForMaskedLM has no last norm"):
        neuron_writes(tiny("bert"), 0)
