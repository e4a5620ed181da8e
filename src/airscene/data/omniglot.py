"""The handwritten characters of Omniglot (Lake et al. 2015), with the strokes they were drawn in.

Twenty people drew every character once. The archives are the two small background sets of
github.com/brendenlake/omniglot: eight alphabets, of which Greek and Latin are in both sets.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial import KDTree

from airscene.data.published import Published
from airscene.errors import UserError

SIDE = 105  # pixels
UNSEEN = frozenset({"Korean", "Tagalog"})  # alphabets that no training reads
LEARNED = 16  # drawers, of twenty, of the characters to learn from
SPACING = 0.5  # pixels between points along a stroke

FILES = Published(
    files="the four Omniglot archives (images and strokes of background_small1 and 2)",
    folder="omniglot",
    mirrors=("https://github.com/brendenlake/omniglot/raw/master/python/",),
    hashes={
        "images_background_small1.zip": "e704a628b5459e08445c13499850abc4",
        "images_background_small2.zip": "b75a71a51d3b13f821f212756fe481fd",
        "strokes_background_small1.zip": "830eb54f8a9297820a4471fcc4f9d9bc",
        "strokes_background_small2.zip": "84d9defc54b809861ffd9886798dcffb",
    },
    subfolders=("", "omniglot"),
)

_DRAWING = re.compile(r"[^/]+/([^/]+)/(character\d+)/(\d+_(\d+))\.png")


@dataclass(frozen=True)
class Drawing:
    """One character as one person drew it.

    Attributes:
        alphabet: its name.
        character: its name within the alphabet.
        drawer: who drew it, from 1 on.
        strokes: which stroke each pixel of 105×105 is nearest to, from 1 on, in the order in which
            they were drawn; 0 where there is no ink; uint8.
    """

    alphabet: str
    character: str
    drawer: int
    strokes: np.ndarray


def read_drawings(
    wanted: Callable[[str, int], bool], data_dir: Path | None = None
) -> Iterator[Drawing]:
    """Drawings of the archives, those that are in both sets once.

    A stroke that is the nearest to no pixel of ink, as others run along it, is left out.

    Args:
        wanted: tells by alphabet and drawer which of them to read.
        data_dir: the folder that holds the archives; they are downloaded unless it is given here or
            by `AIRSCENE_DATA_DIR`.

    Raises:
        UserError: an archive is missing or damaged.
    """
    known = set()
    for part in ("small1", "small2"):
        images, strokes = (
            FILES.locate(f"{what}_background_{part}.zip", data_dir)
            for what in ("images", "strokes")
        )
        with _opened(images) as pictures, _opened(strokes) as paths:
            for name in sorted(pictures.namelist()):
                found = _DRAWING.fullmatch(name)
                if not found or found.groups() in known:
                    continue
                known.add(found.groups())
                alphabet, character, _, drawer = found.groups()
                if wanted(alphabet, int(drawer)):
                    ink = _read(pictures, name, _ink)
                    told = name.replace("images", "strokes", 1).removesuffix("png") + "txt"
                    nearest = _nearest(ink, _read(paths, told, _strokes))
                    yield Drawing(alphabet, character, int(drawer), nearest)


def _opened(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error


def _read(archive: zipfile.ZipFile, name: str, parse):
    """What a file of an archive holds."""
    try:
        return parse(archive.read(name))
    except Exception as error:  # of a damaged archive, zipfile and Pillow may raise anything
        raise _damaged(Path(archive.filename or ""), error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(
        f"{path} is damaged ({reason}); replace it with the archive of the Omniglot repository"
    )


def _ink(content: bytes) -> np.ndarray:
    """Which pixels have ink, (105, 105); in the file, ink is black."""
    ink = np.array(Image.open(BytesIO(content)).convert("L")) < 128
    if ink.shape != (SIDE, SIDE) or not ink.any():
        raise ValueError(f"a picture of {ink.shape} pixels, {ink.sum()} of them ink")
    return ink


def _strokes(content: bytes) -> list[np.ndarray]:
    """The strokes of a drawing, each as points (x, y) in pixels, (P, 2).

    In the file, a line is x, -y and a time, and each stroke ends with BREAK.
    """
    found = []
    for stroke in content.decode().removeprefix("START").split("BREAK"):
        lines = [line.split(",")[:2] for line in stroke.split()]
        if lines:
            points = np.array(lines, float) * (1, -1)
            found.append(_dense(points))
    if not found:
        raise ValueError("a drawing without strokes")
    return found


def _dense(points: np.ndarray) -> np.ndarray:
    """Points (P, 2) of a path with others between them, at most `SPACING` apart."""
    length = np.append(0, np.hypot(*np.diff(points, axis=0).T).cumsum())
    along = np.linspace(0, length[-1], 1 + int(length[-1] / SPACING))
    return np.stack([np.interp(along, length, axis) for axis in points.T], 1)


def _nearest(ink: np.ndarray, strokes: list[np.ndarray]) -> np.ndarray:
    """Which of the strokes each pixel with ink is nearest to; see `Drawing.strokes`."""
    y, x = np.nonzero(ink)
    owner = np.repeat(np.arange(len(strokes)), [len(stroke) for stroke in strokes])
    _, nearest = KDTree(np.concatenate(strokes)).query(np.stack([x, y], 1))
    _, number = np.unique(owner[nearest], return_inverse=True)  # those that are nearest somewhere
    found = np.zeros(ink.shape, np.uint8)
    found[y, x] = number + 1
    return found
