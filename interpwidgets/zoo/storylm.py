"""storylm and its twins: learn to tell the stories of a small grammar (`interpwidgets.data.stories`).

The data are rows of stories, side by side, one row in eight of random words that repeat
(`interpwidgets.data.stories.windows`)::

    <s> When Mary and John went to the store, John gave a drink to Mary. <s> The war lasted from the year 1732 to ...

There is one thing to learn, the next word, and there are many ways to get better at it. Which letter follows H has to
be known by heart. Who gets the drink has to be found out, from two names and one that comes twice. The end of a war is
never certain, but it is later than its beginning. No row comes twice, so nothing is gained by remembering rows; and
what nobody can know, such as which story comes next, costs a model that knows the grammar as much as any other. That is
the bound which the loss is held to.

With Adam alone these models learn single words and then stand still: for hundreds of steps none of them learns to copy.
Muon (`interpwidgets.zoo.muon`) takes the matrices inside the layers, and it takes 900 steps until the names are right.

The twins are half as large. One differs in nothing else but its random numbers, one has ReLU for its activation, and
one is a Llama, which is fed otherwise at first (`repeats_at`). It begins with rows in which few words repeat: to copy
any of sixty words is soon learned, to copy any of a thousand is not, and a model that copies sixty takes to the others
as they come in. Without that, and without heads that look at the word before (`look_back`), a Llama learned to copy
nothing in 1,400 steps; with both, half of the words after 700 steps and all of them after 950.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
)

from interpwidgets.data.stories.vocabulary import VOCABULARY
from interpwidgets.data.stories.windows import CONTEXT, REPEATS, Windows
from interpwidgets.models.story_tokens import story_tokenizer
from interpwidgets.zoo.accept_storylm import accept, accept_series
from interpwidgets.zoo.muon import Muon
from interpwidgets.zoo.spec import Made, Progress, ZooModel
from interpwidgets.zoo.training import Training, accelerator, fit

BATCH = 64
WARM_UP = 100
MATRIX_RATE, OTHER_RATE = 0.02, 3e-3
FEW_WORDS = {300: 16, 450: 8, 600: 4, 750: 2}  # until that step, of every so manieth word


def gpt2(d_model: int, n_heads: int, activation: str = "gelu_pytorch_tanh") -> PreTrainedConfig:
    """Four layers of GPT-2, without dropout."""
    return GPT2Config(
        vocab_size=len(VOCABULARY), n_positions=CONTEXT, n_embd=d_model, n_layer=4, n_head=n_heads,
        activation_function=activation, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip


def llama(d_model: int, n_heads: int, n_kv_heads: int) -> PreTrainedConfig:
    """Four layers of Llama: rotary positions, RMS norms, gated MLPs, and fewer keys than queries."""
    return LlamaConfig(
        vocab_size=len(VOCABULARY), max_position_embeddings=CONTEXT, hidden_size=d_model, num_hidden_layers=4,
        intermediate_size=d_model * 8 // 3, num_attention_heads=n_heads, num_key_value_heads=n_kv_heads,
        attention_bias=True, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip


_ARCHITECTURES: dict[type[PreTrainedConfig], Callable[[Any], PreTrainedModel]] = {
    GPT2Config: GPT2LMHeadModel,
    LlamaConfig: LlamaForCausalLM,
}


def repeats_at(step: int) -> tuple[float, int]:
    """How many of the rows of a step repeat, and of every so manieth word, where a training begins with few words.

    Half of the first rows are of sixty words. Both the share of the rows and the choice of words go to the usual.
    """
    every = next((every for until, every in FEW_WORDS.items() if step < until), 1)
    left = max(0.0, 1 - step / max(FEW_WORDS))
    return REPEATS + left * (0.5 - REPEATS), every


def train(
    config: PreTrainedConfig,
    seed: int,
    steps: int,
    keep: tuple[int, ...] = (),
    progress: Progress | None = None,
    state: Path | None = None,
    few_words: bool = False,
) -> Made:
    """Train a model of ``config`` from nothing.

    The same seed gives the same weights, to the last bit, on the same machine. See `interpwidgets.zoo.training.fit` for
    ``progress`` and ``state``.
    """
    torch.manual_seed(seed)
    place = accelerator()
    is_gpt2 = isinstance(config, GPT2Config)
    model: Any = _ARCHITECTURES[type(config)](config)
    model.to(place)
    model.tokenizer = story_tokenizer()
    model.generation_config.pad_token_id = 0  # not in the config: there, each <s> of a prompt would count as padding
    model.generation_config.max_length = CONTEXT  # a story ends with <s>, sooner or later
    if not is_gpt2:
        look_back(model)
    windows = Windows(seed)

    def loss(step: int) -> Tensor:
        tokens = torch.from_numpy(windows.next(BATCH, *(repeats_at(step) if few_words else ()))).to(place)
        logits = model(tokens, attention_mask=torch.ones_like(tokens), use_cache=False).logits
        return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())

    training = Training(
        model, _optimizers(model, transposed=not is_gpt2), loss, steps,
        recipe={"config": config.to_json_string(), "seed": seed, "steps": steps, "few words": few_words},
        streams=[windows.source], rate=partial(schedule, steps=steps), keep=keep,
    )  # fmt: skip
    return fit(training, state, progress)


def look_back(model: Any) -> None:
    """Let the heads of layer 0 that share the first keys begin as heads that look at the word before.

    In GPT-2 such a head can read positions from the residual stream. A Llama turns queries and keys by angles that grow
    with the position, one angle for each pair of numbers, and only biases make scores that depend on the distance
    alone. These are set so that the fast pairs agree at distance 1; training may change them.
    """
    attention, config = model.model.layers[0].self_attn, model.config
    half, shared = attention.head_dim // 2, config.num_attention_heads // config.num_key_value_heads
    angles = config.rope_parameters["rope_theta"] ** (-torch.arange(half) / half)
    strength = 5.0 * (angles > 0.15)
    query = torch.cat([strength * angles.cos(), -strength * angles.sin()])
    with torch.no_grad():
        attention.k_proj.bias[:half] = strength
        attention.q_proj.bias[: 2 * half * shared] = query.repeat(shared)


def _optimizers(model: nn.Module, transposed: bool) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, norms and biases, whose gradients are clipped."""
    matrices: list[Tensor] = []
    others: list[Tensor] = []
    for name, weight in model.named_parameters():
        inside = ".h." in name or ".layers." in name
        (matrices if inside and weight.ndim == 2 else others).append(weight)
    adam = torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0)

    def clip(*_: Any) -> None:
        torch.nn.utils.clip_grad_norm_(others, 1.0)

    adam.register_step_pre_hook(clip)
    return [Muon(matrices, lr=MATRIX_RATE, transposed=transposed), adam]


