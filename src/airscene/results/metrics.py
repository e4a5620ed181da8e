"""How well counts, boxes and masks agree with the truth."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, Integer
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score
from torch import Tensor


def count_accuracy(true: Int[Tensor, "scenes"], inferred: Int[Tensor, "scenes"]) -> float:
    """The share of scenes whose count was inferred right, in [0, 1]; NaN without scenes."""
    return float((inferred == true).float().mean())


def count_confusion(true: Int[Tensor, "scenes"], inferred: Int[Tensor, "scenes"]) -> Tensor:
    """How often each true count (row) was inferred as each count (column).

    Args:
        true: the true counts, from 0, shape (M,).
        inferred: the inferred counts, from 0, shape (M,).

    Returns:
        Numbers of scenes, shape (T, P): T is one more than the largest true count, and P one more
        than the largest count of either. Without scenes the table is empty, shape (0, 0).

    >>> count_confusion(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2]))
    tensor([[1, 0, 0],
            [0, 1, 1]])
    """
    if len(true) == 0:
        return torch.zeros(0, 0, dtype=torch.long)
    rows, columns = int(true.max()) + 1, int(inferred.max()) + 1
    columns = max(rows, columns)
    return (true * columns + inferred).bincount(minlength=rows * columns).view(rows, columns)


def box_iou(first: Float[Tensor, "a 4"], second: Float[Tensor, "b 4"]) -> Float[Tensor, "a b"]:
    """Intersection over union of every pair of boxes (x0, y0, x1, y1), shape (A, B), in [0, 1].

    A box without area overlaps nothing, and neither does one with a corner that is NaN or infinite.
    """
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = (high - low).clamp(min=0).prod(-1)
    union = _area(first)[:, None] + _area(second)[None] - intersection
    return (intersection / union).nan_to_num(0.0).clamp(0, 1)


def matched_ious(true: Float[Tensor, "a 4"], inferred: Float[Tensor, "b 4"]) -> Tensor:
    """IoUs of the one-to-one matching of boxes with the largest sum, shape (min(A, B),)."""
    iou = box_iou(true, inferred)
    rows, columns = linear_sum_assignment(iou.numpy(), maximize=True)
    return iou[rows, columns]


def mean_matched_iou(true: Sequence[Tensor], inferred: Sequence[Tensor]) -> float:
    """Mean IoU over all matched objects of all scenes, in [0, 1]; NaN when nothing matches."""
    ious = [matched_ious(t, i) for t, i in zip(true, inferred, strict=True) if len(t) and len(i)]
    return float(torch.cat(ious).mean()) if ious else float("nan")


def foreground_ari(
    true: Integer[Tensor, "scenes height width"], inferred: Integer[Tensor, "scenes height width"]
) -> float:
    """The adjusted Rand index over the pixels of true objects, a mean over scenes.

    It asks which pixels belong together, and not what their objects are called (Hubert and Arabie
    1985). Scenes without a true object are left out.

    Args:
        true: the object of each pixel, from 1 on, or 0 for the background, shape (M, H, W).
        inferred: the same, as inferred. Where it is 0, pixels form one more group.

    Returns:
        1 for the same groups and about 0 for random ones, at least -0.5; NaN without objects.

    >>> true = torch.tensor([[[1, 1, 2, 2, 0]]])
    >>> foreground_ari(true, torch.tensor([[[2, 2, 1, 1, 3]]]))
    1.0
    """
    pairs = [(t[t > 0], i[t > 0]) for t, i in zip(true, inferred, strict=True) if t.any()]
    scores = [adjusted_rand_score(t.numpy(), i.numpy()) for t, i in pairs]
    return sum(scores) / len(scores) if scores else float("nan")


def mean_mask_iou(
    true: Integer[Tensor, "scenes height width"], inferred: Integer[Tensor, "scenes height width"]
) -> float:
    """Mean IoU of true objects with inferred ones, over all true objects of all scenes.

    In each scene, true and inferred objects are matched one to one so that the sum of their IoUs is
    the largest. A true object that is left over counts 0; an inferred one does not count.

    Args:
        true: the object of each pixel, from 1 on, or 0 for the background, shape (M, H, W). An
            object that has no pixel plays no part.
        inferred: the same, as inferred.

    Returns:
        A number in [0, 1]; NaN without true objects.

    >>> true = torch.tensor([[[1, 1, 1, 1, 0, 2]]])
    >>> mean_mask_iou(true, torch.tensor([[[2, 2, 2, 0, 0, 0]]]))
    0.375
    """
    scenes = [_mask_ious(t, i) for t, i in zip(true, inferred, strict=True)]
    objects = sum(len(iou) for iou in scenes)
    matched = sum(float(iou[linear_sum_assignment(iou, maximize=True)].sum()) for iou in scenes)
    return matched / objects if objects else float("nan")


def f1(true: Sequence[Tensor], inferred: Sequence[Tensor], threshold: float = 0.5) -> float:
    """The F1 score of detections: the harmonic mean of precision and recall over all scenes.

    In each scene, as many detections as possible are matched one to one with true boxes that they
    overlap by an IoU of at least `threshold`.

    Args:
        true: true boxes of each scene, shapes (A, 4).
        inferred: detected boxes of each scene, shapes (B, 4).
        threshold: the smallest IoU of a match, above 0.

    Returns:
        2 · matches / (true + inferred), in [0, 1]; NaN when there is no box at all.

    >>> box, far = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[50.0, 0, 60, 10]])
    >>> round(f1([box], [torch.cat([far, box])]), 3)
    0.667
    """
    matches = 0.0
    for pair in zip(true, inferred, strict=True):
        near = (box_iou(*pair) >= threshold).numpy()
        matches += near[linear_sum_assignment(near, maximize=True)].sum()
    boxes = sum(map(len, [*true, *inferred]))
    return float(2 * matches / boxes) if boxes else float("nan")


def average_precision(
    true: Sequence[Tensor],
    inferred: Sequence[Tensor],
    scores: Sequence[Tensor],
    threshold: float = 0.5,
) -> float:
    """Area under the precision-recall curve of detections, in [0, 1]; NaN without true objects.

    Within a scene, detections claim true boxes in order of their scores. Each takes the box that it
    overlaps most among those not yet claimed, and is right if their IoU is at least `threshold`.
    Of detections with equal scores, the pair with the largest IoU comes first.

    Each distinct score, over all scenes, is one threshold and gives one point of the curve, so the
    order of scenes and of detections does not matter. Precision is made monotone before it is
    summed, as in the PASCAL VOC 2010 protocol.

    Args:
        true: true boxes of each scene, shapes (A, 4).
        inferred: detected boxes of each scene, shapes (B, 4).
        scores: confidence of each detection, shapes (B,).
        threshold: the smallest IoU of a right detection, above 0.

    >>> box, far = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[50.0, 0, 60, 10]])
    >>> average_precision([box], [torch.cat([far, box])], [torch.tensor([0.9, 0.8])])
    0.5
    """
    total = sum(map(len, true))
    if total == 0:
        return float("nan")
    scenes = zip(true, inferred, scores, strict=True)
    right = torch.cat([_right(*scene, threshold) for scene in scenes])
    hits, found = _by_threshold(right, torch.cat([*scores]))
    envelope = (hits.cumsum(0) / found.cumsum(0)).flip(0).cummax(0).values.flip(0)
    return float((envelope * hits).sum() / total)


def _by_threshold(right: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Right detections and all detections at each of the S distinct scores, best first, (S,)."""
    distinct, place = (-scores).unique(return_inverse=True)
    none = torch.zeros(len(distinct), dtype=torch.float64)
    return none.index_add(0, place, right), none.index_add(0, place, torch.ones_like(right))


