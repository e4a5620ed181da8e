"""The command line: parse, call, print."""

import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from PIL import Image
from tyro.conf import Positional

from airscene import figures, placements
from airscene.__main__ import INTERRUPTED
from airscene.arguments import given_flags, parse_command, parse_known, with_home
from airscene.chooser import choose
from airscene.config import Config
from airscene.data import Scenes, UserImages, as_scenes, load_images, save_scenes
from airscene.data.sources import SOURCES
from airscene.data.whole import picture_files
from airscene.effects import check_effects
from airscene.errors import UserError
from airscene.experiments import reproduce
from airscene.experiments.machine import best_device
from airscene.files import check_writable, write_json, write_text, write_whole
from airscene.kinds import kind_of
from airscene.models.air import STEPS
from airscene.predictions import FORMATS, Prediction, label_images, picture_name, predictions
from airscene.presets import PRESETS
from airscene.ranges import SEED, Range, check_value
from airscene.runs import (
    CONFIG,
    EVALUATION,
    Run,
    check_folder,
    check_kinds,
    composed,
    evaluate_run,
    holds_run,
    infer_whole,
    load_run,
    load_shrunk,
    own_files,
    own_scenes,
    report_run,
    save_evaluation,
    test_scenes,
    train_run,
    with_object_size,
)
from airscene.runs.config_file import load_config
from airscene.seeds import Purpose, global_stream
from airscene.terminal import lasting_output
from airscene.whole_results import Targets

OBJECT_PRESET = "dair"  # where the size of objects is all that is known
WHOLE_PRESET = "whole"  # for --images
WHOLE_ALONE = "this run has pictures of one size; train with --images"
OBJECT_SIZES = Range(1, 10_000)  # in pixels, of any picture; `choose` knows the user's pictures
MOST_GENERATED, MOST_PICTURED = 10_000, 256  # scenes: in scenes.npz, and in scenes.png
TOO_LITTLE_MEMORY = "there is too little memory: lower --training.batch or the sizes of the model"


@dataclass(frozen=True)
class Train:
    """Train a model, then evaluate it and write its report."""

    out: Path
    """Folder for the run."""
    config: Annotated[Config, tyro.conf.arg(name="")]
    """Every field can be set by its flag; the preset gives the defaults."""
    preset: str = "digits"
    """Source of the other flags' defaults: a name (see docs/presets.md) or a run's config.json."""
    images: Path | None = None
    """Whole pictures to learn from, of any size: a file, an array, or a folder with subfolders."""
    object_size: float | None = None
    """Rough length of an object in pixels of the files; with --images, it may be left out."""
    data_dir: Path | None = None
    """Folder with MNIST; else AIRSCENE_DATA_DIR, else it is downloaded."""
    resume: bool = False
    """Go on with the run in the folder."""
    overwrite: bool = False
    """Replace the run in the folder, once the new one has a checkpoint."""
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
            scenes = own_scenes(run, data_dir=self.data_dir)
            table = evaluate_run(run, scenes)
            show(table)
            save_evaluation(run, table)
            print(f"report: {report_run(run, scenes)}")
        return 0


@dataclass(frozen=True)
class Evaluate:
    """Evaluate a trained model on scenes."""

    run_folder: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    data: Path | None = None
    """Folder, .npy or .npz to evaluate on; else the run's own held-out scenes."""
    data_dir: Path | None = None
    """Folder with MNIST; else AIRSCENE_DATA_DIR, else it is downloaded."""
    out: Path | None = None
    """JSON file for the table; else evaluation.json in the run's folder, but not with --data."""

    def run(self) -> int:
        """Prints the table and writes it."""
        run = load_run(self.run_folder, best_device())
        target = self.out or (None if self.data else self.run_folder / EVALUATION)
        if target:
            check_writable(target)
        if target and not self.out:
            check_kinds(run.path)
        if self.out:
            _refuse_to_overwrite(self.out, [*own_files(run.path), *([self.data or run.path])])
        scenes = test_scenes(run, self.data, self.data_dir)
        table = evaluate_run(run, scenes, self.data)
        show(table)
        if self.out:
            write_json(self.out, table)
        elif not self.data:
            save_evaluation(run, table)
        return 0


