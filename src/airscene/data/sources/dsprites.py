"""The sprites of dSprites (Matthey et al. 2017), drawn by code.

3 shapes, 6 scales evenly from 0.5 to 1 and 40 angles evenly from 0 to 2π, both ends included, are
those of the data set's description, github.com/google-deepmind/dsprites-dataset. Its pictures are
made of vectors whose lengths are published nowhere. The lengths here give single sprites on 64x64
pixels the mean intensity 0.043 that is reported of the data set. Pixels are black or white there,
and so they are here.

A sprite of 33x33 pixels has 32x32 places on a canvas of 64x64, as many as dSprites has.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from airscene.data.mnist import Split
from airscene.data.sources.base import Sprites
from airscene.data.sources.drawing import Shape, circle, draw, heart, square

SIDE = 33
SCALES = np.linspace(0.5, 1, 6)
ANGLES = np.linspace(0, 2 * np.pi, 40)
SHAPES: tuple[tuple[Shape, tuple[float, float]], ...] = (
    (square, (9.1, 9.1)),  # 18.2 px along a side
    (circle, (12.0, 7.0)),  # an ellipse of 24x14 px
    (heart, (9.0, 9.0)),  # 20 px wide and high
)
"""The shapes and how many pixels a unit of them is along each axis at scale 1."""


def load(split: Split, data_dir: Path | None = None) -> Sprites:
    """Draws 720 sprites, the same for both splits; `data_dir` is not read.

    The labels are 0 for squares, 1 for ellipses and 2 for hearts.
    """
    images = np.stack([_draw(*row, s, a) for row in SHAPES for s in SCALES for a in ANGLES])
    labels = torch.arange(len(SHAPES)).repeat_interleave(len(SCALES) * len(ANGLES))
    return Sprites(torch.from_numpy(images), labels)


def _draw(shape: Shape, radii: tuple[float, float], scale: float, angle: float) -> np.ndarray:
    scaled = radii[0] * scale, radii[1] * scale
    return draw(shape, SIDE, SIDE / 2, scaled, angle, samples=1)
