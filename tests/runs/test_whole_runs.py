"""Whole pictures by the command line: a small training, and what it finds."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from airscene.apps.cli import main
from airscene.data.contrast import Contrast
from airscene.data.whole import picture_files, read_pictures
from airscene.errors import UserError
from airscene.files import read_json
from airscene.models.whole import WholeAIR
from airscene.results.whole import Targets
from airscene.runs import infer_whole, load_run, train_run
from airscene.runs.config_file import load_config

DIAMETER = 12


def spots(height, width, number, seed) -> np.ndarray:
    """Discs of several brightnesses that do not touch, on grey, as 16 bits of a camera of 12."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] + 0.5
    centres: list[np.ndarray] = []
    picture = random.normal(300, 10, (height, width))
    while len(centres) < number:
        centre = random.uniform(DIAMETER / 2, (height - DIAMETER / 2, width - DIAMETER / 2))
        if all(np.hypot(*(centre - other)) > DIAMETER + 3 for other in centres):
            centres.append(centre)
            near = np.hypot(y - centre[0], x - centre[1]) < DIAMETER / 2 * random.uniform(0.8, 1.1)
            picture[near] += random.uniform(600, 2500)
    return picture.clip(0, 4095).astype(np.uint16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Pictures of several sizes and kinds, in subfolders, with files that are no pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "plate 1").mkdir()
    tifffile.imwrite(folder / "a.tif", spots(90, 130, 22, 0))
    tifffile.imwrite(
        folder / "plate 1" / "stack.tif", np.stack([spots(80, 80, 14, k) for k in (1, 2)])
    )
    grey = (spots(100, 70, 14, 3) / 16).astype(np.uint8)
    Image.fromarray(np.stack([grey] * 3, -1)).save(folder / "plate 1" / "colour.png")
    (folder / "plate 1" / "broken.tif").write_bytes(b"II*\0 and nothing else")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.tif").write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("run") / "run"
    words = ["train", "--images", str(folder), "--object-size", str(DIAMETER), "--out", str(run)]
    small = ["--model.height", "48", "--model.width", "48", "--training.snapshots", "2"]
    short = ["--training.iterations", "90", "--training.batch", "12"]
    assert main([*words, *small, *short]) == 0
    return run


def test_files_are_those_of_all_subfolders_and_bad_ones_cost_no_others(folder):
    files = picture_files([folder])
    assert [file.name for file in files] == [
        "a.tif",
        "notes.txt",
        "broken.tif",
        "colour.png",
        "stack.tif",
    ]
    with pytest.warns(UserWarning, match="left out"):
        pictures = list(read_pictures([*files, folder / "gone.tif"]))
    names = [(picture.source.name, picture.index) for picture in pictures]
    assert names == [("a.tif", 0), ("colour.png", 0), ("stack.tif", 0), ("stack.tif", 1)]


def test_the_run_keeps_how_pictures_are_prepared(run):
    contrast = read_json(run / "config.json")["model"]["contrast"]
    assert contrast["object_size"] == DIAMETER and contrast["polarity"] == "bright"
    assert 0.2 < contrast["white"][0] < 0.8 and 0.02 < contrast["white"][1] < 0.05
    assert (run / "report.html").exists() and (run / "evaluation.json").exists()


def test_it_counts_in_pictures_of_any_size(run, tmp_path, capsys):
    truth = {"large.tif": 120, "small.tif": 3, "empty.tif": 0, "long.tif": 20}
    sizes = {
        "large.tif": (260, 240),
        "small.tif": (40, 50),
        "empty.tif": (70, 60),
        "long.tif": (30, 400),
    }
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for seed, (name, size) in enumerate(sizes.items(), start=10):
        tifffile.imwrite(pictures / name, spots(*size, truth[name], seed))
    (pictures / "bad.tif").write_bytes(b"II*\0")
    out, table, labels = tmp_path / "found.jsonl", tmp_path / "table.csv", tmp_path / "labels"
    words = ["infer", str(run), str(pictures), "--out", str(out), "--table", str(table)]
    overlay = tmp_path / "overlay"
    assert main([*words, "--labels", str(labels), "--overlay", str(overlay)]) == 0
    assert "left out" in capsys.readouterr().err

    rows = [json.loads(line) for line in out.read_text().splitlines()]
    counts = {Path(row["source"]).name: row["count"] for row in rows}
    assert counts.keys() == truth.keys()
    assert sum(abs(counts[name] - truth[name]) for name in truth) <= 0.05 * sum(truth.values())
    assert counts["empty.tif"] == 0
    frame = pd.read_csv(table)
    assert len(frame) == sum(counts.values())
    assert frame["area"].median() == pytest.approx(np.pi * 36 * 0.92, rel=0.25)
    for path in labels.iterdir():
        name = path.name.split("-")[1] + ".tif"
        image = tifffile.imread(path)
        assert image.shape == sizes[name] and image.max() == counts[name]
    assert len(list(overlay.iterdir())) == 4


