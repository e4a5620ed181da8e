"""Render processes, one a core, that draw parts of a batch side by side.

A process that dies, as drivers of OpenGL may let it, is replaced, and what was being drawn is drawn
again: a picture depends on its scene alone, so the result is the same. Processes do not hear
Ctrl-C, so that a training can end its step, and end with their parent.
"""

import atexit
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, lru_cache

import numpy as np

from airscene.errors import UserError
from airscene.painters.mujoco import MuJoCoRenderer
from airscene.painters.world import World

ATTEMPTS = 3  # of drawing a batch, before what kills the processes is taken for incurable
SMALLEST = 64  # scenes of a part: fewer are not worth another process
WORLDS = 4  # that a process keeps ready


class RenderPool:
    """Draws batches of scenes with MuJoCo in processes of its own, which start when first needed.

    Args:
        size: the most processes.
    """

    def __init__(self, size: int):
        self.size = size
        self._executor: ProcessPoolExecutor | None = None

    def render(
        self, world: World, kind: np.ndarray, pose: np.ndarray, camera: np.ndarray
    ) -> np.ndarray:
        """The pictures of M scenes, in order, as bytes of shape (M, H, W, 3).

        Args:
            world: what the scenes have in common.
            kind: see `MuJoCoRenderer.render`, shape (M, N).
            pose: shape (M, N, 3).
            camera: shape (M, 3).

        Raises:
            UserError: MuJoCo is missing or cannot draw here, or its processes keep dying.
        """
        parts = max(1, min(self.size, len(kind) // SMALLEST))
        split = [np.array_split(array, parts) for array in (kind, pose, camera)]
        for _ in range(ATTEMPTS):
            try:
                return np.concatenate([*self._start().map(_render, [world] * parts, *split)])
            except BrokenProcessPool:
                self.close()
        raise UserError(
            f"render processes died {ATTEMPTS} times in a row, killed, out of memory or by a fault "
            f"of OpenGL; free memory, or draw with another library: MUJOCO_GL=osmesa or "
            f"MUJOCO_GL=egl"
        )

    def close(self) -> None:
        """Ends the processes; the next batch starts new ones."""
        if self._executor is not None:
            self._executor.shutdown()
            self._executor = None

    def _start(self) -> ProcessPoolExecutor:
        """The processes, started if there are none."""
        if self._executor is None:
            context = multiprocessing.get_context("spawn")  # a fork would share threads
            self._executor = ProcessPoolExecutor(self.size, context, _prepare)
        return self._executor


@cache
def shared_pool() -> RenderPool:
    """The pool that all models of this process draw with: as many processes as it has cores."""
    if hasattr(os, "sched_getaffinity"):
        return RenderPool(len(os.sched_getaffinity(0)))
    return RenderPool(os.cpu_count() or 1)


def _prepare() -> None:
    """What a new process does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, daemon=True).start()


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)  # OpenGL would complain of an orderly end in a thread


def _render(world: World, kind: np.ndarray, pose: np.ndarray, camera: np.ndarray) -> np.ndarray:
    return _renderer(world).render(kind, pose, camera)


@lru_cache(WORLDS)
def _renderer(world: World) -> MuJoCoRenderer:
    """The process's renderer of a world; it is closed before OpenGL is, at the process's end."""
    renderer = MuJoCoRenderer(world)
    atexit.register(renderer.close)
    return renderer
