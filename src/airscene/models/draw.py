"""DRAW, the Deep Recurrent Attentive Writer (Gregor et al. 2015, arXiv 1502.04623).

Generation: at each of T steps z_t ~ N(0, I); an LSTM, the decoder, takes it in and adds a patch to
a canvas c; after the last step x ~ N(sigmoid(c), σ²) or Bernoulli(sigmoid(c)) in each pixel.

Inference: at each step a second LSTM, the encoder, reads a patch of the image and of what the
canvas still lacks, and from its state comes the posterior over z_t, a Gaussian.

Both patches are seen through a grid of N × N Gaussian filters, which the decoder places. Equation
numbers are the paper's. It counts pixels from 1; here, as in all of this package, pixel j of an
axis covers [j, j + 1), so that a position is the paper's less 0.5.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from airscene.core.networks import normal
from airscene.models.base import FLOAT, Model, ModelConfig
from airscene.ranges import check_ranges, within

GRID = 5  # parameters of a grid: x, y, log variance, log stride, log intensity

LOG_LIMIT = 20.0  # of a grid's logarithms, so that no exponential overflows or vanishes

START_CANVAS = -3.0  # logit of the canvas before the first step
START_WIDTH = 0.5  # standard deviation of a filter, in strides

PRIOR = Normal(0.0, 1.0, validate_args=False)

PIXELS: dict[str, Callable[[Tensor, float], Normal | Bernoulli]] = {
    "gaussian": lambda canvas, sigma: normal(canvas.sigmoid(), torch.full_like(canvas, sigma)),
    "bernoulli": lambda canvas, _: Bernoulli(logits=canvas, validate_args=False),
}


@dataclass(frozen=True)
class DRAWConfig(ModelConfig):
    """The model's shape and its likelihood."""

    steps: Annotated[int, *within(1, 1000)] = 40
    """Steps T, each of which reads and writes once."""
    channels: Annotated[int, *within(1, 16)] = 1
    """Colour channels C of the images."""
    height: Annotated[int, *within(1, 4096)] = 50
    """Canvas height in pixels, the paper's B."""
    width: Annotated[int, *within(1, 4096)] = 50
    """Canvas width in pixels, the paper's A."""
    read: Annotated[int, *within(2, 512)] = 5
    """Filters N along each side of the patch that is read; a stride needs two."""
    write: Annotated[int, *within(2, 512)] = 5
    """Filters N along each side of the patch that is written; a stride needs two."""
    latent: Annotated[int, *within(1, 4096)] = 50
    """Dimensions of each step's latent code."""
    lstm: Annotated[int, *within(1, 16_384)] = 256
    """Units of the encoder and of the decoder."""
    likelihood: Literal["gaussian", "bernoulli"] = "gaussian"
    """Distribution of a pixel around the canvas."""
    sigma: Annotated[float, *within(1e-3, 1e3)] = 0.3
    """Standard deviation of a Gaussian pixel around the canvas, images lying in [0, 1]."""

    def __post_init__(self):
        check_ranges(self, "--model.")

    @property
    def kept_bytes(self) -> int:
        """See `ModelConfig.kept_bytes`: filters, canvas and both LSTMs of each step."""
        pixels, patches = self.height * self.width, self.read**2 + self.write**2
        filters = (4 + self.channels) * (self.read + self.write) * (self.height + self.width)
        pictures = self.channels * (4 * patches + 2 * pixels)
        return FLOAT * self.steps * (filters + pictures + 16 * self.lstm + 8 * self.latent)

    def pass_bytes(self, steps: int) -> int:
        """See `ModelConfig.pass_bytes`; without gradients, the steps share their memory."""
        return FLOAT * 10 * self.channels * self.height * self.width

    @property
    def size_field(self) -> str:
        """See `ModelConfig.size_field`."""
        return "lstm"

    def idle(self) -> dict[str, str]:
        """See `ModelConfig.idle`."""
        if self.likelihood == "gaussian":
            return {}
        return {"sigma": "--model.likelihood bernoulli has no spread; leave one of them out"}


# The grid of filters


def centre(shift: Float[Tensor, "*batch 2"], height: int, width: int) -> Float[Tensor, "*batch 2"]:
    """Centre (gX, gY) of a grid in pixels, equations 22 and 23: ((A + 1) g̃X, (B + 1) g̃Y) / 2.

    Args:
        shift: (g̃X, g̃Y), each -1 to 1 on the canvas, shape (*, 2).
        height: canvas height B in pixels.
        width: canvas width A in pixels.
    """
    x, y = shift.unbind(-1)
    return torch.stack([(width + 1) / 2 * x + width / 2, (height + 1) / 2 * y + height / 2], -1)


