"""Score-function estimators: the log-probability of a drawn n, weighted by how well it did.

For a drawn n with bound L(n) = score(n) - log q(n) and given latents, the gradient of
E_q(n) [L(n)] is

    E [∇ score(n) + (L(n) - b) ∇ log q(n)]

for any baseline b that does not depend on n: the baseline changes the variance alone
(Williams 1992). The estimators of this file differ in b.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from airscene.core.counts import presence_of
from airscene.core.networks import MLP
from airscene.estimators.base import Estimate, Estimator, Evidence, Sizes

HIDDEN = (256, 128)  # of a neural baseline, as in Kosiorek 2017


class Reinforce(Estimator):
    """The plain score-function estimator: one n an image, no baseline (Williams 1992)."""

    def forward(self, evidence: Evidence) -> Estimate:
        """See `Estimator.forward`."""
        n = evidence.posterior.sample()
        log_q = evidence.posterior.log_prob(n)
        score = evidence.score(presence_of(n, evidence.posterior.steps))
        bound = (score - log_q).detach()
        baseline = self.baseline(evidence)
        advantage = self.advantage(bound - baseline.detach())
        error = (bound - baseline).square().mean()  # the baseline learns to predict the bound
        self.observe(bound - baseline.detach(), bound)
        loss = error - (score + advantage * log_q).mean()
        return Estimate(loss, bound, {"baseline_error": error.detach()})

    def baseline(self, evidence: Evidence) -> Tensor:
        """What the bound of each image is expected to be, shape (B,)."""
        return torch.zeros_like(evidence.posterior.logits[:, 0])

    def advantage(self, surprise: Tensor) -> Tensor:
        """The weight of log q(n), from the bound less the baseline, shape (B,)."""
        return surprise

    def observe(self, surprise: Tensor, bound: Tensor) -> None:
        """Takes in a batch, after it was used: what it changes is independent of the next n."""


class ReinforceAverage(Reinforce):
    """REINFORCE with the moving average of the bound as its baseline.

    Args:
        decay: weight of the past in the average, for each batch.
    """

    def __init__(self, decay: float = 0.9):
        super().__init__()
        self.mean = MovingAverage(decay)

    def baseline(self, evidence: Evidence) -> Tensor:
        """The average bound of the batches before, shape (B,)."""
        return self.mean.value.expand(len(evidence.posterior.logits))

    def observe(self, surprise: Tensor, bound: Tensor) -> None:
        """Averages the bound."""
        self.mean.add(bound.mean())


class ReinforceNeural(Reinforce):
    """REINFORCE with a neural baseline that reads image and latents (Kosiorek 2017).

    It may read the latents of all steps, because n is drawn after them.

    Args:
        sizes: of what the baseline reads.
        hidden: widths of the baseline's hidden layers.
    """

    def __init__(self, sizes: Sizes, hidden: tuple[int, ...] = HIDDEN):
        super().__init__()
        self.network = MLP([sizes.context + sizes.steps * sizes.latents, *hidden, 1])

    def baseline(self, evidence: Evidence) -> Tensor:
        """What the network predicts, shape (B,)."""
        read = torch.cat([evidence.context, evidence.latents.flatten(1)], -1)
        return self.network(read).squeeze(-1)


class ReinforceSteps(Estimator):
    """REINFORCE with credit and a baseline for each step (Eslami et al. 2016, section 2.2).

    The decision b_k whether step k finds an object sees only what comes after it: the bound less
    the prior and posterior terms of the steps before, which b_k cannot change. Its baseline reads
    the image and the latents of the steps before (Mnih and Gregor 2014, section 2.3).

    Args:
        sizes: of what the baseline reads.
        hidden: widths of the baseline's hidden layers.
    """

    def __init__(self, sizes: Sizes, hidden: tuple[int, ...] = HIDDEN):
        super().__init__()
        self.network = MLP([sizes.context + (sizes.latents + 1) * sizes.steps, *hidden, 1])

    def forward(self, evidence: Evidence) -> Estimate:
        """See `Estimator.forward`."""
        posterior = evidence.posterior
        n = posterior.sample()
        present = presence_of(n, posterior.steps)
        reached = F.pad(present, (1, 0), value=1.0)[:, :-1]  # b_k is drawn here
        log_step = reached * F.logsigmoid(
            posterior.logits * (2 * present - 1)
        )  # log q(b_k), (B, N)
        score = evidence.score(present)
        bound = (score - log_step.sum(-1)).detach()
        later = bound.unsqueeze(-1) - self._earlier(evidence, log_step)
        baseline = self.baseline(evidence)
        advantage = reached * (later - baseline.detach())
        error = (reached * (later - baseline).square()).sum(-1).mean()
        loss = error - (score + (advantage * log_step).sum(-1)).mean()
        return Estimate(loss, bound, {"baseline_error": error.detach()})

    def baseline(self, evidence: Evidence) -> Tensor:
        """What is expected to come from each step on, shape (B, N)."""
        latents, steps = evidence.latents, evidence.posterior.steps
        before = torch.ones(steps, steps, device=latents.device).tril(-1)  # of k, the steps j < k
        seen = torch.einsum("kj,bjl->bkjl", before, latents).flatten(2)
        which = torch.eye(steps, device=latents.device).expand(len(latents), -1, -1)
        context = evidence.context.unsqueeze(1).expand(-1, steps, -1)
        return self.network(torch.cat([context, seen, which], -1)).squeeze(-1)

    def _earlier(self, evidence: Evidence, log_step: Tensor) -> Tensor:
        """The bound's terms of the steps before each step, but for the likelihood, (B, N)."""
        prior = (evidence.score() - evidence.log_likelihood())[:-1]  # of k, with k - 1 objects
        return (prior.T - F.pad(log_step.cumsum(-1), (1, 0))[:, :-1]).detach()


