"""Networks that are trained on scenes whose kinds, poses and cameras they are told."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from airscene.config import Config
from airscene.core.schedules import value_at
from airscene.core.seeds import Purpose, global_stream, stream
from airscene.data import Scenes
from airscene.experiments.ordered_reader import OrderedReader
from airscene.experiments.pieces import write_piece
from airscene.kinds import make_objective
from airscene.models.arrangement import Arrangement
from airscene.models.pose import code_of
from airscene.models.rendered import Rendered
from airscene.models.tabletop import Tabletop, TabletopConfig
from airscene.results.placements import agreement, by_repeats, place
from airscene.runs import TEST_SEED, composed

WEIGHTS = "supervised.safetensors"
MOST_ATTENDED = "most_attended"
"""In a piece: the figures of the same network where its attention is narrowed."""


@dataclass(frozen=True)
class SupervisedTask:
    """A training on labels. That of the table-top's own network would be one more of dreams.

    Attributes:
        config: of the model, its scenes and its training; each step sees as many scenes as one of
            dreams would.
        folder: where the piece and the weights go.
        network: that of the model; or, for a table-top, that of `ordered_reader`.
        held_out: of other scenes to evaluate on; those of `config` unless given.
        test_seed: of the held-out scenes.
    """

    config: Config
    folder: Path
    network: Literal["own", "ordered"] = "own"
    held_out: Config | None = None
    test_seed: int = TEST_SEED

    @property
    def path(self) -> Path:
        """The piece."""
        return self.folder / "result.json"


def supervise(task: SupervisedTask) -> None:
    """Trains on the labels of the training scenes, and writes how held-out ones are found."""
    config, began = task.config, time.perf_counter()
    model = _fresh(task)
    _fit(model, composed(config, "train", config.seed, None), config)
    seconds = time.perf_counter() - began
    task.folder.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), task.folder / WEIGHTS)
    test = composed(task.held_out or config, "test", task.test_seed, None)
    table = _found_by(model.eval(), test)
    if isinstance(model, OrderedReader):
        model.narrow = True
        table[MOST_ATTENDED] = _found_by(model, test)
    write_piece(task.path, {"seed": config.seed, "training_seconds": seconds, **table})


def _found_by(model: Any, test: Scenes) -> dict[str, Any]:
    """How well a network finds what held-out scenes hold."""
    found = place(model, test.pixels())
    return agreement(test, found) | by_repeats(test, found)


def load_supervised(task: SupervisedTask) -> Any:
    """The trained network."""
    model = _fresh(task)
    model.load_state_dict(load_file(task.folder / WEIGHTS))
    return model.eval()


def _fresh(task: SupervisedTask) -> Any:
    """The network before training, whose weights are decided by the seed."""
    if task.network == "own":
        return make_objective(task.config).model
    with global_stream(Purpose.WEIGHTS, task.config.seed):
        return OrderedReader(cast(TabletopConfig, task.config.model))


def _fit(model: Any, scenes: Scenes, config: Config) -> None:
    """Raises the score of the labels, with the schedule of the configuration."""
    assert scenes.labels is not None and scenes.pose is not None and scenes.camera is not None
    labels = Arrangement(scenes.labels, scenes.pose, scenes.camera)
    score, training = SCORES[type(model)], config.training
    optimizer = torch.optim.Adam(model.parameters())
    number = training.batch * model.config.dreams
    for step in range(training.iterations):
        generator = stream(Purpose.IMAGES, config.seed, step)
        rows = torch.randint(len(scenes), (number,), generator=generator)
        progress = step / max(1, training.iterations - 1)
        optimizer.param_groups[0]["lr"] = value_at(training.learning_rate, progress)
        told = Arrangement(*(part[rows] for part in labels))
        loss = -score(model, scenes[rows].pixels(), told).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimizer.step()


def _of_one(model: Rendered, image: Tensor, told: Arrangement) -> Tensor:
    kind, code = told.kind[None, :, 0], code_of(told.pose[None, :, 0])
    return model(image).log_prob(kind, code)[0]


def _of_many(model: Tabletop, image: Tensor, told: Arrangement) -> Tensor:
    posterior = model(image)
    return posterior.log_prob(told, posterior.cells_of(told))


SCORES: dict[type, Callable[[Any, Tensor, Arrangement], Tensor]] = {
    Rendered: _of_one,
    Tabletop: _of_many,
    OrderedReader: OrderedReader.score,
}
"""What training on labels raises, shape (B,): their log-density, or how well they are answered."""
