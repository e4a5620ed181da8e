"""Values that change over training: the learning rate, the prior over counts."""

import math
from itertools import pairwise

from airscene.errors import UserError

Points = tuple[tuple[float, float], ...]


def value_at(points: Points, progress: float) -> float:
    """The schedule's value, interpolated geometrically between its points.

    Args:
        points: (progress, value) with progress rising in [0, 1] and values above 0; constant before
            the first point and after the last.
        progress: the part of training that is done, in [0, 1].
    """
    if progress <= points[0][0]:
        return points[0][1]
    for (left, low), (right, high) in pairwise(points):
        if progress <= right:
            part = (progress - left) / (right - left)
            return math.exp((1 - part) * math.log(low) + part * math.log(high))
    return points[-1][1]


def check(flag: str, points: Points) -> None:
    """Refuses a schedule that is empty, out of order or not positive.

    Raises:
        UserError: the message names `flag`.
    """
    if not points:
        raise UserError(f"{flag} is empty; give at least one pair of progress and value")
    places = [place for place, _ in points]
    if (
        any(right <= left for left, right in pairwise(places))
        or not 0 <= places[0] <= places[-1] <= 1
    ):
        raise UserError(f"{flag} has progress {places}; it must rise from 0 to 1")
    if any(not (value > 0 and math.isfinite(value)) for _, value in points):
        raise UserError(f"{flag} has values {[value for _, value in points]}; they must be above 0")