def test_a_picture_of_twice_the_size_gives_the_same_objects(run, tmp_path):
    pair = np.tile(spots(80, 80, 12, 20), (1, 2))
    tifffile.imwrite(tmp_path / "pair.tif", pair)
    tifffile.imwrite(tmp_path / "half.tif", pair[:, :80])
    counts = []
    for name in ("pair.tif", "half.tif"):
        assert (
            main(["infer", str(run), str(tmp_path / name), "--out", str(tmp_path / "x.jsonl")]) == 0
        )
        counts.append(json.loads((tmp_path / "x.jsonl").read_text())["count"])
    assert counts[0] == 2 * counts[1] and counts[1] > 10


def disc(height, width, *middles) -> np.ndarray:
    """Equal discs, which may reach beyond the picture, as 16 bits."""
    y, x = np.mgrid[:height, :width] + 0.5
    near = [np.hypot(y - at[0], x - at[1]) < DIAMETER / 2 for at in middles]
    return np.where(np.any(near, axis=0), 1800, 300).astype(np.uint16)


def test_what_a_border_cuts_is_one_object_of_nearly_full_size(run):
    model = cast(WholeAIR, load_run(run, "cpu").model)
    cut = [(34, 0), (90, 1), (66, 100), (0, 50)]
    whole = [(60, 60), (30, 70), (100, 40)]
    picture = disc(120, 100, *cut, *whole)
    objects = model.explain_whole(model.config.contrast.prepare(picture[..., None]))
    middles = objects.window[:, [1, 0]].numpy()
    sides = objects.window[:, 2].numpy()
    assert len(objects) == len(cut) + len(whole)
    nearest = [np.abs(middles - at).max(1).argmin() for at in (*cut, *whole)]
    assert sorted(nearest) == list(range(len(objects)))
    full = np.median(sides[nearest[len(cut) :]])
    assert all(sides[k] > 0.7 * full for k in nearest[: len(cut)])


@pytest.mark.filterwarnings("ignore:left out")
def test_what_shows_nothing_has_no_objects_and_costs_no_others(run, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    some = disc(60, 60, (20, 20), (40, 40))
    tifffile.imwrite(folder / "a.tif", np.stack([np.full_like(some, 300), some]))  # empty at first
    tifffile.imwrite(folder / "b.tif", np.zeros((50, 80), np.uint16))
    tifffile.imwrite(folder / "c.tif", np.full((1, 9), 65535, np.uint16))
    tifffile.imwrite(folder / "gone.tif", some)
    tifffile.imwrite(folder / "last.tif", some)
    files = picture_files([folder])
    (folder / "gone.tif").unlink()
    out = Targets(tmp_path / "found.jsonl")
    assert infer_whole(load_run(run, "cpu"), files, out) == (5, 4)
    rows = [json.loads(line) for line in out.lines.read_text().splitlines()]
    found = [(Path(row["source"]).name, row["index"], row["count"]) for row in rows]
    names = [("a.tif", 0, 0), ("a.tif", 1, 2), ("b.tif", 0, 0), ("c.tif", 0, 0), ("last.tif", 0, 2)]
    assert found == names


def test_pictures_are_read_one_by_one_however_many_files_there_are(tmp_path):
    tifffile.imwrite(tmp_path / "00000.tif", disc(20, 20, (10, 10)))
    for k in range(1, 20_000):
        (tmp_path / f"{k:05}.tif").touch()
    files = picture_files([tmp_path])
    assert len(files) == 20_000
    first = next(read_pictures(files))  # with no look at the others, which cannot be read
    assert first.source.name == "00000.tif"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--max-objects", "5"], "--max-objects has no effect"),
        (["--format", "coco"], "--format coco: .* --table"),
        (["--labels", "PICTURES"], "holds pictures to read"),
        (["--table", "OUT"], "is the file of --out"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(run, folder, tmp_path, capsys, words, reason):
    out = tmp_path / "found.jsonl"
    places = {"PICTURES": str(folder), "OUT": str(out)}
    words = [places.get(word, word) for word in words]
    assert main(["infer", str(run), str(folder), "--out", str(out), *words]) == 2
    assert re.search(reason, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:left out")
def test_a_run_goes_on_with_the_same_pictures_alone(run, folder):
    config = load_config(run / "config.json")
    contrast = Contrast(object_size=float(DIAMETER))
    asked = replace(config, model=replace(config.model, sigma=None, contrast=contrast))
    for known in (config, asked):
        assert train_run(known, run, resume=True).startswith("done")
    new = folder / "new.tif"
    tifffile.imwrite(new, spots(60, 60, 5, 99))
    try:
        with pytest.raises(UserError, match="1 are new"):
            train_run(config, run, resume=True)
    finally:
        new.unlink()


def test_training_tells_what_cannot_be_learned_from(folder, tmp_path, capsys):
    words = ["train", "--images", str(folder), "--out", str(tmp_path / "run")]
    for more, reason in (
        (["--object-size", "500"], "--object-size is 500 px in pictures"),
        (["--object-size", "2"], "object-size"),
        (["--preset", "dair"], "--images: AIR takes pictures of one size"),
        (["--estimator", "nvil"], "--estimator has no effect"),
    ):
        assert main([*words, *more]) == 2
        assert reason in capsys.readouterr().err
    assert main(["train", "--preset", "whole", "--out", str(tmp_path / "run")]) == 2
    assert "name them with --images" in capsys.readouterr().err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["train", "--images", str(empty), "--out", str(tmp_path / "run")]) == 2
    assert "holds no picture that can be read" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