def stride(
    log_stride: Float[Tensor, "*batch"], points: int, height: int, width: int
) -> Float[Tensor, "*batch"]:
    """Distance δ of neighbouring filters in pixels, equation 24: (max(A, B) - 1) / (N - 1) δ̃.

    Args:
        log_stride: log δ̃, zero for a grid as wide as the longer side of the canvas, shape (*,).
        points: filters N along each side of the grid, at least 2.
        height: canvas height B in pixels.
        width: canvas width A in pixels.
    """
    return (max(height, width) - 1) / (points - 1) * log_stride.exp()


def variance(log_variance: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Variance σ² of each filter in square pixels, of equation 21's log σ², shape (*,)."""
    return log_variance.exp()


def positions(
    centre: Float[Tensor, "*batch"], stride: Float[Tensor, "*batch"], points: int
) -> Float[Tensor, "*batch points"]:
    """Means of the filters along one axis in pixels, equations 19 and 20, shape (*, N).

    Args:
        centre: of the grid, in pixels, shape (*,).
        stride: distance of neighbouring filters in pixels, shape (*,).
        points: filters N along the axis.
    """
    index = torch.arange(points, device=centre.device, dtype=centre.dtype)
    return centre.unsqueeze(-1) + (index + 0.5 - points / 2) * stride.unsqueeze(-1)


def filterbank(
    positions: Float[Tensor, "*batch points"], variance: Float[Tensor, "*batch"], pixels: int
) -> Float[Tensor, "*batch points pixels"]:
    """The filters along one axis, F of equations 25 and 26, shape (*, N, pixels).

    A Gaussian divided by its sum over the pixels is a softmax, which needs no epsilon: each row
    sums to one wherever the filter lies and however narrow it is.

    Args:
        positions: means of the filters in pixels, shape (*, N).
        variance: of each filter in square pixels, shape (*,).
        pixels: of the axis.
    """
    pixel = torch.arange(pixels, device=positions.device, dtype=positions.dtype) + 0.5
    distance = positions.unsqueeze(-1) - pixel
    return (distance.square() * (-0.5 / variance)[..., None, None]).softmax(-1)


@dataclass(frozen=True)
class Grid:
    """N × N Gaussian filters over a canvas; each is the product of a row of Fy and one of Fx.

    Attributes:
        window: centre of the grid and its N strides (cx, cy, side) in pixels, shape (B, 3).
        Fy: filters along the height, shape (B, 1, N, H).
        Fx: filters along the width, shape (B, 1, N, W).
        intensity: γ, above zero, shape (B, 1, 1, 1).
    """

    window: Float[Tensor, "batch 3"]
    Fy: Float[Tensor, "batch 1 points height"]
    Fx: Float[Tensor, "batch 1 points width"]
    intensity: Float[Tensor, "batch 1 1 1"]

    def read(
        self, picture: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels points points"]:
        """The patch γ Fy x Fxᵀ of a picture, half of equation 27, shape (B, C, N, N)."""
        return self.intensity * _product(self.Fy, picture, self.Fx.mT)

    def write(
        self, patch: Float[Tensor, "batch channels points points"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The picture Fyᵀ w Fx / γ that a patch makes, equation 29, shape (B, C, H, W)."""
        return _product(self.Fy.mT, patch / self.intensity, self.Fx)


def grid(parameters: Float[Tensor, "batch 5"], points: int, height: int, width: int) -> Grid:
    """The grid that the decoder asks for.

    Args:
        parameters: (g̃X, g̃Y, log σ², log δ̃, log γ) of equation 21, shape (B, 5).
        points: filters N along each side.
        height: canvas height in pixels.
        width: canvas width in pixels.
    """
    middle = centre(parameters[:, :2], height, width)
    logs = parameters[:, 2:].clamp(-LOG_LIMIT, LOG_LIMIT)
    spread, step = variance(logs[:, 0]), stride(logs[:, 1], points, height, width)
    x, y = (positions(axis, step, points) for axis in middle.unbind(-1))
    return Grid(
        window=torch.cat([middle, points * step.unsqueeze(-1)], -1),
        Fy=filterbank(y, spread, height).unsqueeze(1),
        Fx=filterbank(x, spread, width).unsqueeze(1),
        intensity=logs[:, 2].exp()[:, None, None, None],
    )


# The model


@dataclass(frozen=True)
class Drawing:
    """The posterior over a batch of images, one sample of its latents, and what they draw.

    Attributes:
        image: the images, shape (B, C, H, W).
        q: each step's posterior over its latent code, shape (B, T, Z).
        z: the sample of q, shape (B, T, Z).
        windows: where each step wrote, (cx, cy, side) in pixels, shape (B, T, 3).
        pixels: p(x | z), the distribution of the pixels around the last canvas, (B, C, H, W).
    """

    image: Float[Tensor, "batch channels height width"]
    q: Normal
    z: Float[Tensor, "batch steps latent"]
    windows: Float[Tensor, "batch steps 3"]
    pixels: Normal | Bernoulli

    @property
    def means(self) -> Float[Tensor, "batch steps latent"]:
        """The posterior's means, shape (B, T, Z)."""
        return self.q.mean

    @property
    def canvas(self) -> Float[Tensor, "batch channels height width"]:
        """The mean of p(x | z), in [0, 1], shape (B, C, H, W)."""
        return self.pixels.mean

    @cached_property
    def kl(self) -> Float[Tensor, "batch steps"]:
        """KL(q(z_t) ‖ N(0, I)) in nats, a summand of equation 11, shape (B, T)."""
        return kl_divergence(self.q, PRIOR).sum(-1)

    @cached_property
    def log_likelihood(self) -> Float[Tensor, "batch"]:
        """Log p(x | z) in nats, with the Gaussian's constant, shape (B,); equation 9, negated."""
        return self.pixels.log_prob(self.image).sum((1, 2, 3))

    @property
    def elbo(self) -> Float[Tensor, "batch"]:
        """The bound log p(x | z) - KL on log p(x) in nats, shape (B,); equation 12, negated."""
        return self.log_likelihood - self.kl.sum(-1)

    @property
    def log_joint(self) -> Float[Tensor, "batch"]:
        """Log p(x, z) at the sampled z, shape (B,)."""
        return self.log_likelihood + PRIOR.log_prob(self.z).sum((1, 2))

    @property
    def log_posterior(self) -> Float[Tensor, "batch"]:
        """Log q(z | x) at the sampled z, shape (B,)."""
        return self.q.log_prob(self.z).sum((1, 2))


class _State(NamedTuple):
    """What passes from step to step: hidden state and cell of both LSTMs, and the canvas."""

    encoder: tuple[Tensor, Tensor]
    decoder: tuple[Tensor, Tensor]
    canvas: Tensor


class DRAW(Model[DRAWConfig]):
    """The model and its inference network.

    The canvas holds logits, and its sigmoid is the mean of both likelihoods: so a mean lies in
    [0, 1] like the images, whatever is added to the canvas, and the error image of equation 3 is
    what the likelihood measures.

    Args:
        config: shape and likelihood.
    """

    def __init__(self, config: DRAWConfig):
        super().__init__()
        self.config = c = config
        self.encoder = nn.LSTMCell(2 * c.channels * c.read**2 + c.lstm, c.lstm)
        self.decoder = nn.LSTMCell(c.latent, c.lstm)
        self.posterior = nn.Linear(c.lstm, 2 * c.latent)
        self.read_grid = nn.Linear(c.lstm, GRID)
        self.write_grid = nn.Linear(c.lstm, GRID)
        self.write_patch = nn.Linear(c.lstm, c.channels * c.write**2)
        self.initial_state = nn.Parameter(torch.zeros(4, c.lstm))
        self.initial_canvas = nn.Parameter(torch.zeros(c.channels, c.height, c.width))
        self._start_wide()

    def forward(
        self,
        image: Float[Tensor, "batch channels height width"],
        noise: Float[Tensor, "batch steps latent"],
    ) -> Drawing:
        """Reads and writes in turn, as many steps as `noise` has.

        Args:
            image: images in [0, 1], shape (B, C, H, W).
            noise: standard normal noise, shape (B, T, Z); zeros give the posterior means.
        """
        state, steps = self._start(len(image)), []
        for eps in noise.unbind(1):
            state, found = self._step(image, state, eps)
            steps.append(found)
        loc, std, z, windows = (torch.stack(parts, 1) for parts in zip(*steps, strict=True))
        return Drawing(image, normal(loc, std), z, windows, self._pixels(state.canvas))

    @torch.no_grad()
    def infer(
        self, image: Float[Tensor, "batch channels height width"], *, sample: bool = False
    ) -> Drawing:
        """The posterior over drawings: its means, or one sample.

        Args:
            image: images in [0, 1], shape (B, C, H, W).
            sample: draw from the posterior instead of taking its means.
        """
        return self(image, self._noise(image, sample))

    def reconstruct(
        self, image: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The last canvas at the posterior's means, shape (B, C, H, W)."""
        return self.infer(image).canvas

    @torch.no_grad()
    def canvases(
        self, image: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch steps channels height width"]:
        """The mean image after each step at the posterior's means, shape (B, T, C, H, W)."""
        state, pictures = self._start(len(image)), []
        for eps in self._noise(image, sample=False).unbind(1):
            state, _ = self._step(image, state, eps)
            pictures.append(state.canvas.sigmoid())
        return torch.stack(pictures, 1)

    @torch.no_grad()
    def generate(self, number: int) -> tuple[Float[Tensor, "number channels height width"], None]:
        """See `Model.generate`, equations 13-15; DRAW does not count."""
        state = self._start(number)
        for z in torch.randn(number, *self.noise_shape, device=state.canvas.device).unbind(1):
            state, _ = self._write(state, z)
        return state.canvas.sigmoid(), None

    @torch.no_grad()
    def elbo(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch"]:
        """See `Model.elbo`."""
        return self.infer(image, sample=True).elbo

    @torch.no_grad()
    def log_likelihood(
        self, image: Float[Tensor, "batch channels height width"], samples: int
    ) -> Float[Tensor, "batch"]:
        """The importance-weighted bound on log p(x) in nats (Burda et al. 2016), shape (B,).

        log 1/K Σ_k p(x, z_k) / q(z_k | x), one sample of the latents at a time.
        """
        drawn = (self.infer(image, sample=True) for _ in range(samples))
        weights = [found.log_joint - found.log_posterior for found in drawn]
        return torch.stack(weights).logsumexp(0) - math.log(samples)

    @property
    def noise_shape(self) -> tuple[int, int]:
        """Shape (T, Z) of the latents of one image, and of the noise that makes them."""
        return self.config.steps, self.config.latent

    def _noise(self, image: Tensor, sample: bool) -> Tensor:
        """Noise for a sample, or zeros for the means, shape (B, T, Z)."""
        shape = (len(image), *self.noise_shape)
        return (torch.randn if sample else torch.zeros)(shape, device=image.device)

    def _start(self, batch: int) -> _State:
        """The learned state before the first step."""
        a, b, c, d = (state.expand(batch, -1) for state in self.initial_state)
        return _State((a, b), (c, d), self.initial_canvas.expand(batch, -1, -1, -1))

    def _step(self, image: Tensor, state: _State, eps: Tensor) -> tuple[_State, tuple[Tensor, ...]]:
        """One step, equations 3 to 8: the new state, mean, deviation and sample of z, window."""
        hidden = state.decoder[0]
        glimpse = self._read(image, state).flatten(1)
        encoder = self.encoder(torch.cat([glimpse, hidden], -1), state.encoder)
        loc, log_std = self.posterior(encoder[0]).to(eps.dtype).chunk(2, -1)
        std = log_std.exp()
        z = loc + std * eps
        state, window = self._write(state._replace(encoder=encoder), z)
        return state, (loc, std, z, window)

    def _read(self, image: Tensor, state: _State) -> Tensor:
        """A patch of the image and one of its error, equations 3 and 27, (B, 2 C, N, N).

        Reading is linear, so the error is read as a difference of patches: no picture of it is
        made, nor kept for the gradient.
        """
        seen = self._grid(self.read_grid, self.config.read, state)
        patch = seen.read(image)
        return torch.cat([patch, patch - seen.read(state.canvas.sigmoid())], 1)

    def _write(self, state: _State, z: Tensor) -> tuple[_State, Tensor]:
        """The state with z decoded and written, equations 7, 8 and 28; where, (B, 3)."""
        c = self.config
        state = state._replace(decoder=self.decoder(z, state.decoder))
        patch = self.write_patch(state.decoder[0]).unflatten(-1, (c.channels, c.write, c.write))
        written = self._grid(self.write_grid, c.write, state)
        return state._replace(canvas=state.canvas + written.write(patch)), written.window

    def _grid(self, layer: nn.Linear, points: int, state: _State) -> Grid:
        """The grid that a layer reads off the decoder, equation 21."""
        parameters = layer(state.decoder[0]).to(state.canvas.dtype)
        return grid(parameters, points, self.config.height, self.config.width)

    def _pixels(self, canvas: Tensor) -> Normal | Bernoulli:
        """p(x | c_T), equation 16."""
        return PIXELS[self.config.likelihood](canvas, self.config.sigma)

    @torch.no_grad()
    def _start_wide(self) -> None:
        """Starting values from which a gradient reaches every pixel.

        Grids cover the canvas, as the paper's do, and here without gaps: filters half a stride wide
        overlap. So wide a filter, its row summing to one, weighs a pixel by about 1/δ², and what is
        written would be too faint to learn from: γ starts at 1/δ², so that a patch of ones adds
        about one. The canvas starts dark, at a mean of 0.05, as most of a scene is black.
        """
        c = self.config
        self.initial_canvas.fill_(START_CANVAS)
        for layer, points in ((self.read_grid, c.read), (self.write_grid, c.write)):
            step = stride(layer.bias.new_zeros(()), points, c.height, c.width)
            layer.bias.zero_()
            layer.bias[2] = 2 * (START_WIDTH * step).log()
            if layer is self.write_grid:
                layer.bias[4] = -2 * step.log()


def _product(left: Tensor, middle: Tensor, right: Tensor) -> Tensor:
    """Left @ middle @ right in full precision: small, and the error is a difference of two."""
    with torch.autocast(middle.device.type, enabled=False):
        return left @ middle @ right
