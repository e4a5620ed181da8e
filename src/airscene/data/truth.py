"""The truth that comes with the user's images: counts, boxes, labels, masks, poses; checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from torch import Tensor

from airscene.data.reading import note, shown
from airscene.errors import UserError

_LARGEST = 2**31  # of counts and labels
_MOST_MASKS = 255  # objects of an image, as masks are bytes


@dataclass(frozen=True)
class Truth:
    """What is known of M images of one size, as `Scenes` stores it.

    Attributes:
        count: the number of objects, (M,), int64.
        boxes: (x0, y0, x1, y1) in pixels, upper ends exclusive, (M, K, 4), float32; rows from
            `count` on are zero.
        labels: the classes, (M, K), int64; entries from `count` on are -1.
        masks: which object each pixel shows, from 1 on, or 0 for none, (M, H, W), uint8.
        pose: x, y and yaw of objects in 3D scenes, (M, K, 3), float32; rows from `count` on are
            zero.
        camera: azimuth, elevation and distance, (M, 3), float32.
    """

    count: Tensor
    boxes: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None
    pose: Tensor | None = None
    camera: Tensor | None = None


def checked_truth(
    path: Path, arrays: Mapping[str, np.ndarray], number: int, height: int, width: int
) -> Truth | None:
    """Checks the truth in a file and casts it.

    Counts and masks may be any numbers without a fraction, counts of shape (M,) or (M, 1). What
    stands in `boxes` and `labels` from the count of an image on does not matter. Boxes that reach
    out of the image are clipped to it.

    Args:
        path: the file, for messages.
        arrays: those of `data.arrays.TRUTH` that it holds.
        number: M, how many images there are.
        height: of the images, in pixels.
        width: of the images, in pixels.

    Returns:
        The truth, or None if there is no `count`; a note tells of boxes or masks without it.

    Raises:
        UserError: an array has a shape, type or value that cannot be true of these images.
    """
    if "count" not in arrays:
        places = [name for name in ("boxes", "masks", "pose") if name in arrays]
        if places:
            names = " and ".join(places)
            note(f"{shown(path)} has {names} but no count: its truth is left out")
        return None
    count = _counts(path, arrays["count"], number, height * width)
    boxes, labels = arrays.get("boxes"), arrays.get("labels")
    if boxes is not None:
        boxes = _boxes(path, boxes, count, height, width)
    if labels is not None:
        labels = _labels(path, labels, count)
    if boxes is not None and labels is not None and boxes.shape[1] != labels.shape[1]:
        rows = f"{labels.shape[1]} columns, boxes {boxes.shape[1]} rows an image"
        _refuse(path, "labels", f"has {rows}", "give both the same K")
    masks = arrays.get("masks")
    if masks is not None:
        masks = _masks(path, masks, count, height, width)
    pose, camera = arrays.get("pose"), arrays.get("camera")
    if pose is not None:
        pose = _poses(path, pose, count)
    if camera is not None:
        camera = _cameras(path, camera, number)
    parts = boxes, labels, masks, pose, camera
    known = (None if a is None else torch.from_numpy(a) for a in parts)
    return Truth(torch.from_numpy(count), *known)


def _counts(path: Path, count: np.ndarray, number: int, most: int) -> np.ndarray:
    if count.shape not in ((number,), (number, 1)):
        fix = f"save one count for each of the {number} images"
        _refuse(path, "count", f"has shape {count.shape}", fix)
    count = _whole(path, "count", count.reshape(number))
    if count.min() < 0 or count.max() > most:
        outside = count.min() if count.min() < 0 else count.max()
        fix = "counts are at least 0 and at most the number of pixels"
        _refuse(path, "count", f"holds {outside}", fix)
    return count


def _boxes(path: Path, boxes: np.ndarray, count: np.ndarray, height: int, width: int) -> np.ndarray:
    used = _used(path, "boxes", boxes, count, (4,))
    _check_numbers(path, "boxes", boxes)
    known = boxes[used].astype(np.float64)
    for problem, wrong, fix in _mistakes(known, height, width):
        if wrong.any():
            first = int(wrong.argmax())
            image, row = np.argwhere(used)[first]
            box = " ".join(f"{value:g}" for value in known[first])
            _refuse(path, "boxes", f"[{image}, {row}] is {box}, which {problem}", fix)
    kept = np.zeros(boxes.shape, np.float32)
    kept[used] = _clipped(known, height, width)
    return kept


def _mistakes(boxes: np.ndarray, height: int, width: int) -> Iterator[tuple[str, np.ndarray, str]]:
    """What can be wrong with boxes (n, 4), with which of them it is, and how to mend it."""
    corners = "boxes are x0 y0 x1 y1 in pixels, upper ends exclusive"
    lower, upper = boxes[:, :2], boxes[:, 2:]
    yield "is not finite", np.any(~np.isfinite(boxes), axis=1), "save numbers, or a smaller count"
    hint = f"{corners}; are these x, y, width, height?"
    yield "has reversed corners", np.any(upper < lower, axis=1), hint
    yield "has no area", np.any(upper == lower, axis=1), corners
    shares = max(height, width) > 2 and bool((boxes <= 1).all())
    hint = f"save pixels: multiply x by {width} and y by {height}"
    yield "has no value above 1, like all boxes of the file", np.full(len(boxes), shares), hint
    inside = _clipped(boxes, height, width)
    outside = np.any(inside[:, 2:] <= inside[:, :2], axis=1)
    yield f"lies outside the image of {width}x{height} pixels", outside, corners


def _clipped(boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    return boxes.clip(0, np.array([width, height, width, height]))


def _labels(path: Path, labels: np.ndarray, count: np.ndarray) -> np.ndarray:
    used = _used(path, "labels", labels, count, ())
    kept = np.full(labels.shape, -1, np.int64)
    kept[used] = _whole(path, "labels", labels[used])
    return kept


def _poses(path: Path, pose: np.ndarray, count: np.ndarray) -> np.ndarray:
    used = _used(path, "pose", pose, count, (3,))
    kept = np.zeros(pose.shape, np.float32)
    kept[used] = _finite(path, "pose", pose[used], "save x, y and yaw of each object")
    return kept


def _cameras(path: Path, camera: np.ndarray, number: int) -> np.ndarray:
    if camera.shape != (number, 3):
        fix = f"it must be ({number}, 3): azimuth, elevation and distance of each image"
        _refuse(path, "camera", f"has shape {camera.shape}", fix)
    return _finite(path, "camera", camera, "save azimuth, elevation and distance of each image")


def _finite(path: Path, name: str, array: np.ndarray, fix: str) -> np.ndarray:
    """Finite numbers, cast to float32."""
    _check_numbers(path, name, array)
    if not np.isfinite(array).all():
        _refuse(path, name, "holds a number that is not finite", fix)
    return array.astype(np.float32)


def _masks(path: Path, masks: np.ndarray, count: np.ndarray, height: int, width: int) -> np.ndarray:
    if masks.shape != (len(count), height, width):
        fix = f"it must be {(len(count), height, width)}, one label for each pixel"
        _refuse(path, "masks", f"has shape {masks.shape}", fix)
    whole = masks if masks.dtype.kind in "bui" else _whole(path, "masks", masks)
    if whole.min() < 0 or whole.max() > _MOST_MASKS:
        outside = whole.min() if whole.min() < 0 else whole.max()
        fix = f"0 is the background, and objects are numbered from 1 to {_MOST_MASKS} at most"
        _refuse(path, "masks", f"holds {outside}", fix)
    beyond = whole.max((1, 2)) > count
    if beyond.any():
        first = int(beyond.argmax())
        fix = "number the objects of an image from 1 to its count"
        _refuse(path, "masks", f"[{first}] holds {whole[first].max()}, above its count", fix)
    return whole.astype(np.uint8)


def _used(
    path: Path, name: str, array: np.ndarray, count: np.ndarray, last: tuple[int, ...]
) -> np.ndarray:
    """Which rows (M, K) belong to objects, once the shape is found to be right."""
    if array.ndim != 2 + len(last) or len(array) != len(count) or array.shape[2:] != last:
        wanted = ", ".join(["K", *map(str, last)])
        fix = f"it must be ({len(count)}, {wanted}), one row for each object"
        _refuse(path, name, f"has shape {array.shape}", fix)
    if count.max() > array.shape[1]:
        fix = f"count says up to {count.max()} objects; give as many rows, or smaller counts"
        _refuse(path, name, f"has {array.shape[1]} rows an image", fix)
    return np.arange(array.shape[1]) < count[:, None]


def _whole(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Numbers without a fraction, cast to int64."""
    _check_numbers(path, name, array)
    values = array.astype(np.float64)
    wrong = ~((values == np.floor(values)) & (abs(values) < _LARGEST))  # true of NaN as well
    if wrong.any():
        _refuse(path, name, f"holds {array[wrong][0]}", f"save whole numbers below {_LARGEST}")
    return values.astype(np.int64)


def _check_numbers(path: Path, name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "biuf":
        _refuse(path, name, f"holds {array.dtype}", "save numbers")


def _refuse(path: Path, name: str, problem: str, fix: str) -> NoReturn:
    raise UserError(f"{shown(path)}: {name} {problem}; {fix}")
