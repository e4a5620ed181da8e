"""The plain colours of Multi-dSprites (Kabra et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from airscene.data.backdrops.base import Backdrop
from airscene.data.colours import random_levels


class Levels(Backdrop):
    """One colour a scene, of which each channel is 0, 63, 127, 191 or 255."""

    has_level = False

    def behind(self, number: int, generator: torch.Generator) -> Tensor:
        """See `Backdrop.behind`."""
        colours = random_levels(number, self.channels, generator)
        return colours[:, :, None, None].expand(-1, -1, *self.canvas)
