"""The command line: parse, call, print."""

import argparse
import contextlib
import io
import os
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from tyro.conf import Positional

from airscene import figures
from airscene.chooser import choose
from airscene.config import Config, load_config
from airscene.data import Scenes, as_scenes, compose_split, load_images, save_scenes
from airscene.detections import detect
from airscene.errors import UserError
from airscene.experiments import reproduce
from airscene.experiments.machine import best_device
from airscene.files import write_text, write_whole
from airscene.predictions import FORMATS, predictions
from airscene.presets import PRESETS
from airscene.runs import (
    CONFIG,
    evaluate_run,
    load_run,
    own_images,
    report_run,
    test_scenes,
    train_run,
)

OBJECT_PRESET = "dair"  # where the size of objects is all that is known
INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended
RULE = re.compile(r"[╰╯─ -]+")  # as tyro draws it, in ASCII if need be


@dataclass(frozen=True)
class Train:
    """Train a model, then evaluate it and write its report."""

    out: Path
    """Folder for the run."""
    config: Annotated[Config, tyro.conf.arg(name="")]
    """Every field can be set by its flag; the preset gives the defaults."""
    preset: str = "digits"
    """Source of the other flags' defaults: a name (see docs/presets.md) or a run's config.json."""
    object_size: float | None = None
    """Rough length of an object in --data, in pixels: chooses the other flags' defaults."""
    data_dir: Path | None = None
    """Folder with MNIST; else AIRSCENE_DATA_DIR, else it is downloaded."""
    resume: bool = False
    """Go on with the run in the folder."""
    overwrite: bool = False
    """Replace the run in the folder."""
    max_minutes: float = float("inf")
    """Stop training after so many minutes."""

    def run(self) -> int:
        """Trains, evaluates, reports."""
        reason = train_run(
            self.config, self.out, self.data_dir, self.resume, self.overwrite, self.max_minutes
        )
        print(reason)
        if reason == "interrupted":
            print(f"saved; go on with: airscene train --resume --out {self.out}")
            return INTERRUPTED
        if int(os.environ.get("RANK", 0)) == 0:
            run = load_run(self.out, best_device())
            scenes = test_scenes(run, data_dir=self.data_dir)
            show(evaluate_run(run, scenes))
            print(f"report: {report_run(run, scenes)}")
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Hold a trained model against scenes."""

    run_folder: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    data: Path | None = None
    """Folder, .npy or .npz to evaluate on; else the run's own held-out scenes."""
    data_dir: Path | None = None
    """Folder with MNIST; else AIRSCENE_DATA_DIR, else it is downloaded."""

    def run(self) -> int:
        """Prints the table and writes evaluation.json."""
        run = load_run(self.run_folder, best_device())
        scenes = test_scenes(run, self.data, self.data_dir)
        show(evaluate_run(run, scenes, self.data))
        return 0


@dataclass(frozen=True)
class Infer:
    """Count and locate the objects in images."""

    run_folder: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    paths: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PATH...")]
    """Images, folders of images, .npy or .npz (first array, or key x)."""
    out: Path
    """File to write."""
    format: Literal["jsonl", "csv", "coco"] = "jsonl"
    """Format of the file."""
    overlay: Path | None = None
    """Folder for pictures of the images with their boxes."""
    max_objects: int | None = None
    """Largest count to allow for; that of training unless given."""

    def run(self) -> int:
        """Writes one prediction an image, in order."""
        if self.max_objects is not None and self.max_objects < 1:
            raise UserError(f"--max-objects is {self.max_objects}; it must be at least 1")
        if not self.paths:
            raise UserError("PATH is missing; name an image, a folder, .npy or .npz")
        run = load_run(self.run_folder, best_device())
        model, canvas = run.counting_model(), run.config.model
        inputs = [load_images(path) for path in self.paths]  # all, before anything is written
        rows = []
        for images in inputs:
            scenes, scale = as_scenes(images, (canvas.channels, canvas.height, canvas.width))
            found = detect(model, scenes.pixels(), self.max_objects)
            part = predictions(images, found, scale)
            if self.overlay:
                save_overlays(self.overlay, images, part, len(rows))
            rows += part
        write_text(self.out, FORMATS[self.format](rows))
        if full := sum(row.saturated for row in rows):
            warnings.warn(
                f"{full} of {len(rows)} images hold as many objects as were allowed for, and maybe "
                f"more; raise --max-objects",
                stacklevel=2,
            )
        print(f"{len(rows)} images, {sum(row.count for row in rows)} objects: {self.out}")
        return 0


