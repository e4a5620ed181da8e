"""Arrangements: what lies on a table and from where it is seen; and their prior.

The prior: the number n of objects is uniform from 0 to N; yaws are uniform; kinds are uniform, or
uniform among those of no other object where none is to be repeated. Positions are uniform on the
table, with a soft border, and apart from each other: a pair at the distance d is drawn with a
probability in proportion to sigmoid((d - APART) / SOFT). The camera's azimuth and elevation are
normal around those of the world. The azimuth stays well within an eighth of a turn, because a
square table looks the same four times in a turn.
"""

import math
from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from airscene.core.networks import normal
from airscene.painters.physics import settle
from airscene.painters.world import World

APART, SOFT = 0.75, 0.03  # the distance of two objects, at least, and how strictly
BORDER = 0.03  # standard deviation that softens the border of the square from -1 to 1
SWAY = 0.25, 0.1  # standard deviations of the camera's azimuth and elevation, in radians
DRAWS = 200_000  # of the constant of the prior, which is then off by 0.2 %


class Arrangement(NamedTuple):
    """What lies on the tables of M scenes, and from where they are seen.

    Attributes:
        kind: by its place among the world's kinds, -1 from the number of objects on, shape (M, N).
        pose: x, y and yaw of each object, shape (M, N, 3); see `painters.world.SceneObject`.
        camera: azimuth, elevation, distance, shape (M, 3); see `painters.world.Camera`.
    """

    kind: Int[Tensor, "batch objects"]
    pose: Float[Tensor, "batch objects 3"]
    camera: Float[Tensor, "batch 3"]

    @property
    def number(self) -> Int[Tensor, "batch"]:
        """The number of objects, shape (M,)."""
        return (self.kind >= 0).sum(-1)


