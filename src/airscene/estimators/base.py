"""What every gradient estimator is given, makes, and shares.

An estimator knows nothing of images. It is given the evidence of a batch: the posterior over counts
and functions of presence masks, (..., R, N) -> (..., R), hard or relaxed, above all

    score(presence) = log p(x, z, n) - log q(z | x),

and returns a loss whose gradient is its estimate of the gradient of minus a bound on log p(x), for
most the

    ELBO = E_q(n|x) [score(n) - log q(n | x)].

The score's own gradient (the pathwise one, through reparameterised z) passes through untouched.

Where an estimator's text calls its gradient unbiased, or its mean that of the bound, it speaks of
the gradient through n. The whole gradient is unbiased for AIR, whose pathwise gradient is exact.
DAIR detaches the canvas that its steps read, so its pathwise gradient is truncated, and its
gradient is not that of its bound with any estimator.
"""

from dataclasses import dataclass, field
from typing import Annotated, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from airscene.core.counts import CountPosterior
from airscene.core.schedules import PROGRESS, Points, check
from airscene.ranges import Range, check_ranges, in_turn, within


@runtime_checkable
class Evidence(Protocol):
    """What an estimator may ask of a batch with R rows; a model's inference is one.

    Methods that take a presence mask score, when they are given none, the masks of every count
    n = 0..N at the cost of one, with the result (N + 1, R).

    Rows are images, or, where an estimator asks for K samples of the latents of each image,
    R = B · K with an image's samples next to each other.
    """

    @property
    def posterior(self) -> CountPosterior:
        """The posterior q(n | x), with logits of shape (R, N)."""
        ...

    @property
    def context(self) -> Tensor:
        """What the inference network reads, shape (R, F), without gradient."""
        ...

    @property
    def latents(self) -> Tensor:
        """Presence logit and sampled latents of each step, shape (R, N, L), without gradient."""
        ...

    def score(self, presence: Tensor | None = None) -> Tensor:
        """Log p(x, z, n) - log q(z | x), its z-part integrated, (..., R, N) -> (..., R)."""
        ...

    def log_likelihood(self, presence: Tensor | None = None) -> Tensor:
        """Log p(x | z, n), (..., R, N) -> (..., R)."""
        ...

    def log_joint(self, presence: Tensor | None = None) -> Tensor:
        """Log p(x, z, n) at the sampled z, (..., R, N) -> (..., R)."""
        ...

    def log_posterior(self, presence: Tensor | None = None) -> Tensor:
        """Log q(z | x) at the sampled z, without the part of n, (..., R, N) -> (..., R)."""
        ...


@dataclass(frozen=True)
class Estimate:
    """What an estimator makes of one batch of B images.

    Attributes:
        loss: a scalar whose gradient is the estimate; its value is not always worth a curve.
        bound: the bound of each image in nats, exact or estimated, shape (B,), without gradient.
        diagnostics: further scalars worth a curve, by name.
    """

    loss: Float[Tensor, ""]
    bound: Float[Tensor, "batch"]
    diagnostics: dict[str, Tensor] = field(default_factory=dict)


class Estimator(nn.Module):
    """The call that every estimator shares; parameters, if any, are trained with the model's.

    Attributes:
        samples: how many samples K of the latents it wants of each image.
        reparameterised: whether the gradient is to pass through the sampled latents.
    """

    samples: int = 1
    reparameterised: bool = True

    def forward(self, evidence: Evidence) -> Estimate:
        """Estimates the gradient of a bound for one batch.

        Args:
            evidence: what was inferred, with R = B · `samples` rows.
        """
        raise NotImplementedError

    def anneal(self, temperature: float) -> None:
        """Sets the temperature of relaxed presence, above 0; most estimators have none."""


@dataclass(frozen=True)
class EstimationConfig:
    """Settings of the gradient estimators; each reads those that concern it."""

    samples: Annotated[int, *within(1, 1000)] = 2
    """Samples K of the latents an image: vimco (at least 2), iwae, rws."""
    temperature: Annotated[Points, *in_turn(PROGRESS, Range(1e-3, 1e3))] = ((0.0, 1.0), (0.6, 0.2))
    """Temperature of relaxed presence, pairs of (progress in [0, 1], value): concrete."""
    straight_through: bool = False
    """Paint hard presence and pass the gradient of relaxed presence: concrete."""
    baseline_rate: Annotated[float, *within(1e-6, 1e6)] = 10.0
    """Learning rate of an estimator's own parameters, as a multiple of the model's."""

    def __post_init__(self):
        check_ranges(self, "--estimation.")
        check("--estimation.temperature", self.temperature)


@dataclass(frozen=True)
class Sizes:
    """What an estimator's own networks must know of the evidence.

    Attributes:
        context: values F of `Evidence.context` in a row.
        steps: steps N.
        latents: values L of `Evidence.latents` in a step.
    """

    context: int
    steps: int
    latents: int
