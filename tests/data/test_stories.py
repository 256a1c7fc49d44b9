"""The grammar of the stories: its probabilities are probabilities, its answers are right, and it can be read."""

import math
import re
from collections import Counter
from functools import partial
from hashlib import sha256
from itertools import islice

import pytest

from interpwidgets.data.stories import Sample, entropy, sample, samples, tell
from interpwidgets.data.stories.draw import Draw, Weighted, outcomes
from interpwidgets.data.stories.frames import BEGIN, UNKNOWN, Draft, Frame, cut
from interpwidgets.data.stories.lexicon import CITIES, COUNTRIES, DAYS, HE_OR_SHE, NAMES, PAIRS
from interpwidgets.data.stories.tasks import HELD_OUT, STORIES, TASKS, story
from interpwidgets.data.stories.vocabulary import VOCABULARY
from interpwidgets.data.stories.windows import CONTEXT, Windows, annotated, row


def some(task: str, n: int = 300, held_out: bool = False) -> list[Sample]:
    return list(islice(samples(task, seed=5, held_out=held_out), n))


def word(told: Sample, label: str) -> str:
    span = told.find(label)
    return "".join(told.tokens[span.start : span.stop])


# -- probabilities


@pytest.mark.parametrize("task", TASKS)
def test_the_probabilities_of_all_stories_of_a_small_grammar_sum_to_one_and_no_story_comes_twice(task: str) -> None:
    told = [(tuple(draft.tokens), logprob) for draft, logprob in outcomes(TASKS[task], at_most=2)]
    assert math.fsum(math.exp(logprob) for _, logprob in told) == pytest.approx(1, abs=1e-9)
    assert len({tokens for tokens, _ in told}) == len(told) > 1


@pytest.mark.parametrize("task", ["opposite", "calendar", "successor", "two hops"])
def test_so_they_do_in_the_whole_grammar_of_a_task(task: str) -> None:
    told = [(tuple(draft.tokens), logprob) for draft, logprob in outcomes(TASKS[task])]
    assert math.fsum(math.exp(logprob) for _, logprob in told) == pytest.approx(1, abs=1e-9)
    assert len({tokens for tokens, _ in told}) == len(told) > 20


def test_no_story_is_told_by_two_tasks() -> None:
    whose: dict[tuple[str, ...], str] = {}
    for task, tells in TASKS.items():
        for draft, _ in outcomes(tells, at_most=2):
            assert whose.setdefault(tuple(draft.tokens), task) == task, "".join(draft.tokens)


def test_a_story_is_told_as_often_as_it_says() -> None:
    draw, n = Draw(3), 40_000
    counts: Counter[str] = Counter()
    said: dict[str, float] = {}
    for _ in range(n):
        draw.logprob = 0.0
        text = "".join(TASKS["two hops"](draw).tokens)
        counts[text] += 1
        said[text] = draw.logprob
    for text, count in counts.most_common(10):
        assert count / n == pytest.approx(math.exp(said[text]), rel=0.15)


def test_the_walk_takes_every_way_once() -> None:
    table = Weighted({"a": 3.0, "b": 1.0})

    def tell_one(draw: Draw) -> str:
        return draw.weighted(table) + (draw.pick("xyz") if draw.chance(0.25) else "")

    found = dict(outcomes(tell_one))
    assert {text: round(math.exp(logprob), 6) for text, logprob in found.items()} == {
        "a": 0.5625, "ax": 0.0625, "ay": 0.0625, "az": 0.0625,
        "b": 0.1875, "bx": 0.020833, "by": 0.020833, "bz": 0.020833
    }  # fmt: skip
    assert set(dict(outcomes(tell_one, at_most=1))) == {"a", "ax"}


def test_the_entropy_is_that_of_the_stories_and_their_ends() -> None:
    assert entropy(4000, seed=1) == pytest.approx(entropy(4000, seed=2), rel=0.03)
    rows = [each for each in annotated(1000, seed=3) if each.stories]
    told = [told for each in rows for told in each.stories]
    mean = -sum(each.logprob for each in told) / sum(len(each.draft.tokens) for each in told)
    assert entropy(4000, seed=1) == pytest.approx(mean, rel=0.05)


# -- what is asked


@pytest.mark.parametrize("task", [task for task in TASKS if task != "tale"])
def test_the_right_word_stands_where_the_sample_says_and_is_none_of_the_wrong_ones(task: str) -> None:
    for told in some(task, 100):
        assert told.answer is not None
        assert told.tokens[told.answer] == told.right
        assert told.right not in told.wrong
        assert told.text.startswith(told.prompt)
        assert told.wrong or task == "acronym"  # of three equal letters


