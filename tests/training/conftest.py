"""A training that takes less than a second, and ways to cut it short."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from accelerate import Accelerator

from airscene.config import Config, TrainingConfig
from airscene.data import SceneConfig
from airscene.models.air_config import AIRConfig
from airscene.runs import make_sources
from airscene.training.logging import Progress
from airscene.training.loop import Trainer

TINY = Config(
    scenes=SceneConfig(canvas=(16, 16), size=9.0, train_size=64, test_size=32),
    model=AIRConfig(steps=2, height=16, width=16, glimpse=6, what=4, lstm=16, hidden=16, sigma=0.3),
    training=TrainingConfig(
        iterations=12,
        batch=8,
        learning_rate=((0.0, 1e-3), (1.0, 1e-2)),
        prior_odds=((0.0, 0.01), (1.0, 1.0)),
        log_every=2,
        validate_every=6,
        validation_scenes=16,
        snapshots=2,
        compile="off",
    ),
)


@pytest.fixture
def tiny() -> Config:
    """The configuration."""
    return TINY


@pytest.fixture
def make_trainer(tmp_path) -> Callable[..., Trainer]:
    """Makes a trainer for the folder `name`; further arguments change the training's settings."""

    def make(name: str = "run", config: Config = TINY, **settings) -> Trainer:
        config = replace(config, training=replace(config.training, **settings))
        config, sources = make_sources(config, None, "cpu")
        return Trainer(config, tmp_path / name, sources, Accelerator())

    return make


@pytest.fixture
def quiet() -> Progress:
    """A progress that shows nothing."""
    return Progress(TINY.training.iterations, active=False)


@pytest.fixture
def before_step() -> Callable[[Trainer, int, Callable[[], object]], None]:
    """Lets something happen when a trainer has done so many steps."""

    def arrange(trainer: Trainer, step: int, happen: Callable[[], object]) -> None:
        plain = trainer.train_step

        def train_step():
            if trainer.position.step == step:
                happen()
            return plain()

        trainer.train_step = train_step  # type: ignore[method-assign]

    return arrange


@pytest.fixture
def press_ctrl_c() -> Callable[[], None]:
    """Sends this process what Ctrl-C sends."""
    return lambda: signal.raise_signal(signal.SIGINT)


@pytest.fixture
def run_folder(tmp_path) -> Path:
    """Where `make_trainer` trains unless told otherwise."""
    return tmp_path / "run"
