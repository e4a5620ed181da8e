"""Attend, Infer, Repeat (Eslami et al. 2016, arXiv 1603.08575).

Generation: n ~ p(n); for each object, what ~ N(0, I) and where ~ N; the decoder paints what
(`airscene.models.appearance`), the spatial transformer places it by where, a compositor puts the
objects on a background, in the paper their sum on black, and x ~ N(canvas, σ²) in each pixel.

Inference: each step attends to a place (`airscene.models.attention`), from which come the presence
logit and the posterior over where; the window crops a glimpse, and an encoder gives the posterior
over what. While the network runs, every earlier presence is one, so a single unrolled pass of N
steps holds the latents and the painted objects of every count n ≤ N.

With feedback, a step reads not the image but what the canvas painted so far leaves of it. This is a
variant of the paper's DAIR (section 3.2): it has no LSTM, and its search starts from ink. Whether
an object is there is decided after it was painted: to the network's logit, a learned multiple of
its log odds given its latents is added. These are what the object gains in log-likelihood, less the
KL of its latents, plus the log odds of the prior. The steps that found an object then come before
those that found none (`Inference.present_first`).

No gradient passes through that canvas, because training was unstable with it, nor through those
odds. So the gradient of DAIR is truncated: it is the derivative of the bound with the canvas that
each step reads, and the odds, held fixed. That of AIR is the whole derivative.
"""

import math
from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from airscene.core import counts, layers, spatial
from airscene.core.compositors import COMPOSITORS, Composition, Layers
from airscene.core.counts import CountPosterior
from airscene.core.likelihoods import LIKELIHOODS
from airscene.core.networks import MLP, normal, raw_of, spread
from airscene.models.air_config import AIRConfig
from airscene.models.appearance import (
    CoarseLightDecoder,
    CoarseLightEncoder,
    LightDecoder,
    LightEncoder,
    LineDecoder,
    LineEncoder,
    SurfaceDecoder,
    SurfaceEncoder,
)
from airscene.models.attention import Recurrent, Search
from airscene.models.background import BACKGROUNDS, Shape
from airscene.models.base import Model
from airscene.models.inference import Inference, Prior
from airscene.models.view import View

WHERE = 3  # scale, x, y

SIGMA = 0.3  # of a model that is built before any picture was seen
START_SHIFT_STD = 0.3  # of a window's centre before squashing
EDGE = 0.99  # how far towards the border a centre that was found may lie, for its atanh

ODDS_UNIT = 10.0  # nats, in which the log odds of presence are weighed
START_ODDS_WEIGHT = 0.1  # of them

ROUNDING = 1  # pixels by which a patch is larger, as it lies on whole pixels and windows between
WIDE = {False: 6, True: 2}
"""How many times a patch's pixels a canvas has from which patches are faster than the wide form:
for objects that add up, and for objects that hide what is behind them, which is more work."""

LOOKS = {
    "none": (LightEncoder, LightDecoder),
    "residual": (CoarseLightEncoder, CoarseLightDecoder),
    "surface": (SurfaceEncoder, SurfaceDecoder),
    "line": (LineEncoder, LineDecoder),
}
"""How objects are read and painted: surfaces that hide what is behind them, or light that adds up,
by the feedback that a step gets, or lines."""

COUNT_PRIORS = {"geometric": counts.truncated_geometric, "binomial": counts.binomial}


