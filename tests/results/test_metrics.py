import math
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_curve

from airscene.results.metrics import (
    average_precision,
    box_iou,
    count_accuracy,
    count_confusion,
    f1,
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
        ([], [], []),  # no scenes
    ],
)
def test_the_confusion_is_as_wide_as_the_largest_count(true, inferred, table):
    true, inferred = torch.tensor(true).long(), torch.tensor(inferred).long()
    assert count_confusion(true, inferred).tolist() == table


def test_without_scenes_the_count_accuracy_is_not_a_number():
    nothing = torch.zeros(0, dtype=torch.long)
    assert math.isnan(count_accuracy(nothing, nothing))


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


NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    "bad",
    [
        (0, 0, 0, 0),
        (2, 2, 2, 8),  # without width
        (8, 8, 2, 2),  # its corners swapped
        (8, 2, 2, 8),
        (NAN, 0, 10, 10),
        (NAN, NAN, NAN, NAN),
        (0, 0, INF, 10),
        (-INF, -INF, INF, INF),
        (0, 0, 1e-30, 1e-30),  # its area underflows
        (-1e30, -1e30, 1e30, 1e30),  # its area overflows
    ],
)
def test_a_box_that_is_no_box_overlaps_nothing_and_is_matched_all_the_same(bad):
    for other in (bad, shifted(0)):
        assert box_iou(boxes(bad), boxes(other)).tolist() == [[0]]
    pair = boxes(bad, shifted(0))
    assert matched_ious(pair, boxes(shifted(0))).tolist() == [1]
    assert mean_matched_iou([pair], [pair]) == 0.5
    assert average_precision([pair], [pair], [torch.tensor([0.9, 0.8])]) == 0.25


FINITE = st.floats(-50, 50, width=32)
CORNERS = st.lists(st.tuples(*[FINITE] * 4), max_size=4)


@given(CORNERS, CORNERS)
def test_the_iou_is_between_0_and_1_and_symmetric(first, second):
    iou = box_iou(boxes(*first), boxes(*second))
    assert ((iou >= 0) & (iou <= 1)).all()
    torch.testing.assert_close(iou, box_iou(boxes(*second), boxes(*first)).T)


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


def test_f1_matches_as_many_boxes_as_it_can():
    # the first detection overlaps both true boxes by more than half, the second the first alone
    true, found = boxes(shifted(0), shifted(4)), boxes(shifted(2), shifted(-2))
    assert f1([true], [found]) == 1.0
    assert f1([true, NO_BOX], [found[:1], found]) == pytest.approx(2 * 1 / (2 + 3))


def test_f1_without_boxes():
    assert math.isnan(f1([NO_BOX], [NO_BOX]))
    assert f1([NO_BOX], [boxes(shifted(0))]) == f1([boxes(shifted(0))], [NO_BOX]) == 0.0


def test_without_true_objects_the_average_precision_is_not_a_number():
    assert math.isnan(average_precision([NO_BOX], [boxes(shifted(0))], [torch.tensor([0.9])]))


def test_without_any_detection_the_average_precision_is_zero():
    assert average_precision([boxes(shifted(0))] * 2, [NO_BOX] * 2, [NO_SCORE] * 2) == 0


@st.composite
def crowded_scenes(draw):
    """True boxes, detections and scores of a few scenes on a coarse grid, with many ties."""
    box = st.sampled_from([shifted(x) for x in (0, 1, 2, 3)] + [OTHER, FAR])
    scenes = []
    for _ in range(draw(st.integers(1, 4))):
        true, found = draw(st.lists(box, max_size=4)), draw(st.lists(box, max_size=5))
        score = st.sampled_from([0.5, 0.75, 1.0])
        scenes.append((true, found, [draw(score) for _ in found]))
    return scenes


def precision_of(scenes) -> float:
    true, found, scores = zip(*scenes, strict=True)
    return average_precision(
        [boxes(*t) for t in true], [boxes(*f) for f in found], [torch.tensor(s) for s in scores]
    )


@settings(max_examples=300)
@given(crowded_scenes(), st.randoms())
def test_the_average_precision_does_not_depend_on_any_order(scenes, random):
    shuffled = []
    for true, found, scores in random.sample(scenes, len(scenes)):
        order = random.sample(range(len(found)), len(found))
        moved = [found[k] for k in order], [scores[k] for k in order]
        shuffled.append((random.sample(true, len(true)), *moved))
    assert precision_of(shuffled) == pytest.approx(precision_of(scenes), abs=1e-12, nan_ok=True)


def test_detections_with_equal_scores_are_one_point_of_the_curve():
    """At the one threshold there is, one detection of two is right: a precision of a half."""
    right, wrong = ([shifted(0)], [shifted(0)], [0.9]), ([], [FAR], [0.9])
    assert precision_of([right, wrong]) == precision_of([wrong, right]) == 0.5


def test_of_detections_with_equal_scores_the_best_overlap_claims_first():
    """The first detection can have either box, the second only the left one."""
    left, right = shifted(0), shifted(4)
    found = [shifted(1), shifted(0)]  # IoU with left and right: 9/11 and 7/13, 1 and 6/14
    assert precision_of([([left, right], found, [0.9, 0.9])]) == 1


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1), st.integers(0, 3))
def test_the_average_precision_is_sklearns_curve_below_its_envelope(detections, missed):
    """A scene a detection, each with a true box that it hits or misses entirely."""
    right, level = map(np.array, zip(*detections, strict=True))
    scenes = [
        ([shifted(0)], [shifted(0) if hit else FAR], [float(s)])
        for hit, s in zip(right, level, strict=True)
    ]
    scenes += [([shifted(0)], [], [])] * missed
    value = precision_of(scenes)
    if not right.any():  # sklearn has no recall then
        assert value == 0
        return
    precision, recall, _ = precision_recall_curve(right, level)  # from low scores to high
    envelope = np.maximum.accumulate(precision)
    expected = -(np.diff(recall) * envelope[:-1]).sum() * right.sum() / len(scenes)
    assert value == pytest.approx(expected, abs=1e-9)