@dataclass(frozen=True)
class Infer:
    """Count and locate the objects in images, or tell kind and pose of the one in 3D scenes."""

    run_folder: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    paths: Annotated[Positional[tuple[Path, ...]], tyro.conf.arg(metavar="PATH...")]
    """Images, folders of images, .npy or .npz (first array, or key x)."""
    out: Path
    """File to write."""
    format: Literal["jsonl", "csv", "coco", "coco-results"] = "jsonl"
    """Format of the file."""
    overlay: Path | None = None
    """Folder for pictures of the images with their boxes."""
    masks: Path | None = None
    """Folder for label images of 16 bits: k where a pixel shows the k-th object, else 0."""
    labels: Path | None = None
    """The same as TIFF, of a run that was trained on --images."""
    table: Path | None = None
    """CSV file with a row for each object, of a run that was trained on --images."""
    max_objects: int | None = None
    """Largest count to allow for, 1 to 1000; that of training unless given."""

    def run(self) -> int:
        """Writes one prediction an image, in order."""
        if self.max_objects is not None:
            check_value("--max-objects", self.max_objects, STEPS)
        if not self.paths:
            raise UserError("PATH is missing; name an image, a folder, .npy or .npz")
        run = load_run(self.run_folder, best_device())
        if kind_of(run.config.model).place is not None:
            return self._place(run)
        if kind_of(run.config.model).whole:
            return self._run_whole(run)
        self._refuse({"--labels": self.labels, "--table": self.table}, WHOLE_ALONE)
        detect, canvas = run.detector(), run.config.model
        check_writable(self.out)
        self._check_folders()
        inputs = [load_images(path, white=run.white) for path in self.paths]
        self._refuse_to_overwrite(inputs, own_files(run.path))
        rows = []
        for images in inputs:
            scenes, scale = as_scenes(images, (canvas.channels, canvas.height, canvas.width))
            found = detect(scenes.pixels(), self.max_objects)
            part = predictions(images, found, scale)
            if self.overlay:
                save_pictures(self.overlay, images, overlays(images, part), len(rows))
            if self.masks:
                save_pictures(self.masks, images, label_images(images, found), len(rows))
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

    def _place(self, run: Run) -> int:
        """Writes kind and pose of the object in each picture of a 3D scene."""
        given = {"--overlay": self.overlay, "--masks": self.masks, "--labels": self.labels}
        given |= {"--table": self.table, "--max-objects": self.max_objects}
        given |= {"--format": None if self.format == "jsonl" else self.format}
        reason = f"kinds and poses of {run.path} are written as JSON lines; leave it out"
        self._refuse(given, reason)
        check_writable(self.out)
        canvas = run.config.model
        inputs = [load_images(path, white=run.white) for path in self.paths]
        self._refuse_to_overwrite(inputs, own_files(run.path))
        text = ""
        for images in inputs:
            scenes, _ = as_scenes(images, (canvas.channels, canvas.height, canvas.width))
            text += placements.as_jsonl(images, run.place(scenes.pixels()))
        write_text(self.out, text)
        print(f"{text.count(chr(10))} images: {self.out}")
        return 0

    def _run_whole(self, run: Run) -> int:
        """The same with a model of whole pictures, one picture after the other."""
        self._refuse({"--masks": self.masks}, "whole pictures have label images; give --labels")
        self._refuse({"--max-objects": self.max_objects}, "whole pictures have no largest count")
        if self.format != "jsonl":
            raise UserError(f"--format {self.format}: whole pictures give JSON lines and a --table")
        targets = Targets(self.out, self.table, self.labels, self.overlay)
        files = picture_files(self.paths)
        self._check_targets(files, own_files(run.path))
        pictures, objects = infer_whole(run, files, targets)
        print(f"{pictures} images, {objects} objects: {self.out}")
        return 0

    def _refuse(self, flags: Mapping[str, object], reason: str) -> None:
        """Refuses flags that this kind of run does not know."""
        for flag, value in flags.items():
            if value is not None:
                raise UserError(f"{flag} has no effect: {reason}")

    def _check_targets(self, files: list[Path], own: list[Path]) -> None:
        """Refuses what cannot be written, or what would write over what is read."""
        for path in (self.out, self.table):
            if path:
                check_writable(path)
                _refuse_to_overwrite(path, [*own, *files])
        if self.table and self.table.resolve() == self.out.resolve():
            raise UserError(f"--table {self.table} is the file of --out; name another file")
        folders = {"--labels": self.labels, "--overlay": self.overlay}
        read = {file.resolve().parent for file in files}
        for flag, folder in folders.items():
            if folder:
                check_writable(folder / "0.png")
            if folder and folder.resolve() in read:
                raise UserError(f"{flag} {folder} holds pictures to read; name another folder")

    def _check_folders(self) -> None:
        """Refuses folders for pictures that cannot be written, or that are one and the same."""
        for folder in (self.overlay, self.masks):
            if folder:
                check_writable(folder / "0.png")
        if self.overlay and self.masks and self.overlay.resolve() == self.masks.resolve():
            raise UserError(f"--masks {self.masks} is the folder of --overlay; name another one")

    def _refuse_to_overwrite(self, inputs: list[UserImages], own: list[Path]) -> None:
        """Refuses to write the file or a picture over what is read."""
        read = [*own, *{Path(source) for images in inputs for source in images.sources}]
        _refuse_to_overwrite(self.out, read)
        images = [pair for part in inputs for pair in zip(part.sources, part.indices, strict=True)]
        names = [picture_name(k, *image) for k, image in enumerate(images)]
        for flag, folder in (("--overlay", self.overlay), ("--masks", self.masks)):
            if folder and (clash := _first_read([folder / name for name in names], read)):
                reason = f"would write over {clash.name}, which is read"
                raise UserError(f"{flag} {folder} {reason}; name another folder")