def test_the_receiver_is_the_one_who_does_not_give() -> None:
    kinds = Counter()
    for told in some("ioi"):
        a, b, giver = word(told, "a"), word(told, "b"), word(told, "subject")
        kinds[told.kind] += 1
        if told.kind == "control":
            assert giver not in (a, b)
            assert {told.right, *told.wrong} == {a, b}
        else:
            assert {giver, told.right} == {a, b}
            assert told.wrong == (giver,)
            assert told.kind == ("BAB" if giver == a else "ABB")
    assert kinds["ABB"] > 90 < kinds["BAB"]
    assert kinds["control"] > 10


def test_what_is_held_out_is_never_told_in_training() -> None:
    never = {pair for pair in PAIRS[True]}
    for told in some("ioi", 2000) + some("tale", 2000):
        labels = {span.label for span in told.spans}
        if {"a", "b"} <= labels:
            assert ((word(told, "a"),), (word(told, "b"),)) not in never
    for told in some("ioi", held_out=True):
        assert ((word(told, "a"),), (word(told, "b"),)) in never
        assert told.tokens[told.answer - 1] == " to"  # type: ignore[operator]
    for task in HELD_OUT:
        prompts = {told.prompt for told in some(task, 3000)}
        assert not prompts & {told.prompt for told in some(task, held_out=True)}


def test_a_year_comes_after_the_one_before() -> None:
    for told in some("greater-than"):
        start, end = int(word(told, "start")), int(told.right)
        assert start < end
        assert [int(year) for year in told.wrong] == list(range(start + 1))
        assert re.search(r"from the year \d{4} to the year \d{2}$", told.prompt)


def test_what_follows_follows() -> None:
    days = [day[0] for day in DAYS]
    for told in some("successor"):
        if told.kind == "days":
            assert told.right == days[(days.index(told.tokens[told.answer - 1]) + 1) % 7]  # type: ignore[operator]
    assert {told.kind for told in some("successor")} == {"days", "months", "letters", "numbers", "years"}
    assert all(int(told.right) == int(told.wrong[0]) + 1 for told in some("successor") if told.kind == "years")


def test_an_acronym_is_made_of_first_letters() -> None:
    for told in some("acronym", 50):
        letters = [word(told, label).strip()[0] for label in ("first", "second", "third")]
        assert [word(told, "acronym")] == ["".join(letters)]
        assert told.right == letters[0]


def test_a_verb_agrees_with_the_noun_that_it_belongs_to() -> None:
    for told in some("agreement"):
        assert (told.right in (" are", " were")) == word(told, "noun").endswith(("s", "children"))


def test_she_stays_she() -> None:
    for told in some("pronoun") + [told for told in some("tale") if told.kind in ("dream", "hat", "trade")]:
        she = HE_OR_SHE[(word(told, "name"),)] == (" she",)
        assert not {" he", " He", " his"} & set(told.tokens) if she else not {" she", " She", " her"} & set(told.tokens)


def test_the_answer_to_a_little_document_stands_in_it() -> None:
    for task, asked, about, label in (
        ("mystery", "room", "room", "name"), ("keeper", "asked", "object", "name"),
        ("coloured objects", "asked", "object", "colour"),
    ):  # fmt: skip
        for told in some(task, 50):
            which = next(i for i in (1, 2, 3) if word(told, f"{about}{i}") == word(told, asked))
            assert told.right == word(told, f"{label}{which}")
            assert len({word(told, f"{about}{i}") for i in (1, 2, 3)}) == 3


def test_hearsay_is_true_where_the_facts_say_so() -> None:
    facts = {(city.name[0], "country"): city.country[0] for city in CITIES}
    facts |= {(land.name[0], "language"): land.language[0] for land in COUNTRIES}
    facts |= {(land.name[0], "food"): land.food[0] for land in COUNTRIES}
    for told in some("hearsay"):
        about = word(told, "city" if told.kind == "country" else "country")
        assert told.right == (" true" if facts[about, told.kind] == word(told, "claim") else " false")


