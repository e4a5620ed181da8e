"""Files that are written whole or not at all, and values fit for JSON."""

import errno
import json
import math
import os
import platform
import re
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from airscene.errors import UserError

NAME_BYTES = 100  # of the file's name that its temporary's name repeats: file systems allow 255
TEMPORARY = re.compile(r"\..*\.([0-9a-f]{8})-(\d+)-\w+\.tmp(\.\w+)?")

FIXES = {
    errno.ENOSPC: "free some space or name another folder",
    errno.EDQUOT: "free some space or name another folder",
    errno.EACCES: "name a folder in which you may write",
    errno.EPERM: "name a folder in which you may write",
    errno.EROFS: "name a folder in which you may write",
    errno.ENOTDIR: "a file is in the way of a folder: name a folder",
    errno.EISDIR: "a folder of this name is in the way: name another file",
    errno.ENAMETOOLONG: "give it a shorter name",
}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tells what could not be written, and what to do about it.

    Raises:
        UserError: in place of any `OSError` within the context.
    """
    try:
        yield
    except OSError as error:
        fix = FIXES.get(error.errno or 0, "name another place")
        raise UserError(f"cannot write {path}: {error.strerror or error}; {fix}") from error
    except RuntimeError as error:  # Path.resolve, of links that lead in a circle
        raise UserError(f"cannot write {path}: {error}; name another place") from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it takes the name `path`, else it vanishes.

    A link is followed, so that it still points to its file afterwards. What a killed process left
    of an earlier attempt to write the same file is removed.

    Raises:
        UserError: the disk is full or the folder cannot be written; what stood at `path` survives.
    """
    with writing(path):
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path.parent, path.name)
        handle, name = tempfile.mkstemp(
            dir=path.parent, prefix=_temporary_prefix(path.name), suffix=f".tmp{path.suffix[:20]}"
        )
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())  # mkstemp makes private files
            _to_disk(temporary)
            temporary.replace(path)
            if hasattr(os, "O_DIRECTORY"):  # elsewhere a folder cannot be opened
                _to_disk(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[Path], object]) -> Path:
    """Calls `write` with a temporary path and renames the result to `path`.

    A device, a pipe or another file that is not a regular one is not replaced: the result is
    written into it.

    Raises:
        UserError: see `whole_file`.
    """
    if _is_special(path):
        with tempfile.TemporaryDirectory() as folder, writing(path):
            temporary = Path(folder) / f"content{path.suffix}"
            write(temporary)
            path.write_bytes(temporary.read_bytes())
        return path
    with whole_file(path) as temporary:
        write(temporary)
    return path


def write_text(path: Path, text: str) -> Path:
    """Writes `text` to `path`, whole or not at all."""
    return write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> Path:
    """Writes plain values as JSON, where NaN and infinity become null."""
    return write_text(path, json.dumps(finite(value), indent=2) + "\n")


def read_text(path: Path) -> str:
    """The text of a regular file.

    Raises:
        OSError: there is none, or it cannot be read.
        ValueError: it is no text.
    """
    check_regular(path)
    return path.read_text(encoding="utf-8")


def check_regular(path: Path) -> None:
    """Refuses what has no end, or would be waited for without end, before it is opened.

    Raises:
        OSError: it is a pipe, a socket or a device.
    """
    if _is_special(path):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device")


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        UserError: the file is missing, is no file, or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist") from error
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).splitlines()[0]
        raise UserError(
            f"{path} cannot be read as JSON ({reason}); restore or remove it"
        ) from error


def check_writable(path: Path) -> None:
    """Refuses a place that cannot be written, before any work is done for it.

    A file is made in the folder, or in the nearest folder above that exists, and removed again.

    Args:
        path: the file to be written.

    Raises:
        UserError: it cannot.
    """
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if _is_special(path):
            return
        os.fsencode(path.name)
        _check_name(path)
        folder = path.resolve().parent
        while not folder.exists():
            _check_name(folder)
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass


def sweep(folder: Path, name: str | None = None) -> None:
    """Removes temporaries that processes of this machine left when they were killed.

    Args:
        folder: where to look.
        name: of the file whose temporaries are meant; of any file unless given.
    """
    for path in folder.iterdir() if folder.is_dir() else ():
        found = TEMPORARY.fullmatch(path.name)
        ours = name is None or path.name.startswith(f".{_short(name)}.")
        if found and ours and found[1] == _host() and not psutil.pid_exists(int(found[2])):
            with suppress(OSError):
                path.unlink()


def is_number(value: Any) -> bool:
    """Whether a value of a JSON file is a number, finite, and no larger than floats can be."""
    return type(value) in (int, float) and abs(value) <= sys.float_info.max


def finite(value: Any) -> Any:
    """Plain values with NaN and infinity as None, for JSON knows neither."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is_special(path: Path) -> bool:
    """Whether something stands at the path that is neither a regular file nor a folder."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _temporary_prefix(name: str) -> str:
    """Tells whose temporary it is: the file's name, the machine and the process."""
    return f".{_short(name)}.{_host()}-{os.getpid()}-"


def _short(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:NAME_BYTES])


def _check_name(path: Path) -> None:
    if len(os.fsencode(path.name)) > 255:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def _host() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def _to_disk(path: Path) -> None:
    """Waits until a file's content, or a folder's names, would survive a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot
            raise
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
