"""The tokenizer of the stories cuts as the grammar does, and says what it does not know."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from interpwidgets.data.stories import samples
from interpwidgets.data.stories.tasks import TASKS
from interpwidgets.data.stories.vocabulary import VOCABULARY
from interpwidgets.models.story_tokens import story_tokenizer
from interpwidgets.models.tokens import token_strings


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return story_tokenizer()


@pytest.mark.parametrize("task", TASKS)
def test_every_story_is_cut_as_the_grammar_cuts_it_and_reads_the_same_again(tokenizer: Any, task: str) -> None:
    for told in islice(samples(task, seed=2), 60):
        ids = tokenizer(told.text).input_ids
        assert tokenizer.convert_ids_to_tokens(ids) == list(told.tokens)
        assert token_strings(tokenizer, ids) == list(told.tokens)
        assert tokenizer.decode(ids, skip_special_tokens=True) == told.text
        assert tokenizer(told.prompt).input_ids == ids[: told.answer]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("The cat sat on the mat", [" The", " cat", " sat", " on", " the", " mat"]),
        ("The war lasted from the year 1732", [" The", " war", " lasted", " from", " the", " year", " 17", "32"]),
        ("the Ocean Club (OC)", [" the", " Ocean", " Club", " (", "O", "C", ")"]),
        ("A B C", [" A", " B", " C"]),
        ("  Mary ,\n and   John .", [" Mary", ",", " and", " John", "."]),
        ("The café isn't a zoo!", [" The", "<unk>", "<unk>", " a", " zoo", "<unk>"]),
        ("mary saw MARY", ["<unk>", " saw", "<unk>"]),
        ("in 5 or 123", [" in", "<unk>", "<unk>", " 12", "<unk>"]),
        ("", []),
    ],
)
def test_a_newcomers_text_is_cut_and_unknown_words_are_seen(tokenizer: Any, text: str, tokens: list[str]) -> None:
    assert token_strings(tokenizer, tokenizer(text).input_ids) == ["<s>", *tokens]


def test_the_ids_are_those_of_the_vocabulary(tokenizer: Any) -> None:
    assert tokenizer.convert_ids_to_tokens(range(len(tokenizer))) == list(VOCABULARY)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 0, 1)


def test_a_saved_tokenizer_is_opened_by_the_library_alone(tokenizer: Any, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    opened = AutoTokenizer.from_pretrained(tmp_path)
    text = "Once there was a shy giant who collected clocks."
    assert opened(text).input_ids == tokenizer(text).input_ids
    assert opened([text, "Dear Anna"], padding=True).attention_mask[1][-1] == 0
