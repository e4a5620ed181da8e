"""Whether a training fits into memory, before anything of it is made."""

import math
from dataclasses import replace

import torch

from airscene.config import Config
from airscene.data.composer import FEW, PIXELS, ROUND_PIXELS
from airscene.data.sources import SOURCES
from airscene.errors import UserError
from airscene.kinds import make_objective
from airscene.models.base import FLOAT
from airscene.passes import free_bytes, gigabytes
from airscene.ranges import flag_of

WEIGHTS, ACTIVATIONS = "weights and optimiser", "activations"
COMPOSING, TRAINING = "composing scenes", "training scenes"
VALIDATION, TEST = "validation scenes", "test scenes"

ON_DEVICE = (WEIGHTS, ACTIVATIONS, TRAINING)  # the others stay with the CPU


def training_bytes(config: Config) -> dict[str, int]:
    """About how many bytes each part of a training takes, by the name of the part.

    Weights count four times, for their gradient and Adam's two moments. How well the activations
    are known is told at `ModelConfig.kept_bytes`. Scenes count as bytes, twice while they are put
    together; held-out ones also as floats, with their reconstruction. Nothing is allocated.

    Args:
        config: the configuration. Its canvas is that of the scenes if they are composed; of the
            user's own images, which are in memory by the time of the estimate, it is the model's.
    """
    scenes = config.scenes
    if not config.data:
        height, width = scenes.canvas
        canvas = {"channels": scenes.channels, "height": height, "width": width}
        config = replace(config, model=replace(config.model, **canvas))
    with torch.device("meta"):
        objective = make_objective(config)
    parts = {
        WEIGHTS: 4 * FLOAT * sum(weight.numel() for weight in objective.parameters()),
        ACTIVATIONS: config.training.batch * objective.samples * config.model.kept_bytes,
    }
    return parts if config.data else parts | _scene_bytes(config)


def check_memory(config: Config, device: torch.device) -> None:
    """Refuses a training that does not fit into memory.

    Args:
        config: the configuration; see `training_bytes` for its canvas.
        device: where the model is to be trained.

    Raises:
        UserError: the message tells what is needed and free, and names the flag to lower.
    """
    needed = training_bytes(config)
    if device.type == "cuda":
        _check(config, {name: needed[name] for name in ON_DEVICE if name in needed}, device)
        needed = {name: size for name, size in needed.items() if name not in (WEIGHTS, ACTIVATIONS)}
        device = torch.device("cpu")
    _check(config, needed, device)


def _check(config: Config, needed: dict[str, int], device: torch.device) -> None:
    total, free = sum(needed.values()), free_bytes(device)
    if total > free:
        largest = max(needed, key=lambda name: needed[name])
        raise UserError(
            f"this training needs about {gigabytes(total)}, of which {largest} "
            f"{gigabytes(needed[largest])}; {gigabytes(free)} are free: "
            f"lower {_flags(config)[largest]}"
        )


def _flags(config: Config) -> dict[str, str]:
    """The flag that makes each part smaller."""
    return {
        WEIGHTS: flag_of("--model.", config.model.size_field),
        ACTIVATIONS: "--training.batch" if config.training.batch > 1 else "--model.steps",
        COMPOSING: "--scenes.canvas",
        TRAINING: "--scenes.train-size",
        VALIDATION: "--training.validation-scenes",
        TEST: "--scenes.test-size",
    }


def _scene_bytes(config: Config) -> dict[str, int]:
    """Bytes of the scenes that are composed, and of composing them."""
    scenes, most = config.scenes, max(config.scenes.counts)
    pixels = math.prod(scenes.canvas)
    values = scenes.channels * pixels
    at_rest = values + 24 * most + 8  # with a box and a label an object
    held_out = 2 * (at_rest + pixels) + 3 * FLOAT * values  # with masks
    smallest, largest = scenes.sides
    placed = pixels * max(1, most)
    candidates = max(1, PIXELS // placed, min(FEW, ROUND_PIXELS // placed))
    tables = (
        4 * FLOAT * (largest - smallest + 1) * (largest + 2) * SOURCES[scenes.source].side
    )  # twice, two axes
    return {
        COMPOSING: 4 * FLOAT * candidates * placed * scenes.channels + tables,
        TRAINING: 0 if config.training.fresh else 2 * at_rest * scenes.train_size,
        VALIDATION: held_out * config.training.validation_scenes,
        TEST: held_out * scenes.test_size,
    }
