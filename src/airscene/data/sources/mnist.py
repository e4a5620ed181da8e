"""The 28x28 handwritten digits of MNIST."""

from __future__ import annotations

from pathlib import Path

from airscene.data.mnist import Split, load_mnist
from airscene.data.sources.base import Sprites


def load(split: Split, data_dir: Path | None = None) -> Sprites:
    """Loads 60,000 digits for training or 10,000 for testing; see `load_mnist`."""
    return Sprites(*load_mnist(split, data_dir))
