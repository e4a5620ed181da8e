"""The batch of scenes that every data source yields and every model reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scenes:
    """Images and, where it is known, their truth. The truth is for evaluation, never for a model.

    Attributes:
        image: the scenes, with shape (M, C, H, W): floats in [0, 1], or bytes in 0..255 at rest.
        count: the number of objects, with shape (M,), int64.
        boxes: the objects' tight boxes (x0, y0, x1, y1) in pixels, x1 and y1 exclusive, with shape
            (M, K, 4), float32; rows from `count` on are zero.
        labels: the objects' classes, with shape (M, K), int64; entries from `count` on are -1.
        masks: which object each pixel shows, with shape (M, H, W), uint8: k for the object of row
            k - 1 of `boxes`, and 0 for the background.
        pose: of objects in 3D scenes, x, y and yaw in radians, with shape (M, K, 3), float32; see
            `painters.world.SceneObject`. `labels` are then kinds.
        camera: of 3D scenes, azimuth, elevation and distance, with shape (M, 3), float32; see
            `painters.world.Camera`.
    """

    image: Tensor
    count: Tensor | None = None
    boxes: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None
    pose: Tensor | None = None
    camera: Tensor | None = None

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: Tensor | slice) -> Scenes:
        """The scenes at `index`, as stored."""
        return self._map(lambda tensor: tensor[index])

    def to(self, device: torch.device | str) -> Scenes:
        """The same scenes on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def pixels(self) -> Tensor:
        """The images as floats in [0, 1], with shape (M, C, H, W)."""
        return self.image / 255.0 if self.image.dtype == torch.uint8 else self.image

    def _map(self, change: Callable[[Tensor], Tensor]) -> Scenes:
        values = ((f.name, getattr(self, f.name)) for f in fields(self))
        changed: dict[str, Any] = {k: None if v is None else change(v) for k, v in values}
        return Scenes(**changed)
