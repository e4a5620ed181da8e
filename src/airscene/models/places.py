"""Where to look in a picture of any size: many salient places at once, and none twice.

A sheet is a batch of pictures in the middle of their explanation, with a margin around each of
them. Nothing is known of the margin: what lies there is neither searched nor scored, so that a
window may reach over the border of its picture.

A place is worth a look if it is the most salient of its neighbourhood, if it was not tried before,
and if what is left around it could pay for an object at all. The last is a bound and no estimate:
no object gains more nats than the squared intensities in its window, over 2σ².

Each place depends on its surroundings alone, so a picture can be searched strip by strip, and the
places are the same wherever one strip ends and the next begins.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from airscene.core import layers

BLUR = 1 / 7  # standard deviation of the blur that makes salience, in objects
APART = 0.4  # no two places of one pass are nearer than this to each other, in objects
TRIED = 0.2  # how far around a place nothing is tried again, in objects
LEAST = 8.0  # nats that must be left around a place
FAINTEST = 0.01  # salience below which there is nothing
TIE = 1e-5  # of salience, by which places that are equally salient are told from each other
GOLDEN, SILVER = 0.6180339887, 0.7548776662  # their multiples, less whole numbers, never repeat


@dataclass(frozen=True)
class Sheet:
    """Pictures in the middle of their explanation, each with a margin.

    Attributes:
        image: the pictures, zero in the margin, shape (B, 1, H, W).
        inside: whether a pixel belongs to the picture and not to its margin, shape (B, 1, H, W).
        left: what is left of the pictures, without gradient, zero in the margin, same shape.
        tried: whether no object is to be looked for at a pixel any more, same shape.
        margin: its width in pixels.
    """

    image: Float[Tensor, "batch 1 height width"]
    inside: Bool[Tensor, "batch 1 height width"]
    left: Float[Tensor, "batch 1 height width"]
    tried: Bool[Tensor, "batch 1 height width"]
    margin: int

    @staticmethod
    def of(image: Float[Tensor, "batch 1 height width"], margin: int) -> "Sheet":
        """Pictures of which nothing is explained yet."""
        padded = F.pad(image, [margin] * 4)
        inside = F.pad(torch.ones_like(image, dtype=torch.bool), [margin] * 4)
        return Sheet(padded, inside, padded.detach(), ~inside, margin)

    def less(self, row: Tensor, corner: Tensor, paint: Tensor) -> "Sheet":
        """The sheet when patches (T, 1, P, P) at corners (T, 2) of its rows (T,) are explained."""
        left = pasted(self.left, row, corner, -paint.detach()) * self.inside
        return replace(self, left=left)

    def without(self, row: Tensor, pixel: Tensor, radius: int) -> "Sheet":
        """The sheet when nothing is looked for around some pixels (y, x), shape (T, 2), again.

        The radius is at most the margin.
        """
        around = torch.arange(-radius, radius + 1, device=pixel.device)
        y, x = (pixel[:, axis, None] + around for axis in (0, 1))
        tried = self.tried.clone()
        tried[row[:, None, None], 0, y[:, :, None], x[:, None]] = True
        return replace(self, tried=tried)

    def inner(self, values: Tensor) -> Tensor:
        """Values of all pixels, without those of the margin."""
        return values[:, :, self.margin : -self.margin, self.margin : -self.margin]

    def strips(self, rows: int, around: int) -> Iterator[tuple[int, int, Tensor, Tensor]]:
        """Parts of so many rows of the pictures, each with its surroundings.

        Yields:
            The first row of the part; where it begins in the piece that follows; and that piece of
            what is left and of what was tried.
        """
        left, tried = self.inner(self.left), self.inner(self.tried)
        height = left.shape[2]
        for start in range(0, height, rows):
            piece = slice(max(0, start - around), min(height, start + rows + around))
            yield start, start - piece.start, left[:, :, piece], tried[:, :, piece]


def find_places(
    sheet: Sheet, side: float, sigma: float, strip: int = 1024
) -> tuple[Int[Tensor, "places"], Int[Tensor, "places 2"]]:
    """The places that are worth a look, in the order of rows, then of y and x.

    Args:
        sheet: what is left to explain.
        side: expected side of an object's window, in pixels.
        sigma: standard deviation of a pixel around the canvas.
        strip: rows of pixels that are searched at a time.

    Returns:
        The picture of each place, shape (T,), and its pixel (y, x), shape (T, 2).
    """
    around = 2 * math.ceil(side) + 2
    rows, pixels = [], []
    for start, skipped, left, tried in sheet.strips(strip, around):
        peak = _peaks(left, tried, side, sigma, start - skipped)[:, 0, skipped : skipped + strip]
        row, y, x = peak.nonzero().unbind(1)
        rows.append(row)
        pixels.append(torch.stack([y + start, x], 1) + sheet.margin)
    row, pixel = torch.cat(rows), torch.cat(pixels)
    order = row.argsort(stable=True)
    return row[order], pixel[order]


def salience(left: Float[Tensor, "batch 1 height width"], side: float) -> Tensor:
    """What is left, blurred so that an object of this side has one peak, same shape."""
    std = max(1.0, side * BLUR)
    reach = math.ceil(2.5 * std)
    at = torch.arange(-reach, reach + 1, device=left.device, dtype=left.dtype)
    weight = (-at.square() / (2 * std**2)).exp()
    weight = weight / weight.sum()
    column = F.conv2d(left, weight.view(1, 1, -1, 1), padding=(reach, 0))
    return F.conv2d(column, weight.view(1, 1, 1, -1), padding=(0, reach))


def largest(values: Float[Tensor, "batch 1 height width"], radius: int) -> Tensor:
    """The largest value in a square around each pixel, same shape.

    Args:
        values: shape (B, 1, H, W).
        radius: from the middle of the square to its sides, in pixels.
    """
    padded = F.pad(values, [radius] * 4, value=-math.inf)
    return _joined(padded, 2 * radius + 1, torch.maximum)


def pasted(
    canvas: Float[Tensor, "batch 1 height width"],
    row: Int[Tensor, "patches"],
    corner: Int[Tensor, "patches 2"],
    patch: Float[Tensor, "patches 1 size size"],
) -> Float[Tensor, "batch 1 height width"]:
    """Canvases with patches added at their corners, with gradient for both."""
    index = layers.indices(corner, layers.size_of(patch), canvas.shape[-1])
    index = index + row[:, None] * canvas[0].numel()
    return canvas.flatten().index_add(0, index.flatten(), patch.flatten()).view_as(canvas)


def _peaks(left: Tensor, tried: Tensor, side: float, sigma: float, first: int) -> Tensor:
    """Whether each pixel is a place that is worth a look, shape (B, 1, H, W).

    Args:
        left: what is left to explain, without the margin.
        tried: where nothing is to be looked for.
        side: expected side of an object's window.
        sigma: standard deviation of a pixel.
        first: the number of the first row of pixels in the whole.
    """
    seen = salience(left, side) + TIE * _unequal(left, first)
    seen = seen.masked_fill(tried, -1.0)
    peak = seen == largest(seen, max(2, round(side * APART)))
    return peak & (seen > FAINTEST) & (_energy(left, side) > 2 * sigma**2 * LEAST)


def _energy(left: Tensor, side: float) -> Tensor:
    """The squared intensities that are left in a square around each pixel, same shape."""
    radius = math.ceil(side) // 2
    return _joined(F.pad(left.square(), [radius] * 4), 2 * radius + 1, torch.add)


def _joined(values: Tensor, width: int, join: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What each square of pixels gives when they are joined, with as few joins as needed.

    Pairs are joined, then pairs of pairs, and so on; a width of 13 is one of 8, 4 and 1. On
    processors, this is many times as fast as pooling.

    Args:
        values: shape (B, 1, H, W).
        width: of the squares.
        join: of two values, in any order, such as their sum.

    Returns:
        Shape (B, 1, H - width + 1, W - width + 1).

    >>> _joined(torch.arange(6.0).view(1, 1, 1, 6).expand(1, 1, 3, 6), 3, torch.add).flatten()
    tensor([ 9., 18., 27., 36.])
    """
    for axis in (2, 3):
        length, run, at, found = values.shape[axis] - width + 1, values, 0, None
        for bit in range(width.bit_length()):
            if width >> bit & 1:
                part = run.narrow(axis, at, length)
                found, at = part if found is None else join(found, part), at + (1 << bit)
            if width >> bit > 1:
                room = run.shape[axis] - (1 << bit)
                run = join(run.narrow(axis, 0, room), run.narrow(axis, 1 << bit, room))
        values = cast(Tensor, found)
    return values


def _unequal(like: Tensor, first: int) -> Tensor:
    """Numbers in [0, 1), different at neighbouring pixels, decided by the place in the whole."""
    height, width = like.shape[-2:]
    y = torch.arange(first, first + height, device=like.device, dtype=torch.float64)[:, None]
    x = torch.arange(width, device=like.device, dtype=torch.float64)
    return (y * GOLDEN + x * SILVER).frac().to(like.dtype)
