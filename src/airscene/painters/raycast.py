"""A batch ray caster for boxes, spheres and cylinders in plain PyTorch.

Its pictures are those of MuJoCo but for outlines, which are soft, so that the gradient of a picture
reaches poses and camera. It runs where its tensors are, GPUs included.

A ray o + t d meets a convex body between two distances t. How deep it goes into the body is its
margin: the length of the way within, or minus the gap by which it misses. A pixel is covered by
sigmoid(margin / softness) of the body.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from airscene.errors import UserError
from airscene.painters.crockery import MESHES
from airscene.painters.mujoco import THICKNESS
from airscene.painters.world import ObjectKind, World

TINY = 1e-9  # kept from zero, so that no division and no root has an infinite gradient


@dataclass(frozen=True)
class Hit:
    """Where R rays meet a body, in the body's own frame.

    Attributes:
        depth: distance at which each enters it, shape (R,).
        margin: how deep it goes, shape (R,).
        normal: of the surface there, shape (R, 3).
        share: of the kind's second colour there, shape (R,).
    """

    depth: Tensor
    margin: Tensor
    normal: Tensor
    share: Tensor


class RayCaster:
    """Draws scenes of a world.

    Args:
        world: what scenes have in common.
        softness: width of outlines, in the world's unit of length, above 0.

    Raises:
        UserError: the world has meshes.
    """

    def __init__(self, world: World, softness: float = 0.02):
        meshes = [kind.name for kind in world.kinds if kind.shape in MESHES]
        if meshes:
            raise UserError(
                f"the ray caster draws boxes, spheres and cylinders; {', '.join(meshes)} are "
                f"meshes, which MuJoCo draws"
            )
        self.world, self.softness = world, softness

    def __call__(
        self,
        kind: Int[Tensor, "batch objects"],
        pose: Float[Tensor, "batch objects 3"],
        camera: Float[Tensor, "batch 3"] | None = None,
    ) -> Float[Tensor, "batch 3 height width"]:
        """See `Painter.__call__`; gradients reach `pose` and `camera`."""
        if camera is None:
            camera = pose.new_tensor(self.world.camera.numbers).expand(len(pose), 3)
        origin, direction = rays(camera, self.world)  # (M, 3), (M, P, 3) for P pixels
        colour, cover, depth = self._objects(kind, pose, origin, direction)
        order = depth.argsort(1, descending=True)
        picture = self._table(origin, direction)  # (M, P, 3)
        for nearest in order.unbind(1):  # (M, P), the farthest objects first
            own = cover.gather(1, nearest[:, None])[:, 0, :, None]
            paint = colour.gather(1, nearest[:, None, :, None].expand(-1, 1, -1, 3))[:, 0]
            picture = picture + own * (paint - picture)
        return picture.mT.unflatten(-1, self.world.size)

    def _objects(
        self, kind: Tensor, pose: Tensor, origin: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Colour (M, N, P, 3), coverage (M, N, P) and depth (M, N, P) of each object."""
        shape = *kind.shape, direction.shape[1]
        colour, cover = pose.new_zeros(*shape, 3), pose.new_zeros(shape)
        depth = pose.new_full(shape, math.inf)
        for k, some in enumerate(self.world.kinds):
            rows = scene, place = (kind == k).nonzero(as_tuple=True)
            if len(scene):
                start = origin[scene] - _centre(pose[rows], some)
                painted = self._body(some, pose[rows][:, 2], start, direction[scene])
                colour, cover, depth = (
                    whole.index_put((scene, place), part)
                    for whole, part in zip((colour, cover, depth), painted, strict=True)
                )
        return colour, cover, depth

    def _table(self, origin: Tensor, direction: Tensor) -> Tensor:
        """The table on black, shape (M, P, 3)."""
        half, colour = self.world.table.half_side, self.world.table.colour
        table = ObjectKind("table", "box", (half, half, THICKNESS), colour)
        start = origin + origin.new_tensor([0, 0, THICKNESS])
        paint, cover, _ = self._body(table, origin.new_zeros(len(origin)), start, direction)
        return paint * cover[..., None]

    def _body(
        self, kind: ObjectKind, yaw: Tensor, start: Tensor, direction: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Colour (R, P, 3), coverage (R, P) and depth (R, P) of bodies at the origin.

        Args:
            kind: their kind.
            yaw: their turns, shape (R,).
            start: where the rays start, shape (R, 3).
            direction: of each ray, shape (R, P, 3).
        """
        light = start.new_tensor(self.world.light.towards)
        light = turned(-light / light.norm(), -yaw)[:, None]  # (R, 1, 3), as the bodies see it
        own = turned(start[:, None], -yaw).expand_as(direction)
        hit = SHAPES[kind.shape](own, turned(direction, -yaw), kind.size)
        lit = (hit.normal * light).sum(-1, keepdim=True).clamp(min=0)
        first = start.new_tensor(kind.colour)
        second = start.new_tensor(kind.second or kind.colour)
        colour = first + hit.share[..., None] * (second - first)
        brightness = self.world.light.ambient + self.world.light.diffuse * lit
        return colour * brightness, (hit.margin / self.softness).sigmoid(), hit.depth


def rays(
    camera: Float[Tensor, "batch 3"], world: World
) -> tuple[Float[Tensor, "batch 3"], Float[Tensor, "batch pixels 3"]]:
    """Where the rays of cameras start, and the direction of length 1 through each pixel.

    Args:
        camera: azimuth, elevation and distance, shape (M, 3).
        world: size and field of view of the pictures.
    """
    (height, width), (back, right, up) = world.size, axes(camera)
    focal = focal_length(world)
    x = (torch.arange(width, device=camera.device, dtype=camera.dtype) + 0.5 - width / 2) / focal
    y = (torch.arange(height, device=camera.device, dtype=camera.dtype) + 0.5 - height / 2) / focal
    y, x = (part.flatten()[:, None] for part in torch.meshgrid(y, x, indexing="ij"))
    direction = x * right[:, None] - y * up[:, None] - back[:, None]
    return camera[:, 2:] * back, direction / direction.norm(dim=-1, keepdim=True)


def axes(camera: Float[Tensor, "*batch 3"]) -> tuple[Tensor, Tensor, Tensor]:
    """Directions of length 1, shape (*, 3): towards the camera, right and up in its pictures."""
    azimuth, elevation, _ = camera.unbind(-1)
    zero = torch.zeros_like(azimuth)
    level = torch.stack([azimuth.cos(), azimuth.sin(), zero], -1)
    vertical = torch.stack([zero, zero, zero + 1], -1)
    rise, run = elevation.sin()[..., None], elevation.cos()[..., None]
    right = torch.stack([-azimuth.sin(), azimuth.cos(), zero], -1)
    return run * level + rise * vertical, right, run * vertical - rise * level


def focal_length(world: World) -> float:
    """In pixels."""
    return world.size[0] / 2 / math.tan(world.field_of_view / 2)


def turned(vector: Tensor, angle: Tensor) -> Tensor:
    """Vectors (R, P, 3), or one (3,), turned about the vertical by angles (R,)."""
    x, y, z = vector.unbind(-1)
    cos, sin = angle.cos(), angle.sin()
    if vector.dim() > 1:
        cos, sin = cos[:, None], sin[:, None]
    return torch.stack([cos * x - sin * y, sin * x + cos * y, z + 0 * (cos * x)], -1)


def _centre(pose: Tensor, kind: ObjectKind) -> Tensor:
    """Centres (R, 3) of objects that stand on the table."""
    return torch.cat([pose[:, :2], pose.new_full((len(pose), 1), kind.height)], -1)


def box(start: Tensor, direction: Tensor, size: tuple[float, ...]) -> Hit:
    """How rays (R, P, 3) meet a box, by the slabs between its opposite faces."""
    half, safe = start.new_tensor(size), _not_zero(direction)
    to_near, to_far = (-half * safe.sign() - start) / safe, (half * safe.sign() - start) / safe
    depth, face = to_near.max(-1)
    normal = -safe.sign() * torch.nn.functional.one_hot(face, 3)
    return Hit(depth, to_far.amin(-1) - depth, normal, torch.zeros_like(depth))


def sphere(start: Tensor, direction: Tensor, size: tuple[float, ...]) -> Hit:
    """How rays (R, P, 3) meet a sphere: they enter half a chord before they are nearest to it."""
    radius, nearest = size[0], -(start * direction).sum(-1)
    gap = (start.square().sum(-1) - nearest.square()).clamp(min=TINY)
    depth = nearest - (radius**2 - gap).clamp(min=TINY).sqrt()
    normal = (start + depth[..., None] * direction) / radius
    return Hit(depth, radius - gap.sqrt(), normal, torch.zeros_like(depth))


def cylinder(start: Tensor, direction: Tensor, size: tuple[float, ...]) -> Hit:
    """How rays (R, P, 3) meet an upright cylinder: an endless one, and the slab of its height."""
    radius, half = size
    flat, across = start[..., :2], direction[..., :2]
    speed = across.square().sum(-1).clamp(min=TINY)
    nearest = -(flat * across).sum(-1) / speed
    gap = (flat.square().sum(-1) - nearest.square() * speed).clamp(min=TINY)
    chord = ((radius**2 - gap).clamp(min=TINY) / speed).sqrt()
    to_end, beyond = _slab(start, direction, half)
    depth = torch.maximum(nearest - chord, to_end)
    within = torch.minimum(nearest + chord, beyond) - depth
    point, on_end = start + depth[..., None] * direction, to_end > nearest - chord
    normal = torch.where(on_end[..., None], _up(direction), _outwards(point, radius))
    turn = torch.where(on_end, -torch.sin(math.pi * point[..., 0] / radius), point[..., 1] / radius)
    return Hit(depth, torch.minimum(within, radius - gap.sqrt()), normal, (1 + turn) / 2)


def _slab(start: Tensor, direction: Tensor, half: float) -> tuple[Tensor, Tensor]:
    """Distances (R, P) at which rays enter and leave the heights from -half to half."""
    safe = _not_zero(direction[..., 2])
    return (-half * safe.sign() - start[..., 2]) / safe, (half * safe.sign() - start[..., 2]) / safe


def _up(direction: Tensor) -> Tensor:
    """The normal (R, P, 3) of the end through which rays enter."""
    zero = torch.zeros_like(direction[..., 0])
    return torch.stack([zero, zero, -direction[..., 2].sign()], -1)


def _outwards(point: Tensor, radius: float) -> Tensor:
    x, y, z = point.unbind(-1)
    return torch.stack([x / radius, y / radius, torch.zeros_like(z)], -1)


def _not_zero(number: Tensor) -> Tensor:
    return torch.where(number.abs() < TINY, torch.full_like(number, TINY), number)


SHAPES: dict[str, Callable[[Tensor, Tensor, tuple[float, ...]], Hit]] = {
    "box": box,
    "sphere": sphere,
    "cylinder": cylinder,
}
"""How rays meet each shape, in the body's own frame."""
