"""Strong generalisation: counts that training never showed (paper, section 3.2 and Figure 4).

AIR, DAIR and DRAW are trained on some counts and tested on others; and, beyond the paper, on many
more objects than any scene of training held. Each finished piece is a file that is not computed
again, so that the same command goes on where it was stopped.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from airscene.config import Config
from airscene.experiments.generalization_tables import accuracy, counters, summary, tables, told
from airscene.experiments.pieces import begin, ending, finish, read_piece, write_results
from airscene.experiments.unseen import ExamConfig, UnseenTask, examine
from airscene.experiments.workers import Workers
from airscene.files import write_whole
from airscene.presets import PRESETS
from airscene.report import figures
from airscene.training.snapshots import load_view

AIR_STEPS = 800  # of AIR's training, half as many as DAIR's

SMALL = {
    "AIR": {"lstm": 16, "glimpse": 8, "hidden": 16},
    "DAIR": {"lstm": 16, "glimpse": 8, "hidden": 16},
    "DRAW": {"lstm": 16, "steps": 4},
}
"""Sizes of the models of a smoke test."""

Key = tuple[str, str, int]  # split, model, seed


@dataclass(frozen=True)
class Split:
    """Counts of training and further ones of the test."""

    seen: tuple[int, ...]
    """Counts of the scenes of training."""
    unseen: tuple[int, ...]
    """Counts that the test adds."""
    canvas: tuple[int, int] = (50, 50)
    """Height and width in pixels on which as many objects as are tested have room."""
    steps: int = 6
    """The largest count that inference may answer: it is to stop by itself."""
    models: tuple[str, ...] = ("AIR", "DAIR", "DRAW")
    """Who takes part."""
    seeds: int = 5
    """Trainings of each model but DRAW, with the seeds from 0 on."""


SPLITS = {
    "extrapolation": Split((0, 1, 2), (3,)),
    "interpolation": Split((0, 1, 3), (2,)),
    "many": Split((0, 1, 2), tuple(range(3, 9)), (80, 80), 12, ("AIR", "DAIR"), 1),
}
"""The paper's two, and one beyond it."""


@dataclass(frozen=True)
class GeneralizationExperiment:
    """Everything that decides what the experiment computes."""

    models: dict[str, Config]
    """The training of each model."""
    splits: dict[str, Split] = field(default_factory=lambda: dict(SPLITS))
    """What is seen and what is tested, by name."""
    seeds: int = 5
    """The most trainings of a model on a split."""
    draw_seeds: int = 1
    """The most trainings of DRAW, which takes several times as long."""
    stages: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
    """Parts of training after which unseen counts are tested."""
    exam: ExamConfig = field(default_factory=ExamConfig)
    """What trained models are evaluated on."""
    quick: bool = False
    """Whether it is a smoke test."""


def full_experiment() -> GeneralizationExperiment:
    """The paper's multi-MNIST."""
    names = {"AIR": "multi-mnist", "DAIR": "dair", "DRAW": "draw"}
    models = {name: PRESETS[preset] for name, preset in names.items()}
    air = models["AIR"]
    models["AIR"] = replace(air, training=replace(air.training, iterations=AIR_STEPS))
    return GeneralizationExperiment(models)


def quick_experiment() -> GeneralizationExperiment:
    """The whole on little, to see that all of it works."""
    full = full_experiment()
    return replace(
        full,
        models={name: _small(config, SMALL[name]) for name, config in full.models.items()},
        splits={
            name: replace(split, canvas=(32, 32) if name != "many" else (64, 64), seeds=1)
            for name, split in SPLITS.items()
        },
        seeds=1,
        stages=(0.5, 1.0),
        exam=ExamConfig(scenes=50, stage_scenes=20, samples=2, bound_scenes=10, labelled=200),
        quick=True,
    )


