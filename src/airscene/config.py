"""The whole configuration of a run."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from airscene.core.schedules import PROGRESS, Points, check
from airscene.data import SceneConfig
from airscene.errors import UserError
from airscene.estimators import ESTIMATORS, EstimationConfig
from airscene.models.air_config import AIRConfig
from airscene.models.base import ModelConfig
from airscene.ranges import SEED, Range, check_ranges, in_turn, within


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
    prior_odds: Annotated[Points, *in_turn(PROGRESS, Range(1e-40, 1e12))] = (
        (0.0, 2e-3),
        (0.27, 2e-3),
        (0.6, 10.0),
        (0.8, 10.0),
        (1.0, 1.0),
    )
    """Prior odds p(n + 1) / p(n): low at first against splitting objects, then high, then even."""
    sigma_factor: Annotated[Points, *in_turn(PROGRESS, Range(1, 1000))] = ((0.0, 1.0),)
    """What the model's sigma is multiplied by: more than 1 finds objects first; it ends at 1."""
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
        check("--training.sigma-factor", self.sigma_factor)
        if self.sigma_factor[-1][1] != 1:
            raise UserError(
                f"--training.sigma-factor ends at {self.sigma_factor[-1][1]:g}; let its last value "
                f"be 1, which is the model's own sigma"
            )


@dataclass(frozen=True)
class Config:
    """Everything that decides what a run computes.

    The class of `model` decides the kind of model: see `airscene.kinds`.
    """

    scenes: SceneConfig = field(default_factory=SceneConfig)
    """The scenes to compose, unless the user's own images are given."""
    model: ModelConfig = field(default_factory=AIRConfig)
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
