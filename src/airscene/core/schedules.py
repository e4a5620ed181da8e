"""Values that change over training: the learning rate, the prior over counts."""

import math
from itertools import pairwise

from airscene.errors import UserError
from airscene.ranges import Range

Points = tuple[tuple[float, float], ...]

PROGRESS = Range(0, 1)
MOST = 1000  # points of a schedule


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
    """Refuses a schedule that is empty, too long or out of order; its numbers have their ranges.

    Raises:
        UserError: the message names `flag`.
    """
    if not points:
        raise UserError(f"{flag} is empty; give at least one pair of progress and value")
    if len(points) > MOST:
        raise UserError(f"{flag} has {len(points):,} pairs; give at most {MOST:,}")
    for (left, _), (right, _) in pairwise(points):
        if not left < right:
            raise UserError(f"{flag} has progress {left} before {right}; it must rise")
