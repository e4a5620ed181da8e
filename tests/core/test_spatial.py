import pytest
import torch
import torch.nn.functional as F

from airscene.core.spatial import INK, crop, ink_boxes, paste, pixel_boxes, window_box

HEIGHT, WIDTH = 9, 13
WINDOWS = [
    [6.5, 4.5, 9.0],  # in the middle
    [3.2, 5.7, 4.1],
    [11.9, 1.3, 6.6],  # half outside
    [7.3, 4.4, 30.0],  # larger than the image
    [-20.0, 4.0, 5.0],  # outside
]

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture
def image() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(len(WINDOWS), 3, HEIGHT, WIDTH)


@pytest.fixture
def window() -> torch.Tensor:
    return torch.tensor(WINDOWS)


def sampled(picture, centre_x, centre_y, span_x, span_y, height, width):
    """Grid samples over a rectangle given in the picture's own -1..1 coordinates."""
    theta = torch.zeros(len(picture), 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = span_x, centre_x
    theta[:, 1, 1], theta[:, 1, 2] = span_y, centre_y
    grid = F.affine_grid(theta, [*picture.shape[:2], height, width], align_corners=False)
    return F.grid_sample(picture, grid, padding_mode="zeros", align_corners=False)


def test_crop_agrees_with_grid_sample_on_any_window(image, window):
    cx, cy, side = window.T
    x, y = 2 * cx / WIDTH - 1, 2 * cy / HEIGHT - 1
    expected = sampled(image, x, y, side / WIDTH, side / HEIGHT, 5, 5)
    torch.testing.assert_close(crop(image, window, 5), expected, rtol=0, atol=1e-12)


def test_paste_agrees_with_grid_sample_on_any_window(window):
    glimpse = torch.rand(len(WINDOWS), 3, 5, 5)
    cx, cy, side = window.T
    x, y = (WIDTH - 2 * cx) / side, (HEIGHT - 2 * cy) / side
    expected = sampled(glimpse, x, y, WIDTH / side, HEIGHT / side, HEIGHT, WIDTH)
    painted = paste(glimpse, window, HEIGHT, WIDTH)
    torch.testing.assert_close(painted, expected, rtol=0, atol=1e-12)


def test_crop_of_a_window_of_whole_pixels_copies_them(image):
    window = torch.tensor([[7.0, 4.0, 6.0]]).expand(len(image), 3)
    torch.testing.assert_close(crop(image, window, 6), image[:, :, 1:7, 4:10], rtol=0, atol=1e-12)


def test_paste_into_a_window_of_whole_pixels_copies_the_glimpse():
    glimpse = torch.rand(2, 3, 6, 6)
    canvas = paste(glimpse, torch.tensor([[7.0, 4.0, 6.0]]).expand(2, 3), HEIGHT, WIDTH)
    expected = torch.zeros(2, 3, HEIGHT, WIDTH)
    expected[:, :, 1:7, 4:10] = glimpse
    torch.testing.assert_close(canvas, expected, rtol=0, atol=1e-12)


def test_cropping_what_was_pasted_gives_the_glimpse_back():
    """Up to interpolation: within 0.04 for a smooth glimpse, which has values up to 1."""
    axis = torch.linspace(-2, 2, 8)
    glimpse = torch.exp(-(axis[:, None] ** 2) - axis**2).expand(1, 1, 8, 8)
    window = torch.tensor([[30.3, 21.6, 33.0]])
    again = crop(paste(glimpse, window, 50, 60), window, 8)
    torch.testing.assert_close(again, glimpse, rtol=0, atol=0.04)


@pytest.mark.parametrize("window", WINDOWS)
def test_nothing_is_painted_beyond_half_a_glimpse_pixel_outside_the_window(window):
    points = 5
    cx, cy, side = window
    reach = side / 2 + side / points / 2
    canvas = paste(torch.ones(1, 1, points, points), torch.tensor([window]), HEIGHT, WIDTH)[0, 0]
    x, y = torch.arange(WIDTH) + 0.5, torch.arange(HEIGHT) + 0.5
    beyond = ((x - cx).abs() > reach) | ((y - cy).abs() > reach)[:, None]
    inside = ((x - cx).abs() < side / 2) & ((y - cy).abs() < side / 2)[:, None]
    assert canvas[beyond].abs().sum() == 0
    assert (canvas[inside] > 0).all()


def test_gradients_of_crop_agree_with_finite_differences(image, window):
    image, window = image[1:3].requires_grad_(), window[1:3].requires_grad_()
    assert torch.autograd.gradcheck(lambda i, w: crop(i, w, 4), (image, window))


def test_gradients_of_paste_agree_with_finite_differences(window):
    glimpse, window = torch.rand(2, 3, 4, 4, requires_grad=True), window[1:3].requires_grad_()
    assert torch.autograd.gradcheck(lambda g, w: paste(g, w, HEIGHT, WIDTH), (glimpse, window))


def test_a_window_box_has_its_side_around_its_centre():
    window = torch.tensor([[[5.0, 3.0, 4.0]], [[1.0, 2.0, 0.5]]])
    expected = torch.tensor([[[3.0, 1.0, 7.0, 5.0]], [[0.75, 1.75, 1.25, 2.25]]])
    torch.testing.assert_close(window_box(window), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "box, expected",
    [
        ((2, 3, 6, 7), (2, 3, 6, 7)),  # whole pixels already
        ((2.4, 3.6, 5.1, 6.9), (2, 3, 6, 7)),
        ((4.2, 4.3, 4.4, 4.4), (4, 4, 5, 5)),  # smaller than a pixel
        ((4, 4, 4, 4), (4, 4, 5, 5)),  # without area
        ((-5, -5, 50, 50), (0, 0, WIDTH, HEIGHT)),  # larger than the canvas
        ((-9, 2, -4, 4), (0, 2, 1, 4)),  # left of it
        ((40, -9, 44, -3), (WIDTH - 1, 0, WIDTH, 1)),  # right of it and above
        ((2, 9, 4, 12), (2, HEIGHT - 1, 4, HEIGHT)),  # touching it from below
    ],
)
def test_pixel_boxes_are_whole_pixels_of_the_canvas(box, expected):
    found = pixel_boxes(torch.tensor([box]).double(), HEIGHT, WIDTH)
    assert found.tolist() == [[*expected]]


def test_ink_boxes_are_tight_and_end_past_the_last_pixel():
    objects = torch.zeros(3, 6, 8)
    objects[0, 1, 2] = objects[0, 4, 5] = 1.0
    objects[1, 5, 7] = INK + 0.01
    objects[2] = 1.0
    expected = [[2, 1, 6, 5], [7, 5, 8, 6], [0, 0, 8, 6]]
    assert ink_boxes(objects).tolist() == expected


def test_without_ink_the_box_is_zero():
    assert ink_boxes(torch.full((2, 4, 5), INK)).tolist() == [[0, 0, 0, 0]] * 2
