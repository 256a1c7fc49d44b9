"""The attention of a model on a text, or a sentence about why there is none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from interpwidgets import Tap
from interpwidgets.models import attention
from interpwidgets.models.anatomy import UnknownModelError
from interpwidgets.models.attention import PromptError, attention_patterns, cells_of, kept_attention
from interpwidgets.models.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM

STORY = "Once upon a time, there was a little girl named Lily."


def test_a_real_model_shows_every_head(stories: Any) -> None:
    seen = attention_patterns(stories, STORY)
    assert "".join(seen.tokens[1:]) == " " + STORY
    assert seen.tokens[0] == "<s>"
    n = len(seen.tokens)
    assert seen.patterns.shape == (5, 8, n, n)
    assert (seen.n_kv_heads, seen.causal, seen.name) == (4, True, "stories260K")
    torch.testing.assert_close(seen.patterns.sum(-1), torch.ones(5, 8, n), rtol=0, atol=1e-5)
    stories.set_attn_implementation("eager")
    expected = stories(**stories.tokenizer(STORY, return_tensors="pt"), output_attentions=True).attentions
    stories.set_attn_implementation("sdpa")
    torch.testing.assert_close(seen.patterns, torch.cat(expected), rtol=0, atol=1e-6)


def test_progress_is_told_layer_by_layer(demo: Any) -> None:
    told: list[tuple[int, int]] = []
    attention_patterns(demo, "Lily ran.", on_layer=lambda done, of: told.append((done, of)))
    assert told == [(1, 2), (2, 2)]
    attention_patterns(demo, "Lily ran.")
    assert len(told) == 2  # the hooks are gone


def test_patterns_are_float32_whatever_the_model_computes_in(demo: Any) -> None:
    half = tf.GPT2LMHeadModel(demo.config).to(torch.bfloat16).eval()
    assert attention_patterns(half, "Lily ran.", demo.tokenizer).patterns.dtype == torch.float32


def test_no_gradients_are_kept(demo: Any) -> None:
    assert not attention_patterns(demo, "Lily ran.").patterns.requires_grad


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "the text is empty"),
        (" \n ", "the text is empty"),
        (["one", "two"], "expected one text .* got 2 of them"),
        (b"bytes", "but got bytes"),
        ("a" + " a" * 599, "the text is 601 tokens long, but this model's context holds 512"),
    ],
)
def test_a_text_that_cannot_be_run_says_why(demo: Any, text: Any, sentence: str) -> None:
    with pytest.raises(PromptError, match=sentence):
        attention_patterns(demo, text)


def test_a_missing_tokenizer_is_said_and_may_be_given(build: Callable[..., Any], demo: Any) -> None:
    model = build("gpt2", vocab_size=4000)
    with pytest.raises(PromptError, match="no tokenizer attached; pass one"):
        attention_patterns(model, "Lily ran.")
    assert attention_patterns(model, "Lily ran.", demo.tokenizer).tokens == ["<s>", " Lily", " ran", "."]


def test_a_model_without_attention_is_said(demo: Any) -> None:
    mamba = tf.MambaForCausalLM(tf.MambaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, state_size=2))
    with pytest.raises(UnknownModelError, match="no attention heads"):
        attention_patterns(mamba, "Lily ran.", demo.tokenizer)


# -- patterns that are computed when they are looked at ------------------------------------------------------------

FAMILIES = ["gpt2", "llama", "gemma2", "bert", "attention_only"]
LONG_STORY = "Lily ran to the park. " * 3  # 20 tokens: four times the window of the tiny Gemma


@pytest.fixture(params=FAMILIES)
def family_model(request: pytest.FixtureRequest, build: Callable[..., Any], demo: Any) -> Any:
    if request.param == "attention_only":
        torch.manual_seed(0)
        model = AttentionOnlyForCausalLM(AttentionOnlyConfig(vocab_size=4200)).eval()
    else:
        model = build(request.param, vocab_size=4200)
    model.tokenizer = demo.tokenizer
    return model


@pytest.mark.parametrize("band", [60, attention.BAND_CELLS], ids=["a row at a time", "at once"])
def test_what_is_computed_later_equals_the_plain_patterns(
    family_model: Any, band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "BAND_CELLS", band)
    plain, kept = attention_patterns(family_model, LONG_STORY), kept_attention(family_model, LONG_STORY)
    assert (kept.tokens, kept.n_kv_heads, kept.causal, kept.name) == (
        plain.tokens, plain.n_kv_heads, plain.causal, plain.name
    )  # fmt: skip
    for layer, expected in zip(kept.patterns, plain.patterns.numpy(), strict=True):
        assert layer.shape == expected.shape
        np.testing.assert_allclose(layer.rows(slice(None)), expected, rtol=0, atol=1e-6)
        for head in range(len(expected)):
            np.testing.assert_allclose(layer.rows(slice(7, 12), head), expected[head : head + 1, 7:12], atol=1e-6)


def test_a_sliding_window_and_a_cap_are_seen_again(build: Callable[..., Any], demo: Any) -> None:
    model = build("gemma2", vocab_size=4200)
    layers = kept_attention(model, LONG_STORY, demo.tokenizer).patterns
    windowed = [bool((layer.rows(slice(19, 20))[:, 0, :14] == 0).all()) for layer in layers]
    assert any(windowed)
    assert not all(windowed)
    uncapped = kept_attention(build("gemma2", vocab_size=4200, attn_logit_softcapping=None), LONG_STORY, demo.tokenizer)
    assert np.abs(uncapped.patterns[0].rows(slice(None)) - layers[0].rows(slice(None))).max() > 1e-3


def test_a_real_model_is_computed_later_with_the_same_numbers(stories: Any) -> None:
    plain, kept = attention_patterns(stories, STORY), kept_attention(stories, STORY)
    found = np.stack([layer.rows(slice(None)) for layer in kept.patterns])
    np.testing.assert_allclose(found, plain.patterns.numpy(), rtol=0, atol=2e-6)


def test_what_is_kept_grows_with_the_text_and_not_with_its_square(build: Callable[..., Any], demo: Any) -> None:
    model = build("llama", vocab_size=4200, max_position_embeddings=600)

    def kept_bytes(words: int) -> int:
        layer = kept_attention(model, "a " * words, demo.tokenizer).patterns[0]
        tensors = {id(x): x for x in vars(layer).values() if isinstance(x, torch.Tensor)}
        tensors |= {id(x): x for x in [*layer._kwargs.values()] if isinstance(x, torch.Tensor)}
        return sum(x.untyped_storage().nbytes() for x in tensors.values())

    assert kept_bytes(400) < 2.2 * kept_bytes(200)


def test_afterwards_the_model_attends_as_it_did(demo: Any) -> None:
    before = demo.config._attn_implementation
    kept_attention(demo, STORY)
    assert demo.config._attn_implementation == before
    with pytest.raises(PromptError):
        kept_attention(demo, "a" + " a" * 599)
    assert demo.config._attn_implementation == before


def test_patterns_that_are_computed_later_cannot_pass_through_a_tap(demo: Any) -> None:
    with Tap(demo, "pattern"), pytest.raises(PromptError, match="close the Tap"):
        kept_attention(demo, STORY)


def test_the_size_of_the_patterns_is_known_before_the_run(demo: Any) -> None:
    seen = attention_patterns(demo, STORY)
    assert cells_of(demo, STORY) == seen.patterns.numel()
