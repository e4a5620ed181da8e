"""Shapes drawn by code: a shape is a function that tells which points lie inside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Shape = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Takes coordinates x (to the right) and y (downwards); tells of each point if it lies inside."""


def circle(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The disc of radius 1."""
    return x**2 + y**2 <= 1


def square(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The square of side 2."""
    return np.maximum(abs(x), abs(y)) <= 1


def diamond(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The square of diagonal 2, which stands on a corner."""
    return abs(x) + abs(y) <= 1


def heart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The heart (x² + y² - 1)³ = x² y³ with y upwards: 2.28 wide and 2.24 high, of area 3.66."""
    ring = x * x + y * y - 1
    return ring * ring * ring <= x * x * y * y * -y


def draw(
    shape: Shape,
    pixels: int,
    centre: float,
    radii: tuple[float, float],
    angle: float = 0.0,
    samples: int = 8,
) -> np.ndarray:
    """Draws a shape, white on black.

    Args:
        shape: the shape, in units of `radii` around its own centre.
        pixels: along each side of the picture.
        centre: where the centre of the shape lies along both axes, in pixels from the corner.
        radii: how many pixels one unit of the shape is along its own x and y.
        angle: by which the shape is turned, in radians, clockwise.
        samples: points along each axis of a pixel; 1 for pixels that are black or white.

    Returns:
        The share of each pixel's points that lie inside, times 255, uint8 with shape
        (pixels, pixels).

    >>> draw(square, 4, centre=2.0, radii=(1.0, 1.0))
    array([[  0,   0,   0,   0],
           [  0, 255, 255,   0],
           [  0, 255, 255,   0],
           [  0,   0,   0,   0]], dtype=uint8)
    """
    points = (np.arange(pixels * samples) + 0.5) / samples - centre
    right, down = np.meshgrid(points, points)
    x = (right * np.cos(angle) + down * np.sin(angle)) / radii[0]
    y = (down * np.cos(angle) - right * np.sin(angle)) / radii[1]
    covered = shape(x, y).reshape(pixels, samples, pixels, samples).mean((1, 3))
    return np.rint(255 * covered).astype(np.uint8)
