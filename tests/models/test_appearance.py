"""What objects look like: silhouettes, colours, and what is painted before anything is learned."""

from dataclasses import replace

import pytest
import torch

from airscene.errors import UserError
from airscene.models.air import AIRConfig
from airscene.models.appearance import (
    CoarseLightDecoder,
    CoarseLightEncoder,
    SurfaceDecoder,
    SurfaceEncoder,
)
from airscene.models.likeness import likeness
from airscene.models.view import CLEAR, View

SIZE, WHAT = 20, 50
WINDOW = torch.tensor([[10.0, 10.0, 20.0]])  # the whole picture


def shape(name: str) -> torch.Tensor:
    """A silhouette (1, 1, 20, 20) of a disc, or of a bar, around the middle."""
    at = torch.arange(SIZE) + 0.5 - SIZE / 2
    inside = {
        "disc": at[:, None] ** 2 + at**2 < 7**2,
        "bar": (at[:, None].abs() < 3) & (at.abs() < 8),
    }
    return inside[name].float()[None, None]


def scene(name: str, colour: list[float], behind: list[float]) -> View:
    mask = shape(name)
    front, back = (torch.tensor(part)[None, :, None, None] for part in (colour, behind))
    image = mask * front + (1 - mask) * back
    return View(image, image - back, back.expand_as(image), torch.ones_like(mask))


COLOURS = [
    ([0.9, 0.1, 0.1], [0.0, 0.0, 0.0]),
    ([0.1, 0.2, 0.3], [0.9, 0.9, 0.9]),
    ([0.5, 0.5, 0.75], [0.5, 0.5, 0.5]),
]


@pytest.mark.parametrize("name", ["disc", "bar"])
@pytest.mark.parametrize(("colour", "behind"), COLOURS)
def test_a_silhouette_is_the_same_whatever_the_colours_are(name, colour, behind):
    silhouette, found = scene(name, colour, behind).surface(WINDOW, SIZE, (SIZE, SIZE))
    torch.testing.assert_close(silhouette / (2 * CLEAR) + 0.5, shape(name), atol=0.15, rtol=0)
    torch.testing.assert_close(found[0], torch.tensor(colour), atol=0.01, rtol=0)


def test_a_neighbour_of_another_colour_is_not_alike():
    left = torch.zeros(1, 3, SIZE, SIZE)
    left[:, 0, :, :13] = 0.8  # red in the middle, green beside it
    left[:, 1, :, 13:] = 0.8
    alike, weight = likeness(left, left, torch.ones(1, 1, SIZE, SIZE))
    assert alike[..., :13].min() > 0.9 and alike[..., 13:].max() < 0.01
    assert weight.sum().item() == pytest.approx(1) and weight[..., 13:].sum() < 0.01


def test_what_other_objects_explain_is_not_alike():
    seen = torch.ones(1, 1, SIZE, SIZE)
    seen[..., :5] = 0
    grey = torch.full((1, 1, SIZE, SIZE), 0.5)
    alike, weight = likeness(grey, grey, seen)
    assert not alike[..., :5].any() and not weight[..., :5].any() and alike[..., 5:].min() > 0.9


def test_where_nothing_is_left_nothing_is_alike():
    left = torch.zeros(1, 3, SIZE, SIZE)
    alike, weight = likeness(left + 0.5, left, torch.ones(1, 1, SIZE, SIZE))
    assert alike.max() < 1e-3 and weight.isfinite().all()


def test_an_object_is_alike_all_over_whatever_it_hides():
    behind = torch.linspace(0, 0.6, SIZE).expand(1, 1, SIZE, SIZE)
    image = behind.clone()
    image[..., 6:14, 4:16] = 0.9
    alike, _ = likeness(image, image - behind, torch.ones(1, 1, SIZE, SIZE))
    assert alike[..., 6:14, 4:16].min() > 0.9
    alike[..., 6:14, 4:16] = 0
    assert alike.max() < 1e-3


@pytest.mark.parametrize("name", ["disc", "bar"])
@pytest.mark.parametrize(("colour", "behind"), COLOURS)
def test_before_anything_is_learned_a_surface_is_painted_about_right(name, colour, behind):
    torch.manual_seed(0)
    encoder, decoder = (part(3, SIZE, 32, WHAT) for part in (SurfaceEncoder, SurfaceDecoder))
    with torch.no_grad():
        code = encoder.describe(scene(name, colour, behind), WINDOW, (SIZE, SIZE)).loc
        appearance, opacity = decoder.paint(code)
    inside = shape(name) > 0.5
    agree = ((opacity > 0.5) & inside).sum() / ((opacity > 0.5) | inside).sum()
    assert agree > 0.8
    middle = appearance[0, :, SIZE // 2, SIZE // 2]
    torch.testing.assert_close(middle, torch.tensor(colour), atol=0.1, rtol=0)


@pytest.mark.parametrize("name", ["disc", "bar"])
@pytest.mark.parametrize("channels", [1, 3])
def test_before_anything_is_learned_a_light_is_painted_about_right(name, channels):
    torch.manual_seed(0)
    looks = CoarseLightEncoder, CoarseLightDecoder
    encoder, decoder = (part(channels, SIZE, 32, WHAT) for part in looks)
    image = shape(name).expand(-1, channels, -1, -1)
    view = View(image, image, torch.zeros_like(image), None)
    with torch.no_grad():
        paint, _ = decoder.paint(encoder.describe(view, WINDOW, (SIZE, SIZE)).loc)
    inside = image > 0.5
    agree = ((paint > 0.5) & inside).sum() / ((paint > 0.5) | inside).sum()
    assert agree > 0.8
    assert paint[inside].mean() > 0.7 and paint[~inside].mean() < 0.25


def test_a_code_without_room_for_a_shape_is_refused_before_a_model_is_built():
    grey = AIRConfig(compositor="over", what=2)
    with pytest.raises(UserError, match=r"--model\.what 2 leaves .* give --model\.what 4 or more"):
        replace(grey, channels=3)
    with pytest.raises(UserError, match=r"--model\.what 2 "):
        grey.fitted(torch.rand(4, 3, 50, 50))
