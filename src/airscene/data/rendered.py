"""Scenes of one object on a table, drawn by a painter, with their truth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from airscene.data.scenes import Scenes
from airscene.painters.base import Painter

CHUNK = 4096  # pictures that are drawn at a time, so that few are held as floats


@dataclass(frozen=True)
class RenderedScenes:
    """Draws scenes of one object; its kind, its place and its yaw are uniform.

    Attributes:
        painter: draws them; positions lie between -1 and 1 along x and y.
    """

    painter: Painter

    def to(self, device: torch.device | str) -> RenderedScenes:
        """Itself: scenes are drawn where the generator is."""
        return self

    def compose(self, number: int, generator: torch.Generator, masks: bool = False) -> Scenes:
        """Draws scenes, the same for the same state of the generator.

        Args:
            number: how many scenes M, at least 1.
            generator: the source of randomness.
            masks: not known of rendered scenes, so without effect.

        Returns:
            Scenes with bytes as images (M, 3, H, W), a count of 1, the kind as label, and poses.
        """
        kinds, device = len(self.painter.world.kinds), generator.device
        kind = torch.randint(kinds, (number, 1), generator=generator, device=device)
        pose = torch.rand(number, 1, 3, generator=generator, device=device) * 2 - 1
        pose = pose * pose.new_tensor([1.0, 1.0, math.pi])
        count = torch.ones(number, dtype=torch.long, device=device)
        return Scenes(self._images(kind, pose), count, labels=kind, pose=pose)

    def _images(self, kind: Tensor, pose: Tensor) -> Tensor:
        parts = zip(kind.split(CHUNK), pose.split(CHUNK), strict=True)
        drawn = (self.painter(*part) for part in parts)
        return torch.cat([(255 * picture).round().to(torch.uint8) for picture in drawn])
