"""Strings of brackets are what their kind says, and the training stream has enough of each kind."""

from collections import Counter
from itertools import product

import pytest
import torch

from interpwidgets.data.brackets import (
    CLOSE,
    END,
    KINDS,
    LONGEST,
    OPEN,
    PAD,
    START,
    bracket_strings,
    end_position,
    heights,
    is_balanced,
    kind_of,
    strings_of,
    text,
)


def stream(n: int, seed: int = 0) -> torch.Tensor:
    return bracket_strings(n, torch.Generator().manual_seed(seed))


def kind_by_hand(string: str) -> str:
    """With a counter instead of sums, as one would check a line of code."""
    height, dipped = 0, False
    for bracket in string:
        height += 1 if bracket == "(" else -1
        dipped |= height < 0
    return {(True, False): "elevation", (False, True): "horizon", (True, True): "both"}.get(
        (height != 0, dipped), "balanced"
    )


def row(string: str) -> list[int]:
    ids = [START, *(OPEN if bracket == "(" else CLOSE for bracket in string), END]
    return ids + [PAD] * (LONGEST + 2 - len(ids))


def test_every_short_string_is_of_the_kind_that_counting_finds() -> None:
    strings = ["".join(each) for n in range(1, 9) for each in product("()", repeat=n)]
    ids = torch.tensor([row(string) for string in strings])
    assert text(ids) == strings
    assert [KINDS[kind] for kind in kind_of(ids)] == [kind_by_hand(string) for string in strings]
    assert is_balanced(ids).sum() == 1 + 2 + 5 + 14  # the Catalan numbers


def test_heights_and_the_end_stand_where_they_should() -> None:
    ids = torch.tensor([row("(()"), row("())")])
    assert heights(ids)[:, :6].tolist() == [[0, 1, 2, 1, 1, 1], [0, 1, 0, -1, -1, -1]]
    assert end_position(ids).tolist() == [4, 4]


def test_rows_are_start_brackets_end_padding() -> None:
    for ids, string in zip(stream(500).tolist(), text(stream(500)), strict=True):
        assert ids == row(string)
        assert 2 <= len(string) <= LONGEST


def test_the_stream_has_every_kind_and_every_length() -> None:
    ids = stream(20_000)
    kinds = Counter(KINDS[kind] for kind in kind_of(ids).tolist())
    assert 0.45 < kinds["balanced"] / len(ids) < 0.65
    assert min(kinds.values()) > 0.04 * len(ids)
    assert {len(string) for string in text(ids)} == set(range(2, LONGEST + 1))


def test_balanced_strings_of_one_length_are_equally_likely() -> None:
    """Of the five strings of three pairs each comes as often as the others, among the untouched strings."""
    short = [string for string in text(strings_of("balanced", 40_000, seed=1)) if len(string) == 6]
    counts = Counter(short)
    assert len(counts) == 5
    flat = {string: count for string, count in counts.items() if string != "((()))"}  # rarer after an exchange
    assert max(flat.values()) < 1.5 * min(counts.values())


@pytest.mark.parametrize("kind", KINDS)
def test_strings_of_a_kind_are_of_that_kind(kind: str) -> None:
    ids = strings_of(kind, 300, seed=3)
    assert ids.shape == (300, LONGEST + 2)
    assert {kind_by_hand(string) for string in text(ids)} == {kind}
    assert torch.equal(ids, strings_of(kind, 300, seed=3))
    assert not torch.equal(ids, strings_of(kind, 300, seed=4))


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="has to be one of balanced, elevation, horizon, both, but it is 'square'"):
        strings_of("square", 3)


def test_the_same_seed_gives_the_same_strings_and_a_small_batch_is_full() -> None:
    assert torch.equal(stream(50, seed=1), stream(50, seed=1))
    assert not torch.equal(stream(50, seed=1), stream(50, seed=2))
    assert [len(stream(n)) for n in (1, 2, 3, 7)] == [1, 2, 3, 7]
