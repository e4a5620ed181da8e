import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import load_file

from airscene import __main__ as program
from airscene.apps import cli
from airscene.apps.cli import main
from airscene.presets import PRESETS
from airscene.results.detections import Detections
from airscene.runs import EARLY, Run, load_run
from airscene.training.checkpoints import read_checkpoint

SCENES = "--scenes.canvas 16 16 --scenes.size 9 --scenes.train-size 64 --scenes.test-size 32"
MODEL = "--model.steps 2 --model.glimpse 6 --model.what 4 --model.lstm 16 --model.hidden 16"
TRAINING = (
    "--training.iterations 6 --training.batch 8 --training.log-every 2 --training.validate-every 3 "
    "--training.validation-scenes 16 --training.snapshots 2 --training.compile off"
)
TINY = f"{SCENES} {MODEL} {TRAINING}".split()
OWN = f"{MODEL} {TRAINING}".split()  # for the user's own images
RNG = np.random.default_rng(0)


@dataclass(frozen=True)
class Answer:
    """What a command returned and printed."""

    code: int
    out: str
    err: str


def call(*arguments) -> Answer:
    """Runs the command line; a warning that is no note for the user remains an error."""
    out, err = io.StringIO(), io.StringIO()
    redirected = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with redirected[0], redirected[1], warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        code = main([str(argument) for argument in arguments])
    return Answer(code, out.getvalue(), err.getvalue())


def tree(folder: Path) -> dict[str, bytes]:
    """All files under a folder, with their content."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def weights(run: Path) -> dict[str, torch.Tensor]:
    tensors = load_file(run / "checkpoint.safetensors")
    return {name: value for name, value in tensors.items() if name.startswith("weights.")}


def assert_same_weights(first: Path, second: Path) -> None:
    one, other = weights(first), weights(second)
    assert one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, Answer]:
    """A trained run that no test may touch, and what training it printed."""
    out = tmp_path_factory.mktemp("cli") / "run"
    return out, call("train", "--out", out, *TINY)


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of the trained run."""
    return Path(shutil.copytree(trained[0], tmp_path / "run"))


@pytest.fixture
def picture(tmp_path) -> Path:
    """A grey image of the canvas size."""
    return save(tmp_path / "picture.png", (16, 16))


def save(path: Path, shape: tuple[int, ...]) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return path


def find(monkeypatch, boxes, spare: int = 1) -> None:
    """Makes every image hold objects in these boxes of the canvas; `spare` steps found none."""

    def detect(images, steps):
        m, n = len(images), len(boxes)
        probs = torch.nn.functional.one_hot(torch.full((m,), n), n + 1 + spare).float()
        each = torch.tensor([*boxes, *[[0.0, 0, 16, 16]] * spare]).expand(m, -1, -1)
        scores = torch.full((m, n + spare), 0.75)
        masks = torch.zeros(m, *images.shape[2:], dtype=torch.int16)
        for k, (x0, y0, x1, y1) in enumerate(boxes, start=1):
            masks[:, int(y0) : int(y1), int(x0) : int(x1)] = k
        return Detections(torch.full((m,), n), probs, each, scores, each, images, images, masks)

    monkeypatch.setattr(Run, "detector", lambda run: detect)


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# train


def test_train_fills_the_folder(trained):
    out, answer = trained
    assert answer.code == 0
    names = {path.name for path in out.iterdir()}
    files = {"config.json", "checkpoint.safetensors", "metrics.jsonl", "evaluation.json"}
    assert names == files | {"report.html", "figures", "snapshots", "tensorboard"}


def test_train_tells_why_it_ended_how_well_it_did_and_where_the_report_is(trained):
    out, answer = trained
    lines = answer.out.splitlines()
    assert lines[0] == "done: 6 iterations"
    assert any(line.startswith("count_accuracy ") for line in lines)
    assert lines[-1] == f"report: {out / 'report.html'}"


def test_progress_goes_to_stderr_a_line_a_validation(trained):
    lines = trained[1].err.strip().splitlines()
    assert [line.split(":")[0] for line in lines] == ["step 3", "step 6"]
    assert all("count accuracy" in line and "images/s" in line for line in lines)


def test_the_evaluation_has_its_keys_in_order(trained):
    table = json.loads((trained[0] / "evaluation.json").read_text(), parse_constant=pytest.fail)
    assert table.get("box_mean_iou", 0) is None or 0 <= table["box_mean_iou"] <= 1
    assert [*table] == [
        "data",
        "step",
        "weights",
        "scenes",
        "count_accuracy",
        "count_confusion",
        "count_mean_absolute_error",
        "box_mean_iou",
        "box_f1",
        "box_ap50",
        "mask_ari",
        "mask_iou",
        "count_histogram",
        "elbo",
        "bound",
        "bound_samples",
        "bound_scenes",
        "images_per_second",
    ]
    assert table["scenes"] == 32 and sum(table["count_histogram"]) == 32


def test_the_report_needs_nothing_but_itself(trained):
    page = (trained[0] / "report.html").read_text()
    assert "<html" in page and 'src="data:image/png;base64,' in page
    assert re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page) == []
    assert "<script src" not in page and "@import" not in page and "url(http" not in page


