"""The network that infers one object of a 3D scene from a picture.

It reads what the picture has and the empty table has not. A first look at the whole picture gives
the kind and a rough position. A second one at a crop around that position gives the exact position
and the yaw; it is told the rough position, because an object beside the middle is seen from another
side.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from airscene.core.networks import MLP, calm, spread
from airscene.core.spatial import crop
from airscene.models.pose import REACH, TURN, PosePosterior
from airscene.painters.perspective import project
from airscene.painters.world import World

MAPS = 8  # of what is somewhere in a picture
WIDTHS = 24, 32  # channels of the first look
GLIMPSE = 16  # pixels of a crop along a side
CROP = 1.2  # side of a crop in the world's unit, which holds an object with some room
GAIN = 3.0  # of the difference between a picture and the empty table
PARTS = 8  # components of the yaw's mixture
FINE = 0.2  # how far the second look moves a position at most, in u at the middle
STEEPEST = 10.0  # a length at the border is so many times as long in u as at the middle, at most
NARROWEST, WIDEST = 0.03, 0.4  # spreads of a component of the yaw, in radians
START, LEAST = 0.2, 0.004  # standard deviation of u at the start, and at least


class PoseNetwork(nn.Module):
    """q(kind, u, yaw | x).

    Args:
        world: kinds, camera and size of the pictures.
        hidden: units of each hidden layer.
    """

    def __init__(self, world: World, hidden: int):
        super().__init__()
        self.world, self.kinds = world, len(world.kinds)
        first, second = WIDTHS
        # Without biases, all maps are zero where a picture shows the empty table.
        self.features = nn.Sequential(
            nn.Conv2d(3, first, 5, 2, 2, bias=False),
            nn.ELU(),
            nn.Conv2d(first, second, 3, 1, 1, bias=False),
            nn.ELU(),
        )
        self.maps = nn.Conv2d(second, MAPS, 1, bias=False)
        self.whole = calm(MLP((MAPS * (2 + second), hidden, hidden, self.kinds + 4)))
        self.glimpse = nn.Sequential(
            nn.Conv2d(3, second, 3, 1, 1),
            nn.ELU(),
            nn.Conv2d(second, second, 3, 2, 1),
            nn.ELU(),
            nn.Flatten(),
        )
        outputs = self.kinds * (4 + 3 * PARTS)
        self.detail = calm(MLP((second * (GLIMPSE // 2) ** 2 + 2, hidden, outputs)))

    def forward(self, news: Float[Tensor, "batch 3 height width"]) -> PosePosterior:
        """The posterior of each image.

        Args:
            news: images in [0, 1] minus that of the empty table, shape (B, 3, H, W).
        """
        news = GAIN * news
        kinds, rough, width = self.whole(self._look(news)).split([self.kinds, 2, 2], -1)
        place = rough.detach().tanh()
        seen = self.glimpse(crop(news, window_of(REACH * place, self.world), GLIMPSE))
        fine = self.detail(torch.cat([seen, place], -1))
        fine = fine.unflatten(-1, (self.kinds, 4 + 3 * PARTS))  # (B, K, 4 + 3 C)
        move, narrow, weights, turns, spreads = fine.split([2, 2, PARTS, PARTS, PARTS], -1)
        around = torch.arange(PARTS, device=fine.device) * (TURN / PARTS)
        # A look that could move a position far would let crops lie beside their objects.
        most = FINE / (1 - place.square()).clamp(min=1 / STEEPEST)[:, None]
        return PosePosterior(
            kinds=kinds.log_softmax(-1),
            loc=rough[:, None] + most * move.tanh(),
            std=START / math.log(2) * spread(narrow + width[:, None]) + LEAST,
            weights=weights.log_softmax(-1),
            turns=around + turns,
            spreads=NARROWEST + (WIDEST - NARROWEST) * spreads.sigmoid(),
        )

    def _look(self, news: Tensor) -> Tensor:
        """Where each map has its weight, and the mean features there, shape (B, MAPS (2 + F))."""
        features = self.features(news)  # (B, F, h, w)
        share = self.maps(features).square().flatten(2) + 1e-6
        share = share / share.sum(-1, keepdim=True)  # (B, MAPS, h w)
        height, width = features.shape[-2:]
        y, x = (_middles(n, news) for n in (height, width))
        places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1).flatten(0, 1)  # (h w, 2)
        return torch.cat([share @ places, share @ features.flatten(2).mT], -1).flatten(1)


def window_of(position: Float[Tensor, "batch 2"], world: World) -> Float[Tensor, "batch 3"]:
    """The window (cx, cy, side) in pixels around objects at positions (x, y), shape (B, 3)."""
    camera = position.new_tensor(world.camera.numbers).expand(len(position), 3)
    height = sum(kind.height for kind in world.kinds) / len(world.kinds)
    point = torch.cat([position, torch.full_like(position[:, :1], height)], -1)
    centre, scale = project(point, camera, world)
    return torch.cat([centre, CROP * scale[:, None]], -1)


def _middles(number: int, like: Tensor) -> Tensor:
    """The middles of so many equal parts of -1 to 1."""
    return (torch.arange(number, device=like.device, dtype=like.dtype) + 0.5) * 2 / number - 1
