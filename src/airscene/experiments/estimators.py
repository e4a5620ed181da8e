"""Every gradient estimator on the same task: variance, cost of a step, and what is learned.

Each finished piece is a file that is not computed again, so that the same command goes on where it
was stopped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from airscene.config import Config
from airscene.estimators import ESTIMATORS
from airscene.experiments.estimators_tables import summary, tables
from airscene.experiments.gradients import (
    EXACT,
    GROUPS,
    VarianceConfig,
    VarianceTask,
    measure_variance,
)
from airscene.experiments.learning import (
    THRESHOLDS,
    EvaluationConfig,
    LearningTask,
    learn,
    side_by_side,
)
from airscene.experiments.pieces import (
    begin,
    ending,
    finish,
    read_piece,
    write_piece,
    write_results,
)
from airscene.experiments.reference import ReferenceTask, train_reference
from airscene.experiments.tables import accuracy_of
from airscene.experiments.times import TimesTask, measure_times
from airscene.experiments.workers import Workers
from airscene.files import write_whole
from airscene.presets import PRESETS
from airscene.report import figures

STEPS = 800  # of `enumerate`, so that all estimators can be paid


@dataclass(frozen=True)
class EstimatorsExperiment:
    """Everything that decides what the experiment computes."""

    base: Config
    """The training that all estimators share; its iterations are those of `enumerate`."""
    seeds: int = 5
    """Trainings of each estimator, with the seeds from 0 on."""
    estimators: tuple[str, ...] = tuple(ESTIMATORS)
    """Names, `enumerate` among them."""
    stages: tuple[float, ...] = (0.1, 0.4, 1.0)
    """Parts of the reference's training after which variance is measured, rising to 1."""
    rounds: int = 30
    """Steps of each estimator that are timed."""
    variance: VarianceConfig = field(default_factory=VarianceConfig)
    """How variance is measured."""
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    """What trained models are evaluated on."""
    quick: bool = False
    """Whether it is a smoke test."""


def full_experiment() -> EstimatorsExperiment:
    """The paper's multi-MNIST."""
    return EstimatorsExperiment(
        side_by_side(
            PRESETS["multi-mnist"], iterations=STEPS, validate_every=50, validation_scenes=1000
        )
    )


def quick_experiment() -> EstimatorsExperiment:
    """The whole on little, to see that all of it works."""
    preset = PRESETS["digits"]
    small = replace(preset, scenes=replace(preset.scenes, train_size=1000, test_size=200))
    few = dict(iterations=60, batch=64, log_every=10, validate_every=20, validation_scenes=200)
    return EstimatorsExperiment(
        side_by_side(small, **few),
        seeds=1,
        rounds=5,
        variance=VarianceConfig(images=16, draws=10, adaptation=20),
        evaluation=EvaluationConfig(samples=10, bound_scenes=100),
        quick=True,
    )


def carry_out(
    experiment: EstimatorsExperiment, out: Path, data_dir: Path | None, workers: Workers
) -> str:
    """Computes what is missing in the folder, then writes results, tables and figures.

    Returns:
        The summary and the paths, to print.

    Raises:
        UserError: the folder holds another experiment.
        KeyboardInterrupt: Ctrl-C; what is finished is kept, and trainings have been saved.
    """
    head = begin(out, experiment, [experiment.base], data_dir)
    measure(experiment, out, data_dir, workers)
    train_all(experiment, out, data_dir, workers)
    results = head | collect(experiment, out)
    paths = [
        *write_results(out, results, tables(results)),
        *draw(results, out),
    ]
    return ending(summary(results), paths)


def measure(
    experiment: EstimatorsExperiment, out: Path, data_dir: Path | None, workers: Workers
) -> None:
    """The reference's stages, the times of steps, and the variance of gradients."""
    base, stages, reference = experiment.base, experiment.stages, out / "reference"
    training = ReferenceTask(base, reference, stages, data_dir)
    for task in finish(workers, train_reference, [training]):
        _tell(f"reference: {task.config.training.iterations:,} steps of {task.config.estimator}")
    path = out / "times.json"
    timing = TimesTask(base, experiment.estimators, experiment.rounds, path, data_dir)
    for _ in finish(workers, measure_times, [timing]):
        for name, value in read_piece(path).items():
            _tell(f"step of {name}: {value:.1f} ms")
    tasks = variance_tasks(experiment, out, data_dir)
    first = [task for task in tasks if task.name == EXACT]  # the others need what it finds out
    for some in (first, tasks):
        for task in finish(workers, measure_variance, some):
            _tell(f"variance of {task.name}: measured")


