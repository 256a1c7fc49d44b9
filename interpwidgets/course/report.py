"""A `Verdict` -> HTML and text: what the learner reads.

    html(verdict)       # one piece of HTML: no script, its own style, light and dark, everything escaped
    text(verdict)       # the same facts for a terminal

From top to bottom: the verdict; the properties in order; a known mistake; the smallest failing input, the target, yours
and the difference, with one cell ringed in all of them; the numbers and the case, closed; help; a part per device.
"""

import re
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from interpwidgets.course import given
from interpwidgets.course.colour import scale
from interpwidgets.course.differences import (
    difference_of,
    failing_input,
    numbers,
    panels,
    place_of,
    ringed,
    rows,
)
from interpwidgets.course.markup import div, mark, page, prose, side_by_side, standing_mark, title
from interpwidgets.course.pictures import LIMIT, bar, cells, digits_for, picture
from interpwidgets.course.verdict import Chip, Comparison, Cost, Failure, Stop, Verdict

_LEADS = {"passed": "Passed.", "differs": "Not yet.", "stopped": "Stopped", "unstarted": ""}


# -- the page -----------------------------------------------------------------------------------------------------


def html(verdict: Verdict) -> str:
    """The report on one check."""
    if verdict.state == "unstarted":
        middle = [_first_step(verdict)]
    elif verdict.passed:
        middle = [_pass(verdict)]
    else:
        middle = [_properties(verdict), _band(verdict), *_failing(verdict)]
    return page(_head(verdict), *middle, _printed(verdict), _help(verdict), _notes(verdict.notes), _foot(verdict))


def headline(verdict: Verdict) -> str:
    """The verdict and one fact: "Not yet. 4 of 8 values differ." """
    return f"{_LEADS[verdict.state]} {verdict.headline}".strip()


def _head(verdict: Verdict) -> str:
    exercise = verdict.exercise
    meta = f"{escape(exercise.id)} {escape(exercise.name)}"
    if verdict.state == "unstarted":
        minutes = _count(exercise.minutes, "minute")
        meta += f" · {_count(exercise.points, 'point')} · about {minutes}, {_lines(exercise.lines)}"
    elif verdict.tries:
        hints = f", {_count(verdict.hints, 'hint', words=True)}" if verdict.passed and verdict.hints else ""
        meta += f" · try {verdict.tries}{hints}"
    points = f"<span>{exercise.points} of {_count(exercise.points, 'point')}</span>" if verdict.passed else ""
    return (
        f'<div class="iwr-head">{mark(verdict.state, 16)}<h3>{prose(headline(verdict))}</h3>'
        f'<span class="iwr-quiet iwr-meta">{meta}</span><span class="iwr-spring"></span>{points}</div>'
    )


def _count(count: int, noun: str, words: bool = False) -> str:
    small = {1: "one", 2: "two", 3: "three"}
    return f"{small.get(count, count) if words else count} {noun}{'' if count == 1 else 's'}"


def _lines(lines: tuple[int, int]) -> str:
    low, high = lines
    return _count(low, "line") if low == high else f"{low} to {high} lines"


def _properties(verdict: Verdict) -> str:
    assert verdict.failure
    held = "".join(f"<span>{mark('tick', 10)}{escape(name)}</span>" for name in verdict.held)
    total = len(verdict.held)
    summary = f"{total} {'property holds' if total == 1 else 'properties hold'}"
    held += f'<span class="iwr-sum">{mark("tick", 10)}{summary}</span>' if total else ""
    sign = "stopped" if verdict.failure.stop else "differs"
    return div("iwr-props", held, f'<span class="iwr-bad">{mark(sign, 10)}{escape(verdict.failure.property)}</span>')


def _band(verdict: Verdict) -> str:
    if not (mistake := verdict.mistake):
        return ""
    following = re.sub(r"^next:\s*", "", mistake.next, flags=re.IGNORECASE)
    return (
        f'<div class="iwr-band">{mark("warning", 12)}<div><p><b class="iwr-warn">This is a known mistake: '
        f"{prose(mistake.name)}.</b> {prose(mistake.sentence)}</p><p><b>Next:</b> {prose(following)}</p></div></div>"
    )


