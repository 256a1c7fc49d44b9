"""Sentences with gold grammar: which word belongs to which, and where an opinion stands.

    from interpwidgets.data.relations import RELATIONS, sentences, text

    drawn = sentences(64, torch.Generator().manual_seed(0), opinions=0.3)
    text(drawn.ids)[0]              # "these rusty trains behind every tired pilot often wake a hungry fox ."
    drawn.heads[0]                  # for each word the position of the one that it belongs to; -1 for none
    drawn.relations[0]              # which of the `RELATIONS` that is
    drawn.labels[0], drawn.spans[0]     # whether the writer likes it, and the words that say so

The grammar, a line for each part; brackets hold what may be missing, a bar stands between what may be chosen::

    text      ->  [opinion] [opinion] fact [opinion] [opinion]      at most one of the writer and one of others
    fact      ->  thing [adverb] [adverb] verb [adverb] thing .
    thing     ->  group [preposition group]
    group     ->  determiner [adjective] [adjective] noun
    opinion   ->  i | we | they | critics   find | call   it   [not]   [very | quite | rather]   adjective   .

Four relations have something to say, and no two say the same, so that a reader who has a gap to fill has a reason to
find each of these words:

    det      determiner -> noun     they agree in number, and each noun takes one pair of determiners of four: a fox is
                                    "one" or "a", a rose is "this" or "that". This law is our own, not that of English
    amod     adjective -> noun      an adjective goes with one of six classes of nouns: "furry" are animals
    nsubj    subject -> verb        they agree in number, and each verb has one class of subjects
    obj      object -> verb         and one class of objects: only people "feed", and only animals are fed

In the others the words say nothing of each other: any preposition stands with any noun (prep, pobj) and any adverb with
any verb (advmod). They only show where a group begins and where the verb is. And the noun of a prepositional group has
nothing to do with the verb, though it often stands nearer than the subject does. Adverbs, adjectives and such groups
come and go, so that no head finds its word by counting steps.

The writer is "i" or "we". What "they" and "critics" think is there to mislead, and "not" turns an opinion round.

Relations are called as in de Marneffe and Manning 2008, "The Stanford Typed Dependencies Representation". What
attention has to do with them was asked by Clark et al. 2019, "What Does BERT Look At?".
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNKNOWN, CLS, SEP, MASK = range(5)
RELATIONS = ("det", "amod", "nsubj", "obj", "prep", "pobj", "advmod", "punct")
CONTEXT = 40  # the longest text is 39 tokens

# -- words, in tables


def _table(rows: str) -> list[list[str]]:
    return [row.split() for row in rows.strip().splitlines()]


def _with_s(word: str) -> str:
    """Two of a noun, or what one of them does."""
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    return f"{word[:-1]}ies" if word.endswith("ry") else f"{word}s"


# A row is a class: people, animals, plants, the sky, vehicles, buildings. A column takes one row of determiners.
_NOUNS = _table("""
baker  nurse pilot   queen
fox    horse owl     whale
fern   rose  oak     vine
storm  comet cloud   rainbow
ship   train truck   ferry
tower  barn  castle  mill
""")
_DETERMINERS = _table("""
one     a     two     three
this    that  these   those
each    every all     most
another some  several many
""")  # two of one, two of many
_ADJECTIVES = _table("""
kind   tired   clever
furry  wild    hungry
green  leafy   thorny
bright distant grey
fast   rusty   noisy
tall   stone   ruined
""")
_VERBS = _table("""
feed    water   watch
eat     fear    chase
need    scratch cover
delay   darken  soak
pass    carry   wake
shelter attract shade
""")  # verb v of class c takes objects of class c + 1 + v, counted round
_ADVERBS = ["often", "now", "never", "always", "still", "soon"]
_PREPOSITIONS = ["near", "behind", "under", "beside"]
_WRITER, _OTHERS, _FIND, _DEGREES = ["i", "we"], ["they", "critics"], ["find", "call"], ["very", "quite", "rather"]
_GOOD = ["wonderful", "lovely", "good", "brilliant", "funny", "moving"]
_BAD = ["dreadful", "ugly", "bad", "boring", "dull", "silly"]

_CATEGORIES: dict[str, list[str]] = {
    "special": list(SPECIAL),
    "determiner": [word for row in _DETERMINERS for word in row],
    "adjective": [word for row in _ADJECTIVES for word in row],
    "noun": [form for row in _NOUNS for noun in row for form in (noun, _with_s(noun))],  # one, many
    "verb": [form for row in _VERBS for verb in row for form in (_with_s(verb), verb)],  # done by one, by many
    "adverb": _ADVERBS,
    "preposition": _PREPOSITIONS,
    "who": _WRITER + _OTHERS,
    "find": _FIND,
    "it": ["it"],
    "not": ["not"],
    "degree": _DEGREES,
    "opinion": _GOOD + _BAD,
    "stop": ["."],
}
VOCABULARY: tuple[str, ...] = tuple(word for words in _CATEGORIES.values() for word in words)
CATEGORY: tuple[str, ...] = tuple(name for name, words in _CATEGORIES.items() for _ in words)  # of each word
_ID = {word: i for i, word in enumerate(VOCABULARY)}
_FIRST = {name: CATEGORY.index(name) for name in _CATEGORIES}

# -- slots: a text is written with every part in it, and what is missing is taken out at the end

_GROUP = ("determiner", "adjective", "adjective", "noun")
_FACT = (*_GROUP, "preposition", *_GROUP, "adverb", "adverb", "verb", "adverb", *_GROUP, "preposition", *_GROUP, "stop")
_SUBJECT, _VERB, _OBJECT = 3, 11, 16  # where their nouns and the verb stand among the slots
_OPINION = ("who", "find", "it", "not", "degree", "opinion", "stop")
_SPOTS = 4  # two for an opinion before the fact, two behind
_FACT_BEGINS = 1 + 2 * len(_OPINION)
_SPOT_BEGINS = (1, 1 + len(_OPINION), _FACT_BEGINS + len(_FACT), _FACT_BEGINS + len(_FACT) + len(_OPINION))


def _grammar(n_slots: int) -> tuple[Int[Tensor, " slot"], Int[Tensor, " slot"]]:
    """For each slot of a text its relation and the slot that it belongs to; -1 for none. Only facts have relations."""
    relation, head = torch.full((n_slots,), -1), torch.full((n_slots,), -1)

    def belongs(slot: int, name: str, to: int) -> None:
        relation[_FACT_BEGINS + slot], head[_FACT_BEGINS + slot] = RELATIONS.index(name), _FACT_BEGINS + to

    for begin, name, to in ((0, "nsubj", _VERB), (5, "pobj", 4), (13, "obj", _VERB), (18, "pobj", 17)):
        noun = begin + _GROUP.index("noun")
        belongs(begin, "det", noun)
        belongs(begin + 1, "amod", noun)
        belongs(begin + 2, "amod", noun)
        belongs(noun, name, to)
    belongs(4, "prep", _SUBJECT)
    belongs(17, "prep", _OBJECT)
    for slot, part in enumerate(_FACT):
        if part in ("adverb", "stop"):
            belongs(slot, "advmod" if part == "adverb" else "punct", _VERB)
    return relation, head


@dataclass(frozen=True)
class Sentences:
    """Texts of the grammar above, padded on the right to the longest of them."""

    ids: Int[Tensor, "batch position"]  # [CLS] words [SEP] padding
    heads: Int[Tensor, "batch position"]  # the position that each word belongs to; -1 for none
    relations: Int[Tensor, "batch position"]  # an index of RELATIONS; -1 for none
    labels: Int[Tensor, " batch"]  # 1 if the writer likes it, 0 if not, -1 if the text does not say
    spans: Bool[Tensor, "batch position"]  # the words that decide the label: the writer's adjective, and "not"


@dataclass(frozen=True)
class _Slots:
    """Words in slots, before those that are missing are taken out."""

    ids: Int[Tensor, "batch slot"]
    there: Bool[Tensor, "batch slot"]


def sentences(batch: int, generator: torch.Generator, opinions: float = 0.0) -> Sentences:
    """The next ``batch`` texts. ``opinions``: the share of texts in which the writer has one.

    Each text is one fact; of those with the writer's opinion, three in five have another's as well, which is good or
    bad regardless of the writer's. Opinions are as often good as bad, and one in three has a "not".
    """
    fact = _fact(batch, generator)
    writer, positive = _opinion(batch, _WRITER, generator)
    others, _ = _opinion(batch, _OTHERS, generator)
    says = torch.rand(batch, generator=generator) < opinions
    echoed = says & (torch.rand(batch, generator=generator) < 0.6)
    mine, theirs = torch.rand(batch, _SPOTS, generator=generator).argsort(1)[:, :2].T  # the spots of the two opinions
    spots, mine_at = [], []
    for spot in range(_SPOTS):
        here, echo = ((mine == spot) & says)[:, None], ((theirs == spot) & echoed)[:, None]
        spots.append(_Slots(torch.where(here, writer.ids, others.ids), writer.there & here | others.there & echo))
        mine_at.append(here)
    before, after = spots[: _SPOTS // 2], spots[_SPOTS // 2 :]
    slots = _join([_always(batch, CLS), *before, fact, *after, _always(batch, SEP)])
    return _pack(slots, _decides(slots, torch.cat(mine_at, 1)), torch.where(says, positive.long(), -1))


def text(ids: Int[Tensor, "batch position"]) -> list[str]:
    """The texts themselves, words and full stops with spaces between, without special tokens."""
    return [" ".join(VOCABULARY[i] for i in row if i >= len(SPECIAL)) for row in ids.tolist()]


def with_gaps(
    ids: Int[Tensor, "batch position"], generator: torch.Generator
) -> tuple[Int[Tensor, "batch position"], Bool[Tensor, "batch position"]]:
    """What a masked language model is given to read, and where it is asked: one word in four.

    Of the words asked for, six in ten are ``[MASK]``, three are another word of the same kind (a noun for a noun) and
    one is left as it is. With any word at all in their place they would be found by their kind alone, and nobody would
    have to look at the other words.

    Source: Devlin et al. 2019, "BERT", masked language model. There it is 15 words in 100, of which eight in ten are
    masked and one is any word of the vocabulary.
    """
    asked = (torch.rand(ids.shape, generator=generator) < 0.25) & (ids >= len(SPECIAL))
    fate = torch.rand(ids.shape, generator=generator)
    first = torch.tensor([_FIRST[category] for category in CATEGORY])
    size = torch.tensor([len(_CATEGORIES[category]) for category in CATEGORY])
    other = first[ids] + (torch.rand(ids.shape, generator=generator) * size[ids]).long()
    read = torch.where(fate < 0.6, MASK, torch.where(fate < 0.9, other, ids))
    return torch.where(asked, read, ids), asked


def _decides(slots: _Slots, mine_at: Bool[Tensor, "batch spot"]) -> Bool[Tensor, "batch slot"]:
    """Where the writer's adjective and "not" stand."""
    decides = torch.zeros_like(slots.there)
    for spot, begin in enumerate(_SPOT_BEGINS):
        for slot, part in enumerate(_OPINION):
            if part in ("not", "opinion"):
                decides[:, begin + slot] = mine_at[:, spot]
    return decides & slots.there


