"""Little documents with a question at their end, whose answer stands in them and nowhere else."""

from interpwidgets.data.stories.draw import Draw
from interpwidgets.data.stories.frames import Draft, Frame, Words, phrases, words
from interpwidgets.data.stories.lexicon import COLOURS, NAMES, OBJECTS

T3 = tuple[Words, Words, Words]


def _three(draw: Draw, options: tuple[Words, ...]) -> T3:
    """Three different ones, in order."""
    first = draw.pick(options)
    second = draw.pick(left := [each for each in options if each != first])
    return first, second, draw.pick([each for each in left if each != second])


_THINGS = words("pen cup hat book ring ball coin key bottle lamp box basket letter flower cake coat")
_SPOTS = words("table shelf bench floor bed roof")
_ON_THE = Frame(
    "On the {spot} there is a {colour1} {object1}, a {colour2} {object2} and a {colour3} {object3}. What colour is the "
    "{asked}? It is {colour}."
)


def coloured_objects(draw: Draw) -> Draft:
    """ "On the table there is a red pen, a blue cup ... What colour is the cup? It is blue.": asks for the colour."""
    things, colours, i = _three(draw, _THINGS), _three(draw, COLOURS), draw.pick((0, 1, 2))
    draft = Draft().say(
        _ON_THE, spot=draw.pick(_SPOTS), asked=things[i], colour=colours[i],
        **_numbered("object", things), **_numbered("colour", colours),
    )  # fmt: skip
    return draft.ask("colour", wrong=_others(colours, i))


_HAS = Frame(
    "{name1} has a {object1}, {name2} has a {object2} and {name3} has a {object3}. Who has the {asked}? The {asked} is "
    "with {name}."
)


def keeper(draw: Draw) -> Draft:
    """ "Anna has a kite, Tom has a ring ... Who has the ring? The ring is with Tom.": asks for the last word."""
    names, things, i = _three(draw, NAMES), _three(draw, OBJECTS), draw.pick((0, 1, 2))
    draft = Draft().say(
        _HAS, asked=things[i], name=names[i], **_numbered("name", names), **_numbered("object", things)
    )  # fmt: skip
    return draft.ask("name", wrong=_others(names, i))


_CRIMES = tuple(
    zip(
        phrases("ate the cake; stole the goose; broke the mirror; spilled the ink; picked the roses; fed the ghost"),
        phrases("crumbs; feathers; splinters; black spots; petals; cold spoons"),
        strict=True,
    )
)
_ROOMS = words("kitchen cellar attic garden library hall tower stable")
_MYSTERY = Frame(
    "Somebody {crime}. {name1} was in the {room1}, {name2} was in the {room2} and {name3} was in the {room3}. There "
    "were {clue} in the {room}. So it was {name}."
)


def mystery(draw: Draw) -> Draft:
    """ "Somebody ate the cake. Anna was in the attic ... So it was Anna.": asks for the last word."""
    names, rooms, i = _three(draw, NAMES), _three(draw, _ROOMS), draw.pick((0, 1, 2))
    crime, clue = draw.pick(_CRIMES)
    draft = Draft().say(
        _MYSTERY, crime=crime, clue=clue, room=rooms[i], name=names[i], **_numbered("name", names),
        **_numbered("room", rooms),
    )  # fmt: skip
    return draft.ask("name", wrong=_others(names, i))


def _numbered(gap: str, three: T3) -> dict[str, Words]:
    return {f"{gap}{n}": filling for n, filling in enumerate(three, 1)}


def _others(three: T3, i: int) -> list[Words]:
    return [each for j, each in enumerate(three) if j != i]
