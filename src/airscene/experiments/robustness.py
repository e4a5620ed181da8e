"""Where it works: trainings over sizes of digits and canvas and the prior of the windows.

A user's images are of some size, and what they say of their objects is rough. The sweep trains each
combination with many seeds and tells how many succeed, all at one setting: σ is that of the default
evidence of an object. Each finished training is a file that is not
computed again, so that the same command goes on where it was stopped.
"""

import dataclasses
import itertools
import statistics
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from airscene.config import Config
from airscene.experiments.learning import EvaluationConfig, LearningTask, learn, side_by_side
from airscene.experiments.pieces import begin, ending, finish, read_piece, write_results
from airscene.experiments.tables import accuracy_of, page, percent, success, table
from airscene.experiments.workers import Workers
from airscene.files import write_whole
from airscene.models.air_config import AIRConfig, scale_of
from airscene.presets import PRESETS
from airscene.report import figures

STEPS = 400  # of a training, which is validated at its end alone
FITTING = 0.93  # side of the window that fits a digit best, over the side of its sprite
NOTES = (
    "Success is a final count accuracy of at least 95 % on held-out scenes, of a run that did not "
    "diverge. The window is that of the scale prior's mean, as a multiple of the one that fits."
)


@dataclass(frozen=True)
class Cell:
    """One combination."""

    digit: int
    """Mean side of a digit's square in pixels."""
    canvas: int
    """Side of the canvas in pixels."""
    window: float
    """Expected side of a window, as a multiple of the one that fits a digit."""

    @property
    def name(self) -> str:
        """A folder's name."""
        return f"{self.digit}px-on-{self.canvas}-window-{self.window:g}"


@dataclass(frozen=True)
class RobustnessExperiment:
    """Everything that decides what the experiment computes."""

    base: Config
    """The training that all share."""
    digits: tuple[int, ...] = (21, 16, 13, 10)
    """Mean sides of a digit's square in pixels."""
    canvases: tuple[int, ...] = (50, 64)
    """Sides of the canvas in pixels."""
    windows: tuple[float, ...] = (0.75, 1.4)
    """Expected sides of a window, as multiples of the one that fits."""
    seeds: int = 10
    """Trainings of each combination, with the seeds from 0 on."""
    evaluation: EvaluationConfig = field(default_factory=lambda: EvaluationConfig(1, 100))
    """What trained models are evaluated on."""
    quick: bool = False
    """Whether it is a smoke test."""

    @property
    def cells(self) -> list[Cell]:
        """All combinations."""
        axes = self.digits, self.canvases, self.windows
        return [Cell(*values) for values in itertools.product(*axes)]


def full_experiment() -> RobustnessExperiment:
    """DAIR on multi-MNIST, with an eighth of its preset's images, so that the sweep can be paid."""
    preset = PRESETS["dair"]
    scenes = replace(preset.scenes, train_size=20_000, test_size=2_000)
    base = side_by_side(
        replace(preset, scenes=scenes, model=replace(preset.model, sigma=None)),
        iterations=STEPS,
        batch=128,
        validate_every=STEPS,
        validation_scenes=500,
    )
    return RobustnessExperiment(base)


def quick_experiment() -> RobustnessExperiment:
    """The whole on little, to see that all of it works."""
    preset = PRESETS["dair"]
    scenes = replace(PRESETS["digits"].scenes, train_size=200, test_size=50)
    model = replace(preset.model, hidden=16, what=4, sigma=None)
    few = dict(iterations=4, batch=8, validate_every=4, validation_scenes=500)
    base = side_by_side(replace(preset, scenes=scenes, model=model), **few)
    return RobustnessExperiment(base, (10,), (24, 32), (0.75, 1.0), 1, quick=True)


def carry_out(
    experiment: RobustnessExperiment, out: Path, data_dir: Path | None, workers: Workers
) -> str:
    """Computes what is missing in the folder, then writes results, tables and the heatmap.

    Returns:
        The summary and the paths, to print.

    Raises:
        UserError: the folder holds another experiment.
        KeyboardInterrupt: Ctrl-C; what is finished is kept, and trainings have been saved.
    """
    head = begin(out, experiment, [experiment.base], data_dir)
    tasks = {
        (cell, seed): LearningTask(
            training_of(experiment.base, cell, seed),
            out / cell.name / f"seed-{seed}",
            experiment.evaluation,
            data_dir,
        )
        for seed in range(experiment.seeds)  # the whole grid with one seed before the next
        for cell in experiment.cells
    }
    for task in finish(workers, learn, [*tasks.values()]):
        accuracy = accuracy_of(read_piece(task.path))
        print(f"{task.folder.relative_to(out)}: {percent(accuracy)} counted right", flush=True)
    runs = {
        cell: [read_piece(tasks[cell, seed].path) for seed in range(experiment.seeds)]
        for cell in experiment.cells
    }
    results = head | {
        "runs": {cell.name: some for cell, some in runs.items()},
    }
    figure = heatmap(experiment, runs)
    paths = [
        *write_results(out, results, tables(experiment, runs)),
        write_whole(out / "heatmap.png", figure.savefig),
    ]
    return ending(by_cell(runs), paths)


def training_of(base: Config, cell: Cell, seed: int) -> Config:
    """The training of a combination."""
    _, std = cast(AIRConfig, base.model).scale_prior
    share = min(0.9, cell.window * FITTING * cell.digit / cell.canvas)
    scale_prior = (round(scale_of(share), 3), std)
    sides = dict(height=cell.canvas, width=cell.canvas, glimpse=min(20, cell.digit))
    model = replace(base.model, **sides, scale_prior=scale_prior)
    size = cell.digit * base.scenes.scale_mean
    scenes = replace(base.scenes, canvas=(cell.canvas, cell.canvas), size=size)
    return replace(base, scenes=scenes, model=model, seed=seed)


def tables(experiment: RobustnessExperiment, runs: dict[Cell, list[dict[str, Any]]]) -> str:
    """All of it as a page of Markdown."""
    return page("Robustness", experiment.quick, [NOTES, by_cell(runs)])


def by_cell(runs: dict[Cell, list[dict[str, Any]]]) -> str:
    """A row a combination, with the accuracy of every seed."""
    head = ["digit, px", "canvas, px", "window", "success", "mean", "every seed"]
    rows = [
        [
            *(f"{value:g}" for value in dataclasses.astuple(cell)),
            f"{sum(map(success, some))} of {len(some)}",
            percent(statistics.fmean(map(accuracy_of, some))),
            " ".join(f"{100 * accuracy_of(run):.1f}" for run in some),
        ]
        for cell, some in runs.items()
    ]
    return table(head, rows)


def heatmap(experiment: RobustnessExperiment, runs: dict[Cell, list[dict[str, Any]]]):
    """The success rate of every combination, a panel a canvas."""
    rates = {
        f"on {canvas}×{canvas} px": np.array(
            [
                [
                    statistics.fmean(map(success, runs[Cell(digit, canvas, window)]))
                    for window in experiment.windows
                ]
                for digit in experiment.digits
            ]
        )
        for canvas in experiment.canvases
    }
    windows = [f"{window:g}" for window in experiment.windows]
    return figures.success_heatmaps(rates, [*map(str, experiment.digits)], windows)
