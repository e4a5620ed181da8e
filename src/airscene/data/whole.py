"""Whole pictures as they are: files, folders with their subfolders, stacks, one after the other."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from airscene.data import arrays, pictures
from airscene.data.reading import is_folder, note, reading
from airscene.errors import UserError


@dataclass(frozen=True)
class WholePicture:
    """One picture of a file.

    Attributes:
        source: the file.
        index: the picture's place in the file, 0 for a file of one picture.
        pixels: shape (H, W, C) with C 1 or 3, as bytes, 16 bits, or float32.
    """

    source: Path
    index: int
    pixels: np.ndarray


def picture_files(paths: Iterable[Path]) -> list[Path]:
    """The files that paths name: of a folder all that are in it and its subfolders, by name.

    Names that begin with a dot are left out.

    Raises:
        UserError: a path does not exist, or is neither file nor folder.
    """
    return [file for path in paths for file in (_inside(path) if is_folder(path) else [path])]


def read_pictures(files: Iterable[Path]) -> Iterator[WholePicture]:
    """All pictures of all files, in order, with no more than one file in memory.

    A file that cannot be read is left out with a note, be it damaged or gone.
    """
    for file in files:
        try:
            found = _read(file)
        except UserError as error:
            note(f"left out: {error}")
            continue
        for index, pixels in enumerate(found):
            yield WholePicture(file, index, pixels)


def _read(file: Path) -> list[np.ndarray]:
    if file.suffix.lower() in arrays.SUFFIXES:
        return arrays.read_pictures(file)
    return pictures.read_file(file)


def _inside(folder: Path) -> list[Path]:
    with reading(folder, "a folder of images"):
        found = sorted(folder.rglob("*"))
    return [path for path in found if path.is_file() and not _is_hidden(path, folder)]


def _is_hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
