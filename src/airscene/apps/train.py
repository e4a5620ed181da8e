"""The command `train`, and where the defaults of its flags come from."""

import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from airscene.__main__ import INTERRUPTED
from airscene.apps.arguments import parse_known, with_home
from airscene.apps.terminal import show
from airscene.chooser import choose
from airscene.config import Config
from airscene.data.sources import SOURCES
from airscene.effects import check_effects
from airscene.errors import UserError
from airscene.experiments.machine import best_device
from airscene.kinds import kind_of
from airscene.presets import preset_named
from airscene.ranges import Range, check_value
from airscene.runs import (
    CONFIG,
    EARLY,
    check_folder,
    evaluate_run,
    holds_run,
    in_time,
    load_run,
    load_shrunk,
    own_scenes,
    report_run,
    save_evaluation,
    train_run,
    with_object_size,
)
from airscene.runs.config_file import load_config

OBJECT_PRESET = "dair"  # where the size of objects is all that is known
WHOLE_PRESET = "whole"  # for --images
OBJECT_SIZES = Range(1, 10_000)  # in pixels, of any picture; `choose` knows the user's pictures


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
    """Fit the whole schedule, the evaluation and the report into about so many minutes."""

    def run(self) -> int:
        """Trains, evaluates, reports."""
        reason = train_run(
            self.config, self.out, self.data_dir, self.resume, self.overwrite, self.max_minutes
        )
        print(reason)
        if reason == "interrupted":
            print(f"saved; {EARLY}; go on with: airscene train --resume --out {self.out}")
            return INTERRUPTED
        if int(os.environ.get("RANK", 0)) == 0:
            run = load_run(self.out, best_device())
            scenes = in_time(run, own_scenes(run, data_dir=self.data_dir), self.max_minutes)
            table = evaluate_run(run, scenes)
            show(table)
            save_evaluation(run, table)
            print(f"report: {report_run(run, scenes)}")
        return 0


@dataclass(frozen=True)
class _Origin:
    """The flags of train from which the defaults of the others come."""

    preset: str | None = None
    out: Path | None = None
    images: Path | None = None
    object_size: float | None = None
    resume: bool = False


def train_default(words: list[str]) -> Train:
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


def settled(command: Train, given: frozenset[str]) -> Train:
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
