"""A run of the preset object3d, from training to the files of every command."""

import json

import numpy as np
import pytest
import torch

from airscene.apps.cli import main
from airscene.errors import UserError
from airscene.runs import load_run

FLAGS = """
    --preset object3d --model.painter raycast --model.hidden 16 --model.dream 0.4 --model.wake 0.3
    --scenes.canvas 12 14 --scenes.train-size 32 --scenes.test-size 16
    --training.iterations 4 --training.batch 4 --training.snapshots 2
    --training.validate-every 2 --training.validation-scenes 8
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "object"
    assert main(["train", *FLAGS.split(), "--out", str(out)]) == 0
    return out


def test_a_training_leaves_an_evaluation_of_kinds_and_poses_and_a_report(run):
    table = json.loads((run / "evaluation.json").read_text())
    assert 0 <= table["identity_accuracy"] <= 1 and 0 <= table["position_error"] < 3
    assert {"yaw_error_degrees_cube", "yaw_error_degrees_cylinder", "elbo", "bound"} <= table.keys()
    assert (run / "report.html").exists() and (run / "figures" / "reconstructions.png").exists()
    assert (run / "figures" / "tables.png").exists()
    assert main(["report", str(run)]) == 0


def test_a_resumed_training_ends_where_one_sitting_does(run, tmp_path, ctrl_c_after):
    with ctrl_c_after(1):
        assert main(["train", *FLAGS.split(), "--out", str(tmp_path)]) == 130
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 0
    assert load_run(tmp_path).weights == load_run(run).weights


def test_infer_writes_a_line_for_each_picture(run, tmp_path):
    images, out = tmp_path / "x.npy", tmp_path / "found.jsonl"
    np.save(images, np.random.default_rng(0).random((3, 12, 14, 3), np.float32))
    assert main(["infer", str(run), str(images), "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["index"] for row in rows] == [0, 1, 2]
    assert all(row["count"] == 1 and row["camera"]["distance"] == 3.6 for row in rows)
    found = [row["objects"][0] for row in rows]
    assert all({"kind", "probability", "position", "yaw"} == some.keys() for some in found)


@pytest.mark.parametrize("flags", ["--format csv", "--labels m", "--overlay o", "--max-objects 2"])
def test_flags_of_counted_objects_are_refused(run, tmp_path, capsys, flags):
    images = tmp_path / "x.npy"
    np.save(images, np.zeros((1, 12, 14, 3), np.float32))
    out = str(tmp_path / "found")
    assert main(["infer", str(run), str(images), "--out", out, *flags.split()]) == 2
    assert f"{flags.split()[0]} has no effect" in capsys.readouterr().err


def test_scenes_with_their_poses_are_drawn_by_the_model_and_from_a_seed(run, tmp_path):
    assert main(["generate", str(run), "--n", "4", "--out", str(tmp_path)]) == 0
    with np.load(tmp_path / "scenes.npz") as scenes:
        assert scenes["x"].shape == (4, 12, 14, 3)


def test_the_model_is_asked_for_places_and_not_for_counts(run):
    loaded = load_run(run)
    assert loaded.place(torch.zeros(2, 3, 12, 14)).kind.shape == (2, 1)
    with pytest.raises(UserError, match="has no objects"):
        loaded.infer(torch.zeros(2, 3, 12, 14))


def test_a_training_on_grey_pictures_is_refused(tmp_path, capsys):
    pictures = tmp_path / "x.npy"
    np.save(pictures, np.random.default_rng(0).random((40, 12, 14), np.float32))
    flags = ["--preset", "object3d", "--data", str(pictures), "--out", str(tmp_path / "run")]
    assert main(["train", *flags]) == 2
    assert "3D scenes are in colour" in capsys.readouterr().err
