"""Attention patterns, measured once and coded for the page.

    patterns = Patterns.of(tokens, outputs.attentions)
    patterns.head(5, 1)          # [query, key], the numbers themselves
    patterns.thumbs              # every head, small, one byte a cell
    patterns.tile(5, 1)          # one head for the page: packed, with where the largest values are

One pass goes over the numbers, band by band and head by head, so that each piece is read while it is in the cache: row
sums (which also find NaN), the largest value of every block, the mean over heads and the scores. The arrays are kept as
they came. Patterns that are too many to keep are `Computed`: then the pass is taken in steps, and shows what it has:

    patterns = Patterns(tokens, layers, causal=True)
    for _ in patterns.measuring: ...        # patterns.measured layers are ready
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from interpwidgets.widgets._arrays import InputError, check_width, read_layers
from interpwidgets.widgets._scores import score_places, score_sum

Map = NDArray[np.floating[Any]]

THUMB = 64  # cells of a thumbnail per side, at most
TILE = {True: 512, False: 448}  # cells of the large map per side, at most; causal ones need only half of the square
DECADES = 4  # what the log codes cover: down to 1e-4 of the largest value
FLOAT32_BYTES = 256 * 1024  # a tile that is larger in float32 is sent as float16
FLOAT16_RANGE = (1e-3, 6e4)  # largest values for which float16 keeps the picture
TOLERANCE = {False: 1e-3, True: 2e-2}  # of a row sum; half precision rounds every number of the row
BAND_CELLS = 4_000_000  # cells that are looked at together: 16 MB in float32


class Computed(Protocol):
    """The patterns of a layer that are made when they are looked at (`interpwidgets.models.attention.KeptLayer`)."""

    @property
    def shape(self) -> tuple[int, int, int]: ...

    def rows(self, rows: slice, head: int | None = None) -> NDArray[np.float32]: ...


Layer = NDArray[Any] | Computed


class Mixed:
    """A weighted sum of the patterns of a layer: a difference, a mean. [head, query, key]"""

    def __init__(self, layers: Sequence[Layer], weights: Sequence[float]) -> None:
        self._layers, self._weights = layers, weights
        self.shape: tuple[int, int, int] = tuple(layers[0].shape)

    def rows(self, rows: slice, head: int | None = None) -> NDArray[np.float32]:
        """[head, query, key], as of a `Computed`."""
        total = np.float32(self._weights[0]) * _rows(self._layers[0], rows, head)
        for layer, weight in zip(self._layers[1:], self._weights[1:], strict=True):
            total += np.float32(weight) * _rows(layer, rows, head)
        return np.asarray(total, np.float32)


def _rows(layer: Layer, rows: slice, head: int | None = None) -> NDArray[Any]:
    """[head, query, key]: some rows of all heads, or of one."""
    if isinstance(layer, np.ndarray):
        found: NDArray[Any] = layer[:, rows] if head is None else layer[head : head + 1, rows]
        return found
    return layer.rows(rows, head)


class Patterns:
    """The patterns of all heads on one text, and what one pass over them found so far.

    layers      one array [head, query, key] per layer, or what computes it
    half        whether the numbers came in half precision
    measured    how many layers the pass has seen; until then the rest is as if they were all zero
    n_tokens    how many queries there are, and n_keys: as many, unless keys are of another text
    pooled      [layer, head + 1, t, t]: of each block of cells the value of largest magnitude; the mean comes last
    row_sums    [layer, head, 2]: the smallest and the largest row sum
    scores      name -> [layer, head] (`_scores`)
    causal      whether every value above the diagonal is exactly zero; never where keys are of another text
    signed      whether any value is below zero

    ``tokens`` are None where queries and keys are different texts: then there are no scores.
    """

    def __init__(
        self,
        tokens: Sequence[str] | None,
        layers: Sequence[Layer],
        half: bool = False,
        causal: bool = True,
        signed: bool = False,
    ) -> None:
        self.layers, self.half, self.signed = layers, half, signed
        self.causal = causal and tokens is not None
        self.n_layers = len(layers)
        self.n_heads, self.n_tokens, self.n_keys = (int(n) for n in layers[0].shape)
        self.longest = max(self.n_tokens, self.n_keys)
        self.block = -(-self.longest // THUMB)
        """How many tokens a cell of a thumbnail covers per side."""
        cells = -(-self.n_tokens // self.block), -(-self.n_keys // self.block)
        self._places = {} if tokens is None else score_places(tokens)
        self.measured = 0
        self.pooled = np.zeros((self.n_layers, self.n_heads + 1, *cells), np.float32)
        self.row_sums = np.ones((self.n_layers, self.n_heads, 2))
        self.scores = {name: np.zeros((self.n_layers, self.n_heads), np.float32) for name in self._places}
        self.measuring = self._measure()
        """The pass, to be taken step by step; a step is a few million cells."""

    @classmethod
    def of(cls, tokens: Sequence[str], patterns: Any, key_tokens: Sequence[str] | None = None) -> "Patterns":
        """Read and measure ``patterns`` (shapes: `read_layers`) on ``tokens``; raises `InputError`.

        ``key_tokens``: what the keys are where they are not the same text, as in cross attention.
        """
        layers, half = read_layers(patterns, square=key_tokens is None)
        check_width(tokens, layers, key_tokens)
        return cls(tokens if key_tokens is None else None, layers, half).finish()

    def finish(self) -> "Patterns":
        """Take the pass to its end."""
        for _ in self.measuring:
            pass
        return self

    @property
    def complete(self) -> bool:
        return self.measured == self.n_layers

    @property
    def vmax(self) -> float:
        """The top of the colour scale: 1 for probabilities, else the largest magnitude."""
        largest = float(np.abs(self.pooled[:, :-1]).max()) if self.complete else 1.0
        return largest if largest > 1 + TOLERANCE[self.half] or (self.signed and largest > 0) else 1.0

    def head(self, layer: int, head: int | None) -> Map:
        """The pattern [query, key] of one head, or the mean over the heads of the layer."""
        return self._part(layer, head, slice(0, self.n_tokens))

    def row(self, layer: int, head: int | None, query: int) -> Map:
        """[key]: what one query attends to. Raises IndexError where there is no such row."""
        if min(layer, query, head or 0) < 0 or query >= self.n_tokens or (head or 0) >= self.n_heads:
            raise IndexError
        row: Map = self._part(layer, head, slice(query, query + 1))[0]
        return row

    def _part(self, layer: int, head: int | None, rows: slice) -> Map:
        """Some rows of a head, or of the mean, in float32 (float64 if that is how they came)."""
        if head is not None:
            return _wide(_rows(self.layers[layer], rows, head)[0])
        parts = [_rows(self.layers[layer], band).mean(axis=0, dtype=np.float32) for band in self._bands(rows)]
        found: Map = parts[0] if len(parts) == 1 else np.concatenate(parts)
        return found

    def _bands(self, rows: slice, n_heads: int | None = None, block: int = 1) -> list[slice]:
        """Rows in bands of not too many cells, each a whole number of blocks."""
        height = max(1, BAND_CELLS // ((n_heads or self.n_heads) * self.n_keys * block)) * block
        return [slice(start, min(rows.stop, start + height)) for start in range(rows.start, rows.stop, height)]

    def uneven(self) -> list[tuple[int, int]]:
        """The heads (layer, head) in which a row does not sum to one."""
        off = np.abs(self.row_sums - 1).max(-1) > TOLERANCE[self.half]  # [layer, head]
        return [(int(layer), int(head)) for layer, head in np.argwhere(off)]

    @property
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
        return -(-self.longest // TILE[self.causal])

    @property
    def tile_dtype(self) -> str:
        """``float32`` where a tile is small, else ``float16`` (unless its numbers would leave that range)."""
        n, width = (-(-n // self.tile_block) for n in (self.n_tokens, self.n_keys))
        n_bytes = 4 * (n * (n + 1) // 2 if self.causal else n * width)
        low, high = FLOAT16_RANGE
        return "float32" if n_bytes <= FLOAT32_BYTES or not low <= self.vmax <= high else "float16"

    def tile(self, layer: int, head: int | None) -> dict[str, Any]:
        """One head for the page: its values and, if a cell covers several tokens, where in it the largest one is.

        ``values`` and ``where`` are numpy arrays: [n, columns], or if ``packed`` the lower triangle row by row.
        """
        block = self.tile_block
        values, where = self._largest(layer, head, block, (0, 0, self.longest))
        n = len(values)
        cells = np.tri(n, dtype=bool) if self.causal else np.s_[:, :]
        return {
            "layer": layer,
            "head": head,
            "block": block,
            "n": n,
            "columns": values.shape[1],
            "packed": self.causal,
            "values": values[cells].astype(self.tile_dtype),
            "where": None if where is None else where[cells],
        }

    def window(self, layer: int, head: int | None, zoom: Sequence[int]) -> dict[str, Any]:
        """A square of one head for the page, as a tile: ``zoom`` is its first query, first key and size in tokens.

        Where there are fewer queries or keys than that it is cut off.
        """
        block = -(-zoom[2] // TILE[False])
        values, where = self._largest(layer, head, block, zoom)
        values = values.astype(self.tile_dtype)
        tile = {
            "layer": layer,
            "head": head,
            "block": block,
            "n": len(values),
            "columns": values.shape[1],
            "packed": False,
        }
        return {**tile, "zoom": list(zoom), "values": values, "where": where}

    def _largest(
        self, layer: int, head: int | None, block: int, zoom: Sequence[int]
    ) -> tuple[Map, NDArray[np.uint8] | None]:
        top, left, size = zoom
        bands = self._bands(slice(top, min(self.n_tokens, top + size)), 1, block)
        parts = [_largest(self._part(layer, head, band)[:, left : left + size], block) for band in bands]
        if len(parts) == 1:
            return parts[0]
        places = [where for _, where in parts if where is not None]
        return np.concatenate([values for values, _ in parts]), np.concatenate(places) if places else None

    # -- the pass ---------------------------------------------------------------------------------------------

    def _measure(self) -> Iterator[None]:
        for i in range(self.n_layers):
            totals = {name: np.zeros(self.n_heads) for name in self._places}
            self.row_sums[i] = np.inf, -np.inf
            for rows in self._bands(slice(0, self.n_tokens), None, self.block):
                self._measure_band(i, rows, totals)
                self.measured = i + (rows.stop == self.n_tokens)
                if self.measured > i:
                    for name, total in totals.items():
                        self.scores[name][i] = total / max(1, self._places[name].n_queries)
                yield

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is found and named
    def _measure_band(self, i: int, rows: slice, totals: dict[str, NDArray[np.float64]]) -> None:
        band = _rows(self.layers[i], rows)
        pooled = self.pooled[i, :, rows.start // self.block : -(-rows.stop // self.block)]
        mean = np.zeros(band.shape[1:], np.float32)
        for j in range(self.n_heads):
            pattern = _wide(band[j])
            sums, lowest = pattern.sum(-1), pattern.min()
            pooled[j] = _pool(pattern, self.block, lowest < 0)
            if not (np.isfinite(sums).all() and np.isfinite(pooled[j]).all()):
                _check_finite(pattern, i, j, rows.start)
            low, high = self.row_sums[i, j]
            self.row_sums[i, j] = min(low, sums.min()), max(high, sums.max())
            self.causal = self.causal and _is_causal(pattern, pooled[j], self.block, rows.start)
            self.signed = self.signed or bool(lowest < 0)
            mean += pattern
            for name, place in self._places.items():
                totals[name][j] += score_sum(pattern, place, rows.start)
        pooled[-1] = _pool(mean / self.n_heads, self.block, self.signed)


def _wide(pattern: NDArray[Any]) -> Map:
    """The numbers in float32, or in float64 if that is how they came; contiguous, and a view where possible."""
    kind = np.float64 if pattern.dtype.kind == "f" and pattern.dtype.itemsize >= 8 else np.float32
    return np.ascontiguousarray(pattern, dtype=kind)


def _check_finite(pattern: Map, layer: int, head: int, first: int) -> None:
    with np.errstate(over="ignore"):
        finite = np.isfinite(pattern.astype(np.float32))
    if finite.all():  # only their sum left the range
        return
    query, key = np.unravel_index(int(np.argmin(finite)), pattern.shape)
    value, query = float(pattern[query, key]), query + first
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


def _is_causal(rows: Map, pooled: NDArray[np.float32], block: int, first: int) -> bool:
    """Blocks above the diagonal ones are known from the pooled values; the first diagonals cover the rest."""
    diagonals = (np.diagonal(rows, first + d) for d in range(1, block))
    return not np.triu(pooled, 1 + first // block).any() and not any(diagonal.any() for diagonal in diagonals)


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
