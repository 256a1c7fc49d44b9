"""Losses and scores of whole models, against what can be worked out by hand."""

import math

import pytest
import torch

from interpwidgets.data.repeats import repeated_tokens
from interpwidgets.methods.in_context import in_context_score, loss_by_position, phase_change, repeat_tokens


def test_repeated_tokens_are_those_of_the_generator() -> None:
    tokens = repeated_tokens(3, 5, copies=3, seed=4)
    assert torch.equal(repeat_tokens(tokens[:, 1:6], bos=0, copies=3), tokens)


def test_one_copy_is_bos_and_the_words() -> None:
    assert repeat_tokens(torch.tensor([[7, 8]]), bos=9, copies=1).tolist() == [[9, 7, 8]]


def test_a_model_that_knows_nothing_loses_the_logarithm_of_its_vocabulary() -> None:
    loss = loss_by_position(torch.zeros(2, 6, 64), torch.randint(64, (2, 6)))
    torch.testing.assert_close(loss, torch.full((5,), math.log(64)))


def test_a_model_that_knows_everything_loses_nothing() -> None:
    tokens = torch.randint(9, (3, 7))
    logits = 100 * torch.nn.functional.one_hot(tokens.roll(-1, 1), 9).float()
    torch.testing.assert_close(loss_by_position(logits, tokens), torch.zeros(6))


def test_a_constant_added_to_all_logits_changes_nothing() -> None:
    logits, tokens = torch.randn(2, 5, 8), torch.randint(8, (2, 5))
    torch.testing.assert_close(loss_by_position(logits, tokens), loss_by_position(logits + 3, tokens))


def test_it_is_the_loss_that_libraries_compute() -> None:
    logits, tokens = torch.randn(4, 6, 10), torch.randint(10, (4, 6))
    whole = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    torch.testing.assert_close(loss_by_position(logits, tokens).mean(), whole)


def test_the_score_is_0_for_a_flat_loss_and_negative_for_a_falling_one() -> None:
    assert in_context_score(torch.full((9,), 4.0), 1, 9) == 0
    assert in_context_score(torch.tensor([4.0, 3.0, 1.0]), early=1, late=3) == -3


@pytest.mark.parametrize(
    ("scores", "step"),
    [
        ([0.0, 0.0, 1.0, 1.0], 200),
        ([0.0, 0.5, 1.0, 1.0], 100),  # exactly half way counts
        ([0.6, 0.7, 1.0, 0.2], 200),
        ([0.5, 0.4, 0.3, 0.2], 0),  # it never rises
        ([0.3, 0.3, 0.3, 0.3], 0),
    ],
)
def test_the_phase_change_is_where_half_of_the_way_is_done(scores: list[float], step: int) -> None:
    assert phase_change(torch.tensor([0, 100, 200, 300]), torch.tensor(scores)) == step
