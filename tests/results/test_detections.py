import dataclasses

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airscene.core.compositors import COMPOSITORS, Layers
from airscene.models.air import AIR
from airscene.results import detections
from airscene.results.detections import detect, segment

YES, NO = 4.0, -4.0


def block(x0: int, y0: int, x1: int, y1: int, level: float = 1.0) -> torch.Tensor:
    canvas = torch.zeros(12, 16)
    canvas[y0:y1, x0:x1] = level
    return canvas


def one_scene(*objects: torch.Tensor) -> torch.Tensor:
    return torch.stack(objects).unsqueeze(0)


def logits(*rows: float) -> torch.Tensor:
    return torch.tensor([rows])


def boxes_of(model) -> list[list[float]]:
    return detect(model, model.image).boxes[0].tolist()


def test_counts_and_scores_are_those_of_the_posterior(known_air):
    objects = torch.rand(2, 3, 12, 16)
    rows = torch.tensor([[2.0, 1.0, -1.0], [-3.0, 5.0, 5.0]])
    model = known_air(objects, rows)
    found = detect(model, model.image)
    s = rows.sigmoid()
    probs = torch.stack(
        [1 - s[:, 0], s[:, 0] * (1 - s[:, 1]), s[:, 0] * s[:, 1] * (1 - s[:, 2]), s.prod(1)], 1
    )
    torch.testing.assert_close(found.count_probs, probs)
    assert found.count.tolist() == [2, 0] == probs.argmax(1).tolist()
    tails = torch.stack([probs[:, k:].sum(1) for k in (1, 2, 3)], 1)  # q(n ≥ k)
    torch.testing.assert_close(found.scores, tails)


def test_windows_are_given_by_their_corners(known_air):
    window = torch.tensor([[[8.0, 6.0, 4.0], [3.0, 2.0, 1.0]]])
    model = known_air(torch.rand(1, 2, 12, 16), logits(YES, YES), window=window)
    windows = detect(model, model.image).windows[0]
    assert windows.tolist() == [[6, 4, 10, 8], [2.5, 1.5, 3.5, 2.5]]


def test_the_reconstruction_shows_the_counted_objects_alone(known_air):
    first, second, third = block(1, 1, 4, 4), block(2, 2, 6, 6, 0.5), block(0, 0, 16, 12)
    model = known_air(one_scene(first, second, third), logits(YES, YES, NO))
    assert torch.equal(detect(model, model.image).reconstruction[0, 0], first + second)


def test_a_box_is_tight_around_the_ink_that_an_object_explains(known_air):
    """The paint is softer and wider than the ink."""
    ink = block(2, 3, 6, 7) + block(10, 1, 13, 9)
    paint = [block(1, 2, 7, 8, 0.6), block(9, 0, 14, 10, 0.6)]
    model = known_air(one_scene(*paint), logits(YES, YES), image=ink[None, None])
    assert boxes_of(model) == [[2, 3, 6, 7], [10, 1, 13, 9]]


def test_faint_ink_is_judged_against_the_objects_brightest(known_air):
    faint, bright = block(2, 3, 6, 7, 0.1), block(10, 1, 13, 9)
    model = known_air(one_scene(faint, bright), logits(YES, YES))
    assert boxes_of(model) == [[2, 3, 6, 7], [10, 1, 13, 9]]


def test_shared_ink_belongs_to_the_object_that_paints_most_of_it(known_air):
    """Of three objects, none of which paints half."""
    strong, weak, weaker = block(2, 2, 8, 8, 0.4), block(4, 2, 12, 8, 0.3), block(2, 2, 14, 8, 0.2)
    ink = block(2, 2, 14, 8)[None, None]
    model = known_air(one_scene(strong, weak, weaker), logits(YES, YES, YES), image=ink)
    assert boxes_of(model) == [[2, 2, 8, 8], [8, 2, 12, 8], [12, 2, 14, 8]]


def test_steps_beyond_the_count_have_no_box_and_take_no_ink(known_air):
    ink = block(2, 3, 6, 7)
    model = known_air(one_scene(ink * 0.5, ink, ink), logits(YES, NO, YES), image=ink[None, None])
    assert boxes_of(model) == [[2, 3, 6, 7], [0, 0, 0, 0], [0, 0, 0, 0]]


HALF = block(2, 3, 6, 7, 0.5)
WINDOW = [[[8.0, 6.0, 4.0], [3.0, 2.0, 1.5]]]  # the second reaches from 2.25 to 3.75, 1.25 to 2.75


@pytest.mark.parametrize(
    "second, box",
    [
        (block(3, 4, 5, 6, 0.4), [3, 4, 5, 6]),  # the first paints more everywhere
        (block(10, 1, 13, 9), [10, 1, 13, 9]),  # no ink where it paints
        (torch.zeros(12, 16), [2, 1, 4, 3]),  # it paints nothing: the pixels of its window
    ],
)
def test_an_object_that_explains_no_ink_has_the_box_of_its_paint_or_window(known_air, second, box):
    ink, window = block(2, 3, 6, 7)[None, None], torch.tensor(WINDOW)
    model = known_air(one_scene(HALF, second), logits(YES, YES), image=ink, window=window)
    assert boxes_of(model) == [[2, 3, 6, 7], box]


