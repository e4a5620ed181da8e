"""The finished pieces of an experiment: JSON files that are not computed again."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from airscene.errors import UserError
from airscene.experiments.pool import Pool
from airscene.files import finite, write_text


class Task(Protocol):
    """What a job is given; it ends by writing its piece."""

    @property
    def path(self) -> Path:
        """The piece."""
        ...


CONFIG = "config.json"

SomeTask = TypeVar("SomeTask", bound=Task)


def finish(
    pool: Pool, job: Callable[[SomeTask], None], tasks: Sequence[SomeTask]
) -> Iterator[SomeTask]:
    """Has those tasks done whose piece is missing, and yields each as it is finished."""
    missing = [task for task in tasks if not task.path.exists()]
    for task, _ in pool.map(job, missing):
        yield task


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


def write_piece(path: Path, value: Any) -> Path:
    """Writes plain values as JSON, where NaN and infinity become null."""
    return write_text(path, json.dumps(finite(value), indent=1) + "\n")


def read_piece(path: Path) -> Any:
    """What `write_piece` wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); remove it") from error
