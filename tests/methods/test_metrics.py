"""Metrics that `tests/methods/test_patching.py` does not show at work."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from interpwidgets.methods.metrics import log_probability, probability


def test_the_log_probability_of_what_follows_is_the_loss_with_its_sign_turned() -> None:
    logits, tokens = torch.randn(2, 5, 9), torch.randint(9, (2, 5))
    result = log_probability(logits, tokens)
    torch.testing.assert_close(result, -cross_entropy(logits.mT, tokens, reduction="none"))
    torch.testing.assert_close(result.exp(), probability(logits, tokens))


def test_the_log_probability_still_tells_apart_what_is_next_to_impossible() -> None:
    logits = torch.tensor([[0.0, -200.0], [0.0, -300.0]])
    assert log_probability(logits, 1).tolist() == [-200, -300]
    assert probability(logits, 1).tolist() == [0, 0]
    with pytest.raises(ValueError, match="0 to 1; there is no token 2"):
        log_probability(logits, 2)
