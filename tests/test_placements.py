"""What is found in pictures of 3D scenes, its agreement with the truth, and its form in files."""

import json
import math

import pytest
import torch

from airscene.data import Scenes, UserImages
from airscene.models.rendered import Rendered, RenderedConfig
from airscene.placements import Placements, agreement, as_jsonl, place

NAMES, SYMMETRY = ("cube", "sphere", "cylinder"), torch.tensor([4, 0, 1])


def found(kind: list[int], pose: list[list[float]]) -> Placements:
    kinds = torch.tensor(kind)
    probs = torch.nn.functional.one_hot(kinds, 3).float() * 0.7 + 0.1
    return Placements(NAMES, kinds, probs, torch.tensor(pose), SYMMETRY)


def truth(kind: list[int], pose: list[list[float]]) -> Scenes:
    count = torch.ones(len(kind), dtype=torch.long)
    labels, poses = torch.tensor(kind)[:, None], torch.tensor(pose)[:, None]
    return Scenes(torch.zeros(len(kind), 3, 8, 8), count, labels=labels, pose=poses)


def test_errors_are_those_up_to_the_symmetry_of_the_true_kind():
    scenes = truth([0, 1, 2, 2], [[0, 0, 0.1], [0, 0, 3.0], [0, 0, -3.1], [0, 0, 0]])
    poses = [[0.3, 0.4, 0.1 + math.pi / 2 + 0.2], [0, 0, 0], [0, 0, 3.1], [0, 0, 0]]
    table = agreement(scenes, found([0, 1, 2, 0], poses))
    assert table["identity_accuracy"] == 0.75
    assert table["position_error"] == pytest.approx(0.5 / 4)
    assert table["yaw_error_degrees_cube"] == pytest.approx(math.degrees(0.2), abs=1e-3)
    assert "yaw_error_degrees_sphere" not in table
    assert table["yaw_error_degrees_cylinder"] == pytest.approx(0, abs=1e-6)  # the lower median


def test_without_truth_there_are_no_figures():
    scenes = truth([0], [[0, 0, 0]])
    assert agreement(Scenes(scenes.image, scenes.count), found([0], [[0, 0, 0.0]])) == {}


def test_a_line_tells_source_kind_position_and_yaw():
    images = UserImages(sources=["a.png"], indices=[4], images=[torch.zeros(3, 8, 8)])
    line = json.loads(as_jsonl(images, found([2], [[0.123456, -1, 0.5]])))
    assert line == {
        "source": "a.png",
        "index": 4,
        "kind": "cylinder",
        "probability": 0.8,
        "position": [0.1235, -1.0],
        "yaw": 0.5,
    }


def test_an_object_is_found_in_every_image():
    torch.manual_seed(0)
    model = Rendered(RenderedConfig())
    images = torch.rand(300, 3, 32, 32)
    result = place(model, images)
    assert result.pose.shape == (300, 3) and result.names == NAMES
    assert (result.probs.argmax(1) == result.kind).all()
    kind, pose = model.infer(images)
    assert torch.equal(kind, result.kind)
    torch.testing.assert_close(pose, result.pose, atol=1e-5, rtol=0)
