"""A trained run, loaded: its configuration, its model, and inference with it."""

import hashlib
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from airscene.config import Config
from airscene.data import pixels_of
from airscene.errors import UserError
from airscene.kinds import kind_of, make_objective
from airscene.models.base import Model
from airscene.results.detections import Detections
from airscene.results.placements import Placements
from airscene.runs.config_file import load_config
from airscene.runs.folder import CONFIG, PICTURES, finish_replacing, is_unsettled, owned
from airscene.runs.pictures import load_record
from airscene.training.checkpoints import Position, load_model
from airscene.training.loop import CHECKPOINT

EARLY = "counts are not to be trusted before the whole schedule is done"


@dataclass(frozen=True)
class Run:
    """A trained model with its configuration.

    Attributes:
        path: the run's folder.
        config: the configuration it was trained with.
        model: the model, in evaluation mode.
        position: how far its training had come.
    """

    path: Path
    config: Config
    model: Model
    position: Position

    def infer(self, images: Any, max_objects: int | None = None) -> Detections:
        """Counts and locates the objects in images.

        Args:
            images: an array or a tensor of floats in [0, 1] or of bytes, of the canvas size, shape
                (M, H, W) or (M, C, H, W).
            max_objects: the largest count to allow for, at least 1; that of training unless given.

        Raises:
            UserError: type, shape or a value does not fit the model's canvas, `max_objects` is out
                of range, or the model has no objects.
        """
        detect, canvas = self.detector(), self.config.model
        pixels = pixels_of(images)
        if pixels.shape[1:] != (canvas.channels, canvas.height, canvas.width):
            raise UserError(
                f"images have shape {tuple(pixels.shape)}; the model at {self.path} takes "
                f"(M, {canvas.channels}, {canvas.height}, {canvas.width})"
            )
        return detect(pixels, max_objects)

    def detector(self) -> Callable[[Tensor, int | None], Detections]:
        """How the model finds objects: images (M, C, H, W) and the largest count give detections.

        Raises:
            UserError: it has no objects.
        """
        kind = kind_of(self.config.model)
        if kind.detect is None:
            raise UserError(
                f"{self.path} holds {kind.title}, which has no objects; name a run of AIR or DAIR"
            )
        return partial(kind.detect, self.model)

    def place(self, images: Tensor) -> Placements:
        """Finds the object in each image of a 3D scene.

        Args:
            images: images in [0, 1], of the canvas size, shape (M, 3, H, W).

        Raises:
            UserError: the model knows nothing of 3D scenes.
        """
        if (place := kind_of(self.config.model).place) is None:
            raise UserError(f"{self.path} holds no model of 3D scenes; name a run of object3d")
        return place(self.model, images)

    @cached_property
    def weights(self) -> str:
        """A hash of the model's weights, which tells an evaluation of them from any other's."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def white(self) -> int | None:
        """The value of 16-bit pixels that is 1, if the run was trained on such pictures."""
        return load_record(self.path).white if (self.path / PICTURES).exists() else None


def load_run(path: Path | str, device: str | torch.device = "cpu") -> Run:
    """Loads a trained run. Torch's global random state stays as it is.

    A `UserWarning` tells of a training that was stopped before its schedule was over.

    Args:
        path: the folder that `airscene train` filled.
        device: where the model is to live.

    Raises:
        UserError: the folder holds no run, or a damaged one.
    """
    path = Path(path).expanduser()
    if is_unsettled(path):
        with suppress(UserError), owned(path):
            finish_replacing(path)
    config = load_config(path / CONFIG)
    model = make_objective(config).model
    position = load_model(path / CHECKPOINT, model)
    _warn_if_early(path, position.scheduled / config.training.iterations)
    return Run(path, config, model.to(device).eval(), position)


def _warn_if_early(path: Path, done: float) -> None:
    """Tells of a training of whose schedule a part in [0, 1] is done, if that is not all."""
    if done < 1:
        warnings.warn(
            f"{path} was stopped at {done:.0%} of its schedule; {EARLY}; go on with: airscene "
            f"train --resume --out {path}",
            stacklevel=3,
        )
