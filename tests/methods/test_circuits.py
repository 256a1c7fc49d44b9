"""The two matrices of a head give what the model computes; all that is read from them agrees with dense matrices."""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest
import torch
import transformers as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from interpwidgets import Tap, load
from interpwidgets.methods.circuits import (
    composition_baseline,
    composition_score,
    composition_scores,
    copying_score,
    copying_scores,
    direct_path,
    full_ov,
    full_qk,
    ov,
    qk,
    singular_tokens,
)
from interpwidgets.methods.factored import top_pairs
from interpwidgets.models.anatomy import MissingPartError, anatomy
from interpwidgets.models.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM
from interpwidgets.models.folding import fold_norms

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
VOCAB, N_LAYERS, N_HEADS = 61, 3, 4
ROPE = {
    "vocab_size": VOCAB, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": N_LAYERS,
    "num_attention_heads": N_HEADS, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 24,
}  # fmt: skip
BERT = {name: size for name, size in ROPE.items() if name not in ("num_key_value_heads", "head_dim")}
MODELS: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: tf.GPT2LMHeadModel(
        tf.GPT2Config(vocab_size=VOCAB, n_embd=32, n_layer=N_LAYERS, n_head=N_HEADS, n_positions=24)
    ),
    "llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**ROPE)),
    "gemma2": lambda: tf.Gemma2ForCausalLM(
        tf.Gemma2Config(**ROPE, query_pre_attn_scalar=8, attn_logit_softcapping=None)
    ),
    "attention_only": lambda: AttentionOnlyForCausalLM(
        AttentionOnlyConfig(vocab_size=VOCAB, n_layers=N_LAYERS, n_heads=N_HEADS, d_model=32, d_head=8)
    ),
    "bert": lambda: tf.BertForMaskedLM(tf.BertConfig(**BERT)),
}
WITH_PATHS = [family for family in MODELS if family != "bert"]


def build(family: str) -> Any:
    """A tiny random model without biases, which circuits leave out, and with norms that are not 1."""
    torch.manual_seed(0)
    return _unlike_its_start(MODELS[family]())


