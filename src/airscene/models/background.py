"""Backgrounds: what lies under the objects, inferred from the picture.

A background has latents z of its own, with the prior N(0, I), a posterior that the picture decides,
and a canvas that z paints. Its KL is part of every bound. Kosiorek (2017, section 6) proposes one
that is a network; the others have less capacity, and none has no latents at all.

Values of `Constant` and `Smooth` are Φ(z), Φ being the normal distribution function, so that their
prior is uniform between 0 and 1.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Normal

from airscene.core.networks import MLP, calm, normal, spread

BackgroundName = Literal["none", "constant", "smooth", "network"]

GRID = 12  # values along each side of a smooth background
AROUND = 0.25  # of each side of the picture, from which a value is read
SUMMARY = 8  # points along each side of the reduced picture that corrections are read from
DARKEST = 1e-3  # values are kept so far from 0 and 1, where the inverse of Φ has no end
START_STD = 0.1  # of the posterior


@dataclass(frozen=True)
class Shape:
    """What a background must know.

    Attributes:
        channels: C of the canvas.
        height: H of the canvas in pixels.
        width: W of the canvas in pixels.
        hidden: units of each hidden layer.
        code: latents of a background that is a network.
    """

    channels: int
    height: int
    width: int
    hidden: int
    code: int


class Background(nn.Module):
    """What every background offers.

    Attributes:
        latents: dimensions G of its code.
    """

    latents: int

    def posterior(self, image: Float[Tensor, "batch channels height width"]) -> Normal:
        """q(z | x), shape (B, G)."""
        raise NotImplementedError

    def paint(
        self, z: Float[Tensor, "batch latents"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The canvas under the objects, shape (B, C, H, W)."""
        raise NotImplementedError


class Nothing(Background):
    """Black, without latents."""

    latents = 0

    def __init__(self, shape: Shape):
        super().__init__()
        self.canvas = shape.channels, shape.height, shape.width

    def posterior(self, image: Tensor) -> Normal:
        """See `Background.posterior`."""
        nothing = image.new_zeros(len(image), 0)
        return normal(nothing, nothing + 1)

    def paint(self, z: Tensor) -> Tensor:
        """See `Background.paint`."""
        return z.new_zeros(()).expand(len(z), *self.canvas)  # without memory for every pixel


class Smooth(Background):
    """A coarse grid of values, interpolated linearly.

    The posterior departs from where the pixels around each point of the grid are densest
    (`densest`), as a background varies less than what lies on it, and objects may cover more than
    half of a part. Of the whole picture they cover less, so that a single value departs from the
    median, on which noise has less effect. A network reads a reduced picture and corrects it.

    Args:
        shape: of the canvas.
        grid: values along each side; 1 makes the background constant.
    """

    def __init__(self, shape: Shape, grid: int = GRID):
        super().__init__()
        self.grid, self.size = grid, (shape.height, shape.width)
        self.channels, self.latents = shape.channels, shape.channels * grid**2
        read = shape.channels * SUMMARY**2
        self.correction = calm(MLP([read, shape.hidden, 2 * self.latents]), START_STD)

    def posterior(self, image: Tensor) -> Normal:
        """See `Background.posterior`."""
        summary = F.adaptive_avg_pool2d(image, SUMMARY).flatten(1)
        shift, std = self.correction(summary).to(image.dtype).chunk(2, -1)
        start = torch.special.ndtri(self._values(image).clamp(DARKEST, 1 - DARKEST))
        return normal(start + shift, spread(std))

    def paint(self, z: Tensor) -> Tensor:
        """See `Background.paint`."""
        values = torch.special.ndtr(z).view(-1, self.channels, self.grid, self.grid)
        if self.grid == 1:
            return values.expand(-1, -1, *self.size)
        return F.interpolate(values, self.size, mode="bilinear", align_corners=False)

    def _values(self, image: Tensor) -> Float[Tensor, "batch latents"]:
        """What most pixels are around each point of the grid, of every other one, (B, C grid²)."""
        image = image[..., ::2, ::2]
        rows, columns = (self._around(pixels, image.device) for pixels in image.shape[-2:])
        around = image[:, :, rows[:, None, :, None], columns[None, :, None, :]]
        around = around.flatten(-2)  # (B, C, grid, grid, pixels)
        values = around.median(-1).values if self.grid == 1 else densest(around)
        return values.flatten(1)

    def _around(self, pixels: int, device: torch.device) -> Int[Tensor, "grid width"]:
        """The pixels of an axis that are around each point of the grid."""
        width = pixels if self.grid == 1 else math.ceil(pixels * AROUND)
        centre = (torch.arange(self.grid, device=device) + 0.5) * pixels / self.grid
        first = (centre - width / 2).round().long().clamp(0, pixels - width)
        return first[:, None] + torch.arange(width, device=device)


class Constant(Smooth):
    """One value for each channel.

    Args:
        shape: of the canvas.
    """

    def __init__(self, shape: Shape):
        super().__init__(shape, grid=1)


class Network(Constant):
    """A variational autoencoder of the picture with a small code (Kosiorek 2017, section 6).

    Its canvas departs from one value for each channel, which has a latent of its own, so that it
    starts as a constant background: what varies is learned.

    Args:
        shape: of the canvas, and the sizes of the networks.
    """

    def __init__(self, shape: Shape):
        super().__init__(shape)
        self.canvas = shape.channels, shape.height, shape.width
        self.values, self.latents = self.latents, self.latents + shape.code
        pixels = math.prod(self.canvas)
        self.encoder = MLP([pixels, shape.hidden, shape.hidden, 2 * shape.code])
        self.decoder = calm(MLP([shape.code, shape.hidden, shape.hidden, pixels]))

    def posterior(self, image: Tensor) -> Normal:
        """See `Background.posterior`."""
        value = super().posterior(image)
        loc, std = self.encoder(image.flatten(1)).to(image.dtype).chunk(2, -1)
        return normal(torch.cat([value.loc, loc], -1), torch.cat([value.scale, spread(std)], -1))

    def paint(self, z: Tensor) -> Tensor:
        """See `Background.paint`."""
        value, code = z[:, : self.values], z[:, self.values :]
        pattern = self.decoder(code).to(z.dtype).view(-1, *self.canvas)
        return torch.special.ndtr(value[..., None, None] + pattern)


def densest(values: Float[Tensor, "*batch values"]) -> Float[Tensor, "*batch"]:
    """The middle of the shortest interval that holds half of the values, without gradient.

    Where more than half of the values are one background and the others are spread, it is that of
    the background, as the median is. It still is where less than half are, if they lie closer
    together than any other half (the location that belongs to the shorth of Andrews et al. 1972).

    >>> densest(torch.tensor([0.0, 0.0, 0.0, 0.1, 0.4, 0.7, 1.0]))
    tensor(0.)
    """
    half = values.shape[-1] // 2 + 1
    ordered = values.detach().sort(-1).values
    width = ordered[..., half - 1 :] - ordered[..., : 1 - half or None]
    first = width.argmin(-1, keepdim=True)
    return ordered.gather(-1, first + (half - 1) // 2).squeeze(-1)


BACKGROUNDS: dict[str, type[Nothing] | type[Smooth] | type[Constant] | type[Network]] = {
    "none": Nothing,
    "constant": Constant,
    "smooth": Smooth,
    "network": Network,
}
"""Every background, by the name that `--model.background` takes."""
