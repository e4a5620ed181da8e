"""What models have in common whose decoder is a renderer that is given."""

import math
from dataclasses import dataclass
from typing import cast

from jaxtyping import Float
from torch import Tensor

from airscene.errors import UserError
from airscene.models.base import ModelConfig

WITHOUT_WAKE = "reweighted wake-sleep takes no part; raise --model.wake or leave it out"


@dataclass(frozen=True)
class RendererConfig(ModelConfig):
    """The base of configurations whose pictures a painter of whole scenes draws, in colour."""

    def fitted(self, images: Float[Tensor, "batch channels height width"]) -> "RendererConfig":
        """See `ModelConfig.fitted`; the pictures must be in colour."""
        if images.shape[1] != 3:
            raise UserError("--data: 3D scenes are in colour, the pictures are not; name others")
        return cast(RendererConfig, super().fitted(images))

    @property
    def size_field(self) -> str:
        """See `ModelConfig.size_field`."""
        return "hidden"


def log_pixels(
    image: Float[Tensor, "batch channels height width"],
    drawn: Float[Tensor, "*samples batch channels height width"],
    sigma: Float[Tensor, ""],
) -> Float[Tensor, "*samples batch"]:
    """Log N(image; drawn, σ²) in nats, summed over channels and pixels, shape (*, B).

    Args:
        image: images, shape (B, C, H, W).
        drawn: pictures that may explain each of them, shape (*, B, C, H, W).
        sigma: σ, the standard deviation of a pixel.
    """
    error = (drawn - image).square().sum((-1, -2, -3))
    constant = image[0].numel() * (sigma.log() + math.log(2 * math.pi) / 2)
    return -error / (2 * sigma**2) - constant
