"""What objects look like: silhouettes, colours, and what is painted before anything is learned."""

from dataclasses import replace

import pytest
import torch

from airscene.errors import UserError
from airscene.models.air_config import AIRConfig
from airscene.models.appearance import (
    CoarseLightDecoder,
    CoarseLightEncoder,
    LineDecoder,
    LineEncoder,
    SurfaceDecoder,
    SurfaceEncoder,
    line_of,
    pen,
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


def drawn_line(name: str) -> torch.Tensor:
    """A picture (1, 1, 20, 20) of a straight line, or of an arc, about 2 px wide."""
    t = torch.linspace(-1, 1, 200)
    x, y = {"straight": (6 * t, 4 * t), "arc": (6 * t, 5 - 8 * t**2)}[name]
    points = torch.stack([x, y], -1) + SIZE / 2
    pixels = torch.cartesian_prod(*[torch.arange(SIZE) + 0.5] * 2).flip(-1)
    distance = torch.cdist(pixels, points).amin(1)
    return (-distance.square() / 2).exp().view(1, 1, SIZE, SIZE)


@pytest.mark.parametrize("name", ["straight", "arc"])
def test_before_anything_is_learned_a_line_is_painted_where_it_is(name):
    torch.manual_seed(0)
    encoder, decoder = (part(1, SIZE, 32, 12) for part in (LineEncoder, LineDecoder))
    image = drawn_line(name)
    with torch.no_grad():
        q = encoder.describe(View(image, image, image * 0, None), WINDOW, (SIZE, SIZE))
        paint, opacity = decoder.paint(q.loc)
    assert opacity is None and paint.shape == image.shape
    assert (image - paint).square().sum() < 0.4 * image.square().sum()


def test_of_two_lines_one_is_painted():
    encoder, decoder = (part(1, SIZE, 32, 12) for part in (LineEncoder, LineDecoder))
    cross = drawn_line("straight").maximum(drawn_line("straight").flip(-1))
    with torch.no_grad():
        q = encoder.describe(View(cross, cross, cross * 0, None), WINDOW, (SIZE, SIZE))
        paint, _ = decoder.paint(q.loc)
    half = drawn_line("straight").sum() / cross.sum()
    assert (paint * cross).sum() / cross.square().sum() < half + 0.2


def test_a_line_learns_to_bend(double):
    """The gradient of what is painted leads from a straight line to one of two bows."""
    torch.manual_seed(0)
    decoder = LineDecoder(1, SIZE, 16, 12)
    t = torch.linspace(-1, 1, 200)
    points = torch.stack([0.7 * t, 0.3 * (4 * t**3 - 3 * t)], -1)
    target = pen(points, torch.tensor([0.1]), SIZE)
    code = torch.zeros(12)
    code[2] = 0.7 / 0.5 * 1.5
    code.requires_grad_()
    optimizer = torch.optim.Adam([code, *decoder.parameters()], lr=0.02)
    errors = []
    for _ in range(150):
        error = (decoder.paint(code)[0][0] - target).square().sum()
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())
    assert errors[-1] < 0.1 * errors[0]


def test_a_line_is_the_polynomial_of_its_code():
    code = torch.tensor([0.2, -0.4, 1.5, 0.0, 0.0, 0.8])  # a middle, a half length, a bow
    line = line_of(code)
    t = torch.linspace(-1, 1, len(line))
    torch.testing.assert_close(line[:, 0], 0.1 + 0.5 * t)
    torch.testing.assert_close(line[:, 1], -0.2 + 0.2 * (2 * t**2 - 1))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"compositor": "over"}, "--model.appearance line is light"),
        ({"what": 5}, r"--model.what 5 leaves no dimension .* give --model.what 6 or more"),
    ],
)
def test_lines_that_cannot_be(change, complaint):
    with pytest.raises(UserError, match=complaint):
        AIRConfig(appearance="line", **change)


def test_a_code_without_room_for_a_shape_is_refused_before_a_model_is_built():
    grey = AIRConfig(compositor="over", what=2)
    with pytest.raises(UserError, match=r"--model\.what 2 leaves .* give --model\.what 4 or more"):
        replace(grey, channels=3)
    with pytest.raises(UserError, match=r"--model\.what 2 "):
        grey.fitted(torch.rand(4, 3, 50, 50))
