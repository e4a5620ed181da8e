r"""Detections as files: JSON lines, CSV, COCO; label images.

All formats but label images are text that UTF-8 can encode. The name of a file need not be UTF-8:
each of its bytes that is not part of a character is written as an escape, `a\udcff.png` for a byte
0xff, in every format alike.
"""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from torch import Tensor

from airscene.data import UserImages
from airscene.errors import UserError
from airscene.files import write_whole
from airscene.results.detections import Detections

HUNDREDTHS = 100  # boxes are rounded to hundredths of a pixel
LABELS = ".tif"  # ending of the name of a label image
LONGEST_NAME = 200  # bytes of an overlay's name; file systems allow 255


@dataclass(frozen=True)
class Prediction:
    """What was found in one of the user's images.

    Attributes:
        source: the file's name, as Python decodes it; it may hold surrogate escapes.
        index: the image's place in the file.
        height: of the image, in pixels.
        width: of the image, in pixels.
        count: objects found.
        saturated: whether as many were counted as were allowed for, so that there may be more.
        count_probs: probability of 0, 1, … N objects.
        boxes: (x0, y0, x1, y1) of each counted object, in pixels of the image, with two digits.
            A box lies within the image and each side is at least 0.01 pixels long.
        scores: probability that each of them exists.
        features: appearance code of each of them, where asked for.
    """

    source: str
    index: int
    height: int
    width: int
    count: int
    saturated: bool
    count_probs: list[float]
    boxes: list[list[float]]
    scores: list[float]
    features: list[list[float]] | None = None


def predictions(images: UserImages, found: Detections, scale: Tensor) -> list[Prediction]:
    """One prediction an image, in order.

    Args:
        images: the user's images.
        found: what was found in them on the model's canvas.
        scale: image pixels a canvas pixel along (x, y), shape (M, 2).

    Raises:
        UserError: the model gave a number that is NaN or infinite.
    """
    boxes = found.boxes * scale.repeat(1, 2)[:, None]
    return [_prediction(images, found, boxes[i], i) for i in range(len(images.images))]


def _prediction(images: UserImages, found: Detections, boxes: Tensor, i: int) -> Prediction:
    """The prediction of image i, from all boxes (N, 4) in pixels of the image."""
    height, width = images.images[i].shape[-2:]
    n = int(found.count[i])
    probs, scores, boxes = found.count_probs[i], found.scores[i, :n], boxes[:n]
    if not all(values.isfinite().all() for values in (probs, scores, boxes)):
        raise UserError(
            f"{printable(images.sources[i])}: the model gives numbers that are not finite; "
            f"its training diverged, or its checkpoint is damaged: use another run"
        )
    return Prediction(
        source=images.sources[i],
        index=images.indices[i],
        height=height,
        width=width,
        count=n,
        saturated=bool(found.saturated[i]),
        count_probs=_rounded(probs, 6),
        boxes=[_rounded_box(box, width, height) for box in boxes.tolist()],
        scores=_rounded(scores, 6),
    )


def as_jsonl(rows: list[Prediction]) -> str:
    """One JSON object a line: source, index, count, saturated and so on, as in `Prediction`."""
    return "".join(_json(_line(row)) for row in rows)


def _line(row: Prediction) -> dict[str, Any]:
    names = ("index", "count", "saturated", "count_probs", "boxes", "scores")
    line = {"source": printable(row.source)} | {name: getattr(row, name) for name in names}
    return line if row.features is None else line | {"features": row.features}


