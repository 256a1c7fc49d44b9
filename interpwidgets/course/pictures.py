"""Arrays as pieces of HTML that need no script: grids of cells, maps, curves, thumbnails of attention patterns.

    cells(values, scale(values), chosen=(1, 1), axes=("layer", "head"))

Every picture carries its colours twice, for a light page and for a dark one; `report.css` shows one of them. Text that
comes from outside is escaped here.
"""

import base64
import math
import struct
import zlib
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from interpwidgets.course.colour import STOPS, THEMES, Scale

LIMIT = 12  # as many rows and columns are drawn as cells with numbers; more become a map or a curve
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NUMBERS = 8  # as many columns leave room for numbers


# -- numbers ------------------------------------------------------------------------------------------------------


def number(value: Any, digits: int) -> str:
    """A number as a person reads it: a real minus sign, integers whole, very large and very small with a power."""
    if isinstance(value, (bool, np.bool_)):
        return "True" if value else "False"
    if isinstance(value, (complex, np.complexfloating)):
        sign = "−" if value.imag < 0 else "+"
        return f"{number(value.real, digits)} {sign} {number(abs(value.imag), digits)}i"
    if isinstance(value, (int, np.integer)):
        return f"{int(value)}".replace("-", "−")
    value = float(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    shown = f"{value:.{digits}f}"
    if abs(value) >= 1e6 or (value and digits >= 8 and float(shown) == 0):
        shown = f"{value:.2e}".replace("e+0", "e").replace("e-0", "e-").replace("e+", "e")
    elif float(shown) == 0:
        shown = shown.lstrip("-")
    return shown.replace("-", "−")


def digits_for(*arrays: Any, least: int = 2) -> int:
    """How many decimals show the largest of these numbers with two figures."""
    largest = max((float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0)) for a in arrays if a.size), default=0.0)
    return least if not largest else min(8, max(least, least - 1 - math.floor(math.log10(largest))))


# -- cells --------------------------------------------------------------------------------------------------------


def cells(
    values: Any, colours: Scale, chosen: tuple[int, int], axes: Sequence[str], digits: int, bare: bool = False
) -> str:
    """A grid [row, column] of tinted cells with numbers; the chosen one ringed. A single row has no row labels.

    ``bare`` leaves the numbers out and makes the cells small.
    """
    rows, columns = values.shape
    labelled = rows > 1 or (len(axes) == 2 and bool(axes[0]))
    height = 20 if bare else 40 if rows <= 4 else 24
    widest = max((len(number(value, digits)) for value in values.ravel()), default=1)
    room = not bare and columns <= _NUMBERS and columns * (7 * widest + 6) <= 270
    lead = "max-content " if labelled else ""
    style = f"grid-template-columns:{lead}repeat({columns},minmax(0,1fr));grid-auto-rows:minmax(16px,auto)"
    parts = [f"<i>{escape(axes[0]) if labelled and len(axes) == 2 else ''}</i>"] if labelled else []
    parts += [
        f"<i{_on(at == chosen[1])}>{at if columns <= _NUMBERS or at == chosen[1] else ''}</i>" for at in range(columns)
    ]
    for row in range(rows):
        if labelled:
            parts.append(f"<i{_on(row == chosen[0])}>{row}</i>")
        for column in range(columns):
            value = values[row, column]
            text = number(value, digits) if room else ""
            parts.append(_cell(value, text, colours, height, (row, column) == chosen))
    label = f'role="img" aria-label="{_said(values, digits)}"'
    return f'<div class="iwr-grid" style="{style}" {label}>{"".join(parts)}</div>'


def tile(values: Any, colours: Scale, labels: Sequence[str], digits: int) -> str:
    """Cells [row, column] no wider than their numbers, for what stands beside something else; ``labels`` of the rows.

    Without labels, the numbers of the columns are left out too.
    """
    rows, columns = values.shape
    widest = max((len(number(value, digits)) for value in values.ravel()), default=1)
    lead = "max-content " if labels else ""
    style = f"grid-template-columns:{lead}repeat({columns},{max(24, 7 * widest + 10)}px)"
    parts = ["<i></i>", *(f"<i>{at}</i>" for at in range(columns))] if labels and columns > 1 else []
    for row in range(rows):
        parts += [f"<i>{escape(labels[row])}</i>"] if labels else []
        parts += [_cell(value, number(value, digits), colours, 20, ringed=False) for value in values[row]]
    label = f'role="img" aria-label="{_said(values, digits)}"'
    return f'<div class="iwr-grid" style="{style}" {label}>{"".join(parts)}</div>'


def _on(chosen: bool) -> str:
    return ' class="iwr-on"' if chosen else ""


def _said(values: Any, digits: int) -> str:
    finite = values[np.isfinite(values)]
    shape = f"{values.shape[0]} by {values.shape[1]} values"
    return f"{shape}, {number(finite.min(), digits)} to {number(finite.max(), digits)}" if finite.size else shape


def _cell(value: Any, text: str, colours: Scale, height: int, ringed: bool) -> str:
    ring = " iwr-ring" if ringed else ""
    if not np.isfinite(value):
        return f'<b class="iwr-c iwr-none{ring}" style="height:{height}px">{text or number(value, 2)}</b>'
    return f'<b class="iwr-c{ring}" style="{paint(colours, float(np.real(value)))};height:{height}px">{text}</b>'


