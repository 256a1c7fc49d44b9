"""modadd113, modadd59: learn to add on a clock, first by heart and much later by the rule.

A model is shown some of all p * p questions, over and over::

    67  58  =      12        (125 - 113)

Within 200 steps it knows the answers of all that it is shown, and of the others next to none: it has learned them by
heart. Nothing seems to happen for thousands of steps. Then it answers those that it was never shown, too.

What it has learned in between, worked by hand for one frequency k. The embedding puts number n at an angle of
2 pi k n / p on a circle, that is at cos and sin of it. Attention brings a and b to "=". The MLP multiplies: from

    cos(x) cos(y) - sin(x) sin(y) = cos(x + y)

it has the angle of a + b, and 113 hours further is the same angle: the clock comes for free. The logit of each answer c
is the cosine of the angle between a + b and c, largest at the right one. With one frequency the next best answer is
almost as good; four or five together leave no doubt.

Weight decay is what makes it go on. Knowing by heart needs large weights, the rule needs small ones.

The model is asked p * p questions of three tokens, but "=" sees only 2p + 1 different things: each number at the first
place, each at the second, and itself. So training computes keys and values for these, and looks them up.

Source: Nanda et al. 2023, "Progress measures for grokking via mechanistic interpretability".
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from interpwidgets.data.addition import SHOWN, answers, split
from interpwidgets.models.modular import ModularConfig, ModularForCausalLM
from interpwidgets.models.numbers import NumberTokenizer
from interpwidgets.zoo.accept_modadd import accept_modadd, accept_series
from interpwidgets.zoo.spec import Made, Progress, ZooModel
from interpwidgets.zoo.training import Training, accelerator, fit

SEED = 0
D_MLP = 512
DECAY = 1.0


def train(
    p: int,
    rate: float,
    steps: int,
    d_mlp: int = D_MLP,
    seed: int = SEED,
    keep: tuple[int, ...] = (),
    progress: Progress | None = None,
    state: Path | None = None,
) -> Made:
    """Train a model of addition modulo ``p`` from nothing; see `interpwidgets.zoo.training.fit`.

    At a ``rate`` of 3e-3 the rule comes with the answers, and nothing is known by heart alone for long.
    """
    torch.manual_seed(seed)
    place = accelerator()
    model: Any = ModularForCausalLM(ModularConfig(p=p, d_mlp=d_mlp)).to(place)  # type: ignore[arg-type]
    model.tokenizer = NumberTokenizer.up_to(p, "=")
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=DECAY, fused=True)
    shown = split(p)[0].to(place)
    right = answers(shown)

    def loss(step: int) -> Tensor:
        return F.cross_entropy(logits_at_equals(model, shown).double(), right)

    recipe = {"p": p, "rate": rate, "d_mlp": d_mlp, "seed": seed, "steps": steps}
    return fit(Training(model, [optimizer], loss, steps, recipe, rate=_warm_up, keep=keep), state, progress)


def logits_at_equals(model: ModularForCausalLM, asked: Int[Tensor, "question 3"]) -> Float[Tensor, "question p"]:
    """What the model says at "=", as ``model(asked).logits[:, -1]``, with keys and values computed once each."""
    p, heads, d_head = model.config.p, model.config.n_heads, model.config.d_head
    embed, positions, layer = model.model.embed.weight, model.model.positions.weight, model.model.layers[0]
    equals = embed[p] + positions[2]
    seen = torch.cat([embed[:p] + positions[0], embed[:p] + positions[1], equals[None]])
    query, key, value = (
        project(x).view(-1, heads, d_head)
        for project, x in ((layer.attention.q, equals), (layer.attention.k, seen), (layer.attention.v, seen))
    )
    scores = (key * query).sum(2) * d_head**-0.5
    weight = (scores - scores.max(0).values.detach()).exp()
    weighted = (weight[:, :, None] * value).flatten(1)
    a, b = asked[:, 0], asked[:, 1] + p
    total = weight[:p][asked[:, 0]] + weight[b] + weight[2 * p]
    z = F.embedding(a, weighted) + F.embedding(b, weighted + weighted[2 * p])
    mixed = (z.view(-1, heads, d_head) / total[:, :, None]).flatten(1)
    x = equals + layer.attention.o(mixed)
    logits: Tensor = model.unembed(x + layer.mlp(x))
    return logits


def _warm_up(step: int) -> float:
    return min(1.0, (step + 1) / 10)


def _spec(p: int, rate: float, steps: int, keep: tuple[int, ...], limits: str) -> ZooModel:
    return ZooModel(
        name=f"modadd{p}",
        purpose="A rule that can be read off the weights, and how it takes over from learning by heart, step by step.",
        architecture=(
            f"transformer of 1 layer: 4 heads of 32, residual stream of 128, an MLP of {D_MLP} with ReLU, learned "
            f"positions, no norm; reads two numbers below {p} and =, answers at ="
        ),
        data=(
            f"interpwidgets.data.addition.split({p}): {SHOWN[p]:.0%} of all {p * p:,} questions, the others held out"
        ),
        limits=limits,
        recipe={
            "seed": SEED,
            "steps": steps,
            "batch": "all questions shown",
            "optimizer": f"AdamW, betas 0.9 and 0.98, weight decay {DECAY} for all weights; loss in double precision",
            "learning rate": f"{rate}, 10 steps of warm-up",
        },
        train=partial(train, p, rate, steps, keep=keep),
        accept=accept_modadd,
        accept_series=accept_series,
    )


_LIMITS = "It adds two numbers and does nothing else. Which frequencies it uses changes with the seed"

MODELS = (
    _spec(113, 2e-3, 6000, (100, 1000, 2000, 3000), _LIMITS + "."),
    _spec(
        59, 1e-3, 5000, (200, 2000, 3000),
        _LIMITS + ". It is shown so much that from the start it answers one in ten of the questions held out.",
    ),
)  # fmt: skip
