"""How different two pictures look: their distance in the features of a fixed network.

A perceptual loss compares features of a network in place of pixels (Johnson et al. 2016, arXiv
1603.08155). Theirs was trained on ImageNet and must be downloaded. The one here has random weights,
which nothing trains: random filters tell edges and textures at several sizes, too, and a distance
in them does not punish an edge for being a pixel off as a distance in pixels does. Its weights are
the same on every machine and for every training.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from airscene.core.seeds import Purpose, stream

FILTERS = (32, 64, 128)  # of each of its convolutions, each of which halves the picture


class Perception(nn.Module):
    """A fixed network, and the distance in its features.

    Args:
        channels: of the pictures.
    """

    def __init__(self, channels: int):
        super().__init__()
        generator = stream(Purpose.PERCEPTION, 0)
        for layer, filters in enumerate(FILTERS):
            weight = torch.randn(filters, channels, 3, 3, generator=generator)
            weight = weight - weight.mean((1, 2, 3), keepdim=True)  # blind to an even grey
            weight = weight / weight.square().sum((1, 2, 3), keepdim=True).sqrt()
            self.register_buffer(f"weight_{layer}", weight, persistent=False)
            channels = filters

    def forward(
        self,
        image: Float[Tensor, "batch channels height width"],
        canvas: Float[Tensor, "batch channels height width"],
    ) -> Float[Tensor, "batch"]:
        """The squared distance of features, a mean over those of a layer, summed over layers, (B,).

        Args:
            image: in [0, 1].
            canvas: in [0, 1]; the gradient goes to both.
        """
        distance, both = image.new_zeros(len(image)), torch.cat([image, canvas])
        for layer in range(len(FILTERS)):
            weight = self.get_buffer(f"weight_{layer}").to(image.dtype)
            both = F.conv2d(both, weight, stride=2, padding=1)
            one, other = both.chunk(2)
            distance = distance + (one - other).square().flatten(1).mean(1)
            both = F.elu(both)
        return distance
