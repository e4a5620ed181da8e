"""A run's folder: which files in it are the run's, who may write there, and how it is replaced."""

import os
import re
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import filelock

from airscene.config import Config
from airscene.data.contrast import Contrast
from airscene.errors import UserError
from airscene.files import sweep, writing
from airscene.report.page import FIGURES
from airscene.runs.config_file import load_config, plain
from airscene.training.checkpoints import is_checkpoint
from airscene.training.logging import METRICS, TENSORBOARD
from airscene.training.loop import CHECKPOINT
from airscene.training.snapshots import FOLDER as SNAPSHOTS

CONFIG, EVALUATION, PICTURES = "config.json", "evaluation.json", "pictures.json"
LOCK = ".lock"
INCOMING, MOVING = ".incoming", ".moving"  # where a run begins that replaces one; on its way out
FOLDERS = (SNAPSHOTS, TENSORBOARD, "figures")

FILES = (CONFIG, PICTURES, CHECKPOINT, METRICS, EVALUATION, "report.html")
OWN = (
    *map(re.escape, FILES),
    rf"{SNAPSHOTS}/\d{{8,}}\.npz",
    rf"{TENSORBOARD}/events\.out\.tfevents\..*",
    *(rf"figures/{re.escape(name)}" for name in FIGURES),
)
"""Patterns of all files that a run writes, relative to its folder. Nothing else is ever removed."""

CANVAS_FIELDS = ("model.channels", "model.height", "model.width")
FITTED_FIELDS = ("model.sigma", *(f"model.contrast.{field.name}" for field in fields(Contrast)))
"""What pictures settle where it is left out."""


def own_files(out: Path) -> list[Path]:
    """The files in a folder that have the names of a run's files.

    Args:
        out: the folder, which need not exist.

    Raises:
        UserError: the folder cannot be read.
    """
    places = [out, *(out / name for name in FOLDERS)]
    try:
        found = [path for place in places if place.is_dir() for path in sorted(place.iterdir())]
    except OSError as error:
        raise UserError(
            f"cannot read --out {out}: {error.strerror}; name another folder"
        ) from error
    names = ((path, path.relative_to(out).as_posix()) for path in found if not path.is_dir())
    return [path for path, name in names if any(re.fullmatch(own, name) for own in OWN)]


def holds_run(out: Path) -> bool:
    """Whether a run lies in the folder, be it damaged or just begun."""
    try:
        load_config(out / CONFIG)
    except UserError:
        return is_checkpoint(out / CHECKPOINT)
    return True


def check_folder(out: Path, config: Config, resume: bool, overwrite: bool) -> None:
    """Refuses to mix two runs in one folder, or a run with files that are no run's.

    Args:
        out: the folder, which need not exist.
        config: what is to be trained there.
        resume: go on with the run that the folder holds.
        overwrite: replace the run that the folder holds.

    Raises:
        UserError: the folder holds a run and neither flag allows to touch it, or both do; there is
            no run to resume, or one with another configuration; a file that is no run's has the
            name of one of a run.
    """
    if resume and overwrite:
        raise UserError("--resume keeps a run and --overwrite removes it; give one of them")
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a folder")
    check_kinds(out)
    if resume:
        _check_resumed(out, config)
    elif not holds_run(out):
        for path in own_files(out):
            raise UserError(
                f"--out {out} holds {path.relative_to(out)}, which belongs to no run and would be "
                f"overwritten; name another folder"
            )
    elif not overwrite:
        raise UserError(
            f"--out {out} holds a run; add --resume or --overwrite, or name another folder"
        )


def check_kinds(out: Path) -> None:
    """Refuses a folder, a pipe or a link in a circle in the place of a file, and the like.

    Args:
        out: the folder, in which anything may be missing.

    Raises:
        UserError: the message names what must be moved.
    """
    for name in (*FILES, *(f"figures/{figure}" for figure in FIGURES)):
        if (kind := _kind(out / name)) not in ("file", "nothing"):
            raise UserError(f"{out} holds a {kind} {name}, where a run writes a file; move it")
    for name in FOLDERS:
        if (kind := _kind(out / name)) not in ("folder", "nothing"):
            raise UserError(f"{out} holds a {kind} {name}, where a run makes a folder; move it")


