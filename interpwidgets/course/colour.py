"""The two ramps of the look in Python, for reports that are drawn without JavaScript.

    paint = sequential(0.0, 1.0)
    paint("light", 0.5), paint.ink("light", 0.5)      # ("#3b8bc1", "#000")

The stops and the way between them (equal steps in OKLab) are those of ``frontend/src/core/colour.ts``.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, Theme] = ("light", "dark")

STOPS: dict[str, dict[Theme, str]] = {
    "sequential": {
        "light": "#edf4f6 #b2e0ec #81c6e0 #52aad5 #3b8bc1 #2c6bac #264d8f #20326c #171a4c",
        "dark": "#161920 #222e4b #2d4577 #30639d #3184bd #40a6d2 #63c7e2 #9ce4ed #d2fefd",
    },
    "diverging": {
        "light": "#623606 #a66c2b #d6b080 #f4f2f0 #7dc2dd #2981bb #1c3e81",
        "dark": "#fad99d #c18742 #6f4720 #1c1916 #2c5186 #38a0d2 #a6ecf4",
    },
}

# Björn Ottosson, "A perceptual color space for image processing" (2020)
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@cache
def ramp(name: str, theme: Theme) -> Any:
    """256 colours from one end to the other: uint8 [256, 3]."""
    stops = [[int(stop[at : at + 2], 16) / 255 for at in (1, 3, 5)] for stop in STOPS[name][theme].split()]
    points = np.cbrt(_linear(np.array(stops)) @ _TO_LMS.T) @ _TO_LAB.T
    at = np.linspace(0, len(points) - 1, 256)
    low = np.minimum(at.astype(int), len(points) - 2)
    lab = points[low] + (at - low)[:, None] * (points[low + 1] - points[low])
    light = (lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T
    return np.round(255 * _gamma(np.clip(light, 0, 1))).astype(np.uint8)


def _linear(c: Any) -> Any:
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _gamma(c: Any) -> Any:
    return np.where(c <= 0.0031308, 12.92 * c, 1.055 * np.maximum(c, 1e-12) ** (1 / 2.4) - 0.055)


@dataclass(frozen=True)
class Scale:
    """Values from ``low`` to ``high`` on one of the ramps."""

    name: str
    low: float
    high: float

    def codes(self, values: Any) -> Any:
        """The place of values on the ramp, 0 to 255; NaN and -inf at its beginning."""
        span = self.high - self.low or 1.0
        part = (np.asarray(values, np.float64) - self.low) / span
        return np.round(255 * np.clip(np.nan_to_num(part, nan=0.0, posinf=1.0, neginf=0.0), 0, 1)).astype(np.uint8)

    def css(self, theme: Theme, value: float) -> str:
        """The colour of one value: ``#3b8bc1``."""
        return "#{:02x}{:02x}{:02x}".format(*ramp(self.name, theme)[int(self.codes(value))])

    def ink(self, theme: Theme, value: float) -> str:
        """Black or white, whichever reads better on the colour of this value."""
        colour = _linear(ramp(self.name, theme)[int(self.codes(value))] / 255)
        luminance = float(colour @ np.array([0.2126, 0.7152, 0.0722]))
        return "#000" if (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) else "#fff"

    def pixels(self, theme: Theme, values: Any) -> Any:
        """Values [row, column] as colours, uint8 [row, column, 3]."""
        return ramp(self.name, theme)[self.codes(values)]


def scale(*arrays: Any) -> Scale:
    """A common scale with round ends: from zero if nothing is negative, else centred on zero."""
    finite = [np.abs(array[np.isfinite(array)]) for array in arrays if array.size]
    largest = rounded_up(max((float(array.max()) for array in finite if array.size), default=1.0))
    signed = any(bool((array < 0).any()) for array in arrays)
    return Scale("diverging", -largest, largest) if signed else Scale("sequential", 0.0, largest)


def rounded_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 ...; 1 for 0."""
    if not value or not np.isfinite(value):
        return 1.0
    power = 10.0 ** np.floor(np.log10(value))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9)))
