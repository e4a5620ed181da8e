import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from airscene.data import Scenes
from airscene.experiments import learning, subitizing
from airscene.experiments.labelled_scenes import Numbers, load_scenes
from airscene.experiments.subitizing import (
    CNN,
    SubitizingExperiment,
    carry_out,
    classes_of,
    clutter_of,
    full_experiment,
    groups_of,
    overlap_of,
    quick_experiment,
)
from airscene.experiments.subitizing_tables import mean_of_classes


@pytest.fixture
def small() -> SubitizingExperiment:
    """One model that is probed and one that counts."""
    quick = quick_experiment()
    models = {name: quick.models[name] for name in ("VAE, perceptual", "DAIR")}
    return replace(quick, models=models, numbers=Numbers(60, 20, 20))


def test_it_fills_its_folder_and_goes_on_without_computing_again(small, out, serial, monkeypatch):
    printed = carry_out(small, out, None, serial)
    results = json.loads((out / "results.json").read_text(), parse_constant=pytest.fail)
    assert [*results["answers"]] == ["VAE, perceptual", "DAIR", CNN]
    for (run,) in results["answers"].values():
        assert 0 <= run["mean"] <= 1 and len(run["by_class"]) == 5
    assert sum(results["scenes"]["clutter of the photograph"].values()) == 20
    for figure in ("figure.png", "scenes.png"):
        assert (out / figure).stat().st_size > 0
    monkeypatch.setattr(learning, "train_run", pytest.fail)
    monkeypatch.setattr(subitizing, "count_scenes", pytest.fail)
    assert carry_out(small, out, None, serial) == printed
    test, train = (load_scenes(out / "scenes", part) for part in ("test", "train"))
    assert len(test) == 20 and test.image.shape[1] == 3
    assert not torch.equal(test.image[0], train.image[0])


def test_four_and_more_are_one_class():
    assert classes_of(torch.tensor([0, 3, 4, 5, 9])).tolist() == [0, 3, 4, 4, 4]


def test_classes_count_alike_however_many_scenes_they_have():
    true = np.array([0] * 90 + [1] * 10)
    assert mean_of_classes(true, np.zeros(100, int)) == pytest.approx(0.5)
    assert np.isnan(mean_of_classes(true[:0], true[:0]))


def test_overlap_is_that_of_the_smaller_box():
    boxes = torch.tensor(
        [
            [[0.0, 0, 4, 4], [4, 0, 8, 4], [0, 0, 0, 0]],
            [[0, 0, 8, 8], [6, 6, 10, 10], [20, 20, 24, 24]],
        ]
    )
    assert overlap_of(boxes).tolist() == [0, 0.25]


def test_clutter_is_told_outside_the_boxes():
    image = torch.full((2, 3, 8, 8), 0.5)
    image[:, :, 2:4, 2:4] = 1.0
    image[1, :, :, 6:] = 0.0
    boxes = torch.tensor([[[2.0, 2, 4, 4]]]).expand(2, -1, -1)
    scenes = Scenes(image, torch.tensor([1, 1]), boxes)
    outside = torch.tensor([0.5] * 44 + [0.0] * 16)
    torch.testing.assert_close(
        clutter_of(scenes), torch.stack([torch.zeros(()), outside.std(correction=0)])
    )


def test_groups_share_out_the_scenes():
    image = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    boxes = torch.zeros(30, 2, 4)
    boxes[:10, 0] = boxes[:10, 1] = torch.tensor([1.0, 1, 4, 4])
    boxes[10:15, 0, :] = torch.tensor([1.0, 1, 4, 4])
    boxes[10:15, 1, :] = torch.tensor([5.0, 5, 8, 8])
    count = (boxes[..., 2] > 0).sum(1)
    groups = groups_of(Scenes(image, count, boxes))
    sizes = {name: [int(v.sum()) for v in some.values()] for name, some in groups.items()}
    assert sizes == {"overlap of boxes": [5, 0, 10], "clutter of the photograph": [10, 10, 10]}


def test_all_models_of_the_experiment_see_the_same_scenes():
    assert len({config.scenes for config in full_experiment().models.values()}) == 1