def _failing(verdict: Verdict) -> Iterator[str]:
    failure = verdict.failure
    assert failure
    if failure.chips:
        yield chips(*failure.chips)
    if failure.stop:
        yield _stop(failure.stop, failure.sentences)
    elif failure.sentences and not (verdict.mistake and failure.comparison):
        yield _paragraphs(failure.sentences)
    if not verdict.mistake and (following := _next(verdict)):
        yield f'<div class="iwr-text"><p><b>Next:</b> {prose(following)}</p></div>'
    if failure.comparison:
        yield panels(verdict, failure.comparison)
        yield numbers(failure.comparison)
    elif failure.chips and verdict.arguments:
        yield side_by_side([failing_input(verdict)])
    elif verdict.arguments:
        yield f'<div class="iwr-caption">Input: {escape(_case(verdict))}</div>'
    if verdict.arguments:
        yield _the_case(verdict)


def _next(verdict: Verdict) -> str:
    assert verdict.failure
    if verdict.failure.next or not (compared := verdict.failure.comparison):
        return verdict.failure.next
    place = place_of(compared, ringed(compared)) or "the result"
    return (
        f"no known mistake fits. Work out {place} by hand: which entries of the input go into it, and which does "
        "your code use?"
    )


def _paragraphs(sentences: Sequence[str]) -> str:
    told = "".join(f"<p>{prose(sentence)}</p>" for sentence in sentences if sentence)
    return f'<div class="iwr-text">{told}</div>'


def _case(verdict: Verdict) -> str:
    told = ", ".join(given.words(name, value) for name, value in verdict.arguments.items())
    return f"{verdict.case}: {told}" if verdict.case else told


def chips(asked: Sequence[Chip], mine: Sequence[Chip]) -> str:
    """The axes that were asked for over those that came, the odd ones outlined."""
    rows = "".join(
        f'<span class="iwr-quiet">{name}</span><div>{"".join(map(_chip, row)) or "<span>no axes</span>"}</div>'
        for name, row in (("target", asked), ("yours", mine))
    )
    return f'<div class="iwr-chips">{rows}</div>'


def _chip(chip: Chip) -> str:
    kind = "" if not chip.odd else (" iwr-gone" if chip.length is None else " iwr-odd")
    length = "missing" if chip.length is None else chip.length
    return f'<span class="iwr-chip{kind}">{escape(chip.name)} <b>{length}</b></span>'


def _stop(stop: Stop, readings: Sequence[str]) -> str:
    rows = "".join(
        f"<div{' class=iwr-here' if at == stop.at else ''}><i>{at}</i><span>{escape(line) or ' '}</span></div>"
        for at, line in stop.lines
    )
    code = f'<div class="iwr-code">{rows}</div>' if rows else ""
    error = f'<p><span class="iwr-error">{escape(stop.error)}:</span> {escape(stop.message)}</p>'
    read = "".join(f"<p><b>How we read it:</b> {prose(reading)}</p>" for reading in readings if reading)
    return f'{code}<div class="iwr-text">{error}{read}</div>'


# -- the case ---------------------------------------------------------------------------------------------------------


def _the_case(verdict: Verdict) -> str:
    order: list[tuple[int, ...]] = []
    if verdict.failure and (compared := verdict.failure.comparison) and compared.target.ndim:
        with np.errstate(all="ignore"):
            size = np.nan_to_num(np.abs(difference_of(compared.target, compared.yours)), nan=np.inf)
        largest = np.argsort(-size, axis=None, kind="stable")[:2]
        order = [tuple(int(i) for i in np.unravel_index(int(at), size.shape)) for at in largest]
    call = escape(f'case = check("{verdict.exercise.id}", {verdict.exercise.name}).arguments')
    tail = f'<div class="iwr-caption">In Python: <code>{call}</code> holds these arguments by name.</div>'
    return f"<details><summary>Show the case</summary>{given.large(verdict.arguments, order)}{tail}</details>"


