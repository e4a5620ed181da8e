"""Relaxed presence: a number between 0 and 1 that becomes a coin as its temperature falls."""

import torch
from torch import Tensor

from airscene.estimators.base import Estimate, Estimator, Evidence


class Concrete(Estimator):
    """Binary Concrete presence (Maddison et al. 2017; Jang et al. 2017).

    Step k's coin is sigmoid((logit + logistic noise) / temperature), and presence is the product of
    the coins so far, so an object may be painted dimly. The entropy of q(n) is exact. The gradient
    is biased, less so at lower temperatures, where its variance grows.

    Args:
        straight_through: paint hard presence, and pass the gradient of relaxed presence
            (Bengio et al. 2013).
    """

    def __init__(self, straight_through: bool = False):
        super().__init__()
        self.straight_through = straight_through
        self.temperature: Tensor
        self.register_buffer("temperature", torch.ones(()))

    def anneal(self, temperature: float) -> None:
        """Sets the temperature, above 0."""
        self.temperature.fill_(temperature)

    def forward(self, evidence: Evidence) -> Estimate:
        """See `Estimator.forward`."""
        logits, entropy = evidence.posterior.logits, evidence.posterior.entropy
        moved = logits + logistic_noise(logits)
        coin, hard = (moved / self.temperature).sigmoid(), (moved > 0).to(logits)
        if self.straight_through:
            coin = hard + (coin - coin.detach())
        relaxed = evidence.score(coin.cumprod(-1)) + entropy
        bound = (evidence.score(hard.cumprod(-1)) + entropy).detach()
        return Estimate(-relaxed.mean(), bound, {"temperature": self.temperature.clone()})


def logistic_noise(like: Tensor) -> Tensor:
    """Standard logistic noise, finite, with the shape of `like`."""
    tiny = torch.finfo(like.dtype).eps
    return torch.rand_like(like).clamp(tiny, 1 - tiny).logit()