def as_csv(rows: list[Prediction]) -> str:
    """One line an object; an image without objects has one line with an empty box."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["source", "index", "count", "saturated", "x0", "y0", "x1", "y1", "score"])
    for row in rows:
        image = [printable(row.source), row.index, row.count, str(row.saturated).lower()]
        objects = [[*box, score] for box, score in zip(row.boxes, row.scores, strict=True)]
        table.writerows([*image, *cells] for cells in objects or [[""] * 5])
    return text.getvalue()


def as_coco(rows: list[Prediction]) -> str:
    """A COCO data set with one category: images, annotations with scores, categories.

    The id of an image is its place in `rows`, from 0.
    """
    images = [
        {
            "id": i,
            "file_name": printable(row.source),
            "index": row.index,
            "height": row.height,
            "width": row.width,
            "saturated": row.saturated,
        }
        for i, row in enumerate(rows)
    ]
    annotations = [
        {"id": k, **entry, "area": _area(entry["bbox"]), "iscrowd": 0}
        for k, entry in enumerate(_coco_entries(rows), start=1)
    ]
    categories = [{"id": 1, "name": "object"}]
    return _json({"images": images, "annotations": annotations, "categories": categories})


def as_coco_results(rows: list[Prediction]) -> str:
    """The COCO results format: a list of detections, as `COCO.loadRes` of pycocotools takes it.

    The image ids are those of `as_coco`, and so are the entries. pycocotools refuses an empty list.

    >>> row = Prediction("a.png", 0, 8, 9, 1, False, [0.0, 1.0], [[1.0, 2.0, 4.0, 4.0]], [0.9])
    >>> print(as_coco_results([row]), end="")
    [{"image_id": 0, "category_id": 1, "bbox": [1.0, 2.0, 3.0, 2.0], "score": 0.9}]
    """
    return _json(_coco_entries(rows))


def printable(source: str) -> str:
    r"""The name of a file as text that UTF-8 can encode, its undecodable bytes escaped.

    >>> print(printable("a\udcff.png"))
    a\udcff.png
    """
    return source.encode("utf-8", "backslashreplace").decode()


def label_images(images: UserImages, found: Detections) -> list[np.ndarray]:
    """Which object each pixel of an image shows, in order, integers of shape (H, W).

    A pixel holds k where it shows the object of the k-th box, from 1 on, and 0 elsewhere. Labels
    found on the model's canvas are brought to the size of the image, each pixel to the nearest.

    Args:
        images: the user's images.
        found: what was found in them.

    Raises:
        UserError: the model cannot tell which pixels belong to an object.
    """
    if found.masks is None:
        raise UserError("--labels: this model cannot tell which pixels belong to an object")
    labels = found.masks.numpy().astype(np.uint16)
    sizes = [(image.shape[2], image.shape[1]) for image in images.images]
    return [
        np.asarray(Image.fromarray(canvas).resize(size, Image.Resampling.NEAREST))
        for canvas, size in zip(labels, sizes, strict=True)
    ]


def save_labels(labels: np.ndarray, path: Path) -> None:
    """Writes a label image as TIFF of 16 bits; of 32, where there are more than 65,535 objects."""
    kind = np.uint16 if labels.max(initial=0) <= np.iinfo(np.uint16).max else np.uint32
    write_whole(
        path, lambda temporary: tifffile.imwrite(temporary, labels.astype(kind), compression="zlib")
    )


def picture_name(number: int, source: str, index: int) -> str:
    """The name of a picture of what was found in an image.

    Args:
        number: of the image among all that were read, from 0.
        source: the file that the image came from; its stem becomes part of the name.
        index: the image's place in that file.

    Returns:
        NUMBER-STEM-INDEX.png, the number with at least five digits, and the stem shortened at its
        end so that the name has at most 200 bytes.

    >>> picture_name(3, "cells.npz", 12)
    '00003-cells-12.png'
    """
    stem = Path(source).stem
    while stem and _bytes(f"{number:05d}-{stem}-{index}.png") > LONGEST_NAME:
        stem = stem[:-1]
    return f"{number:05d}-{stem}-{index}.png"


def _bytes(name: str) -> int:
    """Bytes of a name in UTF-8, each of its undecodable bytes counted as three."""
    return len(name.encode("utf-8", "surrogatepass"))


def _coco_entries(rows: list[Prediction]) -> list[dict[str, Any]]:
    """What every COCO format says of a detection, all images in order."""
    return [
        {"image_id": i, "category_id": 1, "bbox": _corner_and_size(box), "score": score}
        for i, row in enumerate(rows)
        for box, score in zip(row.boxes, row.scores, strict=True)
    ]


def _corner_and_size(box: list[float]) -> list[float]:
    """(x, y, width, height) of a box (x0, y0, x1, y1)."""
    x0, y0, x1, y1 = box
    return [x0, y0, round(x1 - x0, 2), round(y1 - y0, 2)]


def _area(bbox: list[float]) -> float:
    """The area of (x, y, width, height) with two digits, at least 0.01."""
    return max(round(bbox[2] * bbox[3], 2), 1 / HUNDREDTHS)


def _json(value: Any) -> str:
    """One line of JSON."""
    return json.dumps(value, allow_nan=False) + "\n"


def _rounded(values: Tensor, digits: int) -> list[float]:
    return [round(value, digits) for value in values.tolist()]


def _rounded_box(box: list[float], width: int, height: int) -> list[float]:
    """A box cut off at the image's border, with two digits and sides of at least 0.01."""
    (x0, x1), (y0, y1) = _rounded_side(box[0], box[2], width), _rounded_side(box[1], box[3], height)
    return [x0, y0, x1, y1]


def _rounded_side(low: float, high: float, end: int) -> tuple[float, float]:
    """Both ends of a side within 0 and `end`, in whole hundredths that differ."""
    first, last = (round(min(max(value, 0), end) * HUNDREDTHS) for value in (low, high))
    first = min(first, end * HUNDREDTHS - 1)
    return first / HUNDREDTHS, max(last, first + 1) / HUNDREDTHS


FORMATS = {"jsonl": as_jsonl, "csv": as_csv, "coco": as_coco, "coco-results": as_coco_results}
"""How predictions become text, by the name of the format."""
