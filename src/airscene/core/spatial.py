"""The spatial transformer: crop a glimpse out of an image, paste an object onto a canvas.

A window is axis-aligned, so bilinear interpolation separates into two small matrices, one an axis,
and both directions are `Ay @ picture @ Axᵀ` (Jaderberg et al. 2015, equations 3 to 5, for a
transformation without rotation). Two matrix products are many times faster than a general grid
sample, on CPUs and GPUs alike, and the gradient reaches the window through the matrices.

A window is (cx, cy, side): its centre and side in pixels, with shape (*, 3). Pixel j of an axis
covers [j, j + 1), so its centre lies at j + 0.5.
"""

from functools import reduce

import torch
from jaxtyping import Float
from torch import Tensor

INK = 0.2  # a pixel of an object counts as ink above this intensity


def crop(
    image: Float[Tensor, "batch channels height width"],
    window: Float[Tensor, "batch 3"],
    size: int,
) -> Float[Tensor, "batch channels size size"]:
    """Samples `size` × `size` points of each image, spread evenly over its window.

    What a window shows beyond the image is zero.

    Args:
        image: the images, with shape (B, C, H, W).
        window: centre and side in pixels (cx, cy, side), with shape (B, 3), side > 0.
        size: points along each axis of the glimpse.

    Returns:
        The glimpses, with shape (B, C, size, size).
    """
    cx, cy, side = window.unbind(-1)
    height, width = image.shape[-2:]
    Ay = _crop_weights(cy, side, size, height).unsqueeze(1)  # (B, 1, size, H)
    Ax = _crop_weights(cx, side, size, width).unsqueeze(1)  # (B, 1, size, W)
    return Ay @ image @ Ax.mT


def paste(
    glimpse: Float[Tensor, "batch channels size size"],
    window: Float[Tensor, "batch 3"],
    height: int,
    width: int,
) -> Float[Tensor, "batch channels height width"]:
    """Paints each glimpse into its window on an empty canvas; the inverse of `crop`.

    Args:
        glimpse: what to paint, with shape (B, C, size, size).
        window: centre and side in pixels (cx, cy, side), with shape (B, 3), side > 0.
        height: canvas height H in pixels.
        width: canvas width W in pixels.

    Returns:
        The canvases, with shape (B, C, H, W), zero outside the window.
    """
    cx, cy, side = window.unbind(-1)
    size = glimpse.shape[-1]
    Ay = _paste_weights(cy, side, size, height).unsqueeze(1)  # (B, 1, H, size)
    Ax = _paste_weights(cx, side, size, width).unsqueeze(1)  # (B, 1, W, size)
    return Ay @ glimpse @ Ax.mT


def brightest(
    pictures: Float[Tensor, "*batch channels height width"],
) -> Float[Tensor, "*batch height width"]:
    """The brightest channel of each pixel, shape (*, H, W); of one channel, without a copy."""
    return reduce(torch.maximum, pictures.unbind(-3))


def window_box(window: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 4"]:
    """The corners (x0, y0, x1, y1) in pixels of windows (cx, cy, side), with shape (*, 4)."""
    centre, half = window[..., :2], window[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def pixel_boxes(
    boxes: Float[Tensor, "objects 4"], height: int, width: int
) -> Float[Tensor, "objects 4"]:
    """The smallest boxes of whole canvas pixels around boxes, cut off at the canvas's border.

    A box that lies wholly outside of the canvas gets the pixels at the border that are nearest to
    it, at least one along each axis.

    Args:
        boxes: corners (x0, y0, x1, y1) in pixels, with shape (T, 4).
        height: canvas height H in pixels.
        width: canvas width W in pixels.

    Returns:
        Corners with 0 <= x0 < x1 <= W and 0 <= y0 < y1 <= H, x1 and y1 exclusive, shape (T, 4).

    >>> pixel_boxes(torch.tensor([[1.5, -2.0, 4.2, 3.0], [90.0, 2.0, 99.0, 4.0]]), 10, 20)
    tensor([[ 1.,  0.,  5.,  3.],
            [19.,  2., 20.,  4.]])
    """
    size = torch.tensor([width, height], device=boxes.device, dtype=boxes.dtype)
    low = boxes[:, :2].floor().clamp(min=0).minimum(size - 1)
    high = boxes[:, 2:].ceil().maximum(low + 1).minimum(size)
    return torch.cat([low, high], dim=1)


def ink_boxes(objects: Float[Tensor, "objects height width"]) -> Float[Tensor, "objects 4"]:
    """The tight boxes of single objects.

    Args:
        objects: intensities in [0, 1], with shape (T, H, W).

    Returns:
        Corners (x0, y0, x1, y1), x1 and y1 exclusive, with shape (T, 4); zeros where there is no
        pixel above `INK`.
    """
    excess = (objects - INK).clamp(min=0)
    x0, x1 = _extent(excess.sum(1) > 0)  # sums are several times faster than maxima
    y0, y1 = _extent(excess.sum(2) > 0)
    return torch.stack([x0, y0, x1, y1], dim=1).float()


def _extent(ink: Tensor) -> tuple[Tensor, Tensor]:
    """First and past-the-last true index along the second axis of (T, A); both 0 if none is."""
    first = ink.int().argmax(1)
    last = ink.shape[1] - ink.flip(1).int().argmax(1)
    return first, last * ink.any(1)


def _crop_weights(centre: Tensor, side: Tensor, points: int, pixels: int) -> Tensor:
    """Weight of each pixel in each sampled point of one axis, with shape (B, points, pixels)."""
    steps = torch.arange(points, device=centre.device, dtype=centre.dtype)
    offset = (steps + 0.5) / points - 0.5
    position = centre[:, None] + side[:, None] * offset  # (B, points)
    return _hat(position[:, :, None] - _pixel_centres(pixels, centre))


def _paste_weights(centre: Tensor, side: Tensor, points: int, pixels: int) -> Tensor:
    """Weight of each glimpse point in each pixel of one axis, with shape (B, pixels, points)."""
    scale = (points / side)[:, None]  # glimpse points a pixel
    position = (_pixel_centres(pixels, centre) - centre[:, None]) * scale + points / 2
    return _hat(position[:, :, None] - _pixel_centres(points, centre))


def _pixel_centres(pixels: int, like: Tensor) -> Tensor:
    return torch.arange(pixels, device=like.device, dtype=like.dtype) + 0.5


def _hat(distance: Tensor) -> Tensor:
    """Bilinear interpolation: weight falls linearly to zero one pixel away."""
    return distance.abs().neg_().add_(1).relu_()  # in place: these are the largest tensors
