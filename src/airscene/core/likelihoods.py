"""Likelihoods: how pixels scatter around the canvas.

With r = image - canvas, every likelihood is a Gaussian of the form

    log p(image | canvas) = - ‖W r‖² / 2σ² + ½ log det(WᵀW) - n log(σ √2π),

where W makes of a picture values that are independent, and n counts the values of the image. So all
that is known of sums of squares holds for all of them. A new likelihood is one class, its name in
`LikelihoodName`, and one row of the table `LIKELIHOODS`.

independent
    W = 1: each pixel scatters on its own, as in the paper.

correlated
    Neighbours scatter together, as the texture of photographs does, whose spectrum falls with the
    square of the frequency (Field 1987). W r are the differences of neighbours in both directions,
    and κ r, so that

        ‖W r‖² = Σ (r(y, x + 1) - r(y, x))² + Σ (r(y + 1, x) - r(y, x))² + κ² Σ r(y, x)².

    What is thin or has sharp edges then gains more than what is smooth, by as much as it is rarer.
    Painted badly, though, it gains nothing, so that training begins with independent pixels: with a
    share s between 0 and 1, the squares above weigh s, and those of r itself 1 - s.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

LOOSE = 0.2  # κ: pixels that are farther apart than about 1 / κ scatter independently

LikelihoodName = Literal["independent", "correlated"]


class Likelihood(nn.Module):
    """What every likelihood offers; `forward` is W, (..., C, H, W) -> (..., V, H, W).

    Attributes:
        reach: from how far, in pixels, W makes a value of pixels.
    """

    reach: int

    def forward(
        self, picture: Float[Tensor, "*rows channels height width"]
    ) -> Float[Tensor, "*rows values height width"]:
        """The independent values W r that are made of pictures."""
        raise NotImplementedError

    def correlate(self, share: float) -> None:
        """Lets neighbours scatter together to so large a share, between 0 and 1."""

    def log_volume(self, height: int, width: int) -> Float[Tensor, ""] | float:
        """½ log det(WᵀW) of pictures of one channel."""
        raise NotImplementedError

    def variance(self, height: int, width: int) -> Float[Tensor, ""] | float:
        """The variance of a pixel at σ = 1, the mean over a picture."""
        raise NotImplementedError


class Independent(Likelihood):
    """Each pixel on its own; see the module."""

    reach = 0

    def forward(self, picture: Tensor) -> Tensor:
        """See `Likelihood.forward`: the pixels themselves."""
        return picture

    def log_volume(self, height: int, width: int) -> float:
        """See `Likelihood.log_volume`."""
        return 0.0

    def variance(self, height: int, width: int) -> float:
        """See `Likelihood.variance`."""
        return 1.0


class Correlated(Likelihood):
    """Neighbours scatter together; see the module."""

    reach = 1
    share: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("share", torch.ones(()), persistent=False)

    def forward(self, picture: Tensor) -> Tensor:
        """See `Likelihood.forward`: both differences, and the pixels themselves, V = 3 C."""
        differences, own = self.share.sqrt(), (1 - self.share + self.share * LOOSE**2).sqrt()
        across = F.pad(picture.diff(dim=-1), (0, 1))
        down = F.pad(picture.diff(dim=-2), (0, 0, 0, 1))
        return torch.cat([differences * across, differences * down, own * picture], -3)

    def correlate(self, share: float) -> None:
        """See `Likelihood.correlate`."""
        self.share.fill_(share)

    def log_volume(self, height: int, width: int) -> Tensor:
        """See `Likelihood.log_volume`."""
        return self._precision(height, width).log().sum() / 2

    def variance(self, height: int, width: int) -> Tensor:
        """See `Likelihood.variance`."""
        return (1 / self._precision(height, width)).mean()

    def _precision(self, height: int, width: int) -> Float[Tensor, "height width"]:
        """The eigenvalues of WᵀW, whose eigenvectors are cosines, shape (H, W)."""
        down, across = (
            2 - 2 * (math.pi / size * torch.arange(size, device=self.share.device)).cos()
            for size in (height, width)
        )
        return 1 - self.share + self.share * (down[:, None] + across + LOOSE**2)


LIKELIHOODS: dict[str, type[Likelihood]] = {"independent": Independent, "correlated": Correlated}
"""Every likelihood, by the name that `--model.likelihood` takes."""
