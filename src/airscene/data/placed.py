"""Objects that are placed, each alone on its canvas, and how they make up pictures and masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from airscene.core.spatial import INK


@dataclass(frozen=True)
class Placed:
    """The objects of M scenes, from the hindmost to the foremost of each.

    Attributes:
        ink: each object alone on a black canvas, whole numbers from 0 to 255, (T, H, W).
        scene: the scene of each object, (T,).
        slot: the rank of each object in its scene, from 0, (T,).
        scenes: M.
    """

    ink: Tensor
    scene: Tensor
    slot: Tensor
    scenes: int

    def total(self, colours: Tensor | None = None) -> Tensor:
        """The sum of each scene's objects.

        Args:
            colours: of the objects, in [0, 1], (T, C); white unless given.

        Returns:
            Sums that may exceed 255, (M, C, H, W), with C 1 for white.
        """
        ink = self.ink[:, None]
        ink = ink if colours is None else ink * colours[:, :, None, None]
        return ink.new_zeros(self.scenes, *ink.shape[1:]).index_add_(0, self.scene, ink)

    def over(self, behind: Tensor, colours: Tensor | None = None) -> Tensor:
        """Paints each scene's objects one over another, where ink is opacity.

        Args:
            behind: what the objects are painted on, in [0, 1], (M, C, H, W).
            colours: of the objects, in [0, 1], (T, C) or (T, 1); white unless given.

        Returns:
            Intensities in [0, 1], (M, C, H, W).
        """
        canvas = behind.clone()
        for _, which, scene in self._in_order():
            opacity = self.ink[which, None] / 255
            colour = 1.0 if colours is None else colours[which][:, :, None, None]
            canvas[scene] = canvas[scene] * (1 - opacity) + colour * opacity
        return canvas

    def foremost(self) -> Tensor:
        """1 + the rank of the foremost object with ink at each pixel, or 0; uint8, (M, H, W)."""
        masks = self._no_object()
        for slot, which, scene in self._in_order():
            masks[scene] = torch.where(self._has_ink(which), slot + 1, masks[scene])
        return masks

    def strongest(self) -> Tensor:
        """1 + the rank of the object with most ink at each pixel, or 0; uint8, (M, H, W)."""
        masks, most = self._no_object(), self.ink.new_zeros(self.scenes, *self.ink.shape[1:])
        for slot, which, scene in self._in_order():
            wins = self._has_ink(which) & (self.ink[which] > most[scene])
            masks[scene] = torch.where(wins, slot + 1, masks[scene])
            most[scene] = torch.maximum(most[scene], self.ink[which])
        return masks

    def seen(self, masks: Tensor) -> Tensor:
        """The share of each object's pixels that `masks` (M, H, W) give to it, (T,).

        An object without ink is not seen at all.
        """
        ink = self._has_ink(slice(None))
        own = masks[self.scene] == self.slot[:, None, None] + 1
        return (ink & own).sum((1, 2)) / ink.sum((1, 2)).clamp(min=1)

    def _has_ink(self, which: Tensor | slice) -> Tensor:
        return self.ink[which] > 255 * INK

    def _no_object(self) -> Tensor:
        size = self.scenes, *self.ink.shape[1:]
        return torch.zeros(size, dtype=torch.uint8, device=self.ink.device)

    def _in_order(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Each rank, which objects (n,) have it, and their scenes (n,), no scene twice."""
        for slot in range(int(self.slot.max()) + 1 if len(self.slot) else 0):
            which = (self.slot == slot).nonzero()[:, 0]
            yield slot, which, self.scene[which]
