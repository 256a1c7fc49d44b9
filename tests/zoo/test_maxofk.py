"""Max-of-4: the count over all inputs is what the model would say, one by one."""

import torch

from interpwidgets import load
from interpwidgets.zoo.accept_maxofk import accept_maxofk, right_for
from interpwidgets.zoo.maxofk import train


def rows_that_end_with(last: int, n: int = 2000) -> torch.Tensor:
    rows = torch.randint(0, 64, (n, 4), generator=torch.Generator().manual_seed(last))
    rows[:, 3] = last
    return rows


def test_the_count_agrees_with_the_model_on_each_input_right_or_wrong() -> None:
    model = train(steps=40).model.double()  # in double precision, so that no two logits are tied by rounding
    for last in (0, 31):
        rows = rows_that_end_with(last)
        with torch.no_grad():
            right = model(rows).logits[:, -1].argmax(1) == rows.amax(1)
        assert 0.02 < right.float().mean() < 0.999
        assert torch.equal(right_for(model, last)[rows[:, 0], rows[:, 1], rows[:, 2]], right)


def test_a_model_that_has_not_learned_fails() -> None:
    measured = accept_maxofk(train(steps=2).model)
    assert not measured["accuracy on all inputs"].ok
    assert measured["inputs answered wrongly"].value > 10_000_000


def test_the_shipped_model_says_the_largest_of_four_numbers() -> None:
    model = load("maxofk")
    ids = model.tokenizer("17 5 60 33", return_tensors="pt").input_ids
    assert int(model(ids).logits[0, -1].argmax()) == 60
