"""What is found in pictures of 3D scenes, its agreement with the truth, and its form in files."""

import json
import math
from dataclasses import replace

import pytest
import torch

from airscene.data import Scenes, UserImages
from airscene.errors import UserError
from airscene.models.arrangement import draw_arrangements
from airscene.models.rendered import Rendered, RenderedConfig
from airscene.models.tabletop import Tabletop, TabletopConfig
from airscene.painters.world import BLOCKS, ONE_OBJECT
from airscene.results.placements import Placements, agreement, as_jsonl, place


def found(kind: list[int], pose: list[list[float]]) -> Placements:
    kinds = torch.tensor(kind)[:, None]
    probs = torch.nn.functional.one_hot(kinds, 3).float() * 0.7 + 0.1
    camera = torch.tensor(ONE_OBJECT.camera.numbers).expand(len(kind), 3)
    return Placements(ONE_OBJECT, kinds, probs, torch.tensor(pose)[:, None], camera)


def truth(kind: list[int], pose: list[list[float]]) -> Scenes:
    count = torch.ones(len(kind), dtype=torch.long)
    labels, poses = torch.tensor(kind)[:, None], torch.tensor(pose)[:, None]
    return Scenes(torch.zeros(len(kind), 3, 8, 8), count, labels=labels, pose=poses)


def tables() -> tuple[Scenes, Placements]:
    """Scenes of up to three objects, and the same as if they had been found."""
    kind, pose, camera = draw_arrangements(BLOCKS, 60, torch.Generator().manual_seed(0))
    count = (kind >= 0).sum(1)
    scenes = Scenes(torch.zeros(60, 3, 8, 8), count, labels=kind, pose=pose, camera=camera)
    return scenes, Placements(BLOCKS, kind, torch.ones(60, 3, 3) / 3, pose, camera)


def test_errors_are_those_up_to_the_symmetry_of_the_true_kind():
    scenes = truth([0, 1, 2, 2], [[0, 0, 0.1], [0, 0, 3.0], [0, 0, -3.1], [0, 0, 0]])
    poses = [[0.3, 0.4, 0.1 + math.pi / 2 + 0.2], [0, 0, 0], [0, 0, 3.1], [0, 0, 0]]
    table = agreement(scenes, found([0, 1, 2, 0], poses))
    assert table["identity_accuracy"] == 0.75 and table["count_accuracy"] == 1
    assert table["position_error"] == pytest.approx(0.5 / 4)
    assert table["yaw_error_degrees_cube"] == pytest.approx(math.degrees(0.2), abs=1e-3)
    assert "yaw_error_degrees_sphere" not in table
    assert table["yaw_error_degrees_cylinder"] == pytest.approx(0, abs=1e-6)  # the lower median
    assert "camera_error_degrees" not in table


def test_the_order_in_which_objects_are_found_does_not_matter():
    scenes, same = tables()
    table = agreement(scenes, same)
    last = torch.arange(2, -1, -1)  # from the last object to the first, the missing ones last
    order = (torch.where(same.kind >= 0, 0, 10) + last).argsort(1)
    kind, pose = same.kind.gather(1, order), same.pose.take_along_dim(order[..., None], 1)
    assert not torch.equal(kind, same.kind)
    assert agreement(scenes, replace(same, kind=kind, pose=pose)) == table
    assert table["count_accuracy"] == table["identity_accuracy"] == 1
    assert table["position_error"] == 0
    assert table["camera_error_degrees"] == pytest.approx(0, abs=1e-5)


def test_a_missed_object_is_a_wrong_count_and_nothing_else():
    scenes, same = tables()
    three = int((same.count == 3).nonzero()[0])
    kind = same.kind.clone()
    kind[three, 2] = -1
    table = agreement(scenes, replace(same, kind=kind))
    assert table["count_accuracy"] == pytest.approx(59 / 60)
    assert table["identity_accuracy"] == 1 and table["position_error"] == 0


def test_the_error_of_a_camera_is_the_angle_between_directions():
    scenes, same = tables()
    moved = same.camera + torch.tensor([0.0, 0.1, 0.0])
    table = agreement(scenes, replace(same, camera=moved))
    assert table["camera_error_degrees"] == pytest.approx(math.degrees(0.1), abs=1e-3)


def test_where_nothing_is_found_there_are_no_figures_of_objects():
    scenes, same = tables()
    table = agreement(scenes, replace(same, kind=torch.full_like(same.kind, -1)))
    assert table.keys() == {"count_accuracy", "camera_error_degrees"}


def test_labels_of_no_kind_are_refused():
    with pytest.raises(UserError, match=r"labels hold 3; .* from 0 to 2, in the order cube"):
        agreement(truth([3], [[0, 0, 0]]), found([0], [[0, 0, 0.0]]))


def test_without_truth_there_are_no_figures():
    scenes = truth([0], [[0, 0, 0]])
    assert agreement(Scenes(scenes.image, scenes.count), found([0], [[0, 0, 0.0]])) == {}


def test_a_line_tells_source_camera_and_of_each_object_kind_position_and_yaw():
    images = UserImages(sources=["a.png"], indices=[4], images=[torch.zeros(3, 8, 8)])
    line = json.loads(as_jsonl(images, found([2], [[0.123456, -1, 0.5]])))
    cylinder = {"kind": "cylinder", "probability": 0.8, "position": [0.1235, -1.0], "yaw": 0.5}
    assert line == {
        "source": "a.png",
        "index": 4,
        "count": 1,
        "objects": [cylinder],
        "camera": {"azimuth": -1.5708, "elevation": 0.9, "distance": 3.6},
    }


@pytest.mark.parametrize("model", [Rendered(RenderedConfig()), Tabletop(TabletopConfig())])
def test_batches_are_found_as_a_whole_is(model, monkeypatch):
    images = torch.rand(30, 3, *model.world.size, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("airscene.results.placements.inference_batch", lambda config, steps: 7)
    result, (scenes, probs) = place(model, images), model.places(images)
    assert torch.equal(result.kind, scenes.kind)
    torch.testing.assert_close(result.pose, scenes.pose, atol=1e-4, rtol=0)
    torch.testing.assert_close(result.camera, scenes.camera)
    present = result.kind >= 0
    torch.testing.assert_close(result.probs.sum(-1)[present], torch.ones(int(present.sum())))
    assert (result.probs.argmax(-1) == result.kind)[present].all()
    torch.testing.assert_close(result.probs, probs, atol=1e-4, rtol=0)
