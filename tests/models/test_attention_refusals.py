"""Models whose attention cannot be shown say why, in a sentence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from interpwidgets import load
from interpwidgets.models.attention import PromptError, attention_patterns, kept_attention
from interpwidgets.models.reported import encoder_decoder_attention, image_attention

IMAGE = np.zeros((24, 24, 3), np.uint8)


@pytest.mark.parametrize("ask", [attention_patterns, kept_attention])
def test_patterns_of_a_model_with_dropout_in_training_are_refused(build: Callable[..., Any], ask: Any) -> None:
    tokenizer = load("storylm").tokenizer
    with pytest.raises(PromptError, match=r"training mode, where dropout .* call model\.eval\(\) first"):
        ask(build("gpt2", vocab_size=2000).train(), "Once upon a time", tokenizer)
    seen = ask(build("qwen3", vocab_size=2000).train(), "Once upon a time", tokenizer)  # its dropout is zero
    assert len(seen.patterns) == 3


def test_what_a_training_model_reports_is_refused(build: Callable[..., Any]) -> None:
    with pytest.raises(PromptError, match="training mode"):
        encoder_decoder_attention(build("t5").train(), "a", "b", load("storylm").tokenizer)
    with pytest.raises(PromptError, match="training mode"):
        image_attention(build("vit", attention_probs_dropout_prob=0.1).train(), IMAGE)


def test_a_model_of_images_does_not_read_a_text(build: Callable[..., Any]) -> None:
    with pytest.raises(PromptError, match=r"reads images, not text; .* AttentionHeads\.from_image"):
        attention_patterns(build("vit"), "hello")


def test_a_model_of_texts_and_images_is_asked_for_its_tower(build: Callable[..., Any]) -> None:
    with torch.no_grad(), pytest.raises(PromptError, match=r"CLIPModel .* model\.vision_model"):
        image_attention(build("clip"), IMAGE)
    with torch.no_grad():
        assert image_attention(build("clip").vision_model, IMAGE).grid == (3, 3)