class NVIL(Reinforce):
    """REINFORCE as neural variational inference and learning has it (Mnih and Gregor 2014).

    The signal is centred by a network of the image and by a moving average, and divided by its
    moving standard deviation where that is above one. The division scales the score-function term.
    But for that scale the gradient through n is unbiased.

    Args:
        sizes: of what the baseline reads.
        hidden: widths of the baseline's hidden layers.
        decay: weight of the past in the averages, for each batch.
    """

    def __init__(self, sizes: Sizes, hidden: tuple[int, ...] = HIDDEN, decay: float = 0.8):
        super().__init__()
        self.network = MLP([sizes.context, *hidden, 1])
        self.mean, self.variance = MovingAverage(decay), MovingAverage(decay)

    def baseline(self, evidence: Evidence) -> Tensor:
        """What the network predicts of the image, and the average of what it missed, shape (B,)."""
        return self.network(evidence.context).squeeze(-1) + self.mean.value

    def advantage(self, surprise: Tensor) -> Tensor:
        """The surprise in units of its standard deviation, shape (B,)."""
        return surprise / self.variance.value.sqrt().clamp(min=1.0)

    def observe(self, surprise: Tensor, bound: Tensor) -> None:
        """Averages what the network missed, and its square."""
        self.mean.add(self.mean.value + surprise.mean())
        self.variance.add(surprise.var(correction=0))


class MovingAverage(nn.Module):
    """An exponential average of scalars, right from the first one on; zero before it.

    Args:
        decay: weight of the past, in [0, 1).
    """

    def __init__(self, decay: float):
        super().__init__()
        self.decay = decay
        self.total: Tensor
        self.weight: Tensor
        self.register_buffer("total", torch.zeros(()))
        self.register_buffer("weight", torch.zeros(()))

    @property
    def value(self) -> Tensor:
        """The average, a scalar."""
        return torch.where(self.weight > 0, self.total / self.weight, 0.0)

    @torch.no_grad()
    def add(self, value: Tensor) -> None:
        """Takes in a scalar."""
        self.total.mul_(self.decay).add_(value)
        self.weight.mul_(self.decay).add_(1.0)