@dataclass(frozen=True)
class Generate:
    """Draw scenes from the model."""

    run_folder: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    out: Path
    """Folder for scenes.png and scenes.npz."""
    n: int = 64
    """Number of scenes, 1 to 10,000."""
    seed: int = 0
    """Seed of the drawing."""

    def run(self) -> int:
        """Writes the scenes as a picture and as arrays."""
        check_value("--n", self.n, Range(1, MOST_GENERATED))
        check_value("--seed", self.seed, SEED)
        run = load_run(self.run_folder)
        picture, arrays = self.out / "scenes.png", self.out / "scenes.npz"
        check_writable(picture)
        check_writable(arrays)
        with global_stream(Purpose.GENERATION, self.seed):
            canvas, count = run.model.generate(self.n)
        canvas = canvas.clamp(0, 1)
        shown = canvas[:MOST_PICTURED].numpy()
        figure = figures.scenes_grid(shown, min(8, len(shown)))
        write_whole(picture, lambda path: figure.savefig(path))
        save_scenes(Scenes((canvas * 255).round().byte(), count), arrays)
        if self.n > MOST_PICTURED:
            warnings.warn(f"{picture} shows the first {MOST_PICTURED} scenes", stacklevel=2)
        print(f"{self.n} scenes: {picture}")
        return 0