def differences(saved: dict[str, Any], given: dict[str, Any], prefix: str = "") -> list[str]:
    """Which settings differ, as text.

    What the data settle is left out, the canvas and a σ that was not given, and so is the place of
    the data: what lies there is compared instead.

    Args:
        saved: a configuration as nested plain values.
        given: another one.
        prefix: of the names.
    """
    found = []
    for name in [*saved, *(given.keys() - saved.keys())]:
        one, other = saved.get(name), given.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            found += differences(one, other, f"{prefix}{name}.")
        elif one != other and not _is_settled(f"{prefix}{name}", other):
            flag = f"--{prefix}{name}".replace("_", "-")
            found.append(f"{flag} is {one} there and {other} here")
    return found


def _is_settled(name: str, given: Any) -> bool:
    """Whether a setting is decided by the data, and not by what was given for it."""
    return name in (*CANVAS_FIELDS, "data") or (name in FITTED_FIELDS and given is None)


@contextmanager
def owned(out: Path) -> Iterator[None]:
    """Makes this process the only one that trains into the folder.

    The operating system gives the lock back when its owner dies, so that a stale one stops nobody.

    Raises:
        UserError: another process has the folder; the message names it.
    """
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    with writing(out / LOCK):
        out.mkdir(parents=True, exist_ok=True)
    lock = _acquire(out)
    try:
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        name = f"process {os.getpid()} on {socket.gethostname()} since {started}"
        with writing(out / LOCK), (out / LOCK).open("r+") as file:  # not by renaming
            file.truncate()
            file.write(name)
        yield
    finally:
        (out / LOCK).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # a refusal leaves no empty folders
            for folder in made:
                folder.rmdir()


def check_unowned(out: Path) -> None:
    """Refuses a folder into which another process is training, without changing anything.

    Raises:
        UserError: see `owned`.
    """
    if (out / LOCK).is_file():
        _acquire(out).release()


def begin(out: Path, replaces: bool) -> Path:
    """The folder in which a run is to begin, after what killed processes left is tidied up.

    Args:
        out: the folder that was asked for, which this process owns.
        replaces: whether a run that lies there is to be kept until the new one has a checkpoint.
    """
    finish_replacing(out)
    for place in (out, *(out / name for name in FOLDERS)):
        sweep(place)
    return out / INCOMING if replaces and own_files(out) else out


def finish_replacing(out: Path) -> None:
    """Lets a run that has a checkpoint take the place of the one before; removes one that has none.

    Every step can be repeated, so that a process that is killed on the way leaves a folder which
    the next one puts in order.

    Raises:
        UserError: a file cannot be moved.
    """
    with writing(out):
        if is_checkpoint(out / INCOMING / CHECKPOINT) and not (out / MOVING).exists():
            for path in own_files(out):
                path.unlink()
            (out / INCOMING).rename(out / MOVING)
        shutil.rmtree(out / INCOMING, ignore_errors=True)
        if (out / MOVING).is_dir():
            for path in own_files(out / MOVING):
                target = out / path.relative_to(out / MOVING)
                target.parent.mkdir(exist_ok=True)
                path.replace(target)
            shutil.rmtree(out / MOVING)
            for name in FOLDERS:
                with suppress(OSError):  # empty, unless somebody else's files lie there
                    (out / name).rmdir()


def abandon(out: Path) -> None:
    """Removes a run that was to replace another one and never had a checkpoint."""
    if not is_checkpoint(out / INCOMING / CHECKPOINT):
        shutil.rmtree(out / INCOMING, ignore_errors=True)


def is_unsettled(out: Path) -> bool:
    """Whether a process was killed while one run was to replace another."""
    return (out / INCOMING).is_dir() or (out / MOVING).is_dir()


def _kind(path: Path) -> str:
    """What lies at a path, as a word; a link counts as what it leads to."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return "nothing"
    except OSError as error:
        return f"link ({error.strerror})" if path.is_symlink() else "nothing"
    if stat.S_ISREG(mode):
        return "file"
    return "folder" if stat.S_ISDIR(mode) else "pipe, socket or device"


def _check_resumed(out: Path, config: Config) -> None:
    if not holds_run(out):
        raise UserError(f"--resume: {out} holds no run; check --out, or train without --resume")
    changed = differences(plain(load_config(out / CONFIG)), plain(config))
    if changed:
        raise UserError(f"--resume: {out} was trained with another configuration: {changed[0]}")


def _acquire(out: Path) -> filelock.BaseFileLock:
    lock = filelock.FileLock(out / LOCK, blocking=False)
    with writing(out / LOCK):
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise UserError(
                f"--out {out} is in use by {_owner(out)}; wait, stop it or name another folder"
            ) from error
    return lock


def _owner(out: Path) -> str:
    try:
        return (out / LOCK).read_text()[:200] or "another process"
    except (OSError, ValueError):
        return "another process"
