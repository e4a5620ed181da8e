"""A run of the preset table3d, from training to the files of every command."""

import json

import numpy as np
import pytest

from airscene.apps.cli import main
from airscene.runs import load_run

FLAGS = """
    --preset table3d --model.objects blocks --model.painter raycast --model.no-settled
    --model.hidden 16 --scenes.canvas 16 20 --scenes.train-size 16 --scenes.test-size 16
    --training.iterations 4 --training.batch 4 --training.snapshots 2
    --training.validate-every 2 --training.validation-scenes 8
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "table"
    assert main(["train", *FLAGS.split(), "--out", str(out)]) == 0
    return out


def test_a_training_leaves_an_evaluation_of_arrangements_and_a_report(run):
    table = json.loads((run / "evaluation.json").read_text())
    assert 0 <= table["count_accuracy"] <= 1 and 0 < table["camera_error_degrees"] < 90
    assert np.isfinite([table["elbo"], table["bound"]]).all()
    assert (run / "report.html").exists() and (run / "figures" / "tables.png").exists()


def test_a_resumed_training_ends_where_one_sitting_does(run, tmp_path, ctrl_c_after):
    with ctrl_c_after(1):
        assert main(["train", *FLAGS.split(), "--out", str(tmp_path)]) == 130
    assert main(["train", "--resume", "--out", str(tmp_path)]) == 0
    assert load_run(tmp_path).weights == load_run(run).weights


def test_infer_writes_a_line_for_each_picture(run, tmp_path):
    images, out = tmp_path / "x.npy", tmp_path / "found.jsonl"
    np.save(images, np.random.default_rng(0).random((3, 16, 20, 3), np.float32))
    assert main(["infer", str(run), str(images), "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["index"] for row in rows] == [0, 1, 2]
    for row in rows:
        assert row["count"] == len(row["objects"]) <= 3
        assert row["camera"].keys() == {"azimuth", "elevation", "distance"}


def test_scenes_are_drawn_with_their_counts(run, tmp_path):
    assert main(["generate", str(run), "--n", "4", "--out", str(tmp_path)]) == 0
    with np.load(tmp_path / "scenes.npz") as scenes:
        assert scenes["x"].shape == (4, 16, 20, 3) and scenes["count"].shape == (4,)


def test_flags_of_sprites_are_refused(tmp_path, capsys):
    flags = f"{FLAGS} --scenes.counts 0 1 --out {tmp_path / 'run'}"
    assert main(["train", *flags.split()]) == 2
    assert "--scenes.counts has no effect" in capsys.readouterr().err


def test_crockery_without_mujoco_is_refused(tmp_path, capsys):
    flags = "--preset table3d --model.painter raycast"
    assert main(["train", *flags.split(), "--out", str(tmp_path / "run")]) == 2
    assert "give --model.painter mujoco" in capsys.readouterr().err
