"""A `Verdict` -> HTML and text: what the learner reads.

    html(verdict)       # one piece of HTML: no script, its own style, light and dark, everything escaped
    text(verdict)       # the same facts for a terminal

From top to bottom: the verdict; the properties in order; a known mistake; the smallest failing input, the target, yours
and the difference, with one cell ringed in all of them; the numbers and the case, closed; help; a part per device.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from interpwidgets.course import given
from interpwidgets.course.colour import Scale, rounded_up, scale
from interpwidgets.course.pictures import LIMIT, bar, cells, curve, digits_for, number, picture
from interpwidgets.course.verdict import Chip, Comparison, Cost, Failure, Stop, Verdict

_LEADS = {"passed": "Passed.", "differs": "Not yet.", "stopped": "Stopped", "unstarted": ""}
Row = tuple[str, str, str, str, str, bool]  # place, target, yours, difference, a word, whether it is ringed

_ROWS = 12  # of the table of numbers
_HOSTS = ('[data-jp-theme-light="%s"]', ".vscode-%s", "html[theme=%s]", ".%s", ".%s-theme", '[data-theme="%s"]')


@cache
def style() -> str:
    """The style of every report; dark where the host says so, or the system where the host says nothing."""
    css = Path(__file__).with_name("report.css").read_text(encoding="utf-8")
    dark, light = (
        f":is({','.join(host % (jupyter if 'jp-' in host else name) for host in _HOSTS)})"
        for name, jupyter in (("dark", "false"), ("light", "true"))
    )
    rules = re.findall(r"^%dark%[^}]*\}", css, re.MULTILINE)
    exported = ':root:has(meta[name="color-scheme"][content="light dark"])'  # `export_html`: as its reader chooses
    unsaid = f".iwr:is(:not({light} *):not({dark} *), {exported} *)"
    by_system = "\n".join(rule.replace("%dark%", unsaid) for rule in rules)
    by_host = css.replace("%dark%", f"{dark} .iwr")
    return f"<style>\n{by_host}@media (prefers-color-scheme: dark) {{\n{by_system}\n}}\n</style>"


def page(*parts: str) -> str:
    """Parts of a report in their frame, with the style."""
    return f'{style()}<div class="iwr">{"".join(parts)}</div>'


def prose(sentence: str) -> str:
    """A sentence, escaped; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(sentence))


def div(kind: str, *parts: str) -> str:
    """Pieces of HTML in an element of this class."""
    return f'<div class="{kind}">{"".join(parts)}</div>'


def _title(*parts: str) -> str:
    return div("iwr-title", *(f"<span>{part}</span>" for part in parts))


# -- marks --------------------------------------------------------------------------------------------------------

_PEN = 'fill="none" stroke="var(--paper)" stroke-width="1.3"'
_LINE = 'fill="none" stroke="var(--ink3)" stroke-width="1.5"'
_DIAMOND = '<path d="M6 0l6 6-6 6-6-6z" fill="var(--error)"/>'
_MARKS = {
    "passed": f'<circle cx="6" cy="6" r="6" fill="var(--ok)"/><path d="M3.2 6.2l2 2 3.6-4.2" {_PEN}/>',
    "differs": f'{_DIAMOND}<path d="M3.6 5h4.8M3.6 7.2h4.8M7.5 3.4l-3 5.4" {_PEN}/>',
    "stopped": f'{_DIAMOND}<path d="M6 2.8v4M6 7.9v1.3" {_PEN}/>',
    "warning": f'<path d="M6 .5L11.8 11H.2z" fill="var(--warn)"/><path d="M6 4v3.4M6 8.4v1.3" {_PEN}/>',
    "unstarted": f'<circle cx="6" cy="6" r="5" {_LINE} stroke-dasharray="2.2 2"/>',
    "absent": f'<circle cx="6" cy="6" r="3.5" {_LINE}/>',
    "tick": '<path d="M1.5 6.5l3 3 6-7" fill="none" stroke="var(--ok)" stroke-width="1.7"/>',
}
_SAID = {"passed": "passed", "differs": "differs", "stopped": "stopped", "warning": "known mistake", "tick": "holds"}