def train_all(
    experiment: EstimatorsExperiment, out: Path, data_dir: Path | None, workers: Workers
) -> None:
    """Trains and evaluates every estimator with every seed."""
    for task in finish(workers, learn, learning_tasks(experiment, out, data_dir)):
        run = read_piece(task.path)
        accuracy = f"{accuracy_of(run):.1%} counted right"
        if run["failed"]:
            accuracy = f"diverged, {accuracy}"
        name, seed = task.config.estimator, task.config.seed
        _tell(f"{name}, seed {seed}: {accuracy}, {run['training_seconds']:.0f} s")


def variance_tasks(
    experiment: EstimatorsExperiment, out: Path, data_dir: Path | None
) -> list[VarianceTask]:
    """One for each estimator."""
    folders = out / "reference", out / "variance"
    settings, stages = experiment.variance, experiment.stages
    return [
        VarianceTask(name, experiment.base, settings, stages, *folders, data_dir)
        for name in experiment.estimators
    ]


def learning_tasks(
    experiment: EstimatorsExperiment, out: Path, data_dir: Path | None
) -> list[LearningTask]:
    """One for each seed and estimator, all estimators of a seed before the next seed."""
    times = read_piece(out / "times.json")
    return [
        LearningTask(
            replace(equal_budget(experiment.base, name, times), seed=seed),
            run_folder(out, name, seed),
            experiment.evaluation,
            data_dir,
        )
        for seed in range(experiment.seeds)
        for name in experiment.estimators
    ]


def equal_budget(base: Config, name: str, times: dict[str, Any]) -> Config:
    """The estimator's training, as many steps of it as take the time of the base's training."""
    iterations = max(1, round(base.training.iterations * times[EXACT] / times[name]))
    training = replace(base.training, iterations=iterations)
    return replace(base, estimator=name, training=training)


def run_folder(out: Path, name: str, seed: int) -> Path:
    """Where a run lies."""
    return out / "runs" / name / f"seed-{seed}"


def collect(experiment: EstimatorsExperiment, out: Path) -> dict[str, Any]:
    """All that was found, as plain values."""
    times = read_piece(out / "times.json")
    variances = {
        name: _with_costs(read_piece(out / "variance" / f"{name}.json"), times, name)
        for name in experiment.estimators
    }
    write_piece(out / "variance.json", variances)
    return {
        "times": times,
        "enumeration_overhead": times[EXACT] / times["reinforce"],
        "variance": variances,
        "runs": {
            name: [
                read_piece(run_folder(out, name, seed) / "result.json")
                for seed in range(experiment.seeds)
            ]
            for name in experiment.estimators
        },
    }


def draw(results: dict[str, Any], out: Path) -> Iterator[Path]:
    """Draws the figures and yields their paths."""
    runs = {name: [_curve(run) for run in some] for name, some in results["runs"].items()}
    learning = figures.learning_curves(runs, median_curve(results["runs"][EXACT]), THRESHOLDS[0])
    yield write_whole(out / "learning.png", learning.savefig)
    stages = [f"{stage:.0%} of training" for stage in results["config"]["stages"]]
    median, high = (_spreads(results, value) for value in ("median", "p90"))
    names = [*results["variance"]]
    variance = figures.gradient_variance(median, high, names, stages, GROUPS)
    yield write_whole(out / "variance.png", variance.savefig)


def median_curve(runs: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Medians over runs, at every step with a validation, of seconds and of count accuracy."""
    steps = sorted({row["step"] for run in runs for row in run["curve"]})
    medians = [
        np.median(
            [
                (row["seconds"], row["count_accuracy"])
                for run in runs
                for row in run["curve"]
                if row["step"] == step
            ],
            axis=0,
        )
        for step in steps
    ]
    seconds, accuracy = np.reshape(medians, (-1, 2)).T
    return seconds, accuracy


def _with_costs(stages: dict[str, Any], times: dict[str, Any], name: str) -> dict[str, Any]:
    """Variance at equal images, and at equal compute, by stage and group.

    Averaging more draws divides the variance by their number, so what counts is variance times the
    time of a step.
    """
    cost = times[name] / times[EXACT]
    return {
        stage: {
            group: {
                "parameters": value["parameters"],
                "equal_images": {key: value[key] for key in ("median", "p90")},
                "equal_compute": {key: _scaled(value[key], cost) for key in ("median", "p90")},
            }
            for group, value in groups.items()
        }
        for stage, groups in stages.items()
    }


def _scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else factor * value


def _spreads(results: dict[str, Any], value: str) -> np.ndarray:
    """Variance at equal images, with shape (estimators, stages, groups), NaN where unknown."""
    return np.array(
        [
            [[groups[group]["equal_images"][value] for group in GROUPS] for groups in some.values()]
            for some in results["variance"].values()
        ],
        dtype=float,
    )


def _curve(run: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Seconds and count accuracy of a run's validations, each with shape (T,)."""
    rows = [(row["seconds"], row["count_accuracy"]) for row in run["curve"]]
    seconds, accuracy = np.reshape(rows, (-1, 2)).T
    return seconds, accuracy


def _tell(line: str) -> None:
    print(line, flush=True)
