import json
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from airscene.core.seeds import Purpose, global_stream
from airscene.data import Scenes
from airscene.estimators import expected_bound
from airscene.results import evaluation
from airscene.results.detections import Detections, detect
from airscene.results.evaluation import (
    affordable_scenes,
    agreement,
    counted,
    elbo,
    evaluate,
    validate,
)

ALWAYS = {
    "scenes", "count_histogram", "elbo", "bound", "bound_samples", "bound_scenes",
    "images_per_second",
}  # fmt: skip
COUNTS = {"count_accuracy", "count_confusion", "count_mean_absolute_error"}
SECONDS = (601.0, 599.0, 0.0)  # 400 scenes need 600: each 5 passes and, as do 400, 10 of the bound
BOXES = {"box_mean_iou", "box_f1", "box_ap50"}


def scenes_of(number: int = 5) -> Scenes:
    """Scenes of noise with a made-up truth, for a tiny model."""
    torch.manual_seed(1)
    count = torch.arange(number) % 3
    box = torch.tensor([1.0, 1.0, 6.0, 7.0]).expand(number, 2, 4).clone()
    box[torch.arange(2) >= count[:, None]] = 0
    return Scenes(torch.rand(number, 1, 10, 12).double(), count, box)


def detections(count, boxes, scores) -> Detections:
    """Detections of which only what is compared with the truth matters."""
    count, boxes, scores = torch.tensor(count), torch.tensor(boxes).float(), torch.tensor(scores)
    batch, steps = scores.shape
    unread = torch.zeros(batch, 1, 1, 1)
    probs = torch.zeros(batch, steps + 1)
    return Detections(count, probs, boxes, scores, boxes, unread, unread)


def corner(x: float) -> list[float]:
    return [x, 0, x + 10, 10]


NONE = [0, 0, 0, 0]
TRUE = Scenes(
    torch.zeros(3, 1, 20, 40),
    torch.tensor([0, 1, 2]),
    torch.tensor([[NONE, NONE], [corner(0), NONE], [corner(0), corner(20)]]).float(),
)
RIGHT = detections(
    [0, 1, 2],
    [[corner(0), NONE], [corner(0), corner(20)], [corner(20), corner(0)]],
    [[0.1, 0.0], [0.9, 0.1], [0.9, 0.8]],
)
WRONG = detections(
    [1, 1, 1],
    [[corner(0), NONE], [corner(5), NONE], [corner(0), corner(20)]],
    [[0.9, 0.1], [0.8, 0.1], [0.7, 0.1]],
)


def test_detections_that_equal_the_truth_agree_with_it_entirely():
    assert agreement(TRUE, RIGHT) == {
        "count_accuracy": 1.0,
        "count_confusion": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "count_mean_absolute_error": 0.0,
        "box_mean_iou": 1.0,
        "box_f1": 1.0,
        "box_ap50": 1.0,
    }


def test_masks_are_compared_where_both_know_them():
    masks = torch.zeros(3, 20, 40, dtype=torch.uint8)
    masks[1:, :10, :10], masks[2, :10, 20:30] = 1, 2
    swapped = torch.tensor([0, 2, 1], dtype=torch.int16)[masks.long()]
    half = masks.short() * (torch.arange(40) < 20)
    known, empty = replace(TRUE, masks=masks), torch.zeros(3, 1, 20, 40)
    assert agreement(known, RIGHT) == agreement(
        TRUE, replace(RIGHT, masks=swapped, reconstruction=empty, background=empty)
    )
    table = agreement(known, replace(RIGHT, masks=swapped, reconstruction=empty, background=empty))
    assert (table["mask_ari"], table["mask_iou"]) == (1, 1)
    table = agreement(known, replace(RIGHT, masks=half, reconstruction=empty, background=empty))
    assert (table["mask_ari"], table["mask_iou"]) == (1, pytest.approx(2 / 3))


