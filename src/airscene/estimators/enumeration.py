"""The exact sum over the number of objects."""

from jaxtyping import Float
from torch import Tensor

from airscene.core import counts
from airscene.estimators.base import Estimate, Estimator, Evidence


class Enumerate(Estimator):
    """The exact sum over n: no samples of n, no baseline, no variance from the count.

    Presence is a prefix of ones, so N + 1 masks are all there are, and one unrolled pass holds the
    latents of each: the cost is linear in N.

    For AIR the gradient is an unbiased estimate of that of the ELBO, with the sampled latents as
    its only noise. For DAIR it is exact in n but truncated at the canvas, which is detached.
    """

    def forward(self, evidence: Evidence) -> Estimate:
        """See `Estimator.forward`."""
        bound = expected_bound(evidence)
        return Estimate(-bound.mean(), bound.detach())


def expected_bound(evidence: Evidence) -> Float[Tensor, "batch"]:
    """The ELBO with n summed out exactly, differentiable, with shape (B,)."""
    return counts.elbo(evidence.posterior, evidence.score())
