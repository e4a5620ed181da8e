"""Pictures and truth in `.npy` and `.npz` files, whose headers are checked before any data."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from airscene.data.pixels import as_pixels, check_type, on_black
from airscene.data.reading import ARRAY_GIB, check_picture, decoding, gib, note, reading, shown
from airscene.errors import UserError

SUFFIXES = (".npy", ".npz")
TRUTH = ("count", "boxes", "labels", "masks", "pose", "camera")
_KIND = "a .npy or .npz array of plain numbers"
_ACCEPTED = "(H, W), (M, H, W), (H, W, C) or (M, H, W, C) with C 1, 3 or 4"
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}

Check = Callable[[tuple[int, ...], np.dtype], None]


class _Member(NamedTuple):
    """An array in a file: how to open it, and its bytes, header included."""

    open: Callable[[], IO[bytes]]
    size: int


def read_pictures(path: Path) -> list[np.ndarray]:
    """The pictures of a `.npy` file, or of a `.npz` file's `x` or else its first array.

    Returns:
        Pictures (H, W, C) with C 1 or 3, as bytes, 16 bits, or float32 of any range.

    Raises:
        UserError: the file is damaged, or holds no pictures or too large ones.
    """

    def check(shape: tuple[int, ...], dtype: np.dtype) -> None:
        _check_shape(path, shape)
        check_type(shown(path), dtype)

    with _members(path) as members:
        pictures = [name for name in members if name not in TRUTH]
        if not pictures:
            raise UserError(f"{shown(path)} holds no array of images; save the images as x")
        name = "x" if "x" in members else pictures[0]
        array = _load(path, name, members[name], check)
    if array.ndim == 3 and array.shape[2] in (3, 4):
        note(f"{shown(path)} has shape {array.shape}: it is read as one colour picture")
    stack = as_pixels(shown(path), array.reshape(_stack_shape(array.shape)))
    return [_without_alpha(picture) for picture in stack]


def read_truth(path: Path) -> dict[str, np.ndarray]:
    """Those of the arrays named in `TRUTH` that a file holds, as they are.

    Raises:
        UserError: the file is damaged, or an array too large.
    """
    with _members(path) as members:
        known = {name: members[name] for name in TRUTH if name in members}
        return {name: _load(path, name, member) for name, member in known.items()}


@contextmanager
def _members(path: Path) -> Iterator[dict[str, _Member]]:
    """The arrays of an open file by name; that of a `.npy` file is called x."""
    with reading(path, _KIND), path.open("rb") as file:
        if file.read(2) != b"PK":
            file.seek(0)
            size = os.fstat(file.fileno()).st_size
            yield {"x": _Member(lambda: file, size)}
            return
        with zipfile.ZipFile(file) as archive:
            yield {
                info.filename.removesuffix(".npy"): _Member(
                    lambda info=info: archive.open(info), info.file_size
                )
                for info in archive.infolist()
                if info.filename.endswith(".npy")
            }


def _load(path: Path, name: str, member: _Member, check: Check | None = None) -> np.ndarray:
    """One array, once its header is found to be in order; pickles are never run."""
    with decoding(path, _KIND):
        stream = member.open()
        shape, dtype = _header(stream)
        size = math.prod(shape) * dtype.itemsize
        if size > ARRAY_GIB * 2**30:
            fix = "save fewer, smaller or narrower numbers"
            raise UserError(
                f"{shown(path)}: {name} holds {gib(size)}, more than {ARRAY_GIB} GiB; {fix}"
            )
        if stream.tell() + size != member.size:
            raise ValueError(f"the size of {name} is not that of shape {shape}")
    if check:
        check(shape, dtype)
    with decoding(path, _KIND):
        stream.seek(0)
        array = npy.read_array(stream, allow_pickle=False)
        stream.read(1)  # at its end, zipfile compares the checksum
    return array


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"its version is {version}")
    shape, _, dtype = _HEADERS[version](stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if any(length < 0 for length in shape):
        raise ValueError(f"its shape is {shape}")
    return shape, dtype


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    stack = _stack_shape(shape)
    if len(stack) != 4 or stack[3] not in (1, 3, 4):
        first = len(shape) == 4 and shape[1] in (1, 3, 4)
        fix = "move the channels with numpy.moveaxis(x, 1, -1)" if first else "reshape it"
        raise UserError(f"{shown(path)} has shape {shape}; images are {_ACCEPTED}: {fix}")
    if 0 in stack:
        raise UserError(f"{shown(path)} has shape {shape}, which holds no pixel; add images")
    check_picture(path, stack[2], stack[1])


def _stack_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape (M, H, W, C) that is meant by a shape of fewer axes."""
    if len(shape) == 2:
        return (1, *shape, 1)
    if len(shape) == 3:
        return (1, *shape) if shape[2] in (3, 4) else (*shape, 1)
    return shape


def _without_alpha(picture: np.ndarray) -> np.ndarray:
    return on_black(picture[..., :3], picture[..., 3:]) if picture.shape[2] == 4 else picture
