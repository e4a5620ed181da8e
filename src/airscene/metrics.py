"""How well counts and boxes agree with the truth."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def count_accuracy(true: Int[Tensor, "scenes"], inferred: Int[Tensor, "scenes"]) -> float:
    """The share of scenes whose count was inferred right, in [0, 1]."""
    return float((inferred == true).float().mean())


def count_confusion(true: Int[Tensor, "scenes"], inferred: Int[Tensor, "scenes"]) -> Tensor:
    """How often each true count (row) was inferred as each count (column), shape (T, P)."""
    rows, columns = int(true.max()) + 1, int(inferred.max()) + 1
    columns = max(rows, columns)
    return (true * columns + inferred).bincount(minlength=rows * columns).view(rows, columns)


def box_iou(first: Float[Tensor, "a 4"], second: Float[Tensor, "b 4"]) -> Float[Tensor, "a b"]:
    """Intersection over union of every pair of boxes (x0, y0, x1, y1), shape (A, B), in [0, 1]."""
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = (high - low).clamp(min=0).prod(-1)
    union = _area(first)[:, None] + _area(second)[None] - intersection
    return intersection / union.clamp(min=1e-9)


def matched_ious(true: Float[Tensor, "a 4"], inferred: Float[Tensor, "b 4"]) -> Tensor:
    """IoUs of the best one-to-one matching of boxes, shape (min(A, B),)."""
    iou = box_iou(true, inferred)
    rows, columns = linear_sum_assignment(iou.numpy(), maximize=True)
    return iou[rows, columns]


def mean_matched_iou(true: Sequence[Tensor], inferred: Sequence[Tensor]) -> float:
    """Mean IoU over all matched objects of all scenes, in [0, 1]; NaN when nothing matches."""
    ious = [matched_ious(t, i) for t, i in zip(true, inferred, strict=True) if len(t) and len(i)]
    return float(torch.cat(ious).mean()) if ious else float("nan")


def average_precision(
    true: Sequence[Tensor],
    inferred: Sequence[Tensor],
    scores: Sequence[Tensor],
    threshold: float = 0.5,
) -> float:
    """Area under the precision-recall curve of detections, in [0, 1]; NaN without true objects.

    A detection is right when it is, in order of score within its scene, the first to claim a true
    box that it overlaps by an IoU of at least `threshold`. Precision is made monotone before it is
    summed, as in the PASCAL VOC 2010 protocol.

    Args:
        true: true boxes of each scene, shapes (A, 4).
        inferred: detected boxes of each scene, shapes (B, 4).
        scores: confidence of each detection, shapes (B,).
        threshold: the smallest IoU of a right detection.
    """
    total = sum(map(len, true))
    if total == 0:
        return float("nan")
    scenes = zip(true, inferred, scores, strict=True)
    right = torch.cat([_claims(t, i[s.argsort(descending=True)], threshold) for t, i, s in scenes])
    ranked = torch.cat([s.sort(descending=True).values for s in scores]).argsort(descending=True)
    hits = right[ranked].cumsum(0)
    precision = hits / torch.arange(1, len(hits) + 1)
    envelope = precision.flip(0).cummax(0).values.flip(0)
    return float((envelope * right[ranked]).sum() / total)


def _claims(true: Tensor, inferred: Tensor, threshold: float) -> Tensor:
    """Which detections, best first, are right, shape (B,)."""
    iou = box_iou(true, inferred)
    right = torch.zeros(len(inferred))
    for k in range(len(inferred) if len(true) else 0):
        best = int(iou[:, k].argmax())
        if iou[best, k] >= threshold:
            right[k] = 1.0
            iou[best] = -1.0  # claimed
    return right


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(-1)
