"""Very short stories, told for their own sake, and verdicts on films and soups.

In a tale things hang together: who is hungry gets soup, what was taken comes back, she stays she. So a model that reads
them has something to remember from one sentence to the next.
"""

from collections.abc import Callable

from interpwidgets.data.stories.draw import Draw
from interpwidgets.data.stories.frames import Draft, Frame, Words, cut, phrases, words
from interpwidgets.data.stories.lexicon import (
    HE_OR_SHE,
    HE_OR_SHE_FIRST,
    HIS_OR_HER,
    NAMES,
    OBJECTS,
    PAIRS,
    PLACES,
    TIMES_OF_DAY,
    WEATHER,
)


def _table(text: str) -> tuple[tuple[Words, ...], ...]:
    """Lines of phrases that belong together, separated by semicolons."""
    return tuple(phrases(line) for line in text.strip().splitlines())


# -- somebody small at the door

_FOUND = Frame(
    "One {weather} {time} {name} found a {size} {creature} in the {room}. It was {need}, so {she} gave it {remedy}. "
    "Soon the {creature} {joy}."
)
_SIZES = words("tiny young little huge blue silent polite")
_CREATURES = words("dragon ghost giant fox bear goose owl witch robot goat whale snail")
_ROOMS = words("kitchen cellar attic garden library bathroom chimney piano")
_NEEDS = (
    (cut("hungry"), phrases("a bowl of soup; some bread; seven pancakes; a bucket of fish; the last cake")),
    (cut("cold"), phrases("a woolen coat; a warm blanket; a red scarf; two socks; some hot tea")),
    (cut("lost"), phrases("a map; a lantern; a compass; some good advice")),
    (cut("lonely"), phrases("a mirror; a small drum; a name; a long letter; a seat by the fire")),
    (cut("tired"), phrases("a pillow; a hammock; half of the bed; a lullaby")),
)
_JOYS = phrases(
    "was asleep under the table; danced on the roof; sang until midnight; smiled for the first time; was a friend of "
    "the family; sat on the mat; told stories about the moon; could play the violin; knew everybody in the street"
)
_CODAS = phrases("It never left.; The neighbors moved away.; Nobody was surprised.; It is still there.")
_CODA = Frame("{coda}")


def _foundling(draw: Draw) -> Draft:
    name, (need, remedies) = draw.pick(NAMES), draw.pick(_NEEDS)
    draft = Draft("foundling").say(
        _FOUND, weather=draw.pick(WEATHER), time=draw.pick(TIMES_OF_DAY), name=name, size=draw.pick(_SIZES),
        creature=draw.pick(_CREATURES), room=draw.pick(_ROOMS), need=need, she=HE_OR_SHE[name],
        remedy=draw.pick(remedies), joy=draw.pick(_JOYS),
    )  # fmt: skip
    return draft.say(_CODA, coda=draw.pick(_CODAS)) if draw.chance(0.5) else draft


# -- the hat

_LOST = Frame(
    "{name} lost {her} {hat} at the {place}. {She} looked {where1} and {where2}, but it was gone. In the evening a "
    "{animal} came to the door. It wore the {hat} and looked very {proud}."
)
_HATS = words("hat scarf coat necklace crown wig belt jacket")
_WHERE = phrases(
    "under the bridge; behind the church; in the well; on the roof; under the bed; in the soup; up the chimney"
)
_ANIMALS = words("fox goose goat bear cat crow pig horse snail donkey")
_LOOKS = words("proud happy elegant sorry serious grown rich")


def _hat(draw: Draw) -> Draft:
    name, where = draw.pick(NAMES), draw.pick(_WHERE)
    return Draft("hat").say(
        _LOST, name=name, her=HIS_OR_HER[name], She=HE_OR_SHE_FIRST[name], hat=draw.pick(_HATS),
        place=draw.pick(PLACES), where1=where,
        where2=draw.pick([other for other in _WHERE if other != where]), animal=draw.pick(_ANIMALS),
        proud=draw.pick(_LOOKS),
    )  # fmt: skip


# -- the collector

_COLLECTOR = Frame(
    "Once there was a {shy} {giant} who collected {clocks}. One night a {thief} took the {best} one. The {giant} cried "
    "so {loudly} that the {thief} brought it back{end}."
)
_SHY = words("shy brave grumpy gentle clever lazy nervous")
_COLLECTORS = words("giant king witch pirate queen dragon baker ghost professor")
_COLLECTED = words("clocks spoons stamps bells shadows buttons feathers storms teapots riddles")
_THIEVES = words("thief fox crow soldier monkey tailor sailor boy")
_BEST = words("best smallest oldest loudest heaviest strangest")
_CRIED = words("loudly softly sweetly long bitterly beautifully")
_ENDS = phrases(", with a cake; and stayed for tea; and said sorry; the next day; and took two others; , with interest")


