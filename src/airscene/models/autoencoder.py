"""A convolutional autoencoder of whole pictures: one code for all that a picture shows.

Generation: z ~ N(0, I); a network paints a canvas; x ~ N(canvas, σ²) in each pixel. Inference: a
network gives a Gaussian posterior over z (Kingma and Welling 2014, arXiv 1312.6114). Where the
divergence from the prior has no weight, this is the plain autoencoder to which Eslami et al. 2016,
section 3.1.2, compare AIR.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from airscene.core.networks import MLP, normal, spread
from airscene.models.base import FLOAT, Model, ModelConfig
from airscene.ranges import check_ranges, within

START_PAINT = -3.0  # logit of the canvas at first, as most of a scene is black
LAYERS = 3  # convolutions, each of which halves the picture and doubles the filters


@dataclass(frozen=True)
class AutoencoderConfig(ModelConfig):
    """The model's shape, its likelihood, and the weight of its prior."""

    steps: Annotated[int, *within(1, 1)] = 1
    """Codes of a picture."""
    channels: Annotated[int, *within(1, 16)] = 1
    """Colour channels C of the images."""
    height: Annotated[int, *within(1, 4096)] = 50
    """Canvas height in pixels."""
    width: Annotated[int, *within(1, 4096)] = 50
    """Canvas width in pixels."""
    filters: Annotated[int, *within(1, 512)] = 16
    """Filters of the first convolution; the second has twice, the third four times as many."""
    hidden: Annotated[int, *within(1, 16_384)] = 256
    """Units of the hidden layers between convolutions and code."""
    latent: Annotated[int, *within(1, 4096)] = 100
    """Dimensions of the code."""
    kl_weight: Annotated[float, *within(0, 1e3)] = 1.0
    """Weight of the divergence from the prior in training; a plain autoencoder has none, 0."""
    sigma: Annotated[float, *within(1e-3, 1e3)] = 0.3
    """Standard deviation of a pixel around the canvas, images lying in [0, 1]."""
    perceptual: Annotated[float, *within(0, 1e6)] = 0.0
    """Weight in training of the distance in features of a fixed network; 0 leaves it out."""

    def __post_init__(self):
        check_ranges(self, "--model.")

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of the picture, and of what each convolution makes of it."""
        sizes = [(self.height, self.width)]
        for _ in range(LAYERS):
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        return sizes

    @property
    def widths(self) -> list[int]:
        """Channels of the picture, and of what each convolution makes of it."""
        return [self.channels, *(self.filters * 2**layer for layer in range(LAYERS))]

    @property
    def kept_bytes(self) -> int:
        """See `ModelConfig.kept_bytes`: what each convolution and its inverse give."""
        return 4 * self.pass_bytes(self.steps)

    def pass_bytes(self, steps: int) -> int:
        """See `ModelConfig.pass_bytes`."""
        areas = [height * width for height, width in self.sizes]
        features = sum(area * width for area, width in zip(areas, self.widths, strict=True))
        return FLOAT * (2 * features + 4 * self.hidden + 4 * self.latent)

    @property
    def size_field(self) -> str:
        """See `ModelConfig.size_field`."""
        return "hidden"


@dataclass(frozen=True)
class Encoding:
    """The posterior over the codes of a batch of images, one sample of it, and what it paints.

    Attributes:
        image: the images, shape (B, C, H, W).
        q: the posterior over the code, shape (B, Z).
        z: the sample of q, shape (B, Z).
        pixels: p(x | z), the distribution of the pixels around the canvas, shape (B, C, H, W).
    """

    image: Float[Tensor, "batch channels height width"]
    q: Normal
    z: Float[Tensor, "batch latent"]
    pixels: Normal

    @property
    def means(self) -> Float[Tensor, "batch latent"]:
        """The posterior's means, shape (B, Z)."""
        return self.q.mean

    @cached_property
    def kl(self) -> Float[Tensor, "batch"]:
        """KL(q(z | x) ‖ N(0, I)) in nats, shape (B,)."""
        return kl_divergence(self.q, _prior(self.z)).sum(-1)

    @cached_property
    def log_likelihood(self) -> Float[Tensor, "batch"]:
        """Log p(x | z) in nats, with the Gaussian's constant, shape (B,)."""
        return self.pixels.log_prob(self.image).sum((1, 2, 3))

    @property
    def elbo(self) -> Float[Tensor, "batch"]:
        """The bound log p(x | z) - KL on log p(x) in nats, shape (B,)."""
        return self.log_likelihood - self.kl

    @property
    def log_weight(self) -> Float[Tensor, "batch"]:
        """Log p(x, z) - log q(z | x) at the sampled z in nats, shape (B,)."""
        code = _prior(self.z).log_prob(self.z) - self.q.log_prob(self.z)
        return self.log_likelihood + code.sum(-1)


