"""The whole configuration of a run, its presets, and its form on disk."""

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal

from tyro.conf import AvoidSubcommands

from airscene.data import SceneConfig
from airscene.errors import UserError
from airscene.estimators import ESTIMATORS, EstimationConfig
from airscene.files import read_text, write_text
from airscene.models.air import AIRConfig
from airscene.models.draw import DRAWConfig
from airscene.ranges import SEED, Range, check_ranges, in_turn, within
from airscene.schedules import PROGRESS, Points, check

# one flag a field of the model that the preset names, and no subcommand to choose it
Model = AvoidSubcommands[AIRConfig | DRAWConfig]


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained. Schedules are pairs of (progress in [0, 1], value)."""

    iterations: Annotated[int, *within(1, 100_000_000)] = 1000
    """Optimiser steps."""
    batch: Annotated[int, *within(1, 65_536)] = 256
    """Scenes in a step, on each process."""
    learning_rate: Annotated[Points, *in_turn(PROGRESS, Range(1e-12, 1))] = (
        (0.0, 2e-4),
        (0.06, 4e-3),
        (0.6, 4e-3),
        (1.0, 2e-5),
    )
    """Adam's learning rate."""
    prior_odds: Annotated[Points, *in_turn(PROGRESS, Range(1e-12, 1e12))] = (
        (0.0, 2e-3),
        (0.27, 2e-3),
        (0.6, 10.0),
        (0.8, 10.0),
        (1.0, 1.0),
    )
    """Prior odds p(n + 1) / p(n): low at first against splitting objects, then high, then even."""
    clip: Annotated[float, *within(1e-9, 1e12)] = 200.0
    """Largest norm of the gradient, in nats."""
    fresh: bool = False
    """Compose new scenes for every step instead of drawing from a fixed set."""
    precision: Literal["no", "bf16"] = "no"
    """Arithmetic of the networks: no for 32-bit, or bf16 (GPUs)."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile: auto uses it on GPUs, and on CPUs where the run is long enough to gain."""
    log_every: Annotated[int, *within(1, 1_000_000_000)] = 25
    """Steps between two rows of metrics.jsonl."""
    validate_every: Annotated[int, *within(1, 1_000_000_000)] = 100
    """Steps between two validations and checkpoints."""
    validation_scenes: Annotated[int, *within(1, 10_000_000)] = 2000
    """Held-out scenes of a validation."""
    snapshots: Annotated[int, *within(0, 1000)] = 24
    """Stages of training of which the report shows reconstructions."""
    patience: Annotated[int, *within(0, 1_000_000_000)] = 0
    """Stop after so many validations without a better bound; 0 never does."""

    def __post_init__(self) -> None:
        check_ranges(self, "--training.")
        check("--training.learning-rate", self.learning_rate)
        check("--training.prior-odds", self.prior_odds)


@dataclass(frozen=True)
class Config:
    """Everything that decides what a run computes."""

    scenes: SceneConfig = field(default_factory=SceneConfig)
    """The scenes to compose, unless the user's own images are given."""
    model: Model = field(default_factory=AIRConfig)
    """The model: AIR, with or without feedback, or DRAW."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    """The training."""
    data: str = ""
    """Folder, .npy or .npz of the user's own images; when empty, scenes are composed."""
    estimator: str = "enumerate"
    """Gradient estimator for the count, by name: see docs/estimators/index.md."""
    estimation: EstimationConfig = field(default_factory=EstimationConfig)
    """The estimator's settings."""
    seed: Annotated[int, *in_turn(SEED)] = 0
    """Seed of weights, scenes and noise."""

    def __post_init__(self):
        check_ranges(self, "--")
        if self.estimator not in ESTIMATORS:
            raise UserError(
                f"--estimator {self.estimator} is unknown; choose one of {', '.join(ESTIMATORS)}"
            )
        if self.estimator == "vimco" and self.estimation.samples < 2:
            raise UserError(
                f"--estimation.samples is {self.estimation.samples}; vimco compares an image's "
                f"samples with each other and needs at least 2"
            )


def save_config(config: Config, path: Path) -> Path:
    """Writes the resolved configuration as JSON."""
    return write_text(path, json.dumps(dataclasses.asdict(config), indent=2) + "\n")


def load_config(path: Path) -> Config:
    """Reads a configuration that `save_config` wrote.

    Raises:
        UserError: the file is missing, is not JSON, or has a field that is unknown or out of range.
    """
    try:
        values = json.loads(read_text(path))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist; name the folder of a run") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as JSON ({reason}); restore it") from error
    try:
        return _build(Config, values)
    except (TypeError, KeyError) as error:
        raise UserError(f"{path} is no configuration of this version: {error}") from error


def _build(kind: Any, value: Any, name: str = "") -> Any:
    """The value as the annotated type: JSON knows neither dataclasses nor tuples."""
    if isinstance(kind, UnionType) and isinstance(value, dict):
        kind = max(typing.get_args(kind), key=lambda some: _shared(some, value))
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        hints, prefix = typing.get_type_hints(kind), name and f"{name}."
        for unknown in value.keys() - hints.keys():
            raise TypeError(f"{prefix}{unknown} is unknown")
        return kind(**{k: _build(hints[k], part, prefix + k) for k, part in value.items()})  # type: ignore[operator]
    value = _tuple(value)
    if not _fits(kind, value):
        raise TypeError(f"{name or 'the whole'} is {value!r}")
    return value


def _shared(kind: Any, value: dict[str, Any]) -> int:
    """How many of the names are fields of a dataclass."""
    return len(value.keys() & {field.name for field in dataclasses.fields(kind)})


def _fits(kind: Any, value: Any) -> bool:
    """Whether a value without lists is of the annotated type."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return value in parts
    if origin is tuple and parts[-1] is Ellipsis:
        return isinstance(value, tuple) and all(_fits(parts[0], part) for part in value)
    if origin is tuple:
        return (
            isinstance(value, tuple) and len(value) == len(parts) and all(map(_fits, parts, value))
        )
    return type(value) is kind or (kind is float and type(value) is int)


def _tuple(value: Any) -> Any:
    return tuple(map(_tuple, value)) if isinstance(value, list) else value
