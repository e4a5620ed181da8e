"""What a step of inference can read: the image, and what the canvas so far leaves of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from airscene import layers, spatial
from airscene.compositors import Layers

Patch = tuple[int, int]


@dataclass(frozen=True)
class View:
    """A scene in the middle of its explanation.

    Attributes:
        image: the image, shape (B, C, H, W).
        left: what is left of it: the image less the canvas painted so far, without gradient. It is
            the image itself where steps get no feedback.
        behind: the background, shape (B, C, H, W), without gradient.
        seen: the part of each pixel that no object explains yet, shape (B, 1, H, W), if objects
            hide what is behind them and steps get feedback.
    """

    image: Float[Tensor, "batch channels height width"]
    left: Float[Tensor, "batch channels height width"]
    behind: Float[Tensor, "batch channels height width"]
    seen: Float[Tensor, "batch 1 height width"] | None

    @property
    def visible(self) -> Float[Tensor, "batch channels height width"]:
        """What is left of each pixel that no object explains yet, shape (B, C, H, W)."""
        return self.left if self.seen is None else self.left * self.seen

    def crop(self, window: Float[Tensor, "batch 3"], size: int, patch: Patch) -> Tensor:
        """`size` × `size` points of all there is to read, shape (B, R, size, size).

        Args:
            window: centre and side in pixels (cx, cy, side), shape (B, 3).
            size: points along each side.
            patch: the part of the canvas, in pixels, in which the window lies.

        Returns:
            With channels of what is left, of the image, and of what is seen, if that is known.
        """
        return _crop([self.left, self.image, *self._seen], window, size, patch)

    def crop_left(self, window: Float[Tensor, "batch 3"], size: int, patch: Patch) -> Tensor:
        """`size` × `size` points of what is left alone, shape (B, C, size, size)."""
        return _crop([self.left], window, size, patch)

    def after(self, layer: Layers) -> View:
        """The view when one more object is explained.

        Args:
            layer: one object of each scene, N = 1.
        """
        place, paint = layer.corner[:, 0], layer.paint[:, 0].detach()
        if self.seen is None or layer.opacity is None:
            return replace(self, left=layers.added(self.left, place, -paint))
        opacity = layer.opacity[:, 0].detach()
        size = layers.size_of(paint)
        seen = layers.cut(self.seen, place, size)
        change = seen * (paint - opacity * layers.cut(self.behind, place, size))
        return replace(
            self,
            left=layers.added(self.left, place, -change),
            seen=layers.added(self.seen, place, -seen * opacity),
        )

    @property
    def _seen(self) -> list[Tensor]:
        return [] if self.seen is None else [self.seen]


def _crop(canvases: list[Tensor], window: Tensor, size: int, patch: Patch) -> Tensor:
    """`size` × `size` points of several canvases (B, ·, H, W), one after the other."""
    corner = layers.corner_of(window, patch, layers.size_of(canvases[0]))
    parts = [layers.cut(canvas, corner, patch) for canvas in canvases]
    part = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
    return spatial.crop(part, layers.within(window, corner), size)
