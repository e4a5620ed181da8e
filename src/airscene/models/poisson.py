"""How well objects explain crops, when scenes come from a Poisson process: bounds and their parts.

See `airscene.models.whole` for the model and its formulas.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from airscene.core.networks import normal
from airscene.models.objects import Objects
from airscene.models.places import Sheet, pasted

FAR, LEASH = 0.5, 50.0  # sides from its place up to which a window goes free, and nats a side² then


@dataclass(frozen=True)
class WholeInference:
    """The posterior over the scenes of a batch of crops.

    Attributes:
        sheet: the crops, and what is left of them.
        objects: at all places that were looked at.
        canvas: Σ s_k p_k, with the gradient, shape (B, 1, H, W) of the sheet.
    """

    sheet: Sheet
    objects: Objects
    canvas: Float[Tensor, "batch 1 height width"]


@dataclass(frozen=True)
class PoissonScore:
    """Scores of what was inferred, in nats.

    Attributes:
        log_odds: log of the intensity λ in an object's area, a scalar.
        sigma: standard deviation of a pixel around the canvas, a scalar.
        side: the prior of the logarithm of a window's side, in expected sides; scalars.
    """

    log_odds: Tensor
    sigma: Tensor
    side: Normal

    def bound(self, found: WholeInference) -> Float[Tensor, "batch"]:
        """The ELBO in nats, the presences summed out and z sampled once, shape (B,).

        It leaves out log Z of the Poisson process, which nothing but the picture's size decides.
        """
        objects, presence = found.objects, found.objects.logit.sigmoid()
        spread_out = presence * (1 - presence) * objects.paint.square().flatten(1).sum(1)
        each = presence * (self.log_odds - self.cost(objects)) + _entropy(objects.logit)
        each = each - spread_out / (2 * self.sigma.square())
        total = torch.zeros_like(found.canvas[:, 0, 0, 0]).index_add(0, objects.row, each)
        return total + self.log_likelihood(found.sheet, found.canvas)

    def cost(self, objects: Objects) -> Float[Tensor, "places"]:
        """What the latents of each object cost in nats, positions in squared sides, shape (T,).

        Windows far from their place cost more, so that each object has a place of its own.
        """
        side, shift = (_part(objects.q_where, at) for at in (slice(0, 1), slice(1, None)))
        zero = torch.zeros_like(self.log_odds)
        cost = kl_divergence(objects.q_what, normal(zero, zero + 1)).sum(-1)
        cost = cost + kl_divergence(side, self.side).sum(-1)
        far = (shift.loc.abs() - FAR).clamp(min=0).square().sum(-1)
        return cost - shift.entropy().sum(-1) + LEASH * far

    @torch.no_grad()
    def odds(
        self, objects: Objects, left: Float[Tensor, "places size size"]
    ) -> Float[Tensor, "places"]:
        """The log odds in nats that each object is there, given its latents, shape (T,).

        Args:
            objects: at all places.
            left: what of the picture is to be explained under the patch of each.
        """
        paint = objects.paint[:, 0]
        gain = (2 * left - paint).mul(paint).flatten(1).sum(1)
        return gain / (2 * self.sigma.square()) - self.cost(objects) + self.log_odds

    def log_likelihood(self, sheet: Sheet, canvas: Tensor) -> Float[Tensor, "batch"]:
        """Log p(x | canvas) of the pixels inside, shape (B,)."""
        error = ((sheet.image - canvas) * sheet.inside).square().flatten(1).sum(1)
        constant = (self.sigma * math.sqrt(2 * math.pi)).log() * sheet.inside.flatten(1).sum(1)
        return -error / (2 * self.sigma.square()) - constant

    def log_weight(self, found: WholeInference) -> Float[Tensor, "batch"]:
        """Log p(x, z, m) - log q(z, m | x) of sampled presences m, shape (B,)."""
        objects, zero = found.objects, torch.zeros_like(self.log_odds)
        presence = torch.bernoulli(objects.logit.sigmoid())
        code = normal(zero, zero + 1)
        prior = self.side.log_prob(objects.where[:, 0]) + code.log_prob(objects.what).sum(-1)
        own = objects.q_where.log_prob(objects.where).sum(-1)
        own = own + objects.q_what.log_prob(objects.what).sum(-1)
        each = presence * (self.log_odds + prior - own)
        each = each - F.logsigmoid(torch.where(presence > 0, objects.logit, -objects.logit))
        paint = presence[:, None, None, None] * objects.paint
        canvas = pasted(torch.zeros_like(found.canvas), objects.row, objects.corner, paint)
        total = torch.zeros_like(canvas[:, 0, 0, 0]).index_add(0, objects.row, each)
        return total + self.log_likelihood(found.sheet, canvas)


def _part(q: Normal, at: slice) -> Normal:
    """Some of the dimensions of a distribution."""
    return normal(q.loc[:, at], q.scale[:, at])


def _entropy(logit: Tensor) -> Tensor:
    """Entropy of each presence in nats."""
    presence = logit.sigmoid()
    return -presence * F.logsigmoid(logit) - (1 - presence) * F.logsigmoid(-logit)
