"""Meshes are closed, seen from outside, and drawn where their description says."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from airscene.errors import UserError
from airscene.painters.by_name import MuJoCoPainter
from airscene.painters.crockery import MESHES, SIDES, Mesh, lathe, mesh_of
from airscene.painters.raycast import RayCaster
from airscene.painters.world import CROCKERY


def volume(mesh: Mesh) -> float:
    """By the divergence theorem; positive if triangles run counterclockwise from outside."""
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    return float((np.cross(a, b) * c).sum() / 6)


def test_a_turned_rectangle_is_a_prism_of_its_volume():
    prism = lathe([(0, 0), (1, 0), (1, 2), (0, 2)])
    base = SIDES / 2 * math.sin(2 * math.pi / SIDES)
    assert volume(prism) == pytest.approx(2 * base)


@pytest.mark.parametrize("name", MESHES)
def test_meshes_stand_on_the_table_with_a_rim_of_radius_1(name):
    mesh = mesh_of(name)
    assert mesh.vertices[:, 2].min() == 0 and volume(mesh) > 0
    assert mesh.vertices[:, 0].min() == pytest.approx(-1) and mesh.vertices[:, 0].max() >= 1
    along, across = np.diff(mesh.vertices[mesh.faces], axis=1).swapaxes(0, 1)
    assert np.linalg.norm(np.cross(along, across), axis=1).min() > 1e-9


def test_the_surface_of_what_is_turned_has_no_rim_but_its_axis():
    """Each edge away from the axis belongs to two triangles, which run along it both ways."""
    mesh = mesh_of("plate")
    off_axis = np.linalg.norm(mesh.vertices[:, :2], axis=1) > 0
    ways = Counter((int(face[i]), int(face[(i + 1) % 3])) for face in mesh.faces for i in range(3))
    inner = [way for way in ways if off_axis[way[0]] and off_axis[way[1]]]
    assert len(inner) > 100
    assert all(ways[way] == 1 and ways[way[::-1]] == 1 for way in inner)


def test_crockery_is_drawn_where_it_stands_and_its_handles_turn(pool):
    """A plate is on the right where it should be; a mug looks another when it turns."""
    world = replace(CROCKERY, size=(64, 64))
    painter = MuJoCoPainter(world, pool)
    kind = torch.tensor([[-1, -1, -1], [1, -1, -1], [1, -1, -1], [0, -1, -1], [0, -1, -1]])
    pose = torch.zeros(5, 3, 3)
    pose[1:3, 0, :2] = torch.tensor([0.8, 0.5])
    pose[2, 0, 2] = pose[4, 0, 2] = 1.0
    empty, plate, turned_plate, mug, turned_mug = painter(kind, pose)
    news = (plate - empty).abs().sum(0)
    columns = (news.sum(0) * (torch.arange(64) + 0.5)).sum() / news.sum()
    assert columns > 42  # of 64, on the right
    assert (turned_mug - mug).abs().max() > 0.2
    assert (turned_plate - plate).abs().mean() < 0.25 * (turned_mug - mug).abs().mean()


def test_the_ray_caster_refuses_meshes():
    with pytest.raises(UserError, match="mug, plate, pan are meshes, which MuJoCo draws"):
        RayCaster(CROCKERY)
