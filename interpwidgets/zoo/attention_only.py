"""attn2l, attn1l, attn0l: learn to continue random words that repeat, with two, one and no layers of attention.

The data is as dull as can be. Random words, again and again in the same order (`interpwidgets.data.repeats`)::

    <s>  river  egg  Tom  blue  river  egg  Tom  blue  river ...

At the second "river" the next word is certain: look for an earlier "river", and say what came after it. Words are drawn
afresh for each row, so there is nothing to remember from one row to the next: all that can be learned is to look.

What each model can do about it, worked by hand for the second "egg":

    attn0l  sees "egg" alone. After "egg" every word is as likely as any other, over all rows: loss ln 64 = 4.16 nats.
    attn1l  sees the words so far, but each only as what it is: "Tom" does not say that it stood after "egg". All it can
            do is to bet on the other words of this row, and with three of them to be right one time in three.
    attn2l  has a second look. In layer 0 a head at "Tom" looks one word back and notes: "I came after egg". In layer 1
            a head at the second "egg" looks for exactly that note, finds "Tom", and says it: loss near 0.

Nobody tells the model so. It is trained to predict the next word. For 250 steps it only learns to bet, as attn1l does;
then, within a hundred steps, the heads of the two layers find each other.

Sources: Elhage et al. 2021, "A Mathematical Framework for Transformer Circuits"; Olsson et al. 2022, "In-context
Learning and Induction Heads".
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from interpwidgets.data.repeats import random_periods
from interpwidgets.models.attention_only import AttentionOnlyConfig, AttentionOnlyForCausalLM
from interpwidgets.models.words import WordTokenizer
from interpwidgets.zoo.accept_induction import accept_attn0l, accept_attn1l, accept_attn2l
from interpwidgets.zoo.spec import Made, Progress, ZooModel
from interpwidgets.zoo.training import Training, accelerator, fit

SEED = 2  # of 0 to 3, which all pass, the one whose layer 0 divides the work most clearly: one head does all of it
STEPS = 1500
BATCH = 64
RATE = 3e-3
DECAY = 2.0  # of the heads' weights: with little of it, both heads of layer 0 do the same, each as well as the other
KEPT = (0, 100, 200, 250, 300, 350, 400, 500, 600, 800, 1000)  # of attn2l, with the last step a series of twelve


def train(
    n_layers: int,
    seed: int = SEED,
    steps: int = STEPS,
    keep: tuple[int, ...] = (),
    progress: Progress | None = None,
    state: Path | None = None,
) -> Made:
    """Train an attention-only transformer from nothing: 25 seconds for two layers on one processor.

    The same seed gives the same weights, to the last bit, on the same machine. See `interpwidgets.zoo.training.fit` for
    ``progress`` and ``state``.
    """
    torch.manual_seed(seed)
    place = accelerator()
    model: Any = AttentionOnlyForCausalLM(AttentionOnlyConfig(n_layers=n_layers)).to(place)  # type: ignore[arg-type]
    model.tokenizer = WordTokenizer()
    heads = [weight for name, weight in model.named_parameters() if ".attention." in name]
    others = [weight for name, weight in model.named_parameters() if ".attention." not in name]
    optimizer = torch.optim.AdamW(
        [{"params": heads, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.01}],
        lr=RATE, betas=(0.9, 0.98),
    )  # fmt: skip
    stream = torch.Generator().manual_seed(seed)

    def loss(step: int) -> Tensor:
        tokens = random_periods(BATCH, stream)[0].to(place)
        logits = model(tokens).logits
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())

    recipe = {"layers": n_layers, "seed": seed, "steps": steps}
    rate = partial(_schedule, steps=steps)
    return fit(Training(model, [optimizer], loss, steps, recipe, [stream], rate, keep), state, progress)


def _schedule(step: int, steps: int) -> float:
    """Up in a hundred steps, level, and down over the last 40 percent."""
    return min(1.0, (step + 1) / 100) * max(0.02, min(1.0, (1 - step / steps) / 0.4))


def _spec(n_layers: int, accept: Any, purpose: str, limits: str, keep: tuple[int, ...] = ()) -> ZooModel:
    config = AttentionOnlyConfig(n_layers=n_layers)
    return ZooModel(
        name=f"attn{n_layers}l",
        purpose=purpose,
        limits=limits,
        architecture=(
            f"attention-only transformer: {n_layers} layers, {config.n_heads} heads of {config.d_head}, residual "
            f"stream of {config.d_model}, learned positions, a norm before each layer and at the end, no MLP"
        ),
        data=(
            "interpwidgets.data.repeats.random_periods: random words that repeat with a period of 4 to 23, after a lead"
        ),
        recipe={
            "seed": SEED,
            "steps": STEPS,
            "batch": BATCH,
            "optimizer": f"AdamW, betas 0.9 and 0.98, weight decay {DECAY} for the heads and 0.01 for the rest",
            "learning rate": f"{RATE}, 100 steps of warm-up, linear decay over the last 40 %",
        },
        train=partial(train, n_layers, keep=keep),
        accept=accept,
    )


_LIMITS = "It knows 64 words, which mean nothing to it, and reads at most 47 of them."

MODELS = (
    _spec(
        2, accept_attn2l,
        "The smallest transformer in which induction heads grow, and how they grow, step by step.",
        _LIMITS + " Which head does what changes with the seed.",
        KEPT,
    ),
    _spec(1, accept_attn1l, "What one layer of attention can do about repeats: bet on words of the same row.", _LIMITS),
    _spec(0, accept_attn0l, "What is left without attention: a table of what follows what.", _LIMITS),
)  # fmt: skip
