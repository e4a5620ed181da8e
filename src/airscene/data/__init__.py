"""Sources of scenes: sprites composed at random, or the user's own images."""

from airscene.data.composer import (
    Composer,
    Composes,
    compose_split,
    draw_split,
    load_composer,
)
from airscene.data.images import (
    UserImages,
    as_scenes,
    load_images,
    save_scenes,
    training_images,
    training_scenes,
)
from airscene.data.pixels import pixels_of
from airscene.data.scene_config import SceneConfig
from airscene.data.scenes import Scenes
from airscene.data.sources import Sprites, load_sprites

__all__ = [
    "Composer",
    "Composes",
    "SceneConfig",
    "Scenes",
    "Sprites",
    "UserImages",
    "as_scenes",
    "compose_split",
    "draw_split",
    "load_composer",
    "load_images",
    "load_sprites",
    "pixels_of",
    "save_scenes",
    "training_images",
    "training_scenes",
]
