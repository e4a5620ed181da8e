"""The sprites of SuPAIR (Stelzner et al. 2019): circles, squares and diamonds of 12 to 16 px."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from airscene.data.mnist import Split
from airscene.data.sources.base import Sprites
from airscene.data.sources.drawing import circle, diamond, draw, square

SHAPES = (circle, square, diamond)
LENGTHS = range(12, 17)  # pixels from end to end
SIDE = max(LENGTHS)


def load(split: Split, data_dir: Path | None = None) -> Sprites:
    """Draws 15 sprites, each shape at 5 sizes, the same for both splits; `data_dir` is not read.

    The labels are 0 for circles, 1 for squares and 2 for diamonds.
    """
    images = [_draw(shape, length) for shape in SHAPES for length in LENGTHS]
    labels = torch.arange(len(SHAPES)).repeat_interleave(len(LENGTHS))
    return Sprites(torch.from_numpy(np.stack(images)), labels)


def _draw(shape, length: int) -> np.ndarray:
    """A shape of so many pixels from end to end, which begins and ends between two pixels."""
    radius = length / 2
    return draw(shape, SIDE, centre=(SIDE - length) // 2 + radius, radii=(radius, radius))
