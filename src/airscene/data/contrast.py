"""Contrast: what a picture of any kind shows against what lies behind, as light things on black.

Pictures differ in what they measure: 8, 12 or 16 bits, dark things on white, uneven light, colour.
What is prepared of them is one channel in [0, 1], made in four steps:

1. shrink the picture, so that a thing spans no more pixels than are needed to describe it; where
   things differ in size from picture to picture, each picture by the size of its own things;
2. take off what lies behind, a quantile of the picture around each place;
3. keep what is lighter, darker or different, as the pictures have it; of colour, the distance;
4. divide by what is bright in all pictures of the training, and compress: asinh(v / knee).

The last brings faint and bright things closer, tenfold in brightness to fourfold.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from airscene.data.behind import KINDS, WHOLE, Against, Behind, Polarity, as_floats
from airscene.data.sizes import DARKEST, estimate_size, length_of, lengths_of
from airscene.errors import UserError
from airscene.ranges import check_ranges, within

SPAN = 12  # pixels that a thing spans at most, once it is prepared
ALIKE = 1.0, 0.0  # lengths of things that are not known to differ between pictures
AGREES = 1.5  # times an object's size, or that part of it, that the length of outlines may be
MOST_LONGER = 2.0  # times as long as usual, or as short, that the things of a picture may be
LEAST_SIZE = 4.0  # pixels that it must span
BRIGHT = 0.998  # quantile of contrast over all pictures that becomes 1
BRIGHTEST = 1e30  # contrast that floats of any range may have at most
KNEE = 0.15  # contrast from which it is compressed
ONE_SIDED = 2.0  # times more energy above what lies behind than below, for things that are bright
LOOKED_AT = 40  # pictures that settings are chosen from, spread over all of them


@dataclass(frozen=True)
class Contrast:
    """How pictures are prepared; the pictures of the training settle what is left out."""

    object_size: Annotated[float | None, *within(LEAST_SIZE, 10_000)] = None
    """Rough length of an object, in pixels of the files; left out, it is estimated."""
    polarity: Polarity | None = None
    """Whether objects are brighter or darker than what lies behind, or any; left out, chosen."""
    white: Annotated[tuple[float, float, float] | None, *within(DARKEST, BRIGHTEST)] = None
    """Contrast that becomes 1 in pictures of 8 bits, of 16 bits and of floats, whose full white is
    1; left out, the 99.8th percentile of those pictures."""

    sizes: Annotated[tuple[float, float] | None, *within(0, 10_000)] = None
    """The usual length of things by their outlines, in pixels of the files, and the standard
    deviation of its logarithm from picture to picture; left out, the pictures decide. With a
    deviation of 0, all pictures are shrunk alike."""

    def __post_init__(self) -> None:
        check_ranges(self, "--model.contrast.")

    @property
    def shrink(self) -> float:
        """Pixels of a prepared picture a pixel of a file, at most 1."""
        return min(1.0, SPAN / _known(self.object_size))

    @property
    def span(self) -> float:
        """Length of an object in a prepared picture, in pixels; the most until it is known."""
        return SPAN if self.object_size is None else self.object_size * self.shrink

    def longer(self, picture: np.ndarray) -> float:
        """How many times as long as usual the things of a picture are, as best guessed.

        With things that seem e^d times as long, up to a standard error ε, and pictures that differ
        by τ, that is exp(d τ² / (τ² + ε²)), the mean where all is normally distributed.

        Args:
            picture: (H, W, C), as bytes, 16 bits, or floats.
        """
        usual, differ = self.sizes or ALIKE
        if not differ or not (found := length_of(picture)):
            return 1.0
        length, error = found
        longer = (length - math.log(usual)) * differ**2 / (differ**2 + error**2)
        return min(max(math.exp(longer), 1 / MOST_LONGER), MOST_LONGER)

    def prepare(self, picture: np.ndarray, longer: float | None = None) -> torch.Tensor:
        """A picture as a model takes it.

        Args:
            picture: (H, W, C), as bytes, 16 bits, or floats.
            longer: how many times as long as usual its things are; measured unless given.

        Returns:
            Float32 in [0, 1], shape (1, h, w), h and w being H and W times `shrink` over `longer`,
            rounded.
        """
        assert self.polarity is not None and self.white is not None
        small = self.shrunk(picture, self.longer(picture) if longer is None else longer)
        seen = Against(small, self.span, self.polarity)[WHOLE]
        value = np.clip(seen / self.white[_kind(picture)], 0, 1)
        value = np.arcsinh(value / KNEE) / math.asinh(1 / KNEE)
        return torch.from_numpy(value.astype(np.float32))[None]

    def show(self, picture: np.ndarray, longer: float | None = None) -> Against:
        """What a picture shows against what lies behind, at its own size and not compressed.

        Args:
            picture: (H, W, C), as bytes, 16 bits, or floats.
            longer: how many times as long as usual its things are; measured unless given.
        """
        assert self.polarity is not None
        longer = self.longer(picture) if longer is None else longer
        return Against(picture, _known(self.object_size) * longer, self.polarity)

    def shrunk(self, picture: np.ndarray, longer: float = 1.0) -> np.ndarray:
        """A picture (H, W, C) as floats, its full white being 1, at the size of prepared ones.

        Args:
            picture: (H, W, C), as bytes, 16 bits, or floats.
            longer: how many times as long as usual its things are.
        """
        floats, zoom = as_floats(picture), self.shrink / longer
        if zoom == 1:
            return floats
        size = [max(1, round(pixels * zoom)) for pixels in floats.shape[:2]]
        planes = torch.from_numpy(np.ascontiguousarray(np.moveaxis(floats, -1, 0)))[None]
        small = F.interpolate(planes, size, mode="bilinear", antialias=True)[0]
        return np.moveaxis(small.numpy(), 0, -1)


def expanded(prepared: np.ndarray) -> np.ndarray:
    """The contrast of a prepared picture before it was compressed, same shape.

    >>> expanded(np.array([0.0, 1.0])).round(6).tolist()
    [0.0, 1.0]
    """
    return KNEE * np.sinh(prepared * math.asinh(1 / KNEE))


def settle(contrast: Contrast, pictures: Sequence[np.ndarray]) -> Contrast:
    """The contrast with all that was left out, as pictures have it.

    Args:
        contrast: what was given.
        pictures: (H, W, C), of one training.

    Raises:
        UserError: objects are too small or as large as the pictures, or nothing is to be seen.
    """
    few = pictures[:: max(1, len(pictures) // LOOKED_AT)]
    size = contrast.object_size or estimate_size(few)
    smaller = max(min(picture.shape[:2]) for picture in few)
    if not LEAST_SIZE <= size < smaller:
        raise UserError(
            f"--object-size is {size:.3g} px in pictures whose shorter side has {smaller} px; it "
            f"must be at least {LEAST_SIZE:g} and below that side: give the length of one object"
        )
    sizes = contrast.sizes or _sizes(few, size)
    known = Contrast(float(f"{size:.3g}"), contrast.polarity, contrast.white, sizes)
    small = [known.shrunk(picture) for picture in few]
    polarity = known.polarity or choose_polarity(small, known.span)
    seen = [Against(picture, known.span, polarity)[WHOLE] for picture in small]
    white = known.white or _whites(seen, [_kind(picture) for picture in few])
    return Contrast(known.object_size, polarity, white, sizes)


def choose_polarity(pictures: Sequence[np.ndarray], span: float) -> Polarity:
    """Whether things are brighter than what lies behind, or darker, or either.

    Args:
        pictures: floats, (H, W, C).
        span: length of an object in pixels.
    """
    above = below = 0.0
    for picture in pictures:
        for c in range(picture.shape[2]):
            plane = picture[..., c]
            behind = Behind.of(plane.__getitem__, plane.shape, span, 0.5)[WHOLE]
            difference = ndimage.gaussian_filter(plane - behind, span / 6)
            above += float(np.square(np.maximum(difference, 0)).sum())
            below += float(np.square(np.maximum(-difference, 0)).sum())
    if above > ONE_SIDED * below:
        return "bright"
    return "dark" if below > ONE_SIDED * above else "any"


def _sizes(pictures: Sequence[np.ndarray], object_size: float) -> tuple[float, float]:
    """See `Contrast.sizes`; outlines of parts, such as strokes, tell nothing of whole objects."""
    usual, differ = lengths_of(pictures)
    if not 1 / AGREES < usual / object_size < AGREES:
        return ALIKE
    return float(f"{usual:.3g}"), float(f"{differ:.3g}")


def _whites(contrasts: list[np.ndarray], kinds: list[int]) -> tuple[float, float, float]:
    """What is bright in all pictures of each kind; of a kind that is missing, as in the others.

    Raises:
        UserError: nothing is.
    """
    known = {}
    for kind in {*kinds}:
        some = [c.flatten()[::7] for c, k in zip(contrasts, kinds, strict=True) if k == kind]
        known[kind] = float(f"{np.quantile(np.concatenate(some), BRIGHT):.4g}")
    known = {kind: white for kind, white in known.items() if white > DARKEST}
    if not known:
        raise UserError("the pictures have no contrast, so that nothing can be found in them")
    otherwise = float(np.median([*known.values()]))
    eight, sixteen, floats = (known.get(kind, otherwise) for kind in range(len(KINDS)))
    return eight, sixteen, floats


def _kind(picture: np.ndarray) -> int:
    """Which of `KINDS` a picture's values are of."""
    return KINDS.get(picture.dtype.name, KINDS["float32"])[0]


def _known(value: float | None) -> float:
    """A setting that the pictures have settled."""
    assert value is not None
    return value
