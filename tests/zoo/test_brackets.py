"""The bracket classifier: what it reads, that it opens without us, and that its recipe makes it."""

from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from interpwidgets import Tap, load
from interpwidgets.data.brackets import bracket_strings, text
from interpwidgets.models.shipped import WEIGHTS
from interpwidgets.zoo.brackets import bracket_tokenizer, train
from interpwidgets.zoo.registry import ZOO


def answer(model: Any, words: str) -> str:
    with torch.no_grad():
        logits = model(**model.tokenizer(words, return_tensors="pt")).logits
    label: str = model.config.id2label[int(logits.argmax())]
    return label


def test_the_tokenizer_reads_brackets_and_nothing_else() -> None:
    tokenizer = bracket_tokenizer()
    assert tokenizer("f(a)(b(c))").input_ids == tokenizer("()(())").input_ids
    ids = bracket_strings(50, torch.Generator().manual_seed(0))
    again = tokenizer(text(ids), padding="max_length", return_tensors="pt")
    assert torch.equal(again.input_ids, ids)
    assert torch.equal(again.attention_mask, (ids != 0).long())


@pytest.mark.parametrize(
    ("words", "label"),
    [("()", "balanced"), ("(()(()))", "balanced"), ("print(len(x))", "balanced"), ("((", "broken"), (")(", "broken"),
     ("())(()", "broken"), ("(" * 20 + ")" * 20, "balanced"), ("(" * 20 + ")" * 19, "broken")],
)  # fmt: skip
def test_it_tells_balanced_from_broken(words: str, label: str) -> None:
    assert answer(load("brackets"), words) == label


def test_transformers_opens_it_without_a_line_of_ours() -> None:
    ours, folder = load("brackets"), WEIGHTS / "brackets"
    theirs: Any = AutoModelForSequenceClassification.from_pretrained(folder)
    theirs.tokenizer = AutoTokenizer.from_pretrained(folder)
    assert theirs.tokenizer("(())").input_ids == ours.tokenizer("(())").input_ids
    assert answer(theirs, "(()))(") == answer(ours, "(()))(") == "broken"


def test_layer_0_looks_at_all_brackets_and_the_last_mlp_is_off() -> None:
    model = load("brackets")
    with torch.no_grad(), Tap(model, ["pattern", "mlp_out"]) as tap:
        model(**model.tokenizer("(()())(())", return_tensors="pt"))
    brackets = tap["pattern", 0][0, 0, -1, 1:-1]
    assert brackets.min() > 0.2 * brackets.max()
    assert tap["mlp_out", 1].abs().max() == 0


def test_an_untrained_model_fails() -> None:
    failed = {what for what, found in ZOO["brackets"].accept(train(steps=1).model).items() if not found.ok}
    assert "accuracy on 20,000 fresh strings" in failed
    assert any("strings lost" in what for what in failed)


def test_a_few_steps_lower_the_loss_and_are_the_same_every_time() -> None:
    losses: list[float] = []
    one = train(steps=25, progress=lambda step, loss: losses.append(loss)).model
    two = train(steps=25).model
    assert all(torch.equal(weight, two.state_dict()[name]) for name, weight in one.state_dict().items())
    assert sum(losses[-3:]) < sum(losses[:3])
    assert not any(weight.any() for weight in one.transformer.h[-1].mlp.parameters())
