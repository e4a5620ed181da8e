"""Backdrops: what is behind the objects of composed scenes, or laid over everything.

A new backdrop is one file with a class, and one row of `BACKDROPS`.
"""

from airscene.data.backdrops.base import Backdrop
from airscene.data.backdrops.grid import Grid
from airscene.data.backdrops.levels import Levels
from airscene.data.backdrops.noisy import Noisy
from airscene.data.backdrops.photos import Photos

__all__ = ["BACKDROPS", "Backdrop"]

BACKDROPS: dict[str, type[Backdrop]] = {
    "plain": Backdrop,
    "noisy": Noisy,
    "grid": Grid,
    "levels": Levels,
    "photos": Photos,
}
"""Every backdrop by its name, which `--scenes.backdrop` takes."""