class AIR(Model[AIRConfig]):
    """The model and its inference network.

    Args:
        config: shape and priors. Without a `sigma`, it is 0.3; `AIRConfig.fitted` chooses a better
            one by the pictures.
    """

    def __init__(self, config: AIRConfig):
        super().__init__()
        self.config = c = config
        self.compositor, self.likelihood = COMPOSITORS[c.compositor], LIKELIHOODS[c.likelihood]()
        self.sigma: Tensor
        self.register_buffer("sigma", torch.ones(()), persistent=False)
        self.widen(1.0)
        self.patch = self._patch()
        shape = Shape(c.channels, c.height, c.width, c.hidden, c.background_code)
        self.background = BACKGROUNDS[c.background](shape)
        self.attention = self._make_attention()
        self.attend = MLP([self.attention.features, c.hidden, 1 + 2 * WHERE])
        encoder, decoder = LOOKS[c.looks]
        self.encoder = encoder(c.channels, c.glimpse, c.hidden, c.what)
        self.decoder = decoder(c.channels, c.glimpse, c.hidden, c.what)
        if c.feedback == "residual":
            self.odds_weight = nn.Parameter(torch.tensor(START_ODDS_WEIGHT))
        self.log_odds: Tensor
        self.register_buffer("log_odds", torch.zeros(()))
        self._start_calm()

    def forward(
        self,
        image: Float[Tensor, "batch channels height width"],
        noise: Float[Tensor, "batch steps latents"],
        scene_noise: Float[Tensor, "batch background"] | None = None,
        reparameterised: bool = True,
        rank: int = 0,
    ) -> Inference:
        """Attends, infers, repeats: one unrolled pass of as many steps as `noise` has.

        Args:
            image: images in [0, 1], shape (B, C, H, W).
            noise: standard normal noise for where and what, shape (B, N, 3 + D); zeros give the
                posterior means.
            scene_noise: the same for the background, shape (B, G); zeros unless given.
            reparameterised: pass the gradient through the samples of the latents; without it, they
                are data, and only their densities carry a gradient to the posterior.
            rank: where the first step of a search goes: to the most salient place for 0, to the
                next for 1, and so on.
        """
        backdrop = self._backdrop(image, scene_noise, reparameterised)
        return self._repeat(image, backdrop, noise, reparameterised, rank)

    @torch.no_grad()
    def infer(
        self,
        image: Float[Tensor, "batch channels height width"],
        steps: int | None = None,
        *,
        sample: bool = False,
    ) -> Inference:
        """The posterior over scenes: its means, or one sample.

        With feedback, the means are looked for from several places, `AIRConfig.searches` times in
        all, and of each image those with the highest bound are kept. A sample is that of the first
        search.

        Args:
            image: images in [0, 1], shape (B, C, H, W).
            steps: the largest count to allow for; the model's own N unless given.
            sample: draw the latents from the posterior instead of taking its means.
        """
        draw = torch.randn if sample else torch.zeros
        noise = draw(
            len(image),
            self.config.steps if steps is None else steps,
            self.latents,
            device=image.device,
        )
        scene_noise = draw(len(image), self.background.latents, device=image.device)
        backdrop = self._backdrop(image, scene_noise, reparameterised=True)
        found = self._repeat(image, backdrop, noise)
        if sample or self.config.feedback == "none":
            return found
        best = found.elbo
        for rank in range(1, self.config.searches):
            other = self._repeat(image, backdrop, noise, rank=rank)
            bound = other.elbo
            better = (bound > best).nonzero()[:, 0]
            found, best = found.put(better, other.take(better)), best.maximum(bound)
        return found

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
        prior, device = self.prior(self.config.steps), self.log_odds.device
        if count is None:
            count = torch.multinomial(prior.log_count.exp(), number, replacement=True)
        where = prior.where.sample((number, self.config.steps))
        what = torch.randn(number, self.config.steps, self.config.what, device=device)
        code = torch.randn(number, self.background.latents, device=device)
        behind, objects = self.background.paint(code), self.paint(where, what)
        scene = self._composed(behind, behind, objects)
        return scene.canvas(counts.presence_of(count, self.config.steps)), count

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
        drawn = (self.infer(image, sample=True) for _ in range(samples))
        weights = [found.log_joint() - found.log_posterior() for found in drawn]
        return torch.cat(weights).logsumexp(0) - math.log(samples)

    @property
    def latents(self) -> int:
        """Latent dimensions of one object: where and what."""
        return WHERE + self.config.what

    def widen(self, factor: float) -> None:
        """Lets pixels spread around the canvas by so many times the model's own sigma."""
        own = SIGMA if self.config.sigma is None else self.config.sigma
        self.sigma.fill_(factor * own)

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
        side = scale.sigmoid() * min(c.height, c.width)
        if self.patch != (c.height, c.width):
            side = side.clamp(max=(max(self.patch) - self._margin) / self._spread)
        return torch.stack([cx, cy, side], -1)

    def paint(
        self, where: Float[Tensor, "batch steps 3"], what: Float[Tensor, "batch steps what"]
    ) -> Layers:
        """The objects as layers, (B, N, ·)."""
        c = self.config
        paint, opacity = self.decoder.paint(what)
        glimpse = paint if opacity is None else torch.cat([paint * opacity, opacity], 2)
        window = self.window(where)
        corner = layers.corner_of(window, self.patch, (c.height, c.width))
        local = layers.within(window, corner).flatten(0, 1)
        paint = spatial.paste(glimpse.flatten(0, 1), local, *self.patch)
        paint = paint.unflatten(0, where.shape[:2])
        if opacity is not None:
            paint, opacity = paint.split([c.channels, 1], 2)
        return Layers(paint, opacity, corner)

    @property
    def _margin(self) -> int:
        """Pixels of a patch that what is painted leaves free, on both sides together."""
        return ROUNDING + 2 * self.likelihood.reach

    @property
    def _spread(self) -> float:
        """How much wider than a window is what is painted: by half a point on each side."""
        return 1 + 1 / self.config.glimpse

    def _patch(self) -> tuple[int, int]:
        """Height and width of the patch that an object is painted on; see `airscene.core.layers`.

        It holds windows up to four standard deviations above the mean of their prior. It is the
        canvas itself where that is not much larger.
        """
        c = self.config
        mean, std = c.scale_prior
        largest = min(c.height, c.width) / (1 + math.exp(-mean - 4 * std))
        side = self._margin + math.ceil(self._spread * largest)
        if c.height * c.width < WIDE[self.compositor.opaque] * side**2:
            return c.height, c.width
        return side, side

    def _make_attention(self) -> Recurrent | Search:
        c = self.config
        if c.feedback == "none":
            return Recurrent(c.channels * c.height * c.width, self.latents, c.lstm)
        shape = c.channels, c.height, c.width
        return Search(shape, c.side, c.glimpse, self.compositor.opaque, self.patch)

    def _view(self, image: Tensor, behind: Tensor) -> View:
        """What the first step can read."""
        seen = torch.ones_like(image[:, :1]) if self.compositor.opaque else None
        return View(image, image - behind.detach(), behind.detach(), seen, self.likelihood)

    def _composed(self, image: Tensor, behind: Tensor, objects: Layers) -> Composition:
        """Images, their backgrounds and objects, put together."""
        return Composition(image, behind, objects, self.compositor, self.sigma, self.likelihood)

    def _backdrop(self, image: Tensor, noise: Tensor | None, reparameterised: bool) -> "_Backdrop":
        """What lies behind the objects."""
        posterior = self.background.posterior(image)
        noise = torch.zeros_like(posterior.loc) if noise is None else noise
        code = _draw(posterior, noise, reparameterised)
        return _Backdrop(posterior, code, self.background.paint(code))

    def _repeat(
        self,
        image: Tensor,
        backdrop: "_Backdrop",
        noise: Tensor,
        reparameterised: bool = True,
        rank: int = 0,
    ) -> Inference:
        """One search of images for their objects; see `forward` for the arguments."""
        view = self._view(image, backdrop.canvas)
        state, latents = self.attention.start(image, rank), noise[:, 0] * 0
        steps, painted, prior = [], [], self.prior(noise.shape[1])
        for eps in noise.unbind(1):
            features, centre, state = self.attention(state, latents, view)
            steps.append(step := self._step(view, features, centre, eps, reparameterised))
            latents = torch.cat([step.where, step.what], -1)
            if self.config.feedback == "residual":
                painted.append(self.paint(step.where.unsqueeze(1), step.what.unsqueeze(1)))
                view, gain = view.after(painted[-1])
                odds = self._odds(step, gain, prior).unsqueeze(-1) / ODDS_UNIT
                steps[-1] = step._replace(logit=step.logit + self.odds_weight * odds)
        logits, q_where, q_what, where, what = zip(*steps, strict=True)
        where, what = torch.stack(where, 1), torch.stack(what, 1)
        objects = Layers.join(painted) if painted else self.paint(where, what)
        found = Inference(
            posterior=CountPosterior(torch.cat(logits, -1)),
            q_where=_stack(q_where),
            q_what=_stack(q_what),
            q_background=backdrop.posterior,
            where=where,
            what=what,
            background=backdrop.code,
            window=self.window(where),
            scene=self._composed(image, backdrop.canvas, objects),
            prior=prior,
        )
        return found.present_first() if painted else found

    def _step(
        self, view: View, features: Tensor, centre: Tensor, noise: Tensor, reparameterised: bool
    ) -> "_Step":
        """Infers whether there is one more object, where it is and what it looks like."""
        logit, q_where = self._locate(features, centre)
        where = _draw(q_where, noise[:, :WHERE], reparameterised)
        q_what = self.encoder.describe(view, self.window(where), self.patch)
        what = _draw(q_what, noise[:, WHERE:], reparameterised)
        return _Step(logit, q_where, q_what, where, what)

    def _locate(self, features: Tensor, centre: Tensor) -> tuple[Tensor, Normal]:
        """Presence logit (B, 1) and posterior over where (B, 3), departing from a centre (B, 2)."""
        logit, loc, std = self.attend(features).to(self.log_odds.dtype).split([1, WHERE, WHERE], -1)
        scale, shift = loc.split([1, 2], -1)
        loc = torch.cat([scale, shift + (EDGE * centre).atanh()], -1)
        return logit, normal(loc, spread(std))

    @torch.no_grad()
    def _odds(
        self, step: "_Step", gain: Float[Tensor, "batch"], prior: Prior
    ) -> Float[Tensor, "batch"]:
        """The log odds in nats that a step's object is there, given its latents.

        Args:
            step: what was inferred of the object.
            gain: by how much the object lowers the squared error.
            prior: over where and what.
        """
        cost = kl_divergence(step.q_where, prior.where).sum(-1)
        cost = cost + kl_divergence(step.q_what, prior.what).sum(-1)
        return gain / (2 * self.sigma.square()) - cost + self.log_odds

    @torch.no_grad()
    def _start_calm(self) -> None:
        """Starting values from which learning neither splits an object nor gives up on it.

        Windows start near the middle with the prior's scale and little noise, so that an object is
        painted where it was seen.
        """
        last = cast(nn.Linear, self.attend[-1])
        last.weight.mul_(0.1)
        scale, scale_std = self.config.scale_prior
        raw = [raw_of(std) for std in (scale_std, START_SHIFT_STD, START_SHIFT_STD)]
        last.bias.copy_(torch.tensor([0.0, scale, 0.0, 0.0, *raw]))


class _Step(NamedTuple):
    """One object of each image: its presence logit (B, 1), where (B, 3) and what (B, D)."""

    logit: Tensor
    q_where: Normal
    q_what: Normal
    where: Tensor
    what: Tensor


class _Backdrop(NamedTuple):
    """What lies behind the objects: its posterior, its code (B, G) and its canvas (B, C, H, W)."""

    posterior: Normal
    code: Tensor
    canvas: Tensor


def _draw(q: Normal, noise: Tensor, reparameterised: bool) -> Tensor:
    """A sample of q from standard normal noise."""
    sample = q.loc + q.scale * noise
    return sample if reparameterised else sample.detach()


def _stack(normals: tuple[Normal, ...]) -> Normal:
    """One distribution of shape (B, N, ·) from one a step of shape (B, ·)."""
    return normal(
        *(torch.stack([getattr(q, name) for q in normals], 1) for name in ("loc", "scale"))
    )