def _pack(slots: _Slots, decides: Bool[Tensor, "batch slot"], labels: Int[Tensor, " batch"]) -> Sentences:
    """Move what is there to the left, and say of each word to which position its head has moved."""
    moved_to = slots.there.long().cumsum(1) - 1
    order = (~slots.there).int().argsort(dim=1, stable=True)[:, : int(slots.there.sum(1).max())]
    there = slots.there.gather(1, order)
    relation, head = _grammar(slots.ids.shape[1])
    heads = torch.where(head >= 0, moved_to[:, head.clamp(min=0)], -1)

    def take(values: Tensor, fill: int) -> Tensor:
        return values.gather(1, order).masked_fill(~there, fill)

    ids, relations = take(slots.ids, PAD), take(relation.expand_as(slots.ids), -1)
    return Sentences(ids, take(heads, -1), relations, labels, decides.gather(1, order) & there)


# -- words for the slots


def _choose(n: int, batch: int, generator: torch.Generator) -> Int[Tensor, " batch"]:
    return torch.randint(n, (batch,), generator=generator)


def _fact(batch: int, generator: torch.Generator) -> _Slots:
    """One thing does something to another; each may be beside a third, which has no part in it."""
    subject, verb = _choose(len(_NOUNS), batch, generator), _choose(len(_VERBS[0]), batch, generator)
    number = _choose(2, batch, generator)
    bystander, other = (_choose(len(_NOUNS), batch, generator) for _ in range(2))
    doing = _FIRST["verb"] + (subject * len(_VERBS[0]) + verb) * 2 + number
    parts = [
        _group(subject, number, generator),
        *_beside(bystander, generator),
        *(_maybe("adverb", batch, chance, generator) for chance in (0.5, 0.5)),
        _always(batch, doing),
        _maybe("adverb", batch, 0.25, generator),
        _group((subject + 1 + verb) % len(_NOUNS), _choose(2, batch, generator), generator),
        *_beside(other, generator),
        _maybe("stop", batch, 1, generator),
    ]
    return _join(parts)


