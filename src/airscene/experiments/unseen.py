"""One training, tested on numbers of objects that it saw and on numbers that it never saw."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from airscene.config import Config
from airscene.core.seeds import Purpose, global_stream
from airscene.data import Scenes, compose_split
from airscene.experiments.machine import best_device
from airscene.experiments.pieces import logged, write_piece
from airscene.experiments.probes import Probe, fit_probes, posterior_means
from airscene.experiments.reference import ReferenceTask, stage_path, stage_step, train_reference
from airscene.kinds import kind_of, make_objective
from airscene.models.base import Model
from airscene.results import evaluation, metrics
from airscene.training.checkpoints import load_model
from airscene.training.snapshots import save_view, take_view

SHOWN = 8  # scenes of the picture
LABEL_SEED = 2  # of the scenes that probes learn from; 0 and 1 are held out


@dataclass(frozen=True)
class ExamConfig:
    """What a trained model is tested on."""

    scenes: int = 1000
    """Held-out scenes of each count."""
    steps: int = 6
    """The largest count that inference may answer."""
    stage_scenes: int = 500
    """Held-out scenes of an unseen count at each stage of training."""
    samples: int = 100
    """Importance samples of the bound."""
    bound_scenes: int = 200
    """Held-out scenes of each count for the bound."""
    labelled: int = 5000
    """Scenes of the training counts whose labels probes learn from."""


@dataclass(frozen=True)
class UnseenTask:
    """A training and what it is tested on.

    Attributes:
        config: what to train; its scenes have the counts that are seen.
        unseen: further counts to test.
        stages: parts of the training, in (0, 1], rising to 1, at which to test.
        exam: how to test.
        folder: where the piece, the last weights and a picture go.
        data_dir: where MNIST lies, if it is not to be downloaded.
    """

    config: Config
    unseen: tuple[int, ...]
    stages: tuple[float, ...]
    exam: ExamConfig
    folder: Path
    data_dir: Path | None

    @property
    def path(self) -> Path:
        """The piece."""
        return self.folder / "result.json"

    @property
    def view(self) -> Path:
        """What the model makes of scenes with the largest unseen count."""
        return self.folder / "view.npz"

    def scenes(self, counts: tuple[int, ...], number: int, seed: int = 0) -> Scenes:
        """Scenes that hold so many objects; with the seed of probes, of training digits."""
        config = replace(self.config.scenes, counts=counts, test_size=number, train_size=number)
        split = "train" if seed == LABEL_SEED else "test"
        return compose_split(config, split, seed, self.data_dir)


def examine(task: UnseenTask) -> None:
    """Trains and tests; what is printed goes to the folder's log.txt.

    Raises:
        KeyboardInterrupt: it was told to stop, and has saved where it was.
    """
    with logged(task.folder):
        if not all(stage_path(task.folder, stage).exists() for stage in task.stages):
            train_reference(ReferenceTask(task.config, task.folder, task.stages, task.data_dir))
        models = {stage: _load(task, stage) for stage in task.stages}
        with global_stream(Purpose.EVALUATION, 0):
            table = {
                "seed": task.config.seed,
                "iterations": task.config.training.iterations,
                "curve": _curve(task, models),
                "counts": _by_count(task, models[1.0]),
            }
        shown = task.scenes((max(task.unseen),), SHOWN)
        save_view(take_view(models[1.0], shown, task.exam.steps), task.view)
        write_piece(task.path, table)
        for stage in task.stages[:-1]:  # large, and not needed again
            stage_path(task.folder, stage).unlink(missing_ok=True)


def _load(task: UnseenTask, stage: float) -> Model:
    """The model at a stage."""
    model = make_objective(task.config).model
    load_model(stage_path(task.folder, stage), model)
    return model.to(best_device()).eval()


def _curve(task: UnseenTask, models: dict[float, Model]) -> list[dict[str, float]]:
    """How the model at each stage does on unseen counts."""
    scenes = task.scenes(task.unseen, task.exam.stage_scenes)
    return [
        {"step": stage_step(task.config, stage), **_on_unseen(task, scenes, model)}
        for stage, model in models.items()
    ]


def _on_unseen(task: UnseenTask, scenes: Scenes, model: Model) -> dict[str, float]:
    """Bound, if the model has one of such scenes, and count accuracy, if it counts."""
    row = {}
    if _has_bound(model, max(task.unseen)):
        row["elbo"] = evaluation.elbo(model, scenes.pixels())
    detect = kind_of(model.config).detect
    if detect is not None and scenes.count is not None:
        count = detect(model, scenes.pixels(), task.exam.steps).count
        row["count_accuracy"] = metrics.count_accuracy(scenes.count, count)
    return row


def _by_count(task: UnseenTask, model: Model) -> dict[str, Any]:
    """Of each true count, seen or not, what was inferred and the bounds."""
    counter = _Counter(task, model)
    counts = sorted({*task.config.scenes.counts, *task.unseen})
    return {str(n): _one_count(task, model, counter, n) for n in counts}


def _one_count(task: UnseenTask, model: Model, counter: "_Counter", n: int) -> dict[str, Any]:
    scenes, exam = task.scenes((n,), task.exam.scenes), task.exam
    images = scenes.pixels()
    few = images[: exam.bound_scenes]
    fits = _has_bound(model, n)
    return {
        "inferred": {
            name: np.bincount(count, minlength=exam.steps + 1).tolist()
            for name, count in counter.count(images).items()
        },
        "elbo": evaluation.elbo(model, images) if fits else None,
        "bound": evaluation.bound(model, few, exam.samples) if fits else None,
    }


def _has_bound(model: Model, n: int) -> bool:
    """Whether scenes of n objects are possible under the model, whose N is that of training."""
    return kind_of(model.config).detect is None or n <= model.config.steps


class _Counter:
    """Counts by the model itself or, where it does not count, by probes of its latents."""

    def __init__(self, task: UnseenTask, model: Model):
        self.model, self.steps = model, task.exam.steps
        self.detect = kind_of(model.config).detect
        self.probes: dict[str, Probe] = {}
        if self.detect is None:
            labelled = task.scenes(task.config.scenes.counts, task.exam.labelled, LABEL_SEED)
            assert labelled.count is not None
            features = posterior_means(model, labelled.pixels())
            self.probes = fit_probes(features, labelled.count.numpy())

    def count(self, images: Tensor) -> dict[str, np.ndarray]:
        """The count of each image, by the name of what counted."""
        if self.detect is not None:
            return {"model": self.detect(self.model, images, self.steps).count.numpy()}
        features = posterior_means(self.model, images)
        return {name: probe.count(features) for name, probe in self.probes.items()}
