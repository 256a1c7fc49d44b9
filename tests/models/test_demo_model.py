"""The model whose weights were set by hand does what its description says."""

import time
from typing import Any

import pytest
import torch

from interpwidgets import Tap, load
from interpwidgets.models.anatomy import anatomy
from interpwidgets.models.attention import attention_patterns
from interpwidgets.models.tiny import HEADS, MAX_CONTEXT

TEXT = "Lily found a map. Tom found a key, so Lily asked Tom."
#       0   1     2     3 4    5 6   7     8 9   10 11 12  13   14    15 16     <s> Lily found a map . Tom ...


@pytest.fixture(scope="module")
def seen(demo: Any) -> Any:
    return attention_patterns(demo, TEXT)


def test_the_words_of_the_text_are_its_tokens(seen: Any) -> None:
    words = ["Lily", "found", "a", "map", ".", "Tom", "found", "a", "key", ",", "so", "Lily", "asked", "Tom", "."]
    assert seen.tokens == ["<s>", *(word if word in ".," else f" {word}" for word in words)]


def test_there_is_a_sentence_for_each_head(demo: Any) -> None:
    parts = anatomy(demo)
    assert set(HEADS) == {(layer, head) for layer in range(parts.n_layers) for head in range(parts.n_heads)}


def rows(seen: Any, layer: int, head: int) -> list[int]:
    return seen.patterns[layer, head].argmax(-1).tolist()


def test_the_previous_token_head_looks_one_step_left(seen: Any) -> None:
    pattern = seen.patterns[0, 0]
    assert pattern.diagonal(-1).min() > 0.99


def test_the_duplicate_token_head_looks_at_earlier_copies(seen: Any) -> None:
    assert rows(seen, 0, 1) == [0, 0, 0, 0, 0, 0, 0, 2, 3, 0, 0, 0, 1, 0, 6, 5]


def test_the_first_token_head_looks_at_the_start(seen: Any) -> None:
    assert seen.patterns[0, 2, :, 0].min() > 0.99


def test_the_recent_tokens_head_looks_less_at_each_step_back(seen: Any) -> None:
    last = seen.patterns[0, 3, -1].flip(0)
    assert ((last[1:8] / last[:7]) - 0.7).abs().max() < 0.05


def test_the_induction_head_looks_at_what_came_after_earlier_copies(seen: Any) -> None:
    assert rows(seen, 1, 0) == [0, 0, 0, 0, 0, 0, 0, 3, 4, 0, 0, 0, 2, 0, 7, 6]


def test_the_induction_head_needs_the_previous_token_head(demo: Any) -> None:
    inputs = demo.tokenizer(TEXT, return_tensors="pt")

    def without_head_0(z: torch.Tensor) -> torch.Tensor:
        z[:, :, 0] = 0
        return z

    with torch.no_grad(), Tap(demo, ("pattern", 1), edits={("z", 0): without_head_0}) as tap:
        demo(**inputs)
    assert tap["pattern", 1][0, 0, :, 0].min() > 0.9  # with nothing to match it rests on the start


def test_the_other_heads_look_at_capitals_at_marks_and_at_everything(seen: Any) -> None:
    capitals, marks, everything = seen.patterns[1, 1:, -1]
    assert capitals[[1, 6, 12, 14]].sum() > 0.95
    assert marks[[5, 10, 15]].sum() > 0.95
    torch.testing.assert_close(everything, torch.full((16,), 1 / 16), rtol=0, atol=1e-3)


def test_it_predicts_that_what_came_before_comes_again(demo: Any) -> None:
    ids = demo.tokenizer("Wolfgang saw 3 zebras. Wolfgang", return_tensors="pt")["input_ids"]
    out = demo.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, do_sample=False)
    assert demo.tokenizer.decode(out[0, ids.shape[1] :]).startswith(" saw ")


@pytest.mark.parametrize(
    "text", ["naïve café 😀", "line\nbreak\ttab", "<img src=x onerror=alert(1)>", "السلام عليكم", "Zxqv-42 (ok)", "<s>"]
)
def test_any_text_becomes_tokens_and_text_again(demo: Any, text: str) -> None:
    ids = demo.tokenizer(text)["input_ids"]
    assert demo.tokenizer.decode(ids[1:]).strip() == text
    assert attention_patterns(demo, text).patterns.isfinite().all()


def test_positions_are_told_apart_to_the_end_of_the_context(demo: Any) -> None:
    words = demo.tokenizer("cat dog mouse bird fish")["input_ids"][1:]
    ids = torch.tensor([[demo.tokenizer.bos_token_id, *(words * 110)][:MAX_CONTEXT]])
    with torch.no_grad(), Tap(demo, "pattern") as tap:
        demo(ids)
    assert tap["pattern", 0][0, 0].diagonal(-1).min() > 0.95
    assert ids.shape[1] == MAX_CONTEXT


def test_it_is_built_afresh_in_about_a_second_and_always_the_same(demo: Any) -> None:
    start = time.process_time()
    again = load("demo")
    print(f"built in {time.process_time() - start:.2f} s of processor time")
    assert again is not demo
    assert again.tokenizer.get_vocab() == demo.tokenizer.get_vocab()
    for one, other in zip(again.parameters(), demo.parameters(), strict=True):
        assert torch.equal(one, other)
    assert sum(weight.numel() for weight in again.parameters()) < 10e6


def test_it_survives_being_saved_and_loaded(demo: Any, tmp_path: Any) -> None:
    demo.save_pretrained(tmp_path)
    demo.tokenizer.save_pretrained(tmp_path)
    again = attention_patterns(load(tmp_path), TEXT)
    assert torch.equal(again.patterns, attention_patterns(demo, TEXT).patterns)
    assert again.tokens == attention_patterns(demo, TEXT).tokens
