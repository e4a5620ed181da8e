"""Scenes with exactly so many digits: to learn from, to choose by, to test on."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from airscene.core.seeds import Purpose, stream
from airscene.data import Composer, SceneConfig, Scenes, Sprites, load_sprites
from airscene.errors import UserError
from airscene.files import write_whole

KEPT = 5 / 6  # of the digits for training: the others make up the scenes of validation
PARTS = ("train", "validation", "test")

Tensors = TypeVar("Tensors")


@dataclass(frozen=True)
class Numbers:
    """How many scenes there are of each part."""

    train: int = 60_000
    """Scenes with labels."""
    validation: int = 2_000
    """Scenes of digits that neither of the others has, by which weights are chosen."""
    test: int = 5_000
    """Scenes of the digits for testing."""


@dataclass(frozen=True)
class ScenesTask:
    """Scenes to compose.

    Attributes:
        scenes: what they look like.
        numbers: how many there are.
        folder: where they go.
        data_dir: where MNIST lies, if it is not to be downloaded.
    """

    scenes: SceneConfig
    numbers: Numbers
    folder: Path
    data_dir: Path | None

    @property
    def path(self) -> Path:
        """The last part that is written."""
        return part_path(self.folder, PARTS[-1])


def part_path(folder: Path, part: str) -> Path:
    """The file of one part."""
    return folder / f"{part}.npz"


def compose_parts(task: ScenesTask) -> None:
    """Composes the scenes of all parts, the same for every seed of the experiment."""
    digits = load_sprites(task.scenes.source, "train", task.data_dir)
    kept = round(KEPT * len(digits))
    sprites = {
        "train": Sprites(digits.images[:kept], digits.labels[:kept]),
        "validation": Sprites(digits.images[kept:], digits.labels[kept:]),
        "test": load_sprites(task.scenes.source, "test", task.data_dir),
    }
    for index, part in enumerate(PARTS):
        generator = stream(Purpose.LABELLED_SCENES, 0, index)
        split = "test" if part == "test" else "train"  # of what a backdrop is made of
        composer, number = Composer(sprites[part], task.scenes, split), getattr(task.numbers, part)
        save_tensors(composer.compose(number, generator), part_path(task.folder, part))


def load_scenes(folder: Path, part: str) -> Scenes:
    """The scenes of one part, with their truth."""
    return load_tensors(part_path(folder, part), Scenes)


def save_tensors(value: Any, path: Path) -> Path:
    """Writes a dataclass of tensors as an .npz file, whole or not at all."""
    tensors = {field.name: getattr(value, field.name) for field in fields(value)}
    arrays = {name: tensor.numpy() for name, tensor in tensors.items() if tensor is not None}
    return write_whole(path, lambda temporary: np.savez(temporary, **arrays))


def load_tensors(path: Path, kind: type[Tensors]) -> Tensors:
    """What `save_tensors` wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return kind(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    except Exception as error:  # of a damaged archive, numpy may raise anything
        raise UserError(f"{path} is damaged; remove it") from error
