"""Runs that take less than a second, and their folders."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from airscene.config import Config, TrainingConfig
from airscene.data import SceneConfig
from airscene.models.air_config import AIRConfig
from airscene.runs import train_run

TINY = Config(
    scenes=SceneConfig(canvas=(16, 16), size=9.0, train_size=64, test_size=32),
    model=AIRConfig(steps=2, glimpse=6, what=4, lstm=16, hidden=16, sigma=0.3),
    training=TrainingConfig(
        iterations=4, batch=8, validate_every=2, validation_scenes=16, snapshots=2, compile="off"
    ),
)


def save_picture(path: Path, value: int) -> None:
    """Writes a grey picture of one value."""
    Image.fromarray(np.full((16, 16), value, np.uint8)).save(path)


@pytest.fixture
def tiny() -> Config:
    """The configuration."""
    return TINY


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """A finished run, which no test may touch."""
    out = tmp_path_factory.mktemp("finished") / "run"
    train_run(TINY, out)
    return out


@pytest.fixture
def run(finished, tmp_path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def pictures(tmp_path) -> Path:
    """A folder of twenty grey pictures, each with a value of its own."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(20):
        save_picture(folder / f"{k:02d}.png", 10 * k)
    return folder


@pytest.fixture
def own(tiny, pictures) -> Config:
    """A training on the pictures."""
    return replace(tiny, data=str(pictures))
