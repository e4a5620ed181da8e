"""Crops of the two photographs that scikit-learn carries, a temple and a flower."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_sample_images
from torch import Tensor

from airscene.data.backdrops.base import Backdrop
from airscene.data.mnist import Split
from airscene.data.pixels import LUMINANCE

FIRST, LAST = 224, 416  # of 640 columns; crops for testing lie between, those for training beside
DARKEST, RANGE = 0.2, 0.6  # photographs keep to [0.2, 0.8], which leaves room on both sides


class Photos(Backdrop):
    """A pixel v of a crop becomes 0.2 + 0.6 v. Crops are uniform over their places."""

    has_level = False
    largest = (427, LAST - FIRST)

    def behind(self, number: int, generator: torch.Generator) -> Tensor:
        """See `Backdrop.behind`."""
        photos = _photos(self.split, self.channels).to(generator.device)
        height, width = self.canvas
        room = (len(photos), photos.shape[1] - height + 1, photos.shape[2] - width + 1)
        photo, top, left = (
            torch.randint(some, (number,), generator=generator, device=generator.device)
            for some in room
        )
        rows = top[:, None] + torch.arange(height, device=top.device)  # (M, H)
        columns = left[:, None] + torch.arange(width, device=left.device)  # (M, W)
        crops = photos[photo[:, None, None], rows[:, :, None], columns[:, None, :]]
        return crops.movedim(-1, 1)


@cache
def _photos(split: Split, channels: int) -> Tensor:
    """The parts of both photographs for a split, in [0.2, 0.8], with shape (parts, 427, W, C)."""
    whole = np.stack(load_sample_images().images) / np.float32(255)  # (2, 427, 640, 3)
    beside = np.concatenate([whole[:, :, :FIRST], whole[:, :, LAST:]])  # (4, 427, 224, 3)
    part = beside if split == "train" else whole[:, :, FIRST:LAST]
    if channels == 1:
        part = part @ np.array(LUMINANCE, np.float32)[:, None]
    return torch.from_numpy(DARKEST + RANGE * part)
