"""The posterior over a batch of scenes, and everything that an estimator asks of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from airscene.core import counts
from airscene.core.compositors import Composition
from airscene.core.counts import CountPosterior
from airscene.core.networks import normal

Changed = Callable[..., Tensor]
Masks = Float[Tensor, "*masks steps"]


@dataclass(frozen=True)
class Prior:
    """The priors, n truncated at N.

    Attributes:
        log_count: log p(n) for n = 0..N, shape (N + 1,).
        where: over (scale, x, y) before squashing, shape (3,).
        what: over each dimension of an appearance code, and of the background's code, a scalar.
    """

    log_count: Float[Tensor, "counts"]
    where: Normal
    what: Normal


@dataclass(frozen=True)
class Inference:
    """The posterior over a batch of scenes, one sample of its latents, and what they paint.

    Methods that take a presence mask, hard or relaxed, score the masks of every count n = 0..N when
    they are given none, at the cost of one and with the result (N + 1, B).

    Attributes:
        posterior: q(n | x), with logits of shape (B, N).
        q_where: each step's posterior over (scale, x, y) before squashing, shape (B, N, 3).
        q_what: each step's posterior over the appearance code, shape (B, N, D).
        q_background: the posterior over the background's code, shape (B, G).
        where: the sample of where, shape (B, N, 3).
        what: the sample of what, shape (B, N, D).
        background: the sample of the background's code, shape (B, G).
        window: the sampled windows (cx, cy, side) in pixels, shape (B, N, 3).
        scene: the images, and what the samples paint.
        prior: the priors over n, where, what and the background's code.
    """

    posterior: CountPosterior
    q_where: Normal
    q_what: Normal
    q_background: Normal
    where: Float[Tensor, "batch steps 3"]
    what: Float[Tensor, "batch steps what"]
    background: Float[Tensor, "batch background"]
    window: Float[Tensor, "batch steps 3"]
    scene: Composition
    prior: Prior

    @cached_property
    def kl_where(self) -> Float[Tensor, "batch steps"]:
        """KL(q(where) ‖ p(where)) in nats, shape (B, N)."""
        return kl_divergence(self.q_where, self.prior.where).sum(-1)

    @cached_property
    def kl_what(self) -> Float[Tensor, "batch steps"]:
        """KL(q(what) ‖ p(what)) in nats, shape (B, N)."""
        return kl_divergence(self.q_what, self.prior.what).sum(-1)

    @cached_property
    def kl_background(self) -> Float[Tensor, "batch"]:
        """KL(q(background) ‖ p(background)) in nats, shape (B,)."""
        return kl_divergence(self.q_background, self.prior.what).sum(-1)

    def score(self, presence: Masks | None = None) -> Float[Tensor, "*masks"]:
        """Log p(x, z, n) - log q(z | x), its z-part integrated as a KL, (..., B, N) -> (..., B)."""
        cost = self.kl_where + self.kl_what
        return self._joint(presence, cost) - self.kl_background

    def log_joint(self, presence: Masks | None = None) -> Float[Tensor, "*masks"]:
        """Log p(x, z, n) at the sampled z, (..., B, N) -> (..., B)."""
        cost = -self._log_density(self.prior.where, self.prior.what)
        return self._joint(presence, cost) + self.prior.what.log_prob(self.background).sum(-1)

    def log_posterior(self, presence: Masks | None = None) -> Float[Tensor, "*masks"]:
        """Log q(z | x) at the sampled z, of n objects without n itself, (..., B, N) -> (..., B)."""
        objects = (self._log_density(self.q_where, self.q_what) * self._masks(presence)).sum(-1)
        return objects + self.q_background.log_prob(self.background).sum(-1)

    def log_likelihood(self, presence: Masks | None = None) -> Float[Tensor, "*masks"]:
        """Log p(x | z, presence) in nats, with the Gaussian's constant, (..., B, N) -> (..., B).

        A relaxed presence, between 0 and 1, dims its object or makes it see-through.
        """
        return (
            self.scene.log_likelihoods if presence is None else self.scene.log_likelihood(presence)
        )

    def canvas(self, count: Int[Tensor, "batch"]) -> Float[Tensor, "batch channels height width"]:
        """The background with each image's first `count` objects, shape (B, C, H, W)."""
        return self.scene.canvas(counts.presence_of(count, self.posterior.steps))

    def present_first(self) -> "Inference":
        """The same with the steps that found an object before those that found none.

        The count is that of the steps before the first that found nothing. Where steps read what is
        left of the image, one that found nothing does not end the search: a later step may find
        what it missed. The canvas of the present objects is the same in this order, and the objects
        of each prefix keep their order. As a posterior over prefixes it is another one, with a
        bound of its own: the latents of steps that found nothing are auxiliary variables.
        """
        absent = (self.posterior.logits <= 0).int()
        order = absent.argsort(dim=1, stable=True)

        def reordered(values: Tensor) -> Tensor:
            index = order.view(*order.shape, *[1] * (values.dim() - 2))
            return values.gather(1, index.expand_as(values))

        return self._each(reordered, lambda own: own)

    def put(self, rows: Int[Tensor, "some"], other: "Inference") -> "Inference":
        """The same with the steps of some images from another inference of them.

        Args:
            rows: which images, R of them.
            other: an inference of these R images with the same backgrounds.
        """
        return self._each(
            lambda own, new: own.index_copy(0, rows, new), lambda own, new: own, other
        )

    def take(self, rows: Int[Tensor, "some"]) -> "Inference":
        """The inference of some of the images, by their numbers."""
        return self._each(lambda own: own[rows], lambda own: own[rows])

    @property
    def elbo(self) -> Float[Tensor, "batch"]:
        """The bound on log p(x) in nats, n summed out and z sampled once, shape (B,)."""
        return counts.elbo(self.posterior, self.score())

    @property
    def context(self) -> Float[Tensor, "batch pixels"]:
        """What the network reads: the image, shape (B, C H W)."""
        return self.scene.image.flatten(1)

    @property
    def latents(self) -> Float[Tensor, "batch steps latents"]:
        """Presence logit, where and what of each step, shape (B, N, 1 + 3 + D), detached."""
        parts = (self.posterior.logits.unsqueeze(-1), self.where, self.what)
        return torch.cat(parts, -1).detach()

    def _each(self, of_steps: Changed, of_images: Changed, *others: "Inference") -> "Inference":
        """The same with other tensors.

        Args:
            of_steps: of each tensor (B, N, ·) and those of the others makes a new one.
            of_images: the same of each tensor (B, ·) that steps have no part in.
            others: inferences.
        """
        every = (self, *others)

        def each(change: Changed, read: Callable[[Inference], Tensor]) -> Tensor:
            return change(*map(read, every))

        def each_normal(change: Changed, name: str) -> Normal:
            loc = each(change, lambda found: getattr(found, name).loc)
            return normal(loc, each(change, lambda found: getattr(found, name).scale))

        scene = replace(
            self.scene,
            image=each(of_images, lambda found: found.scene.image),
            background=each(of_images, lambda found: found.scene.background),
            objects=self.scene.objects.map(of_steps, *(found.scene.objects for found in others)),
        )
        return replace(
            self,
            posterior=CountPosterior(each(of_steps, lambda found: found.posterior.logits)),
            q_where=each_normal(of_steps, "q_where"),
            q_what=each_normal(of_steps, "q_what"),
            q_background=each_normal(of_images, "q_background"),
            where=each(of_steps, lambda found: found.where),
            what=each(of_steps, lambda found: found.what),
            background=each(of_images, lambda found: found.background),
            window=each(of_steps, lambda found: found.window),
            scene=scene,
        )

    def _joint(self, presence: Tensor | None, cost: Tensor) -> Tensor:
        """Log p(x | z, n) + log p(n) less what each present object's latents cost, (..., B)."""
        masks = self._masks(presence)
        log_prior = counts.log_prior_of(masks, self.prior.log_count)
        return self.log_likelihood(presence) + log_prior - (cost * masks).sum(-1)

    def _masks(self, presence: Tensor | None) -> Tensor:
        """The masks, or without any those of every count n = 0..N, (N + 1, 1, N)."""
        if presence is not None:
            return presence
        return counts.all_presences(self.posterior.steps, self.where.device)

    def _log_density(self, where: Normal, what: Normal) -> Float[Tensor, "batch steps"]:
        """Log-density of each step's sampled latents under two distributions, (B, N)."""
        return where.log_prob(self.where).sum(-1) + what.log_prob(self.what).sum(-1)