def test_a_run_is_repeated_from_its_configuration(trained, tmp_path):
    again = tmp_path / "again"
    answer = call("train", "--out", again, "--preset", trained[0] / "config.json")
    assert answer.code == 0
    assert_same_weights(again, trained[0])
    assert (again / "config.json").read_text() == (trained[0] / "config.json").read_text()


def test_a_run_of_the_last_release_is_resumed_and_its_configuration_repeated(run):
    path = run / "config.json"
    values = json.loads(path.read_text())
    del values["model"]["kind"]  # which that release did not write
    path.write_text(json.dumps(values))
    repeated = cli.parse(["train", "--out", str(run), "--preset", str(path)])
    assert isinstance(repeated, cli.Train) and repeated.config == load_run(run).config
    assert call("train", "--out", run, "--resume").code == 0
    assert json.loads(path.read_text())["model"]["kind"] == "air"


def test_a_flag_changes_what_the_configuration_says(trained, tmp_path):
    preset = trained[0] / "config.json"
    call("train", "--out", tmp_path / "a", "--preset", preset, "--seed", 5)
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config == json.loads(preset.read_text()) | {"seed": 5}


def test_schedules_are_given_as_pairs(tmp_path):
    rates = ["--training.learning-rate", "0", "1e-3", "1", "1e-4"]
    assert call("train", "--out", tmp_path / "a", *TINY, *rates).code == 0
    config = json.loads((tmp_path / "a" / "config.json").read_text())
    assert config["training"]["learning_rate"] == [[0.0, 1e-3], [1.0, 1e-4]]


def test_a_folder_with_a_run_is_refused_and_left_untouched(run):
    before = tree(run)
    answer = call("train", "--out", run, *TINY)
    assert answer.code == 2
    told = f"airscene: --out {run} holds a run; add --resume or --overwrite, or name another folder"
    assert answer.err == told + "\n"
    assert tree(run) == before


def test_overwrite_replaces_the_run_and_nothing_else(run, trained):
    (run / "notes.txt").write_text("mine")
    (run / "figures" / "old.png").write_text("old")
    answer = call("train", "--out", run, *TINY, "--overwrite", "--seed", 1)
    assert answer.code == 0
    assert (run / "notes.txt").read_text() == "mine"
    assert (run / "figures" / "old.png").read_text() == "old"  # no picture of a report
    assert json.loads((run / "config.json").read_text())["seed"] == 1
    name = "weights.model.decoder.0.weight"
    assert not torch.equal(weights(run)[name], weights(trained[0])[name])


def test_overwrite_with_a_mistake_loses_nothing(run, tmp_path):
    before = tree(run)
    mistake = ["--data", tmp_path / "nothing"]
    assert call("train", "--out", run, *OWN, "--overwrite", *mistake).code == 2
    assert tree(run) == before


def test_resume_with_another_configuration_is_refused(run):
    before = tree(run)
    answer = call("train", "--out", run, "--resume", "--training.batch", 4)
    assert answer.code == 2
    assert "--training.batch is 8 there and 4 here" in answer.err
    assert tree(run) == before


def test_resume_and_overwrite_exclude_each_other(run):
    before = tree(run)
    answer = call("train", "--out", run, "--resume", "--overwrite")
    assert answer.code == 2 and "give one of them" in answer.err
    assert tree(run) == before


def test_a_run_stopped_early_says_so_and_is_resumed_without_naming_its_settings(
    trained, picture, tmp_path, ctrl_c_after
):
    out = tmp_path / "run"
    with ctrl_c_after(2):
        answer = call("train", "--out", out, *TINY)
    assert answer.code == 130 and answer.out.startswith("interrupted\nsaved; counts are not to be")
    assert read_checkpoint(out / "checkpoint.safetensors")[1].step == 2
    answer = call("infer", out, picture, "--out", tmp_path / "found.jsonl")
    assert answer.code == 0 and "stopped at 33% of its schedule; counts are not" in answer.err
    assert f"airscene train --resume --out {out}" in answer.err
    assert call("train", "--out", out, "--resume").out.startswith("done: 6 iterations\n")
    assert_same_weights(out, trained[0])


def test_a_run_killed_in_its_first_seconds_is_resumed_with_its_own_settings(trained, tmp_path):
    """All that it has written by then is its configuration."""
    (tmp_path / "run").mkdir()
    shutil.copy(trained[0] / "config.json", tmp_path / "run")
    assert call("train", "--out", tmp_path / "run", "--resume").code == 0
    assert_same_weights(tmp_path / "run", trained[0])


def test_fewer_steps_than_objects_are_noted(tmp_path):
    answer = call("train", "--out", tmp_path / "a", *TINY, "--model.steps", 1)
    assert answer.code == 0
    note = answer.err.splitlines()[0]
    assert note.startswith("airscene: note: --model.steps 1 is below the 2 objects")
    assert note.endswith("larger scenes will be counted as 1")


def test_other_estimators_train_and_infer(tmp_path):
    answer = call("train", "--out", tmp_path / "a", *TINY, "--estimator", "reinforce")
    assert answer.code == 0
    assert (
        call(
            "infer", tmp_path / "a", save(tmp_path / "x.png", (16, 16)), "--out", tmp_path / "y"
        ).code
        == 0
    )


