"""Addition on a clock of p hours: every question there is, and which of them a model is shown.

    from interpwidgets.data.addition import answers, questions, split

    questions(5)            # every a, b of 0 to 4, and "=": ids [25, 3], the id of "=" is 5
    answers(questions(5))   # (a + b) mod 5: [25]
    shown, held_out = split(113)    # what modadd113 was trained on, and what it has never seen

After 4 + 3 on a clock of 5 hours it is 2. There are only p * p questions, so that a model can be asked all of them; and
it can know the answers in two ways, by heart or by the rule. The questions held out tell which.

Source: Nanda et al. 2023, "Progress measures for grokking via mechanistic interpretability", modular addition.
"""

import torch
from jaxtyping import Int
from torch import Tensor

SHOWN = {113: 0.3, 59: 0.4}  # the share of the questions that the model of that p is trained on


def questions(p: int) -> Int[Tensor, "p*p 3"]:
    """Every question on a clock of ``p`` hours, as ids: a, b, and ``p``, which stands for "=". Ordered by a, then b."""
    numbers = torch.arange(p)
    pairs = torch.cartesian_prod(numbers, numbers)
    return torch.cat([pairs, torch.full((p * p, 1), p)], 1)


def answers(asked: Int[Tensor, "question 3"]) -> Int[Tensor, " question"]:
    """(a + b) mod p of each question, whose last id is p."""
    return (asked[:, 0] + asked[:, 1]) % asked[:, 2]


def split(p: int, seed: int = 0) -> tuple[Int[Tensor, "shown 3"], Int[Tensor, "held_out 3"]]:
    """The questions that a model is trained on, a random share of all, and those that are held out.

    Raises `ValueError` for a ``p`` of which no share is settled in `SHOWN`.
    """
    if p not in SHOWN:
        raise ValueError(f"p has to be one of {', '.join(map(str, SHOWN))}, but it is {p}.")
    order = torch.randperm(p * p, generator=torch.Generator().manual_seed(seed))
    shown, held_out = order[: int(SHOWN[p] * p * p)], order[int(SHOWN[p] * p * p) :]
    return questions(p)[shown], questions(p)[held_out]
