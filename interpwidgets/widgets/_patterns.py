"""Attention patterns, measured once and coded for the page.

    patterns = Patterns.of(tokens, outputs.attentions)
    patterns.head(5, 1)          # [query, key], the numbers themselves
    patterns.thumbs              # every head, small, one byte a cell
    patterns.tile(5, 1)          # one head for the page: packed, with where the largest values are

One pass goes over the numbers, head by head, so that each head is read while it is in the cache: row sums (which also
find NaN), the largest value of every block, the mean over heads and the scores. The arrays are kept as they came.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpwidgets.widgets._arrays import InputError, Layers, check_width, read_layers
from interpwidgets.widgets._scores import head_score, score_places

Map = NDArray[np.floating[Any]]

THUMB = 64  # cells of a thumbnail per side, at most
TILE = {True: 512, False: 448}  # cells of the large map per side, at most; causal ones need only half of the square
DECADES = 4  # what the log codes cover: down to 1e-4 of the largest value
FLOAT32_BYTES = 256 * 1024  # a tile that is larger in float32 is sent as float16
FLOAT16_RANGE = (1e-3, 6e4)  # largest values for which float16 keeps the picture
TOLERANCE = {False: 1e-3, True: 2e-2}  # of a row sum; half precision rounds every number of the row


@dataclass(frozen=True)
class Patterns:
    """The patterns of all heads on one text, and what one pass over them found."""

    layers: Layers
    """One array [head, query, key] per layer."""
    half: bool
    """Whether the numbers came in half precision."""
    pooled: NDArray[np.float32]
    """[layer, head + 1, t, t]: of each block of cells the value of largest magnitude; the last plane is the mean."""
    row_sums: NDArray[np.float64]
    """[layer, head, 2]: the smallest and the largest row sum."""
    scores: dict[str, NDArray[np.float32]]
    """Name -> [layer, head] (`_scores`)."""
    causal: bool
    """Whether every value above the diagonal is exactly zero."""
    signed: bool
    """Whether any value is below zero."""

    @classmethod
    def of(cls, tokens: Sequence[str], patterns: Any) -> "Patterns":
        """Read and measure ``patterns`` (shapes: `read_layers`) on ``tokens``; raises `InputError`."""
        layers, half = read_layers(patterns)
        check_width(tokens, layers)
        return _measure(tokens, layers, half)

    @property
    def n_layers(self) -> int:
        return len(self.layers)

    @property
    def n_heads(self) -> int:
        return int(self.layers[0].shape[0])

    @property
    def n_tokens(self) -> int:
        return int(self.layers[0].shape[-1])

    @property
    def block(self) -> int:
        """How many tokens a cell of a thumbnail covers per side."""
        return -(-self.n_tokens // THUMB)

    @cached_property
    def vmax(self) -> float:
        """The top of the colour scale: 1 for probabilities, else the largest magnitude."""
        largest = float(np.abs(self.pooled[:, :-1]).max())
        return largest if largest > 1 + TOLERANCE[self.half] or (self.signed and largest > 0) else 1.0

    def head(self, layer: int, head: int | None) -> Map:
        """The pattern [query, key] of one head, or the mean over the heads of the layer."""
        if head is None:
            return np.asarray(self.layers[layer].mean(axis=0, dtype=np.float32))
        return _wide(self.layers[layer][head])

    def row(self, layer: int, head: int | None, query: int) -> Map:
        """[key]: what one query attends to. Raises IndexError where there is no such row."""
        if min(layer, query, head or 0) < 0:
            raise IndexError
        if head is None:
            return np.asarray(self.layers[layer][:, query].mean(axis=0, dtype=np.float32))
        return _wide(self.layers[layer][head, query])

    def uneven(self) -> list[tuple[int, int]]:
        """The heads (layer, head) in which a row does not sum to one."""
        off = np.abs(self.row_sums - 1).max(-1) > TOLERANCE[self.half]  # [layer, head]
        return [(int(layer), int(head)) for layer, head in np.argwhere(off)]

    @cached_property
    def thumbs(self) -> NDArray[np.uint8]:
        """[layer, head + 1, t, t]: the pooled values in log codes.

        Unsigned: 0 up to 1e-4 of ``vmax``, else 1 to 255. Signed: 128 for about zero, 1 to 255 around it.
        """
        share = np.abs(self.pooled) / np.float32(self.vmax)
        height = 1 + np.log10(np.maximum(share, 10.0**-DECADES)) / DECADES  # 0 .. 1
        shown = share > 10.0**-DECADES
        if not self.signed:
            return np.where(shown, np.clip(1 + np.rint(254 * height), 1, 255), 0).astype(np.uint8)
        steps = np.where(shown, np.clip(1 + np.rint(126 * height), 1, 127), 0)
        return (128 + np.copysign(steps, self.pooled)).astype(np.uint8)

    # -- one head at a time -----------------------------------------------------------------------------------

    @property
    def tile_block(self) -> int:
        """How many tokens a cell of the large map covers per side."""
        return -(-self.n_tokens // TILE[self.causal])

    @property
    def tile_dtype(self) -> str:
        """``float32`` where a tile is small, else ``float16`` (unless its numbers would leave that range)."""
        n = -(-self.n_tokens // self.tile_block)
        n_bytes = 4 * (n * (n + 1) // 2 if self.causal else n * n)
        low, high = FLOAT16_RANGE
        return "float32" if n_bytes <= FLOAT32_BYTES or not low <= self.vmax <= high else "float16"

    def tile(self, layer: int, head: int | None) -> dict[str, Any]:
        """One head for the page: its values and, if a cell covers several tokens, where in it the largest one is.

        ``values`` and ``where`` are numpy arrays: [n, n], or if ``packed`` the lower triangle row by row.
        """
        block = self.tile_block
        values, where = _largest(self.head(layer, head), block)
        n = len(values)
        cells = np.tri(n, dtype=bool) if self.causal else ...
        return {
            "layer": layer,
            "head": head,
            "block": block,
            "n": n,
            "packed": self.causal,
            "values": values[cells].astype(self.tile_dtype),
            "where": None if where is None else where[cells],
        }


def _wide(pattern: NDArray[Any]) -> Map:
    """The numbers in float32, or in float64 if that is how they came; contiguous, and a view where possible."""
    kind = np.float64 if pattern.dtype.kind == "f" and pattern.dtype.itemsize >= 8 else np.float32
    return np.ascontiguousarray(pattern, dtype=kind)


@np.errstate(over="ignore", invalid="ignore")  # what is not finite is found and named
def _measure(tokens: Sequence[str], layers: Layers, half: bool) -> Patterns:
    n_layers, (n_heads, n_tokens, _) = len(layers), layers[0].shape
    block = -(-n_tokens // THUMB)
    side = -(-n_tokens // block)
    places = score_places(tokens)
    pooled = np.empty((n_layers, n_heads + 1, side, side), np.float32)
    row_sums = np.empty((n_layers, n_heads, 2))
    scores = {name: np.empty((n_layers, n_heads), np.float32) for name in places}
    causal, signed = True, False
    for i, layer in enumerate(layers):
        mean = np.zeros((n_tokens, n_tokens), np.float32)
        for j in range(n_heads):
            pattern = _wide(layer[j])
            sums = pattern.sum(-1)
            lowest = pattern.min()
            pooled[i, j] = _pool(pattern, block, lowest < 0)
            if not (np.isfinite(sums).all() and np.isfinite(pooled[i, j]).all()):
                _check_finite(pattern, i, j)
            row_sums[i, j] = sums.min(), sums.max()
            causal = causal and _is_causal(pattern, pooled[i, j], block)
            signed = signed or bool(lowest < 0)
            mean += pattern
            for name, place in places.items():
                scores[name][i, j] = head_score(pattern, place)
        mean /= n_heads
        pooled[i, n_heads] = _pool(mean, block, signed)
    return Patterns(layers, half, pooled, row_sums, scores, causal, signed)


def _check_finite(pattern: Map, layer: int, head: int) -> None:
    with np.errstate(over="ignore"):
        finite = np.isfinite(pattern.astype(np.float32))
    if finite.all():  # only their sum left the range
        return
    query, key = np.unravel_index(int(np.argmin(finite)), pattern.shape)
    value = float(pattern[query, key])
    text, expected, advice = f"{value:g}".replace("nan", "NaN").replace("-", "−"), "finite numbers", ""
    if np.isnan(value):
        advice = "A row that is masked everywhere gives NaN after the softmax: set it to 0 or leave it out."
    elif value == -np.inf:
        advice = "Pass the patterns after the softmax: before it, masked scores are −inf."
    elif np.isfinite(value):
        expected = "numbers that float32 can hold"
    place = f"layer {layer}, head {head}, query {query}, key {key}"
    raise InputError(
        f"The patterns hold {text}, first at [{layer}, {head}, {query}, {key}].",
        [("expected", expected), ("got", f"{text} at {place}")],
        advice,
    )


def _pool(pattern: Map, block: int, signed: bool) -> Map:
    """[t, t]: of each block of cells the largest value, or if signed the one of largest magnitude."""
    high = _extreme(pattern, block, np.maximum)
    if not signed:
        return high
    low = _extreme(pattern, block, np.minimum)
    return np.where(-low > high, low, high)


def _extreme(pattern: Map, block: int, pick: np.ufunc) -> Map:
    """Whole rows are compared first: that runs along the memory."""
    for _axis in range(2):
        best = pattern[::block].copy()
        for i in range(1, block):
            part = pattern[i::block]  # the last block may be short
            pick(best[: len(part)], part, out=best[: len(part)])
        pattern = best.T
    return pattern


def _is_causal(pattern: Map, pooled: NDArray[np.float32], block: int) -> bool:
    """Blocks above the diagonal ones are known from the pooled values; the first diagonals cover the rest."""
    return not np.triu(pooled, 1).any() and not any(np.diagonal(pattern, d).any() for d in range(1, block))


def _largest(pattern: Map, block: int) -> tuple[Map, NDArray[np.uint8] | None]:
    """Of each block the value of largest magnitude and its row-major index in the block (None where that is not needed
    or does not fit a byte)."""
    if block == 1:
        return pattern, None
    best = pattern[::block, ::block].copy()
    where = np.zeros(best.shape, np.uint8)
    for i in range(block):
        for j in range(block):
            part = pattern[i::block, j::block]  # the last blocks may be short
            inside = (slice(part.shape[0]), slice(part.shape[1]))
            larger = np.abs(part) > np.abs(best[inside])
            best[inside][larger] = part[larger]
            where[inside][larger] = (i * block + j) % 256
    return best, where if block <= 16 else None
