"""Scenes on a table, drawn by a painter, with their truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from airscene.data.scenes import Scenes
from airscene.models.arrangement import Arrangement
from airscene.painters.base import Painter

CHUNK = 4096  # pictures that are drawn at a time, so that few are held as floats


@dataclass(frozen=True)
class RenderedScenes:
    """Draws scenes on a table.

    Attributes:
        painter: draws their pictures.
        draw: gives so many arrangements from a generator, on its device.
    """

    painter: Painter
    draw: Callable[[int, torch.Generator, torch.device], Arrangement]

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
            Scenes with bytes as images (M, 3, H, W), counts, kinds as labels, poses and cameras.
        """
        drawn = self.draw(number, generator, generator.device)
        kind, pose, camera = drawn
        return Scenes(self._images(drawn), drawn.number, labels=kind, pose=pose, camera=camera)

    def _images(self, drawn: Arrangement) -> Tensor:
        parts = zip(*(part.split(CHUNK) for part in drawn), strict=True)
        pictures = (self.painter(*part) for part in parts)
        return torch.cat([(255 * picture).round().to(torch.uint8) for picture in pictures])
