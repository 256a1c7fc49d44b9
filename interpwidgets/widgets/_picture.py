"""Images that people hand in, read into numpy, and as a small PNG.

pixels = read_image(Image.open("cat.jpg"))      # [height, width, 3], uint8; pixel_values of a model stay as they are
png(pixels)                                     # bytes; needs no library
"""

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interpwidgets.widgets._arrays import InputError, shape_text, to_numpy

AXES = "[height, width] or [height, width, channel]"
MOST_PIXELS = 50_000_000


def read_image(image: Any) -> NDArray[Any]:
    """An image as [height, width, 3] of uint8; what has four axes, as ``pixel_values`` of a model, stays float32.

    Takes numbers from 0 to 255 or, if they are real, from 0 to 1; grey, colour, or colour with a channel of opacity,
    which is left out; channels may come first. Raises `InputError`.
    """
    pillow = hasattr(image, "convert") and hasattr(image, "__array_interface__")
    pixels = np.asarray(image.convert("RGB")) if pillow else to_numpy(image, "image", AXES)[0]
    if pixels.size == 0 or pixels.size > 4 * MOST_PIXELS:
        raise InputError(
            "The image is empty." if pixels.size == 0 else "The image is too large.",
            [("expected", f"1 to {MOST_PIXELS:,} pixels"), ("got", shape_text(pixels.shape))],
        )
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise InputError("The image holds numbers that are not finite.", [("expected", "finite numbers")])
    if pixels.ndim == 4:
        if pixels.shape[0] != 1:
            raise InputError(
                f"There are {pixels.shape[0]} images.",
                [("expected", "one: [1, channel, height, width]"), ("got", shape_text(pixels.shape))],
                "Choose one: pixel_values[:1].",
            )
        return pixels.astype(np.float32)
    return _bytes(_colour(pixels))


def _colour(pixels: NDArray[Any]) -> NDArray[Any]:
    """[height, width, 3]"""
    if pixels.ndim == 3 and pixels.shape[-1] not in (1, 3, 4) and pixels.shape[0] in (1, 3):
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 3, 4):
        raise InputError(
            "This is not the shape of an image.",
            [("expected", f"{AXES} with 1, 3 or 4 channels"), ("got", shape_text(pixels.shape))],
        )
    return np.broadcast_to(pixels[..., :3], (*pixels.shape[:2], 3))


def _bytes(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = float(pixels.min()), float(pixels.max())
    real = pixels.dtype.kind == "f" and high <= 1
    if low < 0 or high > 255:
        raise InputError(
            "These are not the numbers of an image.",
            [("expected", "0 to 255, or real numbers from 0 to 1"), ("got", f"{low:g} to {high:g}")],
            "What a processor has normalised is passed as [1, channel, height, width].",
        )
    return np.rint(pixels * 255.0 if real or pixels.dtype.kind == "b" else pixels).astype(np.uint8)


def small(pixels: NDArray[np.uint8], most: int = 224) -> NDArray[np.uint8]:
    """[height, width, 3] with at most ``most`` pixels per side, each the mean of as many as fall together."""
    block = -(-max(pixels.shape[:2]) // most)
    if block == 1:
        return pixels
    starts = [np.arange(0, n, block) for n in pixels.shape[:2]]
    sums = np.add.reduceat(np.add.reduceat(pixels, starts[0], axis=0, dtype=np.uint64), starts[1], axis=1)
    counts = [np.diff(at, append=n) for at, n in zip(starts, pixels.shape[:2], strict=True)]
    found: NDArray[np.uint8] = np.rint(sums / (counts[0][:, None] * counts[1])[..., None]).astype(np.uint8)
    return found


def png(pixels: NDArray[np.uint8]) -> bytes:
    """[height, width, 3] as a PNG (RFC 2083: each row behind the number of its filter, here none)."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # eight bits, colour
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
