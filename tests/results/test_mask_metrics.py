import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from airscene.results.metrics import foreground_ari, mean_mask_iou

LABELS = arrays(np.int64, (3, 4, 5), elements=st.integers(0, 3))
SEED = st.integers(0, 1000)


def row(*labels: int) -> torch.Tensor:
    """A scene of one row."""
    return torch.tensor(labels).view(1, 1, -1)


def renamed(masks: torch.Tensor, seed: int) -> torch.Tensor:
    """The same groups under other names, the background apart."""
    names = torch.randperm(3, generator=torch.Generator().manual_seed(seed)) + 1
    return torch.cat([torch.zeros(1, dtype=torch.long), names])[masks]


@pytest.mark.parametrize(
    ("true", "inferred", "ari", "iou"),
    [
        (row(1, 1, 2, 2, 0), row(2, 2, 1, 1, 0), 1, 1),
        (row(1, 1, 2, 2, 0), row(2, 2, 1, 1, 3), 1, 1),  # what is found beside plays no part
        (row(1, 1, 2, 2, 0), row(1, 1, 1, 1, 0), 0, 1 / 4),  # one object of all: 2 of 4 pixels
        (row(1, 1, 2, 2), row(1, 1, 0, 0), 1, 1 / 2),  # one missed, still a group of its own
        (row(1, 1, 1, 1), row(1, 1, 2, 2), 0, 1 / 2),  # one split
        (row(1, 1, 2, 2), row(1, 2, 1, 2), -0.5, 1 / 3),  # across
        (row(1, 1, 1, 2, 0, 0), row(1, 1, 1, 1, 1, 0), 0, (3 / 5 + 0) / 2),
        (row(1, 0, 3), row(1, 0, 3), 1, 1),  # the second is hidden
    ],
)
def test_cases_worked_by_hand(true, inferred, ari, iou):
    assert foreground_ari(true, inferred) == pytest.approx(ari)
    assert mean_mask_iou(true, inferred) == pytest.approx(iou)


@given(LABELS, LABELS, SEED, SEED)
@settings(max_examples=60, deadline=None)
def test_names_of_objects_do_not_matter(true, inferred, first, second):
    true, inferred = torch.from_numpy(true), torch.from_numpy(inferred)
    other = renamed(true, first), renamed(inferred, second)
    for measure in (foreground_ari, mean_mask_iou):
        assert measure(*other) == pytest.approx(measure(true, inferred), nan_ok=True)


@given(LABELS, SEED)
@settings(max_examples=60, deadline=None)
def test_the_same_objects_agree_entirely(true, seed):
    true = torch.from_numpy(true)
    expected = 1.0 if true.any() else math.nan
    for measure in (foreground_ari, mean_mask_iou):
        assert measure(true, renamed(true, seed)) == pytest.approx(expected, nan_ok=True)


@given(LABELS, LABELS)
@settings(max_examples=60, deadline=None)
def test_results_stay_in_their_ranges(true, inferred):
    true, inferred = torch.from_numpy(true), torch.from_numpy(inferred)
    ari, iou = foreground_ari(true, inferred), mean_mask_iou(true, inferred)
    assert math.isnan(ari) == math.isnan(iou) == (not true.any())
    assert math.isnan(ari) or (-0.5 <= ari <= 1 and 0 <= iou <= 1)


def test_scenes_are_averaged_and_those_without_objects_left_out():
    true = torch.cat([row(1, 1, 2, 2), row(0, 0, 0, 0), row(1, 1, 1, 0)])
    inferred = torch.cat([row(1, 1, 2, 2), row(1, 1, 1, 1), row(0, 0, 0, 0)])
    assert foreground_ari(true, inferred) == pytest.approx((1 + 1) / 2)
    assert mean_mask_iou(true, inferred) == pytest.approx((1 + 1 + 0) / 3)


def test_bytes_and_short_numbers_may_be_compared():
    true, inferred = row(1, 200, 0).byte(), row(200, 1, 0).short()
    assert foreground_ari(true, inferred) == mean_mask_iou(true, inferred) == 1