@dataclass(frozen=True)
class Generate:
    """Draw scenes from the model."""

    run_folder: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    out: Path
    """Folder for scenes.png and scenes.npz."""
    n: int = 64
    """Number of scenes."""
    seed: int = 0
    """Seed of the drawing."""

    def run(self) -> int:
        """Writes the scenes as a picture and as arrays."""
        if self.n < 1:
            raise UserError(f"--n is {self.n}; it must be at least 1")
        run = load_run(self.run_folder)
        torch.manual_seed(self.seed)
        drawn = run.model.generate(self.n)
        canvas, count = drawn if isinstance(drawn, tuple) else (drawn, None)  # DRAW has no count
        canvas = canvas.clamp(0, 1)
        columns = min(8, self.n)
        figure = figures.scenes_grid(canvas.numpy(), columns)
        write_whole(self.out / "scenes.png", lambda path: figure.savefig(path))
        save_scenes(Scenes((canvas * 255).round().byte(), count), self.out / "scenes.npz")
        print(f"{self.n} scenes: {self.out / 'scenes.png'}")
        return 0


@dataclass(frozen=True)
class Report:
    """Draw the figures of a run and write its report.html."""

    run_folder: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    data_dir: Path | None = None
    """Folder with MNIST; else AIRSCENE_DATA_DIR, else it is downloaded."""

    def run(self) -> int:
        """Writes the report, evaluating the run first if that was not done."""
        run = load_run(self.run_folder, best_device())
        scenes = test_scenes(run, data_dir=self.data_dir)
        print(f"report: {report_run(run, scenes)}")
        return 0


@dataclass(frozen=True)
class Data:
    """Write a preset's scenes, with their truth, to a file."""

    preset: Annotated[Positional[str], tyro.conf.arg(metavar="PRESET")]
    """Named configuration: digits, multi-mnist, dair, ... (see docs/presets.md)."""
    out: Path
    """The .npz file: arrays x, count, boxes, labels."""
    split: Literal["train", "test"] = "train"
    """Which sprites and how many scenes."""
    seed: int = 0
    """Seed of the composition."""
    data_dir: Path | None = None
    """Folder with MNIST; else AIRSCENE_DATA_DIR, else it is downloaded."""

    def run(self) -> int:
        """Composes and writes."""
        config = preset_named(self.preset).scenes
        scenes = compose_split(config, self.split, self.seed, self.data_dir)
        print(f"{len(scenes)} scenes: {save_scenes(scenes, self.out)}")
        return 0


@dataclass(frozen=True)
class Reproduce:
    """Carry out an experiment: tables and figures of many runs."""

    experiment: Annotated[Positional[str], tyro.conf.arg(metavar="EXPERIMENT")]
    """Named experiment: estimators, generalization or robustness."""
    out: Path
    """Folder for the experiment; given again, it goes on where it was."""
    data_dir: Path | None = None
    """Folder with MNIST; else AIRSCENE_DATA_DIR, else it is downloaded."""
    seeds: int | None = None
    """Trainings of each kind, seeded from 0 on; the experiment's own number unless given."""
    quick: bool = False
    """Run the whole on little, in minutes: a smoke test, not a result."""

    def run(self) -> int:
        """Computes what is missing and prints the summary."""
        try:
            print(reproduce(self.experiment, self.out, self.data_dir, self.seeds, self.quick))
        except KeyboardInterrupt:
            print("interrupted; give the same command again to go on")
            return INTERRUPTED
        return 0


