"""Target, yours and their difference, side by side: the cells, and the same numbers as a table.

    panels(verdict, comparison)     # HTML: the failing input, target, yours, yours − target; one cell ringed in all
    rows(comparison)                # [(place, target, yours, difference, "differs", ringed), ...], how many are hidden

Differences are those of the rounded numbers that stand beside them.
"""

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from interpwidgets.course import given
from interpwidgets.course.colour import Scale, rounded_up, scale
from interpwidgets.course.markup import side_by_side, title
from interpwidgets.course.pictures import LIMIT, bar, cells, curve, digits_for, number, picture
from interpwidgets.course.verdict import Comparison, Verdict

Row = tuple[str, str, str, str, str, bool]  # place, target, yours, difference, a word, whether it is ringed

_ROWS = 12  # of the table of numbers


def ringed(compared: Comparison) -> tuple[int, ...]:
    """The place of the largest difference (a value that is no number counts as the largest)."""
    if compared.target.ndim == 0:
        return ()
    with np.errstate(all="ignore"):
        size = np.abs(difference_of(compared.target, compared.yours))
    size = np.where(compared.differs, np.where(np.isnan(size), np.inf, size), 0.0)
    return tuple(int(at) for at in np.unravel_index(int(np.argmax(size)), size.shape))


def difference_of(target: Any, yours: Any) -> Any:
    """Yours minus target; for complex numbers its magnitude."""
    if np.iscomplexobj(target) or np.iscomplexobj(yours):
        return np.abs(yours.astype(complex) - target.astype(complex))
    return yours.astype(np.float64) - target.astype(np.float64)


def place_of(compared: Comparison, at: Sequence[int]) -> str:
    """Where a value stands, by the names of the axes: "layer 1, head 0"."""
    return ", ".join(f"{name} {index}" for name, index in zip(compared.axes, at, strict=True))


def panels(verdict: Verdict, compared: Comparison) -> str:
    """The failing input, the target, yours and the difference in one row; long vectors as curves."""
    at = ringed(compared)
    target, yours = np.atleast_1d(compared.target), np.atleast_1d(compared.yours)
    if np.iscomplexobj(target) or np.iscomplexobj(yours):
        target, yours = np.abs(target), np.abs(yours)
    where = at or (0,)
    input_ = failing_input(verdict, at)
    if target.ndim == 1 and len(target) > LIMIT:
        drawn = curve(target.astype(float), yours.astype(float), where[0], compared.axes[0] if compared.axes else "")
        lead = f'<div class="iwr-title"><span>Target and yours</span></div>{drawn}'
        return side_by_side([input_, lead], "minmax(0,1fr) minmax(0,3fr)")
    inside, slice_ = _plane(where)
    with np.errstate(all="ignore"):
        difference = difference_of(target, yours)
    digits = decimals(compared)
    shown = [("Target", target), ("Yours", yours), ("Yours − target", difference)]
    scales = _scales(target, yours, difference)
    apart = given.crowded(verdict.arguments)
    panels = [] if apart else [input_]
    for (name, values), colours in zip(shown, scales, strict=True):
        value = number(_rounded(name, target[where], yours[where], values[where], digits), digits)
        drawn = _one_panel(
            values[slice_].reshape(_two(values[slice_])), colours, inside, compared.axes, name, target.ndim
        )
        panels.append(f'<div class="iwr-title"><span>{name}</span><span>{value}</span></div>{drawn}')
    extra = place_of(compared, at) if target.ndim > 2 else ""
    tail = f'<div class="iwr-caption">Shown: the part round {escape(extra)}.</div>' if extra else ""
    return (side_by_side([input_]) if apart else "") + side_by_side(panels) + tail


def failing_input(verdict: Verdict, chosen: Sequence[int] = ()) -> str:
    """The case that fails first, with every argument under its name."""
    return title("Smallest failing input") + given.smallest(verdict.case, verdict.arguments, chosen)


def _rounded(name: str, target: Any, yours: Any, value: Any, digits: int) -> Any:
    """A difference is that of the rounded numbers beside it."""
    if name != "Yours − target" or not np.isfinite(value) or np.issubdtype(np.asarray(target).dtype, np.integer):
        return int(value) if name == "Yours − target" and np.isfinite(value) else value
    return round(float(yours), digits) - round(float(target), digits)


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
        size = np.abs(difference_of(compared.target, compared.yours))
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
        name = place_of(compared, place) or "value"
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


def numbers(compared: Comparison) -> str:
    """The table of numbers, closed."""
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
