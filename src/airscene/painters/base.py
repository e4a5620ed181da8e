"""What every painter of scenes takes and gives, and scenes as such tensors."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from airscene.errors import UserError
from airscene.painters.world import Camera, Scene, SceneObject, World


class Painter(Protocol):
    """Draws scenes of a world.

    Attributes:
        world: what the scenes have in common.
    """

    world: World

    def __call__(
        self,
        kind: Int[Tensor, "batch objects"],
        pose: Float[Tensor, "batch objects 3"],
        camera: Float[Tensor, "batch 3"] | None = None,
    ) -> Float[Tensor, "batch 3 height width"]:
        """The pictures of M scenes, in [0, 1], shape (M, 3, H, W).

        Args:
            kind: each object's kind by its place among the world's kinds, -1 where there is no
                object, shape (M, N).
            pose: x, y and yaw of each object, shape (M, N, 3); see `SceneObject`.
            camera: azimuth, elevation and distance of each scene's camera, shape (M, 3); see
                `Camera`. That of the world unless given.
        """
        ...


class OneByOne:
    """A painter made of any function that draws one scene.

    Args:
        world: what scenes have in common.
        draw: the function: a scene gives its picture, floats in [0, 1] of shape (H, W, 3).

    >>> from airscene.painters.world import ONE_OBJECT
    >>> def dusk(scene):
    ...     return np.full((32, 32, 3), 0.1 * len(scene.objects))
    >>> scenes = [Scene(), Scene([SceneObject("cube", (0.5, 0.0))])]
    >>> kind, pose, camera = as_tensors(scenes, ONE_OBJECT)
    >>> OneByOne(ONE_OBJECT, dusk)(kind, pose, camera).mean((1, 2, 3))
    tensor([0.0000, 0.1000])
    """

    def __init__(self, world: World, draw: Callable[[Scene], np.ndarray]):
        self.world, self.draw = world, draw

    def __call__(self, kind: Tensor, pose: Tensor, camera: Tensor | None = None) -> Tensor:
        """See `Painter.__call__`.

        Raises:
            UserError: the function gives something else than such a picture.
        """
        scenes = as_scenes(kind, pose, camera, self.world)
        pictures = [np.asarray(self.draw(scene), dtype=np.float32) for scene in scenes]
        shape = *self.world.size, 3
        for picture in pictures:
            if picture.shape != shape or not np.isfinite(picture).all():
                raise UserError(
                    f"the function that draws a scene gave shape {picture.shape}; let it give "
                    f"finite numbers of shape {shape}, which is (height, width, 3)"
                )
        whole = np.stack(pictures) if pictures else np.empty((0, *shape), np.float32)
        return torch.from_numpy(whole).to(pose).permute(0, 3, 1, 2)


def as_tensors(scenes: Sequence[Scene], world: World) -> tuple[Tensor, Tensor, Tensor]:
    """Scenes as a painter takes them.

    Args:
        scenes: M of them.
        world: what they have in common.

    Returns:
        Kinds (M, N), poses (M, N, 3) and cameras (M, 3).

    Raises:
        UserError: a scene has an unknown kind, too many objects, or a number that is not finite.
    """
    kind = torch.full((len(scenes), world.objects), -1)
    pose = torch.zeros(len(scenes), world.objects, 3)
    camera = torch.zeros(len(scenes), 3)
    for i, scene in enumerate(scenes):
        if len(scene.objects) > world.objects:
            raise UserError(
                f"scene {i} has {len(scene.objects)} objects; the world has room for "
                f"{world.objects}: raise its number of objects"
            )
        for n, some in enumerate(scene.objects):
            kind[i, n] = world.number(some.kind)
            pose[i, n] = torch.tensor([*some.position, some.yaw])
        camera[i] = torch.tensor((scene.camera or world.camera).numbers)
        if not pose[i].isfinite().all():
            raise UserError(f"scene {i} has a position or a yaw that is not finite; correct it")
    return kind, pose, camera


def as_scenes(kind: Tensor, pose: Tensor, camera: Tensor | None, world: World) -> list[Scene]:
    """The descriptions of scenes; the inverse of `as_tensors`."""
    cameras = [None] * len(kind) if camera is None else [Camera(*c) for c in camera.tolist()]
    rows = zip(kind.tolist(), pose.tolist(), cameras, strict=True)
    return [Scene(_objects(kinds, poses, world), where) for kinds, poses, where in rows]


def _objects(kinds: list[int], poses: list[list[float]], world: World) -> tuple[SceneObject, ...]:
    return tuple(
        SceneObject(world.kinds[k].name, (x, y), yaw)
        for k, (x, y, yaw) in zip(kinds, poses, strict=True)
        if k >= 0
    )


def yaw_error(yaw: Tensor, true: Tensor, symmetry: Tensor) -> Tensor:
    """Distance of two yaws in radians, up to the symmetry of the object's kind.

    Args:
        yaw: any angles, of any shape.
        true: angles of the same shape.
        symmetry: see `ObjectKind.symmetry`, of the same shape; where it is 0, every yaw is right.

    Returns:
        From 0 to π / symmetry, of the same shape.

    >>> quarter = torch.tensor([math.pi / 2])
    >>> yaw_error(quarter, 0 * quarter, torch.tensor([4])).item() < 1e-6
    True
    >>> round(yaw_error(quarter, 0 * quarter, torch.tensor([1])).item(), 4)
    1.5708
    """
    turn = 2 * math.pi / symmetry.clamp(min=1)
    apart = (yaw - true).remainder(turn)
    return torch.minimum(apart, turn - apart) * (symmetry > 0)
