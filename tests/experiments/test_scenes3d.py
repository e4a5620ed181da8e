"""The experiment on 3D scenes: its folder, its parts, and what direct optimisation can find."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from airscene.data import Scenes
from airscene.errors import UserError
from airscene.experiments import learning, reproduce, scenes3d
from airscene.experiments.direct_pose import climb
from airscene.experiments.machine import commit
from airscene.experiments.scenes3d import WAYS, Work, full_experiment
from airscene.experiments.supervised import SupervisedTask, supervise
from airscene.models.rendered import Rendered, RenderedConfig
from airscene.painters.by_name import PAINTERS
from airscene.painters.world import BLOCKS
from airscene.presets import PRESETS
from airscene.results.placements import Placements, by_repeats


def test_it_fills_its_folder_and_goes_on_without_computing_again(out, monkeypatch):
    printed = reproduce("scenes3d", out, None, None, quick=True)
    results = json.loads((out / "results.json").read_text(), parse_constant=pytest.fail)
    assert results["one_object"].keys() == {*WAYS, "labels"}
    assert {run["commit"] for run in results["table_top"]} == {commit()}
    assert len(results["table_top"]) == 1 and 0 <= results["direct"]["success_of_a_start"] <= 1
    text = (out / "tables.md").read_text()
    assert "Smoke test" in text and all(way in text for way in WAYS)
    for name in ("one-object.png", "table-top.png", "heatmaps.png"):
        assert (out / name).stat().st_size > 0
    with Image.open(out / "turning.gif") as film:
        assert film.n_frames == 36
    monkeypatch.setattr(learning, "train_run", pytest.fail)
    monkeypatch.setattr(scenes3d, "supervise", pytest.fail)
    monkeypatch.setattr(scenes3d, "optimise", pytest.fail)
    assert reproduce("scenes3d", out, None, None, quick=True) == printed


def test_the_recipe_is_the_preset_and_every_piece_has_a_place_of_its_own(out):
    experiment = full_experiment()
    work = Work(experiment, out)
    model = work.learned(scenes3d.RECIPE, 0).config.model
    assert model == PRESETS["object3d"].model
    paths = [job.path for job in work.jobs]
    assert len({*paths}) == len(paths) == 5 + 3 + 3 * (2 + 3) + 1


def test_a_painter_that_cannot_draw_is_found_before_anything_is_written(out, monkeypatch):
    def broken(world):
        raise UserError("MuJoCo is missing")

    monkeypatch.setitem(PAINTERS, "raycast", broken)
    with pytest.raises(UserError, match="MuJoCo is missing"):
        reproduce("scenes3d", out, None, None, quick=True)
    assert not out.exists()


def test_direct_optimisation_climbs_to_a_pose_that_is_near():
    """With every start at the right kind, some of them reach the place."""
    model = Rendered(RenderedConfig(sigma=0.1))
    kind, pose = torch.tensor([[1]]), torch.tensor([[[0.3, -0.2, 0.0]]])
    image = model.painter(kind, pose)
    torch.manual_seed(0)
    kinds, poses, values = climb(model, image, 24, 40)
    best = values.argmax()
    assert kinds[best] == 1 and (poses[best, 0, :2] - pose[0, 0, :2]).norm() < 0.03
    assert values.max() - values.median() > 100


def test_labels_teach_kind_and_position(tmp_path):
    """Chance is a third of the kinds, and a mean distance of 0.76 for the table's middle."""
    config = PRESETS["object3d"]
    config = replace(
        config,
        scenes=replace(config.scenes, canvas=(24, 24), train_size=2000, test_size=200),
        model=replace(config.model, painter="raycast", height=24, width=24, dreams=1),
        training=replace(config.training, iterations=200, batch=32),
    )
    task = SupervisedTask(config, tmp_path)
    supervise(task)
    table = json.loads(task.path.read_text())
    assert table["identity_accuracy"] > 0.9 and table["position_error"] < 0.25


def test_counts_are_told_apart_by_whether_a_kind_is_there_twice():
    kind = torch.tensor([[0, 0, -1], [0, 1, -1], [-1, -1, -1]])
    scenes = Scenes(torch.zeros(3, 3, 8, 8), torch.tensor([2, 2, 0]), labels=kind)
    inferred = torch.tensor([[0, -1, -1], [2, 2, -1], [-1, -1, -1]])
    poses = torch.zeros(3, 3, 3)
    found = Placements(BLOCKS, inferred, torch.ones(3, 3, 3) / 3, poses, torch.zeros(3, 3))
    assert by_repeats(scenes, found) == {
        "count_accuracy_with_repeats": 0.0,
        "count_accuracy_without_repeats": 1.0,
    }
