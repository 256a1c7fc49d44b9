"""A training step is what the library's loss and the optimizer say."""

from copy import deepcopy
from typing import Any

import torch

from interpwidgets.methods.training import training_step
from interpwidgets.models.load import load

TOKENS = torch.randint(0, 1000, (2, 9), generator=torch.Generator().manual_seed(0))


def test_the_loss_is_that_of_the_library_and_the_step_goes_down_its_gradient() -> None:
    mine: Any = load("storylm-small")
    theirs = deepcopy(mine)
    for _ in range(2):
        loss = training_step(mine, TOKENS, torch.optim.SGD(mine.parameters(), lr=0.1))
        expected = theirs(TOKENS, labels=TOKENS).loss
        theirs.zero_grad()
        expected.backward()
        with torch.no_grad():
            for weight in theirs.parameters():
                weight -= 0.1 * weight.grad
        torch.testing.assert_close(loss, expected.detach(), atol=1e-4, rtol=1e-4)
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-3)


def test_the_loss_that_comes_back_holds_on_to_no_gradients() -> None:
    model: Any = load("storylm-small")
    assert not training_step(model, TOKENS, torch.optim.SGD(model.parameters(), lr=0.0)).requires_grad