def mark(name: str, size: int) -> str:
    """A state as a shape; colour only repeats it."""
    label = f'role="img" aria-label="{_SAID[name]}"' if name in _SAID else 'aria-hidden="true"'
    return f'<svg width="{size}" height="{size}" viewBox="0 0 12 12" {label}>{_MARKS[name]}</svg>'


def standing_mark(kind: str, state: str, here: bool = False) -> str:
    """An exercise (square) or a question (disc): open, tried, hinted, done; ringed where the learner is."""
    shape = (
        '<rect x="1" y="1" width="10" height="10" rx="1.5" {0}/>'
        if kind == "exercise"
        else '<circle cx="6" cy="6" r="5" {0}/>'
    )
    full = 'fill="var(--ink1)" stroke="var(--ink1)"'
    drawn = shape.format(full if state in ("done", "hinted") else 'fill="none" stroke="var(--edge)" stroke-width="1.3"')
    if state == "hinted":
        drawn += '<circle cx="6" cy="6" r="1.8" fill="var(--paper)"/>'
    if state == "tried":
        drawn = shape.format('fill="none" stroke="var(--ink1)" stroke-width="1.3"')
        drawn += (
            '<path d="M1.5 6h9v3.5a1.2 1.2 0 0 1-1.2 1.2H2.700a1.200 1.200 0 0 1-1.200-1.200z" fill="var(--ink1)"/>'
        )
    ring = ' style="outline:2px solid var(--accent);outline-offset:2px;border-radius:2px;margin:0 4px"' if here else ""
    return f'<svg width="12" height="12" viewBox="0 0 12 12"{ring}><title>{escape(state)}</title>{drawn}</svg>'


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
        yield _chips(*failure.chips)
    if failure.stop:
        yield _stop(failure.stop, failure.sentences)
    elif failure.sentences and not (verdict.mistake and failure.comparison):
        yield _paragraphs(failure.sentences)
    if not verdict.mistake and (following := _next(verdict)):
        yield f'<div class="iwr-text"><p><b>Next:</b> {prose(following)}</p></div>'
    if failure.comparison:
        yield _panels(verdict, failure.comparison)
        yield _numbers(failure.comparison)
    elif verdict.arguments:
        yield f'<div class="iwr-caption">Input: {escape(_case(verdict))}</div>'
    if verdict.arguments:
        yield _the_case(verdict)


def _next(verdict: Verdict) -> str:
    assert verdict.failure
    if verdict.failure.next or not (compared := verdict.failure.comparison):
        return verdict.failure.next
    place = _place(compared, ringed(compared)) or "the result"
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


