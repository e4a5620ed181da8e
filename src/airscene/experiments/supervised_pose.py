"""The network of one object, trained on scenes whose kinds and poses it is told."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file

from airscene.config import Config
from airscene.data import Scenes
from airscene.experiments.pieces import write_piece
from airscene.kinds import make_objective
from airscene.models.pose import code_of
from airscene.models.rendered import Rendered
from airscene.placements import agreement, place
from airscene.runs import TEST_SEED, composed
from airscene.schedules import value_at
from airscene.seeds import Purpose, stream

WEIGHTS = "supervised.safetensors"


@dataclass(frozen=True)
class SupervisedTask:
    """A training on labels.

    Attributes:
        config: of the model, its scenes and its training; each step sees as many scenes as one of
            dreams would.
        folder: where the piece and the weights go.
    """

    config: Config
    folder: Path

    @property
    def path(self) -> Path:
        """The piece."""
        return self.folder / "result.json"


def supervise(task: SupervisedTask) -> None:
    """Trains on the labels of the training scenes, and writes how held-out ones are found."""
    config, began = task.config, time.perf_counter()
    model = cast(Rendered, make_objective(config).model)
    _fit(model, composed(config, "train", config.seed, None), config)
    seconds = time.perf_counter() - began
    test = composed(config, "test", TEST_SEED, None)
    task.folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), task.folder / WEIGHTS)
    table = agreement(test, place(model.eval(), test.pixels()))
    write_piece(task.path, {"seed": config.seed, "training_seconds": seconds, **table})


def load_supervised(task: SupervisedTask) -> Rendered:
    """The trained model."""
    model = cast(Rendered, make_objective(task.config).model)
    model.load_state_dict(load_file(task.folder / WEIGHTS))
    return model.eval()


def _fit(model: Rendered, scenes: Scenes, config: Config) -> None:
    """Minus the log-density of the labels, with the schedule of the configuration."""
    assert scenes.labels is not None and scenes.pose is not None
    kind, code, training = scenes.labels[:, 0], code_of(scenes.pose[:, 0]), config.training
    optimizer = torch.optim.Adam(model.parameters())
    number = training.batch * model.config.dreams
    for step in range(training.iterations):
        generator = stream(Purpose.IMAGES, config.seed, step)
        rows = torch.randint(len(scenes), (number,), generator=generator)
        progress = step / max(1, training.iterations - 1)
        optimizer.param_groups[0]["lr"] = value_at(training.learning_rate, progress)
        posterior = model(scenes[rows].pixels())
        loss = -posterior.log_prob(kind[rows][None], code[rows][None]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimizer.step()
