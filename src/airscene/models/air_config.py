"""The configuration of AIR and DAIR: shape, priors, and what a training needs of memory."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Literal, cast

from torch import Tensor

from airscene.core.compositors import COMPOSITORS, CompositorName
from airscene.core.evidence import LEAST_SIGMA, MOST_SIGMA, choose_sigma
from airscene.core.likelihoods import LIKELIHOODS, LikelihoodName
from airscene.errors import UserError
from airscene.models.appearance import (
    LEAST_CODE,
)
from airscene.models.attention import POINTS
from airscene.models.background import BackgroundName
from airscene.models.base import FLOAT, ModelConfig
from airscene.models.salience import CELL, FILTERS
from airscene.ranges import Range, check_ranges, in_turn, within

STEPS = Range(1, 1000)  # objects that are looked for, in training and afterwards
MEAN, STD = Range(-20, 20), Range(1e-6, 20)  # of where before squashing


@dataclass(frozen=True)
class AIRConfig(ModelConfig):
    """The model's shape and its priors."""

    steps: Annotated[int, *in_turn(STEPS)] = 3
    """Objects N that training allows for; inference may ask for more."""
    channels: Annotated[int, *within(1, 16)] = 1
    """Colour channels C of the images."""
    height: Annotated[int, *within(1, 4096)] = 50
    """Canvas height in pixels."""
    width: Annotated[int, *within(1, 4096)] = 50
    """Canvas width in pixels."""
    glimpse: Annotated[int, *within(1, 512)] = 28
    """Points along each side of a glimpse."""
    what: Annotated[int, *within(1, 4096)] = 50
    """Dimensions of an object's appearance code."""
    feedback: Literal["none", "residual"] = "none"
    """What a step reads: none, the image (AIR); residual, the image less the canvas (DAIR)."""
    appearance: Literal["free", "line"] = "free"
    """What an object looks like: anything, or what a pen leaves along one line."""
    lstm: Annotated[int, *within(1, 16_384)] = 256
    """Units of the LSTM, which there is without feedback only."""
    hidden: Annotated[int, *within(1, 16_384)] = 256
    """Units of each hidden layer of the other networks."""
    searches: Annotated[int, *within(1, 100)] = 3
    """How often each image is searched at inference, each time from another place."""
    background: BackgroundName = "none"
    """What lies under the objects: nothing, one colour, a coarse grid of values, or a network."""
    background_code: Annotated[int, *within(1, 4096)] = 8
    """Latent dimensions of a background that is a network."""
    compositor: CompositorName = "sum"
    """How objects are put together: sum adds their paint; over lets them hide what is behind."""
    likelihood: LikelihoodName = "independent"
    """How pixels scatter around the canvas: each on its own, or together with their neighbours."""
    evidence: Annotated[float, *within(1, 1e6)] = 150.0
    """What explaining an object is to gain, in nats; it decides sigma where that is not given."""
    sigma: Annotated[float | None, *within(LEAST_SIGMA, MOST_SIGMA)] = None
    """How far pixels scatter around the canvas; left out, pictures and evidence decide."""
    scale_prior: Annotated[tuple[float, float], *in_turn(MEAN, STD)] = (-0.4, 0.1)
    """Mean and standard deviation of logit(window side / shorter canvas side)."""
    shift_prior: Annotated[tuple[float, float], *in_turn(MEAN, STD)] = (0.0, 1.0)
    """Mean and standard deviation of atanh(window centre), the canvas spanning -1 to 1."""
    count_prior: Literal["geometric", "binomial"] = "geometric"
    """Family of the prior over n; its odds follow the training schedule `prior_odds`."""

    def __post_init__(self):
        check_ranges(self, "--model.")
        if COMPOSITORS[self.compositor].opaque and self.what <= self.channels:
            raise UserError(
                f"--model.what {self.what} leaves no dimension for the shape of an object, as "
                f"{self.channels} are its colour with --model.compositor {self.compositor}; give "
                f"--model.what {self.channels + 1} or more"
            )

        if self.appearance == "line":
            self._check_lines()

    def _check_lines(self) -> None:
        if COMPOSITORS[self.compositor].opaque:
            raise UserError(
                f"--model.appearance line is light, which --model.compositor {self.compositor} "
                f"cannot hide; give --model.compositor sum"
            )
        if self.what < LEAST_CODE:
            raise UserError(
                f"--model.what {self.what} leaves no dimension for the bow of a line; give "
                f"--model.what {LEAST_CODE} or more with --model.appearance line"
            )

    @property
    def looks(self) -> str:
        """How objects are read and painted: the row of `LOOKS`."""
        if self.appearance == "line":
            return "line"
        return "surface" if COMPOSITORS[self.compositor].opaque else self.feedback

    @property
    def kept_bytes(self) -> int:
        """See `ModelConfig.kept_bytes`."""
        return FLOAT * self.steps * _step_floats(self)

    def pass_bytes(self, steps: int) -> int:
        """See `ModelConfig.pass_bytes`; most of it is what each step paints, and its box."""
        return FLOAT * steps * (2 * self.channels + 7) * self.height * self.width

    @property
    def size_field(self) -> str:
        """See `ModelConfig.size_field`."""
        return "lstm" if self.feedback == "none" else "hidden"

    def fitted(self, images: Tensor) -> "AIRConfig":
        """See `ModelConfig.fitted`; σ is settled by the energy of objects, unless it was given."""
        fitted = cast(AIRConfig, super().fitted(images))
        if self.sigma is not None:
            return fitted
        likelihood = LIKELIHOODS[self.likelihood]()
        sigma = choose_sigma(images, fitted.side, self.evidence, likelihood)
        return replace(fitted, sigma=sigma)

    def choices(self, given: ModelConfig) -> tuple[str, ...]:
        """See `ModelConfig.choices`."""
        if cast(AIRConfig, given).sigma is not None:
            return ()
        return (f"--model.sigma {self.sigma}: an object then gives about {self.evidence:g} nats",)

    @property
    def side(self) -> float:
        """The expected side of a window, in pixels."""
        return min(self.height, self.width) / (1 + math.exp(-self.scale_prior[0]))

    def enlarged(self, factor: float) -> "AIRConfig":
        """See `ModelConfig.enlarged`: windows are a share of the canvas, which shrinks."""
        mean, std = self.scale_prior
        share = 1 / (1 + math.exp(-mean)) / factor
        return replace(self, scale_prior=(round(scale_of(share), 3), std))

    def idle(self) -> dict[str, str]:
        """See `ModelConfig.idle`."""
        found = {}
        if self.sigma is not None:
            found["evidence"] = "--model.sigma is given; leave one of them out"
        if self.feedback == "residual":
            found["lstm"] = "--model.feedback residual has no LSTM; leave one of them out"
        if self.feedback == "none":
            found["searches"] = "there is no search without --model.feedback residual; give that"
        if self.background != "network":
            found["background_code"] = "it is read by --model.background network; give that"
        return found


def scale_of(share: float) -> float:
    """The scale of a window, which is the inverse of what `AIR.window` makes of it.

    Args:
        share: side of the window over the shorter side of the canvas, between 0 and 1.
    """
    return math.log(share / (1 - share))


def _step_floats(c: AIRConfig) -> int:
    """Floats that a step of AIR or DAIR keeps of an image in training."""
    sides, pixels = c.height + c.width, c.channels * c.height * c.width
    patch = c.channels * c.glimpse**2
    windows = 4 * c.glimpse * sides + c.channels * c.glimpse * sides  # of a crop and a paste
    networks = 8 * c.hidden + 3 * patch + 8 * c.what
    found = windows + networks + 4 * pixels
    return found + (12 * c.lstm if c.feedback == "none" else _search_floats(c))


def _search_floats(c: AIRConfig) -> int:
    """Floats that a step of the search keeps at most: the residual, the glance, the salience."""
    reduced = c.height * c.width * min(1.0, POINTS / c.side) ** 2
    glance = 2 * (1 + c.channels) * c.glimpse * (c.height + c.width)
    return round(3 * c.channels * c.height * c.width + glance + 4 * FILTERS * reduced / CELL**2)