def carry_out(
    experiment: GeneralizationExperiment, out: Path, data_dir: Path | None, workers: Workers
) -> str:
    """Computes what is missing in the folder, then writes results, tables and figures.

    Returns:
        The summary and the paths, to print.

    Raises:
        UserError: the folder holds another experiment.
        KeyboardInterrupt: Ctrl-C; what is finished is kept, and trainings have been saved.
    """
    head = begin(out, experiment, experiment.models.values(), data_dir)
    tasks = tasks_of(experiment, out, data_dir)
    for task in finish(workers, examine, [*tasks.values()]):
        print(f"{task.folder.relative_to(out)}: {told(read_piece(task.path), task.unseen)}")
    results = head | {
        "runs": grouped({key: read_piece(task.path) for key, task in tasks.items()}),
    }
    paths = [
        *write_results(out, results, tables(results)),
        *draw(results, tasks, out),
    ]
    return ending(summary(results), paths)


def tasks_of(
    experiment: GeneralizationExperiment, out: Path, data_dir: Path | None
) -> dict[Key, UnseenTask]:
    """One for each split, model and seed: seed after seed, and DRAW, which takes longest, last."""
    return {
        (name, model, seed): UnseenTask(
            training_of(experiment.models[model], split, seed),
            split.unseen,
            experiment.stages,
            replace(experiment.exam, steps=split.steps),
            out / name / model / f"seed-{seed}",
            data_dir,
        )
        for group in (("AIR", "DAIR"), ("DRAW",))
        for seed in range(experiment.seeds)
        for name, split in experiment.splits.items()
        for model in group
        if model in split.models
        if seed < (experiment.draw_seeds if model == "DRAW" else split.seeds)
    }


def training_of(config: Config, split: Split, seed: int) -> Config:
    """A training on the counts and the canvas of a split, windows keeping their size in pixels."""
    model = config.model.enlarged(min(split.canvas) / min(config.scenes.canvas))
    height, width = split.canvas
    return replace(
        config,
        scenes=replace(config.scenes, counts=split.seen, canvas=split.canvas),
        model=replace(model, height=height, width=width),
        seed=seed,
    )


def grouped(pieces: dict[Key, Any]) -> dict[str, dict[str, list[Any]]]:
    """The pieces by split and model, in the order of seeds."""
    groups: dict[str, dict[str, list[Any]]] = {}
    for (name, model, _), piece in pieces.items():
        groups.setdefault(name, {}).setdefault(model, []).append(piece)
    return groups


def draw(results: dict[str, Any], tasks: dict[Key, UnseenTask], out: Path) -> Iterator[Path]:
    """Draws the figures and yields their paths."""
    for name, models in results["runs"].items():
        views = {model: load_view(tasks[name, model, 0].view) for model in models}
        curves = _curves(models, "elbo"), _curves(models, "count_accuracy")
        figure = figures.generalization(views, *curves)
        yield write_whole(out / f"{name}.png", figure.savefig)
        by_count = {
            label: [_by_count(run, counter) for run in runs]
            for label, (runs, counter) in counters(models).items()
        }
        figure = figures.accuracy_by_count(by_count, results["config"]["splits"][name]["seen"])
        yield write_whole(out / f"{name}-by-count.png", figure.savefig)


def _small(config: Config, sizes: dict[str, int]) -> Config:
    """A training of a few steps on digits that need no download, of a model of these sizes."""
    few = dict(iterations=4, batch=8, log_every=2, validate_every=2, validation_scenes=20)
    scenes = replace(PRESETS["digits"].scenes, train_size=100, test_size=50)
    model = replace(config.model, **sizes)
    return Config(scenes, model, replace(config.training, **few))


def _curves(models: dict[str, list[Any]], value: str) -> dict[str, list[figures.Curve]]:
    """By model that has this value, the steps and values at the stages of each run."""
    return {
        model: [_columns([(row["step"], row[value]) for row in run["curve"]]) for run in runs]
        for model, runs in models.items()
        if value in runs[0]["curve"][0]
    }


def _columns(rows: list[tuple[float, float]]) -> figures.Curve:
    x, y = np.array(rows, dtype=float).T
    return x, y


def _by_count(run: dict[str, Any], counter: str) -> tuple[np.ndarray, np.ndarray]:
    """True counts and the share counted right of each, both with shape (T,)."""
    counts = np.array([int(n) for n in run["counts"]])
    return counts, np.array([accuracy(run, counter, n) for n in counts])
