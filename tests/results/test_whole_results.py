"""Results of whole pictures, read back by the programs that people use."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
import torch
from PIL import Image
from skimage.measure import regionprops

from airscene.core.networks import normal
from airscene.data.whole import WholePicture
from airscene.models.objects import Objects
from airscene.results.labelling import Labelled, count_probs, label
from airscene.results.predictions import save_labels
from airscene.results.whole import COLOURS, Found, Targets, open_writer, overlay

HEIGHT, WIDTH = 30, 40


def objects(paint: torch.Tensor, corner: list[list[int]], logit: list[float]) -> Objects:
    """Objects that paint known patches (T, P, P)."""
    number = len(logit)
    q = normal(torch.zeros(number, 3), torch.ones(number, 3))
    window = torch.zeros(number, 3)
    return Objects(
        torch.zeros(number, dtype=torch.long),
        torch.tensor(logit),
        q,
        q,
        window,
        window,
        window,
        paint.unsqueeze(1),
        torch.tensor(corner).view(-1, 2),
    )


@pytest.fixture
def found() -> Found:
    """Two objects in the second page of a colour picture."""
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    labels[4:12, 6:16], labels[16:20, 20:40] = 1, 2
    boxes = np.array([[6, 4, 16, 12], [20, 16, 40, 20]], np.float32)
    objects = Labelled(labels, boxes, np.array([0.9, 0.75], np.float32))
    pixels = np.random.default_rng(0).integers(0, 60_000, (HEIGHT, WIDTH, 3)).astype(np.uint16)
    picture = WholePicture(Path("plate,1\udcff.tif"), 1, pixels)
    return Found(picture, objects)


def test_what_overlaps_belongs_to_what_paints_most_and_ends_where_the_ink_does():
    picture = np.zeros((12, 14))
    picture[2:8, 2:12] = 1
    picture[2:8, 12] = 0.3  # too dim to be of a thing whose pixels are 1
    paint = torch.zeros(2, 8, 8)
    paint[0, 2:8, 2:8], paint[1, 0:8, 0:8] = 0.8, 0.6
    result = label(picture, objects(paint, [[0, 0], [1, 5]], [2.0, 0.0]), (12, 14))
    assert result.boxes.tolist() == [[2, 2, 8, 8], [8, 2, 12, 8]]
    assert (result.labels == 1).sum() == 36 and (result.labels == 2).sum() == 24
    assert result.scores == pytest.approx([1 / (1 + np.exp(-2)), 0.5])


def test_a_small_piece_that_leans_on_an_object_belongs_to_it():
    picture = np.zeros((12, 12))
    picture[2:8, 2:9] = 1
    paint = torch.zeros(3, 8, 8)
    paint[0, 0:6, 6], paint[1, 2:8, 2:8], paint[2, 0:6, 6] = 0.9, 0.8, 0.7
    inferred = objects(paint, [[2, 2], [0, 0], [2, 2]], [0.0, 2.0, 1.0])  # a piece comes first
    result = label(picture, inferred, (12, 12))
    assert result.boxes.tolist() == [[2, 2, 9, 8]] and (result.labels == 1).sum() == 42
    assert result.kept is not None and result.kept.tolist() == [1]
    assert result.scores == pytest.approx([1 / (1 + np.exp(-2))])


def test_objects_reach_over_the_border_and_those_without_pixels_are_none():
    picture = np.ones((10, 10))
    paint = torch.stack([torch.ones(6, 6), 0.5 * torch.ones(6, 6)])
    result = label(picture, objects(paint, [[-3, 7], [-3, 7]], [1.0, 1.0]), (10, 10))
    assert result.boxes.tolist() == [[7, 0, 10, 3]] and len(result) == 1


def test_of_pieces_the_largest_counts():
    picture = np.ones((8, 8))
    picture[3] = 0
    result = label(picture, objects(torch.ones(1, 8, 8), [[0, 0]], [1.0]), (8, 8))
    assert result.boxes.tolist() == [[0, 4, 8, 8]]


def test_borders_are_those_of_the_picture_at_its_own_size():
    picture = np.zeros((30, 30))
    picture[7:20, 10:23] = 1  # found in a picture of a third of the size
    result = label(picture, objects(torch.ones(1, 10, 10), [[0, 0]], [1.0]), (10, 10))
    assert result.boxes.tolist() == [[10, 7, 23, 20]] and result.labels.sum() == 13**2


def test_labels_have_the_size_of_the_picture_though_it_was_enlarged_to_be_prepared():
    picture = np.zeros((10, 8))
    picture[2:5, 2:6] = 1
    paint = torch.zeros(1, 16, 16)
    paint[0, 3:11, 3:13] = 0.9
    result = label(picture, objects(paint, [[0, 0]], [2.0]), (20, 16))
    assert result.labels.shape == (10, 8) and result.boxes.tolist() == [[2, 2, 6, 5]]


def test_a_blurred_object_reaches_to_the_foot_of_its_edge_and_a_sharp_one_to_the_middle():
    y, x = np.mgrid[:40, :40] + 0.5
    away = np.hypot(y - 20, x - 20)
    widths = []
    for blur in (0.3, 2.0):
        picture = 1 / (1 + np.exp((away - 10) / blur))  # half of it at a radius of 10
        result = label(picture, objects(torch.ones(1, 36, 36), [[2, 2]], [1.0]), (40, 40))
        widths.append(float(result.boxes[0, 2] - result.boxes[0, 0]))
    assert widths == [20, 28]  # a blurred disc is above 0.15 of what is bright to a radius of 13.8


def test_the_number_of_objects_has_the_distribution_of_independent_presences():
    scores = np.array([0.9, 0.6, 0.3])
    expected = np.zeros(4)
    for mask in np.ndindex(2, 2, 2):
        expected[sum(mask)] += np.prod(np.where(mask, scores, 1 - scores))
    assert count_probs(scores) == pytest.approx(expected)


def test_programs_read_what_is_written(found, tmp_path):
    targets = Targets(
        tmp_path / "found.jsonl", tmp_path / "table.csv", tmp_path / "labels", tmp_path / "overlay"
    )
    with open_writer(targets) as writer:
        writer.write(found)
        writer.write(Found(found.picture, _nothing()))
        assert not targets.lines.exists()
    assert (writer.pictures, writer.objects) == (2, 2)

    first, second = map(json.loads, targets.lines.read_text().splitlines())
    assert (first["count"], first["index"], second["count"]) == (2, 1, 0)
    assert first["boxes"] == [[6, 4, 16, 12], [20, 16, 40, 20]]
    assert first["count_probs"] == pytest.approx([0.025, 0.3, 0.675]) and not first["saturated"]

    label_files = sorted((tmp_path / "labels").iterdir())
    assert [path.suffix for path in label_files] == [".tif", ".tif"]
    labels = tifffile.imread(label_files[0])
    assert labels.dtype == np.uint16 and labels.shape == (HEIGHT, WIDTH)
    assert not tifffile.imread(label_files[1]).any()

    table = pd.read_csv(targets.table)
    regions = regionprops(labels, found.picture.pixels.mean(-1))
    assert table["label"].tolist() == [1, 2] and table["page"].tolist() == [1, 1]
    assert table["picture"].tolist() == [first["source"]] * 2
    for (_, row), region in zip(table.iterrows(), regions, strict=True):
        assert (row["y"], row["x"]) == pytest.approx(region.centroid, abs=1e-3)
        assert (row["y0"], row["x0"], row["y1"], row["x1"]) == region.bbox
        assert row["area"] == region.area
        assert row["mean_intensity"] == pytest.approx(region.intensity_mean, abs=1e-3)
    assert table["score"].tolist() == pytest.approx([0.9, 0.75])

    with Image.open(sorted((tmp_path / "overlay").iterdir())[0]) as shown:
        assert shown.size == (WIDTH, HEIGHT)


def test_codes_are_written_where_they_are_asked_for(found, tmp_path):
    codes = np.array([[0.5, -1.25, 3.0], [0.0, 2.0, 1e-5]], np.float32)
    found = replace(found, objects=replace(found.objects, codes=codes))
    plain = Targets(tmp_path / "plain.jsonl", tmp_path / "plain.csv")
    asked = Targets(tmp_path / "found.jsonl", tmp_path / "table.csv", features=True)
    for targets in (plain, asked):
        with open_writer(targets) as writer:
            writer.write(replace(found, objects=replace(_nothing(), codes=codes[:0])))
            writer.write(found)
    one, other = (json.loads(t.lines.read_text().splitlines()[1]) for t in (plain, asked))
    assert other["features"] == [[0.5, -1.25, 3.0], [0.0, 2.0, 0.0]]
    assert {k: v for k, v in other.items() if k != "features"} == one and "features" not in one
    table = pd.read_csv(asked.table)
    columns = ["feature_0", "feature_1", "feature_2"]
    assert table[columns].to_numpy() == pytest.approx(codes, abs=1e-4)
    assert table.drop(columns=columns).equals(pd.read_csv(plain.table))


def test_overlays_are_the_same_however_many_rows_are_drawn_at_a_time(found, monkeypatch):
    whole = np.asarray(overlay(found))
    assert (whole[4, 6] == COLOURS[1]).all() and (whole[8, 10] != COLOURS[1]).any()
    monkeypatch.setattr("airscene.results.whole.STRIP", 7)
    assert np.array_equal(np.asarray(overlay(found)), whole)


def test_nothing_is_left_of_lines_that_could_not_be_finished(found, tmp_path):
    with pytest.raises(RuntimeError), open_writer(Targets(tmp_path / "found.jsonl")) as writer:
        writer.write(found)
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_more_objects_than_16_bits_hold_are_labelled_by_32(tmp_path):
    save_labels(np.array([[0, 70_000]], np.int32), tmp_path / "many.tif")
    assert tifffile.imread(tmp_path / "many.tif").tolist() == [[0, 70_000]]


def _nothing() -> Labelled:
    empty = np.zeros((HEIGHT, WIDTH), np.int32)
    return Labelled(empty, np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
