"""The finished pieces of an experiment: JSON files that are not computed again."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Protocol, TypeVar

from airscene.config import Config
from airscene.data import load_sprites
from airscene.errors import UserError
from airscene.experiments.machine import provenance
from airscene.experiments.workers import Workers
from airscene.files import finite, read_json, write_text


class Task(Protocol):
    """What a job is given; it ends by writing its piece."""

    @property
    def path(self) -> Path:
        """The piece."""
        ...


CONFIG = "config.json"

SomeTask = TypeVar("SomeTask", bound=Task)


def finish(
    workers: Workers, job: Callable[[SomeTask], None], tasks: Sequence[SomeTask]
) -> Iterator[SomeTask]:
    """Has those tasks done whose piece is missing, and yields each as it is finished."""
    missing = [task for task in tasks if not task.path.exists()]
    for task, _ in workers.map(job, missing):
        yield task


def begin(
    out: Path, experiment: Any, configs: Iterable[Config], data_dir: Path | None
) -> dict[str, Any]:
    """Sees to it that nothing is missing before worker processes start.

    Args:
        out: the experiment's folder, to be claimed.
        experiment: see `claim`.
        configs: trainings, whose sprites are downloaded if need be.
        data_dir: where they lie, if they are not to be downloaded.

    Returns:
        What results.json begins with: the experiment, and where its results come from. That is
        asked now, as the code may change during a long experiment.

    Raises:
        UserError: there is no seed, the sprites are not to be had, or the folder holds something
            else.
    """
    if experiment.seeds < 1:
        raise UserError(f"--seeds is {experiment.seeds}; it must be at least 1")
    for source in {config.scenes.source for config in configs}:
        for split in ("train", "test"):
            load_sprites(source, split, data_dir)
    claim(out, experiment)
    return {"config": dataclasses.asdict(experiment), "provenance": provenance()}


def write_results(out: Path, results: dict[str, Any], tables: str) -> list[Path]:
    """Writes results.json and tables.md into an experiment's folder.

    Returns:
        Their paths.
    """
    return [write_piece(out / "results.json", results), write_text(out / "tables.md", tables)]


def ending(summary: str, paths: Iterable[Path]) -> str:
    """What an experiment prints at its end: its summary, and a line for each file."""
    return "\n".join(["", summary, "", *map(str, paths)])


def claim(out: Path, experiment: Any) -> None:
    """Writes the experiment's config.json, where there is none or one with other seeds.

    Args:
        out: the experiment's folder.
        experiment: a dataclass with all that decides what the experiment computes.

    Raises:
        UserError: the folder holds something else.
    """
    path, given = out / CONFIG, json.loads(json.dumps(dataclasses.asdict(experiment)))
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file; name a folder")
    saved = read_piece(path) if path.exists() else given
    changed = [name for name in given if saved.get(name) != given[name] and name != "seeds"]
    if changed:
        raise UserError(
            f"--out {out} holds an experiment with other settings ({', '.join(changed)}); "
            f"name another folder"
        )
    write_piece(path, given)


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """What is printed meanwhile goes to the folder's log.txt."""
    folder.mkdir(parents=True, exist_ok=True)
    with (
        (folder / "log.txt").open("a", encoding="utf-8") as log,
        redirect_stdout(log),
        redirect_stderr(log),
    ):
        yield


def write_piece(path: Path, value: Any) -> Path:
    """Writes plain values as JSON, where NaN and infinity become null."""
    return write_text(path, json.dumps(finite(value), indent=1) + "\n")


def read_piece(path: Path) -> dict[str, Any]:
    """What `write_piece` wrote.

    Raises:
        UserError: the file is damaged.
    """
    piece = read_json(path)
    if not isinstance(piece, dict):
        raise UserError(f"{path} is no piece of an experiment; remove it")
    return piece
