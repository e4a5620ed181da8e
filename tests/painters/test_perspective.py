"""Where things are seen, against the ray caster, and against derivatives by autograd."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from airscene.painters.perspective import ground, log_area, project
from airscene.painters.raycast import RayCaster
from airscene.painters.world import BLOCKS, ObjectKind


def cameras(number: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    spread = torch.rand(number, 3, generator=generator, dtype=torch.float64) - 0.5
    return torch.tensor(BLOCKS.camera.numbers).double() + 0.6 * spread


def places(number: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.rand(number, 2, generator=generator, dtype=torch.float64) - 1


def test_the_ground_under_a_pixel_undoes_the_projection():
    pixel, _ = project(F.pad(places(20), (0, 1)), cameras(20), BLOCKS)
    torch.testing.assert_close(ground(pixel, cameras(20), BLOCKS), places(20))


def test_areas_are_determinants_of_the_projection():
    def seen(place: torch.Tensor) -> torch.Tensor:
        return project(F.pad(place, (0, 1)), cameras(20), BLOCKS)[0].sum(0)

    matrix = torch.autograd.functional.jacobian(seen, places(20)).permute(1, 0, 2)
    expected = torch.linalg.det(matrix).abs().log()
    torch.testing.assert_close(log_area(places(20), cameras(20), BLOCKS), expected)


def test_areas_are_finite_from_below_the_table_and_behind_the_camera():
    camera = torch.tensor([[0.0, -0.1, 4.2], [0.0, 0.9, 4.2]]).double()
    position = torch.tensor([[0.0, 0.0], [50.0, 0.0]]).double()
    assert log_area(position, camera, BLOCKS).isfinite().all()


def test_points_are_seen_where_the_ray_caster_draws_them_and_as_large():
    """A small ball, whose picture has the projected place as its middle."""
    ball = ObjectKind("ball", "sphere", (0.08,), (1.0, 1.0, 1.0), symmetry=0)
    world = replace(BLOCKS, kinds=(ball,), objects=1, size=(96, 120))
    kind, camera = torch.zeros(6, 1, dtype=torch.long), cameras(6)
    pose = F.pad(0.6 * places(6), (0, 1))[:, None]
    caster = RayCaster(world, softness=0.002)
    cover = (caster(kind, pose, camera) - caster(kind - 1, pose, camera)).abs().sum(1)
    cover = (cover > 0.05).double()
    y, x = torch.meshgrid(torch.arange(96) + 0.5, torch.arange(120) + 0.5, indexing="ij")
    area = cover.sum((1, 2))
    middle = torch.stack([(cover * x).sum((1, 2)), (cover * y).sum((1, 2))], 1) / area[:, None]
    expected, scale = project(F.pad(pose[:, 0, :2], (0, 1), value=0.08), camera, world)
    assert (middle - expected).abs().max() < 0.4
    radius = (area / torch.pi).sqrt()
    assert (radius / (0.08 * scale) - 1).abs().max() < 0.15
