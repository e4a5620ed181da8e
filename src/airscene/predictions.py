"""Detections as files: JSON lines, CSV, COCO."""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from airscene.data import UserImages
from airscene.detections import Detections


@dataclass(frozen=True)
class Prediction:
    """What was found in one of the user's images.

    Attributes:
        source: the file.
        index: the image's place in the file.
        height: of the image, in pixels.
        width: of the image, in pixels.
        count: objects found.
        saturated: whether as many were counted as were allowed for, so that there may be more.
        count_probs: probability of 0, 1, … N objects.
        boxes: (x0, y0, x1, y1) of each counted object, in pixels of the image.
        scores: probability that each of them exists.
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


def predictions(images: UserImages, found: Detections, scale: Tensor) -> list[Prediction]:
    """One prediction an image, in order.

    Args:
        images: the user's images.
        found: what was found in them on the model's canvas.
        scale: image pixels a canvas pixel along (x, y), shape (M, 2).
    """
    boxes = found.boxes * scale.repeat(1, 2)[:, None]
    rows = []
    for i, image in enumerate(images.images):
        height, width = image.shape[-2:]
        n = int(found.count[i])
        limit = torch.tensor([width, height, width, height])
        inside = boxes[i, :n].clamp(min=0).minimum(limit)
        rows.append(
            Prediction(
                source=images.sources[i],
                index=images.indices[i],
                height=height,
                width=width,
                count=n,
                saturated=bool(found.saturated[i]),
                count_probs=_rounded(found.count_probs[i], 6),
                boxes=[_rounded(box, 2) for box in inside],
                scores=_rounded(found.scores[i, :n], 6),
            )
        )
    return rows


def as_jsonl(rows: list[Prediction]) -> str:
    """One JSON object a line: source, index, count, saturated and so on, as in `Prediction`."""
    names = ("source", "index", "count", "saturated", "count_probs", "boxes", "scores")
    return "".join(json.dumps({name: getattr(row, name) for name in names}) + "\n" for row in rows)


def as_csv(rows: list[Prediction]) -> str:
    """One line an object; an image without objects has one line with an empty box."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["source", "index", "count", "saturated", "x0", "y0", "x1", "y1", "score"])
    for row in rows:
        objects = [[*box, score] for box, score in zip(row.boxes, row.scores, strict=True)]
        for cells in objects or [[""] * 5]:
            table.writerow([row.source, row.index, row.count, str(row.saturated).lower(), *cells])
    return text.getvalue()


def as_coco(rows: list[Prediction]) -> str:
    """The COCO detection format, with one category."""
    images = [
        {
            "id": i,
            "file_name": row.source,
            "index": row.index,
            "height": row.height,
            "width": row.width,
            "saturated": row.saturated,
        }
        for i, row in enumerate(rows)
    ]
    found = [
        (i, box, s)
        for i, row in enumerate(rows)
        for box, s in zip(row.boxes, row.scores, strict=True)
    ]
    annotations = [_annotation(k, *entry) for k, entry in enumerate(found, start=1)]
    categories = [{"id": 1, "name": "object"}]
    return (
        json.dumps({"images": images, "annotations": annotations, "categories": categories}) + "\n"
    )


def _annotation(identity: int, image: int, box: list[float], score: float) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    return {
        "id": identity,
        "image_id": image,
        "category_id": 1,
        "bbox": [x0, y0, width, height],
        "area": width * height,
        "iscrowd": 0,
        "score": score,
    }


def _rounded(values: Tensor, digits: int) -> list[float]:
    return [round(value, digits) for value in values.tolist()]


FORMATS = {"jsonl": as_jsonl, "csv": as_csv, "coco": as_coco}
