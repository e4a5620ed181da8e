"""Strokes: characters of Omniglot, taken apart without a label (paper, section 3.2).

A character is a scene of up to four strokes. Models are compared that differ in what may help with
objects that are long and thin, and cross one another. Each is evaluated on characters of people who
drew none to learn from, and on alphabets that no training reads.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from airscene.config import Config
from airscene.core import layers
from airscene.core.counts import presence_of
from airscene.core.seeds import Purpose, global_stream
from airscene.core.spatial import window_box
from airscene.data import Scenes
from airscene.experiments.learning import EvaluationConfig, LearningTask, learn, side_by_side
from airscene.experiments.machine import best_device
from airscene.experiments.omniglot_tables import summary, tables
from airscene.experiments.pieces import (
    begin,
    ending,
    finish,
    read_piece,
    write_piece,
    write_results,
)
from airscene.experiments.tables import number
from airscene.experiments.workers import Workers
from airscene.files import write_whole
from airscene.models.air import AIR
from airscene.presets import PRESETS
from airscene.report import figures
from airscene.results.detections import detect
from airscene.results.evaluation import agreement, bound
from airscene.runs import TEST_SEED, composed, load_run

PRESET = "preset"
LEARNED = EvaluationConfig(1, 100)  # of a training itself; strokes are examined after it
SOURCES = {"seen": "omniglot", "unseen": "omniglot-unseen"}
"""Where characters come from: alphabets that were learned from, by other drawers, and others."""
BATCH = 256  # characters at a time
DRAWN, GENERATED = 3, 40  # characters of each number of strokes in the figure; of the model's own


@dataclass(frozen=True)
class OmniglotExperiment:
    """Everything that decides what the experiment computes."""

    trainings: dict[str, Config]
    """What is compared, by name; the first is drawn."""
    evaluation: EvaluationConfig = field(default_factory=lambda: EvaluationConfig(10, 250))
    """What trained models are evaluated on."""
    seeds: int = 3
    """Trainings of each, with the seeds from 0 on."""
    quick: bool = False
    """Whether it is a smoke test."""


@dataclass(frozen=True)
class ExamineTask:
    """A trained model and the characters to examine it on.

    Attributes:
        folder: the model's run.
        evaluation: importance samples and scenes of the bound.
        data_dir: where Omniglot lies, if it is not to be downloaded.
    """

    folder: Path
    evaluation: EvaluationConfig
    data_dir: Path | None

    @property
    def path(self) -> Path:
        """The piece."""
        return self.folder / "strokes.json"


def full_experiment() -> OmniglotExperiment:
    """The preset, and models that differ from it in one thing each."""
    preset = PRESETS["omniglot"]

    def changed(**model: Any) -> Config:
        return side_by_side(replace(preset, model=replace(preset.model, **model)))

    return OmniglotExperiment(
        {
            PRESET: changed(),
            "free": changed(appearance="free"),
            "free, small windows": changed(appearance="free", scale_prior=(-0.4, 0.3)),
            "free, opaque": changed(appearance="free", compositor="over"),
            "free, no feedback": changed(appearance="free", feedback="none"),
        }
    )


def quick_experiment() -> OmniglotExperiment:
    """The whole on little, to see that all of it works."""
    full = full_experiment()
    few = dict(iterations=4, batch=8, log_every=2, validate_every=4, validation_scenes=20)
    return replace(
        full,
        trainings={
            name: replace(
                config,
                scenes=replace(config.scenes, train_size=100, test_size=40),
                model=replace(config.model, lstm=16, hidden=16, glimpse=8),
                training=replace(config.training, **few),
            )
            for name, config in full.trainings.items()
        },
        evaluation=EvaluationConfig(2, 20),
        seeds=1,
        quick=True,
    )


def carry_out(
    experiment: OmniglotExperiment, out: Path, data_dir: Path | None, workers: Workers
) -> str:
    """Computes what is missing in the folder, then writes results, tables and figures.

    Returns:
        The summary and the paths, to print.

    Raises:
        UserError: the folder holds another experiment, or Omniglot is not to be had.
        KeyboardInterrupt: Ctrl-C; what is finished is kept, and trainings have been saved.
    """
    head = begin(out, experiment, experiment.trainings.values(), data_dir)
    learned = learning_tasks(experiment, out, data_dir)
    for task in finish(workers, learn, learned):
        print(f"{task.folder.relative_to(out)}: learned", flush=True)
    examined = [ExamineTask(task.folder, experiment.evaluation, data_dir) for task in learned]
    for task in finish(workers, examine, examined):
        told = number(read_piece(task.path)["seen"]["spearman"])
        print(f"{task.folder.relative_to(out)}: rank correlation {told}", flush=True)
    runs = {
        name: [
            read_piece(out / name / f"seed-{k}" / "strokes.json") for k in range(experiment.seeds)
        ]
        for name in experiment.trainings
    }
    results = head | {"runs": runs}
    paths = [
        *write_results(out, results, tables(results)),
        *draw(learned[0], out),
    ]
    return ending(summary(results), paths)


def learning_tasks(
    experiment: OmniglotExperiment, out: Path, data_dir: Path | None
) -> list[LearningTask]:
    """All trainings, one of each before the next seed."""
    return [
        LearningTask(
            replace(config, seed=seed),
            out / name / f"seed-{seed}",
            LEARNED,
            data_dir,
        )
        for seed in range(experiment.seeds)
        for name, config in experiment.trainings.items()
    ]


def examine(task: ExamineTask) -> None:
    """Writes how a model takes characters apart, of either sort."""
    run = load_run(task.folder, best_device())
    found = {}
    for sort, source in SOURCES.items():
        scenes = composed(from_source(run.config, source), "test", TEST_SEED, task.data_dir, True)
        found[sort] = steps_and_strokes(cast(AIR, run.model), scenes, task.evaluation)
    write_piece(task.path, found)


def from_source(config: Config, source: str) -> Config:
    """The same with characters of another source."""
    return replace(config, scenes=replace(config.scenes, source=source))


def steps_and_strokes(model: AIR, scenes: Scenes, evaluation: EvaluationConfig) -> dict[str, Any]:
    """How a model's steps go with the strokes of characters, and its bounds.

    Args:
        model: a trained model.
        scenes: characters with their truth.
        evaluation: importance samples and scenes of the tighter bound.

    Returns:
        `spearman`, the rank correlation of the number of steps with that of strokes, NaN if all
        steps are alike; `by_strokes`, of each true number of strokes the characters, the mean
        number of steps, and the mean ELBO in nats; `bound`, the tighter bound; and the figures of
        `airscene.results.evaluation.agreement`.
    """
    assert scenes.count is not None
    images, found = scenes.pixels(), detect(model, scenes.pixels())
    with global_stream(Purpose.EVALUATION, 0):  # the same noise for every run
        bounds = torch.cat([model.elbo(x.to(model.device)).cpu() for x in images.split(BATCH)])
        tighter = bound(model, images[: evaluation.bound_scenes], evaluation.samples)
    rows = []
    for strokes in scenes.count.unique().tolist():
        own = scenes.count == strokes
        rows.append(
            {
                "strokes": strokes,
                "characters": int(own.sum()),
                "steps": float(found.count[own].float().mean()),
                "elbo": float(bounds[own].mean()),
            }
        )
    rank = float("nan")
    if len(found.count.unique()) > 1:
        rank, _ = spearmanr(found.count.numpy(), scenes.count.numpy())
    return {
        "spearman": float(cast(float, rank)),
        "by_strokes": rows,
        "elbo": float(bounds.mean()),
        "bound": tighter,
        **agreement(scenes, found),
    }


def draw(task: LearningTask, out: Path) -> list[Path]:
    """Draws how the model of a run takes characters apart, and characters of its own."""
    run = load_run(task.folder)
    model = cast(AIR, run.model)
    scenes = composed(run.config, "test", TEST_SEED, task.data_dir, masks=True)
    assert scenes.count is not None
    with global_stream(Purpose.GENERATION, 0):
        generated = model.generate(GENERATED)[0].clamp(0, 1).numpy()
    drawings = {
        "strokes.png": figures.strokes(strokes_of(model, scenes[some_of_each(scenes.count)])),
        "generated.png": figures.scenes_grid(generated, 10),
    }
    return [write_whole(out / name, drawing.savefig) for name, drawing in drawings.items()]


def some_of_each(count: Tensor) -> Tensor:
    """The first three characters of each number of strokes.

    >>> some_of_each(torch.tensor([2, 1, 2, 2, 2])).tolist()
    [1, 0, 2, 3]
    """
    return torch.cat([(count == k).nonzero()[:DRAWN, 0] for k in count.unique()])


@torch.no_grad()
def strokes_of(model: AIR, scenes: Scenes) -> figures.Strokes:
    """What each step paints of characters, with their true strokes."""
    assert scenes.masks is not None
    image = scenes.pixels()
    found = model.infer(image)
    count, scene = found.posterior.mode, found.scene
    canvas = layers.size_of(image)
    paint = layers.lift(scene.objects.paint, scene.objects.corner, canvas)[:, :, 0]
    paint = paint * presence_of(count, paint.shape[1])[..., None, None]
    view = figures.View(
        image.numpy(),
        found.canvas(count).clamp(0, 1).numpy(),
        window_box(found.window).numpy(),
        count.numpy(),
    )
    return figures.Strokes(view, paint.clamp(0, 1).numpy(), np.asarray(scenes.masks))
