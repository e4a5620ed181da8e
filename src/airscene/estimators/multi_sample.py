"""Estimators with K samples of the latents of each image, for importance-weighted bounds.

A sample k has the weight w_k = p(x, z_k, n_k) / q(z_k, n_k | x), and log 1/K Σ_k w_k is in
expectation a bound on log p(x) that rises with K (Burda et al. 2016).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from airscene.core.counts import presence_of
from airscene.estimators.base import Estimate, Estimator, Evidence


class MultiSample(Estimator):
    """What they share.

    Args:
        samples: samples K of each image.
    """

    def __init__(self, samples: int):
        super().__init__()
        self.samples = samples


class VIMCO(MultiSample):
    """The score function of the K-sample bound, each sample judged by the others.

    The baseline of sample k is the bound with its log-weight replaced by the mean of the others'
    (Mnih and Rezende 2016; the discrete IWAE of Kosiorek 2017).

    Args:
        samples: samples K of each image, at least 2.
    """

    def forward(self, evidence: Evidence) -> Estimate:
        """See `Estimator.forward`."""
        n = evidence.posterior.sample()
        log_q = evidence.posterior.log_prob(n).view(-1, self.samples)
        presence = presence_of(n, evidence.posterior.steps)
        log_weight = evidence.log_joint(presence) - evidence.log_posterior(presence)
        log_weight = log_weight.view(-1, self.samples) - log_q  # (B, K)
        bound = log_weight.logsumexp(-1) - math.log(self.samples)
        advantage = bound.detach().unsqueeze(-1) - leave_one_out(log_weight.detach())
        loss = -(bound + (advantage * log_q).sum(-1)).mean()
        return Estimate(loss, bound.detach(), {"effective_samples": effective(log_weight)})


class IWAE(MultiSample):
    """The K-sample bound with n summed out (Burda et al. 2016): no sample of n, no score function.

    Every sample of z serves all counts, L = log 1/K Σ_k Σ_n p(x, z_k, n) / q(z_k | x). That bound
    does not contain q(n | x), which therefore learns the counts that the weights prefer, by their
    cross-entropy: the wake phase of Bornschein and Bengio (2015), with n summed out too.

    Args:
        samples: samples K of each image, at least 1.
    """

    def forward(self, evidence: Evidence) -> Estimate:
        """See `Estimator.forward`."""
        log_weight = evidence.log_joint() - evidence.log_posterior()
        log_weight = log_weight.T.unflatten(0, (-1, self.samples)).flatten(1)  # (B, K · (N + 1))
        bound = log_weight.logsumexp(-1) - math.log(self.samples)
        log_q = evidence.posterior.log_probs.unflatten(0, (-1, self.samples)).flatten(1)
        fit = (log_weight.detach().softmax(-1) * log_q).sum(-1)
        loss = -(bound + fit).mean()
        return Estimate(loss, bound.detach(), {"count_fit": fit.detach().mean()})


class RWS(MultiSample):
    """Reweighted wake-sleep, its wake phases (Bornschein and Bengio 2015; Le et al. 2019).

    K particles (z_k, n_k) are drawn, and nothing is reparameterised. With their normalised weights,
    generation climbs Σ_k w_k log p(x, z_k, n_k), and inference Σ_k w_k log q(z_k, n_k | x).

    Args:
        samples: particles K of each image, at least 1.
    """

    reparameterised = False

    def forward(self, evidence: Evidence) -> Estimate:
        """See `Estimator.forward`."""
        n = evidence.posterior.sample()
        presence = presence_of(n, evidence.posterior.steps)
        log_p = evidence.log_joint(presence)
        log_q = evidence.log_posterior(presence) + evidence.posterior.log_prob(n)
        log_weight = (log_p - log_q).detach().view(-1, self.samples)  # (B, K)
        bound = log_weight.logsumexp(-1) - math.log(self.samples)
        climb = (log_p + log_q).view(-1, self.samples)
        loss = -(log_weight.softmax(-1) * climb).sum(-1).mean()
        return Estimate(loss, bound, {"effective_samples": effective(log_weight)})


def leave_one_out(log_weight: Float[Tensor, "batch samples"]) -> Float[Tensor, "batch samples"]:
    """The bound with each log-weight in turn replaced by the mean of the others, shape (B, K)."""
    K = log_weight.shape[-1]
    others = (log_weight.sum(-1, keepdim=True) - log_weight) / (K - 1)
    itself = torch.eye(K, dtype=torch.bool, device=log_weight.device)
    replaced = torch.where(itself, others.unsqueeze(-1), log_weight.unsqueeze(-2))  # (B, K, K)
    return replaced.logsumexp(-1) - math.log(K)


def effective(log_weight: Float[Tensor, "batch samples"]) -> Float[Tensor, ""]:
    """Mean effective sample size (Σ w)² / Σ w², between 1 and K."""
    return log_weight.detach().softmax(-1).square().sum(-1).reciprocal().mean()
