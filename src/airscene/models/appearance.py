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
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from airscene.core.networks import MLP, calm, normal, spread
from airscene.models.view import Patch, View

START_PAINT = -2.0  # logit of a light's intensity at first: most of a canvas is empty
START_STD = 0.1  # of a code that starts right: more noise hides for long that it does
COARSE = 8.0  # what a coefficient of the silhouette is divided by, to make a code of about 1
STEEP = 4.0  # logits of a light between nothing and full intensity, at first
REACH = 0.5  # of a line, in a glimpse that spans -1 to 1, where its code is 1
PLACES = 20  # points of the line to which distances are taken
TERMS = 8  # of the polynomial of a line, with those that a network adds
PEN = 0.08  # half width of the pen at first, in a glimpse that spans -1 to 1
SETTLE, SETTLING = 12, 0.12  # steps in which a line settles, and their size
BLUR = 2.0  # how many times as wide the pen is in the first of them
STIFF = 0.5  # what a bend costs meanwhile, in squared intensities
LEAST_CODE = 6  # dimensions of the code of a line that is bent once
THICKER = 1.0  # of the width of the pen, the logarithm of its largest change
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


class LineEncoder(nn.Module):
    """Reads a line, at first the one out of many that explains most of the light in the window.

    What a line p gains of the glimpse g is |g|² - |g - p|² = 2 g·p - |p|². A network that reads the
    glimpse and the chosen line corrects it. See `LightEncoder` for the arguments.
    """

    def __init__(self, channels: int, size: int, hidden: int, what: int):
        super().__init__()
        self.size = size
        codes = line_codes(what)
        self.correction = calm(
            MLP([channels * size**2 + what, hidden, hidden, 2 * what]), START_STD
        )
        self.codes: Tensor
        self.register_buffer("codes", codes, persistent=False)
        self.lines: Tensor
        paint = pen(line_of(codes), codes.new_full((len(codes), 1), PEN), size)
        self.register_buffer("lines", paint.flatten(1), persistent=False)

    def describe(self, view: View, window: Tensor, patch: Patch) -> Normal:
        """See `Encoder.describe`."""
        glimpse = view.glimpse(window, self.size, patch)
        chosen = self.settled(glimpse.detach().mean(1))
        raw = self.correction(torch.cat([glimpse.flatten(1), chosen], 1)).to(view.image.dtype)
        loc, std = raw.chunk(2, -1)
        return normal(loc + chosen, spread(std))

    def settled(self, light: Float[Tensor, "batch size size"]) -> Float[Tensor, "batch what"]:
        """The code of a line that explains much of the light (B, s, s): the best one, settled.

        A few steps uphill let the best of the many bend and lengthen; Adam takes them, as they
        should be of one size. The pen is blurred meanwhile, so that light beside the line counts.
        """
        gain = 2 * light.flatten(1) @ self.lines.T - self.lines.square().sum(1)
        code = self.codes[gain.argmax(1)]
        with torch.enable_grad():
            code = code.requires_grad_()
            adam = torch.optim.Adam([code], lr=SETTLING)
            for step in range(SETTLE):
                blur = BLUR ** (1 - step / SETTLE)
                paint = pen(line_of(code), code.new_full((len(code), 1), PEN * blur), self.size)
                loss = (paint * (paint - 2 * light)).sum() + STIFF * code[:, 4:].square().sum()
                code.grad = torch.autograd.grad(loss, code)[0]
                adam.step()
        return code.detach()


class LineDecoder(nn.Module):
    """Paints what a pen leaves along one line; see `LineEncoder` for the arguments.

    The code is the polynomial that gives the line; see `line_of`. A network that starts near zero
    corrects it, adds higher terms, and chooses the width of the pen. It does not move single
    points: a line could then leap from one stroke to another.
    """

    def __init__(self, channels: int, size: int, hidden: int, what: int):
        super().__init__()
        self.channels, self.size = channels, size
        terms = max(TERMS, what // 2)
        self.padding = 2 * terms - what // 2 * 2
        self.correction = calm(MLP([what, hidden, hidden, 2 * terms + 1]))

    def paint(self, what: Tensor) -> tuple[Tensor, None]:
        """See `Decoder.paint`."""
        raw = self.correction(what).to(what.dtype)
        coefficients = F.pad(what[..., : what.shape[-1] // 2 * 2], (0, self.padding))
        line = line_of(coefficients + raw[..., :-1])
        width = PEN * raw[..., -1:].clamp(-THICKER, THICKER).exp()
        paint = pen(line, width, self.size).unsqueeze(-3)
        return paint.expand(*paint.shape[:-3], self.channels, -1, -1), None


def line_of(code: Float[Tensor, "*batch what"]) -> Float[Tensor, "*batch places 2"]:
    """Points along the line of a code, in a glimpse that spans -1 to 1, shape (*, places, 2).

    Two dimensions of the code after the other are coefficients (x, y) of the Chebyshev polynomials
    T_0, T_1, T_2 …, which are weighed less the higher they are: Σ_k c_k T_k(t) / 2 (1 + k / 2) for
    t from -1 to 1. So the first four are the middle of a straight line, and from there to its end.
    """
    number = code.shape[-1] // 2
    waves = np.polynomial.chebyshev.chebvander(np.linspace(-1, 1, PLACES), number - 1)
    waves = REACH * waves / (1 + np.arange(number) / 2)
    waves = torch.as_tensor(waves, dtype=code.dtype, device=code.device)
    return waves @ code[..., : 2 * number].unflatten(-1, (number, 2))


def pen(
    line: Float[Tensor, "*batch places 2"], width: Float[Tensor, "*batch 1"], size: int
) -> Float[Tensor, "*batch size size"]:
    """What a pen leaves of a line, exp(-d² / 2 w²) at a distance d from it, (*, s, s).

    Args:
        line: points (x, y) of it, in a glimpse that spans -1 to 1.
        width: w, in the same units.
        size: points along each side of the glimpse.
    """
    axis = (torch.arange(size, device=line.device, dtype=line.dtype) + 0.5) * (2 / size) - 1
    x, y = ((axis - own.unsqueeze(-1)).square() for own in line.unbind(-1))  # (*, places, s)
    distance = (y.unsqueeze(-1) + x.unsqueeze(-2)).amin(-3)  # (*, s, s)
    return (-distance / (2 * width.square()).unsqueeze(-1)).exp()


def line_codes(what: int) -> Float[Tensor, "lines what"]:
    """Codes of lines all over a glimpse, of many directions, some lengths and bows, (L, D).

    Args:
        what: dimensions D of a code, at least `LEAST_CODE`.
    """
    middle = np.linspace(-0.7, 0.7, 7)
    angle = np.pi * np.arange(12) / 12
    x, y, angle, half, bow = np.meshgrid(
        middle, middle, angle, (0.25, 0.5, 0.8), (-0.4, 0, 0.4), indexing="ij"
    )
    across = half * bow  # to the middle of the bow, of which T_2 makes twice as much
    dx, dy = np.cos(angle), np.sin(angle)
    coefficients = np.stack([x, y, half * dx, half * dy, -across * dy, across * dx], -1)
    codes = np.zeros((coefficients[..., 0].size, what), np.float32)
    codes[:, :LEAST_CODE] = coefficients.reshape(-1, LEAST_CODE) * np.repeat((1, 1.5, 2), 2) / REACH
    return torch.from_numpy(codes)


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
