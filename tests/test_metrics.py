import math
from itertools import permutations

import pytest
import torch
from sklearn.metrics import confusion_matrix

from airscene.metrics import (
    average_precision,
    box_iou,
    count_accuracy,
    count_confusion,
    matched_ious,
    mean_matched_iou,
)

NO_BOX = torch.zeros(0, 4)
NO_SCORE = torch.zeros(0)


def boxes(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows).float().view(-1, 4)


def shifted(x: float) -> tuple[float, ...]:
    """A box of side 10, x to the right: of IoU (10 - x) / (10 + x) with the one not shifted."""
    return (x, 0, 10 + x, 10)


def random_boxes(number: int) -> torch.Tensor:
    low = torch.randint(0, 12, (number, 2))
    return torch.cat([low, low + torch.randint(1, 9, (number, 2))], 1).float()


def test_the_confusion_of_counts_is_sklearns():
    torch.manual_seed(0)
    true, inferred = torch.randint(0, 4, (200,)), torch.randint(0, 4, (200,))
    expected = confusion_matrix(true, inferred, labels=range(4))
    assert count_confusion(true, inferred).tolist() == expected.tolist()
    assert count_accuracy(true, inferred) == pytest.approx(expected.trace() / 200)


@pytest.mark.parametrize(
    "true, inferred, table",
    [
        ([0, 1, 1], [0, 1, 3], [[1, 0, 0, 0], [0, 1, 0, 1]]),  # a column more an excess count
        ([2, 2], [0, 1], [[0, 0, 0], [0, 0, 0], [1, 1, 0]]),  # never fewer columns than rows
        ([0], [0], [[1]]),
    ],
)
def test_the_confusion_is_as_wide_as_the_largest_count(true, inferred, table):
    assert count_confusion(torch.tensor(true), torch.tensor(inferred)).tolist() == table


@pytest.mark.parametrize(
    "other, iou",
    [
        (shifted(0), 1.0),
        (shifted(5), 1 / 3),
        (shifted(10), 0.0),  # touching
        (shifted(40), 0.0),
        ((-5, -5, 5, 5), 1 / 7),
        ((2, 2, 7, 7), 1 / 4),  # inside
        ((3, 3, 3, 3), 0.0),  # empty
    ],
)
def test_the_iou_of_two_boxes(other, iou):
    found = box_iou(boxes(shifted(0)), boxes(other))
    assert found.shape == (1, 1)
    assert float(found) == pytest.approx(iou, abs=1e-6)


def test_two_empty_boxes_do_not_overlap():
    assert float(box_iou(torch.zeros(1, 4), torch.zeros(1, 4))) == 0


def test_the_iou_of_boxes_of_whole_pixels_is_that_of_their_pixels():
    torch.manual_seed(0)
    first, second = random_boxes(6), random_boxes(5)

    def mask(box):
        x0, y0, x1, y1 = box.int().tolist()
        pixels = torch.zeros(20, 20, dtype=torch.bool)
        pixels[y0:y1, x0:x1] = True
        return pixels

    iou = box_iou(first, second)
    for a, row in enumerate(map(mask, first)):
        for b, column in enumerate(map(mask, second)):
            expected = (row & column).sum() / (row | column).sum()
            torch.testing.assert_close(iou[a, b], expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("inferred", [2, 3, 5])
def test_the_matching_is_the_best_of_all_one_to_one_matchings(inferred):
    torch.manual_seed(inferred)
    true, found = random_boxes(3), random_boxes(inferred)
    iou = box_iou(true, found)
    if inferred < 3:
        iou = iou.T
    rows = range(len(iou))
    best = max(sum(iou[a, b] for a, b in zip(rows, order, strict=False))
               for order in permutations(range(iou.shape[1]), len(iou)))  # fmt: skip
    matched = matched_ious(true, found)
    assert matched.shape == (min(3, inferred),)
    torch.testing.assert_close(matched.sum(), best)


def test_the_mean_iou_is_over_objects_and_not_over_scenes():
    true = [boxes(shifted(0), (50, 0, 60, 10)), boxes(shifted(0)), NO_BOX]
    inferred = [boxes((50, 0, 60, 10), shifted(0)), boxes(shifted(5)), boxes(shifted(0))]
    assert mean_matched_iou(true, inferred) == pytest.approx((1 + 1 + 1 / 3) / 3, abs=1e-6)


def test_without_a_match_the_mean_iou_is_not_a_number():
    assert math.isnan(mean_matched_iou([NO_BOX, boxes(shifted(0))], [boxes(shifted(0)), NO_BOX]))
    assert math.isnan(mean_matched_iou([], []))


FAR = (100, 100, 110, 110)
OTHER = (50, 0, 60, 10)


@pytest.mark.parametrize(
    "true, inferred, scores, expected",
    [
        ([shifted(0)], [shifted(0)], [0.3], 1.0),
        ([shifted(0)], [FAR], [0.9], 0.0),
        ([shifted(0)], [], [], 0.0),
        ([shifted(0), OTHER], [shifted(0)], [0.9], 0.5),  # one is missed
        ([shifted(0)], [shifted(0), FAR], [0.9, 0.8], 1.0),  # a wrong one ranked below
        ([shifted(0)], [FAR, shifted(0)], [0.9, 0.8], 0.5),  # and above
        ([shifted(0)], [shifted(1), shifted(0)], [0.9, 0.8], 1.0),  # the better box comes second
        ([shifted(0), OTHER], [shifted(0), shifted(0), OTHER], [0.9, 0.8, 0.7], (1 + 2 / 3) / 2),
        # ranks right, wrong, wrong, right, right of 3: precision 1, 3/5 by the envelope, 3/5
        (
            [shifted(0), OTHER, (0, 50, 10, 60)],
            [shifted(0), FAR, FAR, OTHER, (0, 50, 10, 60)],
            [0.9, 0.8, 0.7, 0.6, 0.5],
            (1 + 3 / 5 + 3 / 5) / 3,
        ),
    ],
)
def test_the_average_precision_of_one_scene(true, inferred, scores, expected):
    """Whatever the order in which the detections are given."""
    for order in permutations(range(len(scores))):
        found = boxes(*(inferred[k] for k in order))
        value = average_precision(
            [boxes(*true)], [found], [torch.tensor([scores[k] for k in order])]
        )
        assert value == pytest.approx(expected, abs=1e-6)


def test_the_average_precision_ranks_the_detections_of_all_scenes_together():
    true = [boxes(shifted(0)), boxes(shifted(0)), NO_BOX]
    inferred = [boxes(shifted(0)), boxes(shifted(0)), boxes(shifted(0))]
    scores = [torch.tensor([0.9]), torch.tensor([0.5]), torch.tensor([0.7])]
    assert average_precision(true, inferred, scores) == pytest.approx((1 + 2 / 3) / 2, abs=1e-6)


@pytest.mark.parametrize("threshold, expected", [(0.3, 1.0), (0.35, 0.0)])
def test_a_detection_is_right_from_the_threshold_on(threshold, expected):
    """The boxes overlap by a third."""
    scores = [torch.tensor([0.9])]
    value = average_precision([boxes(shifted(0))], [boxes(shifted(5))], scores, threshold)
    assert value == expected


def test_without_true_objects_the_average_precision_is_not_a_number():
    assert math.isnan(average_precision([NO_BOX], [boxes(shifted(0))], [torch.tensor([0.9])]))


def test_without_any_detection_the_average_precision_is_zero():
    assert average_precision([boxes(shifted(0))] * 2, [NO_BOX] * 2, [NO_SCORE] * 2) == 0
