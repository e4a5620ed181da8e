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
        strokes: of pictures that are drawn in strokes, which stroke each pixel is part of, from 1
            on, and 0 where there is none, uint8 with shape (S, h, w). A scene is then one such
            picture, and its objects are the strokes.
    """

    images: Tensor
    labels: Tensor
    strokes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> Sprites:
        """The same sprites on another device."""
        strokes = None if self.strokes is None else self.strokes.to(device)
        return Sprites(self.images.to(device), self.labels.to(device), strokes)


@dataclass(frozen=True)
class Source:
    """A row in the table of sources.

    Attributes:
        load: gives the sprites of a split; the folder with files of MNIST or
            Omniglot, or None, comes second.
        side: of a sprite, in pixels. Sprites placed at this side are not resized.
        has_files: whether the sprites are read from a folder that the user may name.
    """

    load: Callable[[Split, Path | None], Sprites]
    side: int
    has_files: bool = False
