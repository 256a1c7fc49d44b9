"""Sentences whose last word can be worked out: those that the literature on circuits asks its models about.

Each function takes a `Draw` and returns a `Draft`. Those with ``held_out`` make sentences that training never shows.

Sources: indirect objects, Wang et al. 2022 (arXiv 2211.00593); greater-than, Hanna et al. 2023 (arXiv 2305.00586);
successors, Gould et al. 2023 (arXiv 2312.09230); acronyms, Garcia-Carrasco et al. 2024 (arXiv 2405.04156).
"""

from interpwidgets.data.stories.draw import Draw, Weighted
from interpwidgets.data.stories.frames import Draft, Frame, cut, phrases, words
from interpwidgets.data.stories.lexicon import (
    ADJECTIVES,
    CENTURIES,
    DAYS,
    FEELINGS,
    HE_OR_SHE,
    LETTERS,
    MONTHS,
    NAMES,
    NOUNS,
    NUMBERS,
    OBJECTS,
    OPPOSITES,
    PAIRS,
    PLACES,
    PLURALS,
    PREPOSITIONS,
    SOCIETY_ADJECTIVES,
    SOCIETY_NOUNS,
    TIMES_OF_DAY,
    WEATHER,
    YEARS,
)

# -- indirect objects: two people meet, one of them does something; for whom?

_TO_PLACE = phrases(
    "went to; walked to; drove to; ran to; arrived at; stayed at; met at; were at"
)  # the last two: both
_ON_DAYS = tuple(cut(f"on {day[0].strip()}") for day in DAYS)
_IN_DAY = tuple(cut(f"in the {time[0].strip()}") for time in TIMES_OF_DAY)
_MEETINGS = (  # how they meet, when it may have been, what may be said about the weather
    (Frame("When {a} and {b} {went} the {place}{time},"), _IN_DAY + _ON_DAYS, 8, False),
    (Frame("After {a} met {b} at the {place}{time},"), _IN_DAY + _ON_DAYS, 0, False),
    (Frame("While {a} was at the {place} with {b}{time},"), _IN_DAY + _ON_DAYS, 0, False),
    (Frame("One day {a} and {b} {went} the {place}{time}."), _IN_DAY, 8, True),
    (Frame("{a} saw {b} at the {place}{time}."), _IN_DAY + _ON_DAYS, 0, True),
    (Frame("Yesterday {a} went to the {place} with {b}{time} and"), _IN_DAY, 0, False),
    (Frame("Last week {a} {went} the {place}{time} and {b} followed."), _ON_DAYS, 4, True),
)
_IT_WAS = Frame("It was a {weather} day.")
_GIVE = words("gave handed passed sold showed offered brought sent")
_GIFTS = (
    Frame("{subject} {gave} a {object} to {indirect}."),
    Frame("{subject} {gave} the {adjective} {object} to {indirect}."),
    Frame("{subject} took a {object} and {gave} it to {indirect}."),
    Frame("{subject} {gave} {indirect} a {object}."),
)
_THANKS = Frame("So {thanks} thanked {thanked}.")
# Meeting, place and verb; the key says which combinations are kept out of training.
_SCENES = {
    held_out: tuple(
        (meeting, place, give)
        for i, meeting in enumerate(_MEETINGS)
        for j, place in enumerate(PLACES)
        for k, give in enumerate(_GIVE)
        if ((i + j + k) % 6 == 0) == held_out
    )
    for held_out in (False, True)
}


