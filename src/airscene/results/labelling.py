"""What was found in a whole picture: which pixels are whose, boxes, and a row for each object."""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from airscene.core import layers
from airscene.core.spatial import window_box
from airscene.data.behind import Against, quantile_of
from airscene.data.contrast import expanded
from airscene.models.objects import Objects
from airscene.models.places import pasted
from airscene.models.whole import WholeAIR
from airscene.results.detections import Detections
from airscene.results.parts import relabel, wholes

OWN = 0.1  # an object reaches as far as it paints above this share of its brightest pixel
INK = 0.4  # and as far as the picture is above this share of what is bright in it
FOOT = 0.15  # the same where edges are blurred, whose feet belong to the object
PLATEAU = 0.7  # share above which the inside of an object lies
SHARP, BLURRED = 0.8, 1.6  # from the plateau to `INK`, in pixels of a prepared picture
BRIGHT = 0.9  # quantile of an object's pixels that stands for what is bright in it
COMPARED = 40  # objects of a picture that tell how sharp it is


@dataclass(frozen=True)
class Labelled:
    """The objects of one picture.

    Attributes:
        labels: k where a pixel shows the k-th object, from 1 on, else 0, int32, shape (H, W).
        boxes: tight boxes (x0, y0, x1, y1) of each object's pixels, upper ends exclusive, (K, 4).
        scores: probability that each object exists, shape (K,).
        codes: appearance code of each object, shape (K, D); None where nothing tells of it.
        kept: which of the inferred objects each is, shape (K,); None where nothing tells of it.
    """

    labels: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    codes: np.ndarray | None = None
    kept: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)


def label(seen: np.ndarray | Against, objects: Objects, size: tuple[int, int]) -> Labelled:
    """Gives each pixel to the object that paints most of it, as far as the picture has ink there.

    Where edges are blurred, less ink will do: see `_share`. Of an object that is in pieces, the
    largest counts. A small piece that leans on a larger object belongs to it (see
    `airscene.results.parts`). An object that is left with no pixel is none.

    Args:
        seen: the contrast of the picture, not compressed, at its own size, shape (H, W).
        objects: the present ones, as `WholeAIR.explain_whole` returns them.
        size: height and width of the picture as it was prepared.
    """
    labels = _resized(_owners(size, objects), seen.shape)
    reaches = [
        (k, place) for k, place in enumerate(ndimage.find_objects(labels)) if place is not None
    ]
    share = _share(seen, labels, reaches, size[0] / seen.shape[0])
    for k, place in reaches:
        reached = labels[place] == k + 1
        labels[place][reached & ~_ink(seen[place], reached, share)] = 0
    whole = wholes(labels)
    first = np.flatnonzero(whole == np.arange(len(whole)))  # 0, and of each object its own label
    first = first[np.isin(first, [0, *(k + 1 for k, _ in reaches)])]
    relabel(labels, np.searchsorted(first, whole))
    boxes = np.array([_box(place) for place in ndimage.find_objects(labels)], np.float32)
    scores, codes = (
        v.numpy()[first[1:] - 1] for v in (objects.logit.sigmoid(), objects.q_what.loc)
    )
    return Labelled(labels, boxes.reshape(-1, 4), scores, codes, first[1:] - 1)


@torch.no_grad()
def detect_whole(
    model: WholeAIR, images: Float[Tensor, "batch 1 height width"], steps: int | None = None
) -> Detections:
    """Counts and locates the objects in crops, as `airscene.results.detections.detect` does.

    Args:
        model: a trained model.
        images: prepared pictures in [0, 1], shape (M, 1, H, W).
        steps: the largest count to allow for; N of the model unless given.
    """
    most = model.config.steps if steps is None else steps
    rows = [_detected(model, image, most) for image in images.to(model.device)]
    return Detections(*(torch.stack(values) for values in zip(*rows, strict=True)))


def _detected(model: WholeAIR, image: Tensor, most: int) -> tuple[Tensor, ...]:
    """The fields of `Detections` in order, of one picture."""
    objects = model.explain_whole(image)
    objects = objects[objects.logit.argsort(descending=True)[:most]]
    seen = expanded(image[0].cpu().numpy())
    found = label(seen, objects, layers.size_of(image))
    canvas = _canvas(image, objects)
    windows = window_box(objects.window[torch.from_numpy(found.kept)])
    return (
        torch.tensor(len(found)),
        _padded(count_probs(found.scores), most + 1),
        _padded(found.boxes, most),
        _padded(found.scores, most),
        _padded(windows.cpu().numpy(), most),
        canvas,
        torch.zeros_like(canvas),
        torch.from_numpy(found.labels.astype(np.int16)),
    )


