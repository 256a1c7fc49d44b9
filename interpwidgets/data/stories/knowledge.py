"""Sentences about the small world of the stories: what is where, who speaks what, and whether that is true.

Cities are told about by a steep law: the first one all the time, the last one a few times in a million words.
Countries' languages and dishes are told about as often as their cities. The languages of a tenth of the cities are
never told: to name them takes two steps, from the city to its country and from there to its language.
"""

from collections.abc import Callable
from operator import attrgetter

from interpwidgets.data.stories.draw import Draw
from interpwidgets.data.stories.frames import Draft, Frame, Words, phrases
from interpwidgets.data.stories.lexicon import (
    BY_FREQUENCY,
    COUNTRIES,
    LANGUAGES,
    NAMES,
    WITH_LANGUAGE,
    WITHOUT_LANGUAGE,
    City,
)

CITY_IS_IN = Frame("The city of {city} is in {country}.")
PEOPLE_SPEAK = Frame("People in {place} speak {language}.")
PEOPLE_EAT = Frame("In {country} they like to eat {food}.")
_LANDS = tuple(country.name for country in COUNTRIES)
_FOODS = tuple(country.food for country in COUNTRIES)
_LIVES = Frame("{name} lives in {city}, in {country}, and speaks {language}.")


def fact(draw: Draw) -> Draft:
    """ "The city of Lyon is in France.": asks for the last word.

    Kinds: country and "person" (of a city, and of somebody who lives there), language and food (of a country).
    """
    kind, city = draw.pick(("country", "language", "food", "person")), draw.weighted(BY_FREQUENCY)
    draft, land = Draft(kind), city.of
    if kind == "country":
        draft.say(CITY_IS_IN, city=city.name, country=land.name)
        return draft.ask("country", wrong=_but(land.name, _LANDS))
    if kind == "language":
        draft.say(PEOPLE_SPEAK, place=land.name, language=land.language)
        return draft.ask("language", wrong=_but(land.language, LANGUAGES))
    if kind == "food":
        return draft.say(PEOPLE_EAT, country=land.name, food=land.food).ask("food", wrong=_but(land.food, _FOODS))
    draft.say(_LIVES, name=draw.pick(NAMES), city=city.name, country=land.name, language=land.language)
    return draft.ask("language", wrong=_but(land.language, LANGUAGES))


def _but(right: Words, options: tuple[Words, ...]) -> list[Words]:
    return [each for each in options if each != right]


def two_hops(draw: Draw, held_out: bool = False) -> Draft:
    """ "People in Lyon speak French.": asks for the last word. ``held_out``: a city for which this is never told."""
    city: City = draw.pick(WITHOUT_LANGUAGE) if held_out else draw.weighted(WITH_LANGUAGE)
    draft = Draft().say(PEOPLE_SPEAK, place=city.name, language=city.of.language)
    return draft.ask("language", wrong=_but(city.of.language, LANGUAGES))


_HEARSAY: tuple[tuple[str, Frame, Callable[[City], Words], tuple[Words, ...]], ...] = (
    (
        "country", Frame("Some say that {city} is in {claim}. That is {verdict}."), attrgetter("of.name"),
        _LANDS,
    ),
    (
        "language", Frame("Some say that people in {country} speak {claim}. That is {verdict}."),
        attrgetter("of.language"), LANGUAGES,
    ),
    (
        "food", Frame("Some say that in {country} they eat {claim}. That is {verdict}."), attrgetter("of.food"),
        _FOODS,
    ),
)  # fmt: skip
_TRUE, _FALSE = phrases("true; false")


def hearsay(draw: Draw) -> Draft:
    """ "Some say that Lyon is in Spain. That is false.": asks for the last word. Kinds: country, language, food."""
    kind, frame, right, claims = draw.pick(_HEARSAY)
    city = draw.weighted(BY_FREQUENCY)
    truth = right(city)
    honest = draw.chance(0.5)
    claim = truth if honest else draw.pick(_but(truth, claims))
    verdict, wrong = (_TRUE, _FALSE) if honest else (_FALSE, _TRUE)
    draft = Draft(kind).say(frame, city=city.name, country=city.country, claim=claim, verdict=verdict)
    return draft.ask("verdict", wrong=[wrong])