def _unlike_its_start(model: Any) -> Any:
    for name, weight in model.eval().requires_grad_(False).named_parameters():
        if name.endswith("bias"):
            weight.zero_()
        else:
            weight.add_(0.2 * torch.randn_like(weight))
    return model


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=WITH_PATHS)
def model(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


@pytest.fixture(scope="module")
def attn2l() -> Any:
    return load("attn2l")


def run(model: Any) -> Tap:
    """One text through the model, and all that its heads saw and did."""
    ids = torch.randint(3, VOCAB, (1, 9), generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), Tap(model, ["resid_pre", "q", "k", "pattern", "attn_out"]) as tap:
        model(ids)
    return tap


def scale(tap: Tap, layer: int) -> Tensor:
    """What the norm before the heads divides by at each position; 1 in BERT, which has none."""
    norm, stream = tap.anatomy.norm(layer, "attention"), tap["resid_pre", layer]
    return torch.ones_like(stream[0, :, 0]) if norm is None else norm.scale(stream)[0]


# -- the two matrices of a head


@pytest.mark.parametrize("family", [*MODELS])
def test_qk_of_the_residual_stream_is_query_times_key(family: str) -> None:
    tap = run(build(family))
    layer, query, key = 1, 7, 4
    parts = tap.anatomy
    stream = tap["resid_pre", layer][0] / scale(tap, layer)[:, None]  # [position, d_model]
    distance = query - key if family in ("llama", "gemma2") else 0
    scores = stream[query] @ qk(parts.model, layer, distance) @ stream[key]
    keys = tap["k", layer][0, key].repeat_interleave(N_HEADS // parts.n_kv_heads, 0)
    torch.testing.assert_close(scores, (tap["q", layer][0, query] * keys).sum(-1), **CLOSE)


@pytest.mark.parametrize("family", [*MODELS])
def test_ov_of_the_residual_stream_is_what_the_heads_write(family: str) -> None:
    tap = run(build(family))
    layer = 2
    stream = tap["resid_pre", layer][0] / scale(tap, layer)[:, None]
    each = tap["pattern", layer][0] @ stream  # [head, query, d_model]: what each head has gathered
    circuit = ov(tap.anatomy.model, layer)
    written = (each @ circuit.left @ circuit.right).sum(0)
    if family == "gemma2":  # the norm behind the heads divides by the size of what they write
        raw = written / (1 + tap.anatomy.blocks[layer].post_attention_layernorm.weight)
        written = written / (raw.square().mean(-1, keepdim=True) + tap.anatomy.model.config.rms_norm_eps).sqrt()
    torch.testing.assert_close(written, tap["attn_out", layer][0], **CLOSE)


def test_heads_that_share_keys_and_values_differ_in_where_they_look_only() -> None:
    model = build("llama")
    QK, OV = qk(model, 0), ov(model, 0)
    assert torch.equal(OV.left[0], OV.left[1])
    assert not torch.allclose(QK[0].product(), QK[1].product())


def test_what_is_folded_here_is_what_fold_norms_folds(model: Any) -> None:
    folded = fold_norms(model)
    for circuit in (qk, ov):
        torch.testing.assert_close(circuit(model, 1).product(), circuit(folded, 1).product(), **CLOSE)
    torch.testing.assert_close(full_ov(model, 1, 2).product(), full_ov(folded, 1, 2).product(), **CLOSE)
    torch.testing.assert_close(direct_path(model).product(), direct_path(folded).product(), **CLOSE)


def test_weights_in_half_precision_are_read_in_float32() -> None:
    model = build("gpt2").to(torch.bfloat16)
    assert ov(model, 0).svd().S.dtype == torch.float32
    assert copying_scores(model).dtype == torch.float32


def test_circuits_carry_no_gradients_and_leave_the_weights_alone() -> None:
    model = build("llama").requires_grad_(True)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    assert not qk(model, 0, 3).left.requires_grad
    assert not composition_scores(model, "V").requires_grad
    assert not full_ov(model, 0, 0).svd().S.requires_grad
    assert all(torch.equal(before[name], weight) for name, weight in model.named_parameters())


# -- between tokens


def test_the_paths_of_a_one_layer_model_add_up_to_its_logits() -> None:
    torch.manual_seed(0)
    model: Any = AttentionOnlyForCausalLM(
        AttentionOnlyConfig(vocab_size=VOCAB, n_layers=1, n_heads=3, d_model=32, d_head=8)
    )
    _unlike_its_start(model)
    model.model.positions.weight.zero_()
    ids = torch.randint(3, VOCAB, (1, 9))
    with Tap(model, ["pattern", "resid_pre", "resid_post"]) as tap:
        logits = model(ids).logits[0]
    parts = anatomy(model)
    before, after = parts.norm(0, "attention"), parts.final_norm()
    assert before is not None
    assert after is not None
    seen = tap["pattern", 0][0] / before.scale(tap["resid_pre", 0])[0]  # [head, query, key]
    paths = direct_path(model).product()[ids[0]]
    for head in range(3):
        paths = paths + seen[head] @ full_ov(model, 0, head).product()[ids[0]]
    torch.testing.assert_close(paths / after.scale(tap["resid_post", 0])[0][:, None], logits, **CLOSE)


def test_full_circuits_are_the_heads_between_tokens(model: Any) -> None:
    parts = anatomy(model)
    W_E = parts.W_E()
    assert full_qk(model, 1, 2).rank == full_ov(model, 1, 2).rank == parts.d_head
    torch.testing.assert_close(full_qk(model, 1, 2).product(), W_E @ qk(model, 1)[2].product() @ W_E.T, **CLOSE)
    last = parts.final_norm()
    assert last is not None
    logits = (last.center(W_E @ ov(model, 1)[2].product()) * last.weight) @ parts.W_U()
    torch.testing.assert_close(full_ov(model, 1, 2).product(), logits, rtol=1e-5, atol=1e-4)


def test_the_strongest_pairs_of_an_induction_head_are_words_with_themselves(attn2l: Any) -> None:
    pairs = top_pairs(full_ov(attn2l, 1, 1), k=20)
    assert (pairs.rows == pairs.columns).all()


# -- does a head copy?


def test_copying_scores_are_those_of_the_whole_circuits(model: Any) -> None:
    scores = copying_scores(model)
    assert scores.shape == (N_LAYERS, N_HEADS)
    for layer, head in ((0, 1), (2, 3)):
        values = torch.linalg.eigvals(full_ov(model, layer, head).product().double())
        assert scores[layer, head].item() == pytest.approx((values.sum() / values.abs().sum()).real.item(), abs=1e-4)


def test_without_means_and_with_norms_folded_the_score_of_the_bare_weights_is_the_same() -> None:
    parts = anatomy(fold_norms(build("llama")))
    one = copying_score(parts.W_E(), parts.W_V(1)[2], parts.W_O(1)[2], parts.W_U())
    assert copying_scores(build("llama"))[1, 2].item() == pytest.approx(one.item(), abs=1e-4)


def test_a_head_that_undoes_itself_copies_and_its_opposite_suppresses() -> None:
    config = AttentionOnlyConfig(vocab_size=VOCAB, n_layers=1, n_heads=2, d_model=32, d_head=8)
    model: Any = AttentionOnlyForCausalLM(config).requires_grad_(False)
    o, v = model.model.layers[0].attention.o, model.model.layers[0].attention.v
    o.weight.copy_(v.weight.T)
    o.weight[:, 8:] *= -1  # the second head is the first one's opposite
    model.unembed.weight.copy_(model.model.embed.weight)
    torch.testing.assert_close(copying_scores(model), torch.tensor([[1.0, -1.0]]), **CLOSE)


def test_both_induction_heads_of_attn2l_copy(attn2l: Any) -> None:
    scores = copying_scores(attn2l)
    assert (scores[1] > 0.25).all()
    assert scores[1, 1] > 0.99
    assert (scores[0] < 0).all()


# -- does one head read what another writes?


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**31), st.integers(2, 3), st.integers(1, 3), st.integers(2, 12), st.integers(1, 14),
    st.sampled_from(["Q", "K", "V"]),
)  # fmt: skip
def test_composition_without_products_is_composition_of_products(
    seed: int, n_layers: int, n_heads: int, d_model: int, d_head: int, kind: Literal["Q", "K", "V"]
) -> None:
    torch.manual_seed(seed)
    config = AttentionOnlyConfig(vocab_size=9, n_layers=n_layers, n_heads=n_heads, d_model=d_model, d_head=d_head)
    model = _unlike_its_start(AttentionOnlyForCausalLM(config)).double()
    scores = composition_scores(model, kind)
    assert scores.shape == (n_layers, n_heads, n_layers, n_heads)
    reading = {"Q": lambda layer: qk(model, layer), "K": lambda layer: qk(model, layer).T}.get(
        kind, lambda layer: ov(model, layer)
    )
    for first in range(n_layers):
        for second in range(n_layers):
            expected = torch.zeros(n_heads, n_heads, dtype=torch.float64)
            if first < second:
                expected = composition_score(ov(model, first).product(), reading(second).product())
            torch.testing.assert_close(scores[first, :, second], expected, **CLOSE)


