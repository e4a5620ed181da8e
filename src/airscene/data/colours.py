"""How the objects of composed scenes are coloured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LEVELS = (0, 63, 127, 191, 255)
"""What each channel may be in the colours of Multi-dSprites (Kabra et al. 2019)."""

PALETTE = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 0),
    (255, 0, 255),
    (0, 255, 255),
    (255, 255, 255),
    (255, 128, 0),
    (128, 0, 255),
    (128, 255, 128),
)
"""The colours of classes 0 to 9, as red, green and blue; class 10 begins anew."""


@dataclass(frozen=True)
class Uncoloured:
    """T objects that are to be coloured.

    Attributes:
        labels: their classes, (T,).
        behind: the mean of the backdrop under each object, weighted by its ink, in [0, 1], with
            shape (T, C). What other objects paint there plays no part.
        contrast: the least distance between an object and `behind`, in [0, 0.5].
    """

    labels: Tensor
    behind: Tensor
    contrast: float


def by_class(objects: Uncoloured, generator: torch.Generator) -> Tensor:
    """The colour of each object's class, (T, 3)."""
    palette = torch.tensor(PALETTE, device=generator.device) / 255
    return palette[objects.labels % len(palette)]


def by_levels(objects: Uncoloured, generator: torch.Generator) -> Tensor:
    """Uniform over the colours made of `LEVELS` without that of the backdrop, (T, C)."""
    number, channels = objects.behind.shape
    first = _random_codes(number, channels, generator)
    others = len(LEVELS) ** channels - 1
    shift = 1 + torch.randint(others, (number,), generator=generator, device=generator.device)
    colours, instead = _of_code(first, channels), _of_code(first + shift, channels)
    same = ((colours - objects.behind).abs() < 0.5 / 255).all(1, keepdim=True)
    return torch.where(same, instead, colours)


def by_contrast(objects: Uncoloured, generator: torch.Generator) -> Tensor:
    """Uniform in each channel over what is at least `contrast` away from the backdrop, (T, C)."""
    darkest = (objects.behind - objects.contrast).clamp(min=0)  # darker than this is allowed
    brightest = objects.behind + objects.contrast  # brighter than this is allowed
    room = darkest + (1 - brightest).clamp(min=0)
    drawn = torch.rand(room.shape, generator=generator, device=generator.device) * room
    return torch.where(drawn < darkest, drawn, brightest + drawn - darkest).clamp(0, 1)


def random_levels(number: int, channels: int, generator: torch.Generator) -> Tensor:
    """Colours of which each channel is one of `LEVELS`, uniform, in [0, 1], (number, channels)."""
    return _of_code(_random_codes(number, channels, generator), channels)


def _random_codes(number: int, channels: int, generator: torch.Generator) -> Tensor:
    most = len(LEVELS) ** channels
    return torch.randint(most, (number,), generator=generator, device=generator.device)


def _of_code(code: Tensor, channels: int) -> Tensor:
    """The colours (T, C) that numbers (T,) stand for: their digits in base 5 pick the levels."""
    place = len(LEVELS) ** torch.arange(channels, device=code.device)
    levels = torch.tensor(LEVELS, device=code.device) / 255
    return levels[code[:, None] // place % len(LEVELS)]


COLOURINGS: dict[str, Callable[[Uncoloured, torch.Generator], Tensor]] = {
    "class": by_class,
    "levels": by_levels,
    "contrast": by_contrast,
}
"""How objects get a colour other than white, by the name that `--scenes.colour` takes."""
