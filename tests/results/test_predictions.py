import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from airscene.data import UserImages
from airscene.errors import UserError
from airscene.results.detections import Detections
from airscene.results.predictions import (
    FORMATS,
    Prediction,
    as_coco,
    as_coco_results,
    as_csv,
    as_jsonl,
    label_images,
    picture_name,
    predictions,
)


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
        background=torch.zeros(2, 1, 10, 10),
    )
    return predictions(images, found, torch.tensor([[2.0, 1.0], [0.5, 0.5]]))


def test_boxes_are_in_pixels_of_the_image(rows):
    assert rows[0].boxes == [[2.0, 2.0, 6.0, 4.0], [10.0, 6.0, 14.0, 8.0]]


def test_there_is_one_box_and_one_score_for_each_counted_object(rows):
    assert [row.count for row in rows] == [2, 0]
    assert not any(row.saturated for row in rows)
    assert [len(row.boxes) for row in rows] == [2, 0]
    assert rows[0].scores == pytest.approx([0.9, 0.8]) and rows[1].scores == []


def test_label_images_have_16_bits_and_the_size_of_the_image():
    found = replace(one_found([0, 0, 6, 4]), masks=torch.zeros(1, 4, 6, dtype=torch.int16))
    found.masks[0, 1, 2] = 300
    (labels,) = label_images(one_image(12, 8), found)
    assert labels.shape == (8, 12) and labels.dtype == np.uint16
    assert (labels == 300).sum() == 4 and (labels[2:4, 4:6] == 300).all()


def test_label_images_of_a_model_that_has_none_are_refused():
    with pytest.raises(UserError, match="--labels: this model cannot tell"):
        label_images(one_image(), one_found([0, 0, 6, 4]))


def one_found(box) -> Detections:
    """One object, counted."""
    return Detections(
        count=torch.tensor([1]),
        count_probs=torch.tensor([[0.0, 1.0]]),
        boxes=torch.tensor([[box]]).float(),
        scores=torch.tensor([[1.0]]),
        windows=torch.zeros(1, 1, 4),
        reconstruction=torch.zeros(1, 1, 4, 6),
        background=torch.zeros(1, 1, 4, 6),
    )


def one_image(width: int = 6, height: int = 4) -> UserImages:
    return UserImages(["a"], [0], [torch.zeros(1, height, width)])


def test_boxes_end_with_the_image():
    (row,) = predictions(one_image(), one_found([-1.0, -2, 100, 90]), torch.ones(1, 2))
    assert row.boxes == [[0.0, 0.0, 6.0, 4.0]]
    assert row.saturated  # one object was allowed for, and one was counted


PLACE = st.floats(-30, 30, width=32)


@given(
    st.tuples(PLACE, PLACE, st.floats(0, 9, width=32), st.floats(0, 9, width=32)),
    st.sampled_from([1.0, 1 / 3, 1e-3, 1e-6]),
)
def test_every_box_has_an_area_within_the_image_after_rounding(corner, scale):
    """However small the object and the image are beside the canvas, and wherever the box lies."""
    x, y, width, height = corner
    found, scales = one_found([x, y, x + width, y + height]), torch.full((1, 2), scale)
    rows = predictions(one_image(), found, scales)
    ((x0, y0, x1, y1),) = rows[0].boxes
    assert 0 <= x0 < x1 <= 6 and 0 <= y0 < y1 <= 4
    (entry,) = json.loads(as_coco(rows))["annotations"]
    numbers = [x0, y0, x1, y1, *entry["bbox"], entry["area"]]
    assert numbers == [round(number, 2) for number in numbers]
    assert entry["bbox"] == pytest.approx([x0, y0, x1 - x0, y1 - y0])
    assert entry["area"] == pytest.approx((x1 - x0) * (y1 - y0), abs=0.01) and entry["area"] > 0


@pytest.mark.parametrize("name", ["count_probs", "boxes", "scores"])
@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_refused_with_the_name_of_the_file(name, number):
    found = one_found([1.0, 1, 2, 2])
    broken = replace(found, **{name: torch.full_like(getattr(found, name), number)})
    with pytest.raises(UserError, match=r"^a: .*not finite"):
        predictions(one_image(), broken, torch.ones(1, 2))


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
    named = replace(rows[0], source='a, "b".png')
    assert [*csv.reader(io.StringIO(as_csv([named])))][1][0] == 'a, "b".png'


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