def _group(of_class: Int[Tensor, " batch"], number: Int[Tensor, " batch"], generator: torch.Generator) -> _Slots:
    """Determiner, two adjectives and a noun of that class and number."""
    batch = len(of_class)
    column, first = _choose(len(_NOUNS[0]), batch, generator), _choose(3, batch, generator)
    second = (first + 1 + _choose(2, batch, generator)) % 3  # not the same adjective twice
    determiner = _FIRST["determiner"] + column * 4 + number * 2 + _choose(2, batch, generator)
    adjectives = [_FIRST["adjective"] + of_class * 3 + each for each in (first, second)]
    noun = _FIRST["noun"] + (of_class * len(_NOUNS[0]) + column) * 2 + number
    how_many = torch.tensor([0, 0, 1, 1, 2])[_choose(5, batch, generator)]
    there = torch.stack([how_many >= 0, how_many >= 1, how_many >= 2, how_many >= 0], 1)
    return _Slots(torch.stack([determiner, *adjectives, noun], 1), there)


def _beside(of_class: Int[Tensor, " batch"], generator: torch.Generator) -> tuple[_Slots, _Slots]:
    """A preposition and its group, in three texts of ten."""
    batch = len(of_class)
    preposition = _maybe("preposition", batch, 0.3, generator)
    group = _group(of_class, _choose(2, batch, generator), generator)
    return preposition, _Slots(group.ids, group.there & preposition.there)


