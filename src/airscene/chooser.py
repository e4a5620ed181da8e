"""Settings for the user's own images, chosen from the images and a rough size of their objects."""

import math
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
from scipy import ndimage
from torch import Tensor

from airscene.config import Config
from airscene.data import Scenes
from airscene.errors import UserError
from airscene.models.air import AIRConfig, scale_of

MARGIN = 1.3  # side of a window, in objects: room for those that are larger than said
SMALLEST = 5.0  # pixels of an object, after shrinking: below, there is nothing to describe
GLIMPSE = (8, 28)  # fewest and most points along a glimpse
SPARE = 2  # steps beyond the largest count seen
MOST = 20  # steps, whatever is seen
SIGMA = 0.3  # for objects as bright as can be
PAYING = 10.0  # pixels of an object; a smaller one has too little ink to pay for itself at that σ
LOOKED_AT = 500  # images, the first ones
WORK = 4_000_000  # pixels painted in a step: batch times steps times area
BATCHES = (64, 256)  # fewest and most images in a step


@dataclass(frozen=True)
class Choice:
    """A configuration and why it is so.

    Attributes:
        config: the configuration.
        reasons: a line for each setting that was chosen, to print.
    """

    config: Config
    reasons: tuple[str, ...]


def choose(config: Config, scenes: Scenes, object_size: float) -> Choice:
    """Sets window, glimpse, N, σ and batch for images; everything else stays as it is.

    Args:
        config: what to start from; its model must be AIR or DAIR.
        scenes: the images at the size in which they are trained on, with objects on black.
        object_size: rough length of the longer side of an object, in pixels of these images.

    Raises:
        UserError: the size is out of range.
    """
    images = scenes[:LOOKED_AT].pixels().float().amax(1)  # (M, H, W)
    shorter = min(images.shape[1:])
    _check(object_size, shorter)
    contrast = brightness(images)
    largest = int(np.quantile(_counts(images, object_size, contrast), 0.98).round())
    window = min(MARGIN * object_size, 0.9 * shorter)
    model = replace(
        _air(config),
        height=images.shape[1],
        width=images.shape[2],
        channels=scenes.image.shape[1],
        steps=min(MOST, largest + SPARE),
        glimpse=min(max(round(window), GLIMPSE[0]), GLIMPSE[1]),
        scale_prior=(round(scale_of(window / shorter), 2), 0.15),
        sigma=round(SIGMA * contrast * min(1.0, object_size / PAYING), 3),
    )
    batch = _batch(model)
    chosen = replace(config, model=model, training=replace(config.training, batch=batch))
    return Choice(chosen, _reasons(model, batch, object_size, window, largest, contrast))


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
    if not SMALLEST <= object_size <= shorter:
        raise UserError(
            f"--object-size is {object_size:g} px where images are {shorter} px in training; it "
            f"must lie between {SMALLEST:g} and {shorter}: cut large images into tiles"
        )


def _air(config: Config) -> AIRConfig:
    if not isinstance(config.model, AIRConfig):
        raise UserError("--object-size chooses for AIR and DAIR; name --preset dair")
    return config.model


def _batch(model: AIRConfig) -> int:
    """The largest power of two within the work of a step."""
    fits = WORK / (model.steps * model.height * model.width)
    return min(max(2 ** int(math.log2(max(1, fits))), BATCHES[0]), BATCHES[1])


def _reasons(
    model: AIRConfig, batch: int, object_size: float, window: float, largest: int, contrast: float
) -> tuple[str, ...]:
    """Each choice in words, in the order of the flags' importance."""
    mean, std = model.scale_prior
    return (
        f"--model.feedback {model.feedback}",
        f"--model.scale-prior {mean} {std}: windows around {window:.0f} px for objects of "
        f"{object_size:.0f} px",
        f"--model.glimpse {model.glimpse}: about a point a pixel",
        f"--model.steps {model.steps}: images seem to hold up to {largest}, and {SPARE} to spare",
        f"--model.sigma {model.sigma}: objects of this size reach an intensity of {contrast:.2f}",
        f"--training.batch {batch}: fits the size of images and N",
    )
