"""Omniglot's characters, each of which is a scene of strokes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from airscene.data.mnist import Split
from airscene.data.omniglot import LEARNED, UNSEEN, read_drawings
from airscene.data.sources.base import Sprites
from airscene.errors import UserError


def load(split: Split, data_dir: Path | None = None) -> Sprites:
    """The alphabets to learn from: 16 drawers for training, the other four for testing."""
    learned = split == "train"
    return _sprites(
        lambda alphabet, drawer: alphabet not in UNSEEN and (drawer <= LEARNED) == learned, data_dir
    )


def load_unseen(split: Split, data_dir: Path | None = None) -> Sprites:
    """The alphabets that no training reads, by all drawers, the same for both splits."""
    return _sprites(lambda alphabet, _: alphabet in UNSEEN, data_dir)


def _sprites(wanted: Callable[[str, int], bool], data_dir: Path | None) -> Sprites:
    """The wanted drawings; their labels are numbers of characters, from 0 on.

    Raises:
        UserError: the archives are missing or damaged, or hold none.
    """
    drawings = [*read_drawings(wanted, data_dir)]
    if not drawings:
        raise UserError("the Omniglot archives hold no such characters; replace them")
    strokes = torch.from_numpy(np.stack([drawing.strokes for drawing in drawings]))
    names = [f"{drawing.alphabet}/{drawing.character}" for drawing in drawings]
    _, labels = np.unique(names, return_inverse=True)
    return Sprites((strokes > 0).byte() * 255, torch.from_numpy(labels), strokes)
