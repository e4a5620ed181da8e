"""How the posterior over rendered scenes is learned: by dreams, by samples, and by the bound.

Dreams are scenes from the prior, and the painter draws their pictures. The posterior is fitted to
what is known of them, which is the sleep phase of wake-sleep (Hinton et al. 1995).

Reweighted wake-sleep finds kinds and places from nothing: samples of the posterior, and some of the
prior, are drawn and weighed, the heavier ones are moved a little and weighed again, and the
posterior is fitted to all of them by their weights. The bound then has a gradient by central
differences of the likelihood in the pose, and by the score function in the kind and in the
component that a yaw comes from. From random weights the bound fails: an object at the wrong place
costs the pixels that it covers besides those that it leaves uncovered, so it is hidden.
"""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from airscene.config import Config
from airscene.core.networks import normal
from airscene.core.schedules import value_at
from airscene.models.pose import TURN, PosePosterior, draw_prior, log_prior, pose_of
from airscene.models.rendered import Rendered
from airscene.training.objectives import Objective

FEW = 4  # images of a batch that tell the bound while dreams are learned from
EXPLORING = 3  # one of so many particles is drawn from the prior
MOVES = ((0.08, 0.08, 0.32), (0.03, 0.03, 0.12))  # of u and yaw in each round of refinement
LARGEST = 20.0  # nats by which samples of an image are taken to differ, in the score function
STEEPEST = 100.0  # the slope of a likelihood, in nats a unit of the pose


class Particles(NamedTuple):
    """S samples of each of B images, with their weights.

    Attributes:
        kind: shape (S, B).
        code: u and yaw, shape (S, B, 3).
        weight: log p(x, kind, code) - log of the density they were drawn from, shape (S, B).
    """

    kind: Tensor
    code: Tensor
    weight: Tensor


