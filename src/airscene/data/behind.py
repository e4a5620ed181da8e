"""What lies behind the things in a picture, and what the picture shows against it.

Both are known part by part, so that a picture of any size needs no copy of it in floats.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Literal

import numpy as np
from scipy import ndimage

from airscene.data.pixels import FULL_WHITE

Polarity = Literal["bright", "dark", "any"]
Place = tuple[slice, slice]

BEHIND = {"bright": 0.35, "dark": 0.65, "any": 0.5}  # quantile of what lies behind
AROUND = 2.0  # from one of the squares whose quantile is taken to the next, in things
SMOOTH = 0.5  # standard deviation of the blur of these quantiles, in squares
KINDS = {"uint8": (0, 255), "uint16": (1, FULL_WHITE), "float32": (2, 1)}
"""Types of pixels: their number in order, and their full white."""
WHOLE = (slice(None), slice(None))  # the place that is the whole picture


@dataclass(frozen=True)
class Behind:
    """What lies behind in one channel: quantiles of overlapping squares, interpolated.

    Attributes:
        grid: the quantiles, smoothed, a row of squares a row.
        middles: of the squares along y and along x, in pixels.
        size: height and width of the picture.
    """

    grid: np.ndarray
    middles: tuple[np.ndarray, np.ndarray]
    size: tuple[int, int]

    @staticmethod
    def of(
        read: Callable[[Place], np.ndarray], size: tuple[int, int], span: float, quantile: float
    ) -> "Behind":
        """What lies behind a channel.

        Args:
            read: gives the pixels of a place.
            size: height and width.
            span: length of an object in pixels; the squares are two apart and four wide.
            quantile: of the pixels in each square.
        """
        axes = [_squares(pixels, AROUND * span) for pixels in size]
        grid = np.array([[quantile_of(read((y, x)), quantile) for x in axes[1]] for y in axes[0]])
        middles = [np.array([(s.start + s.stop - 1) / 2 for s in squares]) for squares in axes]
        smooth = ndimage.gaussian_filter(grid, SMOOTH, mode="nearest")
        return Behind(smooth, (middles[0], middles[1]), size)

    def __getitem__(self, place: Place) -> np.ndarray:
        """What lies behind the pixels of a place."""
        values = self.grid
        for axis, part in enumerate(place):
            at = np.arange(self.size[axis])[part]
            values = _interpolated(values, self.middles[axis], at, axis)
        return values.astype(np.float32)


class Against:
    """What a picture shows against what lies behind it, at least 0, place by place.

    Args:
        picture: bytes, 16 bits or floats, shape (H, W, C).
        span: length of an object in pixels.
        polarity: what is kept; of several channels, the distance, whatever it is.
    """

    def __init__(self, picture: np.ndarray, span: float, polarity: Polarity):
        self.picture, size = picture, (picture.shape[0], picture.shape[1])
        channels = range(picture.shape[2])
        self.kind = polarity if len(channels) == 1 else "any"
        quantile = BEHIND[self.kind]
        self.behind = [Behind.of(partial(self._read, c), size, span, quantile) for c in channels]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.picture.shape[0], self.picture.shape[1]

    def __getitem__(self, place: Place) -> np.ndarray:
        """What the pixels of a place show, their full white being 1."""
        parts = [self._read(c, place) - behind[place] for c, behind in enumerate(self.behind)]
        if self.kind == "any":
            return np.sqrt(np.mean(np.square(parts), axis=0))
        return np.maximum(parts[0] if self.kind == "bright" else -parts[0], 0)

    def _read(self, channel: int, place: Place) -> np.ndarray:
        return as_floats(self.picture[(*place, channel)])


def as_floats(picture: np.ndarray) -> np.ndarray:
    """A picture as float32; of bytes and 16 bits, the largest value becomes 1."""
    _, white = KINDS.get(picture.dtype.name, KINDS["float32"])
    return np.divide(picture, np.float32(white), dtype=np.float32)


def quantile_of(values: np.ndarray, share: float) -> float:
    """The quantile of some values, as `numpy.quantile` has it, which is slow on few values.

    >>> round(quantile_of(np.array([[4.0, 1.0], [2.0, 3.0]]), 0.9), 6)
    3.7
    """
    at = share * (values.size - 1)
    low, high = math.floor(at), math.ceil(at)
    ranked = np.partition(values, (low, high), axis=None)
    return float(ranked[low] + (at - low) * (ranked[high] - ranked[low]))


def _squares(pixels: int, step: float) -> list[slice]:
    """Overlapping parts of an axis, twice as wide as they are apart, cut off at its ends."""
    edges = np.linspace(0, pixels, max(1, round(pixels / step)) + 1).round().astype(int)
    half = math.ceil(step / 2)
    return [slice(max(0, a - half), min(pixels, b + half)) for a, b in pairwise(edges)]


def _interpolated(grid: np.ndarray, known: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """A grid known at some pixels of an axis, at others; beyond the ends, its slope goes on."""
    if len(known) == 1:
        return grid.repeat(len(at), axis)
    low = np.clip(np.searchsorted(known, at) - 1, 0, len(known) - 2)
    part = (at - known[low]) / (known[low + 1] - known[low])
    part = np.expand_dims(part, 1 - axis)
    return grid.take(low, axis) * (1 - part) + grid.take(low + 1, axis) * part
