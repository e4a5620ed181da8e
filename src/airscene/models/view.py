"""What a step of inference can read: the image, and what the canvas so far leaves of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from airscene.core import layers, spatial
from airscene.core.compositors import Layers
from airscene.core.likelihoods import Independent, Likelihood
from airscene.models.likeness import likeness

Patch = tuple[int, int]

CLEAR = 2.0  # of a silhouette: where likeness is given to a network, it weighs more than colours do


@dataclass(frozen=True)
class View:
    """A scene in the middle of its explanation.

    Attributes:
        image: the image, shape (B, C, H, W).
        left: what is left of it: the image less the canvas painted so far, without gradient. Where
            steps get no feedback, that canvas is the background.
        behind: the background, shape (B, C, H, W), without gradient.
        seen: the part of each pixel that no object explains yet, shape (B, 1, H, W), if objects
            hide what is behind them.
        likelihood: how pixels scatter around the canvas.
        changed: the corner (y, x) of the patch that was painted last, shape (B, 2), if any was.
    """

    image: Float[Tensor, "batch channels height width"]
    left: Float[Tensor, "batch channels height width"]
    behind: Float[Tensor, "batch channels height width"]
    seen: Float[Tensor, "batch 1 height width"] | None
    likelihood: Likelihood = field(default_factory=Independent)
    changed: Int[Tensor, "batch 2"] | None = None

    @property
    def visible(self) -> Float[Tensor, "batch channels height width"]:
        """What is left of each pixel that no object explains yet, shape (B, C, H, W)."""
        return self.left if self.seen is None else self.left * self.seen

    @staticmethod
    def glance_channels(channels: int, opaque: bool) -> int:
        """Channels R of a glance.

        Args:
            channels: of the image, C.
            opaque: whether objects hide what is behind them.
        """
        return channels + 1 if opaque else 2 * channels

    def glance(self, window: Float[Tensor, "batch 3"], size: int, patch: Patch) -> Tensor:
        """What is read before an object is located, shape (B, R, size, size).

        Args:
            window: centre and side in pixels (cx, cy, side), shape (B, 3).
            size: points along each side.
            patch: the part of the canvas, in pixels, in which the window lies.

        Returns:
            What is left, and the image; or, if objects hide what is behind them, what is left, and
            how much it looks like the middle of the window, from -`CLEAR` to `CLEAR`.
        """
        if self.seen is None:
            return _crop([self.left, self.image], window, size, patch)
        parts = [self.image, self.left, self.seen]
        image, left, seen = self._crop_apart(parts, window, size, patch)
        return torch.cat([left, _silhouette(image, left, seen)[0]], 1)

    def glimpse(self, window: Float[Tensor, "batch 3"], size: int, patch: Patch) -> Tensor:
        """What is left in a window, shape (B, C, size, size); see `glance` for the arguments."""
        return _crop([self.left], window, size, patch)

    def surface(
        self, window: Float[Tensor, "batch 3"], size: int, patch: Patch
    ) -> tuple[Tensor, Tensor]:
        """What can be seen of the object in the middle of a window, if objects hide others.

        Returns:
            Its silhouette, from -`CLEAR` outside to `CLEAR` inside, shape (B, 1, size, size), and
            its colour, shape (B, C).
        """
        assert self.seen is not None
        parts = [self.image, self.left, self.seen]
        image, left, seen = self._crop_apart(parts, window, size, patch)
        silhouette, weight = _silhouette(image, left, seen)
        return silhouette, (weight * image).sum((2, 3))

    def after(self, layer: Layers) -> tuple[View, Tensor]:
        """The view when one more object is explained, and what this gains.

        This view is not to be read any more: where patches are small, its canvases are changed.

        Args:
            layer: one object of each scene, N = 1.

        Returns:
            The view, and by how much the object lowers the squared error, ‖W left‖² of the
            likelihood, shape (B,), without gradient.
        """
        place, change = layer.corner[:, 0], layer.paint[:, 0].detach()
        size, seen = layers.size_of(change), self.seen
        if seen is not None and layer.opacity is not None:
            opacity, part = layer.opacity[:, 0].detach(), layers.cut(seen, place, size)
            change = part * (change - opacity * layers.cut(self.behind, place, size))
            seen = layers.added(seen, place, -part * opacity)
        left = layers.cut(self.left, place, size)
        values, before = map(self.likelihood, (change, left))
        gain = (values * (2 * before - values)).flatten(1).sum(1)
        left = layers.added(self.left, place, -change)
        return replace(self, left=left, seen=seen, changed=place), gain

    def _crop_apart(
        self, canvases: list[Tensor], window: Tensor, size: int, patch: Patch
    ) -> tuple[Tensor, ...]:
        """The crop of each canvas, in full precision: colours are compared."""
        found = _crop(canvases, window, size, patch).to(self.image.dtype)
        return found.split([canvas.shape[1] for canvas in canvases], 1)


def _silhouette(image: Tensor, left: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """The likeness as networks read it, from -`CLEAR` to `CLEAR`, and its weights."""
    alike, weight = likeness(image, left, seen)
    return CLEAR * (2 * alike - 1), weight


def _crop(canvases: list[Tensor], window: Tensor, size: int, patch: Patch) -> Tensor:
    """`size` × `size` points of several canvases (B, ·, H, W), one after the other."""
    corner = layers.corner_of(window, patch, layers.size_of(canvases[0]))
    parts = [layers.cut(canvas, corner, patch) for canvas in canvases]
    part = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
    return spatial.crop(part, layers.within(window, corner), size)