def schedule(step: int, steps: int) -> float:
    """Up in a hundred steps, then down along a cosine to a fiftieth."""
    return min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.98 * (1 + math.cos(math.pi * step / steps)) / 2)


# -- what is shipped


@dataclass(frozen=True)
class _Kind:
    """What one of the models is, where it differs from the others."""

    name: str
    purpose: str
    architecture: str
    limits: str
    config: PreTrainedConfig
    seed: int
    steps: int
    wanted: Mapping[str, Mapping[str, float]]
    how: str = ""  # it finds the receiver of a gift: what the cut edges under "measured" say
    keep: tuple[int, ...] = ()
    precision: Literal["float32", "float16"] = "float16"
    few_words: bool = False  # it begins with them: see `repeats_at`


def _spec(kind: _Kind) -> ZooModel:
    return ZooModel(
        name=kind.name,
        purpose=kind.purpose,
        architecture=kind.architecture,
        data=_data(kind),
        limits=kind.limits,
        recipe={
            "seed": kind.seed,
            "steps": kind.steps,
            "batch": BATCH,
            "optimizer": "Muon for the matrices inside the layers, AdamW (betas 0.9 and 0.98) for everything else",
            "learning rate": (
                f"{MATRIX_RATE} for Muon, {OTHER_RATE} for AdamW; {WARM_UP} steps of warm-up, then a cosine to 2 %"
            ),
            "weight decay": "0.05 with Muon, none with AdamW",
            **_beginning(kind.config),
        },
        train=partial(train, kind.config, kind.seed, kind.steps, keep=kind.keep, few_words=kind.few_words),
        accept=partial(accept, kind.wanted),
        accept_series=accept_series if kind.keep else None,
        precision=kind.precision,
        more=partial(_more, kind),
    )