def indirect_object(draw: Draw, held_out: bool = False) -> Draft:
    """ "When Mary and John went to the store, John gave a drink to Mary.": asks for the last name.

    Kinds: ABB and BAB, after the order of the names, and "control", where a third person gives and either of the two
    may receive. ``held_out``: names that never meet and a scene that never takes place in training; no controls, and
    always with the receiver last.
    """
    a, b = draw.pick(PAIRS[held_out])
    (frame, times, n_ways, weather), place, give = draw.pick(_SCENES[held_out])
    control = not held_out and draw.chance(0.12)
    subject, other = (a, b) if draw.chance(0.5) else (b, a)
    if control:
        indirect, subject, other = other, draw.pick([name for name in NAMES if name not in (a, b)]), subject
    else:
        indirect, other = other, subject
    draft = Draft("control" if control else "BAB" if subject == a else "ABB")
    draft.say(
        frame, a=a, b=b, place=place, went=draw.pick(_TO_PLACE[:n_ways]) if n_ways else (),
        time=draw.pick(times) if draw.chance(0.3) else (),
    )  # fmt: skip
    if weather and draw.chance(0.3):
        draft.say(_IT_WAS, weather=draw.pick(WEATHER))
    gift = _GIFTS[3] if not held_out and draw.chance(0.2) else draw.pick(_GIFTS[:3])
    draft.say(
        gift, subject=subject, gave=give, object=draw.pick(OBJECTS), indirect=indirect,
        adjective=draw.pick(ADJECTIVES) if gift is _GIFTS[1] else (),
    )  # fmt: skip
    draft.ask("indirect", wrong=[other])
    if not held_out and draw.chance(0.25):
        draft.say(_THANKS, thanks=indirect, thanked=subject)
    return draft


# -- greater-than: what begins, ends later

_EVENTS = words("war siege drought project reign strike festival famine expedition tour trial plague")
_LASTED = words("lasted ran continued")
_FROM_TO = Frame("The {event} {lasted} from the year {century}{start} to the year {century}{end}.")
_BEGINNINGS = {
    held_out: tuple(
        (event, year)
        for i, event in enumerate(_EVENTS)
        for year in range(2, 98)
        if ((7 * i + year) % 10 == 0) == held_out
    )
    for held_out in (False, True)
}
# The end is the more probable the later it is: p(start + n) grows like n.
_ENDS = {start: Weighted({year: float(year - start) for year in range(start + 1, 100)}) for start in range(2, 98)}


def greater_than(draw: Draw, held_out: bool = False) -> Draft:
    """ "The war lasted from the year 1732 to the year 1745.": asks for the last two digits, of which many can be right.

    ``held_out``: an event that never begins in this year of a century in training.
    """
    event, start = draw.pick(_BEGINNINGS[held_out])
    end = draw.weighted(_ENDS[start])
    draft = Draft().say(
        _FROM_TO,
        event=event,
        lasted=draw.pick(_LASTED),
        century=draw.pick(CENTURIES),
        start=YEARS[start],
        end=YEARS[end],
    )
    return draft.ask("end", wrong=YEARS[: start + 1])


# -- what comes next

_CYCLES = {"days": DAYS, "months": MONTHS}
_LINES = {"letters": LETTERS, "numbers": NUMBERS, "years": YEARS}
_NEXT = Frame("{so_far} {next}.")
_LATER = (
    ("days", DAYS, Frame("The day after {start} is {end}."), Frame("{n} days after {start} comes {end}.")),
    ("months", MONTHS, Frame("The month after {start} is {end}."), Frame("{n} months after {start} comes {end}.")),
)
_HOW_MANY = words("Two Three Four Five Six")


def successor(draw: Draw) -> Draft:
    """ "Monday Tuesday Wednesday Thursday.": asks for the last. Kinds: days, months, letters, numbers, years."""
    kind = draw.pick(("days", "months", "letters", "numbers", "years"))
    n = draw.pick((4, 5, 6, 7))
    if kind in _CYCLES:
        items = _CYCLES[kind]
        start = draw.pick(range(len(items)))
    else:
        items = _LINES[kind]
        start = draw.pick(range(len(items) - n + 1))
    row = [items[(start + i) % len(items)] for i in range(n)]
    if kind == "years":
        century = draw.pick(CENTURIES)
        so_far = tuple(token for item in row[:-1] for token in century + item) + century
    else:
        so_far = tuple(token for item in row[:-1] for token in item)
    return Draft(kind).say(_NEXT, so_far=so_far, next=row[-1]).ask("next", wrong=[row[-2]])


def calendar(draw: Draw) -> Draft:
    """ "Two days after Monday comes Wednesday.": asks for the last. Kinds: days, months."""
    kind, items, after_one, after_more = draw.pick(_LATER)
    i, n = draw.pick(range(len(items))), draw.pick((1, 2, 3, 4, 5, 6))
    start, end = items[i], items[(i + n) % len(items)]
    draft = Draft(kind)
    if n == 1:
        return draft.say(after_one, start=start, end=end).ask("end", wrong=[start])
    return draft.say(after_more, n=_HOW_MANY[n - 2], start=start, end=end).ask("end", wrong=[start])


