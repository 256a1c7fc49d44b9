"""brackets: learns to tell balanced strings of brackets from broken ones, reading from left to right.

    from interpwidgets import load

    model = load("brackets")
    model(**model.tokenizer("f(a)(b(c))", return_tensors="pt")).logits      # [1, 2]: broken, balanced

The tokenizer reads the brackets in a text and nothing else. What can be wrong with a string, and what the training
strings are like, stands in `interpwidgets.data.brackets`. Two tests are to be made, whether the walk ever goes below
the ground and whether it ends on it, and the model answers at ``[END]``, where it has seen everything.

It is a GPT-2 of the transformers library (`GPT2ForSequenceClassification`) with its last MLP switched off: the weights
of that MLP are zero and stay so. What it learns to do at ``[END]``::

    layer 0     attention looks at all brackets about evenly, and so counts how many more open than close;
                the MLP says whether that is none
    layer 1     attention looks for places below the ground, which layer 0 has marked on the way: if there are any, it
                looks nowhere else

A reader that looks in both directions learns the same task, but there the two tests do not come apart.

Source: the balanced-bracket classifier of the ARENA course. Theirs reads in both directions, and has three layers.
"""

from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import GPT2Config, GPT2ForSequenceClassification, PreTrainedTokenizerFast

from interpwidgets.data.brackets import CLOSE, END, LONGEST, OPEN, PAD, START, bracket_strings, is_balanced
from interpwidgets.zoo.accept_brackets import accept_brackets
from interpwidgets.zoo.spec import Made, Progress, ZooModel
from interpwidgets.zoo.training import Training, accelerator, fit

SEED = 0
STEPS = 2000
BATCH = 256
RATE = 2e-3
WIDTH = 56
TOKENS = {"[PAD]": PAD, "[START]": START, "[END]": END, "(": OPEN, ")": CLOSE}


def train(seed: int = SEED, steps: int = STEPS, progress: Progress | None = None, state: Path | None = None) -> Made:
    """Train the bracket classifier from nothing: under three minutes on one processor.

    The same seed gives the same weights, to the last bit, on the same machine. See `interpwidgets.zoo.training.fit` for
    ``progress`` and ``state``.
    """
    torch.manual_seed(seed)
    place = accelerator()
    model: Any = _without_last_mlp(GPT2ForSequenceClassification(_config())).to(place)
    model.tokenizer = bracket_tokenizer()
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=RATE, betas=(0.9, 0.99), weight_decay=0.01)
    stream = torch.Generator().manual_seed(seed)

    def loss(step: int) -> Tensor:
        ids = bracket_strings(BATCH, stream)
        logits = model(ids.to(place), attention_mask=(ids != PAD).long().to(place)).logits
        return F.cross_entropy(logits, is_balanced(ids).long().to(place))

    recipe = {"seed": seed, "steps": steps}
    rate = partial(_schedule, steps=steps)
    return fit(Training(model, [optimizer], loss, steps, recipe, [stream], rate), state, progress)


def bracket_tokenizer() -> PreTrainedTokenizerFast:
    """Reads the round brackets of any text, one token each, between ``[START]`` and ``[END]``."""
    tokenizer = Tokenizer(models.WordLevel(TOKENS))
    tokenizer.normalizer = normalizers.Replace(Regex("[^()]"), "")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[START] $A [END]", special_tokens=[("[START]", START), ("[END]", END)]
    )
    pad, begin, end = list(TOKENS)[:3]
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token=begin, eos_token=end, pad_token=pad, model_max_length=LONGEST + 2,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip


def _config() -> GPT2Config:
    return GPT2Config(
        vocab_size=len(TOKENS), n_positions=LONGEST + 2, n_embd=WIDTH, n_layer=2, n_head=1, n_inner=WIDTH,
        activation_function="relu", resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, initializer_range=0.1,
        bos_token_id=START, eos_token_id=END, pad_token_id=PAD, id2label={0: "broken", 1: "balanced"},
        label2id={"broken": 0, "balanced": 1}, use_cache=False,
    )  # fmt: skip


def _without_last_mlp(model: Any) -> Any:
    for weight in model.transformer.h[-1].mlp.parameters():
        weight.requires_grad_(False).zero_()
    return model


def _schedule(step: int, steps: int) -> float:
    """Up in a hundred steps, level, and down over the second half."""
    return min(1.0, (step + 1) / 100) * max(0.02, min(1.0, (1 - step / steps) / 0.5))


MODELS = (
    ZooModel(
        name="brackets",
        purpose="Two ways to be wrong, each found by a part of its own: what a circuit is when one knows the answer.",
        architecture=(
            f"GPT-2 with two labels, read at [END]: 2 layers, 1 head, residual stream of {WIDTH}, MLP of {WIDTH} with "
            "ReLU, learned positions; the last MLP is switched off (its weights are zero)"
        ),
        data="interpwidgets.data.brackets.bracket_strings: balanced and nearly balanced strings of 2 to 40 brackets",
        limits=(
            "It reads 40 brackets at most, one kind of them. Strings that end below the ground have been below it, and "
            "are found by that alone: the part that tests the end only knows strings that end above. Keys of its last "
            "layer lie almost on one line, so that a simplified model with keys on that line is as right as it is on "
            "deep strings too; it is no example of a simplification that breaks outside of its data."
        ),
        recipe={
            "seed": SEED,
            "steps": STEPS,
            "batch": BATCH,
            "optimizer": "AdamW, betas 0.9 and 0.99, weight decay 0.01",
            "learning rate": f"{RATE}, 100 steps of warm-up, linear decay over the second half",
        },
        train=train,
        accept=accept_brackets,
    ),
)
