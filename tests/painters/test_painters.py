"""Pictures of the same scenes by every painter, and what MuJoCo's processes live through."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from airscene.errors import UserError
from airscene.painters import mujoco as drawing_module
from airscene.painters.base import OneByOne, as_tensors
from airscene.painters.by_name import PAINTERS, MuJoCoPainter
from airscene.painters.crockery import Mesh
from airscene.painters.mujoco import MuJoCoRenderer
from airscene.painters.pool import RenderPool
from airscene.painters.raycast import RayCaster
from airscene.painters.world import CROCKERY, ONE_OBJECT, Camera, Scene, SceneObject


def alone(kind: int, pose, world=ONE_OBJECT):
    """One object as a painter takes it."""
    return torch.tensor([[kind]]), torch.tensor([[pose]], dtype=torch.float32)


def test_mujoco_and_the_ray_caster_draw_the_same(pool, world, scenes):
    """The outlines of the ray caster are soft, which makes the mean difference; seen: 0.005."""
    real, cast = MuJoCoPainter(world, pool)(*scenes), RayCaster(world)(*scenes)
    assert real.shape == cast.shape == (64, 3, *world.size)
    assert real.min() >= 0 and real.max() <= 1
    other = cast.roll(1, 0)
    assert (real - cast).abs().mean() < 0.01 < 0.03 < (real - other).abs().mean()
    within = (real - cast).abs().amax(1) < 0.06
    assert within.float().mean() > 0.93


@pytest.mark.parametrize("name", PAINTERS)
def test_a_picture_depends_on_its_scene_alone(drawing, name, world, scenes):
    paint = PAINTERS[name](world)
    whole = paint(*scenes)
    assert torch.equal(whole, paint(*scenes))
    backwards = paint(*(part.flip(0) for part in scenes))
    torch.testing.assert_close(whole, backwards.flip(0), atol=1e-9, rtol=0)
    assert torch.equal(paint(*scenes[:2]), paint(scenes[0], scenes[1]))


@pytest.mark.parametrize("name", PAINTERS)
def test_objects_are_where_the_description_says(drawing, name):
    paint = PAINTERS[name](ONE_OBJECT)
    empty = paint(*as_tensors([Scene()], ONE_OBJECT))
    for position, rows, columns in (
        ((-0.8, 0.0), slice(0, 32), slice(0, 16)),  # x points to the right
        ((0.8, 0.0), slice(0, 32), slice(16, 32)),
        ((0.0, 0.9), slice(0, 16), slice(0, 32)),  # y points away from the camera, which is up
        ((0.0, -0.9), slice(16, 32), slice(0, 32)),
    ):
        picture = paint(*as_tensors([Scene([SceneObject("sphere", position)])], ONE_OBJECT))
        changed = ((picture - empty).abs().amax(1) > 0.1)[0]
        assert changed.sum() > 20
        assert changed[rows, columns].sum() == changed.sum()


@pytest.mark.parametrize("name", PAINTERS)
def test_turns_show_as_the_symmetry_says(drawing, name):
    paint = PAINTERS[name](ONE_OBJECT)
    for k, kind in enumerate(ONE_OBJECT.kinds):
        turn = 2 * torch.pi / max(1, kind.symmetry)
        start, full, half = (paint(*alone(k, [0, 0, 0.3 + a])) for a in (0, turn, turn / 2))
        assert (start - full).abs().mean() < 2e-3
        if kind.symmetry:
            assert (start - half).abs().mean() > 5e-3


def test_an_object_in_front_hides_the_one_behind(pool):
    world = replace(ONE_OBJECT, objects=2)
    for paint in (MuJoCoPainter(world, pool), RayCaster(world)):
        cube, ball = SceneObject("cube", (0, -0.3)), SceneObject("sphere", (0, 0.3))
        camera = Camera(elevation=0.3)
        both, front = ([cube, ball], [ball, cube]), [cube]
        one, other, only = paint(*as_tensors([Scene(s, camera) for s in (*both, front)], world))
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
        red = (only[0] > 0.4) & (only[2] < 0.2)
        assert red.sum() > 20
        torch.testing.assert_close(one[:, red], only[:, red], atol=0.05, rtol=0)


def test_a_function_that_draws_one_scene_is_a_painter(world, scenes):
    cast = RayCaster(world)

    def draw(scene: Scene) -> np.ndarray:
        return cast(*as_tensors([scene], world))[0].permute(1, 2, 0).numpy()

    few = [part[:8] for part in scenes]
    torch.testing.assert_close(OneByOne(world, draw)(*few).double(), cast(*few), atol=1e-4, rtol=0)


def test_a_process_that_dies_is_replaced_and_the_batch_drawn_again(drawing, world, scenes):
    pool = RenderPool(1)
    before = MuJoCoPainter(world, pool)(*scenes)
    assert pool._executor is not None
    (process,) = pool._executor._processes.values()
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    assert torch.equal(MuJoCoPainter(world, pool)(*scenes), before)
    assert [*pool._executor._processes.values()] != [process]
    pool.close()


def test_processes_that_keep_dying_are_told_in_one_line(monkeypatch, world, scenes):
    monkeypatch.setattr("airscene.painters.pool._prepare", partial(os._exit, 1))
    pool = RenderPool(1)
    with pytest.raises(UserError, match="render processes died 3 times in a row"):
        MuJoCoPainter(world, pool)(*scenes)


def test_processes_end_with_their_parent(drawing):
    code = (
        "import os, numpy as np\n"
        "from airscene.painters.pool import RenderPool\n"
        "from airscene.painters.world import ONE_OBJECT\n"
        "if __name__ == '__main__':\n"
        "    pool = RenderPool(1)\n"
        "    pool.render(ONE_OBJECT, np.zeros((1, 1), int), np.zeros((1, 1, 3)), "
        "np.array([ONE_OBJECT.camera.numbers]))\n"
        "    print(*pool._executor._processes, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.stdout.strip(), ended.stderr
    for _ in range(200):
        if not _runs(int(ended.stdout)):
            return
        time.sleep(0.05)
    raise AssertionError("the render process outlives its parent")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_drawing_leaves_no_memory_behind(drawing):
    kind, pose = np.zeros((2000, 1), int), np.zeros((2000, 1, 3))
    camera = np.repeat([ONE_OBJECT.camera.numbers], 2000, 0)
    with MuJoCoRenderer(ONE_OBJECT) as renderer:
        renderer.render(kind, pose, camera)
        before = psutil.Process().memory_info().rss
        for _ in range(3):
            renderer.render(kind, pose, camera)
        assert psutil.Process().memory_info().rss - before < 8e6  # a picture has 3,072 bytes


def test_a_missing_package_or_library_is_told_with_its_remedy(monkeypatch):
    def missing(name: str):
        raise ModuleNotFoundError(name)

    def broken(name: str):
        raise AttributeError("'NoneType' object has no attribute 'glGetError'")

    for load, remedy in ((missing, "pip install"), (broken, "apt-get install libosmesa6")):
        monkeypatch.setattr(drawing_module.importlib, "import_module", load)
        with pytest.raises(UserError, match=remedy) as caught:
            MuJoCoRenderer(ONE_OBJECT)
        assert "\n" not in str(caught.value)


def test_a_picture_of_one_colour_is_refused(drawing):
    black = replace(ONE_OBJECT, table=replace(ONE_OBJECT.table, colour=(0, 0, 0)))
    away = replace(black, camera=Camera(distance=900.0))
    with pytest.raises(UserError, match="picture of one colour"):
        MuJoCoRenderer(away)


def test_a_mesh_without_volume_is_told_in_one_line(drawing, monkeypatch):
    flat = Mesh(np.eye(3), np.array([[0, 1, 2]]))
    monkeypatch.setattr(drawing_module, "mesh_of", lambda shape: flat)
    with pytest.raises(UserError, match=r"does not load the world.*mug.*mend the mesh") as caught:
        MuJoCoRenderer(CROCKERY)
    assert "\n" not in str(caught.value)


def test_render_processes_need_no_torch():
    code = "import sys, airscene.painters.pool; assert 'torch' not in sys.modules"
    root = Path(drawing_module.__file__).parents[2]
    subprocess.run(
        [sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": str(root)}
    )
