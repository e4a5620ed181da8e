"""Files that are written whole or not at all, and values fit for JSON."""

import math
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airscene.errors import UserError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tells what could not be written, and what to do about it.

    Raises:
        UserError: in place of any `OSError` within the context.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot write {path}: {reason}; free some space or name another folder"
        ) from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it takes the name `path`, else it vanishes.

    Raises:
        UserError: the disk is full or the folder cannot be written; what stood at `path` survives.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Calls `write` with a temporary path beside `path` and renames the result to `path`."""
    with whole_file(path) as temporary:
        write(temporary)
    return path


def write_text(path: Path, text: str) -> Path:
    """Writes `text` to `path`, whole or not at all."""
    return write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def finite(value: Any) -> Any:
    """Plain values with NaN and infinity as None, for JSON knows neither."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