@dataclass(frozen=True)
class Report:
    """Draw the figures of a run and write its report.html."""

    run_folder: Annotated[Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a run."""
    data: Path | None = None
    """Where the run's own images lie now, if they were moved."""
    data_dir: Path | None = None
    """Folder with MNIST; else AIRSCENE_DATA_DIR, else it is downloaded."""

    def run(self) -> int:
        """Writes the report, evaluating the run first if its weights were not evaluated yet."""
        run = load_run(self.run_folder, best_device())
        check_kinds(run.path)
        check_writable(run.path / "report.html")
        print(f"report: {report_run(run, own_scenes(run, self.data, self.data_dir))}")
        return 0


@dataclass(frozen=True)
class Data:
    """Write a preset's scenes, with their truth, to a file."""

    preset: Annotated[Positional[str], tyro.conf.arg(metavar="PRESET")]
    """Named configuration: digits, multi-mnist, dair, ... (see docs/presets.md)."""
    out: Path
    """The .npz file: arrays x, count, boxes, labels, masks."""
    split: Literal["train", "test"] = "train"
    """Which sprites and how many scenes."""
    seed: int = 0
    """Seed of the composition."""
    data_dir: Path | None = None
    """Folder with MNIST; else AIRSCENE_DATA_DIR, else it is downloaded."""

    def run(self) -> int:
        """Composes and writes."""
        check_value("--seed", self.seed, SEED)
        config = preset_named(self.preset)
        if self.out.suffix != ".npz":
            raise UserError(f"--out {self.out} must end in .npz, in which scenes are saved")
        check_writable(self.out)
        scenes = composed(config, self.split, self.seed, self.data_dir, masks=True)
        print(f"{len(scenes)} scenes: {save_scenes(scenes, self.out)}")
        return 0


@dataclass(frozen=True)
class Reproduce:
    """Carry out an experiment: tables and figures of many runs."""

    experiment: Annotated[Positional[str], tyro.conf.arg(metavar="EXPERIMENT")]
    """Named experiment: estimators, generalization, representation or robustness."""
    out: Path
    """Folder for the experiment; given again, it goes on where it was."""
    data_dir: Path | None = None
    """Folder with MNIST; else AIRSCENE_DATA_DIR, else it is downloaded."""
    seeds: int | None = None
    """Trainings of each kind, 1 to 1000, seeded from 0 on; unless given, as many as are its own."""
    quick: bool = False
    """Run the whole on little, in minutes: a smoke test, not a result."""
    scheduler: str | None = None
    """Address of a dask scheduler, tcp://HOST:PORT, whose workers do it; else this machine does."""

    def run(self) -> int:
        """Computes what is missing and prints the summary."""
        if self.seeds is not None:
            check_value("--seeds", self.seeds, Range(1, 1000))
        check_writable(self.out / CONFIG)
        try:
            given = self.experiment, self.out, self.data_dir, self.seeds, self.quick
            print(reproduce(*given, self.scheduler))
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
    with lasting_output(), warnings.catch_warnings():
        warnings.showwarning = _show_note
        warnings.simplefilter("default", UserWarning)  # whatever PYTHONWARNINGS is
        try:
            check_environment()
            return parse(arguments).run()
        except UserError as error:
            print(f"airscene: {_joined(error)}", file=sys.stderr)
            return 2
        except (MemoryError, RuntimeError) as error:
            if not _lacks_memory(error):
                raise
            print(f"airscene: {TOO_LITTLE_MEMORY} ({_joined(error)})", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return INTERRUPTED


def check_environment() -> None:
    """Refuses variables of the environment that would end in a defect later.

    Raises:
        UserError: the message names the variable.
    """
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_PORT"):
        value = os.environ.get(name, "0")
        if not (value.isascii() and value.isdecimal()):
            raise UserError(f"the environment variable {name} is {value!r}, no number; unset it")


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
        UserError: there is no such command, preset or flag, a value does not fit its flag, or a
            flag can have no effect.
    """
    name, words = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("-h", "--help"):
        print(overview())
        raise SystemExit(0)
    if name not in COMMANDS:
        raise UserError(f"command {name} is unknown; choose one of {', '.join(COMMANDS)}")
    default = _train_default(words) if name == "train" else tyro.MISSING_NONPROP
    command = parse_command(COMMANDS[name], words, f"airscene {name}", default)
    return _settled(command, given_flags(words)) if isinstance(command, Train) else command


def overview() -> str:
    """All commands, a line each."""
    lines = [f"  {name:10}{command.__doc__}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: airscene COMMAND [--help]", "", *lines])


def show(table: dict) -> None:
    """Prints an evaluation."""
    for name, value in table.items():
        print(f"{name:28}{_plain(value)}")


def overlays(images: UserImages, rows: list[Prediction]) -> Iterator[Image.Image]:
    """Each image with its boxes, in order."""
    for image, row in zip(images.images, rows, strict=True):
        pixels = image.numpy() / 255 if image.dtype == torch.uint8 else image.numpy()
        boxes = np.array(row.boxes).reshape(-1, 4)
        yield figures.overlay(pixels, boxes, [f"{score:.2f}" for score in row.scores])


def save_pictures(
    folder: Path, images: UserImages, pictures: Iterable[Image.Image], first: int
) -> None:
    """Writes a PNG for each image, numbered in order."""
    named = zip(images.sources, images.indices, pictures, strict=True)
    for k, (source, index, picture) in enumerate(named, start=first):
        path = folder / picture_name(k, source, index)
        write_whole(path, lambda temporary, picture=picture: picture.save(temporary))


@dataclass(frozen=True)
class _Origin:
    """The flags of train from which the defaults of the others come."""

    preset: str | None = None
    out: Path | None = None
    images: Path | None = None
    object_size: float | None = None
    resume: bool = False


def _train_default(words: list[str]) -> Train:
    """Defaults of all flags of train: those of the preset, of a file, or of the run to resume."""
    origin = parse_known(_Origin, words)
    if origin.resume and origin.object_size is not None:
        raise UserError("--object-size chooses for a new run, and --resume keeps a run's settings")
    if origin.resume and origin.preset is None and origin.out:
        if not holds_run(origin.out):
            raise UserError(
                f"--resume: {origin.out} holds no run; check --out, or train without --resume"
            )
        return Train(out=tyro.MISSING, config=load_config(origin.out / CONFIG))
    chosen = Train.preset if origin.object_size is None else OBJECT_PRESET
    preset = origin.preset or (WHOLE_PRESET if origin.images else chosen)
    path = with_home(Path(preset))
    config = load_config(path) if path.suffix == ".json" else preset_named(preset)
    return Train(out=tyro.MISSING, config=config, preset=preset)


def _settled(command: Train, given: frozenset[str]) -> Train:
    """The command with what --object-size chooses, after flags without effect were refused."""
    config = command.config
    if command.images:
        config = _with_images(config, command.images)
    if config.data:
        config = replace(config, data=str(with_home(Path(config.data))))
    if kind_of(config.model).whole and not config.data:
        raise UserError("--preset whole learns from whole pictures; name them with --images")
    check_effects(config, given, bool(config.data))
    if command.data_dir and (config.data or not SOURCES[config.scenes.source].has_files):
        warnings.warn("--data-dir has no effect: the scenes are not made of MNIST", stacklevel=2)
    if command.object_size is not None:
        check_value("--object-size", command.object_size, OBJECT_SIZES)
        if kind_of(config.model).whole:
            return replace(command, config=_with_size(config, command.object_size))
        check_folder(command.out, config, command.resume, command.overwrite)
        config = _chosen(config, command.object_size, given)
    return replace(command, config=config)


def _with_images(config: Config, images: Path) -> Config:
    """The configuration for whole pictures.

    Raises:
        UserError: the model takes pictures of one size alone.
    """
    if not kind_of(config.model).whole:
        title = kind_of(config.model).title
        raise UserError(f"--images: {title} takes pictures of one size; name them with --data")
    if config.data and Path(config.data) != images:
        raise UserError(f"--images {images} and --data {config.data} differ; leave --data out")
    return replace(config, data=str(images))


def _with_size(config: Config, object_size: float) -> Config:
    """The configuration of a model of whole pictures, for objects of this size."""
    if not config.data:
        raise UserError("--object-size is of your pictures; name them with --images")
    return with_object_size(config, object_size)


def _chosen(config: Config, object_size: float, given: frozenset[str]) -> Config:
    """The configuration for the user's images, telling what is used and why."""
    if not config.data:
        raise UserError("--object-size chooses settings for your images; name them with --data")
    scenes, shrink = load_shrunk(Path(config.data))
    choice = choose(config, scenes, object_size * shrink, given)
    print(f"chosen for {config.data}:")
    print(*(f"  {reason}" for reason in choice.reasons), sep="\n")
    return choice.config


def _refuse_to_overwrite(out: Path, inputs: Sequence[Path]) -> None:
    """Refuses to write over what is read.

    Raises:
        UserError: the file to write is one of the inputs.
    """
    if _first_read([out], inputs):
        raise UserError(f"--out {out} is one of the files to read; name another file")


def _first_read(targets: Sequence[Path], inputs: Sequence[Path]) -> Path | None:
    """The first of the files to write that is one of those to read, by whatever name."""
    read = {_identity(path) for path in inputs if path.exists()}
    return next((path for path in targets if path.exists() and _identity(path) in read), None)


def _identity(path: Path) -> tuple[int, int]:
    """What tells a file from every other one."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _show_note(message: Warning | str, *_: object) -> None:
    print(f"airscene: note: {message}", file=sys.stderr)


def _joined(error: BaseException) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())


def _lacks_memory(error: BaseException) -> bool:
    """Whether an allocation failed: on CPUs, torch tells of it by a plain RuntimeError."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)


def _plain(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