COMMANDS = {
    "train": Train,
    "evaluate": Evaluate,
    "infer": Infer,
    "generate": Generate,
    "report": Report,
    "data": Data,
    "reproduce": Reproduce,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        0 when all went well, 2 after a mistake that the user can mend, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    warnings.showwarning = lambda message, *_: print(f"airscene: note: {message}", file=sys.stderr)
    try:
        return parse(arguments).run()
    except UserError as error:
        print(f"airscene: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


def preset_named(name: str) -> Config:
    """The preset's configuration.

    Raises:
        UserError: there is no such preset.
    """
    if name not in PRESETS:
        raise UserError(f"preset {name} is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def parse(
    arguments: list[str],
) -> "Train | Evaluate | Infer | Generate | Report | Data | Reproduce":
    """The command that the arguments ask for.

    Raises:
        UserError: there is no such command, preset or flag, or a value does not fit its flag.
    """
    name = arguments[0] if arguments else "--help"
    if name in ("-h", "--help"):
        print(overview())
        raise SystemExit(0)
    if name not in COMMANDS:
        raise UserError(f"command {name} is unknown; choose one of {', '.join(COMMANDS)}")
    default = _train_default(arguments[1:]) if name == "train" else tyro.MISSING_NONPROP
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            command = COMMANDS[name]
            return tyro.cli(command, args=arguments[1:], prog=f"airscene {name}", default=default)
    except SystemExit as error:
        if error.code:
            raise UserError(_one_line(complaint.getvalue())) from None
        raise


def overview() -> str:
    """All commands, a line each."""
    lines = [f"  {name:10}{command.__doc__}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: airscene COMMAND [--help]", "", *lines])


def show(table: dict) -> None:
    """Prints an evaluation."""
    for name, value in table.items():
        print(f"{name:28}{_plain(value)}")


def save_overlays(folder: Path, images, rows, first: int) -> None:
    """Writes each image with its boxes as a PNG, numbered in order."""
    for k, (image, row) in enumerate(zip(images.images, rows, strict=True), start=first):
        pixels = image.numpy() / 255 if image.dtype == torch.uint8 else image.numpy()
        boxes = np.array(row.boxes).reshape(-1, 4)
        picture = figures.overlay(pixels, boxes, [f"{score:.2f}" for score in row.scores])
        name = f"{k:05d}-{Path(row.source).stem}-{row.index}.png"
        write_whole(folder / name, lambda path, picture=picture: picture.save(path))


def _train_default(arguments: list[str]) -> Train:
    """Defaults of all flags of train: those of the preset, of a file, or of the run to resume."""
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--preset", nargs="?")  # a value left out is for tyro to complain of
    peek.add_argument("--out", nargs="?", type=Path)
    peek.add_argument("--data", nargs="?")
    peek.add_argument("--object-size", nargs="?")
    peek.add_argument("--resume", action="store_true")
    known, _ = peek.parse_known_args(arguments)
    if known.preset is None and known.resume and known.out and (known.out / CONFIG).exists():
        return Train(out=tyro.MISSING, config=load_config(known.out / CONFIG))
    preset = known.preset or (OBJECT_PRESET if known.object_size else Train.preset)
    config = load_config(Path(preset)) if preset.endswith(".json") else preset_named(preset)
    if known.object_size and not {"-h", "--help"} & {*arguments}:
        config = _chosen(config, known.data, known.object_size)
    return Train(out=tyro.MISSING, config=config, preset=preset)


def _chosen(config: Config, data: str | None, object_size: str) -> Config:
    """The configuration for the user's images, telling what was chosen."""
    try:
        size = float(object_size)
    except ValueError:
        return config  # for tyro to complain of
    if not data:
        raise UserError("--object-size chooses settings for your images; name them with --data")
    scenes, shrink = own_images(Path(data))
    choice = choose(config, scenes, size * shrink)
    print(f"chosen for {data}, unless you give these flags yourself:")
    print(*(f"  {reason}" for reason in choice.reasons), sep="\n")
    return choice.config


def _one_line(text: str) -> str:
    """A complaint without the frame, the title and the hint that it is drawn with."""
    lines = [line.strip("│ ") for line in text.splitlines()[1:]]
    message = " ".join(line for line in lines if line and not RULE.fullmatch(line))
    return message.split(" For full helptext")[0]


def _plain(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
