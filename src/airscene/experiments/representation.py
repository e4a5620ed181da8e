"""What the latents are worth: questions answered from few labels (paper, section 3.1.2, Figure 5).

Models learn without any label. On scenes of a known number of digits, networks then learn from
labels to answer questions: from what a frozen model infers, from the pictures, or from true boxes.
Each finished piece is a file that is not computed again, so that the same command goes on where it
was stopped.
"""

import itertools
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from airscene.config import Config
from airscene.data import SceneConfig
from airscene.errors import UserError
from airscene.experiments.labelled_scenes import Numbers, ScenesTask, compose_parts
from airscene.experiments.learning import EvaluationConfig, LearningTask, learn, side_by_side
from airscene.experiments.pieces import begin, ending, finish, read_piece, write_results
from airscene.experiments.questions import QUESTIONS
from airscene.experiments.readers import ReadingConfig
from airscene.experiments.reading import (
    BOXES,
    GLIMPSES,
    PIXELS,
    InferenceTask,
    ReadingTask,
    infer_parts,
    read,
)
from airscene.experiments.representation_tables import curves, summary, tables
from airscene.experiments.tables import percent
from airscene.experiments.workers import Workers
from airscene.files import write_whole
from airscene.presets import PRESETS
from airscene.report import figures

FEWER = dict(batch=128, validate_every=250)  # so that many trainings can be paid

Key = tuple[str, str, str, int, int]  # exam, question, who reads, labels, seed


@dataclass(frozen=True)
class Exam:
    """Scenes of one sort, what is asked about them, and who is asked."""

    scenes: SceneConfig
    """The scenes, all with the same number of digits."""
    questions: tuple[str, ...]
    """Names in `questions.QUESTIONS`."""
    labels: tuple[int, ...]
    """Numbers of labels to learn from."""
    models: dict[str, Config]
    """The training of each model, without a label."""
    steps: int
    """The largest number of objects that may be inferred."""
    glimpse: int
    """Pixels along each side of what is seen of an object."""
    readers: tuple[str, ...]
    """Who answers: a model by its latents or, where its name ends so, also by its glimpses."""

    def __post_init__(self) -> None:
        answers = max(QUESTIONS[name].answers for name in self.questions)
        if (fewest := min(self.labels)) < answers:
            raise UserError(f"{fewest} labels are fewer than the {answers} answers; give more")


@dataclass(frozen=True)
class RepresentationExperiment:
    """Everything that decides what the experiment computes."""

    exams: dict[str, Exam]
    """The exams, by name."""
    numbers: Numbers = field(default_factory=Numbers)
    """How many scenes there are to learn from, to choose by and to test on."""
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    """How the labels are learned."""
    evaluation: EvaluationConfig = field(default_factory=lambda: EvaluationConfig(1, 100))
    """What the models themselves are evaluated on."""
    seeds: int = 3
    """Trainings of each model and of each reader, with the seeds from 0 on."""
    quick: bool = False
    """Whether it is a smoke test."""

    def __post_init__(self) -> None:
        most = max(labels for exam in self.exams.values() for labels in exam.labels)
        if most > self.numbers.train:
            raise UserError(
                f"{most} labels are asked for, but there are {self.numbers.train} labelled scenes"
            )


def full_experiment() -> RepresentationExperiment:
    """The paper's multi-MNIST with two digits, and SPAIR's five of 14 px."""
    draw = PRESETS["draw"]
    models = {
        "DAIR": side_by_side(PRESETS["dair"], iterations=1000, **FEWER),
        "AIR": side_by_side(PRESETS["multi-mnist"], iterations=800, validate_every=200),
        "autoencoder": side_by_side(PRESETS["autoencoder"], **FEWER),
        # with all steps of the preset, it would take longer than all the rest
        "DRAW": side_by_side(replace(draw, model=replace(draw.model, steps=10)), iterations=1000),
    }
    readers = (f"DAIR{GLIMPSES}", "DAIR", f"AIR{GLIMPSES}", "AIR", "autoencoder", "DRAW")
    two = Exam(
        scenes=replace(PRESETS["dair"].scenes, counts=(2,)),
        questions=("sum", "order"),
        labels=(100, 300, 1_000, 3_000, 10_000, 30_000, 60_000),
        models=models,
        steps=3,
        glimpse=20,
        readers=(BOXES, *readers, PIXELS),
    )
    return RepresentationExperiment({"two": two, "five": _five_digits()})


def _five_digits() -> Exam:
    """The task of Crawford and Pineau (2019): digits of 14 px, five of them on 48×48 pixels."""
    small = PRESETS["small-14"]
    scenes = replace(small.scenes, canvas=(48, 48), counts=(0, 1, 2, 3, 4, 5), train_size=30_000)
    model = replace(small.model, height=48, width=48, steps=6, scale_prior=(-0.89, 0.1))
    training = side_by_side(replace(small, scenes=scenes, model=model), **FEWER)
    return Exam(
        scenes=replace(scenes, counts=(5,)),
        questions=("five",),
        labels=(1_000, 4_000, 16_000),
        models={"DAIR": training},
        steps=6,
        glimpse=14,
        readers=(BOXES, f"DAIR{GLIMPSES}", "DAIR", PIXELS),
    )


def quick_experiment() -> RepresentationExperiment:
    """The whole on little, to see that all of it works."""
    full = full_experiment()
    return replace(
        full,
        exams={name: _small(exam) for name, exam in full.exams.items()},
        numbers=Numbers(200, 50, 50),
        reading=ReadingConfig(embedding=8, hidden=16, filters=2, steps=(10, 10), checks=2),
        seeds=1,
        quick=True,
    )


