"""Which pixels of a glimpse look like its middle: the silhouette of an object of any colour.

An object that hides what is behind it is told from its surroundings by its colour, and most objects
have about the same colour all over, whatever they hide. The colour m is found by mean shift
(Comaniciu and Meer 2002). With the picture x_i at pixel i of the glimpse, and what the canvas
leaves of it, left_i, it starts as an average around the middle, over pixels that are each weighted
by how much they differ from the canvas and by how much of them no object explains yet,

    w_i = near_i · seen_i · ‖left_i‖²,    m = Σ w_i x_i / Σ w_i,

and then moves twice to the average of those pixels which are alike,

    m ← Σ w_i alike_i x_i / Σ w_i alike_i,
    alike_i = exp(-10 ‖x_i - m‖² / c²) · (1 - exp(-10 ‖left_i‖² / c²)).

c² is the average of ‖left_i‖² over the same pixels: the contrast of the object, so that faint and
strong objects, dark and bright ones have the same silhouette. The second factor leaves out pixels
of the object's colour that the canvas explains.
"""

import torch
from jaxtyping import Float
from torch import Tensor

MIDDLE = 0.15  # standard deviation of what counts as the middle, as a share of the glimpse's side
SHARPNESS = 10.0  # a pixel that differs by a third of the contrast is alike by a third
SHIFTS = 2  # of the mean; more change little
FAINT = 1e-3  # squared contrast at which nothing is told from noise


def likeness(
    image: Float[Tensor, "batch channels size size"],
    left: Float[Tensor, "batch channels size size"],
    seen: Float[Tensor, "batch 1 size size"],
) -> tuple[Float[Tensor, "batch 1 size size"], Float[Tensor, "batch 1 size size"]]:
    """How much each pixel of a glimpse looks like the middle.

    Args:
        image: the picture, shape (B, C, s, s).
        left: the picture less the canvas so far, shape (B, C, s, s).
        seen: the part of each pixel that no object explains yet, in [0, 1], shape (B, 1, s, s).

    Returns:
        The likeness in [0, 1], shape (B, 1, s, s), zero where nothing is seen; and the weights of
        the pixels that the colour is the average of, which sum to 1, of the same shape.

    >>> image = torch.full((1, 1, 9, 9), 0.8)
    >>> image[..., 2:7, 2:7] = 0.3
    >>> alike, _ = likeness(image, image - 0.8, torch.ones_like(image))
    >>> [round(value, 2) for value in alike[0, 0, 4].tolist()]
    [0.0, 0.0, 0.96, 0.96, 0.96, 0.96, 0.96, 0.0, 0.0]
    """
    square = left.square().sum(1, keepdim=True)
    start = _near(left) * seen * (square + FAINT / 10)
    weight = _shares(start)
    for _ in range(SHIFTS):
        weight = _shares(start * _alike(image, square, weight))
    return seen * _alike(image, square, weight), weight


def _alike(
    image: Tensor, square: Float[Tensor, "batch 1 size size"], weight: Tensor
) -> Float[Tensor, "batch 1 size size"]:
    """How much each pixel has the colour that is the average of all by these weights."""
    colour = (weight * image).sum((2, 3), keepdim=True)
    distance = (image - colour).square().sum(1, keepdim=True)
    sharpness = SHARPNESS / ((weight * square).sum((2, 3), keepdim=True) + FAINT)
    return (-sharpness * (distance + FAINT)).exp() * -torch.expm1(-sharpness * square)


def _near(left: Tensor) -> Float[Tensor, "size size"]:
    """How near each point of a glimpse is to the middle."""
    size = left.shape[-1]
    at = (torch.arange(size, device=left.device, dtype=left.dtype) + 0.5) / size - 0.5
    return (-(at[:, None].square() + at.square()) / (2 * MIDDLE**2)).exp()


def _shares(weight: Tensor) -> Tensor:
    """Weights (B, 1, s, s) that sum to 1 in each glimpse; zeros where they vanish."""
    return weight / weight.sum((2, 3), keepdim=True).clamp(min=1e-9)
