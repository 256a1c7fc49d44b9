"""What tuned-lens reads from the residual stream, with and without its translators, is what our lens reads."""

from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets.methods.lens import follow
from interpwidgets.methods.tuned_lens import TunedLens

LIBRARY = "tuned_lens"
KNOWN = pytest.mark.parametrize("family", ["gpt2", "llama"])  # it knows no Gemma 2


def probabilities(model: Any, tokens: Tensor, lens: Any = None) -> Tensor:
    """What a lens says of every token of the vocabulary before each layer: [layer, batch, position, vocab]."""
    vocab = torch.arange(model.config.vocab_size)
    return follow(model, tokens, vocab, sites="resid_pre", lens=lens).prob


@KNOWN
def test_the_logit_lens_says_the_same(model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    agree("lens: probabilities", probabilities(model, inputs["tokens"]), theirs["logit_lens"].softmax(-1))


@KNOWN
def test_an_untrained_tuned_lens_is_the_logit_lens(model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    ours = probabilities(model, inputs["tokens"], TunedLens.identity(model))
    agree("tuned lens, untrained", ours, theirs["untrained"].softmax(-1))


@KNOWN
def test_a_tuned_lens_with_the_same_weights_says_the_same(model: Any, theirs: Any, inputs: Any, agree: Any) -> None:
    places = list(TunedLens.identity(model).A)  # before the first layer and after each but the last, as theirs
    A = dict(zip(places, inputs["translator_weight"].mT, strict=True))  # theirs multiplies from the left
    lens = TunedLens(A, dict(zip(places, inputs["translator_bias"], strict=True)), len(places))
    agree("tuned lens, same weights", probabilities(model, inputs["tokens"], lens), theirs["tuned"].softmax(-1))
