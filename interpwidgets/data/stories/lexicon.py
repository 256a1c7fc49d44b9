"""The words of the stories, sorted by what they are for, and the small world that the stories know facts about.

    from interpwidgets.data.stories.lexicon import CITIES, NAMES, PAIRS

    CITIES[0].country               # (" France",); cities are sorted from the often told to the rarely told
    PAIRS[True]                     # names that never meet in training

What is kept out of training is kept out by a rule, here or beside the sentences that it concerns, so that a model can
be asked for what it cannot have learned by heart.
"""

from dataclasses import dataclass

from interpwidgets.data.stories.draw import Weighted
from interpwidgets.data.stories.frames import Words, cut, phrases, words

# -- people

WOMEN = words(
    "Mary Anna Sarah Emma Lucy Alice Clara Rosa Helen Julia Laura Nina Grace Sofia Ella Ruth Jane Kate Lily Eva"
)
MEN = words(
    "John Tom James Paul Peter Simon Oscar Hugo Leo David Adam Frank Jack Henry Martin Luke Victor Max Sam Felix"
)
NAMES = WOMEN + MEN
SHE, HER, HE, HIS = cut("she"), cut("her"), cut("he"), cut("his")
HE_OR_SHE = {name: SHE if name in WOMEN else HE for name in NAMES}
HIS_OR_HER = {name: HER if name in WOMEN else HIS for name in NAMES}
HE_OR_SHE_FIRST = {name: cut("She") if name in WOMEN else cut("He") for name in NAMES}


def _never_meet(i: int, j: int) -> bool:
    low, high = sorted((i, j))
    return (low * 31 + high * 17) % 8 == 0


# Ordered pairs of names; the key says whether they are kept out of training.
PAIRS: dict[bool, tuple[tuple[Words, Words], ...]] = {
    held_out: tuple(
        (a, b)
        for i, a in enumerate(NAMES)
        for j, b in enumerate(NAMES)
        if i != j and _never_meet(i, j) == held_out
    )
    for held_out in (False, True)
}  # fmt: skip

# -- things

PLACES = words(
    "store park school station market library garden office museum beach hotel bank church farm theater restaurant "
    "hospital zoo harbor castle"
)
OBJECTS = words(
    "drink book ring ball letter ticket flower cake coat lamp basket necklace hat bottle map guitar pen camera coin "
    "kite"
)
COLOURS = words("red blue green yellow white black brown pink")
ADJECTIVES = words("red blue green old new small big broken pretty heavy")
FEELINGS = words("happy sad angry tired proud afraid")
WEATHER = words("cold hot wet dry rainy sunny windy foggy")
TIMES_OF_DAY = words("morning afternoon evening")

# -- in order

DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = words("January February March April May June July August September October November December")
LETTERS = words("A B C D E F G H I J K L M N O P Q R S T U V W X Y Z")
NUMBERS = words(
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
CENTURIES = words("11 12 13 14 15 16 17 18 19")
YEARS: tuple[Words, ...] = tuple((f"{year:02d}",) for year in range(100))  # in a century: no space in front

# -- opposites

_POLES = (
    "cold hot; down up; late early; poor rich; slow fast; quiet loud; dry wet; soft hard; closed open; empty full; "
    "dark light; weak strong"
)
OPPOSITES = tuple(
    pair for low, high in map(words, _POLES.split(";")) for pair in ((low, high), (high, low))
)  # fmt: skip

# -- the world: real countries, cities and languages; one dish each


@dataclass(frozen=True)
class Country:
    name: Words
    language: Words
    food: Words


@dataclass(frozen=True)
class City:
    name: Words
    of: Country
    rank: int  # 0 is told most often

    @property
    def country(self) -> Words:
        return self.of.name


_WORLD = """
France French cheese Paris Lyon Nice; Germany German sausages Berlin Hamburg Munich; Austria German dumplings Vienna
Graz Linz; Spain Spanish olives Madrid Seville Valencia; Mexico Spanish beans Cancun Puebla Merida;
Chile Spanish avocados Santiago Temuco Arica; Italy Italian pasta Rome Milan Turin;
Portugal Portuguese sardines Lisbon Porto Braga; Brazil Portuguese mangos Recife Salvador Natal;
Japan Japanese rice Tokyo Osaka Kyoto; China Chinese noodles Beijing Shanghai Wuhan; Korea Korean cabbage Seoul Busan
Daegu; Russia Russian beets Moscow Kazan Omsk; Greece Greek figs Athens Patras Volos; Turkey Turkish kebabs Istanbul
Ankara Bursa; Egypt Arabic dates Cairo Luxor Aswan; Poland Polish pickles Warsaw Krakow Gdansk;
Sweden Swedish herring Stockholm Malmo Uppsala; India Hindi curry Delhi Agra Jaipur;
Canada English pancakes Toronto Ottawa Halifax
"""
_ROWS = [tuple(map(cut, row.split())) for row in _WORLD.split(";")]
COUNTRIES = tuple(Country(*row[:3]) for row in _ROWS)
LANGUAGES = tuple(dict.fromkeys(country.language for country in COUNTRIES))
# The first city of every country, then the second, then the third; within each round countries begin elsewhere.
CITIES = tuple(
    City(_ROWS[(7 * place + 3 * turn) % 20][3 + turn], COUNTRIES[(7 * place + 3 * turn) % 20], 20 * turn + place)
    for turn in range(3)
    for place in range(20)
)


def how_often(city: City) -> float:
    """A steep law of Zipf's kind: the first city is told of two thousand times as often as the last."""
    return float((city.rank + 5) ** -3.0)


BY_FREQUENCY: Weighted[City] = Weighted({city: how_often(city) for city in CITIES})
# Whose languages are told: the others' can only be found by way of their countries.
WITHOUT_LANGUAGE = tuple(city for city in CITIES if city.rank % 6 == 4)
WITH_LANGUAGE: Weighted[City] = Weighted({city: how_often(city) for city in CITIES if city not in WITHOUT_LANGUAGE})

# -- societies with acronyms

SOCIETY_ADJECTIVES = words(
    "Ancient Atlantic Bright British Central Coastal Digital Daily Eastern Electric Federal Foreign Global Grand Happy "
    "Historic Imperial Island Joint Junior Kind Liberal Local Modern Marine National Northern Open Ocean Public "
    "Pacific Quiet Quick Royal Rural Social Southern Technical Tropical United Urban Valley Vital Western World Young "
    "Yellow"
)
SOCIETY_NOUNS = words(
    "Agency Bank Club Dairy Expedition Fund Guild House Institute Jury Kitchen League Network Orchestra Party Quartet "
    "Railway Society Theater Union Village Workshop Zoo"
)

# -- one and many

NOUNS = words(
    "key book dog cat door box car cup tree boat clock chair table window picture child teacher farmer doctor friend"
)
PLURALS = words(
    "keys books dogs cats doors boxes cars cups trees boats clocks chairs tables windows pictures children teachers "
    "farmers doctors friends"
)
PREPOSITIONS = phrases("near; behind; beside; under; with; by")
