"""The command line: parse, call, print."""

import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from tyro.conf import Positional

from airscene.__main__ import INTERRUPTED
from airscene.apps.arguments import given_flags, parse_command
from airscene.apps.infer import Infer
from airscene.apps.overwriting import refuse_to_overwrite
from airscene.apps.terminal import lasting_output, show
from airscene.apps.train import Train, settled, train_default
from airscene.core.seeds import Purpose, global_stream
from airscene.data import Scenes, save_scenes
from airscene.errors import UserError
from airscene.experiments import reproduce
from airscene.experiments.machine import best_device
from airscene.files import check_writable, write_json, write_whole
from airscene.presets import preset_named
from airscene.ranges import SEED, Range, check_value
from airscene.report import figures
from airscene.runs import (
    CONFIG,
    EVALUATION,
    check_kinds,
    composed,
    evaluate_run,
    load_run,
    own_files,
    own_scenes,
    report_run,
    save_evaluation,
    test_scenes,
)

MOST_GENERATED, MOST_PICTURED = 10_000, 256  # scenes: in scenes.npz, and in scenes.png
TOO_LITTLE_MEMORY = "there is too little memory: lower --training.batch or the sizes of the model"


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
            refuse_to_overwrite(self.out, [*own_files(run.path), *([self.data or run.path])])
        scenes = test_scenes(run, self.data, self.data_dir)
        table = evaluate_run(run, scenes, self.data)
        show(table)
        if self.out:
            write_json(self.out, table)
        elif not self.data:
            save_evaluation(run, table)
        return 0


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
        scenes = own_scenes(run, self.data, self.data_dir)
        print(f"report: {report_run(run, scenes, self.data)}")
        return 0


@dataclass(frozen=True)
class Data:
    """Write a preset's scenes, with their truth, to a file."""

    preset: Annotated[Positional[str], tyro.conf.arg(metavar="PRESET")]
    """Named configuration: digits, multi-mnist, dair, ... (see docs/presets.md)."""
    out: Path
    """The .npz file: arrays x, count, labels, and boxes and masks, or pose and camera."""
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
    """Named experiment: estimators, omniglot, subitizing, ... (see docs/command-line.md)."""
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
    default = train_default(words) if name == "train" else tyro.MISSING_NONPROP
    command = parse_command(COMMANDS[name], words, f"airscene {name}", default)
    return settled(command, given_flags(words)) if isinstance(command, Train) else command


def overview() -> str:
    """All commands, a line each."""
    lines = [f"  {name:10}{command.__doc__}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: airscene COMMAND [--help]", "", *lines])


def _show_note(message: Warning | str, *_: object) -> None:
    print(f"airscene: note: {message}", file=sys.stderr)


def _joined(error: BaseException) -> str:
    """An error's message on one line."""
    return " ".join(str(error).split())


def _lacks_memory(error: BaseException) -> bool:
    """Whether an allocation failed: on CPUs, torch tells of it by a plain RuntimeError."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or "can't allocate memory" in str(error)
