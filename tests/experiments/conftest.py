"""An experiment that takes seconds, and a pool that works in this process."""

from dataclasses import replace
from pathlib import Path

import pytest

from airscene.config import Config, TrainingConfig
from airscene.data import SceneConfig
from airscene.experiments.estimators import EstimatorsExperiment
from airscene.experiments.gradients import VarianceConfig
from airscene.experiments.learning import EvaluationConfig
from airscene.models.air_config import AIRConfig

TINY = Config(
    scenes=SceneConfig(canvas=(16, 16), size=9.0, train_size=32, test_size=16),
    model=AIRConfig(steps=2, height=16, width=16, glimpse=6, what=4, lstm=16, hidden=16),
    training=TrainingConfig(
        iterations=2, batch=8, validate_every=1, validation_scenes=8, snapshots=0, compile="off"
    ),
)
EXPERIMENT = EstimatorsExperiment(
    TINY,
    seeds=1,
    rounds=1,
    variance=VarianceConfig(images=4, draws=2, adaptation=2),
    evaluation=EvaluationConfig(samples=2, bound_scenes=8),
)


class SerialWorkers:
    """Stands in for `Workers` without an executor: all jobs run in this process."""

    def map(self, job, items):
        for item in items:
            yield item, job(item)


@pytest.fixture
def serial() -> SerialWorkers:
    """All jobs run in this process."""
    return SerialWorkers()


@pytest.fixture
def tiny() -> Config:
    """The training of the tiny experiment."""
    return TINY


@pytest.fixture
def two() -> EstimatorsExperiment:
    """The tiny experiment with two estimators alone."""
    return replace(EXPERIMENT, estimators=("enumerate", "reinforce"))


@pytest.fixture
def everything() -> EstimatorsExperiment:
    """The tiny experiment with all estimators."""
    return EXPERIMENT


@pytest.fixture
def out(tmp_path) -> Path:
    """Where the experiment goes."""
    return tmp_path / "out"
