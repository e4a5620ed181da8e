"""What an object looks like: its code, read from a glimpse, and the glimpse that the code paints.

Objects that add up
    are light. The code is read from what is left of the image in the window, and gives the paint.

Objects that hide what is behind them
    are surfaces: an opacity for each point of the glimpse, and a colour that a pattern varies. The
    opacity is read from the silhouette (`airscene.models.likeness`). C dimensions of the code are
    the colour of the whole, from which the pattern departs: with the normal distribution function
    Φ, the appearance is Φ(colour + pattern). The posterior of the colour departs from the colour
    that is seen.

Where windows touch objects from the start, as those of a search do, what is painted is about right
before anything is learned. The code then starts as the coefficients of the lowest cosines of what
is read, and the decoder as their inverse, so that the first step paints blobs of about the right
shape. Networks that start near zero correct both. Without this, light is learned in twice as many
steps, and surfaces only after objects have been counted wrong for long. Windows of an LSTM do not
touch objects at first; there, blobs delay learning, and networks alone read and paint.
"""

from typing import Protocol, cast

import numpy as np
import scipy.fft
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from airscene.models.view import Patch, View
from airscene.networks import MLP, calm, normal, spread

START_PAINT = -2.0  # logit of a light's intensity at first: most of a canvas is empty
START_STD = 0.1  # of a code that starts right: more noise hides for long that it does
COARSE = 8.0  # what a coefficient of the silhouette is divided by, to make a code of about 1
STEEP = 4.0  # logits of a light between nothing and full intensity, at first
DARKEST = 0.02  # colours keep so far from 0 and 1, where Φ has no inverse


class Encoder(Protocol):
    """Reads what an object looks like."""

    def describe(self, view: View, window: Float[Tensor, "batch 3"], patch: Patch) -> Normal:
        """q(what | the picture in a window), shape (B, D)."""
        ...


class Decoder(Protocol):
    """Paints what an object looks like."""

    def paint(
        self, what: Float[Tensor, "*batch what"]
    ) -> tuple[Float[Tensor, "*batch channels size size"], Tensor | None]:
        """A glimpse in [0, 1], and its opacity (*, 1, s, s) if objects have one."""
        ...


class LightEncoder(MLP):
    """Reads what is left of the image in the window.

    Args:
        channels: of the image, C.
        size: points along each side of a glimpse, s.
        hidden: units of each hidden layer.
        what: dimensions D of the code.
    """

    def __init__(self, channels: int, size: int, hidden: int, what: int):
        super().__init__([channels * size**2, hidden, hidden, 2 * what])
        self.size = size

    def describe(self, view: View, window: Tensor, patch: Patch) -> Normal:
        """See `Encoder.describe`."""
        glimpse = view.glimpse(window, self.size, patch)
        loc, std = self(glimpse.flatten(1)).to(view.image.dtype).chunk(2, -1)
        return normal(loc, spread(std))


class LightDecoder(MLP):
    """Paints light; see `LightEncoder` for its arguments."""

    def __init__(self, channels: int, size: int, hidden: int, what: int):
        super().__init__([what, hidden, hidden, channels * size**2])
        self.size = size
        cast(nn.Linear, self[-1]).bias.data.fill_(START_PAINT)

    def paint(self, what: Tensor) -> tuple[Tensor, None]:
        """See `Decoder.paint`."""
        return self(what).sigmoid().unflatten(-1, (-1, self.size, self.size)), None


class CoarseLightEncoder(nn.Module):
    """Reads light, at first its coarse shape; see `LightEncoder` for the arguments."""

    def __init__(self, channels: int, size: int, hidden: int, what: int):
        super().__init__()
        self.size = size
        self.correction = calm(MLP([channels * size**2, hidden, hidden, 2 * what]), START_STD)
        self.coarse = nn.Linear(channels * size**2, what, bias=False)
        self.coarse.weight.data.copy_(cosines(size, what).repeat(1, channels) / channels)

    def describe(self, view: View, window: Tensor, patch: Patch) -> Normal:
        """See `Encoder.describe`."""
        glimpse = view.glimpse(window, self.size, patch).flatten(1)
        loc, std = self.correction(glimpse).chunk(2, -1)
        loc = loc + self.coarse(glimpse)
        return normal(loc.to(view.image.dtype), spread(std).to(view.image.dtype))


