"""3D scenes: ways to learn to invert a renderer, beside labels and direct optimisation.

Source: Eslami et al. 2016, section 3.3, Figures 6 and 7. One object is learned in three ways
without labels, by the same network with labels, and is found by optimisation of each picture. A
table-top is learned by dreams, and with labels from scenes with and without two of a kind. Each
finished piece is a file that is not computed again. Pieces are computed one after the other,
because the renderer itself uses all cores.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airscene.config import Config
from airscene.data import Scenes
from airscene.experiments import scenes3d_figures
from airscene.experiments.direct_pose import DirectTask, optimise
from airscene.experiments.learning import EvaluationConfig, LearningTask, learn, side_by_side
from airscene.experiments.machine import commit
from airscene.experiments.pieces import (
    begin,
    ending,
    finish,
    read_piece,
    write_piece,
    write_results,
)
from airscene.experiments.scenes3d_tables import summary, tables
from airscene.experiments.supervised import SupervisedTask, supervise
from airscene.experiments.workers import Workers
from airscene.presets import PRESETS
from airscene.results.placements import agreement, by_repeats
from airscene.runs import composed, load_run

# σ falls in reweighted wake-sleep, so that places are found from nothing
FALLING = ((0.0, 20.0), (0.4, 1.0), (1.0, 1.0))
WAYS = {
    "dreams, then the bound": (0.7, 0.0),
    "the bound": (0.0, 0.0),
    "reweighted wake-sleep": (0.0, 1.0),
}
"""Ways to learn one object: the shares of training by dreams and by samples."""
RECIPE, LABELS = next(iter(WAYS)), "labels"
REPEATS = {"with repeats": True, "without repeats": False}
"""Data of the table-top: whether two objects of a scene may be of one kind."""


@dataclass(frozen=True)
class Scenes3DExperiment:
    """Everything that decides what the experiment computes."""

    base: Config
    """The training of one object."""
    table: Config
    """The training of the table-top."""
    seeds: int = 5
    """Trainings of one object by the recipe, with the seeds from 0 on."""
    table_seeds: int = 3
    """The most trainings of the table-top by dreams."""
    told_seeds: int = 3
    """The most trainings of the table-top with labels, on each of its data."""
    rivals: int = 3
    """The most trainings of one object in each other way, labels included."""
    labelled: int = 20_000
    """Scenes of the table-top with labels."""
    pictures: int = 50
    """Held-out scenes of direct optimisation."""
    starts: int = 20
    """Random starts of each of these."""
    steps: int = 60
    """Steps of each start."""
    evaluation: EvaluationConfig = field(default_factory=lambda: EvaluationConfig(20, 200))
    """What trained models are evaluated on."""
    test_seed: int = 40_921
    """Of all held-out scenes: one with which no setting was chosen."""
    quick: bool = False
    """Whether it is a smoke test."""

    def seeds_of(self, way: str) -> range:
        """The seeds of a way to learn one object."""
        return range(self.seeds if way == RECIPE else min(self.seeds, self.rivals))

    @property
    def told(self) -> range:
        """The seeds of trainings of the table-top with labels."""
        return range(min(self.seeds, self.told_seeds))


def full_experiment() -> Scenes3DExperiment:
    """Both presets."""
    return Scenes3DExperiment(side_by_side(PRESETS["object3d"]), side_by_side(PRESETS["table3d"]))


def quick_experiment() -> Scenes3DExperiment:
    """The whole on little, without MuJoCo, to see that all of it works."""
    few = dict(iterations=4, batch=8, validate_every=4, validation_scenes=16)
    base = _tiny(PRESETS["object3d"], painter="raycast")
    table = _tiny(PRESETS["table3d"], painter="raycast", objects="blocks", settled=False)
    base, table = side_by_side(base, **few), side_by_side(table, **few)
    small = EvaluationConfig(2, 8)
    return Scenes3DExperiment(base, table, 1, 1, 1, 1, 32, 2, 2, 2, small, quick=True)


def _tiny(config: Config, **settings: Any) -> Config:
    scenes = replace(config.scenes, canvas=(16, 16), train_size=32, test_size=24)
    model = replace(config.model, hidden=16, height=16, width=16, **settings)
    return replace(config, scenes=scenes, model=model)


def carry_out(
    experiment: Scenes3DExperiment, out: Path, data_dir: Path | None, workers: Workers
) -> str:
    """Computes what is missing in the folder, then writes results, tables and figures.

    Returns:
        The summary and the paths, to print.

    Raises:
        UserError: the folder holds another experiment, or MuJoCo cannot draw here.
        KeyboardInterrupt: Ctrl-C; what is finished is kept, and trainings have been saved.
    """
    _check_painters(experiment)
    head = begin(out, experiment, [experiment.base, experiment.table], data_dir)
    work = Work(experiment, out)
    for job in finish(workers, do, work.jobs):
        print(f"{job.path.relative_to(out)}", flush=True)
    results = work.results | head
    paths = [
        *write_results(out, results, tables(results)),
        *scenes3d_figures.write(work, out),
    ]
    return ending(summary(results), paths)


def _check_painters(experiment: Scenes3DExperiment) -> None:
    """Draws a scene of each kind, so that nothing is computed where a painter cannot draw."""
    for config in (experiment.base, experiment.table):
        composed(replace(config, scenes=replace(config.scenes, test_size=1)), "test", 0, None)


@dataclass(frozen=True)
class Job:
    """A task with the function that does it.

    Attributes:
        function: of a module, as jobs are sent to other processes.
        task: what it is given.
    """

    function: Callable[[Any], None]
    task: Any

    @property
    def path(self) -> Path:
        """The piece that it writes."""
        return self.task.path


def do(job: Job) -> None:
    """Does a job, and notes in its piece of which commit the code was."""
    job.function(job.task)
    write_piece(job.path, read_piece(job.path) | {"commit": commit()})


@dataclass(frozen=True)
class Work:
    """The pieces of an experiment.

    Attributes:
        experiment: what to compute.
        out: its folder.
    """

    experiment: Scenes3DExperiment
    out: Path

    def recipe(self, seed: int) -> LearningTask:
        """A training of one object by the recipe."""
        return self.learned(RECIPE, seed)

    def learned(self, way: str, seed: int) -> LearningTask:
        """A training of one object by a way."""
        dream, wake = WAYS[way]
        base = self.experiment.base
        model = replace(base.model, dream=dream, wake=wake)
        training = replace(base.training, sigma_factor=FALLING) if wake else base.training
        config = replace(base, model=model, training=training, seed=seed)
        return self._learning(config, way)

    def supervised(self, seed: int) -> SupervisedTask:
        """A training of one object on labels."""
        config = replace(self.experiment.base, seed=seed)
        folder = self._folder(LABELS, seed)
        return SupervisedTask(config, folder, test_seed=self.experiment.test_seed)

    @property
    def direct(self) -> DirectTask:
        """Direct optimisation."""
        e = self.experiment
        path = self.out / "direct.json"
        return DirectTask(e.base, path, e.pictures, e.starts, e.steps, e.test_seed)

    def table(self, seed: int) -> LearningTask:
        """A training of the table-top."""
        return self._learning(replace(self.experiment.table, seed=seed), "table-top")

    def _learning(self, config: Config, way: str) -> LearningTask:
        e, folder = self.experiment, self._folder(way, config.seed)
        return LearningTask(config, folder, e.evaluation, None, e.test_seed)

    def _folder(self, way: str, seed: int) -> Path:
        return self.out / way.replace(",", "").replace(" ", "-") / f"seed-{seed}"

    def told(self, data: str, seed: int) -> SupervisedTask:
        """A training of the table-top on labels, whose scenes are from the prior, as dreams are."""
        held_out = self._of_data(data)
        model = replace(held_out.model, settled=False)
        scenes = replace(held_out.scenes, train_size=self.experiment.labelled)
        config = replace(held_out, model=model, scenes=scenes, seed=seed)
        folder = self._folder(f"table-top labels {data}", seed)
        return SupervisedTask(config, folder, "ordered", held_out, self.experiment.test_seed)

    def _of_data(self, data: str) -> Config:
        table = self.experiment.table
        return replace(table, model=replace(table.model, repeats=REPEATS[data]))

    @property
    def table_seeds(self) -> range:
        """Those of the table-top."""
        return range(min(self.experiment.seeds, self.experiment.table_seeds))

    @property
    def jobs(self) -> list[Job]:
        """What computes each piece, in order: the recipes first, and then the rivals by seed."""
        e = self.experiment
        rivals = [job for seed in range(e.seeds) for job in self._rivals(seed)]
        return [
            *(Job(learn, self.recipe(seed)) for seed in e.seeds_of(RECIPE)),
            *(Job(learn, self.table(seed)) for seed in self.table_seeds),
            *rivals,
        ]

    def _rivals(self, seed: int) -> Iterator[Job]:
        """What a recipe is compared with."""
        e = self.experiment
        if seed in e.told:
            yield from (Job(supervise, self.told(data, seed)) for data in REPEATS)
        if seed == 0:
            yield Job(optimise, self.direct)
        if seed in e.seeds_of(LABELS):
            yield Job(supervise, self.supervised(seed))
            yield from (Job(learn, self.learned(way, seed)) for way in [*WAYS][1:])

    @property
    def results(self) -> dict[str, Any]:
        """What all pieces say."""
        e = self.experiment
        ways = {
            way: [read_piece(self.learned(way, seed).path) for seed in e.seeds_of(way)]
            for way in WAYS
        }
        own, other = (self.held_out(self._of_data(data)) for data in REPEATS)
        table = [self._agreement(seed, own, other) for seed in self.table_seeds]
        told = {data: [read_piece(self.told(data, s).path) for s in e.told] for data in REPEATS}
        labels = [read_piece(self.supervised(seed).path) for seed in e.seeds_of(LABELS)]
        return {
            "one_object": ways | {LABELS: labels},
            "direct": read_piece(self.direct.path),
            "table_top": table,
            "table_top_labels": told,
        }

    def _agreement(self, seed: int, own: Scenes, other: Scenes) -> dict[str, Any]:
        """What a run of the table-top finds in its own held-out scenes, and without repeats."""
        task = self.table(seed)
        run = load_run(task.folder)
        there = by_repeats(own, run.place(own.pixels()))
        elsewhere = agreement(other, run.place(other.pixels()))
        return read_piece(task.path) | there | {"without_repeats": elsewhere}

    def held_out(self, config: Config) -> Scenes:
        """The scenes of a configuration that all of its models are evaluated on."""
        return composed(config, "test", self.experiment.test_seed, None)