def test_the_keys_of_induction_heads_read_the_previous_token_head_far_more_than_chance(attn2l: Any) -> None:
    scores, chance = composition_scores(attn2l, "K"), composition_baseline(attn2l, "K")
    above = (scores - chance.mean) / chance.std
    assert (above[0, 0, 1] > 10).all()  # head (0, 0) looks one step back
    assert (above[0, 1, 1] < 2).all()
    assert (composition_scores(attn2l, "Q")[0, :, 1] < chance.mean[0, :, 1]).all()


@pytest.mark.parametrize("kind", ["Q", "K", "V"])
def test_by_chance_the_mean_square_is_one_over_d_model(model: Any, kind: Literal["Q", "K", "V"]) -> None:
    mean, std = composition_baseline(model, kind, samples=300)
    later = composition_scores(model, kind) > 0
    assert (later == (mean > 0)).all()
    torch.testing.assert_close((mean**2 + std**2)[later], torch.full_like(mean[later], 1 / 32), rtol=0.1, atol=0)


def test_turning_the_stream_between_two_heads_gives_scores_as_the_baseline_has_them() -> None:
    model = build("attention_only")
    parts, turned = anatomy(model), []
    A, B = ov(model, 0)[:1].product(), ov(model, 1)[:1].product()
    for _ in range(300):
        turn = torch.linalg.qr(torch.randn(parts.d_model, parts.d_model)).Q
        turned.append(composition_score(A @ turn, B))
    mean, std = composition_baseline(model, "V", samples=300)
    assert torch.stack(turned).mean().item() == pytest.approx(mean[0, 0, 1, 0].item(), rel=0.03)
    assert torch.stack(turned).std().item() == pytest.approx(std[0, 0, 1, 0].item(), rel=0.2)