def test_coco_numbers_have_two_digits(rows):
    """In floating point, 0.3 - 0.1 is 0.19999999999999998."""
    (row,) = [replace(rows[0], boxes=[[0.1, 0.1, 0.3, 0.4]], scores=[0.5])]
    (entry,) = json.loads(as_coco([row]))["annotations"]
    assert entry["bbox"] == [0.1, 0.1, 0.2, 0.3] and entry["area"] == 0.06


def test_coco_results_are_the_annotations_of_coco(rows):
    results, whole = json.loads(as_coco_results(rows)), json.loads(as_coco(rows))
    keys = ["image_id", "category_id", "bbox", "score"]
    assert [[*entry] for entry in results] == [keys] * 2
    assert results == [{key: entry[key] for key in keys} for entry in whole["annotations"]]
    assert {entry["image_id"] for entry in results} <= {image["id"] for image in whole["images"]}


def test_pycocotools_loads_the_results_beside_the_images(rows, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    for name in ("coco", "coco-results"):
        (tmp_path / name).write_text(FORMATS[name](rows))
    loaded = coco.COCO(tmp_path / "coco").loadRes(str(tmp_path / "coco-results"))
    assert [entry["bbox"] for entry in loaded.loadAnns(loaded.getAnnIds(imgIds=[0]))] == [
        [2.0, 2.0, 4.0, 2.0],
        [10.0, 6.0, 4.0, 2.0],
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("jsonl", ""),
        ("csv", "source,index,count"),
        ("coco", '{"images": []'),
        ("coco-results", "[]"),
    ],
)
def test_no_images_make_no_rows(name, text):
    assert FORMATS[name]([]).startswith(text)


NAMED = {
    "jsonl": lambda text: json.loads(text)["source"],
    "csv": lambda text: [*csv.reader(io.StringIO(text))][1][0],
    "coco": lambda text: json.loads(text)["images"][0]["file_name"],
}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize(
    "source, shown",
    [
        ("caf\xe9 \u65e5.png", "caf\xe9 \u65e5.png"),
        (b"caf\xe9.png".decode("utf-8", "surrogateescape"), "caf\\udce9.png"),
        ("\ud83d.png", "\\ud83d.png"),
    ],
)
def test_names_that_are_not_utf8_are_escaped(rows, name, source, shown):
    text = FORMATS[name]([replace(rows[0], source=source)])
    assert NAMED[name](text.encode("utf-8").decode("utf-8")) == shown


def test_no_format_writes_a_number_that_json_lacks():
    broken = Prediction("a", 0, 4, 6, 1, False, [float("nan")], [[1.0, 1, 2, 2]], [float("nan")])
    for name in ("jsonl", "coco", "coco-results"):
        with pytest.raises(ValueError, match="JSON compliant"):
            FORMATS[name]([broken])


@pytest.mark.parametrize(
    "source, name",
    [
        ("folder/cells.npz", "00007-cells-3.png"),
        ("two.dots.png", "00007-two.dots-3.png"),
        ("a" * 186 + ".png", f"00007-{'a' * 186}-3.png"),  # 198 bytes
        ("a" * 250 + ".png", f"00007-{'a' * 188}-3.png"),
        ("\u65e5" * 80 + ".png", "00007-" + "\u65e5" * 62 + "-3.png"),  # three bytes each
    ],
)
def test_an_overlay_is_named_after_its_image_in_at_most_200_bytes(source, name):
    assert picture_name(7, source, 3) == name
    assert len(name.encode()) <= 200


@given(st.binary(max_size=300), st.integers(0, 10**9), st.integers(0, 10**9))
def test_any_name_of_a_file_makes_a_short_name_of_an_overlay(raw, number, index):
    source = raw.replace(b"/", b"").replace(b"\0", b"").decode("utf-8", "surrogateescape")
    name = picture_name(number, source, index)
    assert len(name.encode("utf-8", "surrogateescape")) <= 200
    assert name.startswith(f"{number:05d}-") and name.endswith(f"-{index}.png")
