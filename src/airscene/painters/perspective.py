"""Where points of a scene are in its picture, and which point of the table a pixel shows."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from airscene.painters.raycast import axes, focal_length
from airscene.painters.world import World

LEVEL = 0.05  # a ray falls at least so steeply, so that it meets the table at a finite distance


def project(
    point: Float[Tensor, "*batch 3"], camera: Float[Tensor, "*batch 3"], world: World
) -> tuple[Float[Tensor, "*batch 2"], Float[Tensor, "*batch"]]:
    """Where points are seen, and how large what is there looks.

    Args:
        point: x, y and z, shape (*, 3).
        camera: azimuth, elevation and distance, shape (*, 3); see `painters.world.Camera`.
        world: size and field of view of the pictures.

    Returns:
        Column and row in pixels from the upper left corner, shape (*, 2), and the pixels that a
        unit of length takes, shape (*).
    """
    back, right, up = axes(camera)
    scale = focal_length(world) / (camera[..., 2] - (point * back).sum(-1))
    height, width = world.size
    column = width / 2 + scale * (point * right).sum(-1)
    row = height / 2 - scale * (point * up).sum(-1)
    return torch.stack([column, row], -1), scale


def ground(
    pixel: Float[Tensor, "*batch 2"], camera: Float[Tensor, "*batch 3"], world: World
) -> Float[Tensor, "*batch 2"]:
    """X and y of the point of the table's plane that a pixel shows; `project` undone.

    Args:
        pixel: column and row, shape (*, 2).
        camera: see `project`, shape (*, 3).
        world: size and field of view of the pictures.
    """
    back, right, up = axes(camera)
    height, width = world.size
    focal = focal_length(world)
    x, y = (pixel[..., :1] - width / 2) / focal, (pixel[..., 1:] - height / 2) / focal
    ray = x * right - y * up - back
    origin = camera[..., 2:] * back
    time = origin[..., 2:] / (-ray[..., 2:]).clamp(min=LEVEL)
    return (origin + time * ray)[..., :2]


def log_area(
    position: Float[Tensor, "*batch 2"], camera: Float[Tensor, "*batch 3"], world: World
) -> Float[Tensor, "*batch"]:
    """Logarithm of the square pixels that a unit of area of the table takes at a position.

    The table's plane is seen through a homography, whose determinant at a point is that of its
    matrix over the cube of the distance along the direction in which the camera looks. It stays
    finite where nothing is seen: from below the table, and of what is behind the camera.
    """
    _, elevation, distance = camera.unbind(-1)
    back, _, _ = axes(camera)
    away = distance - (position * back[..., :2]).sum(-1)
    height = (distance * elevation.sin()).clamp(min=LEVEL)
    return 2 * math.log(focal_length(world)) + height.log() - 3 * away.clamp(min=LEVEL).log()
