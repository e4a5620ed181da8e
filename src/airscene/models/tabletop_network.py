"""The network that infers what lies on a table, and from where it is seen.

A first look at the whole picture gives the camera and a map of the places that an object may be at.
A second one at a crop around a place gives the kind of the object there, its exact position and its
yaw as seen from the camera.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from airscene.core.networks import MLP, calm, spread
from airscene.core.spatial import crop
from airscene.models.arrangement import SWAY
from airscene.models.pose import TURN, PosePosterior
from airscene.models.pose_network import FINE, LEAST, NARROWEST, PARTS, START, WIDEST
from airscene.painters.perspective import ground, project
from airscene.painters.world import World

STRIDE = 4  # pixels of a cell of the map along a side
WIDTHS = 24, 48  # channels of the first look
SQUEEZED = 12  # channels that the camera is read from
GLIMPSE = 20  # pixels of a crop along a side
CROP, MIDDLE = 1.4, 0.2  # of a crop, in the world's unit: its side, its height above the table
MEAN, GAIN = 0.3, 3.0  # of what the network reads of pixels
LEAST_SWAY = 0.003  # standard deviation of azimuth and elevation in radians, at least


@dataclass(frozen=True)
class Look:
    """What a first look at B pictures gave, for C cells.

    Attributes:
        news: the pictures as the second look reads them, shape (B, 3, H, W).
        heat: score of each cell to hold an object, in nats, shape (B, C).
        stop: score of stopping at each step, in nats, shape (B, N).
        rough: column and row in pixels where an object of each cell would be, shape (B, C, 2).
        loc: mean of the camera's azimuth and elevation, shape (B, 2).
        std: standard deviation of them, shape (B, 2).
    """

    news: Float[Tensor, "batch 3 height width"]
    heat: Float[Tensor, "batch cells"]
    stop: Float[Tensor, "batch steps"]
    rough: Float[Tensor, "batch cells 2"]
    loc: Float[Tensor, "batch 2"]
    std: Float[Tensor, "batch 2"]


class TabletopNetwork(nn.Module):
    """Both looks.

    Args:
        world: kinds, usual camera and size of the pictures.
        hidden: units of each hidden layer.
    """

    def __init__(self, world: World, hidden: int):
        super().__init__()
        self.world, self.kinds = world, len(world.kinds)
        self.rows, self.columns = (-(-side // STRIDE) for side in world.size)
        first, second = WIDTHS
        self.edges = nn.Sequential(
            nn.Conv2d(3, first, 5, 2, 2), nn.ELU(), nn.Conv2d(first, second, 3, 2, 1), nn.ELU()
        )
        self.parts = nn.ModuleList(nn.Conv2d(second + 2, second, 3, 1, 1) for _ in range(3))
        self.map = nn.Conv2d(second, 3, 1)
        self.squeeze = nn.Conv2d(second, SQUEEZED, 1)
        cells = self.rows * self.columns
        self.view = calm(MLP((SQUEEZED * cells, hidden, hidden, 4)), 0.5)
        self.stop = calm(MLP((SQUEEZED * cells, hidden, hidden, world.objects)))
        self.glimpse = nn.Sequential(
            nn.Conv2d(3, 32, 3, 1, 1), nn.ELU(), nn.Conv2d(32, 32, 3, 2, 1), nn.ELU(), nn.Flatten()
        )
        outputs = self.kinds * (5 + 3 * PARTS)
        self.detail = calm(MLP((32 * (GLIMPSE // 2) ** 2 + 2, hidden, hidden, outputs)))

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> Look:
        """The first look at images in [0, 1], shape (B, 3, H, W)."""
        news = GAIN * (image - MEAN)
        features = self.features(news)
        heat, *moves = self.map(features).flatten(2).unbind(1)
        whole = self.whole(features)
        loc, std = self.camera(whole)
        return Look(
            news=news,
            heat=heat - math.log(heat.shape[1]),
            stop=self.stop(whole),
            rough=self.middles(image) + STRIDE * torch.stack(moves, -1),
            loc=loc,
            std=std,
        )

    def features(self, news: Float[Tensor, "batch 3 height width"]) -> Tensor:
        """What is seen in each cell, shape (B, F, rows, columns)."""
        features = self.edges(_by_pixel(news))
        places = self.middles(news) / (STRIDE * max(self.rows, self.columns)) - 0.5  # (C, 2)
        where = places.mT.unflatten(1, (self.rows, self.columns)).expand(len(news), -1, -1, -1)
        for part in self.parts:
            features = features + F.elu(part(_by_pixel(torch.cat([features, where], 1))))
        return features

    def whole(self, features: Tensor) -> Tensor:
        """What is read of the whole picture, shape (B, F), from features of its cells."""
        return F.elu(self.squeeze(features)).flatten(1)

    def camera(self, whole: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of azimuth and elevation, each of shape (B, 2)."""
        raw, width = self.view(whole).chunk(2, -1)
        usual, sway = raw.new_tensor(self.world.camera.numbers[:2]), raw.new_tensor(SWAY)
        return usual + sway * raw, sway * spread(width) + LEAST_SWAY

    def closer(
        self,
        look: Look,
        row: Int[Tensor, "places"],
        cell: Int[Tensor, "places"],
        camera: Float[Tensor, "places 3"],
    ) -> PosePosterior:
        """The second look: the posterior of an object, if there is one, in each of R places.

        Its u is the place in the picture, in cells from the middle of its own; its yaw is that from
        the camera's azimuth.

        Args:
            look: the first look.
            row: the picture of each place, shape (R,).
            cell: its cell, shape (R,).
            camera: that of the picture, shape (R, 3).
        """
        middle = self.middles(look.news)[cell]
        return self.around(look.news[row], look.rough[row, cell], middle, camera)

    def around(self, news: Tensor, rough: Tensor, middle: Tensor, camera: Tensor) -> PosePosterior:
        """The posterior of an object seen around a place, whose u counts from another place.

        Args:
            news: pictures as in `Look`, shape (R, 3, H, W).
            rough: column and row in pixels around which to look, shape (R, 2).
            middle: where u is zero, in pixels, shape (R, 2).
            camera: shape (R, 3).
        """
        seen = crop(news, self.window_of(rough.detach(), camera), GLIMPSE)
        place = rough.detach() / self.world.size[0] - 0.5
        fine = self.detail(torch.cat([self.glimpse(_by_pixel(seen)), place], -1))
        fine = fine.unflatten(-1, (self.kinds, 5 + 3 * PARTS))  # (R, K, 5 + 3 C)
        score, move, narrow, weights, turns, spreads = fine.split([1, 2, 2, *[PARTS] * 3], -1)
        around = torch.arange(PARTS, device=fine.device) * (TURN / PARTS)
        return PosePosterior(
            kinds=score[..., 0].log_softmax(-1),
            loc=((rough - middle) / STRIDE)[:, None] + FINE * move,
            std=START / math.log(2) * spread(narrow) + LEAST,
            weights=weights.log_softmax(-1),
            turns=around + turns,
            spreads=NARROWEST + (WIDEST - NARROWEST) * spreads.sigmoid(),
        )

    def window_of(self, pixel: Tensor, camera: Tensor) -> Tensor:
        """The window (cx, cy, side) in pixels around what stands where a pixel shows the table."""
        foot = ground(pixel, camera, self.world)
        centre, scale = project(F.pad(foot, (0, 1), value=MIDDLE), camera, self.world)
        return torch.cat([centre, CROP * scale[:, None]], -1)

    def middles(self, like: Tensor) -> Float[Tensor, "cells 2"]:
        """Column and row in pixels of the middle of each cell, shape (C, 2)."""
        x, y = (torch.arange(n, device=like.device) + 0.5 for n in (self.columns, self.rows))
        return STRIDE * torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)

    def cell_of(self, pixel: Float[Tensor, "*batch 2"]) -> Int[Tensor, "*batch"]:
        """The cell in which a column and a row lie, or the nearest one."""
        column, row = (pixel / STRIDE).floor().long().unbind(-1)
        return row.clamp(0, self.rows - 1) * self.columns + column.clamp(0, self.columns - 1)

    def near(
        self,
        position: Float[Tensor, "batch objects 2"],
        camera: Float[Tensor, "batch 3"],
        distance: float,
    ) -> Bool[Tensor, "batch objects cells"]:
        """Which cells have their middle within a distance of positions on the table."""
        middles = self.middles(position).expand(len(camera), -1, -1)
        cells = ground(middles, camera[:, None].expand(-1, middles.shape[1], -1), self.world)
        return torch.cdist(position, cells) < distance


def _by_pixel(features: Tensor) -> Tensor:
    """The same (B, F, H, W), with a pixel's channels side by side: CPUs convolve these faster."""
    return features.contiguous(memory_format=torch.channels_last)
