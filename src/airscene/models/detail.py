"""How much of a thing no short code can describe, and how much evidence is then too much.

What a code leaves of an object is there to be explained, by another object if by nothing else. So
an object may give so many nats only that what its code must leave gives `LEFT` at most. Round
things are described by few numbers, and may give more than things of strokes.
"""

from jaxtyping import Float
from torch import Tensor

from airscene.core import layers
from airscene.models.appearance import cosines
from airscene.models.places import Sheet, find_places

LEFT = 60.0  # nats of an object that its code may leave
SIGMA = 0.3  # at which places are looked for
LOOKED_AT = 500  # crops, the first ones
STRONGEST, FAINT = 0.9, 0.3  # quantile of energy, and share of it below which places do not count


def bounded(
    evidence: float, images: Float[Tensor, "batch 1 height width"], side: float, what: int
) -> float:
    """The evidence that an object is to give, less where its code leaves too much of it.

    Args:
        evidence: in nats, where codes describe all.
        images: prepared pictures in [0, 1], shape (M, 1, H, W).
        side: of an object's window, in pixels.
        what: dimensions of the code.
    """
    return min(evidence, LEFT / max(left_over(images, side, what), 1e-6))


def left_over(images: Float[Tensor, "batch 1 height width"], side: float, what: int) -> float:
    """The share of a typical object's squared intensities that so many cosines leave.

    Args:
        images: prepared pictures in [0, 1], shape (M, 1, H, W).
        side: of an object's window, in pixels.
        what: how many of the lowest cosines of the window describe it, as codes begin.

    Returns:
        Between 0 and 1; 0 for pictures that show nothing.
    """
    size = max(2, round(side))
    sheet = Sheet.of(images[:LOOKED_AT], size)
    row, pixel = find_places(sheet, side, SIGMA)
    if not len(row):
        return 0.0
    thing = layers.under(sheet.left[:, 0], row, pixel - size // 2, (size, size)).flatten(1)
    basis = cosines(size, what).to(thing)
    energy = thing.square().sum(1)
    share = (thing - thing @ basis.T @ basis).square().sum(1) / energy
    return float(share[energy > FAINT * energy.quantile(STRONGEST)].median())