SMALL = {
    "DAIR": {"lstm": 16, "glimpse": 8, "hidden": 16},
    "AIR": {"lstm": 16, "glimpse": 8, "hidden": 16},
    "autoencoder": {"filters": 2, "hidden": 16, "latent": 8},
    "DRAW": {"lstm": 16, "steps": 4},
}
"""Sizes of the models of a smoke test."""


def _small(exam: Exam) -> Exam:
    """The exam on digits that need no download, after trainings of a few steps."""
    scenes = replace(PRESETS["digits"].scenes, canvas=exam.scenes.canvas, train_size=200)
    few = dict(iterations=4, batch=8, log_every=2, validate_every=4, validation_scenes=20)
    models = {
        name: replace(
            config,
            scenes=replace(scenes, counts=config.scenes.counts, test_size=20),
            model=replace(config.model, **SMALL[name]),
            training=replace(config.training, **few),
        )
        for name, config in exam.models.items()
    }
    asked = replace(scenes, counts=exam.scenes.counts)
    return replace(exam, scenes=asked, models=models, labels=(50, 100), glimpse=8)


def carry_out(
    experiment: RepresentationExperiment, out: Path, data_dir: Path | None, workers: Workers
) -> str:
    """Computes what is missing in the folder, then writes results, tables and the figure.

    Returns:
        The summary and the paths, to print.

    Raises:
        UserError: the folder holds another experiment.
        KeyboardInterrupt: Ctrl-C; what is finished is kept, and trainings have been saved.
    """
    trainings = [model for exam in experiment.exams.values() for model in exam.models.values()]
    head = begin(out, experiment, trainings, data_dir)
    compute(experiment, out, data_dir, workers)
    results = head | collect(experiment, out)
    questions = {name: some for exam in results["answers"].values() for name, some in exam.items()}
    drawn = figures.label_efficiency(
        {QUESTIONS[name].title: curves(some) for name, some in questions.items()}
    )
    paths = [
        *write_results(out, results, tables(results)),
        write_whole(out / "figure.png", drawn.savefig),
    ]
    return ending(summary(results), paths)


def compute(
    experiment: RepresentationExperiment, out: Path, data_dir: Path | None, workers: Workers
) -> None:
    """Composes scenes, trains models, infers the scenes, and learns from labels."""
    for task in finish(workers, compose_parts, scene_tasks(experiment, out, data_dir)):
        print(f"{task.folder.relative_to(out)}: composed", flush=True)
    for task in finish(workers, learn, [*learning_tasks(experiment, out, data_dir).values()]):
        print(f"{task.folder.relative_to(out)}: learned", flush=True)
    for task in finish(workers, infer_parts, [*inference_tasks(experiment, out).values()]):
        print(f"{task.folder.relative_to(out)}: inferred", flush=True)
    for task in finish(workers, read, [*reading_tasks(experiment, out).values()]):
        told = percent(read_piece(task.path)["test"])
        print(f"{task.path.relative_to(out)}: {told} answered right", flush=True)


def collect(experiment: RepresentationExperiment, out: Path) -> dict[str, Any]:
    """All pieces, as results.json has them after its beginning."""
    pieces = {
        "models": learning_tasks(experiment, out, None),
        "clusters": inference_tasks(experiment, out),
        "answers": reading_tasks(experiment, out),
    }
    return {
        **{
            name: grouped({key: read_piece(task.path) for key, task in tasks.items()})
            for name, tasks in pieces.items()
        },
    }


def scene_tasks(
    experiment: RepresentationExperiment, out: Path, data_dir: Path | None
) -> list[ScenesTask]:
    """The scenes of each exam."""
    return [
        ScenesTask(exam.scenes, experiment.numbers, out / name / "scenes", data_dir)
        for name, exam in experiment.exams.items()
    ]


def learning_tasks(
    experiment: RepresentationExperiment, out: Path, data_dir: Path | None
) -> dict[tuple[str, str, int], LearningTask]:
    """The trainings of models by exam, model and seed."""
    return {
        (name, model, seed): LearningTask(
            replace(config, seed=seed),
            out / name / model / f"seed-{seed}",
            experiment.evaluation,
            data_dir,
        )
        for seed in range(experiment.seeds)
        for name, exam in experiment.exams.items()
        for model, config in exam.models.items()
    }


def inference_tasks(
    experiment: RepresentationExperiment, out: Path
) -> dict[tuple[str, str, int], InferenceTask]:
    """What each model infers, by exam, model and seed."""
    return {
        (name, model, seed): InferenceTask(
            out / name / "scenes",
            out / name / model / f"seed-{seed}",
            exam.steps,
            exam.glimpse,
            seed,
        )
        for name, exam in experiment.exams.items()
        for model in exam.models
        for seed in range(experiment.seeds)
    }


def reading_tasks(experiment: RepresentationExperiment, out: Path) -> dict[Key, ReadingTask]:
    """Who answers which question after how many labels: seed after seed, few labels first."""
    return {
        (name, question, reader, labels, seed): ReadingTask(
            out / name, question, reader, labels, seed, exam.glimpse, experiment.reading
        )
        for seed in range(experiment.seeds)
        for name, exam in experiment.exams.items()
        for labels, question, reader in itertools.product(exam.labels, exam.questions, exam.readers)
    }


def grouped(pieces: dict[tuple, Any]) -> dict[str, Any]:
    """The pieces as nested tables, the last part of the key, the seed, as a list."""
    groups: dict[str, Any] = {}
    for (*path, last, _), piece in pieces.items():
        group = groups
        for part in path:
            group = group.setdefault(part, {})
        group.setdefault(str(last), []).append(piece)
    return groups
