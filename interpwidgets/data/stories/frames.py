"""Sentences with gaps, and the text that grows when they are filled.

    from interpwidgets.data.stories.frames import Draft, Frame, cut

    draft = Draft()
    draft.say(Frame("The city of {city} is in {country}."), city=cut("Lyon"), country=cut("France"))
    draft.ask("country", wrong=[cut("Spain")])
    draft.tokens        # ["<s>", " The", " city", " of", " Lyon", " is", " in", " France", "."]
    draft.spans         # [("city", 4, 5), ("country", 7, 8)]

A token is a word with the space in front of it, a mark, a letter of an acronym, or half of a year (" 17", "32").
Everything that is filled into a gap leaves a span: so a text knows its parts.
"""

import re
from collections.abc import Iterable
from functools import cache
from typing import TypeAlias

Words: TypeAlias = tuple[str, ...]  # tokens, one after the other

BEGIN = "<s>"  # before every text, and after it
UNKNOWN = "<unk>"

PIECES = r" [A-Za-z]+| ?[0-9]{2}| ?\(|[A-Z]|[^ ]"  # the rule of the tokenizer, too
_GAP = re.compile(r"\{(\w+)\}")


@cache
def cut(text: str) -> Words:
    """``text`` as tokens; each word carries the space in front of it, the first word too."""
    return tuple(re.findall(PIECES, f" {text}"))


def words(text: str) -> tuple[Words, ...]:
    """A list of words, separated by spaces, each of which fills a gap."""
    return tuple(cut(word) for word in text.split())


def phrases(text: str) -> tuple[Words, ...]:
    """A list of phrases, separated by semicolons, each of which fills a gap."""
    return tuple(cut(phrase.strip()) for phrase in text.split(";"))


class Frame:
    """A text with gaps, as in ``"The city of {city} is in {country}."``"""

    def __init__(self, text: str) -> None:
        pieces = _GAP.split(text)
        self.parts: tuple[tuple[str | None, Words], ...] = tuple(
            (piece, ()) if i % 2 else (None, _after(piece, first=i == 0)) for i, piece in enumerate(pieces)
        )


def _after(text: str, first: bool) -> Words:
    """The words between two gaps: the gap brings the space in front of it along."""
    text = text.rstrip(" ")
    return tuple(re.findall(PIECES, f" {text}" if first and text else text))


class Draft:
    """A text in the making: its tokens, the spans of what was filled in, and what it asks."""

    __slots__ = ("answer", "kind", "spans", "tokens", "wrong")

    def __init__(self, kind: str = "") -> None:
        self.kind = kind
        self.tokens: list[str] = [BEGIN]
        self.spans: list[tuple[str, int, int]] = []
        self.answer: int | None = None
        self.wrong: Words = ()

    def say(self, frame: Frame, **gaps: Words) -> "Draft":
        """Add a frame with its gaps filled."""
        tokens = self.tokens
        for gap, piece in frame.parts:
            if gap is None:
                tokens += piece
            elif filled := gaps[gap]:
                self.spans.append((gap, len(tokens), len(tokens) + len(filled)))
                tokens += filled
        return self

    def ask(self, gap: str, wrong: Iterable[Words] = ()) -> "Draft":
        """The last filling of ``gap`` is what a reader who understood the text could have said before reading it.

        ``wrong`` is what a reader might say instead who did not.
        """
        self.answer = next(start for label, start, _ in reversed(self.spans) if label == gap)
        self.wrong = tuple(each[0] for each in wrong)
        return self
