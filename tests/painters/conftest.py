"""Worlds and scenes for all painters."""

import os
from dataclasses import replace

import pytest
import torch

from airscene.errors import UserError
from airscene.painters.mujoco import MuJoCoRenderer
from airscene.painters.pool import RenderPool
from airscene.painters.world import ONE_OBJECT, World


@pytest.fixture(scope="session")
def drawing() -> None:
    """Skips what draws with MuJoCo where that cannot draw, unless it must."""
    try:
        MuJoCoRenderer(ONE_OBJECT).close()
    except UserError as error:
        if os.environ.get("AIRSCENE_MUST_DRAW"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def pool(drawing):
    """Two render processes, which live as long as the tests."""
    pool = RenderPool(2)
    yield pool
    pool.close()


@pytest.fixture
def world() -> World:
    """Up to two objects in pictures that are not square."""
    return replace(ONE_OBJECT, objects=2, size=(32, 40))


@pytest.fixture
def scenes(world) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Kinds, poses and cameras of 64 scenes of 0 to 2 objects, in float64."""
    generator = torch.Generator().manual_seed(0)
    kind = torch.randint(-1, 3, (64, 2), generator=generator)
    pose = torch.rand(64, 2, 3, generator=generator, dtype=torch.float64) * 2 - 1
    pose[..., 2] *= torch.pi
    spread = torch.rand(64, 3, generator=generator, dtype=torch.float64) - 0.5
    return kind, pose, torch.tensor(world.camera.numbers).double() + 0.4 * spread
