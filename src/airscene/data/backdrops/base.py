"""What every backdrop does, and the plain one that does no more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from airscene.data.mnist import Split


@dataclass(frozen=True)
class Backdrop:
    """What is behind the objects, and what is done to the whole picture in the end.

    This is the plain backdrop, of one level. Others replace one of the two methods.

    Attributes:
        channels: of a scene, 1 or 3.
        canvas: height and width of a scene in pixels.
        level: the intensity of the plain backdrop, in [0, 1).
        split: pictures for training and for testing may be made of different material.
    """

    channels: int
    canvas: tuple[int, int]
    level: float
    split: Split

    largest: ClassVar[tuple[int, int] | None] = None
    """Height and width of the largest canvas, where there is a limit."""
    has_level: ClassVar[bool] = True
    """Whether `level` plays a part."""

    def behind(self, number: int, generator: torch.Generator) -> Tensor | float:
        """What is behind the objects of so many scenes.

        Returns:
            Intensities in [0, 1], with shape (M, C, H, W), or one number for all pixels.
        """
        return self.level

    def finish(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Changes whole pictures, uint8 with shape (M, C, H, W), once objects are painted."""
        return images
