"""What the pages for teachers and learners share: one offline file, without scripts, in the style of the reports.

    page("Class report", body, wide=True)       # a whole HTML document
    standing("exercise", "done")                # a mark: shape first, colour never alone
    shown(name)                                 # text from outside: escaped, on one line, of bounded length

A page may load nothing and run nothing: its Content-Security-Policy allows its own style and pictures inside the file,
no script, no form, no frame. So text of a submission that slipped through the escaping could still do nothing.
"""

import re
import unicodedata
from datetime import datetime
from functools import cache
from html import escape
from pathlib import Path

from interpwidgets.course.markup import mark, standing_mark, style

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"

_KINDS = {"exercise": "e", "question": "q"}
_STATES = {"done": "d", "tried": "t", "open": "o"}
_SAID = {"done": "done", "tried": "tried", "open": "not started"}


def page(title: str, *body: str, wide: bool = False) -> str:
    """A document with this title."""
    kind = "gr iwr gr-wide" if wide else "gr iwr"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">'
        f"<title>{shown(title)}</title>{style()}<style>{_css()}</style></head>\n"
        f'<body>{_symbols()}<main class="{kind}">{"".join(body)}</main></body></html>\n'
    )


@cache
def _css() -> str:
    return Path(__file__).with_name("pages.css").read_text(encoding="utf-8")


@cache
def _symbols() -> str:
    """Every standing once; the marks on the page refer to them."""
    drawn = ""
    for kind, k in _KINDS.items():
        for state, s in _STATES.items():
            inside = standing_mark(kind, state).partition("</title>")[2].removesuffix("</svg>")
            drawn += f'<symbol id="{k}{s}" viewBox="0 0 12 12">{inside}</symbol>'
    return f'<svg class="iwr" width="0" height="0" style="position:absolute;padding:0" aria-hidden="true">{drawn}</svg>'


def standing(kind: str, state: str) -> str:
    """An exercise (square) or a question (disc): done, tried or open."""
    return (
        f'<svg width="12" height="12" role="img" aria-label="{_SAID[state]}">'
        f'<use href="#{_KINDS[kind]}{_STATES[state]}"/></svg>'
    )


def legend() -> str:
    """What the marks mean."""
    parts = [(standing("exercise", state), _SAID[state]) for state in _STATES]
    parts.append((standing("question", "done"), "question"))
    silent = (re.sub(r'role="img" aria-label="[^"]*"', 'aria-hidden="true"', one) for one, _ in parts)
    told = (f"<span>{one}{word}</span>" for one, (_, word) in zip(silent, parts, strict=True))
    return f'<div class="gr-legend">{"".join(told)}</div>'


def shown(text: str, most: int = 300) -> str:
    """Text from outside on a page: escaped, control characters shown as a dot, cut where it is too long."""
    plain = "".join("·" if unicodedata.category(one) in ("Cc", "Cs", "Co") else one for one in text[: most + 1])
    return escape(plain if len(plain) <= most else f"{plain[: most - 1]}…")


def person(name: str) -> str:
    """A name, whichever way its letters run."""
    return f"<bdi>{shown(name, 80)}</bdi>"


def warning(sentence: str) -> str:
    """A band that cannot be overlooked."""
    return f'<div class="gr-warn" role="note">{mark("stopped", 12)}<p><b>{escape(sentence)}</b></p></div>'


def day(when: str) -> str:
    """``20 Nov 2026, 14:05`` of a time in ISO 8601, in the time zone of this machine."""
    try:
        moment = datetime.fromisoformat(when).astimezone()
    except ValueError:
        return ""
    return f"{moment.day} {moment:%b %Y, %H:%M}"


def count(number: int, noun: str) -> str:
    """``1 exercise``, ``3 exercises``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