def test_divergence_ends_in_advice_and_without_a_bad_checkpoint(tmp_path):
    steep = "--training.learning-rate", 0, 1, "--model.sigma", 1e-3
    answer = call("train", "--out", tmp_path / "a", *TINY, *steep)
    assert answer.code == 2
    assert "lower --training.learning-rate" in answer.err.splitlines()[-1]
    saved = (tmp_path / "a" / "checkpoint.safetensors").exists()
    assert ("nothing was saved yet" in answer.err) == (not saved)
    assert not saved or all(value.isfinite().all() for value in weights(tmp_path / "a").values())


# train on the user's own images


def test_a_folder_of_colour_images_is_trained_on(tmp_path):
    for k in range(6):
        save(tmp_path / "mine" / f"{k}.png", (12, 20, 3))
    (tmp_path / "mine" / "broken.png").write_text("no picture")
    out = tmp_path / "run"
    answer = call("train", "--out", out, *OWN, "--data", tmp_path / "mine")
    assert answer.code == 0
    assert "note: left out:" in answer.err and "broken.png" in answer.err
    model = json.loads((out / "config.json").read_text())["model"]
    assert (model["channels"], model["height"], model["width"]) == (3, 12, 20)
    table = json.loads((out / "evaluation.json").read_text())
    assert "count_accuracy" not in table and table["scenes"] == 1
    grey = save(tmp_path / "grey.png", (12, 20))
    assert call("infer", out, grey, "--out", tmp_path / "y.jsonl").code == 0
    assert call("generate", out, "--out", tmp_path / "g", "--n", 2).code == 0
    assert np.load(tmp_path / "g" / "scenes.npz")["x"].shape == (2, 12, 20, 3)


def test_scenes_from_a_file_bring_their_truth(tmp_path, monkeypatch):
    config = PRESETS["digits"]
    small = replace(config.scenes, canvas=(16, 16), size=9.0, train_size=20)
    monkeypatch.setitem(PRESETS, "digits", replace(config, scenes=small))
    file = tmp_path / "scenes.npz"
    answer = call("data", "digits", "--out", file, "--seed", 3)
    assert answer.code == 0 and answer.out == f"20 scenes: {file}\n"
    arrays = np.load(file)
    assert {name: arrays[name].shape for name in arrays} == {
        "x": (20, 16, 16),
        "count": (20,),
        "boxes": (20, 2, 4),
        "labels": (20, 2),
        "masks": (20, 16, 16),
    }
    assert call("train", "--out", tmp_path / "run", *OWN, "--data", file).code == 0
    assert "count_accuracy" in json.loads((tmp_path / "run" / "evaluation.json").read_text())


