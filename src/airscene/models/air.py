"""Attend, Infer, Repeat (Eslami et al. 2016, arXiv 1603.08575).

Generation: n ~ p(n); for each object, what ~ N(0, I) and where ~ N; the decoder paints what, the
spatial transformer places it by where, the canvas is the sum, and x ~ N(canvas, σ²) in each pixel.

Inference: each step attends to a place (`airscene.models.attention`), from which come the presence
logit and the posterior over where; the window crops a glimpse, and an encoder gives the posterior
over what. While the network runs, every earlier presence is one, so a single unrolled pass of N
steps holds the latents and the painted objects of every count n ≤ N.

With feedback, a step reads not the image but what the canvas painted so far leaves of it. This is a
variant of the paper's DAIR (section 3.2): it has no LSTM, and its search starts from ink. No
gradient passes through that canvas, because training was unstable with it. So the gradient of DAIR
is truncated: it is the derivative of the bound with the canvas that each step reads held fixed.
That of AIR is the whole derivative.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Literal, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from airscene import counts, spatial
from airscene.counts import CountPosterior
from airscene.models.attention import CELL, FILTERS, POINTS, Recurrent, Search
from airscene.models.base import FLOAT, Model, ModelConfig
from airscene.networks import MLP, normal
from airscene.ranges import Range, check_ranges, in_turn, within

WHERE = 3  # scale, x, y
STEPS = Range(1, 1000)  # objects that are looked for, in training and afterwards
MEAN, STD = Range(-20, 20), Range(1e-6, 20)  # of where before squashing

START_SHIFT_STD = 0.3  # of a window's centre before squashing
START_PAINT = -2.0  # logit of the decoder's intensity
EDGE = 0.99  # how far towards the border a centre that was found may lie, for its atanh

COUNT_PRIORS = {"geometric": counts.truncated_geometric, "binomial": counts.binomial}


@dataclass(frozen=True)
class AIRConfig(ModelConfig):
    """The model's shape and its priors."""

    steps: Annotated[int, *in_turn(STEPS)] = 3
    """Objects N that training allows for; inference may ask for more."""
    channels: Annotated[int, *within(1, 16)] = 1
    """Colour channels C of the images."""
    height: Annotated[int, *within(1, 4096)] = 50
    """Canvas height in pixels."""
    width: Annotated[int, *within(1, 4096)] = 50
    """Canvas width in pixels."""
    glimpse: Annotated[int, *within(1, 512)] = 28
    """Points along each side of a glimpse."""
    what: Annotated[int, *within(1, 4096)] = 50
    """Dimensions of an object's appearance code."""
    feedback: Literal["none", "residual"] = "none"
    """What a step reads: none, the image (AIR); residual, the image less the canvas (DAIR)."""
    lstm: Annotated[int, *within(1, 16_384)] = 256
    """Units of the LSTM, which there is without feedback only."""
    hidden: Annotated[int, *within(1, 16_384)] = 256
    """Units of each hidden layer of the other networks."""
    sigma: Annotated[float, *within(1e-3, 1e3)] = 0.3
    """Standard deviation of a pixel around the canvas, images lying in [0, 1]."""
    scale_prior: Annotated[tuple[float, float], *in_turn(MEAN, STD)] = (-0.4, 0.1)
    """Mean and standard deviation of logit(window side / shorter canvas side)."""
    shift_prior: Annotated[tuple[float, float], *in_turn(MEAN, STD)] = (0.0, 1.0)
    """Mean and standard deviation of atanh(window centre), the canvas spanning -1 to 1."""
    count_prior: Literal["geometric", "binomial"] = "geometric"
    """Family of the prior over n; its odds follow the training schedule `prior_odds`."""

    def __post_init__(self):
        check_ranges(self, "--model.")

    @property
    def kept_bytes(self) -> int:
        """See `ModelConfig.kept_bytes`."""
        return FLOAT * self.steps * _step_floats(self)

    def pass_bytes(self, steps: int) -> int:
        """See `ModelConfig.pass_bytes`; most of it is what each step paints, and its box."""
        return FLOAT * steps * (2 * self.channels + 7) * self.height * self.width

    @property
    def size_field(self) -> str:
        """See `ModelConfig.size_field`."""
        return "lstm" if self.feedback == "none" else "hidden"

    def enlarged(self, factor: float) -> "AIRConfig":
        """See `ModelConfig.enlarged`: windows are a share of the canvas, which shrinks."""
        mean, std = self.scale_prior
        share = 1 / (1 + math.exp(-mean)) / factor
        return replace(self, scale_prior=(round(scale_of(share), 3), std))

    def idle(self) -> dict[str, str]:
        """See `ModelConfig.idle`."""
        if self.feedback == "none":
            return {}
        return {"lstm": "--model.feedback residual has no LSTM; leave one of them out"}