class CoarseLightDecoder(nn.Module):
    """Paints light, at first its coarse shape; see `LightEncoder` for the arguments."""

    def __init__(self, channels: int, size: int, hidden: int, what: int):
        super().__init__()
        self.size = size
        self.correction = calm(MLP([what, hidden, hidden, channels * size**2]))
        cast(nn.Linear, self.correction[-1]).bias.data.fill_(START_PAINT)
        self.coarse = nn.Linear(what, channels * size**2, bias=False)
        self.coarse.weight.data.copy_(STEEP * cosines(size, what).T.repeat(channels, 1))

    def paint(self, what: Tensor) -> tuple[Tensor, None]:
        """See `Decoder.paint`."""
        paint = (self.correction(what) + self.coarse(what)).sigmoid()
        return paint.unflatten(-1, (-1, self.size, self.size)), None


class SurfaceEncoder(nn.Module):
    """Reads the silhouette and the colour of what is in the middle of the window.

    Args:
        channels: of the image, C.
        size: points along each side of a glimpse, s.
        hidden: units of each hidden layer.
        what: dimensions D of the code, more than C: D - C of the silhouette, then C of the colour.
    """

    def __init__(self, channels: int, size: int, hidden: int, what: int):
        super().__init__()
        self.size, shape = size, what - channels
        self.correction = calm(MLP([size**2 + channels, hidden, hidden, 2 * what]), START_STD)
        self.coarse = nn.Linear(size**2, shape, bias=False)
        self.coarse.weight.data.copy_(cosines(size, shape) / COARSE)

    def describe(self, view: View, window: Tensor, patch: Patch) -> Normal:
        """See `Encoder.describe`."""
        silhouette, colour = view.surface(window, self.size, patch)
        silhouette = silhouette.flatten(1)
        loc, std = self.correction(torch.cat([silhouette, colour], 1)).chunk(2, -1)
        value = torch.special.ndtri(colour.clamp(DARKEST, 1 - DARKEST))
        loc = loc + torch.cat([self.coarse(silhouette), value], -1)
        return normal(loc.to(view.image.dtype), spread(std).to(view.image.dtype))


class SurfaceDecoder(nn.Module):
    """Paints surfaces; see `SurfaceEncoder` for its arguments."""

    def __init__(self, channels: int, size: int, hidden: int, what: int):
        super().__init__()
        self.channels, self.size, shape = channels, size, what - channels
        self.correction = calm(MLP([what, hidden, hidden, (channels + 1) * size**2]))
        self.coarse = nn.Linear(shape, size**2, bias=False)
        self.coarse.weight.data.copy_(cosines(size, shape).T * COARSE)

    def paint(self, what: Tensor) -> tuple[Tensor, Tensor]:
        """See `Decoder.paint`."""
        shape, colour = what.split([what.shape[-1] - self.channels, self.channels], -1)
        glimpse = self.correction(what).unflatten(-1, (-1, self.size, self.size))
        pattern, opacity = glimpse.to(what.dtype).split([self.channels, 1], -3)
        coarse = self.coarse(shape).unflatten(-1, (1, self.size, self.size))
        appearance = torch.special.ndtr(colour[..., None, None] + pattern)
        return appearance, (opacity + coarse.to(what.dtype)).sigmoid()


def cosines(size: int, number: int) -> Float[Tensor, "number pixels"]:
    """The lowest cosines of a square, the basis of the discrete cosine transform, (K, s²).

    Args:
        size: points along each side, s.
        number: how many, K. Those beyond s² are zero.

    >>> (cosines(8, 20) @ cosines(8, 20).T - torch.eye(20)).abs().max() < 1e-6
    tensor(True)
    """
    axis = np.asarray(scipy.fft.dct(np.eye(size), norm="ortho", axis=0))  # a row a frequency
    waves = np.arange(size)
    lowest = np.argsort((waves[:, None] ** 2 + waves**2).flatten(), kind="stable")[:number]
    found = np.zeros((number, size**2), np.float32)
    found[: len(lowest)] = np.kron(axis, axis)[lowest]
    return torch.from_numpy(found)
