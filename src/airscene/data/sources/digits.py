"""The 8x8 handwritten digits that scikit-learn carries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits

from airscene.data.mnist import Split
from airscene.data.sources.base import Sprites

TRAIN = 1400  # of 1,797 digits


def load(split: Split, data_dir: Path | None = None) -> Sprites:
    """Loads 1,400 digits for training or 397 for testing; `data_dir` is not read."""
    pixels, labels = load_digits(return_X_y=True)  # (1797, 64), with values 0..16
    # A fixed shuffle: the file lists the digits writer by writer.
    order = np.random.default_rng(0).permutation(len(labels))
    kept = order[:TRAIN] if split == "train" else order[TRAIN:]
    images = np.rint(pixels[kept] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    return Sprites(torch.from_numpy(images), torch.from_numpy(labels[kept]).long())
