"""The posterior over arrangements is a density, and of what it draws."""

import itertools
import math

import pytest
import torch

from airscene.errors import UserError
from airscene.models.arrangement import Arrangement, draw_arrangements
from airscene.models.pose import PosePosterior
from airscene.models.tabletop import Tabletop, TabletopConfig
from airscene.models.tabletop_network import Look
from airscene.models.tabletop_posterior import TabletopPosterior
from airscene.painters.perspective import ground


@pytest.fixture
def model(double) -> Tabletop:
    """Of up to two objects in pictures of nine cells."""
    torch.manual_seed(0)
    return Tabletop(TabletopConfig(steps=2, height=12, width=12, hidden=8))


@pytest.fixture
def posterior(model) -> TabletopPosterior:
    image = torch.rand(1, 3, 12, 12, generator=torch.Generator().manual_seed(0)).double()
    found = model(image)
    generator = torch.Generator().manual_seed(1)
    for score in (found.look.heat, found.look.stop):
        score.copy_(torch.randn(score.shape, generator=generator))
    return found


def usual(model: Tabletop, rows: int) -> torch.Tensor:
    return torch.tensor(model.world.camera.numbers).double().expand(rows, 3)


@torch.no_grad()
def test_the_chances_of_all_choices_add_up_to_one(model, posterior):
    """Every sequence of up to two cells, where the second is closed around the first."""
    cells = [c for n in range(3) for c in itertools.product(range(9), repeat=n)]
    padded = torch.tensor([[*c, *[0] * (2 - len(c))] for c in cells])
    number = torch.tensor([len(c) for c in cells])
    kind = torch.where(torch.arange(2) < number[:, None], 0, -1)
    camera = usual(model, len(cells))
    pixel, seen = model.network.middles(camera)[padded], camera[:, None].expand(-1, 2, -1)
    place = ground(pixel, seen, model.world)
    scenes = Arrangement(kind, torch.nn.functional.pad(place, (0, 1)), camera)
    chances = posterior._log_choices(scenes, padded).exp()
    assert chances.sum().item() == pytest.approx(1, abs=1e-9)
    assert (chances > 1e-4).sum() > 20


@torch.no_grad()
def test_the_density_of_an_object_integrates_to_one(model, posterior, monkeypatch):
    """Over kinds, the plane of the table and yaws, on a grid, for what a closer look says once."""
    cell, camera = 4, usual(model, 1)
    closer = model.network.closer(posterior.look, torch.tensor([0]), torch.tensor([cell]), camera)
    middle = ground(model.network.middles(camera)[cell][None], camera, model.world)[0]
    side, steps, turns = 4.0, 60, 24
    x = (torch.arange(steps) + 0.5) / steps * side - side / 2
    yaw = torch.arange(turns) * 2 * math.pi / turns
    grid = torch.cartesian_prod(middle[0] + x, middle[1] + x, yaw)
    rows = len(grid)
    many = PosePosterior(*(part.expand(rows, *part.shape[1:]) for part in vars(closer).values()))
    monkeypatch.setattr(model.network, "closer", lambda *place: many)
    total = 0.0
    for k in range(3):
        scenes = Arrangement(torch.full((rows, 1), k), grid[:, None], camera.expand(rows, 3))
        cells = torch.full((rows, 1), cell)
        total += posterior._log_objects(scenes, cells).exp().sum().item()
    total *= (side / steps) ** 2 * 2 * math.pi / turns
    assert total == pytest.approx(1, abs=0.02)


@torch.no_grad()
def test_what_is_drawn_has_the_frequencies_of_the_choices(model, posterior):
    look, rows = posterior.look, 1500
    many = Look(*(part.expand(rows, *part.shape[1:]) for part in vars(look).values()))
    torch.manual_seed(2)
    scenes, cells, probs = TabletopPosterior(model.network, many, 2).draw()
    stop, *chances = torch.cat([look.stop[:, :1], look.heat], -1).softmax(-1)[0].tolist()
    empty = (scenes.number == 0).double().mean().item()
    assert empty == pytest.approx(stop, abs=0.04)
    first = cells[scenes.number > 0, 0].bincount(minlength=9) / rows
    assert first.tolist() == pytest.approx(chances, abs=0.04)
    assert (probs.sum(-1)[scenes.kind >= 0] - 1).abs().max() < 1e-6


@torch.no_grad()
def test_an_arrangement_is_found_again_in_its_cells(model, posterior):
    """The codes of poses lead back to the poses."""
    scenes = draw_arrangements(model.world, 50, torch.Generator().manual_seed(0))
    scenes = Arrangement(scenes.kind, scenes.pose.double(), scenes.camera.double())
    cells = posterior.cells_of(scenes)
    code = posterior._code_of(scenes.pose[:, 0], cells[:, 0], scenes.camera)
    again = posterior._pose_of(code, cells[:, 0], scenes.camera)
    torch.testing.assert_close(again, scenes.pose[:, 0])
    assert (code[:, :2].abs() <= 0.5 + 1e-9).double().mean() > 0.9
    assert (posterior.log_cells(scenes, cells) <= 0).all()


def test_crockery_needs_mujoco():
    with pytest.raises(UserError, match="which the ray caster does not draw"):
        TabletopConfig(objects="crockery")
