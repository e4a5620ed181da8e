"""Score-function estimators with a differentiable control variate that learns to lower variance.

Both work on the presence logits alone: they make an estimate g of the gradient of E [score(n)] by
the logits, shape (B, N), and learn the settings that make g² small. The entropy of q(n) is exact.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from airscene.core.networks import MLP
from airscene.estimators.base import Estimate, Estimator, Evidence, Sizes
from airscene.estimators.relaxed import logistic_noise


class Rebar(Estimator):
    """REBAR (Tucker et al. 2017), with learned temperature and scale.

    With coins b = 1[m > 0], m = logit + logistic noise, and m̃ drawn given b, the estimate is

        (f(b) - c(m̃)) ∇ log q(b) + ∇ c(m) - ∇ c(m̃),    c(m) = scale · f(sigmoid(m / temperature)),

    f being the score of the presence that the coins make. Its mean does not depend on c.
    """

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.log_temperature = nn.Parameter(torch.tensor(0.5).log())

    @torch.compiler.disable  # compiled code has no second derivatives
    def forward(self, evidence: Evidence) -> Estimate:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See `Estimator.forward`."""
        posterior = evidence.posterior
        logits = posterior.logits.detach().requires_grad_()
        moved = logits + logistic_noise(logits)
        coin = (moved > 0).to(logits)
        score = evidence.score(coin.cumprod(-1))
        estimate = self._estimate(evidence, logits, moved, coin, score.detach())
        settings = self._lower(estimate.square().sum(-1).mean())
        climbed = (estimate.detach() * posterior.logits).sum(-1)
        loss = settings - (score + climbed + posterior.entropy).mean()
        bound = (score + posterior.entropy).detach()
        return Estimate(loss, bound, self._diagnostics(estimate.detach()))

    def control(self, evidence: Evidence, moved: Tensor) -> Tensor:
        """The control variate c of logits moved by noise, (B, N) -> (B,)."""
        coin = (moved / self.log_temperature.exp()).sigmoid()
        return self.scale * evidence.score(coin.cumprod(-1))

    def _estimate(self, evidence: Evidence, logits, moved, coin, score) -> Tensor:
        """The gradient of E [score(n)] by the logits, (B, N), differentiable by the settings."""
        given = self.control(evidence, _moved_given(logits, coin))
        relaxed = self.control(evidence, moved)
        (slope,) = torch.autograd.grad((relaxed - given).sum(), logits, create_graph=True)
        return (score - given).unsqueeze(-1) * (coin - logits.sigmoid()).detach() + slope

    def _lower(self, variance: Tensor) -> Tensor:
        """A term of value zero whose gradient by the own parameters is that of `variance`."""
        own = list(self.parameters())
        slopes = torch.autograd.grad(variance, own)  # by these alone: the model is not to see it
        return sum(((p - p.detach()) * slope).sum() for p, slope in zip(own, slopes, strict=True))  # type: ignore[return-value]

    def _diagnostics(self, estimate: Tensor) -> dict[str, Tensor]:
        return {
            "scale": self.scale.detach(),
            "temperature": self.log_temperature.detach().exp(),
            "logit_gradient_square": estimate.square().sum(-1).mean(),
        }


class Relax(Rebar):
    """RELAX (Grathwohl et al. 2018): REBAR with a free network added to its control variate.

    Args:
        sizes: of what the network reads.
        hidden: width of the network's hidden layer.
    """

    def __init__(self, sizes: Sizes, hidden: int = 128):
        super().__init__()
        self.network = MLP([sizes.context + sizes.steps * (sizes.latents + 1), hidden, 1])

    def control(self, evidence: Evidence, moved: Tensor) -> Tensor:
        """See `Rebar.control`."""
        read = torch.cat([evidence.context, evidence.latents.flatten(1), moved.sigmoid()], -1)
        return super().control(evidence, moved) + self.network(read).squeeze(-1)


def _moved_given(logits: Tensor, coin: Tensor) -> Tensor:
    """Logits moved by noise that is drawn given the coins they make, shape (B, N)."""
    noise, side = logistic_noise(logits), 2 * coin - 1
    return side * F.softplus(noise - F.logsigmoid(-side * logits))