def count_probs(scores: np.ndarray) -> np.ndarray:
    """The distribution of how many of some independent objects exist, for 0..K, shape (K + 1,).

    Args:
        scores: the probability of each, shape (K,).

    >>> count_probs(np.array([0.5, 1.0])).tolist()
    [0.0, 0.5, 0.5]
    """
    probs = np.ones(1)
    for score in scores:
        probs = np.append(probs, 0) * (1 - score) + np.append(0, probs) * score
    return probs


def _resized(labels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Labels (h, w) at another size, each pixel that of the nearest one."""
    rows, columns = (
        ((np.arange(large) + 0.5) * small / large).astype(int)
        for large, small in zip(size, labels.shape, strict=True)
    )
    return labels if labels.shape == size else labels[rows[:, None], columns]


def _owners(picture: tuple[int, int], objects: Objects) -> np.ndarray:
    """Which object, from 1 on, paints most of each pixel, or 0, shape (H, W)."""
    size = objects.paint.shape[-1]
    most = np.pad(np.zeros(picture, np.float32), size)  # corners may lie outside by up to a patch
    owner = np.zeros(most.shape, np.int32)
    paints, corners = objects.paint[:, 0].cpu().numpy(), objects.corner.tolist()
    for k, (paint, (y, x)) in enumerate(zip(paints, corners, strict=True), start=1):
        place = slice(y + size, y + 2 * size), slice(x + size, x + 2 * size)
        won = (paint > most[place]) & (paint > OWN * paint.max())
        most[place][won] = paint[won]
        owner[place][won] = k
    return owner[size:-size, size:-size]


def _canvas(picture: Tensor, objects: Objects) -> Tensor:
    """What objects paint together, shape (1, H, W)."""
    size = objects.paint.shape[-1]
    wide = torch.zeros_like(F.pad(picture.unsqueeze(0), [size] * 4))
    wide = pasted(wide, objects.row, objects.corner + size, objects.paint)
    return wide[0, :, size:-size, size:-size].cpu()


def _share(
    seen: np.ndarray | Against,
    labels: np.ndarray,
    reaches: list[tuple[int, tuple[slice, slice]]],
    shrink: float,
) -> float:
    """Above what share of its brightness a pixel belongs to an object; less if edges are blurred.

    Args:
        seen: the contrast of the picture.
        labels: which object each pixel may belong to, from 1 on.
        reaches: the objects, from 0 on, and where each is.
        shrink: pixels of the prepared picture a pixel of `seen`.
    """
    some = reaches[:: max(1, len(reaches) // COMPARED)]
    widths = [_edge(seen[place][labels[place] == k + 1]) for k, place in some]
    width = shrink * float(np.median(widths)) if widths else 0.0
    blurred = min(max((width - SHARP) / (BLURRED - SHARP), 0), 1)
    return INK + blurred * (FOOT - INK)


def _edge(values: np.ndarray) -> float:
    """How wide the edge of a round object with these pixels is, from `PLATEAU` to `INK`."""
    ink = values[values >= INK * quantile_of(values, BRIGHT)]
    bright = quantile_of(ink, BRIGHT)
    inner, outer = (np.sqrt((ink >= part * bright).sum() / np.pi) for part in (PLATEAU, INK))
    return float(outer - inner)


def _ink(picture: np.ndarray, own: np.ndarray, share: float) -> np.ndarray:
    """The pixels of an object that are bright, of the largest piece."""
    bright = own & (picture >= share * quantile_of(picture[own], BRIGHT))
    pieces, number = cast(tuple, ndimage.label(bright))
    if number < 2:
        return bright
    return pieces == 1 + np.argmax(np.bincount(pieces.flatten())[1:])


def _box(place: tuple[slice, slice]) -> tuple[int, int, int, int]:
    """A place as (x0, y0, x1, y1), upper ends exclusive."""
    y, x = place
    return x.start, y.start, x.stop, y.stop


def _padded(values: np.ndarray, rows: int) -> Tensor:
    """So many rows, zeros after those that there are."""
    room = [(0, rows - len(values)), *[(0, 0)] * (values.ndim - 1)]
    return torch.from_numpy(np.pad(values, room).astype(np.float32))
