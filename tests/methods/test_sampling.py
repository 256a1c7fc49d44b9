"""Sampling agrees with the library's own, and a cache changes nothing."""

import pytest
import torch
from transformers import TopKLogitsWarper, TopPLogitsWarper

from interpwidgets.methods.sampling import attention_with_cache, keep_top_k, keep_top_p, next_probabilities
from interpwidgets.methods.transformer import attention_pattern

LOGITS = 2 * torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
NOTHING = torch.zeros(5, 1, dtype=torch.long)


@pytest.mark.parametrize("k", [1, 4, 30])
def test_top_k_is_that_of_the_library(k: int) -> None:
    assert torch.equal(keep_top_k(LOGITS, k), TopKLogitsWarper(k)(NOTHING, LOGITS))


@pytest.mark.parametrize("p", [0.01, 0.5, 0.9])
def test_top_p_is_that_of_the_library(p: float) -> None:
    assert torch.equal(keep_top_p(LOGITS, p), TopPLogitsWarper(p)(NOTHING, LOGITS))


def test_at_temperature_one_it_is_the_softmax_and_near_zero_the_first_choice() -> None:
    torch.testing.assert_close(next_probabilities(LOGITS, 1.0), LOGITS.softmax(-1))
    cold = next_probabilities(LOGITS, 1e-3)
    assert torch.equal(cold.argmax(-1), LOGITS.argmax(-1))
    assert cold.amax(-1).min() > 0.999


@pytest.mark.parametrize("past", [0, 1, 4, 6])
def test_it_does_not_matter_how_much_was_cached(past: int) -> None:
    q, k, v = (torch.randn(2, 7, 3, 4, dtype=torch.float64) for _ in range(3))
    whole = torch.einsum("bhqk,bkhd->bqhd", attention_pattern(q, k), v)
    z, keys, values = attention_with_cache(q[:, past:], k[:, past:], v[:, past:], k[:, :past], v[:, :past])
    torch.testing.assert_close(z, whole[:, past:])
    assert torch.equal(keys, k)
    assert torch.equal(values, v)
