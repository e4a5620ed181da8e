"""Nothing is written over what is read, by whatever name."""

from collections.abc import Sequence
from pathlib import Path

from airscene.errors import UserError


def refuse_to_overwrite(out: Path, inputs: Sequence[Path]) -> None:
    """Refuses to write over what is read.

    Raises:
        UserError: the file to write is one of the inputs.
    """
    if first_read([out], inputs):
        raise UserError(f"--out {out} is one of the files to read; name another file")


def first_read(targets: Sequence[Path], inputs: Sequence[Path]) -> Path | None:
    """The first of the files to write that is one of those to read, by whatever name."""
    read = {_identity(path) for path in inputs if path.exists()}
    return next((path for path in targets if path.exists() and _identity(path) in read), None)


def _identity(path: Path) -> tuple[int, int]:
    """What tells a file from every other one."""
    status = path.stat()
    return status.st_dev, status.st_ino
