"""Sources of sprites: the single objects that scenes are composed of.

A new source is one file with a function `load`, and one row of `SOURCES`.
"""

from __future__ import annotations

from pathlib import Path

from airscene.data.mnist import Split
from airscene.data.sources import digits, dsprites, mnist, omniglot, shapes
from airscene.data.sources.base import Source, Sprites

__all__ = ["SOURCES", "Source", "Sprites", "load_sprites"]

SOURCES = {
    "digits": Source(digits.load, side=8),
    "mnist": Source(mnist.load, side=28, has_files=True),
    "shapes": Source(shapes.load, side=shapes.SIDE),
    "dsprites": Source(dsprites.load, side=dsprites.SIDE),
    "omniglot": Source(omniglot.load, side=105, has_files=True),
    "omniglot-unseen": Source(omniglot.load_unseen, side=105, has_files=True),
}
"""Every source by its name, which `--scenes.source` takes."""


def load_sprites(source: str, split: Split, data_dir: Path | None = None) -> Sprites:
    """Loads the sprites of one split.

    The two splits of handwritten digits share no sprite. Shapes that are drawn by code are the same
    for both splits; there, scenes differ in how sprites are combined, placed and coloured.

    Args:
        source: a name in `SOURCES`.
        split: `train` or `test`.
        data_dir: the folder with the files of MNIST or Omniglot.

    Raises:
        UserError: these files are missing or damaged.
    """
    return SOURCES[source].load(split, data_dir)
