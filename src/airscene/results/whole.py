"""What was found in whole pictures, as files: JSON lines, a table, label images, overlays.

All are written one picture after the other, so that many pictures need no more memory than one.
Numbers are in pixels of the files.
"""

import csv
import io
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from scipy import ndimage

from airscene.data.whole import WholePicture
from airscene.errors import UserError
from airscene.files import write_whole
from airscene.results.labelling import Labelled, count_probs
from airscene.results.predictions import (
    LABELS,
    Prediction,
    as_jsonl,
    picture_name,
    printable,
    save_labels,
)

COLUMNS = ("picture", "page", "label", "x", "y", "x0", "y0", "x1", "y1", "area")
INTENSITY_COLUMNS = ("mean_intensity", "score")
LONGEST_PROBS = 1000  # objects up to which the distribution of their number is written
DIGITS = 4  # after the point, of numbers in the table
STRIP = 1024  # rows of pixels that are drawn at a time
DIMMEST, BRIGHTEST = 0.001, 0.999  # quantiles of a picture that an overlay shows as black and white
COLOURS = np.array(
    [[230, 60, 60], [60, 190, 75], [255, 225, 25], [70, 130, 255], [245, 130, 48], [240, 50, 230]],
    np.uint8,
)


@dataclass(frozen=True)
class Found:
    """The objects of a whole picture, in pixels of its file.

    Attributes:
        picture: the picture.
        objects: its objects, with label images of its size.
    """

    picture: WholePicture
    objects: Labelled

    @property
    def name(self) -> str:
        """The file, as text that UTF-8 can encode."""
        return printable(str(self.picture.source))


@dataclass(frozen=True)
class Targets:
    """Where results are to be written.

    Attributes:
        lines: file of JSON lines.
        table: CSV file with a row for each object, if any.
        labels: folder of label images, if any.
        overlay: folder of overlays, if any.
        features: whether lines and table tell the appearance code of each object.
    """

    lines: Path
    table: Path | None = None
    labels: Path | None = None
    overlay: Path | None = None
    features: bool = False


class Writer:
    """Writes what was found, picture by picture; see `open_writer`.

    Attributes:
        pictures: how many were written.
        objects: how many were found in them.
    """

    def __init__(self, targets: Targets, lines: IO[str], table: IO[str] | None):
        self.targets, self.lines, self.table = targets, lines, table
        self.pictures = self.objects = 0

    def write(self, found: Found) -> None:
        """Writes what was found in the next picture."""
        if not self.targets.features:
            found = replace(found, objects=replace(found.objects, codes=None))
        if self.table:
            head = [] if self.pictures else [columns(found)]
            self.table.write(_csv([*head, *table_rows(found)]))
        self.lines.write(as_jsonl([prediction(found)]))
        name = picture_name(self.pictures, str(found.picture.source), found.picture.index)
        if self.targets.labels:
            save_labels(found.objects.labels, (self.targets.labels / name).with_suffix(LABELS))
        if self.targets.overlay:
            shown = overlay(found)
            write_whole(self.targets.overlay / name, lambda path: shown.save(path))
        self.pictures += 1
        self.objects += len(found.objects)