@dataclass(frozen=True)
class Prior:
    """The priors, n truncated at N.

    Attributes:
        log_count: log p(n) for n = 0..N, shape (N + 1,).
        where: over (scale, x, y) before squashing, shape (3,).
        what: over each dimension of the appearance code, a scalar.
    """

    log_count: Float[Tensor, "counts"]
    where: Normal
    what: Normal


@dataclass(frozen=True)
class Inference:
    """The posterior over a batch of scenes, one sample of its latents, and what they paint.

    Attributes:
        image: the images, shape (B, C, H, W).
        posterior: q(n | x), with logits of shape (B, N).
        q_where: each step's posterior over (scale, x, y) before squashing, shape (B, N, 3).
        q_what: each step's posterior over the appearance code, shape (B, N, D).
        where: the sample of where, shape (B, N, 3).
        what: the sample of what, shape (B, N, D).
        window: the sampled windows (cx, cy, side) in pixels, shape (B, N, 3).
        objects: what each step paints, alone on an empty canvas, shape (B, N, C, H, W).
        prior: the priors over n, where and what.
        sigma: standard deviation of a pixel.
    """

    image: Float[Tensor, "batch channels height width"]
    posterior: CountPosterior
    q_where: Normal
    q_what: Normal
    where: Float[Tensor, "batch steps 3"]
    what: Float[Tensor, "batch steps what"]
    window: Float[Tensor, "batch steps 3"]
    objects: Float[Tensor, "batch steps channels height width"]
    prior: Prior
    sigma: float

    @cached_property
    def kl_where(self) -> Float[Tensor, "batch steps"]:
        """KL(q(where) ‖ p(where)) in nats, shape (B, N)."""
        return kl_divergence(self.q_where, self.prior.where).sum(-1)

    @cached_property
    def kl_what(self) -> Float[Tensor, "batch steps"]:
        """KL(q(what) ‖ p(what)) in nats, shape (B, N)."""
        return kl_divergence(self.q_what, self.prior.what).sum(-1)

    def score(self, presence: Float[Tensor, "*masks steps"]) -> Float[Tensor, "*masks"]:
        """Log p(x, z, n) - log q(z | x), its z-part integrated as a KL, (..., B, N) -> (..., B)."""
        return self._joint(presence, self.kl_where + self.kl_what)

    def log_joint(self, presence: Float[Tensor, "*masks steps"]) -> Float[Tensor, "*masks"]:
        """Log p(x, z, n) at the sampled z, (..., B, N) -> (..., B)."""
        return self._joint(presence, -self._log_density(self.prior.where, self.prior.what))

    def log_posterior(self, presence: Float[Tensor, "*masks steps"]) -> Float[Tensor, "*masks"]:
        """Log q(z | x) at the sampled z, of n objects without n itself, (..., B, N) -> (..., B)."""
        return (self._log_density(self.q_where, self.q_what) * presence).sum(-1)

    def log_likelihood(self, presence: Float[Tensor, "*masks steps"]) -> Float[Tensor, "*masks"]:
        """Log p(x | z, presence) in nats, with the Gaussian's constant, (..., B, N) -> (..., B).

        A relaxed presence, between 0 and 1, dims its object.
        """
        weights = torch.cat([torch.ones_like(presence[..., :1]), -presence], -1)
        with torch.autocast(self.image.device.type, enabled=False):  # differences of large numbers
            square = ((weights.unsqueeze(-2) @ self._gram).squeeze(-2) * weights).sum(-1)
        constant = math.log(self.sigma * math.sqrt(2 * math.pi)) * self.image[0].numel()
        return -square / (2 * self.sigma**2) - constant

    def canvas(self, count: Int[Tensor, "batch"]) -> Float[Tensor, "batch channels height width"]:
        """The sum of each image's first `count` objects, shape (B, C, H, W)."""
        return _canvas(self.objects, count)

    @property
    def elbo(self) -> Float[Tensor, "batch"]:
        """The bound on log p(x) in nats, n summed out and z sampled once, shape (B,)."""
        return counts.elbo(self.posterior, self.score)

    @property
    def context(self) -> Float[Tensor, "batch pixels"]:
        """What the network reads: the image, shape (B, C H W)."""
        return self.image.flatten(1)

    @property
    def latents(self) -> Float[Tensor, "batch steps latents"]:
        """Presence logit, where and what of each step, shape (B, N, 1 + 3 + D), detached."""
        parts = (self.posterior.logits.unsqueeze(-1), self.where, self.what)
        return torch.cat(parts, -1).detach()

    def _joint(self, presence: Tensor, cost: Tensor) -> Tensor:
        """Log p(x | z, n) + log p(n) less what each present object's latents cost, (..., B)."""
        log_prior = counts.log_prior_of(presence, self.prior.log_count)
        return self.log_likelihood(presence) + log_prior - (cost * presence).sum(-1)

    def _log_density(self, where: Normal, what: Normal) -> Float[Tensor, "batch steps"]:
        """Log-density of each step's sampled latents under two distributions, (B, N)."""
        return where.log_prob(self.where).sum(-1) + what.log_prob(self.what).sum(-1)

    @cached_property
    def _gram(self) -> Float[Tensor, "batch pictures pictures"]:
        """Inner products over pixels of the image and the painted objects, (B, 1 + N, 1 + N).

        A residual is a weighted sum of these pictures, so its squared norm is a quadratic form in
        the weights: once this matrix is known, any number of presence masks costs next to nothing.
        """
        pictures = torch.cat([self.image.unsqueeze(1), self.objects], 1).flatten(2)
        # Either factor gives half of the gradient, and their halves mirror each other: one is
        # differentiated, for half the cost. No second derivative to the pictures passes.
        half = pictures @ pictures.detach().mT
        return half + half.mT - half.detach()


