"""Contrast: what a picture of any kind shows against what lies behind, as light things on black.

Pictures differ in what they measure: 8, 12 or 16 bits, dark things on white, uneven light, colour.
What is prepared of them is one channel in [0, 1], made in four steps:

1. shrink the picture, so that a thing spans no more pixels than are needed to describe it;
2. take off what lies behind, a quantile of the picture around each place;
3. keep what is lighter, darker or different, as the pictures have it; of colour, the distance;
4. divide by what is bright in all pictures of the training, and compress: asinh(v / knee).

The last brings faint and bright things closer, tenfold in brightness to fourfold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from airscene.data.pixels import FULL_WHITE
from airscene.errors import UserError
from airscene.ranges import check_ranges, within

Polarity = Literal["bright", "dark", "any"]

SPAN = 12  # pixels that a thing spans at most, once it is prepared
LEAST_SIZE = 4.0  # pixels that it must span
BEHIND = {"bright": 0.35, "dark": 0.65, "any": 0.5}  # quantile of what lies behind
AROUND = 2.0  # from one of the squares whose quantile is taken to the next, in things
BRIGHT = 0.998  # quantile of contrast over all pictures that becomes 1
SMOOTH = 0.5  # standard deviation of the blur of these quantiles, in squares
KNEE = 0.15  # contrast from which it is compressed
ONE_SIDED = 2.0  # times more energy above what lies behind than below, for things that are bright
DARKEST = 1e-6  # contrast below which pictures show nothing
KINDS = {"uint8": (0, 255), "uint16": (1, FULL_WHITE), "float32": (2, 1)}
"""Types of pixels: their number in order, and their full white."""
LOOKED_AT = 40  # pictures that settings are chosen from, spread over all of them


@dataclass(frozen=True)
class Contrast:
    """How pictures are prepared; the pictures of the training settle what is left out."""

    object_size: Annotated[float | None, *within(LEAST_SIZE, 10_000)] = None
    """Rough length of an object, in pixels of the files; left out, it is estimated."""
    polarity: Polarity | None = None
    """Whether objects are brighter or darker than what lies behind, or any; left out, chosen."""
    white: Annotated[tuple[float, float, float] | None, *within(DARKEST, 2)] = None
    """Contrast that becomes 1 in pictures of 8 bits, of 16 bits and of floats, whose full white is
    1; left out, the 99.8th percentile of those pictures."""

    def __post_init__(self) -> None:
        check_ranges(self, "--model.contrast.")

    @property
    def shrink(self) -> float:
        """Pixels of a prepared picture a pixel of a file, at most 1."""
        return min(1.0, SPAN / _known(self.object_size))

    @property
    def span(self) -> float:
        """Length of an object in a prepared picture, in pixels; the most until it is known."""
        return SPAN if self.object_size is None else self.object_size * self.shrink

    def prepare(self, picture: np.ndarray) -> torch.Tensor:
        """A picture as a model takes it.

        Args:
            picture: (H, W, C), as bytes, 16 bits, or floats.

        Returns:
            Float32 in [0, 1], shape (1, h, w), h and w being H and W times `shrink`, rounded.
        """
        assert self.polarity is not None and self.white is not None
        seen = against_background(self.shrunk(picture), self.span, self.polarity)
        value = np.clip(seen / self.white[_kind(picture)], 0, 1)
        value = np.arcsinh(value / KNEE) / math.asinh(1 / KNEE)
        return torch.from_numpy(value.astype(np.float32))[None]

    def show(self, picture: np.ndarray) -> np.ndarray:
        """What a picture shows against what lies behind, at its own size and not compressed.

        Args:
            picture: (H, W, C), as bytes, 16 bits, or floats.

        Returns:
            At least 0, the white of the training being 1, shape (H, W).
        """
        assert self.polarity is not None and self.white is not None
        seen = against_background(as_floats(picture), _known(self.object_size), self.polarity)
        return seen / self.white[_kind(picture)]

    def shrunk(self, picture: np.ndarray) -> np.ndarray:
        """A picture (H, W, C) as floats, its full white being 1, at the size of prepared ones."""
        floats = as_floats(picture)
        if self.shrink == 1:
            return floats
        size = [max(1, round(pixels * self.shrink)) for pixels in floats.shape[:2]]
        planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(floats, -1, 0)))[None]
        small = F.interpolate(planes, size, mode="bilinear", antialias=True)[0]
        return np.moveaxis(small.numpy(), 0, -1)


def expanded(prepared: np.ndarray) -> np.ndarray:
    """The contrast of a prepared picture before it was compressed, same shape.

    >>> expanded(np.array([0.0, 1.0])).round(6).tolist()
    [0.0, 1.0]
    """
    return KNEE * np.sinh(prepared * math.asinh(1 / KNEE))


def settle(contrast: Contrast, pictures: Sequence[np.ndarray]) -> Contrast:
    """The contrast with all that was left out, as pictures have it.

    Args:
        contrast: what was given.
        pictures: (H, W, C), of one training.

    Raises:
        UserError: objects are too small or as large as the pictures, or nothing is to be seen.
    """
    few = pictures[:: max(1, len(pictures) // LOOKED_AT)]
    size = contrast.object_size or estimate_size(few)
    smaller = max(min(picture.shape[:2]) for picture in few)
    if not LEAST_SIZE <= size < smaller:
        raise UserError(
            f"--object-size is {size:.3g} px in pictures whose shorter side has {smaller} px; it "
            f"must be at least {LEAST_SIZE:g} and below that side: give the length of one object"
        )
    known = Contrast(float(f"{size:.3g}"), contrast.polarity, contrast.white)
    small = [known.shrunk(picture) for picture in few]
    polarity = known.polarity or choose_polarity(small, known.span)
    seen = [against_background(picture, known.span, polarity) for picture in small]
    white = known.white or _whites(seen, [_kind(picture) for picture in few])
    return Contrast(known.object_size, polarity, white)


def against_background(picture: np.ndarray, span: float, polarity: Polarity) -> np.ndarray:
    """What a picture shows against what lies behind, at least 0, shape (H, W).

    Args:
        picture: floats, (H, W, C).
        span: length of an object in pixels.
        polarity: what is kept; of several channels, the distance, whatever it is.
    """
    planes = [picture[..., c] for c in range(picture.shape[2])]
    kind = polarity if len(planes) == 1 else "any"
    difference = [plane - background(plane, span, BEHIND[kind]) for plane in planes]
    if kind == "any":
        return np.sqrt(np.mean(np.square(difference), axis=0))
    return np.maximum(difference[0] if kind == "bright" else -difference[0], 0)


def background(plane: np.ndarray, span: float, quantile: float) -> np.ndarray:
    """What lies behind: quantiles of overlapping squares, smoothed and interpolated.

    Args:
        plane: shape (H, W).
        span: length of an object in pixels; the squares are two apart and four wide.
        quantile: of the pixels in each square.
    """
    axes = [_squares(pixels, AROUND * span) for pixels in plane.shape]
    grid = np.array(
        [[np.quantile(plane[row, column], quantile) for column in axes[1]] for row in axes[0]]
    )
    grid = ndimage.gaussian_filter(grid, SMOOTH, mode="nearest")
    for axis, squares in enumerate(axes):
        middle = np.array([(square.start + square.stop - 1) / 2 for square in squares])
        grid = _interpolated(grid, middle, plane.shape[axis], axis)
    return grid.astype(plane.dtype)


def choose_polarity(pictures: Sequence[np.ndarray], span: float) -> Polarity:
    """Whether things are brighter than what lies behind, or darker, or either.

    Args:
        pictures: floats, (H, W, C).
        span: length of an object in pixels.
    """
    above = below = 0.0
    for picture in pictures:
        for c in range(picture.shape[2]):
            plane = picture[..., c]
            difference = ndimage.gaussian_filter(plane - background(plane, span, 0.5), span / 6)
            above += float(np.square(np.maximum(difference, 0)).sum())
            below += float(np.square(np.maximum(-difference, 0)).sum())
    if above > ONE_SIDED * below:
        return "bright"
    return "dark" if below > ONE_SIDED * above else "any"


def estimate_size(pictures: Sequence[np.ndarray]) -> float:
    """The typical length of things that differ from the median of their picture, in pixels.

    A thing's width is twice the largest distance to its border, so that things which touch are told
    apart. Its length is taken to be 1.25 times as much.

    Raises:
        UserError: nothing stands out.
    """
    widths = [width for picture in pictures for width in _widths(as_floats(picture).mean(-1))]
    if not widths:
        raise UserError(
            "no object stands out in the pictures; give --object-size, the rough length of one in "
            "pixels"
        )
    return 1.25 * float(np.median(widths))


def as_floats(picture: np.ndarray) -> np.ndarray:
    """A picture as float32; of bytes and 16 bits, the largest value becomes 1."""
    _, white = KINDS.get(picture.dtype.name, KINDS["float32"])
    return picture.astype(np.float32) / np.float32(white)


def otsu(values: np.ndarray) -> float:
    """The threshold that splits values into two most uniform classes (Otsu 1979)."""
    number, edges = np.histogram(values, 256)
    centre = (edges[:-1] + edges[1:]) / 2
    low, total = np.cumsum(number), np.cumsum(number * centre)
    high = low[-1] - low
    with np.errstate(divide="ignore", invalid="ignore"):
        between = low * high * (total / low - (total[-1] - total) / high) ** 2
    return float(centre[int(np.nanargmax(between[:-1]))])


def _widths(plane: np.ndarray) -> list[float]:
    """Twice the distance to the border at the middle of each thing, of those above a speck."""
    smooth = ndimage.gaussian_filter(plane, 1)
    difference = np.abs(smooth - np.median(smooth))
    if difference.max() < DARKEST:
        return []
    inner = cast(np.ndarray, ndimage.distance_transform_edt(difference > otsu(difference)))
    near = ndimage.maximum_filter(inner, max(3, 2 * round(inner.max() / 2) + 1))
    return [2 * float(value) for value in inner[(inner == near) & (inner > 1.5)]]


def _squares(pixels: int, step: float) -> list[slice]:
    """Overlapping parts of an axis, twice as wide as they are apart, cut off at its ends."""
    edges = np.linspace(0, pixels, max(1, round(pixels / step)) + 1).round().astype(int)
    half = math.ceil(step / 2)
    return [slice(max(0, a - half), min(pixels, b + half)) for a, b in pairwise(edges)]


def _interpolated(grid: np.ndarray, at: np.ndarray, pixels: int, axis: int) -> np.ndarray:
    """A grid known at some pixels of an axis, at all; beyond the ends, its slope goes on."""
    if len(at) == 1:
        return grid.repeat(pixels, axis)
    low = np.clip(np.searchsorted(at, np.arange(pixels)) - 1, 0, len(at) - 2)
    part = (np.arange(pixels) - at[low]) / (at[low + 1] - at[low])
    part = np.expand_dims(part, 1 - axis)
    return grid.take(low, axis) * (1 - part) + grid.take(low + 1, axis) * part


def _whites(contrasts: list[np.ndarray], kinds: list[int]) -> tuple[float, float, float]:
    """What is bright in all pictures of each kind; of a kind that is missing, as in the others.

    Raises:
        UserError: nothing is.
    """
    known = {}
    for kind in {*kinds}:
        some = [c.flatten()[::7] for c, k in zip(contrasts, kinds, strict=True) if k == kind]
        known[kind] = float(f"{np.quantile(np.concatenate(some), BRIGHT):.4g}")
    known = {kind: white for kind, white in known.items() if white > DARKEST}
    if not known:
        raise UserError("the pictures have no contrast, so that nothing can be found in them")
    otherwise = float(np.median([*known.values()]))
    eight, sixteen, floats = (known.get(kind, otherwise) for kind in range(len(KINDS)))
    return eight, sixteen, floats


def _kind(picture: np.ndarray) -> int:
    """Which of `KINDS` a picture's values are of."""
    return KINDS.get(picture.dtype.name, KINDS["float32"])[0]


def _known(value: float | None) -> float:
    """A setting that the pictures have settled."""
    assert value is not None
    return value
