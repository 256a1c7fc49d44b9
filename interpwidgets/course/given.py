"""What a function was given, as pictures: attention patterns small, tokens as chips, other arrays as maps or in words.

smallest("A B A B", {"pattern": pattern, "period": 4}, chosen=(1, 1))      # the first panel of a report
large({"pattern": pattern, "period": 4}, order=[(1, 1), (0, 0)])  # what "The case" opens
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import torch

from interpwidgets.course.colour import scale
from interpwidgets.course.kinds import kind
from interpwidgets.course.pictures import LIMIT, bar, cells, digits_for, number, picture, tile

_HEADS = 36  # as many thumbnails fit
_TOKENS = 64  # as many chips
_SMALL = 8  # as many rows and columns of numbers
_MAP = 4096  # as many values of one argument are a map, a pixel for each


def array(value: Any) -> Any:
    """A tensor, array or list of numbers as numpy, or None if it is none."""
    if isinstance(value, torch.Tensor):
        if value.is_meta or value.layout != torch.strided or value.is_complex():
            return None
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return value
    return None


def words(name: str, value: Any) -> str:
    """An argument in a few words: ``pattern float32 [2, 4, 8, 8]``, ``period 4``."""
    if isinstance(value, torch.Tensor):
        return f"{name} {str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, np.ndarray):
        return f"{name} {value.dtype} {list(value.shape)}"
    if isinstance(value, (bool, int, float)) or value is None:
        return f"{name} {value}"
    if isinstance(value, str):
        return f"{name} {value if len(value) <= 60 else value[:59] + '…'!r}"
    if isinstance(value, (list, tuple)) and len(value) <= 12 and all(isinstance(x, (int, float, str)) for x in value):
        return f"{name} {list(value)}"
    if isinstance(value, (list, tuple, dict)):
        return f"{name}, {kind(value)} of {len(value)}"
    return f"{name}, {kind(value)}"


def patterns(value: Any) -> Any:
    """Attention patterns [row of heads, head, query, key], or None if the value does not look like patterns.

    [head, query, key] is one row; [layer, batch, head, query, key] shows the first of the batch.
    """
    found = array(value)
    if found is None or found.dtype.kind != "f" or found.ndim < 3 or found.shape[-1] != found.shape[-2]:
        return None
    if found.shape[-1] < 2 or not found.size or found.min() < 0 or found.max() > 1.001:
        return None
    if found.ndim == 5:
        found = found[:, 0]
    if found.ndim == 3:
        found = found[None]
    sums = found.sum(-1)
    fits = found.ndim == 4 and found.shape[0] * found.shape[1] <= _HEADS and found.shape[-1] <= 64
    return found if fits and bool((sums < 1.01).all()) else None


def smallest(case: str, arguments: Mapping[str, Any], chosen: Sequence[int] = ()) -> str:
    """The name of the case, then every argument under its own name: drawn if it is small, else in words."""
    told = "".join(_argument(name, value, chosen) for name, value in arguments.items())
    lead = f'<div class="iwr-caption">{escape(case)}</div>' if case else ""
    return f'{lead}<div class="iwr-given">{told}</div>'


def crowded(arguments: Mapping[str, Any]) -> bool:
    """Whether so many arguments are drawn that they need a row of their own."""
    return sum(bool(_small(name, value, ())) for name, value in arguments.items()) > 2


def _argument(name: str, value: Any, chosen: Sequence[int]) -> str:
    what = words(name, value).removeprefix(name)
    return f'<div><div class="iwr-small"><b>{escape(name)}</b>{escape(what)}</div>{_small(name, value, chosen)}</div>'


def _small(name: str, value: Any, chosen: Sequence[int]) -> str:
    heads = patterns(value)
    if heads is not None:
        return _thumbnails(heads, chosen)
    found = array(value)
    if found is None or not found.size:
        return ""
    if found.dtype.kind in "iu" and found.ndim <= 2:
        return "".join(map(_tokens, np.atleast_2d(found)[:4]))
    flat = found.astype(np.float64).reshape(-1, found.shape[-1] if found.ndim else 1)
    if max(flat.shape) <= _SMALL:
        return _numbers(flat, found.shape[:-1])
    drawn = found.ndim <= 2 and found.size <= _MAP
    return picture(flat, scale(flat), None, f"the values of {name}", 160) if drawn else ""


def _numbers(flat: Any, lead: Sequence[int]) -> str:
    """Rows of numbers, each labelled by its place on the axes before the last that are longer than one."""
    whole = bool((flat == np.round(flat)).all())
    places = np.ndindex(*(length for length in lead if length > 1))
    labels = [", ".join(map(str, place)) for place in places] if len(flat) > 1 else []
    return tile(flat, scale(flat), labels, 0 if whole else digits_for(flat))


def _thumbnails(heads: Any, chosen: Sequence[int]) -> str:
    """A grid [row, head] of patterns, without names of axes where there is one row."""
    rows, columns = heads.shape[:2]
    colours = scale(np.ones(1))
    at = tuple(chosen) if len(chosen) == 2 and rows > 1 else (0, chosen[-1] if len(chosen) in (1, 2) else -1)
    lead = "max-content " if rows > 1 else ""
    parts = ["<i></i>"] if rows > 1 else []
    parts += [f"<i{' class=iwr-on' if n == at[1] else ''}>{n}</i>" for n in range(columns)]
    for row in range(rows):
        if rows > 1:
            parts.append(f"<i{' class=iwr-on' if row == at[0] else ''}>{row}</i>")
        for column in range(columns):
            ring = ' class="iwr-ring"' if (row, column) == at else ""
            drawn = picture(heads[row, column], colours, None, f"pattern {row}.{column}")
            parts.append(f"<span{ring}>{drawn}</span>")
    style = f"grid-template-columns:{lead}repeat({columns},minmax(16px,64px));gap:4px"
    return f'<div class="iwr-grid" style="{style}">{"".join(parts)}</div>'


def _tokens(row: Any) -> str:
    chips = "".join(f'<span class="iwr-chip">{number(token, 0)}</span>' for token in row[:_TOKENS])
    more = f" and {len(row) - _TOKENS} more" if len(row) > _TOKENS else ""
    return f'<div class="iwr-tokens">{chips}{more}</div>'


def large(arguments: Mapping[str, Any], order: Sequence[Sequence[int]]) -> str:
    """The arguments large: of patterns the two heads in ``order``, small arrays with their numbers."""
    parts = []
    for name, value in arguments.items():
        heads = patterns(value)
        found = array(value)
        parts.append(f'<div class="iwr-title">{escape(words(name, value))}</div>')
        if heads is not None:
            parts.append(_two_heads(heads, order))
        elif found is not None and found.size and found.ndim:
            parts.append(_large_array(name, found))
    return "".join(parts)


def _two_heads(heads: Any, order: Sequence[Sequence[int]]) -> str:
    names = [tuple(at) if len(at) == 2 else (0, at[-1]) for at in order if at] or [(0, 0)]
    inside = [at for at in dict.fromkeys(names) if at[0] < heads.shape[0] and at[1] < heads.shape[1]][:2]
    panels = []
    for row, head in inside:
        values = heads[row, head]
        title = f"layer {row}, head {head}" if heads.shape[0] > 1 else f"head {head}"
        if values.shape[0] <= LIMIT:
            drawn = div_max(
                22 * values.shape[0] + 40, cells(values, scale(np.ones(1)), (-1, -1), ("query", ""), 2, bare=True)
            )
        else:
            drawn = picture(values, scale(np.ones(1)), None, f"pattern {title}")
        caption = f'<div class="iwr-caption"><b>{title}</b> rows are queries, columns are keys</div>'
        panels.append(f'<div class="iwr-panel">{drawn}{caption}</div>')
    return f'<div class="iwr-panels" style="--n:2">{"".join(panels)}</div>'


def div_max(width: int, inside: str) -> str:
    """Something no wider than this many pixels."""
    return f'<div style="max-width:{width}px">{inside}</div>'


def _large_array(name: str, values: Any) -> str:
    if values.dtype.kind in "iu" and values.ndim <= 2:
        return "".join(map(_tokens, np.atleast_2d(values)[:8]))
    flat = values.astype(np.float64).reshape(-1, values.shape[-1])
    colours = scale(flat)
    if flat.shape[0] <= LIMIT and flat.shape[1] <= LIMIT:
        return div_max(64 * flat.shape[1] + 40, cells(flat, colours, (-1, -1), ("", ""), digits_for(flat)))
    drawn = picture(flat[:256, :256], colours, None, f"the values of {name}")
    return f'{drawn}<div style="max-width:320px">{bar(colours, float("nan"))}</div>'
