"""Subitizing: how many things there are, at a glance and without counting (Wever and Runia 2018).

Their autoencoder learns from pictures without labels; a small network then reads the class of the
count, 0, 1, 2, 3 or 4 and more, from the code of a whole picture. Here AIR and DAIR count the same
scenes without any label, and a convolutional network learns to count from pixels and labels.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from airscene.config import Config
from airscene.data import SceneConfig, Scenes
from airscene.experiments.inferred import see_pictures
from airscene.experiments.labelled_scenes import Numbers, ScenesTask, compose_parts, load_scenes
from airscene.experiments.learning import EvaluationConfig, LearningTask, learn, side_by_side
from airscene.experiments.machine import best_device
from airscene.experiments.pieces import (
    begin,
    ending,
    finish,
    read_piece,
    write_piece,
    write_results,
)
from airscene.experiments.readers import Labelled, ReadingConfig, answers_of, learn_to_answer
from airscene.experiments.subitizing_tables import mean_of_classes, panels, summary, tables
from airscene.experiments.tables import percent
from airscene.experiments.workers import Workers
from airscene.files import write_whole
from airscene.kinds import kind_of
from airscene.models.base import Model
from airscene.presets import PRESETS
from airscene.report import figures
from airscene.runs import load_run

CLASSES = 5  # 0, 1, 2, 3, 4 and more
UNITS = 160  # of the hidden layer of the probe, as in the paper
CNN = "CNN, labels"
SHOWN = 10  # scenes of the figure
BATCH = 250  # pictures at a time


@dataclass(frozen=True)
class SubitizingExperiment:
    """Everything that decides what the experiment computes."""

    models: dict[str, Config]
    """The training of each model, without a label."""
    numbers: Numbers = field(default_factory=lambda: Numbers(10_000, 1_000, 3_000))
    """How many scenes there are to learn from, to choose by and to test on."""
    reading: ReadingConfig = field(default_factory=lambda: ReadingConfig(filters=32))
    """How the convolutional network learns."""
    evaluation: EvaluationConfig = field(default_factory=lambda: EvaluationConfig(1, 100))
    """What the models themselves are evaluated on."""
    seeds: int = 3
    """Trainings of each model and of what reads it, with the seeds from 0 on."""
    quick: bool = False
    """Whether it is a smoke test."""

    @property
    def scenes(self) -> SceneConfig:
        """The scenes, the same for all models."""
        return next(iter(self.models.values())).scenes


def full_experiment() -> SubitizingExperiment:
    """Digits of 15 to 29 px in any colour on crops of photographs; they may hide one another."""
    photos = PRESETS["photos"]
    scenes = replace(
        photos.scenes,
        source="digits",
        size=26.0,
        counts=(0, 1, 2, 3, 4, 5),
        shares=(0.2, 0.2, 0.2, 0.2, 0.1, 0.1),
        overlap="any",
        visible=0.3,
        test_size=2_000,
    )
    few = dict(iterations=400, batch=64, validate_every=200, validation_scenes=500)
    objects = replace(photos, scenes=scenes, model=replace(photos.model, steps=6))
    whole = PRESETS["autoencoder"]
    code = replace(whole, scenes=scenes, model=replace(whole.model, channels=3, sigma=0.1))
    looks = replace(code, model=replace(code.model, perceptual=PERCEPTUAL))
    blind = replace(objects, model=replace(objects.model, feedback="none"))
    longer = few | dict(iterations=800)
    return SubitizingExperiment(
        {
            "VAE": side_by_side(code, **longer),
            "VAE, perceptual": side_by_side(looks, **longer),
            "DAIR": side_by_side(objects, **few),
            "AIR": side_by_side(blind, **few),
        }
    )


PERCEPTUAL = 10_000.0
"""Weight of the perceptual term, at which it is about as large as that of pixels."""

SMALL = {
    "VAE": {"filters": 2, "hidden": 16, "latent": 8},
    "VAE, perceptual": {"filters": 2, "hidden": 16, "latent": 8},
    "DAIR": {"glimpse": 8, "hidden": 16},
    "AIR": {"lstm": 16, "glimpse": 8, "hidden": 16},
}
"""Sizes of the models of a smoke test."""


def quick_experiment() -> SubitizingExperiment:
    """The whole on little, to see that all of it works."""
    full = full_experiment()
    few = dict(iterations=4, batch=8, log_every=2, validate_every=4, validation_scenes=20)
    models = {
        name: replace(
            config,
            scenes=replace(config.scenes, train_size=100, test_size=20),
            model=replace(config.model, **SMALL[name]),
            training=replace(config.training, **few),
        )
        for name, config in full.models.items()
    }
    return SubitizingExperiment(
        models,
        Numbers(200, 50, 50),
        ReadingConfig(embedding=8, hidden=16, filters=2, steps=(10, 10), checks=2),
        seeds=1,
        quick=True,
    )


@dataclass(frozen=True)
class CountingTask:
    """Who says how many there are in the test scenes.

    Attributes:
        folder: of the experiment.
        reader: the name of a model, or `CNN`.
        seed: of the model and of what reads it.
        config: how the convolutional network learns.
    """

    folder: Path
    reader: str
    seed: int
    config: ReadingConfig

    @property
    def path(self) -> Path:
        """The piece: the class that each test scene is given."""
        return self.folder / "answers" / self.reader / f"seed-{self.seed}.json"


def carry_out(
    experiment: SubitizingExperiment, out: Path, data_dir: Path | None, workers: Workers
) -> str:
    """Computes what is missing in the folder, then writes results, tables and figures.

    Returns:
        The summary and the paths, to print.

    Raises:
        UserError: the folder holds another experiment.
        KeyboardInterrupt: Ctrl-C; what is finished is kept, and trainings have been saved.
    """
    head = begin(out, experiment, experiment.models.values(), data_dir)
    composing = ScenesTask(experiment.scenes, experiment.numbers, out / "scenes", data_dir)
    for task in finish(workers, compose_parts, [composing]):
        print(f"{task.folder.relative_to(out)}: composed", flush=True)
    for task in finish(workers, learn, learning_tasks(experiment, out, data_dir)):
        print(f"{task.folder.relative_to(out)}: learned", flush=True)
    tests = load_scenes(out / "scenes", "test")
    true = classes_of(tests.count)
    for task in finish(workers, count_scenes, counting_tasks(experiment, out)):
        told = percent(mean_of_classes(true.numpy(), np.array(read_piece(task.path)["classes"])))
        print(f"{task.path.relative_to(out)}: {told}, a mean of the classes", flush=True)
    results = head | collect(experiment, out, tests)
    learned = [out / name / "seed-0" for name in experiment.models]
    paths = [
        *write_results(out, results, tables(results)),
        write_whole(out / "figure.png", figures.by_group(panels(results)).savefig),
        write_whole(out / "scenes.png", draw(tests[:SHOWN], learned).savefig),
    ]
    return ending(summary(results), paths)


def learning_tasks(
    experiment: SubitizingExperiment, out: Path, data_dir: Path | None
) -> list[LearningTask]:
    """All trainings, one of each model before the next seed."""
    return [
        LearningTask(
            replace(config, seed=seed), out / name / f"seed-{seed}", experiment.evaluation, data_dir
        )
        for seed in range(experiment.seeds)
        for name, config in experiment.models.items()
    ]


def counting_tasks(experiment: SubitizingExperiment, out: Path) -> list[CountingTask]:
    """Everyone who counts, for each seed."""
    return [
        CountingTask(out, reader, seed, experiment.reading)
        for seed in range(experiment.seeds)
        for reader in (*experiment.models, CNN)
    ]


def count_scenes(task: CountingTask) -> None:
    """Writes the classes that a model, or a network after so many labels, gives the test scenes."""
    parts = {part: load_scenes(task.folder / "scenes", part) for part in ("train", "validation")}
    test = load_scenes(task.folder / "scenes", "test")
    if task.reader == CNN:
        found = _by_pixels(parts["train"], parts["validation"], test, task)
    else:
        model = load_run(task.folder / task.reader / f"seed-{task.seed}", best_device()).model
        detect = kind_of(model.config).detect
        if detect is not None:
            found = classes_of(detect(model, test.pixels(), None).count)
        else:
            found = _by_code(model, parts["train"], test, task.seed)
    write_piece(task.path, {"classes": found.tolist()})


def classes_of(count: Tensor | None) -> Tensor:
    """The classes of counts: 0, 1, 2, 3, and 4 for more."""
    assert count is not None
    return count.clamp(max=CLASSES - 1)


def _by_pixels(train: Scenes, validation: Scenes, test: Scenes, task: CountingTask) -> Tensor:
    """The answers of a convolutional network that learned from labels."""
    learned, chosen = (
        Labelled(see_pictures(part), classes_of(part.count)) for part in (train, validation)
    )
    reader = learn_to_answer(learned, chosen, CLASSES, task.config, task.seed)
    return answers_of(reader, see_pictures(test))


def _by_code(model: Model, train: Scenes, test: Scenes, seed: int) -> Tensor:
    """The answers of a probe with one hidden layer, which reads the codes of whole pictures."""
    network = MLPClassifier((UNITS,), early_stopping=True, max_iter=500, random_state=seed)
    probe = make_pipeline(StandardScaler(), network)
    probe.fit(_codes(model, train), classes_of(train.count).numpy())
    return torch.as_tensor(probe.predict(_codes(model, test)))


def _codes(model: Model, scenes: Scenes) -> np.ndarray:
    """The posterior means of whole pictures, (M, Z)."""
    parts = scenes.pixels().split(BATCH)
    return torch.cat([model.infer(part.to(model.device)).means.cpu() for part in parts]).numpy()


def collect(experiment: SubitizingExperiment, out: Path, tests: Scenes) -> dict[str, Any]:
    """All pieces, as results.json has them after its beginning."""
    true, groups = classes_of(tests.count).numpy(), groups_of(tests)
    answers: dict[str, list[dict[str, Any]]] = {}
    for task in counting_tasks(experiment, out):
        found = np.array(read_piece(task.path)["classes"])
        row = {
            "mean": mean_of_classes(true, found),
            "by_class": [float((found[true == k] == k).mean()) for k in range(CLASSES)],
            "groups": {
                name: {
                    group: mean_of_classes(true[chosen], found[chosen])
                    for group, chosen in some.items()
                }
                for name, some in groups.items()
            },
        }
        answers.setdefault(task.reader, []).append(row)
    return {
        "scenes": {
            name: {k: int(v.sum()) for k, v in some.items()} for name, some in groups.items()
        },
        "answers": answers,
    }


def groups_of(scenes: Scenes) -> dict[str, dict[str, np.ndarray]]:
    """Scenes that are alike in overlap or in clutter, as masks (M,).

    Overlap is the largest share of the smaller of two boxes that lies in the other, of scenes with
    two objects or more. Clutter is the spread of intensities outside all boxes, in thirds.
    """
    assert scenes.count is not None and scenes.boxes is not None
    several, overlap = (scenes.count >= 2).numpy(), overlap_of(scenes.boxes).numpy()
    clutter = clutter_of(scenes).numpy()
    low, high = np.quantile(clutter, (1 / 3, 2 / 3))
    return {
        "overlap of boxes": {
            "none": several & (overlap == 0),
            "up to a half": several & (overlap > 0) & (overlap <= 0.5),
            "more": several & (overlap > 0.5),
        },
        "clutter of the photograph": {
            "least": clutter <= low,
            "middle": (clutter > low) & (clutter <= high),
            "most": clutter > high,
        },
    }


def overlap_of(boxes: Tensor) -> Tensor:
    """The largest share of the smaller of two boxes (M, K, 4) that lies in the other, (M,).

    >>> overlap_of(torch.tensor([[[0.0, 0, 4, 4], [2, 0, 4, 4], [0, 0, 0, 0]]]))
    tensor([1.])
    """
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])  # (M, K, K, 2)
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    both = (high - low).clamp(min=0).prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    smaller = torch.minimum(area[:, :, None], area[:, None, :]).clamp(min=1)
    return (both / smaller).triu(1).flatten(1).amax(1)


def clutter_of(scenes: Scenes) -> Tensor:
    """The standard deviation of the intensities outside all true boxes, (M,)."""
    assert scenes.boxes is not None
    grey = scenes.pixels().mean(1)
    height, width = grey.shape[1:]
    x, y = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    x0, y0, x1, y1 = (side[..., None] for side in scenes.boxes.unbind(-1))  # (M, K, 1)
    across, down = (x > x0) & (x < x1), (y > y0) & (y < y1)
    outside = ~(down.unsqueeze(-1) & across.unsqueeze(-2)).any(1)  # (M, H, W)
    number = outside.sum((1, 2)).clamp(min=1)
    mean = (grey * outside).sum((1, 2)) / number
    square = ((grey - mean[:, None, None]).square() * outside).sum((1, 2)) / number
    return square.sqrt()


def draw(scenes: Scenes, folders: list[Path]):
    """Scenes and what each model makes of them."""
    images = scenes.pixels()
    rows = {"scene": images}
    for folder in folders:
        rows[folder.parent.name] = load_run(folder).model.reconstruct(images).detach()
    return figures.objects([*rows], [row.clamp(0, 1).numpy() for row in rows.values()])
