"""What minibert has to be able to do, and which of its heads look along the relations of the grammar.

A head finds a relation as often as the word that it looks at most, of all words but the looking one and the special
ones, is the one that the looking word belongs to. Two numbers stand beside: how often the word so many steps away is
the right one, for the best number of steps; and what the best head of a model with random weights finds. A head with
less than that has found nothing.

The control has no signal at all: a noun in a prepositional group and the verb have nothing to do with each other. Many
texts have two nouns on the same side of the verb, and only one of them says which verb it is.

Source: Clark et al. 2019, "What Does BERT Look At?", where heads are read in the same way, the word attended to most,
and are held against the best fixed offset.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from interpwidgets.data.relations import CATEGORY, MASK, PAD, RELATIONS, SPECIAL, Sentences, sentences, with_gaps
from interpwidgets.models.taps import Tap
from interpwidgets.zoo.spec import Measured

TEXTS = 1000
FOUND = {"det": 0.9, "nsubj": 0.9, "obj": 0.9, "amod": None, "advmod": None}  # what the best head has to reach

Pairs = tuple[Int[Tensor, " pair"], Int[Tensor, " pair"], Int[Tensor, " pair"]]  # text, from position, to position


def accept_minibert(model: Any) -> dict[str, Measured]:
    """Gaps are filled as the grammar wants, and heads have found its relations."""
    drawn = sentences(TEXTS, torch.Generator().manual_seed(5))
    looks, random_looks = _most_attended(model, drawn.ids), _most_attended(_untrained(model), drawn.ids)
    measured = _gaps(model, drawn)
    for name, least in FOUND.items():
        measured |= _found(name, _pairs_of(drawn, name), looks, random_looks, least)
    return measured | _found("control", _control(drawn), looks, random_looks, None)


def accept_minibert_sentiment(model: Any) -> dict[str, Measured]:
    """The writer's opinion is told from that of others, and from the words that say it."""
    drawn = sentences(2 * TEXTS, torch.Generator().manual_seed(5), opinions=1)
    right = _answers(model, drawn.ids) == drawn.labels
    negated = drawn.spans.sum(1) == 2
    hidden, others = (drawn.ids.masked_fill(where, MASK) for where in (drawn.spans, _as_many_others(drawn)))
    return {
        "accuracy": Measured(_share(right), at_least=0.97),
        'accuracy where the writer says "not"': Measured(_share(right[negated]), at_least=0.97),
        "accuracy with the words that decide masked": Measured(
            _share(_answers(model, hidden) == drawn.labels), at_most=0.65
        ),
        "accuracy with as many others masked": Measured(_share(_answers(model, others) == drawn.labels), at_least=0.9),
    }


# -- where heads look


def _most_attended(model: Any, ids: Int[Tensor, "batch position"]) -> Int[Tensor, "layer batch head position"]:
    """For every head and word the position of the other word that it looks at most."""
    with torch.no_grad(), Tap(model, "pattern") as tap:
        model(ids, attention_mask=(ids != PAD).long())
    pattern: Float[Tensor, "layer batch head query key"] = tap["pattern"]
    barred = (ids < len(SPECIAL))[:, None, None, :] | torch.eye(ids.shape[1], dtype=torch.bool)
    return pattern.masked_fill(barred, -1).argmax(-1)


def _untrained(model: Any) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return type(model)(model.config).eval()


def _found(
    name: str, pairs: Pairs, looks: Int[Tensor, "layer batch head position"],
    random_looks: Int[Tensor, "layer batch head position"], at_least: float | None,
) -> dict[str, Measured]:  # fmt: skip
    _, begin, end = pairs
    by_steps = torch.unique(end - begin, return_counts=True)[1].max() / len(begin)
    return {
        f"{name}: best head": Measured(_best(pairs, looks), at_least=at_least),
        f"{name}: best number of steps": Measured(float(by_steps)),
        f"{name}: best head of random weights": Measured(_best(pairs, random_looks)),
    }


def _best(pairs: Pairs, looks: Int[Tensor, "layer batch head position"]) -> float:
    text, begin, end = pairs
    found = looks[:, text, :, begin] == end[:, None, None]  # [pair, layer, head]
    return float(found.float().mean(0).max())


def _pairs_of(drawn: Sentences, relation: str) -> Pairs:
    text, begin = (drawn.relations == RELATIONS.index(relation)).nonzero().T
    return text, begin, drawn.heads[text, begin]


def _control(drawn: Sentences) -> Pairs:
    """The nouns of prepositional groups, and the verb."""
    text, begin, _ = _pairs_of(drawn, "pobj")
    return text, begin, _verbs(drawn)[text]


def _verbs(drawn: Sentences) -> Int[Tensor, " batch"]:
    return _is(drawn.ids, "verb").int().argmax(1)


def _is(ids: Int[Tensor, "batch position"], category: str) -> Bool[Tensor, "batch position"]:
    return torch.tensor([each == category for each in CATEGORY])[ids]


# -- what is said


def _gaps(model: Any, drawn: Sentences) -> dict[str, Measured]:
    """The loss on gaps as in training, and one gap at a time: a verb, a determiner."""
    read, asked = with_gaps(drawn.ids, torch.Generator().manual_seed(5))
    loss = F.cross_entropy(_logits(model, read)[asked], drawn.ids[asked])
    text = torch.arange(len(drawn.ids))
    verbs = _agree(model, drawn.ids, (text, _verbs(drawn)), lambda ids: ids)
    determiners = drawn.relations == RELATIONS.index("det")
    first = _agree(model, drawn.ids, (text, determiners.int().argmax(1)), _kind_of_determiner)
    return {
        "loss on gaps, nats": Measured(loss.item()),
        "masked verbs that go with subject and object": Measured(verbs, at_least=0.95),
        "masked determiners that go with their noun": Measured(first, at_least=0.95),
    }


def _kind_of_determiner(ids: Tensor) -> Tensor:
    """The same for the two determiners that go with the same nouns."""
    return (ids - CATEGORY.index("determiner")) // 2


def _agree(
    model: Any, ids: Int[Tensor, "batch position"], at: tuple[Tensor, Tensor], kind: Callable[[Tensor], Tensor]
) -> float:
    """How often the word that is filled into the gap is of the ``kind`` of the one that stood there."""
    read = ids.clone()
    read[at] = MASK
    return _share(kind(_logits(model, read)[at].argmax(-1)) == kind(ids[at]))


def _logits(model: Any, ids: Int[Tensor, "batch position"]) -> Float[Tensor, "batch ..."]:
    with torch.no_grad():
        logits: Tensor = model(ids, attention_mask=(ids != PAD).long()).logits
    return logits


def _answers(model: Any, ids: Int[Tensor, "batch position"]) -> Int[Tensor, " batch"]:
    return _logits(model, ids).argmax(-1)


def _as_many_others(drawn: Sentences) -> Bool[Tensor, "batch position"]:
    """As many words as the span has in each text, at random among those that are not in it."""
    free = (drawn.ids >= len(SPECIAL)) & ~drawn.spans
    keys = torch.rand(free.shape, generator=torch.Generator().manual_seed(5)).masked_fill(~free, 2)
    return (keys.argsort(1).argsort(1) < drawn.spans.sum(1, keepdim=True)) & free


def _share(right: Tensor) -> float:
    return float(right.float().mean())
