"""The prior of arrangements: its draws are those of its density."""

import importlib.util
import math
from dataclasses import replace

import pytest
import torch

from airscene.models.arrangement import (
    APART,
    Arrangement,
    _log_apart,
    _log_place,
    draw_arrangements,
    draw_settled,
    log_constants,
    log_prior,
)
from airscene.painters.world import BLOCKS

DRAWN = draw_arrangements(BLOCKS, 40_000, torch.Generator().manual_seed(0))


def test_numbers_and_kinds_are_uniform_and_objects_come_first():
    shares = DRAWN.number.bincount() / 40_000
    torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.01, rtol=0)
    kinds = DRAWN.kind[DRAWN.kind >= 0].bincount()
    torch.testing.assert_close(kinds / kinds.sum(), torch.full((3,), 1 / 3), atol=0.01, rtol=0)
    assert ((DRAWN.kind[:, 1:] < 0) | (DRAWN.kind[:, :-1] >= 0)).all()
    assert (DRAWN.pose[DRAWN.kind < 0] == 0).all()


def test_objects_are_apart_and_the_camera_sways():
    both = DRAWN.kind[:, 1] >= 0
    distance = (DRAWN.pose[both, 0, :2] - DRAWN.pose[both, 1, :2]).norm(dim=-1)
    assert distance.min() > APART - 0.3 and (distance > APART).float().mean() > 0.95
    torch.testing.assert_close(
        DRAWN.camera.std(0), torch.tensor([0.25, 0.1, 0.0]), atol=0.01, rtol=0
    )


def test_without_repeats_kinds_differ_and_each_order_of_them_is_as_probable():
    world = replace(BLOCKS, repeats=False)
    drawn = draw_arrangements(world, 30_000, torch.Generator().manual_seed(0))
    shares = drawn.number.bincount() / 30_000
    torch.testing.assert_close(shares, torch.full((4,), 0.25), atol=0.01, rtol=0)
    full = drawn.kind[drawn.number == 3]
    assert (full.sort(1).values == torch.arange(3)).all()
    orders = (full @ torch.tensor([9, 3, 1])).unique(return_counts=True)[1] / len(full)
    torch.testing.assert_close(orders, torch.full((6,), 1 / 6), atol=0.015, rtol=0)
    density = log_prior(drawn, world) - log_prior(drawn, BLOCKS)  # of kinds alone
    ways = torch.tensor([1, 3 / 3, 9 / 6, 27 / 6]).log()
    torch.testing.assert_close(density, ways[drawn.number], atol=1e-4, rtol=0)


def test_the_density_of_a_place_integrates_to_one_and_has_no_hole_far_away():
    x = torch.linspace(-1.5, 1.5, 3001, dtype=torch.float64)
    assert torch.trapezoid(_log_place(x).exp(), x).item() == pytest.approx(1, abs=1e-6)
    far = _log_place(torch.tensor([-9.0, 9.0]))
    assert far.isfinite().all() and (far < -1000).all()


def test_the_density_is_that_of_the_draws():
    """By importance: the mean of 1 / p over draws of two objects is the volume of their space."""
    world = replace(BLOCKS, objects=2)
    drawn = draw_arrangements(world, 40_000, torch.Generator().manual_seed(1))
    usual = torch.tensor(world.camera.numbers).expand(40_000, 3)
    two = drawn.number == 2
    inside = (drawn.pose[..., :2].abs() < 0.9).all(-1).all(-1)
    far = (drawn.pose[:, 0, :2] - drawn.pose[:, 1, :2]).norm(dim=-1) > 0.9
    chosen = two & inside & far
    density = log_prior(Arrangement(drawn.kind, drawn.pose, usual), world).double()
    camera = log_prior(Arrangement(torch.full((1, 2), -1), torch.zeros(1, 2, 3), usual[:1]), world)
    density = density - camera.double() - math.log(3)  # without camera; 3 numbers of objects
    volume = (density.neg().exp() * chosen).mean()
    place = 1.8 * torch.rand(400_000, 2, 2, generator=torch.Generator().manual_seed(2)) - 0.9
    share = ((place[:, 0] - place[:, 1]).norm(dim=-1) > 0.9).double().mean()
    expected = share * 1.8**4 * (2 * math.pi * 3) ** 2
    assert volume.item() == pytest.approx(expected.item(), rel=0.03)


def test_the_constants_are_chances_that_places_are_taken():
    generator = torch.Generator().manual_seed(3)
    place = 2 * torch.rand(50_000, 3, 2, generator=generator) - 1
    taken = _log_apart(place, torch.ones(50_000, 3, dtype=torch.bool)).exp().mean()
    none, one, _, three = log_constants(3)
    assert none == one == 0 and math.exp(three) == pytest.approx(taken.item(), rel=0.05)


def test_settled_arrangements_are_decided_by_the_generator():
    if importlib.util.find_spec("mujoco") is None:
        pytest.skip("MuJoCo is missing")
    one, same = (draw_settled(BLOCKS, 20, torch.Generator().manual_seed(4)) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(one, same, strict=True))
    assert (one.pose[..., :2].abs() <= 1).all()