def draw_arrangements(
    world: World,
    number: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Arrangement:
    """Arrangements from the prior.

    Args:
        world: kinds, the most objects, the usual camera.
        number: how many, M.
        generator: the source of randomness; torch's own unless given.
        device: where they are to be, which is that of the generator.
    """
    shape, options = (number, world.objects), {"generator": generator, "device": device}
    count = torch.randint(world.objects + 1, (number, 1), **options)
    kind = _draw_kinds(world, number, options)
    present = torch.arange(world.objects, device=device) < count
    yaw = (2 * torch.rand(*shape, 1, **options) - 1) * math.pi
    position = _draw_positions(present, generator)
    sway = torch.randn(number, 2, **options) * torch.tensor(SWAY, device=device)
    usual = torch.tensor(world.camera.numbers, device=device)
    camera = usual + F.pad(sway, (0, 1))
    pose = torch.cat([position, yaw], -1) * present[..., None]
    return Arrangement(kind.where(present, -1), pose, camera)


def draw_settled(
    world: World,
    number: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Arrangement:
    """Arrangements of objects that were dropped where the prior says and have come to rest.

    Objects that touch push each other; what falls over or off the table is drawn again. See
    `draw_arrangements` for the arguments.
    """
    scenes = draw_arrangements(world, number, generator, device)
    missing = torch.arange(number, device=device)
    while len(missing):
        kind, pose = scenes.kind[missing], scenes.pose[missing].double()
        after, good = settle(world, kind.cpu().numpy(), pose.cpu().numpy())
        scenes.pose[missing] = torch.from_numpy(after).to(scenes.pose)
        missing = missing[torch.from_numpy(~good).to(missing.device)]
        again = draw_arrangements(world, len(missing), generator, device)
        for whole, part in zip(scenes, again, strict=True):
            whole[missing] = part
    return scenes


def draw_one(
    world: World,
    number: int,
    generator: torch.Generator | None = None,
    device: torch.device | str = "cpu",
) -> Arrangement:
    """Arrangements of one object, uniform in kind, position and yaw, before the usual camera.

    See `draw_arrangements` for the arguments.
    """
    options = {"generator": generator, "device": device}
    kind = torch.randint(len(world.kinds), (number, 1), **options)
    pose = torch.rand(number, 1, 3, **options) * 2 - 1
    camera = torch.tensor(world.camera.numbers, device=device).expand(number, 3)
    return Arrangement(kind, pose * pose.new_tensor([1.0, 1.0, math.pi]), camera)


def log_prior(scenes: Arrangement, world: World) -> Float[Tensor, "batch"]:
    """The log-density of arrangements, shape (M,): of positions, yaws, azimuth and elevation.

    An arrangement is a sequence: its objects in another order are another one, as probable.
    """
    present = scenes.kind >= 0
    place = _log_place(scenes.pose[..., :2]).sum(-1) - math.log(2 * math.pi)
    apart = place.new_tensor(log_constants(world.objects))
    constant = (apart + place.new_tensor(_log_choices(world)))[scenes.number]
    usual = scenes.camera.new_tensor(world.camera.numbers[:2])
    view = normal(usual, usual.new_tensor(SWAY)).log_prob(scenes.camera[..., :2]).sum(-1)
    items = (place * present).sum(-1) + _log_apart(scenes.pose[..., :2], present) - constant
    return items + view - math.log(world.objects + 1)


@cache
def log_constants(objects: int) -> tuple[float, ...]:
    """The logarithm of the chance that 0 to N objects at random places are taken, by sampling."""
    generator = torch.Generator().manual_seed(0)
    place = _anywhere((DRAWS, objects, 2), generator, "cpu")
    number = torch.arange(objects)
    taken = [_log_apart(place, (number < n).expand(DRAWS, -1)) for n in range(objects + 1)]
    return tuple(float(some.exp().mean().log()) for some in taken)


def _draw_kinds(world: World, number: int, options: dict[str, Any]) -> Tensor:
    """A kind for each of N places, shape (M, N), as if all were taken."""
    kinds = len(world.kinds)
    if world.repeats:
        return torch.randint(kinds, (number, world.objects), **options)
    return torch.rand(number, kinds, **options).argsort(1)[:, : world.objects]


def _log_choices(world: World) -> list[float]:
    """The logarithm of in how many ways 0 to N objects, in order, can have kinds."""
    kinds, numbers = len(world.kinds), range(world.objects + 1)
    if world.repeats:
        return [n * math.log(kinds) for n in numbers]
    return [math.log(math.perm(kinds, n)) for n in numbers]


def _draw_positions(present: Tensor, generator: torch.Generator | None) -> Tensor:
    """Places (M, N, 2); those of scenes with objects too near each other are drawn again."""
    place = torch.zeros(*present.shape, 2, device=present.device)
    missing = torch.ones_like(present[:, 0])
    while missing.any():
        rows = missing.nonzero().squeeze(1)
        drawn = _anywhere((len(rows), *place.shape[1:]), generator, place.device)
        chance = _log_apart(drawn, present[rows]).exp()
        taken = torch.rand(len(rows), generator=generator, device=place.device) < chance
        place[rows[taken]] = drawn[taken]
        missing[rows[taken]] = False
    return place


def _anywhere(shape: tuple[int, ...], generator, device) -> Tensor:
    uniform = 2 * torch.rand(shape, generator=generator, device=device) - 1
    return uniform + BORDER * torch.randn(shape, generator=generator, device=device)


def _log_place(place: Tensor) -> Tensor:
    """The log-density of x and of y: uniform from -1 to 1, with a normal deviation."""
    place = place.abs()  # the side on which both terms are small, so that their difference is exact
    upper, lower = (torch.special.log_ndtr((end - place) / BORDER) for end in (1, -1))
    return upper + torch.log1p(-(lower - upper).exp()) - math.log(2)


def _log_apart(place: Tensor, present: Tensor) -> Tensor:
    """Log of the chance that places (M, N, 2) are taken, which lets no two be near, shape (M,)."""
    objects = place.shape[1]
    first, second = torch.triu_indices(objects, objects, 1, device=place.device)
    distance = (place[:, first] - place[:, second]).square().sum(-1).clamp(min=1e-12).sqrt()
    both = present[:, first] & present[:, second]
    return (F.logsigmoid((distance - APART) / SOFT) * both).sum(-1)
