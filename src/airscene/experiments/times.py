"""How long a training step takes with each estimator, all with the same images."""

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path

from airscene.config import Config
from airscene.experiments.pieces import write_piece
from airscene.runs import make_accelerator, make_sources
from airscene.training.loop import Trainer

WARM_UP = 2  # rounds until memory and caches are as they will be


@dataclass(frozen=True)
class TimesTask:
    """What to time.

    Attributes:
        base: the training that all share.
        estimators: names.
        rounds: steps of each estimator.
        path: the piece.
        data_dir: where MNIST lies, if it is not to be downloaded.
    """

    base: Config
    estimators: tuple[str, ...]
    rounds: int
    path: Path
    data_dir: Path | None


def measure_times(task: TimesTask) -> None:
    """Writes the milliseconds of a training step by estimator: medians over rounds.

    A round takes one step of each, so that what slows the machine for a while slows all alike.
    """
    accelerator = make_accelerator(task.base)
    base, sources = make_sources(task.base, task.data_dir, accelerator.device)
    folder = task.path.parent  # where nothing will be written
    trainers = {
        name: Trainer(replace(base, estimator=name), folder, sources, accelerator)
        for name in task.estimators
    }
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(WARM_UP + task.rounds):
        for name, trainer in trainers.items():
            seconds[name].append(_time_step(trainer))
    times = {name: 1000 * statistics.median(some[WARM_UP:]) for name, some in seconds.items()}
    write_piece(task.path, times)


def _time_step(trainer: Trainer) -> float:
    started = time.perf_counter()
    trainer.train_step()["loss"].item()  # waits for the device
    return time.perf_counter() - started
