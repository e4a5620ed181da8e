import csv
import io
import json

import pytest
import torch

from airscene.data import UserImages
from airscene.detections import Detections
from airscene.predictions import FORMATS, as_coco, as_csv, as_jsonl, predictions


@pytest.fixture
def rows():
    """Two objects in an image twice as wide as the canvas of 10, none in one of half its size."""
    images = UserImages(["a.png", "b.npy"], [0, 3], [torch.zeros(1, 10, 20), torch.zeros(3, 5, 5)])
    boxes = torch.tensor([[[1.0, 2, 3, 4], [5, 6, 7, 8], [0, 0, 9, 9]]] * 2)
    found = Detections(
        count=torch.tensor([2, 0]),
        count_probs=torch.tensor([[0.1, 0.1, 0.7, 0.1], [0.97, 0.01, 0.01, 0.01]]),
        boxes=boxes,
        scores=torch.tensor([[0.9, 0.8, 0.1], [0.03, 0.02, 0.01]]),
        windows=torch.zeros(2, 3, 4),
        reconstruction=torch.zeros(2, 1, 10, 10),
    )
    return predictions(images, found, torch.tensor([[2.0, 1.0], [0.5, 0.5]]))


def test_boxes_are_in_pixels_of_the_image(rows):
    assert rows[0].boxes == [[2.0, 2.0, 6.0, 4.0], [10.0, 6.0, 14.0, 8.0]]


def test_there_is_one_box_and_one_score_for_each_counted_object(rows):
    assert [row.count for row in rows] == [2, 0]
    assert not any(row.saturated for row in rows)
    assert [len(row.boxes) for row in rows] == [2, 0]
    assert rows[0].scores == pytest.approx([0.9, 0.8]) and rows[1].scores == []


def test_boxes_end_with_the_image():
    images = UserImages(["a"], [0], [torch.zeros(1, 4, 6)])
    found = Detections(
        count=torch.tensor([1]),
        count_probs=torch.tensor([[0.0, 1.0]]),
        boxes=torch.tensor([[[-1.0, -2, 100, 90]]]),
        scores=torch.tensor([[1.0]]),
        windows=torch.zeros(1, 1, 4),
        reconstruction=torch.zeros(1, 1, 4, 6),
    )
    (row,) = predictions(images, found, torch.ones(1, 2))
    assert row.boxes == [[0.0, 0.0, 6.0, 4.0]]
    assert row.saturated  # one object was allowed for, and one was counted


def test_jsonl_has_one_object_a_line_with_its_keys_in_order(rows):
    first, second = map(json.loads, as_jsonl(rows).splitlines())
    assert [*first] == ["source", "index", "count", "saturated", "count_probs", "boxes", "scores"]
    assert first["source"] == "a.png" and first["count"] == 2
    assert first["count_probs"] == pytest.approx([0.1, 0.1, 0.7, 0.1])
    assert second["index"] == 3 and second["boxes"] == second["scores"] == []


def test_csv_has_one_line_an_object_and_one_for_an_empty_image(rows):
    lines = [*csv.reader(io.StringIO(as_csv(rows)))]
    assert lines[0] == ["source", "index", "count", "saturated", "x0", "y0", "x1", "y1", "score"]
    assert lines[1] == ["a.png", "0", "2", "false", "2.0", "2.0", "6.0", "4.0", "0.9"]
    assert lines[2][4:8] == ["10.0", "6.0", "14.0", "8.0"]
    assert lines[3] == ["b.npy", "3", "0", "false", "", "", "", "", ""]
    assert len(lines) == 4


def test_a_comma_in_a_name_does_not_split_it(rows):
    object.__setattr__(rows[0], "source", 'a, "b".png')
    assert [*csv.reader(io.StringIO(as_csv(rows)))][1][0] == 'a, "b".png'


def test_coco_has_boxes_as_corner_and_size(rows):
    whole = json.loads(as_coco(rows))
    assert [*whole] == ["images", "annotations", "categories"]
    assert whole["images"][0] == {
        "id": 0,
        "file_name": "a.png",
        "index": 0,
        "height": 10,
        "width": 20,
        "saturated": False,
    }
    first, second = whole["annotations"]
    assert first["bbox"] == [2.0, 2.0, 4.0, 2.0] and first["area"] == 8.0
    assert (first["image_id"], second["image_id"]) == (0, 0) and first["id"] != second["id"]
    assert {entry["category_id"] for entry in whole["annotations"]} == {1}
    assert whole["categories"] == [{"id": 1, "name": "object"}]


@pytest.mark.parametrize(("name", "text"), [("jsonl", ""), ("csv", "source,index,count")])
def test_no_images_make_no_rows(name, text):
    assert FORMATS[name]([]).startswith(text)