class AIR(Model[AIRConfig]):
    """The model and its inference network.

    Args:
        config: shape and priors.
    """

    def __init__(self, config: AIRConfig):
        super().__init__()
        self.config = c = config
        pixels, patch = c.channels * c.height * c.width, c.channels * c.glimpse**2
        self.attention = self._make_attention(pixels)
        self.attend = MLP([self.attention.features, c.hidden, 1 + 2 * WHERE])
        self.encoder = MLP([patch, c.hidden, c.hidden, 2 * c.what])
        self.decoder = MLP([c.what, c.hidden, c.hidden, patch])
        self.log_odds: Tensor
        self.register_buffer("log_odds", torch.zeros(()))
        self._start_calm()

    def forward(
        self,
        image: Float[Tensor, "batch channels height width"],
        noise: Float[Tensor, "batch steps latents"],
        reparameterised: bool = True,
    ) -> Inference:
        """Attends, infers, repeats: one unrolled pass of as many steps as `noise` has.

        Args:
            image: images in [0, 1], shape (B, C, H, W).
            noise: standard normal noise for where and what, shape (B, N, 3 + D); zeros give the
                posterior means.
            reparameterised: pass the gradient through the samples of where and what; without it,
                they are data, and only their densities carry a gradient to the posterior.
        """
        state, latents, unexplained = self.attention.start(image), noise[:, 0] * 0, image
        steps = []
        for eps in noise.unbind(1):
            features, centre, state = self.attention(state, latents, unexplained)
            logit, q_where = self._locate(features, centre)
            where = _draw(q_where, eps[:, :WHERE], reparameterised)
            window = self.window(where)
            q_what = self._describe(spatial.crop(unexplained, window, self.config.glimpse))
            what = _draw(q_what, eps[:, WHERE:], reparameterised)
            latents = torch.cat([where, what], -1)
            painted = self.paint(where, what)
            if self.config.feedback == "residual":
                unexplained = unexplained - painted.detach()
            steps.append((logit, q_where, q_what, where, what, window, painted))
        return self._assemble(image, steps)

    @torch.no_grad()
    def infer(
        self,
        image: Float[Tensor, "batch channels height width"],
        steps: int | None = None,
        *,
        sample: bool = False,
    ) -> Inference:
        """The posterior over scenes: its means, or one sample.

        Args:
            image: images in [0, 1], shape (B, C, H, W).
            steps: the largest count to allow for; the model's own N unless given.
            sample: draw where and what from the posterior instead of taking its means.
        """
        shape = (len(image), self.config.steps if steps is None else steps, self.latents)
        return self(image, (torch.randn if sample else torch.zeros)(shape, device=image.device))

    def reconstruct(
        self, image: Float[Tensor, "batch channels height width"], steps: int | None = None
    ) -> Float[Tensor, "batch channels height width"]:
        """The canvas of the most probable count at the posterior's means, shape (B, C, H, W).

        Args:
            image: images in [0, 1], shape (B, C, H, W).
            steps: the largest count to allow for; the model's own N unless given.
        """
        inference = self.infer(image, steps)
        return inference.canvas(inference.posterior.mode)

    @torch.no_grad()
    def generate(
        self, number: int, count: Int[Tensor, "batch"] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scenes from the prior, as canvases without pixel noise.

        Args:
            number: how many scenes.
            count: objects of each scene, shape (number,); drawn from p(n) unless given.

        Returns:
            The canvases, shape (number, C, H, W), and the counts, shape (number,).
        """
        prior = self.prior(self.config.steps)
        if count is None:
            count = torch.multinomial(prior.log_count.exp(), number, replacement=True)
        where = prior.where.sample((number, self.config.steps))
        what = torch.randn(number, self.config.steps, self.config.what, device=count.device)
        return _canvas(self.paint(where, what), count), count

    @torch.no_grad()
    def elbo(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch"]:
        """See `Model.elbo`; n is summed out."""
        return self.infer(image, sample=True).elbo

    @torch.no_grad()
    def log_likelihood(self, image: Float[Tensor, "batch channels height width"], samples: int):
        """The importance-weighted bound on log p(x) in nats (Burda et al. 2016), shape (B,).

        Every sample of z serves all counts, so n is summed out and not sampled:
        log 1/K Σ_k Σ_n p(x, z_k, n) / q(z_k | x).
        """
        masks = counts.all_presences(self.config.steps, image.device).expand(-1, len(image), -1)
        drawn = (self.infer(image, sample=True) for _ in range(samples))
        weights = [found.log_joint(masks) - found.log_posterior(masks) for found in drawn]
        return torch.cat(weights).logsumexp(0) - math.log(samples)

    @property
    def latents(self) -> int:
        """Latent dimensions of one object: where and what."""
        return WHERE + self.config.what

    def prior(self, steps: int) -> Prior:
        """The priors, with n truncated at `steps`."""
        c, zero = self.config, torch.zeros_like(self.log_odds)
        (scale, scale_std), (shift, shift_std) = c.scale_prior, c.shift_prior
        loc = torch.stack([zero + scale, zero + shift, zero + shift])
        std = torch.stack([zero + scale_std, zero + shift_std, zero + shift_std])
        log_count = COUNT_PRIORS[c.count_prior](self.log_odds, steps)
        return Prior(log_count, normal(loc, std), normal(zero, zero + 1))

    def window(self, where: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
        """The window (cx, cy, side) in pixels of each where, shape (*, 3)."""
        c = self.config
        scale, x, y = where.unbind(-1)
        cx, cy = (x.tanh() + 1) * (c.width / 2), (y.tanh() + 1) * (c.height / 2)
        return torch.stack([cx, cy, scale.sigmoid() * min(c.height, c.width)], -1)

    def paint(
        self, where: Float[Tensor, "*batch 3"], what: Float[Tensor, "*batch what"]
    ) -> Float[Tensor, "*batch channels height width"]:
        """Each object alone on an empty canvas, shape (*, C, H, W)."""
        c, batch = self.config, where.shape[:-1]
        shape = (c.channels, c.glimpse, c.glimpse)
        glimpse = self.decoder(what).sigmoid().view(-1, *shape)
        objects = spatial.paste(glimpse, self.window(where).view(-1, WHERE), c.height, c.width)
        return objects.view(*batch, *objects.shape[1:])

    def _make_attention(self, pixels: int) -> Recurrent | Search:
        c = self.config
        if c.feedback == "none":
            return Recurrent(pixels, self.latents, c.lstm)
        scale = torch.tensor([c.scale_prior[0], 0.0, 0.0], device="cpu")  # read at once
        return Search((c.channels, c.height, c.width), float(self.window(scale)[2]), c.glimpse)

    def _locate(self, features: Tensor, centre: Tensor) -> tuple[Tensor, Normal]:
        """Presence logit (B, 1) and posterior over where (B, 3), departing from a centre (B, 2)."""
        logit, loc, std = self.attend(features).to(self.log_odds.dtype).split([1, WHERE, WHERE], -1)
        scale, shift = loc.split([1, 2], -1)
        loc = torch.cat([scale, shift + (EDGE * centre).atanh()], -1)
        return logit, normal(loc, F.softplus(std))

    def _describe(self, glimpse: Tensor) -> Normal:
        """Posterior over what (B, D), from a glimpse (B, C, size, size)."""
        loc, std = self.encoder(glimpse.flatten(1)).to(self.log_odds.dtype).chunk(2, -1)
        return normal(loc, F.softplus(std))

    def _assemble(self, image: Tensor, steps: list[tuple]) -> Inference:
        """Stacks what each step found and painted."""
        logits, q_where, q_what, where, what, window, painted = zip(*steps, strict=True)
        return Inference(
            image=image,
            posterior=CountPosterior(torch.cat(logits, -1)),
            q_where=_stack(q_where),
            q_what=_stack(q_what),
            where=torch.stack(where, 1),
            what=torch.stack(what, 1),
            window=torch.stack(window, 1),
            objects=torch.stack(painted, 1),
            prior=self.prior(len(steps)),
            sigma=self.config.sigma,
        )

    @torch.no_grad()
    def _start_calm(self) -> None:
        """Starting values from which learning neither splits an object nor gives up on it.

        Windows start near the middle with the prior's scale and little noise, so that an object is
        painted where it was seen; paint starts faint, because most of a canvas is empty.
        """
        last, paint = cast(nn.Linear, self.attend[-1]), cast(nn.Linear, self.decoder[-1])
        last.weight.mul_(0.1)
        scale, scale_std = self.config.scale_prior
        std = torch.tensor([scale_std, START_SHIFT_STD, START_SHIFT_STD])
        last.bias.copy_(torch.cat([torch.tensor([0.0, scale, 0.0, 0.0]), std.expm1().log()]))
        paint.bias.fill_(START_PAINT)


def scale_of(share: float) -> float:
    """The scale of a window, which is the inverse of what `AIR.window` makes of it.

    Args:
        share: side of the window over the shorter side of the canvas, between 0 and 1.
    """
    return math.log(share / (1 - share))


def _step_floats(c: AIRConfig) -> int:
    """Floats that a step of AIR or DAIR keeps of an image in training."""
    sides, pixels = c.height + c.width, c.channels * c.height * c.width
    patch = c.channels * c.glimpse**2
    windows = 4 * c.glimpse * sides + c.channels * c.glimpse * sides  # of a crop and a paste
    networks = 8 * c.hidden + 3 * patch + 8 * c.what
    found = windows + networks + 4 * pixels + 8 * (c.steps + 1)  # masks and the Gram matrix
    return found + (12 * c.lstm if c.feedback == "none" else _search_floats(c))


def _search_floats(c: AIRConfig) -> int:
    """Floats that a step of the search keeps: the residual, the glance, the salience."""
    side = min(c.height, c.width) / (1 + math.exp(-c.scale_prior[0]))
    reduced = c.height * c.width * min(1.0, POINTS / side) ** 2
    glance = 2 * (1 + c.channels) * c.glimpse * (c.height + c.width)
    return round(3 * c.channels * c.height * c.width + glance + 4 * FILTERS * reduced / CELL**2)


def _canvas(objects: Tensor, count: Tensor) -> Tensor:
    """The sum of the first `count` of objects (B, N, C, H, W), shape (B, C, H, W)."""
    presence = counts.presence_of(count, objects.shape[1])
    return torch.einsum("bn,bnchw->bchw", presence, objects)


def _draw(q: Normal, noise: Tensor, reparameterised: bool) -> Tensor:
    """A sample of q from standard normal noise."""
    sample = q.loc + q.scale * noise
    return sample if reparameterised else sample.detach()


def _stack(normals: tuple[Normal, ...]) -> Normal:
    """One distribution of shape (B, N, ·) from one a step of shape (B, ·)."""
    return normal(
        *(torch.stack([getattr(q, name) for q in normals], 1) for name in ("loc", "scale"))
    )