# -- the other states ---------------------------------------------------------------------------------------------


def _first_step(verdict: Verdict) -> str:
    assert verdict.failure
    told = "".join(f"<p>{prose(sentence)}</p>" for sentence in verdict.failure.sentences)
    step = re.sub(r"^first step:\s*", "", verdict.exercise.first_step, flags=re.IGNORECASE)
    return f'<div class="iwr-text">{told}<p><b>First step:</b> {prose(step)}</p></div>{_the_case(verdict)}'


def _pass(verdict: Verdict) -> str:
    cost = _cost(verdict.cost) if verdict.cost else ""
    if verdict.found is None:
        return cost
    found = verdict.found
    values = given.array(found.values)
    values = np.atleast_2d(np.asarray(found.values if values is None else values, np.float64))
    colours = scale(values)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(np.abs(values))), values.shape))
    chosen = (at[0], at[1])
    if max(values.shape) <= LIMIT:
        drawn = cells(values, colours, chosen, (found.rows, found.columns), digits_for(values))
    else:
        drawn = picture(values, colours, chosen, found.title)
    axes = f'<span class="iwr-quiet">{escape(found.rows)} × {escape(found.columns)}</span>'
    left = [title(f"{escape(found.title)} {axes}"), drawn, bar(colours, float(values[at]))]
    right = [title("What it found"), div("iwr-text", f"<p>{prose(found.sentence)}</p>"), cost]
    return side_by_side(["".join(left), "".join(right)], "minmax(0,2fr) minmax(0,3fr)")


def _cost(cost: Cost) -> str:
    pairs: list[tuple[str, float, float, str, str]] = [
        ("time", cost.seconds, cost.reference_seconds, duration(cost.seconds), duration(cost.reference_seconds))
    ]
    if cost.bytes is not None and cost.reference_bytes is not None:
        mine, theirs = size(cost.bytes), size(cost.reference_bytes)
        pairs.append(("memory", cost.bytes, cost.reference_bytes, mine, theirs))
    lines = ""
    for name, mine_, theirs_, shown, reference in pairs:
        longest = max(mine_, theirs_) or 1
        meter = f'style="--w:{100 * mine_ / longest:.0f}%;--t:{100 * theirs_ / longest:.0f}%"'
        lines += (
            f'<span class="iwr-quiet">{name}</span><span class="iwr-meter" {meter}><b></b><i></i></span>'
            f'<span><b>{shown}</b> <span class="iwr-quiet">· reference {reference}</span></span>'
        )
    case = f'<span class="iwr-quiet">{escape(cost.case)}; tick: reference</span>'
    return title(f'Cost <span style="font-weight:400">{case}</span>') + div("iwr-cost", lines)


def duration(seconds: float) -> str:
    """``0.9 ms``, ``12 ms``, ``1.4 s``."""
    if seconds < 1e-3:
        return f"{seconds * 1e3:.2f} ms"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.2g} s"


def size(count: int) -> str:
    """``2.1 MB``."""
    return f"{count / 1e6:.2g} MB" if count >= 1e4 else f"{count / 1e3:.2g} kB"


def _printed(verdict: Verdict) -> str:
    if not verdict.printed.strip():
        return ""
    lines = verdict.printed.rstrip().splitlines()
    shown = "\n".join(lines[:40] + ([f"… and {len(lines) - 40} more lines"] if len(lines) > 40 else []))
    inside = f'<pre class="iwr-code" style="padding:8px">{escape(shown)}</pre>'
    return f"<details><summary>What it printed</summary>{inside}</details>"


def _help(verdict: Verdict) -> str:
    exercise = verdict.exercise
    if verdict.passed:
        if not verdict.following:
            return ""
        after = f"{verdict.following.id} {verdict.following.name}"
        return div("iwr-next", f"<span><b>Next:</b> {escape(after)}</span>")
    total = len(exercise.hints)
    if not total:
        return ""
    which = f"shows hint {verdict.hints + 1} of {total}" if verdict.hints < total else "shows the hints again"
    return (
        f'<div class="iwr-next"><span><code>hint("{escape(exercise.id)}")</code> {which}</span>'
        '<span class="iwr-spring"></span><span class="iwr-small">Hints are counted, never charged</span></div>'
    )


