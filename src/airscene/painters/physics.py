"""Objects that fall on the table and come to rest, by MuJoCo's simulation.

Meshes collide as their convex hulls. Nothing here needs torch.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np

from airscene.painters.mujoco import THICKNESS, load_model, load_mujoco, mesh_asset, surface
from airscene.painters.world import World

STEP, STEPS = 0.004, 250  # of the simulation: seconds, and how many
DROP, STAGGER = 0.05, 0.1  # heights from which objects fall: of the first, and between two
UPRIGHT = 0.995  # cosine of the tilt of what stands
SLOW = 0.05  # speed of what rests
COMBINATIONS = 100  # of kinds, whose simulations are kept


def settle(
    world: World, kind: np.ndarray, pose: np.ndarray, reach: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Drops the objects of M scenes one above the other, and waits.

    Args:
        world: what scenes have in common.
        kind: kinds, -1 where there is no object, shape (M, N).
        pose: where they are dropped, x, y and yaw, shape (M, N, 3).
        reach: x and y of what counts as on the table lie between -reach and reach.

    Returns:
        Poses after the fall (M, N, 3), and whether all objects of a scene stand upright on the
        table and rest (M,), bool. The same for the same arguments on the same machine.

    Raises:
        UserError: MuJoCo is missing.
    """
    rested = [_settle(world, k, p, reach) for k, p in zip(kind, pose, strict=True)]
    after = np.array([pose for pose, _ in rested]).reshape(pose.shape)
    return after, np.array([good for _, good in rested], dtype=bool)


def _settle(
    world: World, kind: np.ndarray, pose: np.ndarray, reach: float
) -> tuple[np.ndarray, bool]:
    present = np.flatnonzero(kind >= 0)
    if not len(present):
        return pose, True
    mujoco = load_mujoco()
    kinds = tuple(kind[present].tolist())
    model = _model(world, kinds)
    data = mujoco.MjData(model)
    state = data.qpos.reshape(-1, 7)
    for row, k, (x, y, yaw), n in zip(state, kinds, pose[present], range(len(kinds)), strict=True):
        row[:3] = x, y, world.kinds[k].height + DROP + n * STAGGER
        row[3:] = math.cos(yaw / 2), 0, 0, math.sin(yaw / 2)
    mujoco.mj_step(model, data, STEPS)
    after = pose.copy()
    after[present] = np.column_stack([state[:, :2], _yaw(state[:, 3:])])
    lifted = state[:, 2] - [world.kinds[k].height for k in kinds]
    upright = 1 - 2 * (state[:, 4] ** 2 + state[:, 5] ** 2) > UPRIGHT
    still = np.abs(data.qvel).max() < SLOW and np.abs(lifted).max() < DROP / 2
    return after, bool(upright.all() and still and (np.abs(state[:, :2]) <= reach).all())


@lru_cache(COMBINATIONS)
def _model(world: World, kinds: tuple[int, ...]) -> Any:
    """A simulation of objects of these kinds that can fall."""
    half = world.table.half_side
    bodies = "".join(
        f'<body><freejoint/><geom {surface(world.kinds[k])} density="500"/></body>' for k in kinds
    )
    assets = "".join(map(mesh_asset, world.kinds))
    return load_model(
        load_mujoco(),
        f"""<mujoco><option timestep="{STEP}"/><asset>{assets}</asset><worldbody>
        <geom type="box" size="{half} {half} {THICKNESS}" pos="0 0 {-THICKNESS}"/>{bodies}
        </worldbody></mujoco>""",
    )


def _yaw(turn: np.ndarray) -> np.ndarray:
    """Turns about the vertical in radians, of quaternions (w, x, y, z), shape (R, 4)."""
    w, x, y, z = turn.T
    return np.arctan2(2 * (w * z + x * y), 1 - 2 * (y**2 + z**2))