def test_a_head_that_writes_nothing_is_read_by_nobody() -> None:
    scores = composition_scores(load("demo"), "K")
    assert scores[0, 0, 1, 0] > 2 * composition_baseline(load("demo"), "K").mean[0, 0, 1, 0]
    assert not scores[0, 1:].any()


# -- the directions of a head, in tokens


@pytest.mark.parametrize("circuit", ["qk", "ov"])
def test_singular_tokens_lie_furthest_along_the_singular_directions(model: Any, circuit: Literal["qk", "ov"]) -> None:
    parts = anatomy(model)
    found = singular_tokens(model, 1, 2, circuit, n=3, k=4)
    matrix = {"qk": qk, "ov": ov}[circuit](model, 1)[2]
    U, S, _ = matrix.svd()
    torch.testing.assert_close(found.strength, S[:3])
    assert found.left.shape == found.right.shape == (3, 2, 4)
    left = parts.W_E() @ U[:, :3]  # [vocab, direction]
    for direction in range(3):
        ends = {tuple((sign * left[:, direction]).topk(4).indices.tolist()) for sign in (1, -1)}
        assert {tuple(end.tolist()) for end in found.left[direction]} == ends


def test_reading_one_end_of_a_singular_direction_raises_the_tokens_of_the_same_end(model: Any) -> None:
    found = singular_tokens(model, 0, 1, "ov", n=1, k=3)
    U, S, Vh = ov(model, 0)[1].svd()
    parts = anatomy(model)
    last = parts.final_norm()
    assert last is not None
    logits = (last.center(Vh[0]) * last.weight) @ parts.W_U()
    for end in (0, 1):
        read = parts.W_E()[found.left[0, end]] @ U[:, 0]
        assert (read[:, None] * S[0] * logits[found.right[0, end]] > 0).all()
    assert logits[found.right[0, 0, 0]].abs() >= logits[found.right[0, 1, 0]].abs()


# -- what cannot be


@pytest.mark.parametrize(
    "ask",
    [
        lambda bert: full_qk(bert, 0, 0),
        lambda bert: full_ov(bert, 0, 0),
        direct_path,
        copying_scores,
        lambda bert: composition_scores(bert, "K"),
        lambda bert: composition_baseline(bert, "K"),
        lambda bert: singular_tokens(bert, 0, 0),
    ],
)
def test_bert_is_refused_where_norms_stand_in_the_way(ask: Callable[[Any], Any]) -> None:
    with pytest.raises(ValueError, match="normalises the residual stream itself"):
        ask(build("bert"))


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda model: qk(model, 3), "no layer 3"),
        (lambda model: full_ov(model, 0, 4), "0 to 3; there is no head 4"),
        (lambda model: full_qk(model, 0, -5), "no head -5"),
        (lambda model: qk(model, 0, 1), "do not turn queries and keys"),
        (lambda model: qk(build("llama"), 0, -1), "-1 positions before"),
        (lambda model: composition_scores(model, "OV"), "'Q', 'K' or 'V'"),
        (lambda model: composition_baseline(model, "Q", samples=1), "at least 2"),
        (lambda model: singular_tokens(model, 0, 0, "vo"), "'qk' and 'ov'"),
        (lambda model: singular_tokens(model, 0, 0, n=9), "n has to be between 1 and 8"),
        (lambda model: singular_tokens(model, 0, 0, k=62), "k has to be between 1 and 61"),
        (lambda model: full_ov(model.transformer, 0, 0), "no unembedding"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(ask: Callable[[Any], Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        ask(build("gpt2"))
    assert str(error.value).count(". ") == 0


def test_a_head_that_does_not_exist_is_a_missing_part() -> None:
    with pytest.raises(MissingPartError):
        full_ov(build("gpt2"), 0, 4)


def test_copying_needs_a_model_that_says_what_it_reads() -> None:
    with pytest.raises(ValueError, match="reads 60 tokens and says 59"):
        copying_scores(load("modadd59"))