def paint(colours: Scale, value: float) -> str:
    """The colour of a value and of text on it, for both themes, as custom properties."""
    light, dark = (colours.css(theme, value) for theme in THEMES)
    ink, jnk = (colours.ink(theme, value) for theme in THEMES)
    return f"--l:{light};--d:{dark};--i:{ink};--j:{jnk}"


def bar(colours: Scale, value: float, low: str = "", high: str = "") -> str:
    """The scale under a picture: its ramp, three ticks, a pointer at one value."""
    light, dark = (f"linear-gradient(90deg,{','.join(STOPS[colours.name][theme].split())})" for theme in THEMES)
    span = colours.high - colours.low
    at = 100 * min(1.0, max(0.0, (value - colours.low) / span)) if math.isfinite(value) else 0
    middle = (colours.low + colours.high) / 2
    ends = [f"{tick(colours.low)}{low}", tick(middle), f"{high}{tick(colours.high)}"]
    ticks = "".join(f"<span>{end}</span>" for end in ends)
    return (
        f'<div class="iwr-bar" aria-hidden="true"><div class="iwr-tip" style="--at:{at:.1f}%"></div>'
        f'<div class="iwr-c" style="--l:{light};--d:{dark}"></div><div class="iwr-ticks">{ticks}</div></div>'
    )


def tick(value: float) -> str:
    """A tick label: no more digits than it needs."""
    return f"{value:.4g}".replace("-", "−").replace("e+0", "e").replace("e−0", "e−")


# -- maps and curves ----------------------------------------------------------------------------------------------


def picture(values: Any, colours: Scale, chosen: tuple[int, int] | None, alt: str, size: int = 320) -> str:
    """A map [row, column] of one pixel for every value, at most ``size`` high and wide, the chosen one ringed."""
    width = min(size, max(16, round(size * values.shape[1] / values.shape[0])))
    images = "".join(
        f'<img class="iwr-{theme}" alt="{escape(alt)}" src="{png(colours.pixels(theme, values))}">' for theme in THEMES
    )
    ring = ""
    if chosen is not None:
        top, left = ((at + 0.5) / size * 100 for at, size in zip(chosen, values.shape, strict=True))
        high, wide = (100 / size for size in values.shape)
        ring = (
            f'<span class="iwr-at" style="left:{left:.2f}%;top:{top:.2f}%;width:{wide:.2f}%;height:{high:.2f}%"></span>'
        )
    return f'<div class="iwr-map" style="max-width:{width}px">{images}{ring}</div>'


def png(pixels: Any) -> str:
    """Colours [row, column, 3] as the address of a PNG image that holds itself."""
    height, width, _ = pixels.shape
    raw = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(pixels))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return "data:image/png;base64," + base64.b64encode(_SIGNATURE + body).decode()


def curve(target: Any, yours: Any, chosen: int, axis: str) -> str:
    """Two lines over one axis: the target solid, yours dashed; a mark where they differ most."""
    width, height, left, bottom = 640, 180, 48, 20
    finite = np.concatenate([target[np.isfinite(target)], yours[np.isfinite(yours)]]).astype(float)
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    low, high = (min(low, 0.0) if low < 0.5 * high else low), high if high > low else low + 1.0
    x = np.linspace(left, width - 64, len(target))

    def y(value: Any) -> Any:
        return 8 + (height - bottom - 16) * (1 - (value - low) / (high - low))

    parts = []
    for value in (low, (low + high) / 2, high):
        at = round(float(y(value))) + 0.5
        parts.append(f'<path d="M{left} {at}H{width - 64}" stroke="var(--line)"/>')
        parts.append(f'<text x="{left - 6}" y="{at + 4}" text-anchor="end">{tick(value)}</text>')
    parts.append(f'<path d="M{x[chosen]:.1f} 8V{height - bottom - 8}" stroke="var(--accent)" stroke-dasharray="2 2"/>')
    lines = ((target, "var(--ink1)", 2, "", "target"), (yours, "var(--series)", 1.5, "5 3", "yours"))
    for values, colour, line, dash, _ in lines:
        pen = f'fill="none" stroke="{colour}" stroke-width="{line}" stroke-dasharray="{dash}"'
        parts.append(f'<path d="{_path(x, y(values))}" {pen}/>')
    ends = [float(y(values[np.isfinite(values)][-1])) if np.isfinite(values).any() else 90.0 for values, *_ in lines]
    if abs(ends[0] - ends[1]) < 14:
        ends = [ends[0] - 7, ends[0] + 7] if ends[0] <= ends[1] else [ends[0] + 7, ends[0] - 7]
    for (_, colour, _, _, name), at in zip(lines, ends, strict=True):
        parts.append(f'<text x="{width - 58}" y="{at + 4:.1f}" style="fill:{colour};font-weight:600">{name}</text>')
    for at in (0, chosen, len(target) - 1):
        style = ' style="fill:var(--accent);font-weight:600"' if at == chosen else ""
        if at == chosen or abs(x[at] - x[chosen]) > 30:
            parts.append(f'<text x="{x[at]:.1f}" y="{height - 4}" text-anchor="middle"{style}>{at}</text>')
    label = f"target and yours along {escape(axis)}"
    return (
        f'<svg class="iwr-curve" viewBox="0 0 {width} {height}" width="100%" style="max-width:{width}px" role="img" '
        f'aria-label="{label}">{"".join(parts)}</svg>'
    )


def _path(x: Any, y: Any) -> str:
    path, pen = "", "M"
    for at, value in zip(x, y, strict=True):
        if math.isfinite(value):
            path, pen = f"{path}{pen}{at:.1f} {value:.1f}", "L"
        else:
            pen = "M"
    return path
