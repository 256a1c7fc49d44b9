"""The attention of a model on a text, or a sentence about why there is none."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers as tf

from interpwidgets.models.anatomy import UnknownModelError
from interpwidgets.models.attention import PromptError, attention_patterns

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
