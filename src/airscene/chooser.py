"""Settings for the user's own images, chosen from the images and a rough size of their objects."""

import math
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from scipy import ndimage
from torch import Tensor

from airscene.config import Config
from airscene.core.evidence import choose_sigma
from airscene.data import Scenes
from airscene.errors import UserError
from airscene.kinds import kind_of
from airscene.models.air_config import AIRConfig, scale_of
from airscene.ranges import Range

MARGIN = 1.3  # side of a window, in objects: room for those that are larger than said
SMALLEST = 5.0  # pixels of an object, after shrinking: below, there is nothing to describe
GLIMPSE = (8, 28)  # fewest and most points along a glimpse
SPARE = 2  # steps beyond the largest count seen
MOST = 20  # steps, whatever is seen
LOOKED_AT = 500  # images, the first ones
WORK = 4_000_000  # pixels painted in a step: batch times steps times area
BATCHES = (64, 256)  # fewest and most images in a step


@dataclass(frozen=True)
class Choice:
    """A configuration and why it is so.

    Attributes:
        config: the configuration.
        reasons: a line for each setting: the flag, the value that is used, and why.
    """

    config: Config
    reasons: tuple[str, ...]


def choose(
    config: Config, scenes: Scenes, object_size: float, given: frozenset[str] = frozenset()
) -> Choice:
    """Sets window, glimpse, N, σ and batch for images; everything else stays as it is.

    A setting whose flag was given keeps its value, and the settings that depend on it follow it:
    the glimpse follows the window of the scale prior, and the batch follows N.

    Args:
        config: what to start from, with the flags that were given; its model is AIR or DAIR.
        scenes: the images at the size in which they are trained on, with objects on black.
        object_size: rough length of the longer side of an object, in pixels of these images.
        given: flags as they are typed, such as `--model.steps`.

    Raises:
        UserError: the size is out of range, the images are black, or the model has no objects.
    """
    images = scenes[:LOOKED_AT].pixels().float()
    channels, height, width = scenes.image.shape[1:]
    _check(object_size, min(height, width))
    canvas = replace(_air(config), channels=channels, height=height, width=width)
    settings = _Settings(replace(config, model=canvas), given)
    settings.state("--model.feedback", canvas.feedback, "the preset's")
    _choose_window(settings, object_size)
    _choose_steps(settings, images.amax(1), object_size)
    _choose_sigma(settings, images, object_size)
    batch = _batch(_air(settings.config))
    settings.choose("--training.batch", batch, "fits the size of images and N")
    return Choice(settings.config, tuple(settings.reasons))


class _Settings:
    """A configuration that is chosen flag by flag, with a reason for each.

    Args:
        config: what to start from.
        given: the flags that keep their values.
    """

    def __init__(self, config: Config, given: frozenset[str]):
        self.config, self.given, self.reasons = config, given, []

    def choose(self, flag: str, value: Any, reason: str) -> Any:
        """Sets a flag unless it was given; returns the value that is used."""
        part, name = flag.removeprefix("--").replace("-", "_").split(".")
        settings = getattr(self.config, part)
        if flag in self.given:
            value = getattr(settings, name)
        self.config = replace(self.config, **{part: replace(settings, **{name: value})})
        self.state(flag, value, reason)
        return value

    def state(self, flag: str, value: Any, reason: str) -> None:
        """Takes down what is used and why."""
        words = " ".join(map(str, value)) if isinstance(value, tuple) else value
        reason = "as you gave it" if flag in self.given else reason
        self.reasons.append(f"{flag} {words}: {reason}")


def _choose_window(settings: _Settings, object_size: float) -> None:
    """Chooses the scale prior from the size of objects, and the glimpse from the scale prior."""
    shorter = min(settings.config.model.height, settings.config.model.width)
    side = min(MARGIN * object_size, 0.9 * shorter)
    mean, _ = settings.choose(
        "--model.scale-prior",
        (round(scale_of(side / shorter), 2), 0.15),
        f"windows around {side:.0f} px for objects of {object_size:.0f} px",
    )
    if "--model.scale-prior" in settings.given:
        side = shorter / (1 + math.exp(-mean))
    points = min(max(round(side), GLIMPSE[0]), GLIMPSE[1])
    settings.choose("--model.glimpse", points, "about a point a pixel of a window")


def _choose_steps(settings: _Settings, images: Tensor, object_size: float) -> None:
    """Chooses N from the counts that are seen."""
    contrast = brightness(images)
    largest = int(np.quantile(_counts(images, object_size, contrast), 0.98).round())
    settings.choose(
        "--model.steps",
        min(MOST, largest + SPARE),
        f"images seem to hold up to {largest}, and {SPARE} to spare",
    )


def _choose_sigma(settings: _Settings, images: Tensor, object_size: float) -> None:
    """Chooses the σ at which an object gives the evidence that is asked for."""
    evidence, sigma = _air(settings.config).evidence, None
    if "--model.sigma" not in settings.given:
        sigma = choose_sigma(images, MARGIN * object_size, evidence)
    reason = f"an object then gives about {evidence:g} nats of evidence"
    settings.choose("--model.sigma", sigma, reason)


def brightness(images: Tensor) -> float:
    """How bright objects are: the median over the lit images of their brightest pixel, in [0, 1].

    Args:
        images: in [0, 1], shape (M, H, W).

    Raises:
        UserError: no image is lit.
    """
    peak = images.flatten(1).amax(1)
    if not (lit := peak[peak > peak.max() / 4]).numel() or not peak.max() > 0:
        raise UserError("--data holds only black images; --object-size has nothing to choose from")
    return float(lit.median())


def count_blobs(image: np.ndarray, object_size: float, contrast: float) -> int:
    """A rough count without any learning: connected ink, long or wide pieces counted as several.

    Args:
        image: in [0, 1], shape (H, W).
        object_size: the longer side of an object, in pixels.
        contrast: how bright objects are.
    """
    smooth = ndimage.gaussian_filter(image, object_size / 15)
    pieces, _ = cast(tuple, ndimage.label(smooth > contrast / 4, np.ones((3, 3))))
    count = 0
    for rows, columns in ndimage.find_objects(pieces):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if max(height, width) > object_size / 3:  # smaller ones are specks
            count += max(1, round(height / object_size)) * max(1, round(width / object_size))
    return count


def _counts(images: Tensor, object_size: float, contrast: float) -> list[int]:
    return [count_blobs(image, object_size, contrast) for image in images.numpy()]


def _check(object_size: float, shorter: int) -> None:
    if object_size not in (allowed := Range(SMALLEST, shorter)):
        raise UserError(
            f"--object-size is {object_size:g} px where images are {shorter} px in training; it "
            f"must lie {allowed}: cut large images into tiles"
        )


def _air(config: Config) -> AIRConfig:
    """The model's shape, if there are windows to choose.

    Raises:
        UserError: it has no objects.
    """
    if kind_of(config.model).detect is None:
        raise UserError("--object-size chooses for AIR and DAIR; name --preset dair")
    return cast(AIRConfig, config.model)


def _batch(model: AIRConfig) -> int:
    """The largest power of two within the work of a step."""
    fits = WORK / (model.steps * model.height * model.width)
    return min(max(2 ** int(math.log2(max(1, fits))), BATCHES[0]), BATCHES[1])
