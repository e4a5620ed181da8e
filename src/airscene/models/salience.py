"""How much each place of a picture attracts the search.

A picture is reduced to *points*, of which an object spans some ten, and salience is a map of
*cells*, which lie two points apart: the ink around each cell, and what a small convolutional
network learns. It is the same whether the whole map is computed, or a part of it: a cell reads the
points that are at most `REACH` away.

On large canvases, that saves most of the work. An object that is painted changes the map near its
patch alone, and the gradient passes through the neighbourhood of the place that was chosen alone.
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from airscene.core import layers

CELL = 2  # points between two cells
FILTERS = 16
INK = 80.0  # what ink counts before anything is learned; large enough to choose one place
INKED = 2  # how many points away ink is seen
SPREAD = 2  # how many cells away the second layer reads the first
REACH = INKED + SPREAD * CELL


class Field(NamedTuple):
    """What is known of pictures from one step to the next, without gradient.

    Attributes:
        points: the reduced pictures, with `REACH` zeros around, shape (B, C, h + 12, w + 12).
        salience: of each cell, shape (B, 1, rows, columns).
    """

    points: Tensor
    salience: Tensor


class Salience(nn.Sequential):
    """The network, and the ink that it adds to.

    Args:
        channels: of the pictures, C.
        canvas: height H and width W of the pictures in pixels.
        reduced: how many points there are along each axis, (h, w).
        opaque: whether objects hide others, so that darkness is ink as light is.
    """

    down: Tensor
    across: Tensor

    def __init__(
        self, channels: int, canvas: tuple[int, int], reduced: tuple[int, int], opaque: bool
    ):
        super().__init__(
            nn.Conv2d(channels, FILTERS, 1 + 2 * INKED, CELL, padding=INKED),
            nn.ELU(),
            nn.Conv2d(FILTERS, FILTERS, 3, padding=SPREAD, dilation=SPREAD),
            nn.ELU(),
            nn.Conv2d(FILTERS, 1, 1),
        )
        # a step on CPUs is up to 1.4 times as fast; torch forgot it in the method's types
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.canvas, self.reduced, self.opaque = canvas, reduced, opaque
        self.cells = -(-reduced[0] // CELL), -(-reduced[1] // CELL)
        for name, pixels, points in zip(("down", "across"), canvas, reduced, strict=True):
            means = F.adaptive_avg_pool1d(torch.eye(pixels), points).T.contiguous()
            self.register_buffer(name, means, persistent=False)

    def of(
        self, visible: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch 1 rows columns"]:
        """The whole map of pictures.

        Args:
            visible: what is left of them that no object explains, shape (B, C, H, W).
        """
        return self._whole(F.adaptive_avg_pool2d(visible, self.reduced))

    @torch.no_grad()
    def field(self, visible: Float[Tensor, "batch channels height width"]) -> Field:
        """What the first step knows; see `of` for the argument."""
        reduced = F.adaptive_avg_pool2d(visible, self.reduced)
        return Field(F.pad(reduced, [REACH] * 4), self._whole(reduced))

    @torch.no_grad()
    def renewed(
        self,
        field: Field,
        visible: Float[Tensor, "batch channels height width"],
        corner: Int[Tensor, "batch 2"],
        patch: tuple[int, int],
    ) -> Field:
        """What is known after pictures changed within a patch; the field itself is changed.

        Args:
            field: what was known before.
            visible: the pictures now, shape (B, C, H, W).
            corner: of the patch (y, x) in pixels, shape (B, 2).
            patch: its height and width in pixels.
        """
        first, means = self._means_under(visible, corner, patch)
        layers.put(field.points, first + REACH, means)
        rows, columns = (
            min(most, (points - 1 + 2 * REACH) // CELL + 1)
            for most, points in zip(self.cells, layers.size_of(means), strict=True)
        )
        cell = inside((first - REACH + CELL - 1) // CELL, (rows, columns), self.cells)
        layers.put(field.salience, cell, self.around(field, cell, (rows, columns)))
        return field

    def around(
        self, field: Field, corner: Int[Tensor, "batch 2"], size: tuple[int, int]
    ) -> Float[Tensor, "batch 1 rows columns"]:
        """A part of the map, with the gradient of the network.

        Args:
            field: what is known.
            corner: the first cell (row, column) of the part, shape (B, 2).
            size: how many rows and columns of cells it has.
        """
        read = CELL * (size[0] - 1) + 1 + 2 * REACH, CELL * (size[1] - 1) + 1 + 2 * REACH
        points = layers.cut(field.points, CELL * corner, read)
        first, second = cast(nn.Conv2d, self[0]), cast(nn.Conv2d, self[2])
        near = F.elu(F.conv2d(points, first.weight, first.bias, CELL))
        near = near * self._exists(corner - SPREAD, layers.size_of(near))
        near = F.elu(F.conv2d(near, second.weight, second.bias, dilation=SPREAD))
        around = SPREAD * CELL
        ink = self._ink(points[..., around:-around, around:-around], padding=0)
        return INK * ink + self[-1](near).to(ink.dtype)

    def _whole(self, reduced: Tensor) -> Tensor:
        ink = self._ink(reduced, INKED)
        return INK * ink + self(reduced).to(ink.dtype)

    def _ink(self, points: Tensor, padding: int) -> Tensor:
        ink = F.avg_pool2d(points, 1 + 2 * INKED, CELL, padding)
        return (ink.abs() if self.opaque else ink).mean(1, keepdim=True)

    def _exists(self, corner: Tensor, size: tuple[int, int]) -> Tensor:
        """Whether cells from a corner on lie on the map, beyond which all is zero, (B, 1, ·, ·)."""
        down, across = (
            (cell >= 0) & (cell < most)
            for axis, most in enumerate(self.cells)
            for cell in [corner[:, axis, None] + torch.arange(size[axis], device=corner.device)]
        )
        return (down[:, :, None] & across[:, None]).unsqueeze(1)

    def _means_under(
        self, visible: Tensor, corner: Tensor, patch: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        """The first point (row, column) that reads a patch, (B, 2), and it and its neighbours."""
        points = _most(patch, self.canvas, self.reduced)
        first = inside(_rescaled(corner, self.canvas, self.reduced), points, self.reduced)
        pixels = _most(points, self.reduced, self.canvas)
        start = inside(_rescaled(first, self.reduced, self.canvas), pixels, self.canvas)
        down, across = (
            means.unfold(0, points[axis], 1).unfold(1, pixels[axis], 1)[
                first[:, axis], start[:, axis]
            ]
            for axis, means in enumerate((self.down, self.across))
        )
        part = layers.cut(visible, start, pixels)
        return first, down.unsqueeze(1) @ part @ across.unsqueeze(1).mT


def _most(size: tuple[int, int], own: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """How many steps of another grid some steps of one grid overlap with, at the most."""
    rows, columns = (
        min(many, -(-length * many // few) + 1)
        for length, few, many in zip(size, own, other, strict=True)
    )
    return rows, columns


def _rescaled(corner: Tensor, own: tuple[int, int], other: tuple[int, int]) -> Tensor:
    """The first step of another grid that steps of one grid overlap with, (B, 2)."""
    return corner * corner.new_tensor(other) // corner.new_tensor(own)


def inside(
    corner: Int[Tensor, "batch 2"], size: tuple[int, int], whole: tuple[int, int]
) -> Int[Tensor, "batch 2"]:
    """Corners (row, column) moved so that what begins there lies within a grid.

    Args:
        corner: shape (B, 2).
        size: rows and columns of what begins there.
        whole: rows and columns of the grid.
    """
    most = corner.new_tensor(whole) - corner.new_tensor(size)
    return corner.clamp(min=0).minimum(most)
