"""What all readers of the user's files share: limits, checks of paths, and messages."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from airscene.errors import UserError

MEGAPIXELS = 128  # the largest picture
ARRAY_GIB = 1  # the largest array of a .npy or .npz file, as stored in memory
FILES_GIB = 4  # the most that one image file, or all files of a folder, may hold when loaded

IMAGE_KIND = "a PNG, JPEG, BMP, TIFF, GIF or WebP image"


def shown(path: Path | str) -> str:
    r"""A path as it may stand in a message of one line.

    >>> shown("a\nb.png")
    'a\\nb.png'
    """
    text = str(path)
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def note(text: str) -> None:
    """Tells the user something that is no error, as a `UserWarning`."""
    warnings.warn(text, UserWarning, stacklevel=3)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; if not, it is a regular file. Opens nothing.

    Raises:
        UserError: nothing lies there, it may not be looked at, or it is a pipe, socket or device.
    """
    with reading(path, "an image, a folder or an array"):
        mode = path.stat().st_mode
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise UserError(f"{shown(path)} is a pipe, socket or device; name a file or a folder")
    return stat.S_ISDIR(mode)


@contextmanager
def decoding(path: Path, kind: str) -> Iterator[None]:
    """As `reading`, and hides the warnings of decoders."""
    with reading(path, kind), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def reading(path: Path, kind: str) -> Iterator[None]:
    """Turns whatever a decoder raises over a broken file into one line.

    Args:
        path: the file that is read.
        kind: what it should be replaced with, for the message.

    Raises:
        UserError: in place of any exception within the context.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        link = " is a link to a file that" if path.is_symlink() else ""
        fix = "name an image, a folder or an array"
        raise UserError(f"{shown(path)}{link} does not exist; {fix}") from error
    except Exception as error:  # a decoder fed with a broken file may raise anything
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        line = shown(reason.splitlines()[0])
        raise UserError(f"{shown(path)} cannot be read ({line}); replace it with {kind}") from error


def check_picture(path: Path, width: int, height: int) -> None:
    """Refuses a picture without pixels, or with more than `MEGAPIXELS`, before it is decoded.

    Raises:
        UserError: the picture is empty or too large.
    """
    size = f"{width}x{height} pixels"
    if width < 1 or height < 1:
        raise UserError(f"{shown(path)} has {size}, which is none; replace it with {IMAGE_KIND}")
    if width * height > MEGAPIXELS * 1_000_000:
        raise UserError(f"{shown(path)} has {size}, more than {MEGAPIXELS} megapixels; shrink it")


def check_total(path: Path, size: int) -> None:
    """Refuses what would fill more than `FILES_GIB` of memory, before it is decoded.

    Raises:
        UserError: `size`, in bytes, is too large.
    """
    if size > FILES_GIB * 2**30:
        raise UserError(
            f"{shown(path)} holds {gib(size)} of pixels, more than {FILES_GIB} GiB; "
            "shrink the pictures or split them over several paths"
        )


def gib(size: int) -> str:
    """A number of bytes in GiB, as text."""
    return f"{size / 2**30:.1f} GiB"


def names(folder: Path) -> list[Path]:
    """The regular files of a folder whose names do not begin with a dot, in the order of names.

    Raises:
        UserError: the folder cannot be read.
    """
    with reading(folder, "a folder of images"), os.scandir(folder) as entries:
        found = [e.name for e in entries if e.is_file() and not e.name.startswith(".")]
    return [folder / name for name in sorted(found)]
