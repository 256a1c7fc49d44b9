"""Patchscopes: where they are the logit lens, where they are the model itself, and a prompt that reads aloud."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from interpwidgets import load
from interpwidgets.methods.lens import logit_lens
from interpwidgets.methods.patchscope import patchscope

VOCAB, N_LAYERS = 61, 3
Build = Callable[..., Any]


def texts(n_texts: int = 2, n: int = 6) -> Tensor:
    return torch.randint(3, VOCAB, (n_texts, n), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=["gpt2", "llama", "gemma2", "attention_only"])
def model(request: pytest.FixtureRequest, tiny: Build) -> Any:
    torch.set_num_threads(1)
    return tiny(request.param)


def test_put_in_at_the_very_end_it_is_the_logit_lens(model: Any) -> None:
    lens = patchscope(model, texts()[0], into=N_LAYERS - 1)
    plain, seen = logit_lens(model, texts()), logit_lens(model, texts(), lens=lens)
    torch.testing.assert_close(seen.top_probs, plain.top_probs)
    torch.testing.assert_close(seen.kl, plain.kl, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sites", ["resid_pre", "resid_post"])
def test_a_stream_put_back_where_it_was_says_what_the_model_says(model: Any, sites: str) -> None:
    text = texts(1)
    seen = logit_lens(model, text, sites=sites, lens=patchscope(model, text[0]))
    end = model(text).logits[0, -1].softmax(-1)
    torch.testing.assert_close(seen.top_probs[:, 0, -1], end.topk(5).values.expand(N_LAYERS, -1), rtol=1e-4, atol=1e-6)


def test_a_row_put_in_early_is_read_by_what_comes_after_it(tiny: Build) -> None:
    model, prompt = tiny("llama"), texts(1, 5)[0]
    here = logit_lens(model, texts(), lens=patchscope(model, prompt, at=1))
    assert here.entropy[0].flatten().unique().numel() > 1
    after_all = logit_lens(model, texts(), lens=patchscope(model, prompt, at=1, into=-1))
    assert (after_all.entropy - after_all.entropy[0, 0, 0]).abs().max() < 1e-5  # nothing reads it any more


def test_a_prompt_of_an_induction_head_reads_a_token_aloud() -> None:
    """A B ... A makes the hand-written model say B: whatever is put in for B is what it says."""
    model: Any = load("demo")
    prompt = torch.tensor([0, 300, 301, 302, 303, 300])
    source = torch.tensor([[0, 310, 311, 312]])
    lens = patchscope(model, prompt, at=2)
    seen = logit_lens(model, source, sites=("resid_pre", 0), lens=lens, target=source)
    # the stream brings its position along, and the one from position 1 would stand beside the prompt's own
    assert seen.target_rank[0, 0, 2:].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("ask", "sentence"),
    [
        (lambda m: patchscope(m, texts()), r"one text, \[position\]; this one is \[2, 6\]"),
        (lambda m: patchscope(m, texts()[0], at=6), "6 positions, 0 to 5; nothing can be put in at 6"),
        (lambda m: patchscope(m, texts()[0], into=3), "there is no layer 3"),
        (lambda m: patchscope(m, torch.tensor([VOCAB])), "tokens have to be whole numbers"),
        (lambda m: patchscope(m.train(), texts()[0]), "training mode"),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(ask: Callable[[Any], Any], sentence: str, tiny: Build) -> None:
    with pytest.raises(ValueError, match=sentence):
        ask(tiny("llama"))


def test_bert_is_refused(tiny: Build) -> None:
    with pytest.raises(ValueError, match="BertForMaskedLM has no last norm"):
        patchscope(tiny("bert"), texts()[0])
