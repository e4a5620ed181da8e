"""Draws the pictures of a set in which most objects are missed, false, or counted wrong."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from airscene.data.whole import WholePicture
from airscene.results.labelling import Labelled
from airscene.results.metrics import box_iou, matched_ious
from airscene.results.whole import Found, overlay

SHOWN, SIDE, GAP = 3, 420, 8  # pictures, pixels along the longer side of each, and between them
AROUND = 14  # radius of a circle around a place, in pixels of what is drawn
MISSED, FALSE = (60, 170, 255), (255, 60, 60)
RIGHT = 0.5  # IoU from which a box is right


def save_worst(
    path: Path, pictures: list[WholePicture], found: list[Labelled], truth: list[Tensor]
) -> None:
    """Writes the worst pictures side by side, the worst first.

    True boxes that are missed are blue, boxes that are of nothing red; objects have lines around
    them.
    """
    wrong = [
        len(one) + len(other) - 2 * int((matched_ious(other, boxes_of(one)) >= RIGHT).sum())
        for one, other in zip(found, truth, strict=True)
    ]
    worst = np.argsort(wrong)[::-1][:SHOWN]
    save_page(path, [draw(Found(pictures[k], found[k]), truth[k]) for k in worst])


def save_miscounted(path: Path, found: list[Found], true: int) -> None:
    """Writes the pictures whose number of objects is most wrong, with lines around the objects."""
    worst = np.argsort([-abs(len(one.objects) - true) for one in found], kind="stable")[:SHOWN]
    save_page(path, [enlarged(overlay(found[k]))[0] for k in worst])


def save_unlike(path: Path, found: list[Found], reference: list[np.ndarray]) -> None:
    """Writes the picture with most objects beyond those of a reference.

    Args:
        path: the file.
        found: what a model found in each picture.
        reference: places (x, y) in each picture, which circles show.
    """
    more = [len(one.objects) - len(other) for one, other in zip(found, reference, strict=True)]
    k = int(np.argmax(more))
    picture, scale = enlarged(overlay(found[k]), 2 * SIDE)
    pen = ImageDraw.Draw(picture)
    for x, y in (reference[k] + 0.5) * scale:
        pen.ellipse([x - AROUND, y - AROUND, x + AROUND, y + AROUND], outline=MISSED, width=2)
    save_page(path, [picture])


def save_page(path: Path, drawn: list[Image.Image]) -> None:
    """Writes pictures side by side."""
    width = sum(picture.width + GAP for picture in drawn) - GAP
    page = Image.new("RGB", (width, max(picture.height for picture in drawn)), "white")
    left = 0
    for picture in drawn:
        page.paste(picture, (left, 0))
        left += picture.width + GAP
    path.parent.mkdir(parents=True, exist_ok=True)
    page.save(path)


def enlarged(picture: Image.Image, side: int = SIDE) -> tuple[Image.Image, float]:
    """A picture whose longer side has so many pixels, and how much larger it is."""
    scale = side / max(picture.size)
    size = round(picture.width * scale), round(picture.height * scale)
    return picture.resize(size, Image.Resampling.NEAREST), scale


def draw(found: Found, truth: Tensor) -> Image.Image:
    """A picture with the boxes that are missed and those that are of nothing."""
    (picture, scale), boxes = enlarged(overlay(found)), boxes_of(found.objects)
    iou = box_iou(truth, boxes)
    missed = truth[(iou >= RIGHT).sum(1) == 0]
    false = boxes[(iou >= RIGHT).sum(0) == 0]
    pen = ImageDraw.Draw(picture)
    for some, colour in ((missed, MISSED), (false, FALSE)):
        for box in (some * scale).tolist():
            pen.rectangle(box, outline=colour, width=2)
    return picture


def boxes_of(found: Labelled) -> Tensor:
    """Boxes as a tensor."""
    return torch.from_numpy(found.boxes)
