"""Descriptions of scenes: what is refused, and their form as tensors."""

import math

import numpy as np
import pytest
import torch

from airscene.errors import UserError
from airscene.painters.base import OneByOne, as_scenes, as_tensors, yaw_error
from airscene.painters.world import (
    ONE_OBJECT,
    Camera,
    Light,
    ObjectKind,
    Scene,
    SceneObject,
    World,
)

CUBE = ONE_OBJECT.kinds[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Camera(elevation=-0.1), "in the table or below it"),
        (lambda: Camera(elevation=1.6), "straight above"),
        (lambda: Camera(distance=math.nan), "camera: distance"),
        (lambda: Light(ambient=0.8, diffuse=0.8), "add up to 1"),
        (lambda: Light(towards=(0, 0, 0)), "towards is not 0"),
        (lambda: ObjectKind("a", "cone", (1.0,), (1, 0, 0)), "shape cone is unknown"),  # type: ignore[arg-type]
        (lambda: ObjectKind("a", "box", (1.0,), (1, 0, 0)), "size of a box takes 3 numbers"),
        (lambda: ObjectKind("a", "sphere", (1.0,), (1, 0, 0), (0, 0, 0)), "second is a cylinder"),
        (lambda: World(()), "name at least one"),
        (lambda: World((CUBE, CUBE)), "none of them twice"),
        (lambda: World((CUBE,), size=(0, 32)), "world: size"),
    ],
)
def test_a_description_that_cannot_be_is_refused_in_one_line(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([SceneObject("mug", (0, 0))], "object kind mug is unknown; choose one of cube, sphere"),
        ([SceneObject("cube", (0, 0))] * 2, "has 2 objects; the world has room for 1"),
        ([SceneObject("cube", (0, math.inf))], "scene 0 has a position or a yaw"),
    ],
)
def test_a_scene_that_does_not_fit_the_world_is_refused(objects, message):
    with pytest.raises(UserError, match=message):
        as_tensors([Scene(objects)], ONE_OBJECT)


def test_scenes_come_back_from_tensors(world, scenes):
    described = as_scenes(*scenes, world)
    kind, pose, camera = as_tensors(described, world)
    first = torch.argsort((scenes[0] < 0).int(), dim=1, stable=True)  # absent ones come last
    assert torch.equal(kind, scenes[0].gather(1, first))
    assert as_scenes(kind, pose, camera, world) == as_scenes(kind, pose, camera, world)
    there = kind >= 0
    sorted_pose = scenes[1].gather(1, first[..., None].expand(-1, -1, 3))
    torch.testing.assert_close(pose[there].double(), sorted_pose[there], atol=1e-6, rtol=0)
    torch.testing.assert_close(camera.double(), scenes[2], atol=1e-6, rtol=0)


def test_the_camera_is_that_of_the_world_unless_a_scene_has_its_own():
    own = Camera(azimuth=0.5)
    camera = as_tensors([Scene(), Scene(camera=own)], ONE_OBJECT)[2]
    torch.testing.assert_close(camera, torch.tensor([ONE_OBJECT.camera.numbers, own.numbers]))


@pytest.mark.parametrize("picture", [np.zeros((32, 32)), np.full((32, 32, 3), math.nan)])
def test_a_function_that_draws_no_picture_is_refused(picture):
    kind, pose, _ = as_tensors([Scene()], ONE_OBJECT)
    with pytest.raises(UserError, match="finite numbers of shape"):
        OneByOne(ONE_OBJECT, lambda scene: picture)(kind, pose)


@pytest.mark.parametrize(("symmetry", "most"), [(1, math.pi), (4, math.pi / 4), (0, 0.0)])
def test_the_error_of_a_yaw_reaches_half_of_what_symmetry_leaves(symmetry, most):
    yaw = torch.linspace(-10, 10, 2001)
    error = yaw_error(yaw, torch.zeros_like(yaw), torch.full_like(yaw, symmetry))
    assert error.min() >= 0 and error.max() == pytest.approx(most, abs=0.02)
    if symmetry:
        again = yaw_error(yaw + 2 * math.pi / symmetry, 0 * yaw, torch.full_like(yaw, symmetry))
        torch.testing.assert_close(error, again, atol=1e-5, rtol=0)