def _collector(draw: Draw) -> Draft:
    return Draft("collector").say(
        _COLLECTOR, shy=draw.pick(_SHY), giant=draw.pick(_COLLECTORS), clocks=draw.pick(_COLLECTED),
        thief=draw.pick(_THIEVES), best=draw.pick(_BEST), loudly=draw.pick(_CRIED), end=draw.pick(_ENDS),
    )  # fmt: skip


# -- two who want the same

_BOTH = Frame(
    "{a} and {b} both wanted the {object}. {first} {pulled}, {second} {pushed} and the {object} {broke}. {peace}"
)
_PULLED = words("pulled shouted argued cried ran")
_PUSHED = words("pushed whistled laughed jumped waited")
_BROKE = phrases("broke; flew away; said no; fell into the river; began to cry; was gone")
_PEACE = phrases(
    "Now they have a dog.; Since then they are friends.; Then they went home.; They still write letters about it.; So "
    "they shared a sandwich."
)


def _quarrel(draw: Draw) -> Draft:
    a, b = draw.pick(PAIRS[False])
    first, second = (a, b) if draw.chance(0.5) else (b, a)
    return Draft("quarrel").say(
        _BOTH, a=a, b=b, first=first, second=second, object=draw.pick(OBJECTS), pulled=draw.pick(_PULLED),
        pushed=draw.pick(_PUSHED), broke=draw.pick(_BROKE), peace=draw.pick(_PEACE),
    )  # fmt: skip


# -- a letter

_LETTER = Frame(
    "Dear {a}, the {sea} is {calm} and the {captain} is {seasick}. Yesterday we {saw}. Please send {one} and {two}. "
    "Your {b}."
)
_JOURNEYS = (
    ("sea", "captain", "calm; wide; green; salty",
        "saw a whale; lost the anchor; met a mermaid; sailed in circles"),
    ("desert", "camel", "hot; wide; quiet; full of sand",
        "saw a flower; lost the water; met a snake; walked in circles"),
    ("castle", "ghost", "cold; dark; huge; for sale",
        "saw a light; lost the key; met a knight; slept in the tower"),
    ("mountain", "guide", "steep; white; quiet; in the way",
        "saw a bear; lost the rope; met a hermit; ate the last cheese"),
)  # fmt: skip
_LETTERS_FROM = tuple((cut(p), cut(who), phrases(how), phrases(what)) for p, who, how, what in _JOURNEYS)
_MOODS = phrases("in love; seasick; asleep; angry with me; singing again; afraid of birds; writing a book")
_SUPPLIES = phrases("bread; dry socks; a longer rope; my violin; money; a cook; some advice; chocolate; the cat")


def _letter(draw: Draw) -> Draft:
    a, b = draw.pick(PAIRS[False])
    (place, who, hows, whats), one = draw.pick(_LETTERS_FROM), draw.pick(_SUPPLIES)
    return Draft("letter").say(
        _LETTER, a=a, b=b, sea=place, captain=who, calm=draw.pick(hows), saw=draw.pick(whats),
        seasick=draw.pick(_MOODS), one=one, two=draw.pick([other for other in _SUPPLIES if other != one]),
    )  # fmt: skip


# -- advice

_NEVER = Frame("Never {lend} {thing} to a {goose}: {reason}.")
_LEND = words("lend show sell trust promise")
_THINGS = phrases("your umbrella; your best hat; a secret; your keys; the last cake; your diary; a ladder")
_CLIENTS = words("goose goat ghost pirate crow snail king dragon neighbor poet")
_REASONS = phrases(
    "it will be late; nothing comes back; you will be in the newspaper; there will be questions; it is against the "
    "law; my mother did"
)


def _advice(draw: Draw) -> Draft:
    return Draft("advice").say(
        _NEVER, lend=draw.pick(_LEND), thing=draw.pick(_THINGS), goose=draw.pick(_CLIENTS), reason=draw.pick(_REASONS)
    )


# -- a dream

_DREAM = Frame(
    "{name} dreamed that {she} was a {lighthouse}. All night {she} {waited}. In the morning there was {sand} in {her} "
    "{shoes}."
)
_DREAMS = _table("""
lighthouse; waited for ships; sand
bird; flew over the town; straw
river; ran to the sea; water
tree; counted the stars; moss
train; looked for the station; coal
cloud; carried the rain; fog
candle; held off the dark; wax
pirate; buried the gold; salt
""")
_WHERE_LEFT = words("shoes hair pockets bed tea")


