"""Sprites: the single objects that scenes are composed of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from airscene.data.mnist import Split, load_mnist

Source = Literal["digits", "mnist"]

DIGITS_TRAIN = 1400  # of the 1,797 digits that scikit-learn carries


@dataclass(frozen=True)
class Sprites:
    """Pictures of single objects, bright on black.

    Attributes:
        images: their intensities, uint8 with shape (S, h, w).
        labels: their classes, int64 with shape (S,).
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def to(self, device: torch.device | str) -> Sprites:
        """The same sprites on another device."""
        return Sprites(self.images.to(device), self.labels.to(device))


def load_sprites(source: Source, split: Split, data_dir: Path | None = None) -> Sprites:
    """Loads the sprites of one split; the two splits of a source share no sprite.

    Args:
        source: `digits`, the 8x8 handwritten digits that scikit-learn carries (1,400 and 397), or
            `mnist`, the 28x28 digits of MNIST (60,000 and 10,000).
        split: `train` or `test`.
        data_dir: the folder with the MNIST files; see `load_mnist`.

    Raises:
        UserError: the MNIST files are missing or damaged.
    """
    if source == "mnist":
        return Sprites(*load_mnist(split, data_dir))
    return _digits(split)


def _digits(split: Split) -> Sprites:
    pixels, labels = load_digits(return_X_y=True)  # (1797, 64), with values 0..16
    # A fixed shuffle: the file lists the digits writer by writer.
    order = np.random.default_rng(0).permutation(len(labels))
    kept = order[:DIGITS_TRAIN] if split == "train" else order[DIGITS_TRAIN:]
    images = np.rint(pixels[kept] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    return Sprites(torch.from_numpy(images), torch.from_numpy(labels[kept]).long())
