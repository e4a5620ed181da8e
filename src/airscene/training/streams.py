"""Endless batches of training images, each decided by the seed and the step alone.

So a resumed run sees what it would have seen, and every process of a distributed run draws the
whole step and takes its own share: two processes see what one with the doubled batch sees.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from airscene.data import Composes, Scenes


@dataclass(frozen=True)
class Share:
    """Which part of a step's batch a process works on.

    Attributes:
        batch: scenes of one process.
        rank: this process, from 0.
        processes: how many there are.
    """

    batch: int
    rank: int = 0
    processes: int = 1

    @property
    def total(self) -> int:
        """Scenes in a step over all processes."""
        return self.batch * self.processes

    def of(self, whole: Tensor) -> Tensor:
        """This process's rows."""
        return whole[self.rank * self.batch : (self.rank + 1) * self.batch]


class Stream(Protocol):
    """Draws one process's images of a step, floats in [0, 1] with shape (B, C, H, W)."""

    def draw(self, share: Share, generator: torch.Generator) -> Tensor:
        """The images that `generator`, seeded for the step, decides on."""
        ...


@dataclass(frozen=True)
class FixedScenes:
    """Draws from a fixed set, with replacement, on the device where the set lies."""

    scenes: Scenes

    def draw(self, share: Share, generator: torch.Generator) -> Tensor:
        """See `Stream.draw`."""
        device = self.scenes.image.device
        index = torch.randint(len(self.scenes), (share.total,), generator=generator, device=device)
        return self.scenes[share.of(index)].pixels()


@dataclass(frozen=True)
class FreshScenes:
    """Composes scenes that nobody has seen before."""

    composer: Composes

    def draw(self, share: Share, generator: torch.Generator) -> Tensor:
        """See `Stream.draw`."""
        return share.of(self.composer.compose(share.total, generator).pixels())
