"""Measure-valued derivatives: a weighted difference of two scores for every decision."""

import torch
import torch.nn.functional as F

from airscene.estimators.base import Estimate, Estimator, Evidence
from airscene.estimators.enumeration import every_presence


class MeasureValued(Estimator):
    """The measure-valued derivative of the Bernoulli stops (Mohamed et al. 2020, section 6).

    The derivative of E [score(n)] by the probability of going on at step k, where that step is
    reached, is the score when it goes on (and the later coins fall as drawn) less the score when it
    stops. It takes 2 N + 1 scores an image. The entropy of q(n) is exact.
    """

    def forward(self, evidence: Evidence) -> Estimate:
        """See `Estimator.forward`."""
        posterior = evidence.posterior
        chance = posterior.logits.detach().sigmoid()
        coin = (torch.rand_like(chance) < chance).to(chance)
        score = evidence.score(coin.cumprod(-1))
        reached = F.pad(coin.cumprod(-1), (1, 0), value=1.0)[:, :-1]  # step k runs, (B, N)
        itself = torch.eye(posterior.steps, device=chance.device).unsqueeze(1)  # (N, 1, N)
        goes_on = evidence.score(torch.maximum(coin, itself).cumprod(-1))  # (N, B)
        stops = evidence.score(every_presence(evidence)[:-1])  # (N, B)
        slope = reached * chance * (1 - chance) * (goes_on - stops).detach().T
        climbed = (slope * posterior.logits).sum(-1)
        bound = score + posterior.entropy
        return Estimate(-(bound + climbed).mean(), bound.detach())
