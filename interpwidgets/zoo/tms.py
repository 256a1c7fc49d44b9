"""tms5, tms20, tms80: learn to keep more features than there are dimensions, at eight densities each.

Worked by hand for five features and two dimensions. If all features are there all the time, two of them can be kept,
one in each dimension, and the others are lost: to keep a third in between would disturb the two each time. If each is
there one time in twenty, two are seldom there together, and disturbing is cheap. Then all five are kept, as the corners
of a pentagon, and the ReLU cuts off what leaks from each to its neighbours:

    density 1       W = [1 0], [0 1], [0 0], [0 0], [0 0]
    density .05     five unit vectors, 72 degrees apart: each has 2/5 of a dimension

In between features pair up, one at each end of a line: half a dimension for each.

The loss has many minima that are not the lowest, so several models are trained at each density, side by side, and what
is measured is the best of them.

Source: Elhage et al. 2022, "Toy Models of Superposition".
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from interpwidgets.data.features import sparse_features
from interpwidgets.models.toy import ToyConfig, ToyModel
from interpwidgets.zoo.accept_tms import accept_tms5, accept_tms20, accept_tms80
from interpwidgets.zoo.spec import Made, Progress, ZooModel
from interpwidgets.zoo.training import Training, accelerator, fit

SEED = 0
BATCH = 1024
RATE = 3e-3
DENSITIES = tuple(round(20 ** (-i / 7), 3) for i in range(8))  # 1 to 0.05


def train(
    config: ToyConfig, steps: int, seed: int = SEED, progress: Progress | None = None, state: Path | None = None
) -> Made:
    """Train a grid of toy models from nothing; see `interpwidgets.zoo.training.fit`."""
    torch.manual_seed(seed)
    place = accelerator()
    model: Any = ToyModel(config).to(place)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, fused=True)
    stream = torch.Generator().manual_seed(seed)

    def loss(step: int) -> Tensor:
        x = sparse_features(BATCH, config.densities, config.n_features, stream, config.n_instances)
        total: Tensor = model.loss(x.to(place)).sum()
        return total

    recipe = {"features": config.n_features, "hidden": config.d_hidden, "seed": seed, "steps": steps}
    rate = partial(_schedule, steps=steps)
    return fit(Training(model, [optimizer], loss, steps, recipe, [stream], rate), state, progress)


def _schedule(step: int, steps: int) -> float:
    """Level, and down over the last half."""
    return max(0.01, min(1.0, (1 - step / steps) / 0.5))


def _spec(
    n_features: int, d_hidden: int, n_instances: int, importance: float, steps: int, accept: Any, purpose: str
) -> ZooModel:
    config = ToyConfig(
        n_features=n_features, d_hidden=d_hidden, densities=list(DENSITIES), n_instances=n_instances,
        importance=importance,
    )  # fmt: skip
    return ZooModel(
        name=f"tms{n_features}",
        purpose=purpose,
        architecture=(
            f"ReLU(x W W^T + b) with {n_features} features in {d_hidden} dimensions; {len(DENSITIES)} densities times "
            f"{n_instances} instances"
        ),
        data=(
            f"interpwidgets.data.features.sparse_features: each feature is there with a probability of "
            f"{', '.join(f'{density:g}' for density in DENSITIES)}, and then uniform from 0 to 1"
        ),
        limits=(
            "A toy: no attention, no text. Not every instance finds the lowest loss, and which geometry it finds "
            "changes with the seed."
        ),
        recipe={
            "seed": SEED,
            "steps": steps,
            "batch": BATCH,
            "importance of feature i": f"{importance} ** i",
            "optimizer": "AdamW, no weight decay",
            "learning rate": f"{RATE}, linear decay over the last half",
        },
        train=partial(train, config, steps=steps),
        accept=accept,
    )


MODELS = (
    _spec(
        5,
        2,
        8,
        0.9,
        3000,
        accept_tms5,
        "Superposition that can be drawn: five features in a plane, at eight densities.",
    ),
    _spec(20, 5, 4, 0.9, 3000, accept_tms20, "How many dimensions a feature gets: a half, two thirds, two fifths."),
    _spec(80, 20, 2, 0.95, 2000, accept_tms80, "Superposition with too many features to draw."),
)
