"""The noisy pictures of SuPAIR (Stelzner et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor

from airscene.data.backdrops.base import Backdrop

CONTRAST, LIFT, SPREAD = 0.8, 0.1, 0.20


class Noisy(Backdrop):
    """A pixel x becomes clip(0.8 x + 0.1 + noise, 0, 1), with Gaussian noise of spread 0.2."""

    def finish(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """See `Backdrop.finish`."""
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        noisy = CONTRAST * images / 255 + LIFT + SPREAD * noise
        return (255 * noisy.clamp(0, 1)).round().to(torch.uint8)