class RenderedObjective(Objective[Rendered]):
    """Dreams, then reweighted wake-sleep (Bornschein and Bengio 2015), then the bound.

    Where dreams have a share, every other step of the last part is one more of them.

    Args:
        model: what is trained.
        config: its schedules.
    """

    def __init__(self, model: Rendered, config: Config):
        c = model.config
        samples = max(c.particles, c.samples)
        super().__init__(model, (samples, 3))
        self.config, self.kinds = config, len(model.world.kinds)
        self.part: Literal["dream", "wake", "bound"] = "dream"

    def schedule(self, progress: float) -> dict[str, float]:
        """See `Objective.schedule`."""
        dream, wake = self.model.config.dream, self.model.config.wake
        self.part = "bound"
        if progress < dream + wake or not self.model.config.climbs:
            self.part = "dream" if progress < dream or not wake else "wake"
        elif dream and self._step(progress) % 2:
            self.part = "dream"  # so that yaws stay as exact as dreams make them
        factor = value_at(self.config.training.sigma_factor, progress)
        self.model.widen(factor)
        return {"sigma": self.model.config.sigma * factor}

    def _step(self, progress: float) -> int:
        """Which step of training this is, from 0 on."""
        return round(progress * max(1, self.config.training.iterations - 1))

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective.forward`; the noise is that of S samples, (B, S, 3)."""
        if self.part == "dream":
            return self._dream(image)
        loss = self._wake if self.part == "wake" else self._bound
        return loss(image, self.model(image), noise.transpose(0, 1))

    def _dream(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the log-density of what was drawn, -log q(z | picture of z) for z from the prior.

        The first few images of the data tell the bound, and are not learned from.
        """
        number = self.model.config.dreams * len(image)
        with torch.no_grad():
            kind, code = draw_prior(self.kinds, (number,), image.device)
            dreamt = self.model.painter(kind[:, None], pose_of(code)[:, None])
            bound = self.model.elbo(image[:FEW]).mean()
        loss = -self.model(dreamt).log_prob(kind[None], code[None]).mean()
        return loss, {"elbo": bound}

    def _wake(
        self, image: Tensor, posterior: PosePosterior, noise: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the log-density of what explains the picture, Σ_s w_s log q(z_s | x).

        The first samples are refined as in population Monte Carlo (Cappé et al. 2004). Each z_s
        was drawn from a known density r, and w_s ∝ p(x, z_s) / r(z_s).
        """
        with torch.no_grad():
            first = found = self._explore(image, posterior, noise)
            for move in MOVES:
                moved = self._refine(image, found, move)
                pairs = zip(found, moved, strict=True)
                found = Particles(*(torch.cat(pair) for pair in pairs))
        share = found.weight.softmax(0)
        loss = -(share * posterior.log_prob(found.kind, found.code)).sum(0).mean()
        return loss, {"elbo": first.weight.mean()}

    def _explore(self, image: Tensor, posterior: PosePosterior, noise: Tensor) -> Particles:
        """Particles from (1 - a) q + a p, where the first of them are those of the prior p."""
        samples, batch = self.model.config.particles, len(image)
        explored = max(1, samples // EXPLORING)
        own = posterior.draw_kind(samples - explored)
        own_code = posterior.code(own, posterior.draw_part(own), noise[explored:samples])
        any_kind, any_code = draw_prior(self.kinds, (explored, batch), image.device)
        kind, code = torch.cat([any_kind, own]), torch.cat([any_code, own_code])
        share = explored / samples
        proposal = torch.logaddexp(
            posterior.log_prob(kind, code) + math.log(1 - share),
            log_prior(code, self.kinds) + math.log(share),
        )
        return Particles(kind, code, self._log_joint(image, kind, code) - proposal)

    def _refine(self, image: Tensor, found: Particles, move: tuple[float, ...]) -> Particles:
        """Particles near those found, which are chosen by weight: a mixture of normals around them.

        Args:
            image: shape (B, 3, H, W).
            found: S particles of each.
            move: standard deviation of each number of the code.
        """
        chosen = torch.multinomial(found.weight.softmax(0).mT, self.model.config.refined, True).mT
        kind = found.kind.gather(0, chosen)
        start = found.code.gather(0, chosen[..., None].expand(-1, -1, 3))
        std = start.new_tensor(move)
        code = start + std * torch.randn_like(start)
        apart = code[:, None] - start  # (R, R, B, 3): of each particle from each start
        turn = (apart[..., 2:] + math.pi).remainder(TURN) - math.pi
        near = normal(torch.zeros_like(std), std).log_prob(torch.cat([apart[..., :2], turn], -1))
        near = near.sum(-1).masked_fill(kind[:, None] != kind, -math.inf)
        proposal = near.logsumexp(1) - math.log(len(kind))
        return Particles(kind, code, self._log_joint(image, kind, code) - proposal)

    def _log_joint(self, image: Tensor, kind: Tensor, code: Tensor) -> Tensor:
        """The log-density of pictures with kinds and codes, log p(x, kind, code), shape (S, B)."""
        return self.model.log_pixels(image, kind, pose_of(code)) + log_prior(code, self.kinds)

    def _bound(
        self, image: Tensor, posterior: PosePosterior, noise: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the ELBO, with a gradient of S samples of each image.

        The mean of an image's other samples is the baseline of its score function.
        """
        samples = self.model.config.samples
        kind = posterior.draw_kind(samples)
        part = posterior.draw_part(kind)
        code = posterior.code(kind, part, noise[:samples])
        pixels = self.model.differentiable_log_pixels(image, kind, pose_of(code), STEEPEST)
        prior = log_prior(code, self.kinds)
        bound = pixels + prior - posterior.log_prob(kind, code)
        value = bound.detach()
        others = (value.sum(0) - value) / (samples - 1)
        credit = (value - others).clamp(-LARGEST, LARGEST)
        choice = posterior.log_kind(kind) + posterior.log_part(kind, part)
        return -(bound + credit * choice).mean(), {"elbo": value.mean()}
