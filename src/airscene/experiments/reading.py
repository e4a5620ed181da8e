"""The jobs of the experiment on representations: infer once, then learn from so many labels."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from airscene.core.seeds import Purpose, stream
from airscene.experiments.clusters import clusters_of
from airscene.experiments.inferred import Inferred, infer_scenes, see_boxes, see_pictures
from airscene.experiments.labelled_scenes import (
    PARTS,
    load_scenes,
    load_tensors,
    part_path,
    save_tensors,
)
from airscene.experiments.machine import best_device
from airscene.experiments.pieces import write_piece
from airscene.experiments.questions import QUESTIONS, Question
from airscene.experiments.readers import Labelled, ReadingConfig, accuracy, learn_to_answer
from airscene.kinds import kind_of
from airscene.runs import load_run

BOXES, PIXELS, GLIMPSES = "true boxes", "pixels", " with glimpses"


@dataclass(frozen=True)
class InferenceTask:
    """A trained model and the scenes to infer.

    Attributes:
        scenes: the folder of the scenes.
        folder: the model's run, and where its inferences go.
        steps: the largest number of objects to infer.
        glimpse: pixels along each side of a glimpse.
        seed: of clusters.
    """

    scenes: Path
    folder: Path
    steps: int
    glimpse: int
    seed: int

    @property
    def path(self) -> Path:
        """The piece: clusters of appearance."""
        return self.folder / "clusters.json"


def infer_parts(task: InferenceTask) -> None:
    """Infers all scenes, and groups objects by what they look like."""
    model = load_run(task.folder, best_device()).model
    for part in PARTS:
        found = infer_scenes(model, load_scenes(task.scenes, part), task.steps, task.glimpse)
        save_tensors(found, part_path(task.folder, part))
    counts = kind_of(model.config).detect is not None
    scenes = load_scenes(task.scenes, "test")
    write_piece(task.path, clusters_of(model, scenes, task.seed) if counts else {})


@dataclass(frozen=True)
class ReadingTask:
    """A question, who answers it, and from how many labels that is learned.

    Attributes:
        folder: of the exam.
        question: its name.
        reader: what is read: true boxes, pixels, or the name of a model, with glimpses or without.
        labels: scenes with an answer to learn from.
        seed: of the model and of the reader.
        glimpse: pixels along each side of a glimpse at a true box.
        config: how to learn.
    """

    folder: Path
    question: str
    reader: str
    labels: int
    seed: int
    glimpse: int
    config: ReadingConfig

    @property
    def path(self) -> Path:
        """The piece: accuracies."""
        name = f"{self.labels}-labels-seed-{self.seed}.json"
        return self.folder / "answers" / self.question / self.reader / name

    def inferred(self, part: str) -> Inferred:
        """What is read of one part of the scenes."""
        if self.reader == PIXELS:
            return see_pictures(load_scenes(self.folder / "scenes", part))
        if self.reader == BOXES:
            return see_boxes(load_scenes(self.folder / "scenes", part), self.glimpse)
        model = self.reader.removesuffix(GLIMPSES)
        path = part_path(self.folder / model / f"seed-{self.seed}", part)
        found = load_tensors(path, Inferred)
        return found if self.reader.endswith(GLIMPSES) else found.without_glimpses()


def read(task: ReadingTask) -> None:
    """Learns from the labels and takes the accuracy on scenes of digits for testing."""
    question = QUESTIONS[task.question]
    validation, test = (_labelled(task, question, part) for part in PARTS[1:])
    chosen = _chosen(task, question)
    reader = learn_to_answer(chosen, validation, question.answers, task.config, task.seed)
    write_piece(
        task.path,
        {"validation": accuracy(reader, validation), "test": accuracy(reader, test)},
    )


def _labelled(task: ReadingTask, question: Question, part: str) -> Labelled:
    """A part of the scenes, as the reader sees them, with the right answers."""
    scenes = load_scenes(task.folder / "scenes", part)
    return Labelled(task.inferred(part), question.answers_of(scenes))


def _chosen(task: ReadingTask, question: Question) -> Labelled:
    """The labelled scenes to learn from: others for each seed, more of the same for more labels."""
    everything = _labelled(task, question, "train")
    index = chosen_scenes(len(everything.answers), task.labels, task.seed)
    return Labelled(everything.inferred[index], everything.answers[index])


def chosen_scenes(scenes: int, labels: int, seed: int) -> Tensor:
    """Which scenes are learned from, shape (L,): the first ones of an order that the seed decides.

    >>> len(chosen_scenes(10, 4, seed=0).unique())
    4
    """
    generator = stream(Purpose.LABELLED_SCENES, seed, len(PARTS))
    return torch.randperm(scenes, generator=generator)[:labels]