def _right(true: Tensor, inferred: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """1 for each right detection of a scene and 0 for the others, shape (B,).

    Pairs with equal scores and IoUs are ordered by their boxes, so that the result is the same in
    whatever order the boxes are given.
    """
    iou, right, claimed = box_iou(true, inferred), torch.zeros(len(inferred)).double(), set()
    pairs = [
        (-scores[k].item(), -iou[j, k].item(), inferred[k].tolist(), true[j].tolist(), j, k)
        for j, k in (iou >= threshold).nonzero().tolist()
    ]
    for *_, j, k in sorted(pairs):
        if j not in claimed and not right[k]:
            claimed.add(j)
            right[k] = 1.0
    return right


def _mask_ious(true: Tensor, inferred: Tensor) -> Tensor:
    """IoU of every object of `true` (H, W) with every one of `inferred`, those without pixels out.

    Returns:
        IoUs in [0, 1], shape (A, B), in float64.
    """
    columns = int(inferred.max()) + 1
    pairs = true.long() * columns + inferred.long()
    shared = pairs.flatten().bincount(minlength=(int(true.max()) + 1) * columns)
    shared = shared.view(-1, columns).double()
    union = shared.sum(1, keepdim=True) + shared.sum(0, keepdim=True) - shared
    iou = (shared / union.clamp(min=1))[1:, 1:]
    return iou[shared.sum(1)[1:] > 0][:, shared.sum(0)[1:] > 0]


def _area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).prod(-1)
