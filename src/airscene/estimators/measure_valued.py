"""Measure-valued derivatives: a weighted difference of two scores for every decision."""

import torch
import torch.nn.functional as F

from airscene.estimators.base import Estimate, Estimator, Evidence


class MeasureValued(Estimator):
    """The measure-valued derivative of the Bernoulli stops (Mohamed et al. 2020, section 6).

    The derivative of E [score(n)] by the probability of going on at step k, where that step is
    reached, is the score when it goes on (and the later coins fall as drawn) less the score when it
    stops. All these are scores of counts. The entropy of q(n) is exact.
    """

    def forward(self, evidence: Evidence) -> Estimate:
        """See `Estimator.forward`."""
        posterior = evidence.posterior
        chance = posterior.logits.detach().sigmoid()
        coin = (torch.rand_like(chance) < chance).to(chance)
        reached = F.pad(coin.cumprod(-1), (1, 0), value=1.0)[:, :-1]  # step k runs, (B, N)
        itself = torch.eye(posterior.steps, device=chance.device).unsqueeze(1)  # (N, 1, N)
        scores = evidence.score()  # (N + 1, B)
        goes_on = scores.gather(0, torch.maximum(coin, itself).cumprod(-1).sum(-1).long())  # (N, B)
        stops = scores[:-1]  # (N, B)
        slope = reached * chance * (1 - chance) * (goes_on - stops).detach().T
        climbed = (slope * posterior.logits).sum(-1)
        score = scores.gather(0, coin.cumprod(-1).sum(-1).long()[None])[0]
        bound = score + posterior.entropy
        return Estimate(-(bound + climbed).mean(), bound.detach())
