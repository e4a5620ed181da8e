import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from airscene.data import Scenes
from airscene.data.images import save_scenes, training_images
from airscene.data.truth import checked_truth
from airscene.errors import UserError

REAL = os.environ.get("AIRSCENE_REAL_DATA", "")  # a folder of .npz files with a truth
HEIGHT, WIDTH = 20, 30
BOX = [2, 3, 12, 9]
TYPES = [np.uint8, np.int16, np.int64, np.uint64, np.float16, np.float32, np.float64, ">i4", ">f8"]


def check(**arrays):
    made = {name: np.asarray(value) for name, value in arrays.items()}
    return checked_truth(Path("a.npz"), made, 2, HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_whole_numbers_of_any_type_are_cast(kind, shape):
    count = np.array([1, 0], kind).reshape(shape)
    boxes, labels = np.zeros((2, 2, 4), kind), np.zeros((2, 2), kind)
    boxes[0, 0], labels[0, 0] = BOX, 7
    truth = check(count=count, boxes=boxes, labels=labels)
    assert truth.count.dtype == truth.labels.dtype == torch.int64
    assert truth.boxes.dtype == torch.float32
    assert truth.count.tolist() == [1, 0]
    assert truth.boxes[0].tolist() == [BOX, [0] * 4] and not truth.boxes[1].any()
    assert truth.labels.tolist() == [[7, -1], [-1, -1]]


def test_booleans_count():
    assert check(count=[True, False]).count.tolist() == [1, 0]


@pytest.mark.parametrize("padding", [np.nan, np.inf, -1, 1e30])
def test_rows_beyond_the_count_may_hold_anything(padding):
    boxes, labels = np.full((2, 3, 4), padding), np.full((2, 3), padding)
    boxes[0, 0], labels[0, 0] = BOX, 2
    truth = check(count=[1, 0], boxes=boxes, labels=labels)
    assert truth.boxes.sum() == sum(BOX)
    assert truth.labels.tolist() == [[2, -1, -1], [-1, -1, -1]]


@pytest.mark.parametrize("kind", [*TYPES, bool])
def test_masks_of_any_type_are_cast(kind):
    masks = np.zeros((2, HEIGHT, WIDTH), kind)
    masks[0, 3, 5:9] = 1
    truth = check(count=[1, 0], masks=masks)
    assert truth.masks.dtype == torch.uint8
    assert np.array_equal(truth.masks, masks.astype(np.uint8))


def test_boxes_are_clipped_to_the_image():
    truth = check(count=[1, 1], boxes=[[[-5, -5, 4, 4]], [[25, 15, 99, 20.5]]])
    assert truth.boxes[:, 0].tolist() == [[0, 0, 4, 4], [25, 15, 30, 20]]


def test_poses_beyond_the_count_may_hold_anything_and_come_back_as_zero():
    pose = np.array([[[1, 2, 3], [np.nan, 5, 6]], [[np.inf, 0, 0], [7, 8, 9]]])
    truth = check(count=[1, 0], pose=pose, camera=[[0, 1, 4], [1, 1, 4]])
    assert truth.pose.tolist() == [[[1, 2, 3], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]
    assert truth.pose.dtype == truth.camera.dtype == torch.float32
    assert truth.camera.tolist() == [[0, 1, 4], [1, 1, 4]]


def test_saved_3d_scenes_come_back_with_their_poses(tmp_path):
    scenes = Scenes(
        torch.randint(256, (2, 3, 9, 9), dtype=torch.uint8),
        torch.tensor([1, 0]),
        labels=torch.tensor([[2], [-1]]),
        pose=torch.tensor([[[0.5, -0.5, 3.0]], [[0.0, 0.0, 0.0]]]),
        camera=torch.tensor([[-1.5, 0.9, 4.2], [-1.0, 0.8, 4.2]]),
    )
    again = training_images(save_scenes(scenes, tmp_path / "scenes.npz"))
    for name in ("image", "count", "labels", "pose", "camera"):
        assert torch.equal(getattr(again, name), getattr(scenes, name)), name


def test_truth_without_counts_is_left_out():
    assert check() is None and check(labels=[[1], [2]]) is None
    with pytest.warns(UserWarning, match=r"a\.npz has boxes but no count"):
        assert check(boxes=[[BOX], [BOX]]) is None
    with pytest.warns(UserWarning, match=r"a\.npz has boxes and masks but no count"):
        assert check(boxes=[[BOX], [BOX]], masks=np.zeros((2, HEIGHT, WIDTH))) is None


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"count": [1, 2, 3]}, r"count has shape \(3,\); save one count for each of the 2"),
        ({"count": 2}, r"count has shape \(\)"),
        ({"count": [[1, 2], [3, 4]]}, r"count has shape \(2, 2\)"),
        ({"count": [1.5, 2]}, "count holds 1.5; save whole numbers"),
        ({"count": [np.nan, 2]}, "count holds nan"),
        ({"count": [np.inf, 2]}, "count holds inf"),
        ({"count": [2, -1]}, "count holds -1; counts are at least 0"),
        ({"count": np.array([2, 2**64 - 1], np.uint64)}, "count holds 18446744073709551615"),
        ({"count": [HEIGHT * WIDTH + 1, 0]}, "count holds 601; .* number of pixels"),
        ({"count": ["1", "2"]}, "count holds <U1; save numbers"),
        ({"count": [1j, 2]}, "count holds complex128"),
        ({"boxes": [BOX, BOX]}, r"boxes has shape \(2, 4\); it must be \(2, K, 4\)"),
        ({"boxes": [[BOX]]}, r"boxes has shape \(1, 1, 4\)"),
        ({"boxes": np.ones((2, 1, 5))}, r"boxes has shape \(2, 1, 5\)"),
        ({"boxes": np.full((2, 1, 4), "1")}, "boxes holds <U1"),
        ({"boxes": np.ones((2, 0, 4))}, "boxes has 0 rows an image; count says up to 1"),
        ({"count": [3, 0], "boxes": [[BOX] * 2] * 2}, "boxes has 2 rows .* up to 3 objects"),
        ({"boxes": [[[2, 3, np.nan, 9]], [BOX]]}, r"boxes \[0, 0\] is 2 3 nan 9, .* not finite"),
        ({"boxes": [[BOX], [[2, 3, np.inf, 9]]]}, r"boxes \[1, 0\] is 2 3 inf 9, .* not finite"),
        ({"boxes": [[[12, 3, 2, 9]], [BOX]]}, "reversed corners.*are these x, y, width, height"),
        ({"boxes": [[[2, 3, 2, 9]], [BOX]]}, "has no area"),
        ({"boxes": [[[0.1, 0.2, 0.9, 1]], [[0, 0, 1, 1]]]}, "multiply x by 30 and y by 20"),
        ({"boxes": [[[30, 3, 40, 9]], [BOX]]}, "lies outside the image of 30x20 pixels"),
        ({"boxes": [[[2, -9, 12, 0]], [BOX]]}, "lies outside the image"),
        ({"labels": [1, 2]}, r"labels has shape \(2,\); it must be \(2, K\)"),
        ({"labels": [[1], [2], [3]]}, r"labels has shape \(3, 1\)"),
        ({"labels": [[1], [np.nan]]}, "labels holds nan"),
        ({"labels": [[1], [0.5]]}, "labels holds 0.5"),
        ({"labels": [["a"], ["b"]]}, "labels holds <U1"),
        ({"count": [2, 0], "labels": [[1], [2]]}, "labels has 1 rows .* up to 2 objects"),
        ({"boxes": [[BOX]] * 2, "labels": [[1, 2]] * 2}, "labels has 2 columns, boxes 1 rows"),
        ({"masks": np.ones((2, WIDTH, HEIGHT))}, r"masks has shape \(2, 30, 20\); .*\(2, 20, 30\)"),
        ({"masks": np.ones((HEIGHT, WIDTH))}, "one label for each pixel"),
        ({"masks": np.full((2, HEIGHT, WIDTH), 0.5)}, "masks holds 0.5; save whole numbers"),
        ({"masks": np.full((2, HEIGHT, WIDTH), np.nan)}, "masks holds nan"),
        ({"masks": np.full((2, HEIGHT, WIDTH), "a")}, "masks holds <U1; save numbers"),
        ({"masks": np.full((2, HEIGHT, WIDTH), -1)}, "masks holds -1; 0 is the background"),
        ({"masks": np.full((2, HEIGHT, WIDTH), 256)}, "masks holds 256; .* from 1 to 255"),
        ({"pose": [[1, 2, 3]] * 2}, r"pose has shape \(2, 3\); it must be \(2, K, 3\)"),
        ({"pose": [[[1, 2, np.nan]]] * 2}, "pose holds a number that is not finite; save x, y"),
        ({"pose": [[["a", "b", "c"]]] * 2}, "pose holds <U1"),
        ({"camera": [[1, 2]] * 2}, r"camera has shape \(2, 2\); it must be \(2, 3\): azimuth"),
        ({"camera": [[1, 2, np.inf]] * 2}, "camera holds a number that is not finite"),
        (
            {"count": [2, 1], "masks": np.full((2, HEIGHT, WIDTH), 2)},
            r"masks \[1\] holds 2, above its count; number the objects",
        ),
    ],
)
def test_impossible_truth_names_file_array_and_reason(arrays, complaint):
    with pytest.raises(UserError, match=rf"a\.npz: .*{complaint}") as caught:
        check(**{"count": [1, 1], **arrays})
    assert "\n" not in str(caught.value)


@given(
    corner=st.tuples(st.integers(0, WIDTH - 2), st.integers(0, HEIGHT - 2)),
    size=st.tuples(st.integers(1, 50), st.integers(1, 50)),
)
@settings(max_examples=50, deadline=None)
def test_boxes_that_touch_the_image_stay_within_it(corner, size):
    (x, y), (w, h) = corner, size
    boxes = np.array([[[x, y, x + w, y + h]], [BOX]])
    box = check(count=[1, 1], boxes=boxes).boxes[0, 0].tolist()
    assert box == [x, y, min(x + w, WIDTH), min(y + h, HEIGHT)]


@pytest.mark.skipif(not REAL, reason="AIRSCENE_REAL_DATA names no folder")
@pytest.mark.parametrize("path", sorted(Path(REAL).glob("*.npz")) if REAL else [None])
def test_real_truth_comes_back(path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scenes = training_images(path)
    with np.load(path) as stored:
        assert ("count" in stored) == (scenes.count is not None)
        if scenes.boxes is not None:
            used = np.arange(scenes.boxes.shape[1]) < stored["count"][:, None]
            assert np.array_equal(scenes.boxes.numpy()[used], stored["boxes"][used])