def test_the_same_seed_writes_the_same_scenes(tmp_path, monkeypatch):
    config = PRESETS["digits"]
    monkeypatch.setitem(
        PRESETS, "digits", replace(config, scenes=replace(config.scenes, test_size=20))
    )
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        call("data", "digits", "--out", tmp_path / f"{name}.npz", "--split", "test", "--seed", seed)
    a, b, c = (np.load(tmp_path / f"{name}.npz")["x"] for name in "abc")
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_own_images_are_found_from_another_folder(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", RNG.integers(0, 256, (4, 16, 16), np.uint8))
    monkeypatch.chdir(tmp_path)
    assert call("train", "--out", "run", *OWN, "--data", "x.npy").code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert call("evaluate", tmp_path / "run").code == 0


# evaluate, report, generate


def test_evaluating_again_gives_the_same_figures(run):
    before = json.loads((run / "evaluation.json").read_text())
    answer = call("evaluate", run)
    after = json.loads((run / "evaluation.json").read_text())
    before.pop("images_per_second"), after.pop("images_per_second")
    assert answer.code == 0 and after == before


def test_evaluating_on_other_scenes(run, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((3, 16, 16), np.uint8), count=np.array([0, 0, 0]))
    before = tree(run)
    flags = ["--data", tmp_path / "x.npz", "--out", tmp_path / "table.json"]
    answer = call("evaluate", run, *flags)
    assert answer.code == 0 and f"data                        {tmp_path / 'x.npz'}\n" in answer.out
    table = json.loads((tmp_path / "table.json").read_text())
    assert table["scenes"] == 3 and "count_accuracy" in table and "box_ap50" not in table
    assert tree(run) == before  # whose evaluation is of its own held-out scenes


def test_evaluating_resizes_with_a_note(run, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((3, 20, 30), np.uint8))
    answer = call("evaluate", run, "--data", tmp_path / "x.npy")
    assert answer.code == 0
    assert answer.err == "airscene: note: 3 of 3 images resized to 16x16 pixels\n"


@pytest.mark.parametrize("command", ["evaluate", "report"])
@pytest.mark.parametrize("name", ["evaluation.json", "report.html", "figures/bound.png"])
def test_a_pipe_in_the_place_of_what_is_written_is_refused(run, command, name):
    (run / name).unlink()
    os.mkfifo(run / name)
    answer = call(command, run)
    assert answer.code == 2 and f"holds a pipe, socket or device {name}" in answer.err


def test_a_lost_report_is_written_anew(run):
    (run / "report.html").unlink()
    answer = call("report", run)
    assert answer.code == 0 and answer.out == f"report: {run / 'report.html'}\n"
    assert (run / "report.html").stat().st_size > 10_000


def test_a_run_that_was_not_evaluated_is_evaluated_for_its_report(run):
    (run / "evaluation.json").unlink()
    assert call("report", run).code == 0
    assert (run / "evaluation.json").exists()


STALE = {
    "of other scenes": lambda table: table | {"data": "/some/where", "scenes": 3},
    "of an earlier step": lambda table: table | {"step": 3},
    "of other weights": lambda table: table | {"weights": "0" * 16},
    "without the weights' hash": lambda table: {k: table[k] for k in table if k != "weights"},
    "no table": lambda table: [1, 2],
    "damaged": lambda table: table | {"count_confusion": {"a": 1}},
}


@pytest.mark.parametrize("kind", STALE)
def test_a_report_is_always_of_the_weights_and_the_held_out_scenes(run, trained, kind):
    expected = json.loads((trained[0] / "evaluation.json").read_text())
    table = STALE[kind](expected) if kind == "no table" else STALE[kind](expected) | {"elbo": -1e9}
    (run / "evaluation.json").write_text(json.dumps(table))
    assert call("report", run).code == 0
    table = json.loads((run / "evaluation.json").read_text())
    table.pop("images_per_second"), expected.pop("images_per_second")
    assert table == expected
    assert "-1,000,000,000" not in (run / "report.html").read_text()


def test_generating_writes_a_picture_and_arrays(run, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert call("generate", run, "--out", tmp_path / name, "--n", 5, "--seed", seed).code == 0
    a, b, c = (np.load(tmp_path / name / "scenes.npz") for name in "abc")
    assert a["x"].shape == (5, 16, 16) and a["x"].dtype == np.uint8
    assert a["count"].shape == (5,) and a["count"].max() <= 2
    assert np.array_equal(a["x"], b["x"]) and not np.array_equal(a["x"], c["x"])
    with Image.open(tmp_path / "a" / "scenes.png") as image:
        assert image.format == "PNG"


# infer


def test_inferring_writes_one_line_an_image_in_order(run, tmp_path):
    folder = tmp_path / "mine"
    for name in ("b", "a"):
        save(folder / f"{name}.png", (16, 16))
    np.save(tmp_path / "x.npy", RNG.random((3, 16, 16)))
    out = tmp_path / "deep" / "y.jsonl"
    answer = call("infer", run, tmp_path / "x.npy", folder, "--out", out)
    rows = rows_of(out)
    assert answer.code == 0 and answer.err == ""
    keys = ["source", "index", "count", "saturated", "count_probs", "boxes", "scores"]
    assert [*rows[0]] == keys
    sources = [*[str(tmp_path / "x.npy")] * 3, str(folder / "a.png"), str(folder / "b.png")]
    assert [row["source"] for row in rows] == sources
    assert [row["index"] for row in rows] == [0, 1, 2, 0, 0]
    assert answer.out == f"5 images, {sum(row['count'] for row in rows)} objects: {out}\n"


@pytest.mark.parametrize(("flags", "counts"), [([], 3), (["--max-objects", 5], 6)])
def test_the_probabilities_of_all_counts_sum_to_one(run, picture, tmp_path, flags, counts):
    assert call("infer", run, picture, "--out", tmp_path / "y", *flags).code == 0
    (row,) = rows_of(tmp_path / "y")
    assert len(row["count_probs"]) == counts
    assert sum(row["count_probs"]) == pytest.approx(1, abs=1e-5)
    assert row["count"] == int(np.argmax(row["count_probs"]))
    assert len(row["boxes"]) == len(row["scores"]) == row["count"]


def test_a_full_count_is_told_in_the_file_and_in_a_note(run, picture, tmp_path, monkeypatch):
    find(monkeypatch, [[2.0, 4, 8, 12], [0.0, 0, 4, 4]], spare=0)
    answer = call("infer", run, picture, "--out", tmp_path / "y")
    assert answer.code == 0 and rows_of(tmp_path / "y")[0]["saturated"] is True
    assert answer.err.startswith("airscene: note: 1 of 1 images hold as many objects as were")
    assert answer.err.endswith("raise --max-objects\n")


def test_boxes_are_in_pixels_of_larger_and_smaller_images(run, tmp_path, monkeypatch):
    find(monkeypatch, [[2.0, 4, 8, 12]])
    for name, shape in (("large", (32, 64)), ("same", (16, 16)), ("small", (4, 8))):
        save(tmp_path / "mine" / f"{name}.png", shape)
    answer = call("infer", run, tmp_path / "mine", "--out", tmp_path / "y")
    boxes = [row["boxes"] for row in rows_of(tmp_path / "y")]
    assert boxes == [[[8.0, 8.0, 32.0, 24.0]], [[2.0, 4.0, 8.0, 12.0]], [[1.0, 1.0, 4.0, 3.0]]]
    assert answer.err == "airscene: note: 2 of 3 images resized to 16x16 pixels\n"


def test_csv_and_coco_tell_the_same(run, tmp_path, monkeypatch):
    find(monkeypatch, [[2.0, 4, 8, 12], [0.0, 0, 4, 4]])
    path = save(tmp_path / "a.png", (16, 16))
    for form in ("csv", "coco"):
        assert call("infer", run, path, "--out", tmp_path / form, "--format", form).code == 0
    lines = [*csv.DictReader((tmp_path / "csv").read_text().splitlines())]
    assert [float(lines[0][k]) for k in ("x0", "y0", "x1", "y1")] == [2, 4, 8, 12]
    whole = json.loads((tmp_path / "coco").read_text())
    assert [entry["bbox"] for entry in whole["annotations"]] == [[2, 4, 6, 8], [0, 0, 4, 4]]
    assert whole["images"][0]["file_name"] == str(path)


@pytest.mark.parametrize("shape", [(16, 16), (40, 30, 3)])
def test_overlays_draw_the_boxes_on_the_image(run, tmp_path, monkeypatch, shape):
    find(monkeypatch, [[2.0, 4, 8, 12]])
    Image.fromarray(np.zeros(shape, np.uint8)).save(tmp_path / "a.png")
    flags = ["--out", tmp_path / "y", "--overlay", tmp_path / "drawn"]
    assert call("infer", run, tmp_path / "a.png", *flags).code == 0
    (drawn,) = (tmp_path / "drawn").iterdir()
    assert drawn.name == "00000-a-0.png"
    with Image.open(drawn) as image:
        width, height = image.size
        assert width * shape[0] == height * shape[1]
        assert np.asarray(image).max() > 100


def test_label_images_tell_which_object_a_pixel_shows(run, tmp_path, monkeypatch):
    boxes = [[2.0, 4, 8, 12], [9, 0, 16, 16]]
    find(monkeypatch, boxes)
    for name, shape in (("a.png", (16, 16)), ("b.png", (48, 32, 3))):
        save(tmp_path / "mine" / name, shape)
    flags = ["--out", tmp_path / "y", "--labels", tmp_path / "labels", "--overlay", tmp_path / "o"]
    assert call("infer", run, tmp_path / "mine", *flags).code == 0
    names = ["00000-a-0.tif", "00001-b-0.tif"]
    assert sorted(path.name for path in (tmp_path / "labels").iterdir()) == names
    labels = tifffile.imread(tmp_path / "labels" / names[1])
    assert labels.dtype == np.uint16 and labels.shape == (48, 32)
    expected = np.zeros((48, 32), int)
    expected[12:36, 4:16], expected[:, 18:] = 1, 2
    assert np.array_equal(labels, expected)


def test_label_images_of_a_trained_model_fit_its_predictions(run, tmp_path):
    save(tmp_path / "a.png", (20, 30))
    flags = ["--out", tmp_path / "y", "--labels", tmp_path / "labels"]
    assert call("infer", run, tmp_path / "a.png", *flags).code == 0
    labels = tifffile.imread(tmp_path / "labels" / "00000-a-0.tif")
    assert labels.shape == (20, 30) and labels.max() <= rows_of(tmp_path / "y")[0]["count"]


@pytest.mark.parametrize(("flag", "ending"), [("--overlay", "png"), ("--labels", "tif")])
def test_no_picture_is_written_over_one_that_is_read(run, tmp_path, flag, ending):
    """An earlier picture of the same image lies in the folder, and is read as an image too."""
    folder = tmp_path / "mine"
    save(folder / f"00000-a-0.{ending}", (16, 16))
    save(tmp_path / "a.png", (16, 16))
    before = tree(folder)
    paths = [tmp_path / "a.png", folder]
    answer = call("infer", run, *paths, "--out", tmp_path / "y", flag, folder)
    assert answer.code == 2 and not (tmp_path / "y").exists() and tree(folder) == before
    told = f"airscene: {flag} {folder} would write over 00000-a-0.{ending}, which is read"
    assert answer.err.splitlines()[-1].startswith(told)


def test_an_unreadable_file_is_left_out_with_a_note(run, tmp_path):
    save(tmp_path / "mine" / "good.png", (16, 16))
    (tmp_path / "mine" / "bad.png").write_bytes(b"\x89PNG but no more")
    answer = call("infer", run, tmp_path / "mine", "--out", tmp_path / "y")
    assert answer.code == 0 and len(rows_of(tmp_path / "y")) == 1
    (note,) = answer.err.splitlines()
    assert note.startswith("airscene: note: left out: ") and "bad.png" in note


# mistakes: exit code 2, one line that names what to mend, nothing written

NAN, WIDE, RANK = (
    np.full((1, 16, 16), np.nan),
    np.full((1, 16, 16), 2.0),
    np.zeros((2, 2, 2, 2, 2), np.uint8),
)
# --- models beside AIR


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> tuple[Path, Answer]:
    """A trained DRAW and what the command said."""
    out = tmp_path_factory.mktemp("draw") / "run"
    scenes = f"{SCENES} --scenes.source digits".split()
    model = ["--model.steps", "3", "--model.lstm", "8", "--model.latent", "4"]
    return out, call(
        "train", "--preset", "draw", "--out", str(out), *scenes, *model, *TRAINING.split()
    )


def test_draw_is_trained_evaluated_and_reported_like_the_others(drawn):
    out, answer = drawn
    assert answer.code == 0, answer.err
    table = json.loads((out / "evaluation.json").read_text())
    assert table["bound"] >= table["elbo"] and "count_accuracy" not in table
    page = (out / "report.html").read_text()
    assert 'id="drawing"' in page and 'id="heatmaps"' not in page
    again = call("evaluate", str(out))
    assert again.code == 0 and "count" not in again.out


def test_draw_generates_scenes_without_a_count(drawn, tmp_path):
    assert call("generate", str(drawn[0]), "--out", str(tmp_path), "--n", "3").code == 0
    with np.load(tmp_path / "scenes.npz") as arrays:
        assert arrays["x"].shape == (3, 16, 16) and "count" not in arrays.files


def test_draw_is_not_asked_for_objects(drawn, tmp_path):
    picture = save(tmp_path / "picture.png", (16, 16))
    answer = call("infer", str(drawn[0]), str(picture), "--out", str(tmp_path / "new.jsonl"))
    assert answer.code == 2 and "holds DRAW, which has no objects" in answer.err


SHAPES = "--scenes.source shapes --scenes.channels 3 --scenes.colour class"
DSPRITES = (
    "--scenes.source dsprites --scenes.counts 1 2 --scenes.channels 3 --scenes.colour levels "
    "--scenes.backdrop levels --scenes.compose over --scenes.overlap any --scenes.visible 0.5"
)
PHOTOS = "--scenes.backdrop photos --scenes.compose over --scenes.colour contrast"


@pytest.mark.parametrize(
    ("scenes", "channels"),
    [
        ("--scenes.backdrop noisy", 1),
        ("--scenes.backdrop grid", 1),
        (SHAPES, 3),
        (DSPRITES, 3),
        (PHOTOS, 1),
        (f"{PHOTOS} --training.fresh", 1),
    ],
)
def test_every_kind_of_scene_can_be_trained_on(tmp_path, scenes, channels):
    small = f"{SCENES} {MODEL} {TRAINING}".replace(
        "--training.iterations 6", "--training.iterations 1"
    )
    small = small.replace("--scenes.train-size 64 ", "") if "fresh" in scenes else small
    small += " --training.snapshots 0"
    told = call("train", "--out", str(tmp_path / "run"), *small.split(), *scenes.split())
    assert told.code == 0, told.err
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"]["channels"] == config["scenes"]["channels"] == channels


def test_dair_is_a_preset(tmp_path):
    scenes = f"{SCENES} --scenes.source digits".split()
    out = tmp_path / "run"
    model = MODEL.replace("--model.lstm 16 ", "").split()
    flags = [*scenes, *model, *TRAINING.split()]
    assert call("train", "--preset", "dair", "--out", str(out), *flags).code == 0
    assert json.loads((out / "config.json").read_text())["model"]["feedback"] == "residual"


def test_an_object_size_chooses_settings_and_flags_go_before_them(tmp_path):
    images = np.zeros((12, 24, 20), dtype=np.uint8)
    images[::2, 3:11, 4:12] = 200
    np.save(tmp_path / "x.npy", images)
    data = ["--data", str(tmp_path / "x.npy"), "--object-size", "8", "--out", str(tmp_path / "run")]
    small = ["--model.what", "4", "--model.hidden", "16", "--model.sigma", "0.1"]
    answer = call("train", *data, *small, *TRAINING.split())
    assert answer.code == 0, answer.err
    assert "windows around 10 px for objects of 8 px" in answer.out
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["model"]["feedback"] == "residual" and config["model"]["steps"] == 3
    assert config["model"]["sigma"] == 0.1 and config["training"]["batch"] == 8
    window = 20 / (1 + np.exp(-config["model"]["scale_prior"][0]))
    assert window == pytest.approx(10.4, abs=0.1)
    assert "--model.sigma 0.1: as you gave it" in answer.out
    again = call("train", "--resume", *data)
    assert again.code == 2 and "--object-size chooses for a new run" in again.err
    again = call("train", "--resume", "--out", tmp_path / "run")
    assert again.code == 0, again.err  # what was chosen is in the run's configuration


MISTAKES = {
    "bogus": ["command bogus is unknown", "train, evaluate"],
    "train": ["--out"],
    "train --out": ["--out"],
    "train --out NEW --preset": ["--preset"],
    "train --out NEW --preset nope": ["preset nope is unknown", "digits, multi-mnist"],
    "train --out NEW --preset nope.json": ["nope.json does not exist"],
    "train --out NEW --training.nonsense 3": ["--training.nonsense"],
    "train --out NEW --training.batch 0": ["--training.batch is 0", "between 1 and 65,536"],
    "train --out NEW --training.batch many": ["--training.batch", "many"],
    "train --out NEW --training.batch": ["--training.batch"],
    "train --out NEW --training.compile perhaps": ["--training.compile", "'on'"],
    "train --out NEW --training.learning-rate 0 1 1 -1": [
        "--training.learning-rate holds -1.0 in place 4"
    ],
    "train --out NEW --model.steps 0": ["--model.steps is 0"],
    "train --out NEW --scenes.canvas 8 8": ["--scenes.canvas is (8, 8)", "enlarge it"],
    "train --out NEW --seed -1": ["--seed is -1", "between 0 and 4,294,967,295"],
    "train --out NEW --max-minutes -1": ["--max-minutes is -1", "must be above 0"],
    "train --out NEW --estimator magic": ["--estimator magic", "enumerate, reinforce"],
    "train --out NEW --estimator vimco --estimation.samples 1": [
        "--estimation.samples is 1",
        "at least 2",
    ],
    "train --out NEW --estimation.samples 0": ["--estimation.samples is 0", "between 1 and 1,000"],
    "train --out NEW --estimation.temperature 0 1 1 0": [
        "--estimation.temperature holds 0.0 in place 4"
    ],
    "train --out NEW --estimation.baseline-rate 0": [
        "--estimation.baseline-rate is 0",
        "between 1e-06",
    ],
    "train --out NEW --data nothing": ["nothing does not exist"],
    "train --out NEW --data EMPTY": ["empty holds no image"],
    "train --out NEW --data RANK": ["rank.npy has shape (2, 2, 2, 2, 2)", "reshape it"],
    "train --out NEW --data NAN": ["nan.npy holds NaN", "[0, 1]"],
    "train --out NEW --data WIDE": ["wide.npy holds pixels from 2 to 2", "scale"],
    "train --out NEW --data PICTURE": ["--data", "holds one image", "at least two"],
    "train --out NEW --object-size 14": ["--object-size", "name them with --data"],
    "train --out NEW --data PICTURE --object-size 2": ["--object-size is 2", "between 5 and 16"],
    "train --out NEW --data PICTURE --object-size big": ["--object-size", "big"],
    "train --out NEW --preset draw --data PICTURE --object-size 8": ["--preset dair"],
    "train --out NEW --preset draw --model.read 1": ["--model.read is 1", "between 2 and 512"],
    "train --out NEW --model.feedback some": ["--model.feedback", "residual"],
    "train --out NEW --preset multi-mnist --data-dir EMPTY": ["--data-dir", "idx3-ubyte"],
    "train --out FILE": ["is a file; name a folder"],
    "evaluate": ["RUN"],
    "evaluate EMPTY": ["config.json does not exist; name the folder of a run"],
    "evaluate CORRUPT": ["checkpoint.safetensors is truncated", "train again"],
    "evaluate UNTRAINED": ["checkpoint.safetensors does not exist; train first"],
    "evaluate OTHER": ["restore the config.json"],
    "evaluate RUN --data COLOUR": ["--data", "has 3 channels", "takes 1"],
    "evaluate RUN --data EMPTY": ["empty holds no image"],
    "infer RUN --out NEW": ["PATH is missing"],
    "infer RUN PICTURE": ["--out"],
    "infer RUN PICTURE --out NEW --max-objects 0": ["--max-objects is 0", "between 1 and 1,000"],
    "infer RUN PICTURE --out NEW --format xml": ["--format", "jsonl"],
    "infer RUN nothing.png --out NEW": ["nothing.png does not exist"],
    "infer RUN PICTURE FILE --out NEW": ["file.txt cannot be read", "replace it"],
    "infer RUN EMPTY --out NEW": ["empty holds no image"],
    "infer RUN RANK --out NEW": ["rank.npy has shape"],
    "infer RUN NAN --out NEW": ["nan.npy holds NaN"],
    "infer RUN WIDE --out NEW": ["wide.npy holds pixels from 2 to 2"],
    "infer EMPTY PICTURE --out NEW": ["name the folder of a run"],
    "infer RUN PICTURE --out FILE/y": ["cannot write", "file.txt"],
    "generate RUN --out NEW --n 0": ["--n is 0", "between 1 and 10,000"],
    "generate RUN --out FILE": ["cannot write", "file.txt"],
    "train --out NEW --resume": ["--resume", "holds no run; check --out"],
    "train --out EMPTY --resume": ["--resume", "holds no run; check --out"],
    "train --out RUN --resume --preset draw": ["--resume", "another configuration"],
    "train --out RUN --resume --object-size 8": ["--object-size chooses for a new run"],
    "train --out NEW --seed 18446744073709551616": ["--seed is", "between 0 and 4,294,967,295"],
    "train --out NEW --max-minutes nan": ["--max-minutes is nan"],
    "train --out NEW --model.height 64": ["--model.height", "--scenes.canvas"],
    "train --out NEW --data PICTURE --object_size=2": ["--object-size is 2", "between 5 and 16"],
    "train --out NEW --preset draw --estimator rebar": ["--estimator", "DRAW"],
    "report RUN --data EMPTY": ["--data", "composed scenes"],
    "report EMPTY": ["name the folder of a run"],
    "data digits --out NEW": ["must end in .npz"],
    "data nope --out NEW": ["preset nope is unknown", "digits, multi-mnist"],
    "data multi-mnist --out NEW.npz --data-dir EMPTY": ["--data-dir", "idx3-ubyte"],
    "reproduce": ["EXPERIMENT"],
    "reproduce nothing --out NEW": ["experiment nothing is unknown", "estimators"],
    "reproduce generalization --out NEW --quick --seeds 0": ["--seeds is 0", "between 1 and 1,000"],
    "reproduce estimators --quick": ["--out"],
    "reproduce estimators --out NEW --quick --scheduler nowhere://x": ["does not answer", "dask"],
    "reproduce estimators --out NEW --quick --seeds 0": ["--seeds is 0", "between 1 and 1,000"],
    "reproduce estimators --out NEW --data-dir EMPTY": ["--data-dir", "idx3-ubyte"],
    "reproduce estimators --out FILE --quick": ["cannot write", "name a folder"],
    "reproduce estimators --out RUN --quick": ["--out", "other settings", "name another folder"],
}


@pytest.fixture(scope="module")
def places(trained, tmp_path_factory) -> tuple[Path, dict[str, Path]]:
    """Everything that the mistakes speak of."""
    root = tmp_path_factory.mktemp("places")
    found = {"NEW": root / "new", "FILE": root / "file.txt", "EMPTY": root / "empty"}
    found["FILE"].write_text("a text")
    found["EMPTY"].mkdir()
    found["RUN"] = shutil.copytree(trained[0], root / "run")
    for name, array in (("RANK", RANK), ("NAN", NAN), ("WIDE", WIDE)):
        found[name] = root / f"{name.lower()}.npy"
        np.save(found[name], array)
    found["PICTURE"] = save(root / "picture.png", (16, 16))
    found["COLOUR"] = save(root / "colour.png", (16, 16, 3))
    for name in ("CORRUPT", "UNTRAINED", "OTHER"):
        found[name] = shutil.copytree(trained[0], root / name.lower())
    checkpoint = found["CORRUPT"] / "checkpoint.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-50])
    (found["UNTRAINED"] / "checkpoint.safetensors").unlink()
    config = (found["OTHER"] / "config.json").read_text()
    (found["OTHER"] / "config.json").write_text(config.replace('"lstm": 16', '"lstm": 17'))
    return root, found


@pytest.mark.parametrize("line", MISTAKES)
def test_a_mistake_is_told_in_one_line_and_changes_nothing(line, places):
    root, found = places
    before = tree(root)
    words = [re.sub("^[A-Z]+", lambda m: str(found.get(m[0], m[0])), w) for w in line.split()]
    answer = call(*words)
    assert answer.code == 2
    assert answer.err.startswith("airscene: ") and answer.err.count("\n") == 1, answer.err
    assert [part for part in MISTAKES[line] if part not in answer.err] == [], answer.err
    assert answer.out == ""
    assert tree(root) == before and not found["NEW"].exists()


def test_mistakes_are_told_without_a_frame_in_ascii_too(tmp_path):
    command = [sys.executable, "-m", "airscene", "train", "--out", "x", "--training.batch", "0"]
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=ascii_only, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "--training.batch is 0; it must lie between 1 and 65,536" in done.stderr
    assert "---" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert [command for command in cli.COMMANDS if f"\n  {command} " not in printed] == []


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"airscene {command}" in capsys.readouterr().out


def test_a_defect_keeps_its_traceback(monkeypatch, run):
    def broken(*_):
        raise ValueError("a defect")

    monkeypatch.setattr(cli, "load_run", broken)
    with pytest.raises(ValueError, match="a defect"):
        call("evaluate", run)


def test_ctrl_c_saves_and_tells_how_to_go_on(tmp_path):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "airscene", "train", "--out", str(out), *TINY]
    command += ["--training.iterations", "1000000", "--training.validate-every", "1000000"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
    try:
        while process.poll() is None and not (out / "metrics.jsonl").exists():
            time.sleep(0.05)
        while process.poll() is None and not (out / "metrics.jsonl").read_text():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        printed, complaint = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    go_on = f"go on with: airscene train --resume --out {out}"
    assert printed == f"interrupted\nsaved; {EARLY}; {go_on}\n"
    assert complaint == ""
    step = read_checkpoint(out / "checkpoint.safetensors")[1].step
    assert step >= 2
    answer = call("train", "--resume", "--out", out, "--max-minutes", 1e-9)
    assert answer.code == 2 and "has trained for" in answer.err and "give more" in answer.err
    assert read_checkpoint(out / "checkpoint.safetensors")[1].step == step


def test_the_whole_schedule_fits_into_max_minutes(tmp_path):
    out, long = tmp_path / "run", ["--training.iterations", 100_000_000]
    answer = call("train", "--out", out, *TINY, *long, "--max-minutes", 0.02)
    assert answer.code == 0
    step = read_checkpoint(out / "checkpoint.safetensors")[1].step
    assert answer.out.startswith(f"done: {step} iterations in place of 100000000\n")
    last = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == step and 1 <= last["prior_odds"] < 3
    assert "not to be trusted" not in call("report", out).err


def test_ctrl_c_while_the_program_starts_ends_quietly(monkeypatch):
    monkeypatch.setitem(sys.modules, "airscene.apps.cli", Interrupting("airscene.apps.cli"))
    monkeypatch.setenv("MPLBACKEND", "agg")  # which it sets, and is put back
    assert program.main() == 130


class Interrupting(types.ModuleType):
    """A module during whose import Ctrl-C is pressed."""

    def __getattr__(self, name: str):
        raise KeyboardInterrupt


def test_reproducing_prints_the_summary(monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "reproduce", lambda *arguments: str(arguments))
    answer = call("reproduce", "estimators", "--out", tmp_path, "--seeds", 2, "--quick")
    assert answer == Answer(0, f"{('estimators', tmp_path, None, 2, True, None)}\n", "")


def test_ctrl_c_in_an_experiment_tells_how_to_go_on(monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "reproduce", interrupted)
    told = "interrupted; give the same command again to go on\n"
    assert call("reproduce", "estimators", "--out", tmp_path) == Answer(130, told, "")


def test_ctrl_c_outside_of_training_ends_quietly(monkeypatch, run):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load_run", interrupted)
    assert call("evaluate", run) == Answer(130, "", "")
