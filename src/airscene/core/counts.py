"""Distributions over the number n of objects, 0 ≤ n ≤ N.

The posterior writes n in unary: presence is n ones, then a zero. Step k goes on with probability
sigmoid(logit_k), so with s_k = sigmoid(logit_k)

    q(n) = s_1 … s_n (1 - s_{n+1}) for n < N,    q(N) = s_1 … s_N,

a geometric distribution whose success probability changes from step to step (Eslami et al. 2016,
section 2.1; Kosiorek 2017 calls it a modified geometric).
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class CountPosterior:
    """The distribution over n made by presence logits.

    Attributes:
        logits: log-odds that step k finds an object, given that all before did, shape (*, N).
    """

    logits: Float[Tensor, "*batch steps"]

    @property
    def steps(self) -> int:
        """The largest count N."""
        return self.logits.shape[-1]

    @property
    def log_probs(self) -> Float[Tensor, "*batch counts"]:
        """Log q(n) for n = 0..N, with shape (*, N + 1)."""
        go = F.pad(F.logsigmoid(self.logits).cumsum(-1), (1, 0))  # log s_1 … s_n
        stop = F.pad(F.logsigmoid(-self.logits), (0, 1))  # nothing can stop after step N
        return go + stop

    def log_prob(self, count: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
        """Log q(n) of one count for each, with shape (*)."""
        return self.log_probs.gather(-1, count.unsqueeze(-1)).squeeze(-1)

    @property
    def mode(self) -> Int[Tensor, "*batch"]:
        """The most probable n, with shape (*)."""
        return self.log_probs.argmax(-1)

    @property
    def mean(self) -> Float[Tensor, "*batch"]:
        """The expected n, with shape (*)."""
        return self.logits.sigmoid().cumprod(-1).sum(-1)

    @property
    def entropy(self) -> Float[Tensor, "*batch"]:
        """Entropy in nats, with shape (*)."""
        return -_expectation(self.log_probs, self.log_probs)

    def kl(self, prior_log_probs: Float[Tensor, "counts"]) -> Float[Tensor, "*batch"]:
        """KL(q ‖ prior) in nats, with shape (*)."""
        return _expectation(self.log_probs, self.log_probs - prior_log_probs)

    def sample(self, shape: tuple[int, ...] = ()) -> Int[Tensor, "..."]:
        """Draws n, with shape (*shape, *)."""
        uniform = torch.rand((*shape, *self.logits.shape), device=self.logits.device)
        return (uniform < self.logits.sigmoid()).long().cumprod(-1).sum(-1)


def presence_of(count: Int[Tensor, "*batch"], steps: int) -> Float[Tensor, "*batch steps"]:
    """The presence mask of n: n ones, then zeros, with shape (*, N)."""
    present = torch.arange(steps, device=count.device) < count[..., None]
    return present.to(torch.get_default_dtype())


def elbo(posterior: CountPosterior, score: Float[Tensor, "counts batch"]) -> Float[Tensor, "batch"]:
    """The bound E_q(n) [score(n) - log q(n)] with n summed out, differentiable, shape (B,).

    Args:
        posterior: q(n | x), with logits of shape (B, N).
        score: log p(x, z, n) - log q(z | x) of n = 0..N, shape (N + 1, B).
    """
    log_q = posterior.log_probs.T  # (N + 1, B)
    return (log_q.exp() * (score - log_q)).sum(0)


def all_presences(steps: int, device: torch.device) -> Float[Tensor, "counts 1 steps"]:
    """The presence masks of n = 0..N for a whole batch at once, with shape (N + 1, 1, N)."""
    return presence_of(torch.arange(steps + 1, device=device), steps).unsqueeze(1)


def truncated_geometric(log_odds: Tensor | float, steps: int) -> Float[Tensor, "counts"]:
    """Log p(n) of p(n) ∝ exp(n · log_odds), n = 0..N (Eslami et al. 2016, section 2.1).

    With odds r = p(n + 1) / p(n) below 1 this is (1 - r) rⁿ renormalised over 0..N. Odds of 1 make
    it uniform and odds above 1 make it prefer many objects, which early training can use.
    """
    n = _counts(log_odds, steps)
    return (n * log_odds).log_softmax(-1)


def binomial(log_odds: Tensor | float, steps: int) -> Float[Tensor, "counts"]:
    """Log p(n) of n ~ Binomial(N, r / (1 + r)), r = exp(log_odds), for n = 0..N."""
    n = _counts(log_odds, steps)
    choices = math.lgamma(steps + 1) - (n + 1).lgamma() - (steps - n + 1).lgamma()
    return (choices + n * log_odds).log_softmax(-1)


def log_prior_of(presence: Float[Tensor, "*batch steps"], log_probs: Tensor) -> Tensor:
    """Log p(n) of a presence mask, with shape (*).

    A relaxed mask, with entries between 0 and 1, gets the value that is linear in each entry and
    exact for prefixes of ones.
    """
    return log_probs[0] + presence @ log_probs.diff()


def _counts(log_odds: Tensor | float, steps: int) -> Tensor:
    """The counts 0..N as floats, on the device of `log_odds`."""
    device = log_odds.device if isinstance(log_odds, Tensor) else None
    return torch.arange(steps + 1, device=device, dtype=torch.get_default_dtype())


def _expectation(log_probs: Tensor, values: Tensor) -> Tensor:
    """Σ p f, where an outcome whose probability underflows to zero counts for nothing."""
    probs = log_probs.exp()
    return torch.where(probs > 0, probs * values, 0.0).sum(-1)