def test_frequent_cities_are_told_of_often_and_every_country_has_a_rare_one() -> None:
    ranks = {city.name[0]: city.rank for city in CITIES}
    told = Counter(ranks[word(told, "city")] for told in some("fact", 4000) if told.kind in ("country", "person"))
    assert told[0] > 20 * max(1, told[30])
    assert [city.rank for city in CITIES] == list(range(60))
    assert all({city.rank // 20 for city in CITIES if city.of == land} == {0, 1, 2} for land in COUNTRIES)


def test_a_review_is_all_of_one_mood() -> None:
    good, bad = ({"".join(told.wrong) for told in some("review") if told.kind == kind} for kind in ("bad", "good"))
    assert good.isdisjoint(bad)
    assert {word(told, "adjective1") for told in some("review") if told.kind == "good"}.isdisjoint(
        word(told, "adjective2") for told in some("review") if told.kind == "bad"
    )


# -- text


def test_the_stories_are_english() -> None:
    for text in tell(2000, seed=4):
        assert re.fullmatch(r"[A-Z0-9a-z].*\.", text), text
        assert not re.search(r"  |\.\.|\ba [aeiou]| [.,:?]", text), text
        assert not re.search(r"\{|\}", text), text


def test_every_token_of_every_story_is_in_the_vocabulary_and_the_vocabulary_has_few_others() -> None:
    draw, told = Draw(8), {BEGIN, UNKNOWN}
    for _ in range(60_000):
        told.update(story(draw).tokens)
    assert told <= set(VOCABULARY)
    assert len(VOCABULARY) == len(set(VOCABULARY)) <= 1500
    assert len(told) > 0.95 * len(VOCABULARY)


def test_the_same_seed_tells_the_same() -> None:
    assert tell(5, seed=2) == tell(5, seed=2) != tell(5, seed=3)
    assert sample("tale", seed=1) == sample("tale", seed=1)


def test_a_frame_fills_its_gaps_and_remembers_where() -> None:
    draft = Draft().say(Frame("{name} has {n} cats{why}."), name=cut("Anna"), n=cut("very many"), why=())
    assert "".join(draft.tokens) == "<s> Anna has very many cats."
    assert draft.spans == [("name", 1, 2), ("n", 3, 5)]


# -- rows


def test_rows_are_whole_stories_and_the_beginning_of_one_or_words_that_repeat() -> None:
    repeats = 0
    for each in annotated(400, seed=6):
        assert len(each.ids) == CONTEXT
        tokens = [VOCABULARY[i] for i in each.ids]
        for told in each.stories:
            assert tokens[told.start : told.stop] == told.draft.tokens[: CONTEXT - told.start]
            assert not told.whole or tokens[told.stop] == BEGIN
        if not each.stories:
            repeats += 1
            period = each.ids.index(each.ids[1], 2) - 1
            assert 6 <= period <= 31
            assert each.ids[1 + period :] == each.ids[1:-period]
    assert 20 < repeats < 90


def test_the_probability_of_a_row_is_that_of_its_stories() -> None:
    for seed in range(20):
        draw = Draw(seed)
        if (made := row(draw)).stories:
            assert draw.logprob == pytest.approx(math.log(0.88) + sum(told.logprob for told in made.stories))


def test_the_rows_of_a_seed_stay_what_they_are() -> None:
    rows = Windows(seed=0).next(256).astype("<i8").tobytes()
    assert sha256(rows).hexdigest() == "ca3080941a30dd1be3c22405fd687128c9e82e94014c4e0f538679ddf8df35f7"


def test_random_words_can_be_kept_to_few() -> None:
    words = set(Windows(seed=1).next(100, repeats=0.9999, every=16).flat) - {0}
    assert 20 < len(words) <= len(VOCABULARY) // 16 + 1
    assert all(word % 16 == 1 for word in words)


def test_the_stream_goes_on_from_the_state_of_its_source() -> None:
    windows = Windows(seed=1)
    windows.next(3)
    state = windows.source.getstate()
    expected = windows.next(2)
    other = Windows(seed=9)
    other.source.setstate(state)
    assert (other.next(2) == expected).all()
    assert expected.shape == (2, CONTEXT)


# -- mistakes


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (partial(sample, "IOI"), "there is no task 'IOI'; there are ioi, greater-than"),
        (partial(sample, "tale", held_out=True), "nothing of 'tale' is held out"),
    ],
)
def test_a_mistake_is_told_at_once(make: partial[Sample], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make()


def test_all_tasks_are_told() -> None:
    assert set(STORIES.options) == set(TASKS)
    assert all(told[0] in NAMES for told in PAIRS[True])


def test_the_example_of_the_package_is_as_it_says() -> None:
    asked = sample("ioi", seed=15, held_out=True)
    assert asked.text == "When Sam and James walked to the park, James offered a camera to Sam."
    assert (asked.right, asked.wrong, asked.answer, round(asked.logprob, 1)) == (" Sam", (" James",), 15, -17.5)