# -- acronyms, agreement, pronouns, opposites

_SOCIETY = Frame("The {first} {second} {third} ({acronym}) {did}{when}.")
_DID = words("met voted argued danced celebrated")


def acronym(draw: Draw) -> Draft:
    """ "The Royal Ocean Club (ROC) met.": asks for the first letter of three."""
    name = draw.pick(SOCIETY_ADJECTIVES), draw.pick(SOCIETY_ADJECTIVES), draw.pick(SOCIETY_NOUNS)
    first, second, third = name
    draft = Draft().say(
        _SOCIETY, first=first, second=second, third=third, acronym=tuple(word[0][1] for word in name),
        did=draw.pick(_DID), when=draw.pick(_ON_DAYS) if draw.chance(0.3) else (),
    )  # fmt: skip
    return draft.ask("acronym", wrong=[(word[0][1],) for word in name if word[0][1] != first[0][1]])


_IS = Frame("The {noun} {verb} {adjective}.")
_NEAR = Frame("The {noun} {near} the {distractor} {verb} {adjective}.")
_VERBS = {False: words("is was"), True: words("are were")}
_NEIGHBOURS = {
    held_out: tuple(
        (i, j) for i in range(len(NOUNS)) for j in range(len(NOUNS)) if i != j and ((3 * i + j) % 7 == 0) == held_out
    )
    for held_out in (False, True)
}


def agreement(draw: Draw, held_out: bool = False) -> Draft:
    """ "The keys near the door are old.": asks for the verb, which agrees with the first noun.

    Kinds: "alone", "same" and "other", after the number of the noun in between. ``held_out``: two nouns that never
    stand together in training.
    """
    many = draw.chance(0.5)
    mine, verbs, wrong = PLURALS if many else NOUNS, _VERBS[many], _VERBS[not many]
    if not held_out and draw.chance(0.25):
        noun = draw.pick(mine)
        draft = Draft("alone").say(_IS, noun=noun, verb=draw.pick(verbs), adjective=draw.pick(ADJECTIVES))
        return draft.ask("verb", wrong=wrong)
    i, j = draw.pick(_NEIGHBOURS[held_out])
    as_many = draw.chance(0.5)
    distractor = (mine if as_many else NOUNS if many else PLURALS)[j]
    draft = Draft("same" if as_many else "other").say(
        _NEAR, noun=mine[i], near=draw.pick(PREPOSITIONS), distractor=distractor, verb=draw.pick(verbs),
        adjective=draw.pick(ADJECTIVES),
    )  # fmt: skip
    return draft.ask("verb", wrong=wrong)


_LOST = Frame("{name} lost the {object}, so {pronoun} looked for it in the {place}.")
_BECAUSE = Frame("{name} was {feeling} because {pronoun} {did} the {adjective} {object}.")
_DID_WITH = words("found broke lost took")


def pronoun(draw: Draw) -> Draft:
    """ "Anna was sad because she lost the red kite.": asks for the pronoun."""
    name, object_ = draw.pick(NAMES), draw.pick(OBJECTS)
    it = HE_OR_SHE[name]
    if draw.chance(0.5):
        draft = Draft().say(_LOST, name=name, object=object_, pronoun=it, place=draw.pick(PLACES))
    else:
        draft = Draft().say(
            _BECAUSE, name=name, object=object_, pronoun=it, feeling=draw.pick(FEELINGS), did=draw.pick(_DID_WITH),
            adjective=draw.pick(ADJECTIVES),
        )  # fmt: skip
    return draft.ask("pronoun", wrong=[cut("he") if it == cut("she") else cut("she")])


_OPPOSITE = Frame("The opposite of {word} is {opposite}.")


def opposite(draw: Draw) -> Draft:
    """ "The opposite of hot is cold.": asks for the last word."""
    word, other = draw.pick(OPPOSITES)
    return Draft().say(_OPPOSITE, word=word, opposite=other).ask("opposite", wrong=[word])
