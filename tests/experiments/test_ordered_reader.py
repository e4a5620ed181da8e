"""A network that is told objects in the order of kinds: its order, and that it learns."""

import json
from dataclasses import replace

import pytest
import torch

from airscene.experiments.ordered_reader import OrderedReader, Reading, in_order_of_kinds
from airscene.experiments.supervised import SupervisedTask, supervise
from airscene.models.arrangement import Arrangement, draw_arrangements
from airscene.models.tabletop import TabletopConfig
from airscene.presets import PRESETS

SMALL = TabletopConfig(height=24, width=24, hidden=64)


def test_objects_are_sorted_by_kind_and_those_of_one_kind_stay_in_order():
    scenes = draw_arrangements(SMALL.world, 200, torch.Generator().manual_seed(0))
    found = in_order_of_kinds(scenes)
    for i in range(200):
        assert _rows(found, i) == sorted(_rows(scenes, i), key=lambda row: row[0])


def _rows(scenes: Arrangement, i: int) -> list[tuple[int, list[float]]]:
    """Kinds and poses of the objects of a scene."""
    n = int(scenes.number[i])
    return list(zip(scenes.kind[i, :n].tolist(), scenes.pose[i, :n].tolist(), strict=True))


def test_the_order_of_different_kinds_does_not_matter_and_that_of_one_kind_does():
    torch.manual_seed(0)
    reader = OrderedReader(SMALL)
    scenes = draw_arrangements(SMALL.world, 200, torch.Generator().manual_seed(1))
    pair = scenes.number == 2
    kind, pose, camera = (part[pair] for part in scenes)
    swap = [1, 0, 2]
    other = Arrangement(kind[:, swap], pose[:, swap], camera)
    image = torch.rand(len(kind), 3, 24, 24)
    one = reader.score(image, Arrangement(kind, pose, camera))
    off = (one - reader.score(image, other)).abs()
    same = kind[:, 0] == kind[:, 1]
    assert off[~same].max() < 1e-3 and off[same].min() > 1e-3


def test_narrow_attention_stays_with_the_cell_that_has_most_of_it():
    """Of 36 cells, two neighbours have 0.6 of the attention, and one far off has the rest."""
    reading = Reading(OrderedReader(SMALL), torch.rand(1, 3, 24, 24))
    share = torch.zeros(1, 36)
    share[0, [7, 8, 28]] = torch.tensor([0.45, 0.15, 0.4])
    narrowed = reading._narrowed(share)
    assert narrowed[0, [7, 8]].tolist() == pytest.approx([0.75, 0.25])
    assert narrowed.count_nonzero() == 2


def test_it_learns_from_labels_where_no_kind_repeats(tmp_path):
    """Chance is a third of the counts and of the kinds, and 12 degrees for the camera.

    Seen for seed 0: 73 %, 93 %, a distance of 0.278 and 1.8 degrees.
    """
    preset = PRESETS["table3d"]
    model = replace(SMALL, steps=2, repeats=False)
    rates = ((0.0, 1e-4), (0.05, 2e-3), (0.5, 2e-3), (1.0, 1e-4))
    config = replace(
        preset,
        scenes=replace(preset.scenes, canvas=(24, 24), train_size=1000, test_size=100),
        model=model,
        training=replace(preset.training, iterations=120, batch=32, learning_rate=rates),
    )
    task = SupervisedTask(config, tmp_path, "ordered")
    supervise(task)
    table = json.loads(task.path.read_text())
    assert table["count_accuracy"] > 0.55 and table["identity_accuracy"] > 0.6
    assert table["position_error"] < 0.4 and table["camera_error_degrees"] < 8
