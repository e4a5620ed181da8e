"""3D scenes: ways to learn to invert a renderer, beside labels and direct optimisation.

Source: Eslami et al. 2016, section 3.3, Figures 6 and 7. One object is learned in three ways
without labels, by the same network with labels, and is found by optimisation of each picture; a
table-top is learned by dreams. Each finished piece is a file that is not computed again. Pieces are
computed one after the other, because the renderer itself uses all cores.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airscene.config import Config
from airscene.experiments import scenes3d_figures
from airscene.experiments.direct_pose import DirectTask, optimise
from airscene.experiments.learning import EvaluationConfig, LearningTask, learn, side_by_side
from airscene.experiments.machine import commit, provenance
from airscene.experiments.pieces import begin, finish, read_piece, write_piece
from airscene.experiments.scenes3d_tables import summary, tables
from airscene.experiments.supervised import SupervisedTask, supervise
from airscene.experiments.workers import Workers
from airscene.files import write_text
from airscene.placements import by_repeats
from airscene.presets import PRESETS
from airscene.runs import load_run, own_scenes

# σ falls in reweighted wake-sleep, so that places are found from nothing
FALLING = ((0.0, 20.0), (0.4, 1.0), (1.0, 1.0))
WAYS = {
    "dreams, then the bound": (0.75, 0.0),
    "reweighted wake-sleep": (0.0, 1.0),
    "the bound": (0.0, 0.0),
}
"""Ways to learn one object: the shares of training by dreams and by samples."""
RECIPE = next(iter(WAYS))


@dataclass(frozen=True)
class Scenes3DExperiment:
    """Everything that decides what the experiment computes."""

    base: Config
    """The training of one object."""
    table: Config
    """The training of the table-top."""
    seeds: int = 5
    """Trainings by the recipe and with labels, with the seeds from 0 on."""
    rivals: int = 2
    """The most trainings by each of the other ways."""
    table_seeds: int = 3
    """The most trainings of the table-top."""
    pictures: int = 100
    """Held-out scenes of direct optimisation."""
    starts: int = 20
    """Random starts of each of these."""
    steps: int = 60
    """Steps of each start."""
    evaluation: EvaluationConfig = field(default_factory=lambda: EvaluationConfig(20, 200))
    """What trained models are evaluated on."""
    quick: bool = False
    """Whether it is a smoke test."""

    def seeds_of(self, way: str) -> range:
        """The seeds of a way to learn one object."""
        return range(self.seeds if way == RECIPE else min(self.seeds, self.rivals))


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
    return Scenes3DExperiment(base, table, 1, 1, 1, 2, 2, 2, small, quick=True)


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
    begin(out, experiment, [experiment.base, experiment.table], data_dir)
    origin = provenance()  # now: the code may change during a long experiment
    work = Work(experiment, out)
    for job in finish(workers, do, work.jobs):
        print(f"{job.path.relative_to(out)}", flush=True)
    results = work.results | {"config": dataclasses.asdict(experiment), "provenance": origin}
    paths = [
        write_piece(out / "results.json", results),
        write_text(out / "tables.md", tables(results)),
        *scenes3d_figures.write(work, out),
    ]
    return "\n".join(["", summary(results), "", *map(str, paths)])


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

    def learned(self, way: str, seed: int) -> LearningTask:
        """A training of one object by a way."""
        dream, wake = WAYS[way]
        base = self.experiment.base
        model = replace(base.model, dream=dream, wake=wake)
        training = replace(base.training, sigma_factor=FALLING) if wake else base.training
        config = replace(base, model=model, training=training, seed=seed)
        folder = self.out / way.replace(",", "").replace(" ", "-") / f"seed-{seed}"
        return LearningTask(config, folder, self.experiment.evaluation, None)

    def supervised(self, seed: int) -> SupervisedTask:
        """A training of one object on labels."""
        base = self.experiment.base
        return SupervisedTask(replace(base, seed=seed), self.out / "labels" / f"seed-{seed}")

    @property
    def direct(self) -> DirectTask:
        """Direct optimisation."""
        e = self.experiment
        return DirectTask(e.base, self.out / "direct.json", e.pictures, e.starts, e.steps)

    def table(self, seed: int) -> LearningTask:
        """A training of the table-top."""
        config = replace(self.experiment.table, seed=seed)
        folder = self.out / "table-top" / f"seed-{seed}"
        return LearningTask(config, folder, self.experiment.evaluation, None)

    @property
    def table_seeds(self) -> range:
        """Those of the table-top."""
        return range(min(self.experiment.seeds, self.experiment.table_seeds))

    @property
    def jobs(self) -> list[Job]:
        """What computes each piece, in order."""
        e = self.experiment
        return [
            *(Job(learn, self.learned(RECIPE, seed)) for seed in e.seeds_of(RECIPE)),
            *(Job(learn, self.table(seed)) for seed in self.table_seeds),
            *(Job(supervise, self.supervised(seed)) for seed in range(e.seeds)),
            Job(optimise, self.direct),
            *(Job(learn, self.learned(w, s)) for w in [*WAYS][1:] for s in e.seeds_of(w)),
        ]

    @property
    def results(self) -> dict[str, Any]:
        """What all pieces say."""
        e = self.experiment
        ways = {
            way: [read_piece(self.learned(way, seed).path) for seed in e.seeds_of(way)]
            for way in WAYS
        }
        table = [
            read_piece(self.table(seed).path) | self._repeats(self.table(seed).folder)
            for seed in self.table_seeds
        ]
        labels = [read_piece(self.supervised(seed).path) for seed in range(e.seeds)]
        direct = read_piece(self.direct.path)
        return {"one_object": ways | {"labels": labels}, "direct": direct, "table_top": table}

    @staticmethod
    def _repeats(folder: Path) -> dict[str, Any]:
        """How a table-top run counts where a kind is there twice, and where it is not."""
        run = load_run(folder)
        scenes = own_scenes(run)
        return by_repeats(scenes, run.place(scenes.pixels()))
