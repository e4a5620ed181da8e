"""Trainings to the end, evaluated on held-out scenes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from airscene.config import Config
from airscene.experiments.machine import best_device
from airscene.experiments.pieces import logged, write_piece
from airscene.results.evaluation import evaluate
from airscene.runs import TEST_SEED, holds_run, load_run, own_scenes, train_run
from airscene.training.logging import read_metrics
from airscene.training.loop import CHECKPOINT, DivergedError

THRESHOLDS = (0.95, 0.98)  # of validation count accuracy


@dataclass(frozen=True)
class EvaluationConfig:
    """What a trained run is evaluated on."""

    samples: int = 100
    """Importance samples of the bound."""
    bound_scenes: int = 500
    """Held-out scenes of the bound."""


@dataclass(frozen=True)
class LearningTask:
    """A training and its evaluation.

    Attributes:
        config: what to train.
        folder: the run's.
        evaluation: what to hold it against.
        data_dir: where MNIST lies, if it is not to be downloaded.
        test_seed: of the held-out scenes.
    """

    config: Config
    folder: Path
    evaluation: EvaluationConfig
    data_dir: Path | None
    test_seed: int = TEST_SEED

    @property
    def path(self) -> Path:
        """The piece."""
        return self.folder / "result.json"


def side_by_side(config: Config, **settings: Any) -> Config:
    """The configuration with settings of training that suit many runs at a time.

    Args:
        config: of a run on its own.
        settings: further ones of training.
    """
    # not compiled: that would compare how well each run compiles, too
    training = replace(config.training, snapshots=0, compile="off", **settings)
    return replace(config, training=training)


def learn(task: LearningTask) -> None:
    """Trains and evaluates; what is printed goes to the run's log.txt.

    Raises:
        KeyboardInterrupt: it was told to stop, and has saved where it was.
    """
    with logged(task.folder):
        failed = _train(task)
        table = {"estimator": task.config.estimator, "seed": task.config.seed, "failed": failed}
        write_piece(task.path, table | _course(task) | _evaluation(task))


def time_to(curve: list[dict[str, Any]], accuracy: float) -> dict[str, Any] | None:
    """Step and seconds of the first validation with so much count accuracy, if there is one.

    The count accuracy of a model that does not count is None.
    """
    reached = (row for row in curve if (row["count_accuracy"] or 0.0) >= accuracy)
    row = next(reached, None)
    return row and {"step": row["step"], "seconds": row["seconds"]}


def _train(task: LearningTask) -> str | None:
    """Why training failed, if it did."""
    try:
        going_on = holds_run(task.folder)
        reason = train_run(task.config, task.folder, task.data_dir, resume=going_on)
    except DivergedError as error:  # a result like another
        return str(error)
    if reason == "interrupted":
        raise KeyboardInterrupt
    return None


def _course(task: LearningTask) -> dict[str, Any]:
    """How training went, from the run's metrics."""
    rows = read_metrics(task.folder)
    curve = [
        {
            "step": row["step"],
            "seconds": row["seconds"],
            "count_accuracy": row.get("validation/count_accuracy"),
            "elbo": row["validation/elbo"],
        }
        for row in rows
        if "validation/elbo" in row
    ]
    return {
        "iterations": task.config.training.iterations,
        "training_seconds": rows[-1]["seconds"] if rows else 0.0,
        "reached": {f"{accuracy:g}": time_to(curve, accuracy) for accuracy in THRESHOLDS},
        "curve": curve,
    }


def _evaluation(task: LearningTask) -> dict[str, Any]:
    """Counts, boxes and bounds on held-out scenes; nothing but a null where no model was saved."""
    if not (task.folder / CHECKPOINT).exists():
        return {"count_accuracy": None, "elbo": None, "bound": None}
    run = load_run(task.folder, best_device())
    scenes = own_scenes(run, data_dir=task.data_dir, seed=task.test_seed)
    return evaluate(run.model, scenes, task.evaluation.samples, task.evaluation.bound_scenes)
