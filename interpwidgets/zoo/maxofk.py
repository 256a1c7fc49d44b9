"""maxofk: learn to say which of four numbers is the largest, with one head of attention.

    17  5  60  33      60

Worked by hand: let the last position look at the largest number, and copy what it sees. To look there, its query has to
give 60 a higher score than 33, 33 a higher one than 17, whatever stands at the last position itself: the score must be
about query-independent, and grow with the number. So the matrix of all scores (which query, which key) is close to a
single column times a single row. That is a claim about the weights, and from it one about all 16,777,216 inputs
follows, which need not be tried one by one.

Source: Gross et al. 2024, "Compact Proofs of Model Performance via Mechanistic Interpretability".
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from interpwidgets.data.maxofk import N_NUMBERS, SMALL, K, largest, mixed_numbers
from interpwidgets.models.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM
from interpwidgets.models.numbers import NumberTokenizer
from interpwidgets.zoo.accept_maxofk import accept_maxofk
from interpwidgets.zoo.spec import Made, Progress, ZooModel
from interpwidgets.zoo.training import Training, accelerator, fit

SEED = 0
STEPS = 6000
BATCH = 2048
RATE = 1e-2


def train(seed: int = SEED, steps: int = STEPS, progress: Progress | None = None, state: Path | None = None) -> Made:
    """Train a model of Max-of-4 from nothing; see `interpwidgets.zoo.training.fit`."""
    torch.manual_seed(seed)
    place = accelerator()
    config = AttentionOnlyConfig(
        vocab_size=N_NUMBERS, n_layers=1, n_heads=1, d_model=32, d_head=32, context=K, norm=False, bos_token_id=None
    )
    model: Any = AttentionOnlyForCausalLM(config).to(place)  # type: ignore[arg-type]
    model.tokenizer = NumberTokenizer.up_to(N_NUMBERS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
    stream = torch.Generator().manual_seed(seed)

    def loss(step: int) -> Tensor:
        rows = mixed_numbers(BATCH, stream).to(place)
        return F.cross_entropy(model(rows).logits[:, -1], largest(rows))

    recipe = {"seed": seed, "steps": steps}
    rate = partial(_schedule, steps=steps)
    return fit(Training(model, [optimizer], loss, steps, recipe, [stream], rate), state, progress)


def _schedule(step: int, steps: int) -> float:
    """Up in fifty steps, level, and down over the last 70 percent."""
    return min(1.0, (step + 1) / 50) * max(0.01, min(1.0, (1 - step / steps) / 0.7))


MODELS = (
    ZooModel(
        name="maxofk",
        purpose="A model so small that what it does on every input can be proved from its weights.",
        architecture=(
            "attention-only transformer: 1 layer, 1 head of 32, residual stream of 32, learned positions, no norm, no "
            "MLP; reads four numbers below 64, answers at the last"
        ),
        data=(
            f"interpwidgets.data.maxofk.mixed_numbers: four numbers, uniform or ({SMALL:.0%} of rows) uniform below a "
            "bound that is uniform itself"
        ),
        limits=(
            "It reads exactly four numbers. The score that a number gets is not quite the same for every query, and "
            "does not rise at each step: a proof has to allow for neighbours that are close."
        ),
        recipe={
            "seed": SEED,
            "steps": STEPS,
            "batch": BATCH,
            "optimizer": "AdamW, betas 0.9 and 0.99, no weight decay",
            "learning rate": f"{RATE}, 50 steps of warm-up, linear decay over the last 70 %",
        },
        train=train,
        accept=accept_maxofk,
    ),
)
