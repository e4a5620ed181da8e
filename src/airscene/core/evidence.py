"""How much evidence an object gives, in nats, and the σ at which it gives as much as asked for.

Whether objects are found depends on the evidence of one object. If an object differs from what lies
behind it by squared intensities that sum to E, explaining it gains E / (2σ²) nats of likelihood.
Where that is less than an object's latents cost, objects are left out; where it is many times as
much, a second object pays for refining the first. Digits are learned well between some 80 and 240
nats (docs/robustness.md). σ alone says nothing without E, which no user knows, so E is estimated
from the pictures, and σ follows:

    σ = sqrt(E / (2 · evidence)).

Nothing here needs a label.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from airscene.core.likelihoods import Independent, Likelihood
from airscene.errors import UserError

PICTURES = 500  # that E is estimated from, the first ones; more change it by a few per cent
CROWDED = 0.1  # quantile of the energy over a picture at which there is no object
PEAK = 0.3  # share of the strongest pictures' energy above which there is an object
STRONGEST = 0.9  # quantile over pictures that stands for the strongest
PLACES = 4  # places along the side of an object at which energy is compared
LEAST_SIGMA, MOST_SIGMA = 1e-3, 1e3
FAINTEST = 1e-6  # energy below which pictures show nothing


def object_energy(
    images: Float[Tensor, "batch channels height width"],
    side: float,
    likelihood: Likelihood | None = None,
) -> float:
    """The squared intensity of a typical object against what lies behind it, summed over pixels.

    The energy of a place is that of all pixels in a square around it, which differ from their
    picture's median. Objects are at the peaks of this energy, each less what there is at places
    without objects, such as noise or texture. The median over all peaks is returned.
    What is squared are the values that a likelihood takes for independent.

    Args:
        images: images in [0, 1], shape (M, C, H, W).
        side: of an object's window, in pixels. Of objects larger than half of the picture, the
            energy of a square of half its side is taken.
        likelihood: how pixels scatter around what is painted; each on its own unless given.

    Returns:
        E >= 0; it is 0 for pictures without any contrast.

    >>> image = torch.zeros(1, 1, 40, 40)
    >>> image[:, :, 4:10, 4:10] = 1.0
    >>> object_energy(image, 8.0), object_energy(1 - image, 8.0), object_energy(image / 2, 8.0)
    (36.0, 36.0, 9.0)
    """
    likelihood = likelihood or Independent()
    parts = [_peaks(part, side, likelihood) for part in images[:PICTURES].split(50)]
    peaks = torch.cat([values.flatten() for values in parts])
    strongest = torch.cat([values.amax(1) for values in parts]).quantile(STRONGEST)
    found = peaks[peaks > PEAK * strongest]
    return float(found.median()) if strongest > FAINTEST else 0.0


def choose_sigma(
    images: Float[Tensor, "batch channels height width"],
    side: float,
    evidence: float,
    likelihood: Likelihood | None = None,
) -> float:
    """The σ at which a typical object of these images gives this evidence.

    Args:
        images: images in [0, 1], shape (M, C, H, W).
        side: of an object's window, in pixels.
        evidence: in nats, above 0.
        likelihood: how pixels scatter around what is painted; each on its own unless given.

    Returns:
        Between `LEAST_SIGMA` and `MOST_SIGMA`.

    Raises:
        UserError: the images have no contrast.
    """
    energy = object_energy(images, side, likelihood)
    if energy == 0:
        raise UserError(
            "the pictures have no contrast, so that nothing can be found in them; give others, "
            "or --model.sigma to train all the same"
        )
    return min(max(sigma_of(energy, evidence), LEAST_SIGMA), MOST_SIGMA)


def sigma_of(energy: float, evidence: float) -> float:
    """The σ at which an object of this energy gives this evidence.

    Args:
        energy: E of `object_energy`, above 0.
        evidence: in nats, above 0.

    >>> sigma_of(43.2, 150.0), sigma_of(43.2, 240.0)
    (0.3795, 0.3)
    """
    sigma = math.sqrt(energy / (2 * evidence))
    return float(f"{sigma:.4g}")  # the same on machines that round differently


def _peaks(images: Tensor, side: float, likelihood: Likelihood) -> Float[Tensor, "batch places"]:
    """The energy at each place that is a peak, zero at all others."""
    behind = images.flatten(2).median(-1).values[..., None, None]
    energy = likelihood(images - behind).square().sum(1, keepdim=True)
    half = min(images.shape[-2:]) // 2  # larger squares leave no place without an object
    square = max(1, min(round(side), half))
    places = F.avg_pool2d(energy, square, max(1, square // PLACES)) * square**2
    around = F.max_pool2d(places, 2 * PLACES - 1, 1, padding=PLACES - 1)
    above = places - places.flatten(1).quantile(CROWDED, 1)[:, None, None, None]
    return torch.where(places == around, above, 0).flatten(1)