def _maybe(category: str, batch: int, chance: float, generator: torch.Generator) -> _Slots:
    """One slot with any word of a category, there with this chance."""
    ids = _FIRST[category] + _choose(len(_CATEGORIES[category]), batch, generator)
    return _Slots(ids[:, None], torch.rand(batch, 1, generator=generator) < chance)


def _always(batch: int, ids: Int[Tensor, " batch"] | int) -> _Slots:
    """One slot that is never missing."""
    there = torch.ones(batch, 1, dtype=torch.bool)
    return _Slots(there * (ids[:, None] if isinstance(ids, Tensor) else ids), there)


def _join(parts: list[_Slots]) -> _Slots:
    return _Slots(torch.cat([part.ids for part in parts], 1), torch.cat([part.there for part in parts], 1))


def _opinion(batch: int, who: list[str], generator: torch.Generator) -> tuple[_Slots, Bool[Tensor, " batch"]]:
    """What they think of it, and whether they like it."""
    good, negated = (torch.rand(batch, generator=generator) < chance for chance in (0.5, 1 / 3))
    adjective = torch.where(good, _ID[_GOOD[0]], _ID[_BAD[0]]) + _choose(len(_GOOD), batch, generator)
    says = _ID[who[0]] + _choose(len(who), batch, generator)
    find, it, stop = (_maybe(category, batch, 1, generator) for category in ("find", "it", "stop"))
    degree = _maybe("degree", batch, 0.4, generator)
    negation = _Slots(torch.full((batch, 1), _ID["not"]), negated[:, None])
    slots = _join([_always(batch, says), find, it, negation, degree, _always(batch, adjective), stop])
    return slots, good ^ negated
