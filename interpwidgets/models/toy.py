"""The toy model of superposition: many features through few dimensions, and back.

    from interpwidgets.models.toy import ToyConfig, ToyModel

    model = load("tms5")                    # 5 features in 2 dimensions, at eight densities, trained
    model.W[7, 0]                           # how instance 0 at the last density keeps its features: [5, 2]
    model = ToyModel(ToyConfig(n_features=5, d_hidden=2, densities=[0.05]))         # the same, untrained

What is computed, for each density and each instance on its own::

    x ──> hidden = x W ──> reconstruction = ReLU(hidden W^T + b)

    x, reconstruction       [batch, density, instance, feature]
    hidden                  [batch, density, instance, hidden]
    W                       [density, instance, feature, hidden]    row i is the direction in which feature i is kept
    b                       [density, instance, feature]

All of them are one batched product, so that a grid of models takes little longer than one.

Source: Elhage et al. 2022, "Toy Models of Superposition", the ReLU output model (W here is the transpose of theirs).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.utils.generic import ModelOutput


class ToyConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """The sizes of a grid of toy models: one row of ``n_instances`` models for each of the ``densities``.

    Feature i counts ``importance ** i`` in the loss.
    """

    model_type = "toy"

    n_features: int = 5
    d_hidden: int = 2
    densities: Sequence[float] = (1.0,)
    n_instances: int = 1
    importance: float = 1.0


@dataclass
class ToyOutput(ModelOutput):
    """What the model makes of its features, and what it kept of them in between."""

    reconstruction: Float[Tensor, "batch density instance feature"] | None = None
    hidden: Float[Tensor, "batch density instance hidden"] | None = None


class ToyModel(PreTrainedModel):  # type: ignore[no-untyped-call]
    """The whole drawing above."""

    config_class = ToyConfig
    base_model_prefix = "toy"
    main_input_name = "x"

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        grid = (len(config.densities), config.n_instances, config.n_features)
        self.W = nn.Parameter(torch.empty(*grid, config.d_hidden))
        self.b = nn.Parameter(torch.empty(grid))
        self.post_init()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, ToyModel):
            init.normal_(module.W, std=module.config.n_features**-0.5)
            init.zeros_(module.b)

    def forward(self, x: Float[Tensor, "batch density instance feature"], **_: Any) -> ToyOutput:
        hidden = torch.einsum("bdif,difh->bdih", x, self.W)
        reconstruction = (torch.einsum("bdih,difh->bdif", hidden, self.W) + self.b).relu()
        return ToyOutput(reconstruction=reconstruction, hidden=hidden)

    def loss(self, x: Float[Tensor, "batch density instance feature"]) -> Float[Tensor, "density instance"]:
        """The squared error of each model, mean over the batch, each feature as important as it is."""
        weight = self.config.importance ** torch.arange(self.config.n_features, device=x.device)
        error: Tensor = (self(x).reconstruction - x).square() * weight
        return error.sum(3).mean(0)


AutoConfig.register(ToyConfig.model_type, ToyConfig)
AutoModel.register(ToyConfig, ToyModel)
