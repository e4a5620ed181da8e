"""Where to look: what is salient, and that nothing depends on how a picture is divided."""

import pytest
import torch

from airscene.models.places import Sheet, find_places, largest, pasted, salience

SIDE, SIGMA, MARGIN = 8.0, 0.3, 12


def blobs(centres, height=60, width=50, side=6) -> torch.Tensor:
    """Squares of ones on black, shape (1, 1, H, W)."""
    picture = torch.zeros(1, 1, height, width)
    for y, x in centres:
        picture[..., y - side // 2 : y + side // 2, x - side // 2 : x + side // 2] = 1
    return picture


def places(picture, strip=1024):
    row, pixel = find_places(Sheet.of(picture, MARGIN), SIDE, SIGMA, strip)
    return row.tolist(), (pixel - MARGIN).tolist()


def test_each_thing_has_one_place_though_four_pixels_are_in_its_middle():
    centres = [[10, 10], [10, 30], [40, 20]]
    _, found = places(blobs(centres))
    assert len(found) == 3
    for place, centre in zip(found, centres, strict=True):
        assert all(abs(a - b) <= 1 for a, b in zip(place, centre, strict=True))


def test_the_places_of_several_pictures_are_in_the_order_of_their_rows():
    pictures = torch.cat([blobs([[10, 10]]), blobs([]), blobs([[20, 20], [50, 10]])])
    for strip in (1024, 16):
        assert places(pictures, strip)[0] == [0, 2, 2]


def test_the_places_are_the_same_wherever_strips_end():
    generator = torch.Generator().manual_seed(0)
    picture = torch.rand(2, 1, 70, 40, generator=generator)
    whole = places(picture)
    assert len(whole[0]) > 10
    for strip in (1, 7, 30):
        assert places(picture, strip) == whole


def test_what_cannot_pay_for_an_object_is_no_place():
    faint = 0.2 * blobs([[20, 20]])  # 36 pixels of 0.04 over 2 * 0.09 are 8.0 nats, in all
    assert places(1.1 * faint)[1] and not places(0.9 * faint)[1]


def test_nothing_is_found_where_it_was_tried_or_explained_before():
    sheet = Sheet.of(blobs([[10, 10], [40, 20]]), MARGIN)
    row, pixel = find_places(sheet, SIDE, SIGMA)
    tried = sheet.without(row[:1], pixel[:1], 20)
    assert find_places(tried, SIDE, SIGMA)[1].tolist() == pixel[1:].tolist()
    patch = torch.ones(1, 1, 6, 6)
    explained = sheet.less(row[:1], torch.tensor([[7, 7]]) + MARGIN, patch)
    assert find_places(explained, SIDE, SIGMA)[1].tolist() == pixel[1:].tolist()


def test_what_is_painted_beyond_the_border_leaves_the_margin_empty():
    sheet = Sheet.of(torch.ones(1, 1, 10, 10), 4)
    left = sheet.less(torch.tensor([0]), torch.tensor([[2, 2]]), torch.ones(1, 1, 4, 4)).left
    assert left[~sheet.inside].eq(0).all() and sheet.inner(left).sum() == 100 - 4


def test_salience_keeps_the_sum_and_has_its_peak_in_the_middle():
    picture = torch.zeros(1, 1, 41, 41)
    picture[..., 20, 20] = 1
    seen = salience(picture, 14.0)
    assert seen.sum() == pytest.approx(1, abs=1e-4) and seen.flatten().argmax() == 20 * 41 + 20


def test_largest_is_the_maximum_of_a_square():
    values = torch.rand(2, 1, 9, 14)
    for radius in range(5):
        pooled = torch.nn.functional.max_pool2d(values, 2 * radius + 1, 1, radius)
        assert torch.equal(largest(values, radius), pooled)


def test_patches_are_added_where_they_overlap_with_gradient():
    patch = torch.ones(2, 1, 2, 2, requires_grad=True)
    canvas = pasted(
        torch.zeros(1, 1, 4, 4), torch.tensor([0, 0]), torch.tensor([[0, 0], [1, 1]]), patch
    )
    assert canvas[0, 0, 1, 1] == 2 and canvas.sum() == 8
    canvas.square().sum().backward()
    assert patch.grad is not None and patch.grad[0, 0].tolist() == [[2, 2], [2, 4]]
