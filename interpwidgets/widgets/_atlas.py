"""All heads in one small picture, for pages that can show no widget: an untrusted notebook, a diff, a search index."""

import io

import numpy as np
from numpy.typing import NDArray

MOST_BYTES = 50_000
_PIXELS = 80_000  # of all thumbnails together: half a byte each before compression
_GAP = 2
_PAPER = 15  # the index of the page's own white in the palette
# Light stops of the widget's colour scales, as in frontend/src/core/colour.ts.
_SEQUENTIAL = ("edf4f6", "b2e0ec", "81c6e0", "52aad5", "3b8bc1", "2c6bac", "264d8f", "20326c", "171a4c")
_DIVERGING = ("623606", "a66c2b", "d6b080", "f4f2f0", "7dc2dd", "2981bb", "1c3e81")


def atlas_png(thumbs: NDArray[np.uint8], causal: bool, signed: bool) -> bytes | None:
    """A PNG of at most 50 kB, a row of thumbnails per layer; None where Pillow is missing or there are too many heads.

    ``thumbs``: [layer, head, query, key], the log codes of the page.
    """
    try:
        from PIL import Image
    except ImportError:
        return None
    n_layers, n_heads = thumbs.shape[:2]
    side = min(max(thumbs.shape[2:]), int((_PIXELS / (n_layers * n_heads)) ** 0.5))
    for cells in (side, side // 2):  # a picture of noise hardly shrinks
        if cells < 1:
            return None
        image = Image.fromarray(_atlas(thumbs, cells, causal, signed))
        image.putpalette(_palette(signed))
        file = io.BytesIO()
        image.save(file, "PNG", optimize=True, bits=4)
        if file.tell() <= MOST_BYTES:
            return file.getvalue()
    return None


def _atlas(thumbs: NDArray[np.uint8], cells: int, causal: bool, signed: bool) -> NDArray[np.uint8]:
    """[y, x] of palette indices."""
    n_layers, n_heads, *sides = thumbs.shape
    counts = [max(1, cells * n // max(sides)) for n in sides]
    starts = [np.arange(count) * n // count for count, n in zip(counts, sides, strict=True)]
    strength = np.abs(thumbs.astype(np.int16) - 128) * 256 + thumbs if signed else thumbs.astype(np.int32)
    pooled = np.maximum.reduceat(np.maximum.reduceat(strength, starts[0], axis=2), starts[1], axis=3) % 256
    colours = np.rint(pooled * ((_PAPER - 1) / 255)).astype(np.uint8)
    if causal:
        colours[..., ~np.tri(cells, dtype=bool)] = _PAPER
    zoom = max(1, 24 // cells)
    colours = colours.repeat(zoom, axis=2).repeat(zoom, axis=3)
    framed = np.pad(colours, ((0, 0), (0, 0), (0, _GAP), (0, _GAP)), constant_values=_PAPER)
    height, width = framed.shape[2:]
    return framed.transpose(0, 2, 1, 3).reshape(n_layers * height, n_heads * width)


def _palette(signed: bool) -> list[int]:
    stops = np.array(
        [[int(stop[i : i + 2], 16) for i in (0, 2, 4)] for stop in (_DIVERGING if signed else _SEQUENTIAL)]
    )
    at = np.linspace(0, len(stops) - 1, _PAPER)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, i]) for i in range(3)]
    return [*np.rint(np.stack(channels, -1)).astype(int).ravel().tolist(), 255, 255, 255]