def _chips(asked: Sequence[Chip], mine: Sequence[Chip]) -> str:
    rows = "".join(
        f'<span class="iwr-quiet">{name}</span><div>{"".join(map(_chip, chips)) or "<span>no axes</span>"}</div>'
        for name, chips in (("target", asked), ("yours", mine))
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


# -- target, yours, difference ------------------------------------------------------------------------------------


def ringed(compared: Comparison) -> tuple[int, ...]:
    """The place of the largest difference (a value that is no number counts as the largest)."""
    if compared.target.ndim == 0:
        return ()
    with np.errstate(all="ignore"):
        size = np.abs(_difference(compared.target, compared.yours))
    size = np.where(np.isnan(size), np.inf, size) * np.where(compared.differs, 1.0, 0.0)
    size = np.where(np.isnan(size), 0.0, size)
    return tuple(int(at) for at in np.unravel_index(int(np.argmax(size)), size.shape))


def _difference(target: Any, yours: Any) -> Any:
    if np.iscomplexobj(target) or np.iscomplexobj(yours):
        return np.abs(yours.astype(complex) - target.astype(complex))
    return yours.astype(np.float64) - target.astype(np.float64)


def _place(compared: Comparison, at: Sequence[int]) -> str:
    return ", ".join(f"{name} {index}" for name, index in zip(compared.axes, at, strict=True))


def _panels(verdict: Verdict, compared: Comparison) -> str:
    at = ringed(compared)
    target, yours = np.atleast_1d(compared.target), np.atleast_1d(compared.yours)
    if np.iscomplexobj(target) or np.iscomplexobj(yours):
        target, yours = np.abs(target), np.abs(yours)
    where = at or (0,)
    input_ = _title("Smallest failing input") + given.smallest(verdict.case, verdict.arguments, at)
    if target.ndim == 1 and len(target) > LIMIT:
        drawn = curve(target.astype(float), yours.astype(float), where[0], compared.axes[0] if compared.axes else "")
        lead = f'<div class="iwr-title"><span>Target and yours</span></div>{drawn}'
        return _side_by_side([input_, lead], "minmax(0,1fr) minmax(0,3fr)")
    inside, slice_ = _plane(where)
    with np.errstate(all="ignore"):
        difference = _difference(target, yours)
    digits = decimals(compared)
    shown = [("Target", target), ("Yours", yours), ("Yours − target", difference)]
    scales = _scales(target, yours, difference)
    panels = [input_]
    for (name, values), colours in zip(shown, scales, strict=True):
        value = number(_rounded(name, target[where], yours[where], values[where], digits), digits)
        drawn = _one_panel(
            values[slice_].reshape(_two(values[slice_])), colours, inside, compared.axes, name, target.ndim
        )
        panels.append(f'<div class="iwr-title"><span>{name}</span><span>{value}</span></div>{drawn}')
    extra = _place(compared, at) if target.ndim > 2 else ""
    tail = f'<div class="iwr-caption">Shown: the part round {escape(extra)}.</div>' if extra else ""
    return _side_by_side(panels) + tail


def _rounded(name: str, target: Any, yours: Any, value: Any, digits: int) -> Any:
    """A difference is that of the rounded numbers beside it."""
    if name != "Yours − target" or not np.isfinite(value) or np.issubdtype(np.asarray(target).dtype, np.integer):
        return int(value) if name == "Yours − target" and np.isfinite(value) else value
    return round(float(yours), digits) - round(float(target), digits)


def _side_by_side(panels: Sequence[str], columns: str = "") -> str:
    inside = "".join(f'<div class="iwr-panel">{panel}</div>' for panel in panels)
    width = f";--columns:{columns}" if columns else ""
    return f'<div class="iwr-panels" style="--n:{len(panels)}{width}">{inside}</div>'


def _plane(at: Sequence[int]) -> tuple[tuple[int, int], tuple[Any, ...]]:
    """The two last axes round a place: the place in them, and how to cut them out."""
    inside = (at[-2], at[-1]) if len(at) >= 2 else (0, at[-1])
    return inside, (*at[:-2], Ellipsis)


def _two(values: Any) -> tuple[int, int]:
    return (1, values.shape[0]) if values.ndim == 1 else (values.shape[0], values.shape[1])


def _scales(target: Any, yours: Any, difference: Any) -> list[Scale]:
    """Target and yours share one scale; the difference is centred on zero and as wide."""
    both = scale(target, yours)
    only = scale(target)
    if target.any() and both.high > 10 * only.high:  # a wild answer may not wash out the target
        high = rounded_up(10 * only.high)
        both = Scale(both.name, -high if both.low else 0.0, high)
    finite = np.abs(difference[np.isfinite(difference)])
    width = max(both.high - both.low, rounded_up(float(finite.max())) if finite.size and not both.high else 0.0)
    return [both, both, Scale("diverging", -width, width)]


def _one_panel(
    values: Any, colours: Scale, inside: tuple[int, int], axes: Sequence[str], name: str, dimensions: int
) -> str:
    shown = (axes[-2], axes[-1]) if dimensions >= 2 else ("", axes[-1] if axes else "")
    if max(values.shape) <= LIMIT:
        drawn = cells(values, colours, inside, shown, digits_for(values) if values.dtype.kind == "f" else 0)
    else:
        drawn = picture(values, colours, inside, name)
    low, high = (" too low", "too high ") if name == "Yours − target" else ("", "")
    return drawn + bar(colours, float(values[inside]), low, high)


def decimals(compared: Comparison) -> int:
    """How many decimals the numbers need: three, or as many as show the largest difference."""
    if compared.target.dtype.kind not in "fc":
        return 0
    with np.errstate(all="ignore"):
        size = np.abs(_difference(compared.target, compared.yours))
    finite = size[np.isfinite(size) & compared.differs] if size.ndim else size[np.isfinite(size)]
    return 3 if not finite.size else digits_for(finite, least=3)


def rows(compared: Comparison) -> tuple[list[Row], int]:
    """The table of numbers, and how many of them are left out."""
    digits = decimals(compared)
    places: list[tuple[int, ...]] = list(np.ndindex(*compared.target.shape))
    left_out = 0
    if len(places) > _ROWS:
        wrong = [place for place in places if compared.differs[place]]
        left_out = len(places) - min(_ROWS, len(wrong))
        places = wrong[:_ROWS]
    at, found = ringed(compared), list[Row]()
    if at not in places:
        places[-1:] = [at]
    for place in places:
        target, yours = compared.target[place], compared.yours[place]
        agrees = not bool(compared.differs[place])
        word = "agrees" if agrees else "differs"
        name = _place(compared, place) or "value"
        one, other = (number(np.asarray(value).item(), digits) for value in (target, yours))
        found.append((name, one, other, _minus(target, yours, digits), word, place == at))
    return found, left_out


def _minus(target: Any, yours: Any, digits: int) -> str:
    if np.iscomplexobj(target) or not (np.isfinite(target) and np.isfinite(yours)):
        return "–"
    if np.asarray(target).dtype.kind in "iub":
        return number(int(yours) - int(target), 0)
    difference = round(float(yours), digits) - round(float(target), digits)
    return "0" if abs(difference) < 0.5 * 10**-digits else number(difference, digits)


def _numbers(compared: Comparison) -> str:
    table, left_out = rows(compared)
    lines = "".join(
        f"<tr{' class=iwr-on' if chosen else ''}>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>"
        for *line, chosen in table
    )
    names = "".join(
        f"<th>{escape(name)}</th>" for name in (", ".join(compared.axes) or "", "target", "yours", "yours − target", "")
    )
    more = (
        f'<div class="iwr-caption">{left_out} more are not shown; those that differ come first.</div>'
        if left_out
        else ""
    )
    return (
        f'<details><summary>Numbers</summary><div class="iwr-scroll"><table class="iwr-numbers"><thead><tr>{names}</tr>'
        f"</thead><tbody>{lines}</tbody></table></div>{more}</details>"
    )


def _the_case(verdict: Verdict) -> str:
    order: list[tuple[int, ...]] = []
    if verdict.failure and (compared := verdict.failure.comparison) and compared.target.ndim:
        with np.errstate(all="ignore"):
            size = np.nan_to_num(np.abs(_difference(compared.target, compared.yours)), nan=np.inf)
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
    left = [_title(f"{escape(found.title)} {axes}"), drawn, bar(colours, float(values[at]))]
    right = [_title("What it found"), div("iwr-text", f"<p>{prose(found.sentence)}</p>"), cost]
    return _side_by_side(["".join(left), "".join(right)], "minmax(0,2fr) minmax(0,3fr)")


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
    return _title(f'Cost <span style="font-weight:400">{case}</span>') + div("iwr-cost", lines)


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
