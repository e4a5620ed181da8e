"""What every source of sprites yields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from airscene.data.mnist import Split


@dataclass(frozen=True)
class Sprites:
    """Pictures of single objects, bright on black.

    Attributes:
        images: their intensities, uint8 with shape (S, h, w). Where objects hide one another, an
            intensity is the opacity of the object.
        labels: their classes, int64 with shape (S,).
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> Sprites:
        """The same sprites on another device."""
        return Sprites(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Source:
    """A row in the table of sources.

    Attributes:
        load: gives the sprites of a split; the folder with files of MNIST, or None, comes second.
        side: of a sprite, in pixels. Sprites placed at this side are not resized.
        has_files: whether the sprites are read from a folder that the user may name.
    """

    load: Callable[[Split, Path | None], Sprites]
    side: int
    has_files: bool = False
