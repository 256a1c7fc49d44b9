"""Sentences keep the laws of their grammar, and the gold standard says what the words say."""

from collections import defaultdict

import pytest
import torch

from interpwidgets.data.relations import (
    CATEGORY,
    CLS,
    CONTEXT,
    MASK,
    PAD,
    RELATIONS,
    SEP,
    SPECIAL,
    VOCABULARY,
    Sentences,
    sentences,
    text,
    with_gaps,
)

Edges = dict[str, list[tuple[str, str]]]


def draw(n: int, seed: int = 0, opinions: float = 0.0) -> Sentences:
    return sentences(n, torch.Generator().manual_seed(seed), opinions)


def edges(drawn: Sentences) -> Edges:
    """For each relation the pairs (word, the word that it belongs to)."""
    found: Edges = defaultdict(list)
    for ids, heads, relations in zip(drawn.ids.tolist(), drawn.heads.tolist(), drawn.relations.tolist(), strict=True):
        for word, head, relation in zip(ids, heads, relations, strict=True):
            assert (head < 0) == (relation < 0)
            if head >= 0:
                found[RELATIONS[relation]].append((VOCABULARY[word], VOCABULARY[ids[head]]))
    return found


@pytest.fixture(scope="module")
def gold() -> Edges:
    return edges(draw(12_000))


def category(word: str) -> str:
    return CATEGORY[VOCABULARY.index(word)]


def partners(pairs: list[tuple[str, str]]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for word, head in pairs:
        found[head].add(word)
    return found


def test_words_are_all_different_and_of_a_kind() -> None:
    assert len(set(VOCABULARY)) == len(VOCABULARY) == len(CATEGORY) == 157
    assert VOCABULARY[:5] == SPECIAL
    assert category("foxes") == category("ferries") == "noun"
    assert category("watches") == category("carries") == "verb"


def test_relations_join_words_of_the_right_kinds(gold: Edges) -> None:
    kinds = {name: {(category(word), category(head)) for word, head in pairs} for name, pairs in gold.items()}
    assert kinds == {
        "det": {("determiner", "noun")},
        "amod": {("adjective", "noun")},
        "nsubj": {("noun", "verb")},
        "obj": {("noun", "verb")},
        "prep": {("preposition", "noun")},
        "pobj": {("noun", "preposition")},
        "advmod": {("adverb", "verb")},
        "punct": {("stop", "verb")},
    }


def test_each_relation_says_something_and_no_more_than_that(gold: Edges) -> None:
    """How many different words a word may have: two determiners of 16, three adjectives, 4 subjects, 8 objects."""
    for name, head, how_many in (("det", 48, 2), ("amod", 48, 3), ("nsubj", 36, 4), ("obj", 36, 8)):
        found = partners(gold[name])
        assert len(found) == head, name
        assert {len(words) for words in found.values()} == {how_many}, name


def test_the_controls_say_nothing(gold: Edges) -> None:
    assert {len(words) for words in partners(gold["pobj"]).values()} == {48}  # any noun
    assert {len(words) for words in partners(gold["prep"]).values()} == {4}  # any preposition
    assert {len(words) for words in partners(gold["advmod"]).values()} == {6}  # any adverb


@pytest.mark.parametrize(
    ("word", "head", "name"),
    [("one", "fox", "det"), ("three", "foxes", "det"), ("furry", "owl", "amod"), ("foxes", "eat", "nsubj"),
     ("fox", "eats", "nsubj"), ("roses", "eats", "obj"), ("rose", "eat", "obj")],
)  # fmt: skip
def test_some_sentences_that_one_may_say(gold: Edges, word: str, head: str, name: str) -> None:
    assert (word, head) in gold[name]


def test_every_fact_has_one_verb_a_subject_and_an_object() -> None:
    drawn = draw(500)
    for name in ("nsubj", "obj", "punct"):
        assert ((drawn.relations == RELATIONS.index(name)).sum(1) == 1).all()
    verbs = torch.tensor([each == "verb" for each in CATEGORY])[drawn.ids]
    assert (verbs.sum(1) == 1).all()
    assert (drawn.heads[verbs] == -1).all()


def test_no_head_is_found_by_counting_steps() -> None:
    drawn = draw(4000)
    for name, at_most in (("det", 0.45), ("nsubj", 0.45), ("obj", 0.45), ("amod", 0.8)):
        row, at = (drawn.relations == RELATIONS.index(name)).nonzero().T
        steps = (drawn.heads[row, at] - at).tolist()
        assert max(steps.count(each) for each in set(steps)) / len(steps) < at_most, name


def test_texts_begin_and_end_as_bert_wants_them_and_are_padded_to_the_longest() -> None:
    drawn = draw(300, opinions=0.5)
    lengths = (drawn.ids != PAD).sum(1)
    assert lengths.max() == drawn.ids.shape[1] <= CONTEXT
    assert (drawn.ids[:, 0] == CLS).all()
    assert (drawn.ids.gather(1, lengths[:, None] - 1) == SEP).all()
    assert text(drawn.ids)[0].endswith(" .")
    assert draw(40_000, opinions=1).ids.shape[1] <= CONTEXT


def test_the_label_is_what_the_writer_says_and_the_span_is_where() -> None:
    """Read anew from the words: the writer's adjective, turned round by "not"; what others think has no part in it."""
    drawn = draw(2000, opinions=0.7)
    good = {"wonderful", "lovely", "good", "brilliant", "funny", "moving"}
    for words, ids, span, label in zip(
        text(drawn.ids), drawn.ids.tolist(), drawn.spans, drawn.labels.tolist(), strict=True
    ):
        mine = [part.split() for part in words.split(" .") if part.split()[:1] in (["i"], ["we"])]
        marked = [VOCABULARY[ids[at]] for at in span.nonzero().flatten()]
        if not mine:
            assert (label, marked) == (-1, [])
            continue
        ((*before, adjective),) = mine
        assert marked == (["not"] if "not" in before else []) + [adjective]
        assert label == int((adjective in good) != ("not" in before))


def test_opinions_are_balanced_and_others_mislead_as_often_as_not() -> None:
    drawn = draw(4000, opinions=1)
    assert 0.45 < drawn.labels.float().mean() < 0.55
    others = torch.isin(drawn.ids, torch.tensor([VOCABULARY.index(who) for who in ("they", "critics")])).any(1)
    assert 0.55 < others.float().mean() < 0.65
    assert 0.28 < (drawn.spans.sum(1) == 2).float().mean() < 0.38
    assert (draw(50).labels == -1).all()


def test_one_word_in_four_is_asked_for_and_replaced_by_one_of_its_kind() -> None:
    ids = draw(3000, opinions=0.5).ids
    read, asked = with_gaps(ids, torch.Generator().manual_seed(1))
    assert torch.equal(read[~asked], ids[~asked])
    assert (ids[asked] >= len(SPECIAL)).all()
    assert 0.24 < asked.sum() / (ids >= len(SPECIAL)).sum() < 0.26
    masked = read[asked] == MASK
    assert 0.58 < masked.float().mean() < 0.62
    kinds = [(CATEGORY[a], CATEGORY[b]) for a, b in zip(read[asked][~masked], ids[asked][~masked], strict=True)]
    assert all(a == b for a, b in kinds)
    assert (read[asked][~masked] != ids[asked][~masked]).float().mean() > 0.5


def test_the_same_seed_gives_the_same_sentences_and_another_seed_others() -> None:
    one, same, other = draw(20, seed=1), draw(20, seed=1), draw(20, seed=2)
    assert text(one.ids) == text(same.ids) != text(other.ids)
