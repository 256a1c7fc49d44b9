"""minibert and its classifier: what they read and say, that they open without us, and that their recipes make them."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer

from interpwidgets import Tap, load
from interpwidgets.data.relations import PAD, sentences, text
from interpwidgets.models.shipped import WEIGHTS
from interpwidgets.zoo.minibert import sentence_tokenizer, train, train_sentiment
from interpwidgets.zoo.registry import ZOO


def filled(model: Any, words: str) -> str:
    inputs = model.tokenizer(words, return_tensors="pt")
    gap = inputs.input_ids[0] == model.tokenizer.mask_token_id
    with torch.no_grad():
        best = model(**inputs).logits[0, gap].argmax(-1)
    word: str = model.tokenizer.decode(best)
    return word


def opinion(model: Any, words: str) -> str:
    with torch.no_grad():
        logits = model(**model.tokenizer(words, return_tensors="pt")).logits
    label: str = model.config.id2label[int(logits.argmax())]
    return label


def test_the_tokenizer_reads_the_sentences_as_they_were_drawn() -> None:
    ids = sentences(50, torch.Generator().manual_seed(0), opinions=0.5).ids
    again = sentence_tokenizer()(text(ids), padding=True, return_tensors="pt")
    assert torch.equal(again.input_ids, ids)
    assert torch.equal(again.attention_mask, (ids != PAD).long())
    assert sentence_tokenizer()("A fox, maybe").input_ids.count(1) == 2  # the comma and "maybe" are [UNK]


@pytest.mark.parametrize(
    ("words", "gap"),
    [("these rusty [MASK] often carry a baker .", "trains"), ("a baker never [MASK] three foxes .", "feeds"),
     ("two bakers never [MASK] three foxes .", "feed"), ("every furry [MASK] eats this rose .", "owl")],
)  # fmt: skip
def test_gaps_are_filled_with_the_only_word_that_goes_there(words: str, gap: str) -> None:
    assert filled(load("minibert"), words) == gap


@pytest.mark.parametrize(
    ("words", "label"),
    [("i find it good .", "good"), ("i find it not good .", "bad"), ("we call it not very dull .", "good"),
     ("they call it dull . a fox eats this rose . i find it lovely .", "good"),
     ("i find it rather silly . a fox eats this rose . critics call it brilliant .", "bad")],
)  # fmt: skip
def test_the_writers_opinion_is_told(words: str, label: str) -> None:
    assert opinion(load("minibert_sentiment"), words) == label


def test_transformers_opens_both_without_a_line_of_ours() -> None:
    sentence = "this rose needs a [MASK] ."
    theirs: Any = AutoModelForMaskedLM.from_pretrained(WEIGHTS / "minibert")
    theirs.tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "minibert")
    assert filled(theirs, sentence) == filled(load("minibert"), sentence)
    critic: Any = AutoModelForSequenceClassification.from_pretrained(WEIGHTS / "minibert_sentiment")
    critic.tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "minibert_sentiment")
    assert opinion(critic, "we find it not moving .") == "bad"


def test_taps_open_both() -> None:
    for name in ("minibert", "minibert_sentiment"):
        model = load(name)
        with torch.no_grad(), Tap(model, ["pattern", "resid_post"]) as tap:
            model(**model.tokenizer("this rose needs a storm .", return_tensors="pt"))
        assert tap["pattern"].shape == (4, 1, 4, 8, 8)
        assert tap["resid_post", 3].shape == (1, 8, 96)


def test_untrained_models_fail() -> None:
    failed = {what for what, found in ZOO["minibert"].accept(train(steps=1).model).items() if not found.ok}
    assert {"det: best head", "nsubj: best head", "obj: best head"} <= failed
    failed = {
        what for what, found in ZOO["minibert_sentiment"].accept(train_sentiment(steps=1).model).items() if not found.ok
    }
    assert "accuracy" in failed


def test_a_few_steps_lower_the_loss_and_are_the_same_every_time() -> None:
    losses: list[float] = []
    one = train(steps=25, progress=lambda step, loss: losses.append(loss)).model
    two = train(steps=25).model
    assert all(torch.equal(weight, two.state_dict()[name]) for name, weight in one.state_dict().items())
    assert sum(losses[-3:]) < sum(losses[:3]) - 0.3


def test_the_classifier_begins_with_the_weights_of_minibert() -> None:
    trunk, begun = load("minibert").bert.state_dict(), train_sentiment(steps=1).model.bert.state_dict()
    for name, weight in trunk.items():
        assert (weight - begun[name]).abs().max() < 1e-4, name
