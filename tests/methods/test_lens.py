"""The logit lens against the model's own end, against the plain way to compute it, and in cases that cannot fail."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import transformers as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import kl_div

from interpwidgets import Tap, load
from interpwidgets.methods.lens import Lens, follow, logit_lens, readout
from interpwidgets.models.anatomy import anatomy

VOCAB, D_MODEL, N_LAYERS = 61, 32, 3
IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
GPT2 = {"vocab_size": VOCAB, "n_embd": D_MODEL, "n_layer": N_LAYERS, "n_head": 4, "n_positions": 24, **IDS}
ROPE = {
    "vocab_size": VOCAB, "hidden_size": D_MODEL, "intermediate_size": 48, "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 24, **IDS,
}  # fmt: skip
TINY: dict[str, Callable[[], Any]] = {
    "gpt2": lambda: tf.GPT2LMHeadModel(tf.GPT2Config(**GPT2)),
    "llama": lambda: tf.LlamaForCausalLM(tf.LlamaConfig(**ROPE)),
    "gemma2": lambda: tf.Gemma2ForCausalLM(
        tf.Gemma2Config(**ROPE, sliding_window=5, final_logit_softcapping=0.5, query_pre_attn_scalar=8)
    ),
}


def build(family: str, seed: int = 0) -> Any:
    """A tiny random model in evaluation mode, with norms and biases that are not what initialisation makes them."""
    if family == "attention_only":
        return load("attn2l")
    torch.manual_seed(seed)
    model = TINY[family]().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return model


def ids(batch: int = 2, n: int = 9, seed: int = 1) -> Tensor:
    return torch.randint(3, VOCAB, (batch, n), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=[*TINY, "attention_only"])
def model(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


def own_logits(model: Any, tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return model(tokens).logits


def fields(lens: Lens) -> list[Tensor]:
    return [lens.top_tokens, lens.top_probs, lens.entropy, lens.kl, lens.target, lens.target_rank, lens.target_prob]


# -- what the lens says ----------------------------------------------------------------------------------------------


def test_at_the_last_layer_it_is_the_model(model: Any) -> None:
    tokens = ids()
    logits = own_logits(model, tokens)
    last = ("resid_post", -1)
    with torch.no_grad(), Tap(model, last) as tap:
        model(tokens)
        torch.testing.assert_close(readout(model)(tap[last]), logits, rtol=0, atol=1e-5)
    lens, probs = logit_lens(model, tokens), logits.softmax(-1)
    torch.testing.assert_close(lens.top_probs[-1], probs.topk(5).values, rtol=0, atol=1e-5)
    torch.testing.assert_close(probs.gather(-1, lens.top_tokens[-1]), lens.top_probs[-1], rtol=0, atol=1e-5)
    assert not lens.kl[-1].any()


def test_it_is_what_the_plain_way_gives_at_every_layer(model: Any) -> None:
    tokens = ids()
    with torch.no_grad(), Tap(model, "resid_post") as tap:
        end = model(tokens).logits.log_softmax(-1)
        log_probs = readout(model)(tap["resid_post"]).log_softmax(-1)  # [layer, batch, position, vocab], all at once
    lens = logit_lens(model, tokens, k=3, chunk=4)
    following = tokens[:, 1:].expand(len(log_probs), -1, -1)[..., None]
    of_target = log_probs[:, :, :-1].gather(-1, following)
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(lens.top_probs, log_probs.exp().topk(3).values, **close)
    torch.testing.assert_close(lens.entropy, -(log_probs.exp() * log_probs).sum(-1), **close)
    missing = kl_div(log_probs, end.expand_as(log_probs), log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(lens.kl, missing, **close)
    torch.testing.assert_close(lens.target_prob, of_target.exp().squeeze(-1), **close)
    assert torch.equal(lens.target_rank, (log_probs[:, :, :-1] > of_target).sum(-1))


def test_the_bound_of_gemmas_logits_is_felt() -> None:
    tokens = ids()
    model = build("gemma2")
    assert own_logits(model, tokens).abs().max() < 0.5
    bounded = logit_lens(model, tokens).entropy
    model.config.final_logit_softcapping = None
    assert (logit_lens(model, tokens).entropy < bounded - 1e-3).any()


def test_a_model_whose_blocks_write_nothing_says_the_same_at_every_layer(model: Any) -> None:
    parts = anatomy(model)
    silent: dict[Any, Any] = {site: torch.zeros_like for site in ("attn_out", "mlp_out") if site in parts.family.sites}
    with Tap(model, edits=silent):
        lens = logit_lens(model, ids(), sites=[("resid_pre", 0), "resid_post"])
    assert len(lens.sites) == parts.n_layers + 1
    assert not lens.kl.any()
    for found in (lens.top_tokens, lens.top_probs, lens.entropy, lens.target_rank, lens.target_prob):
        assert torch.equal(found, found[:1].expand_as(found))


def test_a_model_with_an_unembedding_of_zeros_knows_nothing() -> None:
    model = build("llama")
    torch.nn.init.zeros_(model.lm_head.weight)
    lens = logit_lens(model, ids(), k=VOCAB)
    torch.testing.assert_close(lens.top_probs, torch.full_like(lens.top_probs, 1 / VOCAB))
    torch.testing.assert_close(lens.entropy, torch.full_like(lens.entropy, VOCAB).log())
    assert not lens.target_rank.any()  # no token is more likely than another


def test_the_hand_written_model_knows_what_comes_next_after_its_induction_head() -> None:
    model: Any = load("demo")
    tokens = torch.tensor([[0, 300, 301, 302, 303, 300, 301, 302, 303]])
    lens = logit_lens(model, tokens)
    nothing_known = torch.tensor(float(len(model.tokenizer))).log()
    torch.testing.assert_close(lens.entropy[0, 0], nothing_known.expand(9), rtol=0, atol=0.01)
    assert lens.target_rank[1, 0, 5:].tolist() == [0, 0, 0]
    assert (lens.target_prob[1, 0, 5:] > 0.9).all()


# -- how it is asked -------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 3), st.integers(1, 8), st.integers(1, 30), st.integers(1, VOCAB))
def test_the_size_of_a_chunk_changes_nothing(batch: int, n: int, chunk: int, k: int) -> None:
    model, tokens = build("gpt2"), ids(batch, n)
    whole, parts = (logit_lens(model, tokens, k, chunk=size) for size in (1000, chunk))
    assert whole.top_tokens.shape == (N_LAYERS, batch, n, k)
    assert whole.target_rank.shape == (N_LAYERS, batch, n - 1)
    torch.testing.assert_close(parts.top_probs, whole.top_probs)
    torch.testing.assert_close(parts.entropy, whole.entropy)
    torch.testing.assert_close(parts.kl, whole.kl, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.target_prob, whole.target_prob)


def test_no_more_than_a_chunk_of_logits_is_ever_made() -> None:
    model, seen = build("llama"), []
    model.lm_head.register_forward_hook(lambda _, args, out: seen.append(out.numel() // VOCAB))
    logit_lens(model, ids(2, 9), chunk=4)
    assert max(seen) == 4
    assert sum(seen) == N_LAYERS * 2 * 9  # and none twice


def test_targets_can_be_named_for_every_position_or_for_the_first_few() -> None:
    model, tokens = build("gpt2"), ids()
    best = own_logits(model, tokens).argmax(-1)
    assert not logit_lens(model, tokens, target=best).target_rank[-1].any()
    some = logit_lens(model, tokens, target=best[:, :3])
    assert some.target_rank.shape == (N_LAYERS, 2, 3)
    assert not some.target_rank[-1].any()
    torch.testing.assert_close(some.target_prob[-1], some.top_probs[-1, :, :3, 0])


@pytest.mark.parametrize(
    ("sites", "names"),
    [
        ("resid_post", [("resid_post", 0), ("resid_post", 1), ("resid_post", 2)]),
        (("resid_mid", -1), [("resid_mid", 2)]),
        ([("resid_post", 2), ("resid_pre", 0)], [("resid_post", 2), ("resid_pre", 0)]),
    ],
)
def test_sites_come_in_the_order_in_which_they_are_named(sites: Any, names: list[tuple[str, int]]) -> None:
    model, tokens = build("llama"), ids()
    lens = logit_lens(model, tokens, sites=sites)
    assert list(lens.sites) == names
    for i, spot in enumerate(names):
        alone = logit_lens(model, tokens, sites=[spot])
        torch.testing.assert_close(lens.entropy[[i]], alone.entropy)
        torch.testing.assert_close(lens.kl[[i]], alone.kl)


def test_one_token_has_a_lens_and_no_target() -> None:
    lens = logit_lens(build("gpt2"), ids(1, 1))
    assert lens.entropy.shape == (N_LAYERS, 1, 1)
    assert lens.target.shape == (1, 0)
    assert lens.target_prob.shape == (N_LAYERS, 1, 0)


def test_a_model_in_half_precision_gives_float32() -> None:
    model, tokens = build("llama"), ids()
    exact, half = logit_lens(model, tokens), logit_lens(model.bfloat16(), tokens)
    assert half.top_probs.dtype == half.kl.dtype == torch.float32
    torch.testing.assert_close(half.entropy, exact.entropy, rtol=2e-2, atol=2e-2)


def test_the_model_is_left_as_it_was_and_nothing_carries_gradients(model: Any) -> None:
    weights = {name: weight.clone() for name, weight in model.state_dict().items()}
    logits = own_logits(model, ids())
    assert not any(found.requires_grad for found in fields(logit_lens(model, ids())))
    assert torch.equal(own_logits(model, ids()), logits)
    assert all(torch.equal(weight, weights[name]) for name, weight in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


# -- tokens that are followed, and other lenses ------------------------------------------------------------------------


def test_followed_tokens_have_the_ranks_and_probabilities_that_the_whole_vocabulary_gives(model: Any) -> None:
    tokens, chosen = ids(), torch.tensor([7, 3, 7, 40])
    with torch.no_grad(), Tap(model, ["resid_pre", "resid_post"]) as tap:
        model(tokens)
        streams = torch.cat([tap["resid_pre", 0][None], tap["resid_post"]])
        log_probs = readout(model)(streams).log_softmax(-1)
    path = follow(model, tokens, chosen, sites=[("resid_pre", 0), "resid_post"], chunk=4)
    of_chosen = log_probs[..., chosen]
    torch.testing.assert_close(path.prob, of_chosen.exp(), rtol=1e-4, atol=1e-6)
    assert torch.equal(path.rank, (log_probs[..., None, :] > of_chosen[..., None]).sum(-1))
    assert path.sites[0] == ("resid_pre", 0)
    assert torch.equal(path.tokens, chosen)


def test_following_the_tokens_that_come_next_is_what_the_lens_says_of_its_target() -> None:
    model, tokens = build("gemma2"), ids(1, 6)
    lens, path = logit_lens(model, tokens), follow(model, tokens, tokens[0])
    at = torch.arange(5)
    assert torch.equal(path.rank[:, 0, at, at + 1], lens.target_rank[:, 0])
    torch.testing.assert_close(path.prob[:, 0, at, at + 1], lens.target_prob[:, 0])


@pytest.mark.parametrize(
    ("followed", "sentence"),
    [
        (torch.tensor([]), r"\[token\], at least one; they are \[0\]"),
        (torch.tensor([[1, 2]]), r"\[token\], at least one; they are \[1, 2\]"),
        (torch.tensor([VOCAB]), f"the tokens to follow have to be whole numbers from 0 to {VOCAB - 1}"),
    ],
)
def test_what_cannot_be_followed_is_said_in_one_sentence(followed: Tensor, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        follow(build("gpt2"), ids(), followed)


def nothing(site: str, layer: int, residual: Tensor) -> Tensor:
    return residual


def test_a_lens_that_does_nothing_is_the_logit_lens_to_the_last_bit(model: Any) -> None:
    tokens = ids()
    for plain, seen in zip(
        fields(logit_lens(model, tokens)), fields(logit_lens(model, tokens, lens=nothing)), strict=True
    ):
        assert torch.equal(plain, seen)


def test_a_lens_may_return_logits_and_is_told_where_it_looks(model: Any) -> None:
    tokens, asked = ids(), []
    read = readout(model)

    def logits(site: str, layer: int, residual: Tensor) -> Tensor:
        asked.append((site, layer, len(residual)))
        return read(residual)

    lens = logit_lens(model, tokens, sites=[("resid_pre", 0), "resid_post"], lens=logits, chunk=10)
    plain = logit_lens(model, tokens, sites=[("resid_pre", 0), "resid_post"], chunk=10)
    torch.testing.assert_close(lens.top_probs, plain.top_probs)
    torch.testing.assert_close(lens.kl, plain.kl, rtol=1e-4, atol=1e-5)
    assert asked == [(*spot, rows) for rows in (10, 8) for spot in lens.sites]


def test_the_end_is_the_models_own_even_if_a_lens_blurs_the_last_layer() -> None:
    model, tokens = build("gpt2"), ids()
    blind = logit_lens(model, tokens, lens=lambda *_: torch.zeros(18, VOCAB))
    end = own_logits(model, tokens).log_softmax(-1)
    away = torch.tensor(float(VOCAB)).log() + (end.exp() * end).sum(-1)  # KL(end || uniform)
    torch.testing.assert_close(blind.kl, away.expand(N_LAYERS, -1, -1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("returned", "came"), [(torch.zeros(18, 5), r"shape \[18, 5\]"), (None, "type NoneType"), (7, "type int")]
)
def test_a_lens_that_returns_something_else_is_refused(returned: Any, came: str) -> None:
    with pytest.raises(ValueError, match=rf"\[18, 32\].*\[18, 61\]; for 'resid_post' of layer 0 it returned .*{came}"):
        logit_lens(build("gpt2"), ids(), lens=lambda *_: returned)


# -- what cannot be --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"tokens": torch.zeros(2, 0, dtype=torch.long)}, r"at least one of each; they are \[2, 0\]"),
        ({"tokens": torch.zeros(4, dtype=torch.long)}, r"\[batch, position\], at least one of each; they are \[4\]"),
        ({"tokens": torch.full((1, 4), VOCAB)}, f"tokens have to be whole numbers from 0 to {VOCAB - 1}"),
        ({"tokens": torch.zeros(1, 25, dtype=torch.long)}, "25 tokens long, but this model's context holds 24"),
        ({"target": torch.zeros(2, 10, dtype=torch.long)}, r"at most \[2, 9\] as tokens are; it is \[2, 10\]"),
        ({"target": torch.zeros(2, 3)}, "target have to be whole numbers"),
        ({"k": VOCAB + 1}, f"between 1 and {VOCAB}, the size of the vocabulary; it is {VOCAB + 1}"),
        ({"k": 0}, "it is 0"),
        ({"chunk": 0}, "at least 1 position; it is 0"),
        ({"sites": ("resid_post", 3)}, "3 layers, 0 to 2; there is no layer 3"),
        ({"sites": "z"}, "it was asked for 'z'"),
        ({"sites": "resid_end"}, "there is no site 'resid_end'"),
        ({"sites": []}, "it was asked for nothing"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as raised:
        logit_lens(build("gpt2"), **{"tokens": ids(), **wrong})
    assert "\n" not in str(raised.value)


def test_a_model_in_training_mode_is_refused_and_stays_in_it() -> None:
    model = build("gpt2").train()
    with pytest.raises(ValueError, match=r"training mode.*call model\.eval\(\) first"):
        logit_lens(model, ids())
    assert all(module.training for module in model.modules())


def test_a_model_without_unembedding_is_refused() -> None:
    with pytest.raises(ValueError, match="GPT2Model has no unembedding"):
        logit_lens(build("gpt2").base_model, ids())


def test_bert_is_refused() -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    with pytest.raises(ValueError, match="BertForMaskedLM has no last norm before its unembedding"):
        logit_lens(tf.BertForMaskedLM(tf.BertConfig(vocab_size=VOCAB, **sizes)).eval(), ids())
