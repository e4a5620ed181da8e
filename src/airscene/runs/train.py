"""Trainings: from a configuration to a run's folder."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator

from airscene.config import Config
from airscene.errors import UserError
from airscene.files import check_writable
from airscene.memory import check_memory
from airscene.runs.config_file import save_config
from airscene.runs.folder import (
    CONFIG,
    abandon,
    begin,
    check_folder,
    check_unowned,
    finish_replacing,
    owned,
)
from airscene.runs.pictures import Pictures, check_unchanged, save_record
from airscene.runs.sources import fitted, make_sources, own_pictures
from airscene.training.logging import Progress, read_metrics
from airscene.training.loop import CHECKPOINT, Trainer

TRAINED = 0.9  # share of the time for training; the rest is for evaluation and report


def train_run(
    config: Config,
    out: Path,
    data_dir: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    minutes: float = math.inf,
    after_step: Callable[[Trainer], None] | None = None,
) -> str:
    """Trains a model into a folder.

    Nothing in the folder changes before everything has been checked that can be: the data, the
    memory, and the checkpoint to go on from. A run that is replaced stays until the new one has its
    first checkpoint.

    Args:
        config: the configuration; its canvas is settled by the data.
        out: the run's folder.
        data_dir: where MNIST lies, if it is not to be downloaded.
        resume: go on from the folder's checkpoint, or begin the run anew if it has none yet.
        overwrite: replace the run that the folder holds, if it holds one.
        minutes: that all may take, over all sittings; a tenth is left for evaluation and report.
            Where training would take longer, the whole schedule passes in fewer steps.
        after_step: called after each step; see `Trainer.run`.

    Returns:
        Why training ended.

    Raises:
        UserError: the folder holds another run or belongs to another process, or the data or a
            setting is at fault.
    """
    if not minutes > 0:
        raise UserError(f"--max-minutes is {minutes:g}; it must be above 0")
    out = out.expanduser()
    if config.data:  # so that the run can be evaluated from another folder
        config = replace(config, data=str(Path(config.data).expanduser().resolve()))
    check_folder(out, config, resume, overwrite)
    given, accelerator = config.model, make_accelerator(config)
    main = accelerator.is_main_process  # the one of all processes that writes
    if main:
        check_unowned(out)
        check_writable(out / CONFIG)
    pictures = None
    if config.data:
        config, pictures = own_pictures(config)
        config = fitted(config, pictures.train)
    check_memory(config, accelerator.device)
    config, sources = make_sources(config, data_dir, accelerator.device, pictures)
    trainer = Trainer(config, out, sources, accelerator)
    if resume:
        _go_back(trainer, pictures)
        _check_time(trainer, minutes)
    accelerator.wait_for_everyone()  # until all have seen the folder as it was
    with owned(out) if main else nullcontext():
        if main:
            check_folder(out, config, resume, overwrite)  # again: now nobody else can change it
        with _begun(trainer, pictures, overwrite) as settle:
            accelerator.wait_for_everyone()
            iterations = config.training.iterations
            for choice in config.model.choices(given) if main else ():
                print(choice)
            with Progress(iterations, main) as progress:
                return trainer.run(progress, TRAINED * minutes, after_step, settle)


def make_accelerator(config: Config) -> Accelerator:
    """The device, precision and processes that a training of this configuration uses.

    Raises:
        UserError: a variable of the environment is at fault.
    """
    # Without being told of CPUs, accelerate takes several processes on them for strangers.
    cpu = not torch.accelerator.is_available()
    try:
        return Accelerator(cpu=cpu, mixed_precision=config.training.precision)
    except ValueError as error:
        raise UserError(
            f"accelerate refuses the environment ({str(error).splitlines()[0]}); correct or unset "
            f"its variables, which begin with ACCELERATE_"
        ) from error


def _go_back(trainer: Trainer, pictures: Pictures | None) -> None:
    """Goes back to the run's last checkpoint, if it has one, after its data were compared."""
    if pictures:
        check_unchanged(pictures.record, trainer.out)
    read_metrics(trainer.out)
    if (trainer.out / CHECKPOINT).exists():
        trainer.resume()


def _check_time(trainer: Trainer, minutes: float) -> None:
    """Refuses to go on where no time is left for it."""
    position, limit = trainer.position, 60 * TRAINED * minutes
    if position.seconds >= limit and not trainer.pace.is_over(position):
        raise UserError(
            f"--max-minutes is {minutes:g}, of which {TRAINED:.0%} are for training, and "
            f"{trainer.out} has trained for {position.seconds / 60:.3g} minutes already; give more"
        )


@contextmanager
def _begun(
    trainer: Trainer, pictures: Pictures | None, overwrite: bool
) -> Iterator[Callable[[], Path] | None]:
    """Writes what a run begins with, and yields what is to be done at its first checkpoint."""
    if not trainer.accelerator.is_main_process:
        yield None
        return
    out = trainer.out
    trainer.out = begin(out, overwrite)
    try:
        save_config(trainer.config, trainer.out / CONFIG)
        if pictures:
            save_record(pictures.record, trainer.out)
        yield partial(_replace, out) if trainer.out != out else None
    finally:
        abandon(out)


def _replace(out: Path) -> Path:
    finish_replacing(out)
    return out