def _notes(notes: Sequence[str]) -> str:
    return "".join(f'<div class="iwr-caption">{prose(note)}</div>' for note in notes)


def _foot(verdict: Verdict) -> str:
    devices = "".join(f"<span>{mark(one.state, 10)}{escape(one.text)}</span>" for one in verdict.devices)
    points = _count(verdict.exercise.points, "point")
    right = f"<span>{verdict.points} of {points}{_kept(verdict)}</span>"
    if verdict.passed and verdict.chapter:
        marks = "".join(
            standing_mark(item["kind"], item["state"], item["id"] == verdict.exercise.id) for item in verdict.chapter
        )
        right = f'<span>chapter {escape(verdict.exercise.id[:2])}<span class="iwr-marks">{marks}</span></span>'
    return f'<div class="iwr-foot">{devices}<span class="iwr-spring"></span>{right}</div>'


def _kept(verdict: Verdict) -> str:
    return ", from an earlier pass" if verdict.passed_before else ""


# -- text ---------------------------------------------------------------------------------------------------------

_SIGNS = {"passed": "✓", "differs": "≠", "stopped": "!", "unstarted": "○"}


def text(verdict: Verdict) -> str:
    """The report for a terminal, a log, a screen reader."""
    exercise = verdict.exercise
    tries = f" · try {verdict.tries}" if verdict.tries else ""
    lines = [f"{_SIGNS[verdict.state]} {headline(verdict)}   {exercise.id} {exercise.name}{tries}"]
    if verdict.passed:
        lines += _pass_text(verdict)
    elif verdict.failure:
        lines += _failure_text(verdict, verdict.failure)
    lines += verdict.notes
    points = f"{verdict.points} of {_count(exercise.points, 'point')}{_kept(verdict)}"
    lines.append("   ".join([*(one.text for one in verdict.devices), points]))
    return "\n".join(lines)


def _pass_text(verdict: Verdict) -> Iterator[str]:
    if verdict.found:
        yield verdict.found.sentence
    if cost := verdict.cost:
        yield f"Time {duration(cost.seconds)}, reference {duration(cost.reference_seconds)} ({cost.case})"
    if verdict.following:
        yield f"Next: {verdict.following.id} {verdict.following.name}"


def _failure_text(verdict: Verdict, failure: Failure) -> Iterator[str]:
    if verdict.state == "unstarted":
        yield from failure.sentences
        yield f"First step: {re.sub(r'^[Ff]irst step: *', '', verdict.exercise.first_step)}"
        return
    held = ", ".join(verdict.held)
    yield f"Holds: {held}. Fails: {failure.property}" if held else f"Fails: {failure.property}"
    if failure.stop:
        yield from (f"{'>' if at == failure.stop.at else ' '}{at:4}  {line}" for at, line in failure.stop.lines)
        yield f"{failure.stop.error}: {failure.stop.message}"
    if not (verdict.mistake and failure.comparison):
        yield from filter(None, failure.sentences)
    if mistake := verdict.mistake:
        yield f"This is a known mistake: {mistake.name}. {mistake.sentence}"
        yield f"Next: {re.sub(r'^[Nn]ext: *', '', mistake.next)}"
    elif following := _next(verdict):
        yield f"Next: {following}"
    if verdict.arguments:
        yield f"Input: {_case(verdict)}"
    if failure.comparison:
        yield from _table(failure.comparison)


def _table(compared: Comparison) -> Iterator[str]:
    found, left_out = rows(compared)
    lines = [("", "target", "yours", "yours − target", ""), *(row[:5] for row in found)]
    widths = [max(len(line[at]) for line in lines) for at in range(4)]
    for line in lines:
        cells_ = (line[at].ljust(widths[at]) if at == 0 else line[at].rjust(widths[at]) for at in range(4))
        yield f"  {'  '.join(cells_)}  {line[4]}".rstrip()
    if left_out:
        yield f"  ({left_out} more are not shown)"