PIXELS = st.tuples(*[st.integers(0, 15)] * 4, st.sampled_from([0.0, 1e-9, 1e-3, 0.3, 1.0]))
PLACES = st.tuples(*[st.floats(-40, 40, width=32)] * 2, st.floats(2**-7, 30, width=32))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(PIXELS, PLACES), min_size=3, max_size=3), PIXELS)
def test_every_counted_object_has_a_box_on_the_canvas(known_air, steps, ink):
    """Whatever it paints, wherever its window is, and whatever the image shows."""
    objects = one_scene(*(block(*pixels) for pixels, _ in steps))
    window = torch.tensor([[place for _, place in steps]])
    image = block(*ink)[None, None]
    found = detect(known_air(objects, logits(YES, YES, NO), image, window), image)
    (x0, y0, x1, y1), absent = found.boxes[0, :2].T, found.boxes[0, 2]
    assert ((x0 >= 0) & (x0 < x1) & (x1 <= 16)).all()
    assert ((y0 >= 0) & (y0 < y1) & (y1 <= 12)).all()
    assert absent.tolist() == [0, 0, 0, 0]


def test_detections_do_not_depend_on_how_images_are_batched(tiny_air):
    torch.manual_seed(1)
    images = torch.rand(5, 1, 10, 12)
    whole, split = detect(tiny_air, images), detect(tiny_air, images, batch=2)
    for name, value in vars(whole).items():
        torch.testing.assert_close(value.double(), getattr(split, name).double())


def test_detections_do_not_depend_on_how_many_images_are_read_at_a_time(tiny_air, monkeypatch):
    torch.manual_seed(1)
    images = torch.rand(5, 1, 10, 12)
    whole = detect(tiny_air, images)
    monkeypatch.setattr(detections, "READ", 2)
    for name, value in vars(detect(tiny_air, images)).items():
        assert torch.equal(getattr(whole, name), value), name


@pytest.mark.parametrize("steps", [None, 5])
def test_more_objects_may_be_allowed_for_than_in_training(tiny_air, steps):
    images = torch.rand(2, 1, 10, 12)
    found, most = detect(tiny_air, images, steps), steps or 3
    assert found.count_probs.shape == (2, most + 1)
    assert found.boxes.shape == found.windows.shape == (2, most, 4)
    assert found.scores.shape == (2, most)
    assert found.reconstruction.shape == images.shape


def test_a_pixel_shows_the_counted_object_that_paints_most_above_ink(known_air):
    strong, weak, faint = block(2, 2, 8, 8, 0.6), block(4, 2, 12, 8, 0.4), block(2, 2, 16, 12, 0.2)
    model = known_air(one_scene(strong, weak, faint), logits(YES, YES, YES))
    expected = block(2, 2, 8, 8) + block(8, 2, 12, 8, 2)
    assert torch.equal(detect(model, model.image).masks[0].float(), expected)
    fewer = known_air(one_scene(strong, weak, faint), logits(YES, NO, NO))
    assert torch.equal(detect(fewer, fewer.image).masks[0].float(), block(2, 2, 8, 8))
    none = known_air(one_scene(strong, weak, faint), logits(NO, NO, NO))
    assert not detect(none, none.image).masks.any()


def test_what_was_found_in_some_images_is_what_is_found_in_them_alone(known_air):
    model = known_air(
        torch.rand(3, 2, 12, 16), torch.tensor([[2.0, 1.0], [-3.0, 5.0], [2.0, -1.0]])
    )
    found, some = detect(model, model.image), torch.tensor([2, 0])
    for name, value in vars(detect(model, model.image[some])).items():
        assert torch.equal(getattr(found[some], name), value), name


def test_the_brightest_channel_decides_whose_a_pixel_is():
    paint = torch.zeros(1, 2, 3, 1, 2)
    paint[0, 0, :, 0, 0], paint[0, 1, 2, 0, 0] = 0.5, 0.9
    objects = Layers(paint, None, torch.zeros(1, 2, 2, dtype=torch.long))
    shares = COMPOSITORS["sum"].shares(objects, torch.ones(1, 2), (1, 2))
    assert segment(shares).tolist() == [[[2, 0]]]


def test_a_pixel_belongs_to_what_is_seen_most_there():
    """The first object is half opaque in both pixels, the second wholly in one of them."""
    opacity = torch.tensor([[0.5, 0.5], [1.0, 0.0]]).view(1, 2, 1, 1, 2)
    objects = Layers(opacity, opacity, torch.zeros(1, 2, 2, dtype=torch.long))
    shares = COMPOSITORS["over"].shares(objects, torch.ones(1, 2), (1, 2))
    expected = torch.tensor([[0.0, 0.5], [0.5, 0.5], [0.5, 0.0]])
    torch.testing.assert_close(shares[0, :, 0], expected)
    alone = COMPOSITORS["over"].shares(objects, torch.tensor([[0.0, 1.0]]), (1, 2))
    assert segment(alone).tolist() == [[[2, 0]]]


@pytest.mark.parametrize("compositor", ["sum", "over"])
def test_no_images_have_no_detections(tiny_config, compositor):
    config = dataclasses.replace(tiny_config, compositor=compositor)
    size = config.channels, config.height, config.width
    found = detect(AIR(config), torch.zeros(0, *size))
    assert found.count.shape == (0,) and found.boxes.shape == (0, config.steps, 4)
    assert found.masks is not None and found.masks.shape == (0, *size[1:])
