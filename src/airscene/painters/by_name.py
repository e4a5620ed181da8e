"""Painters that models may name, and the one that draws with MuJoCo.

A new one is a row of `PAINTERS`.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from airscene.painters.base import Painter
from airscene.painters.pool import RenderPool, shared_pool
from airscene.painters.raycast import RayCaster
from airscene.painters.world import World


class MuJoCoPainter:
    """Draws scenes of a world with MuJoCo, in the render processes that all models share.

    Args:
        world: what scenes have in common.
        pool: other render processes.
    """

    def __init__(self, world: World, pool: RenderPool | None = None):
        self.world, self.pool = world, pool

    def __call__(self, kind: Tensor, pose: Tensor, camera: Tensor | None = None) -> Tensor:
        """See `Painter.__call__`.

        Raises:
            UserError: MuJoCo is missing or cannot draw here.
        """
        if camera is None:
            camera = pose.new_tensor(self.world.camera.numbers).expand(len(pose), 3)
        pictures = self._draw(kind, pose, camera)  # type: ignore[call-arg]
        return pictures.to(pose.device).permute(0, 3, 1, 2).to(pose.dtype) / 255

    @torch.compiler.disable
    def _draw(self, kind: Tensor, pose: Tensor, camera: Tensor) -> Tensor:
        """Bytes of shape (M, H, W, 3)."""
        scenes = (kind.cpu().numpy(), _doubles(pose), _doubles(camera))
        return torch.from_numpy((self.pool or shared_pool()).render(self.world, *scenes))


def _doubles(numbers: Tensor) -> np.ndarray:
    return numbers.detach().cpu().double().numpy()


PAINTERS: dict[str, Callable[[World], Painter]] = {"mujoco": MuJoCoPainter, "raycast": RayCaster}
"""Painters by the names that models give them."""