class Autoencoder(Model[AutoencoderConfig]):
    """The model and its inference network.

    Args:
        config: shape, likelihood and the weight of the prior.
    """

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = c = config
        self.smallest = (c.widths[-1], *c.sizes[-1])
        features = math.prod(self.smallest)
        self.shrink = nn.Sequential(*_shrinking(c.widths))
        self.encoder = MLP([features, c.hidden, 2 * c.latent])
        self.decoder = MLP([c.latent, c.hidden, features])
        self.grow = nn.Sequential(*_growing(c.widths[::-1], c.sizes[::-1]))
        last = self.grow[-1]
        assert isinstance(last, nn.ConvTranspose2d) and last.bias is not None
        nn.init.constant_(last.bias, START_PAINT)

    def forward(
        self,
        image: Float[Tensor, "batch channels height width"],
        noise: Float[Tensor, "batch latent"],
    ) -> Encoding:
        """Encodes and paints.

        Args:
            image: images in [0, 1], shape (B, C, H, W).
            noise: standard normal noise, shape (B, Z); zeros give the posterior means.
        """
        raw = self.encoder(self.shrink(image).flatten(1)).to(noise.dtype)
        loc, std = raw[:, : noise.shape[1]], spread(raw[:, noise.shape[1] :])
        z = loc + std * noise
        canvas = self._paint(z)
        pixels = normal(canvas, torch.full_like(canvas, self.config.sigma))
        return Encoding(image, normal(loc, std), z, pixels)

    @torch.no_grad()
    def infer(
        self, image: Float[Tensor, "batch channels height width"], *, sample: bool = False
    ) -> Encoding:
        """See `Model.infer`."""
        shape = (image.shape[0], self.config.latent)
        return self(image, (torch.randn if sample else torch.zeros)(shape, device=image.device))

    def reconstruct(
        self, image: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """See `Model.reconstruct`."""
        return self.infer(image).pixels.mean

    @torch.no_grad()
    def generate(self, number: int) -> tuple[Float[Tensor, "number channels height width"], None]:
        """See `Model.generate`; an autoencoder does not count."""
        return self._paint(torch.randn(number, self.config.latent, device=self.device)), None

    @torch.no_grad()
    def elbo(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch"]:
        """See `Model.elbo`."""
        return self.infer(image, sample=True).elbo

    @torch.no_grad()
    def log_likelihood(
        self, image: Float[Tensor, "batch channels height width"], samples: int
    ) -> Float[Tensor, "batch"]:
        """See `Model.log_likelihood`: log 1/K Σ_k p(x, z_k) / q(z_k | x)."""
        weights = [self.infer(image, sample=True).log_weight for _ in range(samples)]
        return torch.stack(weights).logsumexp(0) - math.log(samples)

    def _paint(self, z: Tensor) -> Tensor:
        """The canvas of codes (B, Z), shape (B, C, H, W)."""
        return self.grow(self.decoder(z).unflatten(1, self.smallest)).to(z.dtype).sigmoid()


def _prior(z: Tensor) -> Normal:
    """N(0, I) of the shape of codes."""
    return normal(torch.zeros_like(z), torch.ones_like(z))


def _shrinking(widths: list[int]) -> list[nn.Module]:
    """Convolutions that halve a picture, rounding up, through so many channels."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.ELU()]
    return layers


def _growing(widths: list[int], sizes: list[tuple[int, int]]) -> list[nn.Module]:
    """Their inverses: from the smallest picture back to the largest, whose sizes decide."""
    layers: list[nn.Module] = []
    for k in range(LAYERS):
        height, width = sizes[k + 1]
        odd = (height + 1) % 2, (width + 1) % 2
        inverse = nn.ConvTranspose2d(widths[k], widths[k + 1], 3, 2, 1, output_padding=odd)
        layers += [nn.ELU(), inverse]
    return layers
