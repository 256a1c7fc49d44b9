"""Weights by name: the model's own numbers, laid out so that one can compute with them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import Tap, load
from interpwidgets.models.anatomy import MissingPartError, anatomy
from interpwidgets.models.folding import fold_norms

EAGER = {"attn_implementation": "eager"}
CAUSAL = ["gpt2", "llama", "gemma2", "attention_only"]


@pytest.fixture
def any_model(build: Callable[..., Any]) -> Callable[[str], Any]:
    def any_model(family: str) -> Any:
        return _off_the_beaten_track(load("attn2l")) if family == "attention_only" else build(family)

    return any_model


def _off_the_beaten_track(model: Any) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return torch.allclose(a, b, rtol=tolerance, atol=tolerance)


def run(model: Any, ids: Tensor, *save: Any) -> Tap:
    with torch.no_grad(), Tap(model, save) as tap:
        model(ids)
    return tap


def read(model: Any, layer: int, before: Any, x: Tensor) -> Tensor:
    """What a layer works with, made from the residual stream by the norm as it is described."""
    norm = anatomy(model).norm(layer, before)
    return x if norm is None else norm.center(x) / norm.scale(x)[..., None] * norm.weight + norm.bias


@pytest.mark.parametrize("family", [*CAUSAL, "bert"])
def test_embeddings_are_what_the_stream_begins_with(any_model: Any, ids: Tensor, family: str) -> None:
    model = any_model(family)
    ids = ids % 60
    parts = anatomy(model)
    start = parts.W_E()[ids]
    if (positions := parts.W_pos()) is not None:
        start = start + positions[: ids.shape[1]]
    if family == "bert":
        rest = model.bert.embeddings
        start = rest.LayerNorm(start + rest.token_type_embeddings.weight[0])
    assert close(start, run(model, ids, ("resid_pre", 0))["resid_pre", 0])


@pytest.mark.parametrize("family", CAUSAL)
def test_last_norm_and_unembedding_make_the_logits(any_model: Any, ids: Tensor, family: str) -> None:
    model = any_model(family)
    ids = ids % 60
    parts = anatomy(model)
    norm = parts.final_norm()
    assert norm is not None
    x = run(model, ids, ("resid_post", -1))["resid_post", -1]
    normed = norm.center(x) / norm.scale(x)[..., None] * norm.weight + norm.bias
    logits = normed @ parts.W_U() + parts.b_U()
    cap = getattr(model.config, "final_logit_softcapping", None)
    logits = logits if cap is None else cap * (logits / cap).tanh()
    with torch.no_grad():
        assert close(logits, model(ids).logits)


@pytest.mark.parametrize("family", [*CAUSAL, "bert"])
def test_queries_keys_and_values_are_made_by_their_matrices(any_model: Any, ids: Tensor, family: str) -> None:
    model = any_model(family)
    ids = ids[:, :1] % 60  # at position 0 a rotation changes nothing
    parts = anatomy(model)
    for layer in range(parts.n_layers):
        tap = run(model, ids, ("resid_pre", layer), ("q", layer), ("k", layer), ("v", layer))
        x = read(model, layer, "attention", tap["resid_pre", layer])
        for site, W, b in (("q", parts.W_Q, parts.b_Q), ("k", parts.W_K, parts.b_K), ("v", parts.W_V, parts.b_V)):
            made = torch.einsum("btd,hde->bthe", x, W(layer)) + b(layer)
            seen = tap[site, layer]
            assert close(made, seen.repeat_interleave(parts.n_heads // seen.shape[2], dim=2)), (site, layer)


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma2", "bert"])
def test_neurons_read_and_write_by_their_matrices(any_model: Any, ids: Tensor, family: str) -> None:
    model = any_model(family)
    parts = anatomy(model)
    tap = run(model, ids, "resid_mid", "mlp_pre", "mlp_post", "mlp_out")
    for layer in range(parts.n_layers):
        x = read(model, layer, "mlp", tap["resid_mid", layer])
        into, bias = (parts.W_gate, parts.b_gate) if parts.gated else (parts.W_in, parts.b_in)
        pre, post = x @ into(layer) + bias(layer), tap["mlp_post", layer]
        assert close(pre, tap["mlp_pre", layer])
        if parts.gated:
            act = model.base_model.layers[layer].mlp.act_fn
            assert close(act(pre) * (x @ parts.W_in(layer) + parts.b_in(layer)), post)
        if family != "gemma2":  # a norm follows there
            assert close(post @ parts.W_out(layer) + parts.b_out(layer), tap["mlp_out", layer])


@pytest.mark.parametrize("family", CAUSAL)
def test_folded_model_says_the_same(any_model: Any, ids: Tensor, family: str) -> None:
    model = any_model(family)
    ids = ids % 60
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    folded = fold_norms(model)
    with torch.no_grad():
        assert close(folded(ids).logits, model(ids).logits)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    parts = anatomy(folded)
    for layer in range(parts.n_layers):
        for before_what in ("attention", "mlp"):
            norm = parts.norm(layer, before_what)  # type: ignore[arg-type]
            assert norm is None or (norm.weight.eq(1).all() and norm.bias.eq(0).all())
    last = parts.final_norm()
    assert last is not None
    assert last.weight.eq(1).all()


def test_folding_unties_the_unembedding_of_the_copy_alone(build: Any, ids: Tensor) -> None:
    model = build("gpt2")
    assert model.lm_head.weight is model.transformer.wte.weight
    folded = fold_norms(model)
    assert torch.equal(folded.transformer.wte.weight, model.transformer.wte.weight)
    assert not torch.equal(folded.lm_head.weight, model.lm_head.weight)
    assert folded.lm_head.bias is not None
    assert model.lm_head.weight is model.transformer.wte.weight


def test_folding_bert_is_refused_in_one_sentence(build: Any) -> None:
    with pytest.raises(ValueError, match="normalises the residual stream itself"):
        fold_norms(build("bert"))


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda parts: parts.W_Q(7), "3 layers, 0 to 2; there is no layer 7"),
        (lambda parts: parts.W_O(-4), "there is no layer -4"),
        (lambda parts: parts.W_in("1"), "there is no layer '1'"),
        (lambda parts: parts.W_gate(0), "has no W_gate: its MLP is not gated"),
    ],
)
def test_what_is_not_there_is_named(build: Any, ask: Callable[[Any], Any], told: str) -> None:
    with pytest.raises(MissingPartError, match=told):
        ask(anatomy(build("gpt2")))


def test_a_model_without_mlp_or_unembedding_says_so(build: Any) -> None:
    with pytest.raises(MissingPartError, match="has no MLP, so it has no W_in"):
        anatomy(load("attn1l")).W_in(0)
    with pytest.raises(MissingPartError, match="has no unembedding"):
        anatomy(build("gpt2").transformer).W_U()


@pytest.mark.parametrize("name", ["modadd59", "maxofk"])
def test_a_model_without_norms_is_read_as_it_stands(name: str) -> None:
    model = load(name)
    ids = torch.randint(0, 40, (2, 3), generator=torch.Generator().manual_seed(0))
    norm = anatomy(model).final_norm()
    assert norm is not None
    x = run(model, ids, ("resid_post", -1))["resid_post", -1]
    with torch.no_grad():
        logits = model(ids).logits
        assert torch.equal(norm.scale(x), torch.ones(2, 3))
        assert close((norm.center(x) * norm.weight + norm.bias) @ anatomy(model).W_U(), logits)
        assert close(fold_norms(model)(ids).logits, logits)
