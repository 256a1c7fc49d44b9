"""Which of these numbers is the largest?

    from interpwidgets.data.maxofk import largest, mixed_numbers

    rows = mixed_numbers(2048, torch.Generator().manual_seed(0))        # what maxofk is trained on: ids [2048, 4]
    largest(rows)                                                       # [2048]

Four numbers from 0 to 63. There are 64 ** 4 = 16,777,216 rows, few enough to ask a model every one of them. Drawn
at random, the largest is nearly always large: below 16 in 1 row of 256. So some rows are drawn otherwise.

Source: Gross et al. 2024, "Compact Proofs of Model Performance via Mechanistic Interpretability", Max-of-K.
"""

import torch
from jaxtyping import Int
from torch import Tensor

N_NUMBERS = 64
K = 4
SMALL = 0.3  # the share of rows that are drawn so that small numbers are as often the bound as large ones


def mixed_numbers(batch: int, generator: torch.Generator) -> Int[Tensor, "batch number"]:
    """The next ``batch`` rows of the training stream, numbers 0 to 63.

    Of these, 30 % are uniform below a bound that is uniform itself, 1 to 64; the others are uniform.
    """
    rows = torch.randint(0, N_NUMBERS, (batch, K), generator=generator)
    n = int(SMALL * batch)
    bounds = torch.randint(1, N_NUMBERS + 1, (n, 1), generator=generator)
    rows[:n] = (torch.rand(n, K, generator=generator) * bounds).long()
    return rows


def largest(rows: Int[Tensor, "row number"]) -> Int[Tensor, " row"]:
    """The right answer to each row."""
    return rows.amax(1)
