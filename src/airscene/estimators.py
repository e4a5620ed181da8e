"""Gradient estimators for the number of objects, one class each.

An estimator knows nothing of images. It takes the posterior over counts and a score function

    score(presence) = log p(x, z, n) - log q(z | x)    with shape (..., B) for masks (..., B, N)

and returns a loss whose gradient is its estimate of the gradient of -ELBO,

    ELBO = E_q(n|x) [score(n) - log q(n | x)].

The score's own gradient (the pathwise one, through reparameterised z) passes through untouched.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor, nn

from airscene.counts import CountPosterior, all_presences, presence_of
from airscene.networks import MLP

Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Estimate:
    """What an estimator makes of one batch.

    Attributes:
        loss: a scalar whose gradient is the estimate; its value is the thing minimised.
        bound: the ELBO of each image in nats, exact or estimated, shape (B,), without gradient.
        diagnostics: further scalars worth a curve, by name.
    """

    loss: Float[Tensor, ""]
    bound: Float[Tensor, "batch"]
    diagnostics: dict[str, Tensor] = field(default_factory=dict)


class Estimator(nn.Module):
    """The call that every estimator shares; parameters, if any, are trained with the model's."""

    def forward(
        self, posterior: CountPosterior, score: Score, features: Float[Tensor, "batch features"]
    ) -> Estimate:
        """Estimates the gradient of the bound for one batch.

        Args:
            posterior: q(n | x), with logits of shape (B, N).
            score: log p(x, z, n) - log q(z | x) of presence masks, (..., B, N) -> (..., B).
            features: what an input-dependent baseline may read, with shape (B, F), detached.
        """
        raise NotImplementedError


class Enumerate(Estimator):
    """The exact sum over n: no samples of n, no baseline, no variance from the count.

    Presence is a prefix of ones, so N + 1 masks are all there are, and one unrolled pass holds the
    latents of each: the cost is linear in N.
    """

    def forward(self, posterior: CountPosterior, score: Score, features: Tensor) -> Estimate:
        """See `Estimator.forward`."""
        bound = expected_bound(posterior, score)
        return Estimate(-bound.mean(), bound.detach())


class Reinforce(Estimator):
    """The score-function estimator with a neural baseline (Eslami et al. 2016; Kosiorek 2017).

    One n is drawn an image; its log-probability is weighted by how much better it did than the
    baseline predicted. The baseline is trained to predict the bound (mean squared error).

    Args:
        features: number of features F that the baseline reads.
        hidden: widths of the baseline's hidden layers.
    """

    def __init__(self, features: int, hidden: tuple[int, ...] = (256, 128)):
        super().__init__()
        self.baseline = MLP([features, *hidden, 1])

    def forward(self, posterior: CountPosterior, score: Score, features: Tensor) -> Estimate:
        """See `Estimator.forward`."""
        n = posterior.sample()
        log_q = posterior.log_probs.gather(-1, n.unsqueeze(-1)).squeeze(-1)
        pathwise = score(presence_of(n, posterior.logits.shape[-1]))
        bound = (pathwise - log_q).detach()
        baseline = self.baseline(features).squeeze(-1)
        advantage = bound - baseline
        surrogate = pathwise + advantage.detach() * log_q
        error = advantage.square().mean()
        loss = error - surrogate.mean()
        return Estimate(loss, bound, {"baseline_error": error.detach()})


def expected_bound(posterior: CountPosterior, score: Score) -> Float[Tensor, "batch"]:
    """The ELBO with n summed out exactly, differentiable, with shape (B,)."""
    batch, steps = posterior.logits.shape
    masks = all_presences(steps, posterior.logits.device).expand(-1, batch, -1)
    log_q = posterior.log_probs.T  # (N + 1, B)
    return (log_q.exp() * (score(masks) - log_q)).sum(0)


ESTIMATORS: dict[str, Callable[[int], Estimator]] = {
    "enumerate": lambda features: Enumerate(),
    "reinforce": Reinforce,
}
"""How to make each estimator by name, given the number of features its baseline may read."""