def _dream(draw: Draw) -> Draft:
    name, (what, did, left) = draw.pick(NAMES), draw.pick(_DREAMS)
    return Draft("dream").say(
        _DREAM, name=name, she=HE_OR_SHE[name], her=HIS_OR_HER[name], lighthouse=what, waited=did, sand=left,
        shoes=draw.pick(_WHERE_LEFT),
    )  # fmt: skip


# -- work

_WORK = Frame("Every {time} the {baker} {sang} to the {bread}, and the {bread} {rose}. {name} {knew}.")
_TRADES = _table("""
baker; bread; rose
gardener; roses; bloomed in winter
teacher; children; fell asleep
sailor; wind; turned
farmer; cows; danced
tailor; needles; sang along
clockmaker; clocks; stopped
king; soldiers; went home
""")
_SANG = phrases("sang; whispered; lied; read poems; talked; prayed")
_KNEW = phrases("was the only one who knew; never believed it; paid for it; wrote it all down; tried it, too")


def _work(draw: Draw) -> Draft:
    baker, bread, rose = draw.pick(_TRADES)
    return Draft("work").say(
        _WORK, time=draw.pick(TIMES_OF_DAY), baker=baker, sang=draw.pick(_SANG), bread=bread, rose=rose,
        name=draw.pick(NAMES), knew=draw.pick(_KNEW),
    )  # fmt: skip


# -- trade

_TRADE = Frame(
    "{name} traded a {hat} for a {goat}, the {goat} for a {boat} and the {boat} for a {hat}. It was a {long} day, but "
    "{she} {thought} it was worth it."
)
_GOODS = words("hat goat boat clock lamp cow wig drum kite sword bottle secret violin")
_LONG = words("long good strange busy short rainy")
_THOUGHT = words("thought said hoped swore")


def _trade(draw: Draw) -> Draft:
    name, hat = draw.pick(NAMES), draw.pick(_GOODS)
    goat = draw.pick(left := [each for each in _GOODS if each != hat])
    return Draft("trade").say(
        _TRADE, name=name, hat=hat, goat=goat, boat=draw.pick([each for each in left if each != goat]),
        long=draw.pick(_LONG), she=HE_OR_SHE[name], thought=draw.pick(_THOUGHT),
    )  # fmt: skip


_TALES: tuple[Callable[[Draw], Draft], ...] = (
    _foundling, _hat, _collector, _quarrel, _letter, _advice, _dream, _work, _trade
)  # fmt: skip


def tale(draw: Draw) -> Draft:
    """A story of two to four sentences; it asks nothing. Kinds: advice, collector, dream, foundling, hat, ..."""
    return draw.pick(_TALES)(draw)


# -- sentiment

_REVIEW = Frame("The {film} was {adjective1} and the {plot} was {adjective2}. {name} {verdict} it and {after}.")
_REVIEWED = (
    (cut("film"), words("plot music ending hero")),
    (cut("meal"), words("soup bread dessert waiter")),
    (cut("hotel"), words("room bed breakfast view")),
    (cut("concert"), words("singer violin hall applause")),
    (cut("book"), words("hero cover ending title")),
)
_GOOD = (
    words("wonderful lovely brilliant charming delightful superb perfect warm"),
    words("loved enjoyed praised"),
    phrases("stayed until the end; came back the next day; told everybody"),
)
_BAD = (
    words("terrible awful dull boring horrible dreadful stale gloomy"),
    words("hated disliked cursed"),
    phrases("left early; wanted the money back; fell asleep"),
)


def review(draw: Draw) -> Draft:
    """ "The film was dull and the plot was stale. Tom hated it and left early.": asks for the verdict.

    Kinds: good, bad. The spans adjective1, adjective2, verdict and after carry the sentiment.
    """
    good = draw.chance(0.5)
    (adjectives, verdicts, afters), wrong = (_GOOD, _BAD[1]) if good else (_BAD, _GOOD[1])
    film, plots = draw.pick(_REVIEWED)
    adjective = draw.pick(adjectives)
    draft = Draft("good" if good else "bad").say(
        _REVIEW, film=film, plot=draw.pick(plots), adjective1=adjective,
        adjective2=draw.pick([other for other in adjectives if other != adjective]), name=draw.pick(NAMES),
        verdict=draw.pick(verdicts), after=draw.pick(afters),
    )  # fmt: skip
    return draft.ask("verdict", wrong=wrong)
