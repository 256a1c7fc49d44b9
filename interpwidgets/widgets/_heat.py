"""A grid of numbers as one small picture, for pages that can show no widget."""

import io

import numpy as np
from numpy.typing import NDArray

from interpwidgets.widgets.figure import SEQUENTIAL

_SIDE = 480  # px at most, in either direction, for grids that are smaller


def heat_png(values: NDArray[np.float32]) -> bytes | None:
    """A PNG of numbers from 0 to 1, [row, column], in the light colours of the page; None where Pillow is missing."""
    try:
        from PIL import Image
    except ImportError:
        return None
    codes = np.rint(np.nan_to_num(values).clip(0, 1) * 255).astype(np.uint8)
    zoom = max(1, min(24, _SIDE // max(codes.shape)))
    image = Image.fromarray(codes.repeat(zoom, axis=0).repeat(zoom, axis=1)[:2048, :2048])
    stops = np.array([[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in SEQUENTIAL])
    at = np.linspace(0, len(stops) - 1, 256)
    channels = [np.interp(at, np.arange(len(stops)), stops[:, i]) for i in range(3)]
    image.putpalette(np.rint(np.stack(channels, -1)).astype(int).ravel().tolist())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