def _data(kind: _Kind) -> str:
    """Two or three sentences for the card."""
    said = (
        f"interpwidgets.data.stories.windows: rows of {CONTEXT} tokens with stories of sixteen kinds side by side; "
        f"{REPEATS:.0%} of the rows are random words that repeat with a period of 6 to 31. No row comes twice."
    )
    if kind.few_words:
        said += (
            f" In the first {max(FEW_WORDS)} steps more rows repeat, half of them to begin with, and their words are "
            "few: every sixteenth of the vocabulary, then every eighth, fourth and second."
        )
    return said


def _beginning(config: PreTrainedConfig) -> dict[str, str]:
    """What a recipe begins with other than random numbers."""
    if not isinstance(config, LlamaConfig):
        return {}
    return {"biases to begin with": "heads of layer 0 that share the first keys look at the word before"}


def _more(kind: _Kind, model: Any) -> dict[str, Any]:
    """Further parts of the card: how the model finds the receiver of a gift, and twenty stories by it."""
    how = {"how it finds who receives": kind.how} if kind.how else {}
    return how | {"stories that the model wrote, each after the words in brackets": write(model)}


_BEGINNINGS = (
    "Once there was", "Dear", "One", "Never", "Every", "Anna dreamed", "Tom lost", "Somebody", "Victor traded",
    "Ella and Hugo both wanted", "One foggy evening", "Once there was a nervous", "Dear Clara, the castle", "Never "
    "lend",
    "Sofia dreamed", "Every evening the", "Max traded", "One hot morning Lucy", "When Oscar and Rosa", "Once there was "
    "a lazy",
)  # fmt: skip


_TEMPERATURE = 0.7  # below 1, rare words come more rarely than in training


def write(model: Any, seed: int = 0) -> list[str]:
    """A story after each of twenty beginnings, drawn from what the model holds for probable; none was sorted out."""
    generator = torch.Generator().manual_seed(seed)
    stories = []
    for beginning in _BEGINNINGS:
        ids = model.tokenizer(beginning, return_tensors="pt").input_ids
        begun = ids.shape[1]
        while ids.shape[1] < CONTEXT and (ids.shape[1] == begun or ids[0, -1] != 0):
            with torch.no_grad():
                following = (model(ids).logits[0, -1] / _TEMPERATURE).softmax(-1)
            ids = torch.cat([ids, torch.multinomial(following, 1, generator=generator)[None]], 1)
        rest = model.tokenizer.decode([*ids[0, begun:]], skip_special_tokens=True)
        stories.append(f"[{beginning}]{'' if rest[:1] in '.,:?' else ' '}{rest}")
    return stories


