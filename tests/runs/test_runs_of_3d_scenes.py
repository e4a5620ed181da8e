"""Runs of the presets object3d and table3d, from training to the files of every command."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from airscene.apps.cli import main
from airscene.errors import UserError
from airscene.runs import load_run

BOTH = """
    --model.painter raycast --model.hidden 16 --scenes.canvas 12 14
    --training.iterations 4 --training.batch 4 --training.snapshots 2
    --training.validate-every 2 --training.validation-scenes 8
"""
OBJECT = f"""
    --preset object3d --model.dream 0.4 --model.wake 0.3
    --scenes.train-size 32 --scenes.test-size 16 {BOTH}
"""
TABLE = f"""
    --preset table3d --model.objects blocks --model.no-settled
    --scenes.train-size 16 --scenes.test-size 16 {BOTH}
"""


class Trained(NamedTuple):
    """A run, the flags that it was trained with, and the most objects that it finds."""

    folder: Path
    flags: str
    most: int


@pytest.fixture(scope="module")
def object_run(tmp_path_factory) -> Trained:
    return _trained(tmp_path_factory, OBJECT, 1)


@pytest.fixture(scope="module")
def table_run(tmp_path_factory) -> Trained:
    return _trained(tmp_path_factory, TABLE, 3)


def _trained(tmp_path_factory, flags: str, most: int) -> Trained:
    out = tmp_path_factory.mktemp("runs") / "run"
    assert main(["train", *flags.split(), "--out", str(out)]) == 0
    return Trained(out, flags, most)


@pytest.fixture(params=["object_run", "table_run"])
def trained(request) -> Trained:
    """Of either preset."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def pictures(tmp_path) -> Path:
    """Three of the right size."""
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).random((3, 12, 14, 3), np.float32))
    return path


def test_a_training_leaves_an_evaluation_and_a_report(trained):
    table = json.loads((trained.folder / "evaluation.json").read_text())
    assert 0 <= table["count_accuracy"] <= 1
    assert np.isfinite([table["elbo"], table["bound"]]).all()
    for name in ("report.html", "figures/reconstructions.png", "figures/tables.png"):
        assert (trained.folder / name).exists()


def test_the_evaluation_of_one_object_tells_kinds_and_poses(object_run):
    table = json.loads((object_run.folder / "evaluation.json").read_text())
    assert 0 <= table["identity_accuracy"] <= 1 and 0 <= table["position_error"] < 3
    assert {"yaw_error_degrees_cube", "yaw_error_degrees_cylinder"} <= table.keys()
    assert main(["report", str(object_run.folder)]) == 0


def test_the_evaluation_of_a_table_tells_the_camera(table_run):
    table = json.loads((table_run.folder / "evaluation.json").read_text())
    assert 0 < table["camera_error_degrees"] < 90


def test_a_resumed_training_ends_where_one_sitting_does(trained, tmp_path, ctrl_c_after):
    with ctrl_c_after(1):
        assert main(["train", *trained.flags.split(), "--out", str(tmp_path)]) == 130
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 0
    assert load_run(tmp_path).weights == load_run(trained.folder).weights


def test_infer_writes_a_line_for_each_picture(trained, pictures, tmp_path):
    out = tmp_path / "found.jsonl"
    assert main(["infer", str(trained.folder), str(pictures), "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["index"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert row["count"] == len(row["objects"]) <= trained.most
        assert row["camera"].keys() == {"azimuth", "elevation", "distance"}
        for found in row["objects"]:
            assert found.keys() == {"kind", "probability", "position", "yaw"}


def test_there_is_always_one_object_before_the_usual_camera(object_run, pictures, tmp_path):
    out = tmp_path / "found.jsonl"
    assert main(["infer", str(object_run.folder), str(pictures), "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert all(row["count"] == 1 and row["camera"]["distance"] == 3.6 for row in rows)


@pytest.mark.parametrize("flags", ["--format csv", "--labels m", "--overlay o", "--max-objects 2"])
def test_flags_of_counted_objects_are_refused(object_run, pictures, tmp_path, capsys, flags):
    command = ["infer", str(object_run.folder), str(pictures), "--out", str(tmp_path / "found")]
    assert main([*command, *flags.split()]) == 2
    assert f"{flags.split()[0]} has no effect" in capsys.readouterr().err


def test_scenes_are_drawn_by_the_model_and_from_a_seed(trained, tmp_path):
    assert main(["generate", str(trained.folder), "--n", "4", "--out", str(tmp_path)]) == 0
    with np.load(tmp_path / "scenes.npz") as scenes:
        assert scenes["x"].shape == (4, 12, 14, 3)
        assert ("count" in scenes) == (trained.most > 1)


def test_the_model_is_asked_for_places_and_not_for_counts(object_run):
    loaded = load_run(object_run.folder)
    assert loaded.place(torch.zeros(2, 3, 12, 14)).kind.shape == (2, 1)
    with pytest.raises(UserError, match="has no objects"):
        loaded.infer(torch.zeros(2, 3, 12, 14))


def test_a_training_on_grey_pictures_is_refused(tmp_path, capsys):
    grey = tmp_path / "x.npy"
    np.save(grey, np.random.default_rng(0).random((40, 12, 14), np.float32))
    flags = ["--preset", "object3d", "--data", str(grey), "--out", str(tmp_path / "run")]
    assert main(["train", *flags]) == 2
    assert "3D scenes are in colour" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (f"{TABLE} --scenes.counts 0 1", "--scenes.counts has no effect"),
        ("--preset table3d --model.painter raycast", "give --model.painter mujoco"),
    ],
)
def test_settings_that_a_table_does_not_take_are_refused(tmp_path, capsys, flags, message):
    assert main(["train", *flags.split(), "--out", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
