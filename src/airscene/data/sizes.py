"""The typical length of the things in pictures, estimated where nobody gave it."""

from collections.abc import Sequence
from typing import cast

import numpy as np
from scipy import ndimage

from airscene.data.behind import as_floats
from airscene.errors import UserError

DARKEST = 1e-6  # difference below which pictures show nothing


def estimate_size(pictures: Sequence[np.ndarray]) -> float:
    """The typical length of things that differ from the median of their picture, in pixels.

    A thing's width is twice the largest distance to its border, so that things which touch are told
    apart; what it encloses belongs to it. Its length is taken to be 1.25 times as much.

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
    return [2 * float(value) for value in inner[(inner == near) & (inner > 1.5)]]