@contextmanager
def open_writer(targets: Targets) -> Iterator[Writer]:
    """A writer whose lines and table appear once all pictures are written, or not at all.

    Raises:
        UserError: something cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        texts = {name: Path(folder) / name for name in ("lines", "table")}
        lines, table = (
            stack.enter_context(path.open("w", encoding="utf-8", newline=""))
            for path in texts.values()
        )
        writer = Writer(targets, lines, table if targets.table else None)
        yield writer
        if not writer.pictures:
            table.write(_csv([[*COLUMNS, *INTENSITY_COLUMNS]]))
        stack.close()
        for name, target in (("lines", targets.lines), ("table", targets.table)):
            if target:
                write_whole(target, partial(shutil.copyfile, texts[name]))


def prediction(found: Found) -> Prediction:
    """The line of JSON of a picture, as a plain object.

    Raises:
        UserError: the model gave numbers that are not finite.
    """
    objects, (height, width) = found.objects, found.picture.pixels.shape[:2]
    if not np.isfinite(objects.scores).all():
        raise UserError(
            f"{found.name}: the model gives numbers that are not finite; its training diverged, or "
            f"its checkpoint is damaged: use another run"
        )
    probs = count_probs(objects.scores) if len(objects) <= LONGEST_PROBS else np.zeros(0)
    return Prediction(
        source=str(found.picture.source),
        index=found.picture.index,
        height=height,
        width=width,
        count=len(objects),
        saturated=False,
        count_probs=[round(float(p), 6) for p in probs],
        boxes=objects.boxes.tolist(),
        scores=[round(float(score), 6) for score in objects.scores],
        features=None if objects.codes is None else [_rounded(*code) for code in objects.codes],
    )


def columns(found: Found) -> list[str]:
    """Names of the columns of `table_rows`."""
    codes = () if found.objects.codes is None else range(found.objects.codes.shape[1])
    return [*COLUMNS, *INTENSITY_COLUMNS, *(f"feature_{k}" for k in codes)]


def table_rows(found: Found) -> list[list[object]]:
    """A row for each object: see `COLUMNS` and `INTENSITY_COLUMNS`; then its appearance code.

    Centroids have the middle of the first pixel at 0, as in scikit-image and Fiji's label tools.
    The intensity is that of the file, the mean over the channels of colour.
    """
    objects = found.objects
    codes = [()] * len(objects) if objects.codes is None else objects.codes
    places = ndimage.find_objects(objects.labels)
    rows = zip(places, objects.boxes, objects.scores, codes, strict=True)
    about = found.name, found.picture.index
    return [
        [*about, k, *_measured(found, k, place, box, score), *_rounded(*code)]
        for k, (place, box, score, code) in enumerate(rows, start=1)
    ]


def _measured(
    found: Found, k: int, place: tuple[slice, slice], box: np.ndarray, score: float
) -> list[float]:
    """Centroid, box, area, mean intensity and score of the k-th object."""
    own = found.objects.labels[place] == k
    y, x = (axis.mean() + part.start for axis, part in zip(own.nonzero(), place, strict=True))
    mean = found.picture.pixels[place][own].mean()
    return [*_rounded(x, y), *map(int, box), int(own.sum()), *_rounded(mean, score)]


def overlay(found: Found) -> Image.Image:
    """The picture with a coloured line around each object."""
    pixels, labels = found.picture.pixels, found.objects.labels
    limits = np.quantile(pixels[::2, ::2].astype(np.float32), [DIMMEST, BRIGHTEST])
    shown = np.empty((*labels.shape, 3), np.uint8)
    for start in range(0, len(labels), STRIP):
        rows = slice(start, start + STRIP)
        shown[rows] = _stretched(pixels[rows], limits)
        before = min(start, 1)  # a row above and one below, so that lines are as in the whole
        around = labels[start - before : start + STRIP + 1]
        line = _borders(around)[before:][:STRIP]
        shown[rows][line] = COLOURS[labels[rows][line] % len(COLOURS)]
    return Image.fromarray(shown)


def _stretched(pixels: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Pixels as bytes, the lower limit black and the upper one white."""
    low, high = limits
    return (np.clip((pixels - low) / max(high - low, 1e-9), 0, 1) * 255).astype(np.uint8)


def _borders(labels: np.ndarray) -> np.ndarray:
    """Whether a pixel of an object has a neighbour that is not of that object."""
    same = ndimage.minimum_filter(labels, 3) == ndimage.maximum_filter(labels, 3)
    return (labels > 0) & ~same


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _rounded(*values: float) -> list[float]:
    return [round(float(value), DIGITS) for value in values]