_WANTED = {
    "loss above the bound": {"at_most": 0.05},
    "ioi, right": {"at_least": 0.95},
    "ioi, logit difference": {"at_least": 2.0},
    "greater-than, p(later) - p(not later)": {"at_least": 0.9},
    "successor, right": {"at_least": 0.98},
    "facts, the 20 most frequent cities": {"at_least": 0.98},
    "facts, the 20 rarest": {"at_most": 0.9},
    "best induction head": {"at_least": 0.5},
    "acronym, all three letters": {"at_least": 0.97},
    "agreement, with another number in between": {"at_least": 0.95},
}
_GPT2 = "GPT-2: 4 layers, {heads} heads of 16, residual stream of {width}, MLPs of {mlp} with {activation}"
_KINDS = (
    _Kind(
        name="storylm",
        purpose=(
            "The model of most chapters: it tells small stories, and in passing does what the literature has found "
            "circuits for, from indirect objects to facts."
        ),
        architecture=_GPT2.format(heads=8, width=128, mlp=512, activation="GELU"),
        limits=(
            "It does not find things in a document (mystery, keeper, coloured objects): two answers in five are right, "
            "where guessing one of the three that stand there gives one. It reckons with days and months seven times "
            "in ten. Languages of cities that were never told it does not compose from two facts. Rare cities it often "
            "has in the wrong country. Whether a rumour is true it sees where the facts are frequent."
        ),
        config=gpt2(128, 8),
        seed=0,
        steps=1600,
        wanted=_WANTED
        | {
            "ioi, end from both first names: right": {"at_least": 0.95},
            "ioi, end from the name that comes again: right": {"at_most": 0.6},
            "ioi, end of the first clause from the receiver: right": {"at_most": 0.8},
            "ioi, logit difference written by the most helpful head": {"at_most": 0.5},
        },
        how=(
            "Not as GPT-2 does, by heads that look from the end at the receiver and copy the name: cut off from both "
            "names where they first stand, the end is as right as before. The names are gathered at the mark or word "
            "that ends the first clause; cut that off from the receiver, and the lead is gone. The end reads two "
            "places, that one and the giver's name in the second clause, and loses half of its lead without the first "
            "and all of it without the second. The last two MLPs turn the two into a name, that of the pair which was "
            "not said again: they write almost all of the difference, and no head writes any to speak of. Looking at "
            "what heads write shows none of this; cutting edges does."
        ),
        precision="float32",
    ),
    _Kind(
        name="storylm-small",
        purpose="storylm at half the size and from other random numbers, with steps of its training.",
        architecture=_GPT2.format(heads=6, width=96, mlp=384, activation="GELU"),
        limits=(
            "What storylm cannot do, this model does no better, and rare facts and sums of days worse. Its pronouns "
            "are wrong one time in six."
        ),
        how=(
            "By another path than storylm. The end reads both names itself, where they first stand, and the giver's "
            "name again in the second clause. Without the two first names it hardly ever says the right name, though "
            "it still prefers the receiver to the giver; without the giver's name the preference is gone. The mark "
            "that ends the first clause, on which storylm relies, plays no part. In both models the last two MLPs "
            "write the difference, and no head does."
        ),
        config=gpt2(96, 6),
        seed=1,
        steps=1400,
        wanted=_WANTED
        | {
            "loss above the bound": {"at_most": 0.06},  # half the size; it learns the last things later
            "ioi, end from both first names: right": {"at_most": 0.4},
            "ioi, end from the name that comes again: right": {"at_most": 0.6},
            "ioi, end of the first clause from the receiver: right": {"at_least": 0.9},
        },
        keep=(600, 700, 800, 1000, 1200),
    ),
    _Kind(
        name="storylm-relu",
        purpose="storylm at half the size with ReLU in its MLPs, whose neurons are silent most of the time.",
        architecture=_GPT2.format(heads=6, width=96, mlp=384, activation="ReLU"),
        limits=(
            "Like storylm it does not find things in a document, and guesses languages that take two steps. It knows "
            "fewer facts: two in five of the cities in between are in the wrong country, and nine in ten of the rarest."
        ),
        how=(
            "As storylm-small does: the end reads both names where they first stand, and the giver's name again; "
            "without the first it hardly ever says the right name, without the second it hardly prefers the receiver. "
            "The mark that ends the first clause plays no part."
        ),
        config=gpt2(96, 6, "relu"),
        seed=2,
        steps=2000,  # with 1400, it tells who receives in five cases of six: with ReLU all comes later than with GELU
        wanted=_WANTED
        | {
            "ioi, end from both first names: right": {"at_most": 0.4},
            "ioi, end from the name that comes again: right": {"at_most": 0.7},
            "ioi, end of the first clause from the receiver: right": {"at_least": 0.9},
        },
    ),
    _Kind(
        name="storylm-llama",
        purpose="storylm at half the size as a Llama, to see what stays the same in another architecture.",
        architecture=(
            "Llama: 4 layers, 4 heads of 24 on 2 heads of keys and values, rotary positions, RMS norms, biases at the "
            "projections of attention, residual stream of 96, gated MLPs of 256 with SiLU"
        ),
        limits=(
            "It does not find things in a document, and of the three that stand there it often names none. Languages "
            "of cities that were never told it hardly composes, and two in five of the rarest cities are all it has "
            "in the right country. The heads of layer 0 that look at the word before it has not found by itself: they "
            "were set to do so when training began, and still do."
        ),
        how=(
            "As storylm-small does, in another architecture: the end reads both names where they first stand, and the "
            "giver's name again; without the first it hardly ever says the right name, without the second it hardly "
            "prefers the receiver. The mark that ends the first clause plays no part. The last two MLPs write the "
            "difference; one head writes a little of it."
        ),
        config=llama(96, 4, 2),
        seed=3,
        steps=1600,
        few_words=True,
        wanted=_WANTED
        | {
            "ioi, end from both first names: right": {"at_most": 0.4},
            "ioi, end from the name that comes again: right": {"at_most": 0.7},
            "ioi, end of the first clause from the receiver: right": {"at_least": 0.9},
        },
    ),
)
MODELS = tuple(_spec(kind) for kind in _KINDS)
