"""The typical length of the things in pictures, estimated where nobody gave it."""

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
from scipy import ndimage

from airscene.data.behind import as_floats
from airscene.errors import UserError

LENGTH = 1.25  # of a thing, in its width
FEWEST = 5  # things of a picture, and pictures, that tell of sizes
LARGEST = 2048  # pixels along the sides of the part of a picture that tells of its sizes
MEDIAN = 1.25  # standard error of a median, in that of a mean
FAR = math.log(2.0)  # the most by which the logarithm of a length counts as different
ALIKE = 0.1  # standard deviation of lengths' logarithms up to which pictures are taken as alike
DARKEST = 1e-6  # difference below which pictures show nothing


def estimate_size(pictures: Sequence[np.ndarray]) -> float:
    """The typical length of things that differ from the median of their picture, in pixels.

    A thing's width is twice the largest distance to its border, so that things which touch are told
    apart; what it encloses belongs to it. Its length is taken to be `LENGTH` times as much.

    Raises:
        UserError: nothing stands out.
    """
    widths = [width for picture in pictures for width in _widths(as_floats(picture).mean(-1))]
    if not widths:
        raise UserError(
            "no object stands out in the pictures; give --object-size, the rough length of one in "
            "pixels"
        )
    return LENGTH * float(np.median(widths))


def length_of(picture: np.ndarray) -> tuple[float, float] | None:
    """The logarithm of the length of the things in one picture, and the standard error of it.

    It is that of `estimate_size`, of a part in the middle where the picture is huge.

    Args:
        picture: (H, W, C).

    Returns:
        None where fewer than `FEWEST` things stand out.
    """
    middle = [slice(max(0, (n - LARGEST) // 2), (n + LARGEST + 1) // 2) for n in picture.shape[:2]]
    widths = np.log(_widths(as_floats(picture[tuple(middle)]).mean(-1)))
    if len(widths) < FEWEST:
        return None
    error = MEDIAN * float(widths.std()) / math.sqrt(len(widths))
    return float(np.median(widths)) + math.log(LENGTH), error


def lengths_of(pictures: Sequence[np.ndarray]) -> tuple[float, float]:
    """The usual length of things in pictures, and how its logarithm differs between pictures.

    What is told is the standard deviation of the lengths' logarithms beyond what is due to chance;
    0 where it is small, or pictures are few.

    Args:
        pictures: (H, W, C).

    Returns:
        The length in pixels, and that standard deviation; (1, 0) where it cannot be told.
    """
    known = [found for found in map(length_of, pictures) if found]
    if len(known) < FEWEST:
        return 1.0, 0.0
    lengths, errors = np.array(known).T
    usual = float(np.median(lengths))
    apart = (lengths - usual).clip(-FAR, FAR)  # clusters of things may seem far larger
    differ = math.sqrt(max(0.0, float(np.mean(apart**2) - np.median(errors**2))))
    return math.exp(usual), differ if differ > ALIKE else 0.0


def otsu(values: np.ndarray) -> float:
    """The threshold that splits values into two most uniform classes (Otsu 1979).

    >>> otsu(np.ones(3))
    1.0
    """
    if values.min() == values.max():
        return float(values.max())
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
    things = ndimage.binary_fill_holes(difference > otsu(difference))
    inner = cast(np.ndarray, ndimage.distance_transform_edt(things))
    near = ndimage.maximum_filter(inner, max(3, 2 * round(inner.max() / 2) + 1))
    y, x = np.nonzero((inner == near) & (inner > 1.5))
    edge = np.minimum(np.minimum(y, x), np.minimum(len(plane) - 1 - y, plane.shape[1] - 1 - x))
    widths = inner[y, x]
    return (2 * widths[widths <= edge + 1]).tolist()  # the others are cut by the border