def test_the_figures_of_mistaken_detections_are_those_worked_by_hand():
    table = agreement(TRUE, WRONG)
    assert table["count_accuracy"] == pytest.approx(1 / 3)
    assert table["count_confusion"] == [[0, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert table["count_mean_absolute_error"] == pytest.approx(2 / 3)
    assert table["box_mean_iou"] == pytest.approx((1 / 3 + 1) / 2)
    assert table["box_f1"] == pytest.approx(2 * 1 / (3 + 3))  # the one of scene three
    assert table["box_ap50"] == pytest.approx(1 / 3 / 3)  # the third ranked is right, of 3 objects


def test_only_the_counted_entries_are_read():
    values = counted(torch.arange(6).view(3, 2), torch.tensor([0, 1, 2]))
    assert [value.tolist() for value in values] == [[], [2], [4, 5]]


def test_without_a_truth_there_is_nothing_to_agree_with():
    assert agreement(Scenes(TRUE.image), WRONG) == {}


def test_a_truth_of_counts_alone_yields_no_figures_of_boxes():
    assert set(agreement(Scenes(TRUE.image, TRUE.count), WRONG)) == COUNTS


@pytest.mark.parametrize(
    "scenes, keys",
    [
        (scenes_of(), ALWAYS | COUNTS | BOXES),
        (Scenes(scenes_of().image, scenes_of().count), ALWAYS | COUNTS),
        (Scenes(scenes_of().image), ALWAYS),
    ],
)
def test_the_table_holds_what_the_truth_allows_as_plain_numbers(tiny_air, scenes, keys):
    table = evaluate(tiny_air, scenes, samples=2)
    assert set(table) == keys
    assert json.dumps(json.loads(json.dumps(table))) == json.dumps(table)
    assert table["scenes"] == table["bound_scenes"] == sum(table["count_histogram"]) == 5
    assert table["bound_samples"] == 2
    assert table["images_per_second"] > 0


def test_the_table_agrees_with_the_detections_and_the_bounds(tiny_air):
    scenes = scenes_of()
    image = scenes.image
    tiny_air.attend[-1].bias.data[0] += 5  # else it counts nothing, and there are no boxes
    table = evaluate(tiny_air, scenes, 3, bound_scenes=4)
    found = detect(tiny_air, image)
    assert table["count_histogram"] == found.count.bincount().tolist()
    assert {name: table[name] for name in COUNTS | BOXES} == agreement(scenes, found)
    with global_stream(Purpose.EVALUATION, 0):
        sampled = tiny_air.infer(image, sample=True)
        bound = tiny_air.log_likelihood(image[:4], 3).mean()
    expected = expected_bound(sampled).mean()
    assert table["elbo"] == pytest.approx(float(expected), rel=1e-9)
    assert table["bound"] == pytest.approx(float(bound), rel=1e-9)
    assert table["bound_scenes"] == 4


def test_bytes_are_evaluated_as_the_floats_they_stand_for(tiny_air):
    stored = (scenes_of().image * 255).byte()
    tables = []
    for image in (stored, stored / 255.0):
        torch.manual_seed(0)
        table = evaluate(tiny_air, Scenes(image), samples=2)
        tables.append({k: v for k, v in table.items() if k != "images_per_second"})
    assert tables[0] == tables[1]


def test_the_elbo_weighs_every_image_alike_however_they_are_batched(known_air, monkeypatch):
    torch.manual_seed(0)
    model = known_air(torch.rand(5, 2, 6, 7), torch.randn(5, 2))
    whole = elbo(model, model.image)
    monkeypatch.setattr(evaluation, "BATCH", 2)
    assert elbo(model, model.image) == pytest.approx(whole, rel=1e-6)


def test_the_elbo_of_a_posterior_equal_to_the_prior_is_the_expected_likelihood(known_air):
    """Objects that paint nothing on an empty image: each pixel is at the middle of its Gaussian."""
    model = known_air(torch.zeros(1, 1, 6, 7), torch.zeros(1, 1))
    expected = -42 * math.log(0.3 * math.sqrt(2 * math.pi))  # q(n) = p(n) = 1/2
    assert elbo(model, model.image) == pytest.approx(expected, rel=1e-5)


def test_a_validation_counts_where_there_is_a_truth(tiny_air):
    known = scenes_of()
    unknown = Scenes(known.image)
    assert {*validate(tiny_air, known)} == {"elbo", "count_accuracy"}
    assert {*validate(tiny_air, unknown)} == {"elbo"}


def test_as_many_scenes_are_evaluated_as_there_is_time_for(tiny_air, monkeypatch):
    scenes, clock = scenes_of(400), iter([0.0, 5.0] * 3)  # 50 scenes in 5 seconds: 0.1 each
    monkeypatch.setattr(evaluation, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    costs = [(seconds, affordable_scenes(tiny_air, scenes, 10, seconds)) for seconds in SECONDS]
    assert costs == [*zip(SECONDS, (400, 200, 50), strict=True)]
