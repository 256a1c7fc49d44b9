"""Features that are seldom there: what a model has to remember in fewer dimensions than there are features.

    from interpwidgets.data.features import sparse_features

    sparse_features(1024, [1.0, 0.05], 5, torch.Generator().manual_seed(0))     # [1024, 2, 1, 5], numbers from 0 to 1

Each feature is there with the probability that its density says, on its own, and is then uniform between 0 and 1; else
it is 0. At density 1 all are always there, and at .05 mostly one or none of five is.

Source: Elhage et al. 2022, "Toy Models of Superposition", synthetic data.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def sparse_features(
    batch: int, densities: Sequence[float], n_features: int, generator: torch.Generator, n_instances: int = 1
) -> Float[Tensor, "batch density instance feature"]:
    """``batch`` draws of ``n_features`` features for each of the ``densities``, and for each of ``n_instances`` models.

    Raises `ValueError` for a density that is not above 0 and at most 1.
    """
    wrong = [density for density in densities if not 0 < density <= 1]
    if wrong:
        raise ValueError(f"a density has to be above 0 and at most 1, but one is {wrong[0]}.")
    shape = (batch, len(densities), n_instances, n_features)
    values = torch.rand(shape, generator=generator)
    there = torch.rand(shape, generator=generator) < torch.tensor(densities)[:, None, None]
    return values * there
