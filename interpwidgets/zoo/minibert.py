"""minibert: fills gaps in sentences, for which it has to find out which word belongs to which; minibert_sentiment.

    from interpwidgets import load

    model = load("minibert")
    model(**model.tokenizer("these rusty [MASK] often carry a baker .", return_tensors="pt")).logits    # "trains"

    critic = load("minibert_sentiment")
    critic(**critic.tokenizer("they call it dull . i find it not bad .", return_tensors="pt")).logits  # bad, good

A small BERT of the transformers library and its own WordPiece tokenizer, so that `AutoModelForMaskedLM`,
`AutoModelForSequenceClassification` and `AutoTokenizer` open both directories without a line of ours.

What there is to find out stands in `interpwidgets.data.relations`. Worked by hand for the gap above: "these" asks for
several of the second kind of noun (nurses, horses, roses, trains, ...), and "rusty" for a vehicle: "trains" is all that
is left. Without the adjective "carry" would do as well, for it is vehicles that carry people. All three words belong
to the gap, and each says what the others do not.

Nobody tells the model which word belongs to which. That some of its heads look from a determiner to its noun, and from
a subject or an object to its verb, comes of filling gaps, as in the BERT of Clark et al. 2019, "What Does BERT Look
At?".

The sentiment model begins with the weights of minibert and goes on with another question, does the writer like it?
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification, BertTokenizer

from interpwidgets.data.relations import CONTEXT, PAD, VOCABULARY, sentences, with_gaps
from interpwidgets.models.load import load
from interpwidgets.zoo.accept_minibert import accept_minibert, accept_minibert_sentiment
from interpwidgets.zoo.spec import Made, Progress, ZooModel
from interpwidgets.zoo.training import Training, accelerator, fit

SEED = 0
BATCH = 64
STEPS, RATE, OPINIONS = 3000, 1e-3, 0.2
SENTIMENT_STEPS, SENTIMENT_RATE = 600, 5e-4


def train(seed: int = SEED, steps: int = STEPS, progress: Progress | None = None, state: Path | None = None) -> Made:
    """Train minibert from nothing: about three minutes on one processor.

    The same seed gives the same weights, to the last bit, on the same machine. See `interpwidgets.zoo.training.fit` for
    ``progress`` and ``state``.
    """
    torch.manual_seed(seed)
    place = accelerator()
    model: Any = BertForMaskedLM(_config()).to(place)  # type: ignore[arg-type]
    model.tokenizer = sentence_tokenizer()
    stream = torch.Generator().manual_seed(seed)

    def loss(step: int) -> Tensor:
        ids = sentences(BATCH, stream, OPINIONS).ids
        read, asked = (each.to(place) for each in with_gaps(ids, stream))
        hidden = model.bert(read, attention_mask=_words(read)).last_hidden_state
        return F.cross_entropy(model.cls(hidden[asked]), ids.to(place)[asked])

    recipe = {"model": "minibert", "seed": seed, "steps": steps}
    return fit(_training(model, RATE, loss, recipe, stream), state, progress)


def train_sentiment(
    seed: int = SEED, steps: int = SENTIMENT_STEPS, progress: Progress | None = None, state: Path | None = None
) -> Made:
    """Train minibert_sentiment, all of its weights, from the shipped minibert: half a minute on one processor."""
    torch.manual_seed(seed)
    place = accelerator()
    labels = {0: "bad", 1: "good"}
    config = _config(id2label=labels, label2id={name: label for label, name in labels.items()})
    model: Any = BertForSequenceClassification(config)
    trunk: Any = load("minibert")
    model.bert.load_state_dict(trunk.bert.state_dict(), strict=False)  # all but what reads [CLS] at the end
    model.to(place).tokenizer = sentence_tokenizer()
    stream = torch.Generator().manual_seed(seed)

    def loss(step: int) -> Tensor:
        drawn = sentences(BATCH, stream, opinions=1)
        ids = drawn.ids.to(place)
        return F.cross_entropy(model(ids, attention_mask=_words(ids)).logits, drawn.labels.to(place))

    recipe = {"model": "minibert_sentiment", "seed": seed, "steps": steps}
    return fit(_training(model, SENTIMENT_RATE, loss, recipe, stream), state, progress)


def sentence_tokenizer() -> BertTokenizer:
    """BERT's tokenizer with the 157 words of the grammar; a word that is not among them is ``[UNK]``."""
    vocabulary = {word: i for i, word in enumerate(VOCABULARY)}
    return BertTokenizer(vocab=vocabulary, model_max_length=CONTEXT)


def _config(**labels: Any) -> BertConfig:
    return BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=96, num_hidden_layers=4, num_attention_heads=4, intermediate_size=192,
        max_position_embeddings=CONTEXT, type_vocab_size=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        initializer_range=0.05, pad_token_id=PAD, **labels,
    )  # fmt: skip


def _training(
    model: Any, rate: float, loss: Callable[[int], Tensor], recipe: dict[str, Any], stream: torch.Generator
) -> Training:
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    steps = recipe["steps"]
    return Training(model, [optimizer], loss, steps, recipe, [stream], partial(_schedule, steps=steps))


def _words(ids: Tensor) -> Tensor:
    """1 where there is a word to look at, 0 at padding."""
    return (ids != PAD).long()


def _schedule(step: int, steps: int) -> float:
    """Up in two hundred steps, level, and down over the second half."""
    return min(1.0, (step + 1) / 200) * max(0.02, min(1.0, (1 - step / steps) / 0.5))


_SIZES = "4 layers, 4 heads of 24, residual stream of 96, MLP of 192, a norm after each sum, no dropout"

MODELS = (
    ZooModel(
        name="minibert",
        purpose="Heads that look along the relations of a grammar, against a gold standard: what attention finds out.",
        architecture=f"BERT, masked language model: {_SIZES}",
        data=(
            "interpwidgets.data.relations.sentences, every fifth with an opinion, and with_gaps: one word in four is "
            "asked for; of these six in ten are masked, and three in ten are another word of the same kind"
        ),
        limits=(
            "It reads up to 40 tokens of a language of 151 words in which each noun has determiners of its own; other "
            "words are [UNK] to it, which it has never met in training. Which head does what changes with the seed."
        ),
        recipe={
            "seed": SEED,
            "steps": STEPS,
            "batch": BATCH,
            "optimizer": "AdamW, betas 0.9 and 0.98, weight decay 0.01",
            "learning rate": f"{RATE}, 200 steps of warm-up, linear decay over the second half",
        },
        train=train,
        accept=accept_minibert,
    ),
    ZooModel(
        name="minibert_sentiment",
        purpose="A classifier of which one knows what it should look at: for attribution, and for fine-tuning.",
        architecture=f"BERT with two labels, read at [CLS]: {_SIZES}",
        data="interpwidgets.data.relations.sentences, all with the writer's opinion and most with that of others too",
        limits=(
            "It reads up to 40 tokens of a language of 151 words. It always answers; its answer means nothing where "
            "the writer has no opinion: it has met no such text in training."
        ),
        recipe={
            "begins with": "minibert",
            "seed": SEED,
            "steps": SENTIMENT_STEPS,
            "batch": BATCH,
            "optimizer": "AdamW, betas 0.9 and 0.98, weight decay 0.01, all weights",
            "learning rate": f"{SENTIMENT_RATE}, 200 steps of warm-up, linear decay over the second half",
        },
        train=train_sentiment,
        accept=accept_minibert_sentiment,
    ),
)
