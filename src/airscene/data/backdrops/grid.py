"""The grid of SuPAIR (Stelzner et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from airscene.data.backdrops.base import Backdrop

PERIOD = 5  # pixels from line to line
LEVEL = 102  # of a line, 0.4 of 255


class Grid(Backdrop):
    """Every fifth row and column is at least 0.4; the first ones are drawn for each picture."""

    def finish(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """See `Backdrop.finish`."""
        rows, columns = (self._lines(len(images), axis, generator) for axis in self.canvas)
        lines = rows[:, None, :, None] | columns[:, None, None, :]
        return torch.where(lines, images.clamp(min=LEVEL), images)

    def _lines(self, number: int, axis: int, generator: torch.Generator) -> Tensor:
        """Which pixels of an axis lie on a line, for each picture, (M, axis)."""
        device = generator.device
        first = torch.randint(PERIOD, (number, 1), generator=generator, device=device)
        return torch.arange(axis, device=device) % PERIOD == first
