"""What a learner is told to do next fits the error that they met."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from interpwidgets.course import attempt, reading


def step_on_a_parameter(x: torch.Tensor) -> Any:
    x -= 0.1


def two_dtypes(x: torch.Tensor) -> Any:
    return x @ torch.zeros(3, dtype=torch.float64)


def shapes_that_do_not_fit(x: torch.Tensor) -> Any:
    return x @ torch.zeros(5)


def an_item_of_a_tuple(x: torch.Tensor) -> Any:
    (x, x)[0] = 1


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (step_on_a_parameter, "under torch.no_grad()"),
        (two_dtypes, "print the dtypes"),
        (shapes_that_do_not_fit, "print the shapes"),
        (an_item_of_a_tuple, "print what that line works with"),
    ],
)
def test_the_next_step_is_about_the_error(answer: Callable[..., Any], told: str) -> None:
    with pytest.raises((RuntimeError, TypeError)) as met:
        answer(torch.zeros(3, requires_grad=True))
    assert told in str(reading.stopped(attempt.stopped(met.value, answer), 1.0))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("AttributeError", "'" * 200_000),
        ("NameError", "name '" * 40_000),
        ("RuntimeError", "shape '" * 40_000),
        ("RuntimeError", "expected " * 20_000),
        ("TypeError", "takes " * 40_000),
        ("IndexError", "index 1 is out of bounds for dimension 1 with size " + "9" * 5_000),
    ],
)
def test_a_message_made_to_get_lost_in_is_read_like_any_other(name: str, message: str) -> None:
    assert isinstance(reading.read(attempt.Stopped((name, "Exception"), message)), str)
