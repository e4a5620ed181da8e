"""The shape of a model of whole pictures, and how it has them prepared."""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, cast

from torch import Tensor

from airscene.core.evidence import LEAST_SIGMA, MOST_SIGMA, choose_sigma
from airscene.data.contrast import Contrast
from airscene.models.base import FLOAT, ModelConfig
from airscene.models.detail import bounded
from airscene.ranges import check_ranges, within

WINDOW = 1.3  # expected side of a window, in objects
GLANCE = 1.4  # side of what is looked at before where is inferred, in windows
WIDEST = 1.5  # standard deviations of the log side that a patch has room for
ROOM = 2  # pixels of a patch that its window leaves free, for windows between two pixels


@dataclass(frozen=True)
class WholeConfig(ModelConfig):
    """The model's shape and its priors, and how pictures are prepared for it."""

    steps: Annotated[int, *within(1, 1000)] = 64
    """Places that training looks at in a crop; there is no limit afterwards."""
    channels: Annotated[int, *within(1, 1)] = 1
    """Channels of a prepared picture, always 1: its contrast."""
    height: Annotated[int, *within(1, 4096)] = 64
    """Height of a crop in training, in pixels of a prepared picture."""
    width: Annotated[int, *within(1, 4096)] = 64
    """Width of a crop in training, in pixels of a prepared picture."""
    side_std: Annotated[float, *within(1e-3, 1)] = 0.5
    """Standard deviation of the logarithm of a window's side, until it is learned."""
    glimpse: Annotated[int, *within(1, 128)] = 14
    """Points along each side of a glimpse."""
    what: Annotated[int, *within(1, 1024)] = 12
    """Dimensions of an object's appearance code; more can describe two objects as one."""
    hidden: Annotated[int, *within(1, 16_384)] = 192
    """Units of each hidden layer."""
    evidence: Annotated[float, *within(1, 1e6)] = 300.0
    """What explaining an object is to gain, in nats, and less where codes cannot describe objects
    well, such as digits; it decides sigma where that is not given."""
    sigma: Annotated[float | None, *within(LEAST_SIGMA, MOST_SIGMA)] = None
    """Standard deviation of a pixel around the canvas; left out, pictures and evidence decide."""
    contrast: Contrast = field(default_factory=Contrast)
    """How pictures are prepared."""

    def __post_init__(self):
        check_ranges(self, "--model.")

    @property
    def side(self) -> float:
        """Expected side of an object's window, in pixels of a prepared picture."""
        return WINDOW * self.contrast.span

    @property
    def patch(self) -> int:
        """Side of the square that an object is painted on, in pixels."""
        return math.ceil(self.side * math.exp(WIDEST * self.side_std)) + ROOM

    @property
    def region(self) -> int:
        """Side of the square that a glance needs, in pixels."""
        return math.ceil(GLANCE * self.side) + ROOM

    @property
    def kept_bytes(self) -> int:
        """See `ModelConfig.kept_bytes`."""
        place = 6 * self.patch**2 + 9 * self.glimpse**2 + 8 * self.glimpse * self.patch
        sheet = 12 * (self.height + 2 * self.patch) * (self.width + 2 * self.patch)
        return FLOAT * (self.steps * (place + 8 * self.hidden + 8 * self.what) + sheet)

    def pass_bytes(self, steps: int) -> int:
        """See `ModelConfig.pass_bytes`."""
        return FLOAT * (20 * self.height * self.width + steps * 6 * self.patch**2)

    @property
    def size_field(self) -> str:
        """See `ModelConfig.size_field`."""
        return "hidden"

    def fitted(self, images: Tensor) -> "WholeConfig":
        """See `ModelConfig.fitted`; σ is settled by the energy of objects, unless it was given."""
        fitted = cast(WholeConfig, super().fitted(images))
        if self.sigma is not None:
            return fitted
        evidence = bounded(self.evidence, images, self.side, self.what)
        return replace(fitted, sigma=choose_sigma(images, self.side, evidence))

    def choices(self, given: ModelConfig) -> tuple[str, ...]:
        """See `ModelConfig.choices`."""
        before, now = cast(WholeConfig, given), self.contrast
        found = []
        if before.contrast.object_size is None:
            found.append(f"--object-size {now.object_size:g}: estimated; give it if it is wrong")
        if before.contrast.polarity is None:
            found.append(f"--model.contrast.polarity {now.polarity}: as most of the contrast is")
        if before.contrast.sizes is None and now.sizes and now.sizes[1]:
            usual, differ = now.sizes
            found.append(
                f"--model.contrast.sizes {usual:g} {differ:g}: things differ in size by about "
                f"{100 * differ:.0f} % between pictures, and each picture is scaled by its own; "
                f"give {usual:g} 0 to scale all alike"
            )
        if before.sigma is None:
            reason = (
                f"an object then gives about {self.evidence:g} nats, or less if it is intricate"
            )
            found.append(f"--model.sigma {self.sigma}: {reason}")
        return tuple(found)

    def idle(self) -> dict[str, str]:
        """See `ModelConfig.idle`."""
        reason = "--model.sigma is given; leave one of them out"
        return {} if self.sigma is None else {"evidence": reason}
