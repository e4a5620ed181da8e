"""Compositors: how layers and a background make a canvas.

A compositor says what each layer changes of the canvas under it. Canvases, likelihoods and what is
left to explain all follow from these changes in the same way (`Composition`). A new compositor is
one class, its name in `CompositorName`, and one row of the table `COMPOSITORS`.

sum
    The canvas is background + Σ_k m_k p_k: paint is light that adds up (Eslami et al. 2016).

over
    Layers hide what lies behind them, the first in front. With opacity α and the transmittance
    T_k = Π_{j<k} (1 - m_j α_j), which is the part of a pixel that no layer before k explains,

        canvas = Σ_k T_k m_k p_k + T_{N+1} background,

    so that layer k changes the canvas by T_k m_k (p_k - α_k background).

p is the paint of a layer; where layers have an opacity, it is their appearance times that opacity.
m is the presence of each layer. Between 0 and 1 it dims the layer, or makes it see-through.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from airscene.core import layers
from airscene.core.likelihoods import Independent, Likelihood
from airscene.core.spatial import INK, brightest

CLEAREST = 1e-6  # opacity that divides paint at least

CompositorName = Literal["sum", "over"]


@dataclass(frozen=True)
class Layers:
    """N objects of each of B scenes, as patches on a canvas.

    Attributes:
        paint: what each adds to the canvas, shape (B, N, C, P, Q).
        opacity: how much each hides, between 0 and 1, shape (B, N, 1, P, Q); for `over` alone.
        corner: of each patch (y, x) in pixels, shape (B, N, 2).
    """

    paint: Float[Tensor, "batch steps channels rows columns"]
    opacity: Float[Tensor, "batch steps 1 rows columns"] | None
    corner: Int[Tensor, "batch steps 2"]

    @staticmethod
    def join(parts: "list[Layers]") -> "Layers":
        """Layers of the same scenes, one after the other."""
        opacities = [part.opacity for part in parts if part.opacity is not None]
        return Layers(
            torch.cat([part.paint for part in parts], 1),
            torch.cat(opacities, 1) if opacities else None,
            torch.cat([part.corner for part in parts], 1),
        )

    def map(self, change: Callable[..., Tensor], *others: "Layers") -> "Layers":
        """The same function of each of the tensors, and of those of other layers of the kind."""
        every = (self, *others)
        opacities = [layers.opacity for layers in every if layers.opacity is not None]
        return Layers(
            change(*(layers.paint for layers in every)),
            change(*opacities) if opacities else None,
            change(*(layers.corner for layers in every)),
        )


class Compositor:
    """What every compositor offers.

    Attributes:
        opaque: whether layers have an opacity.
    """

    opaque: bool

    def changes(
        self, objects: Layers, background: Tensor, presence: Tensor
    ) -> Float[Tensor, "batch steps channels rows columns"]:
        """What each layer changes of the canvas under it, shape (B, N, C, P, Q).

        Args:
            objects: the layers.
            background: shape (B, C, H, W).
            presence: shape (B, N).
        """
        raise NotImplementedError

    def shares(self, objects: Layers, presence: Tensor, canvas: tuple[int, int]) -> Tensor:
        """How much of each pixel the background and each present object make, (B, 1 + N, H, W).

        The largest tells to which of them a pixel belongs.

        Args:
            objects: the layers.
            presence: shape (B, N).
            canvas: its height and width.
        """
        raise NotImplementedError


class Sum(Compositor):
    """Layers add up; see the module."""

    opaque = False

    def changes(self, objects: Layers, background: Tensor, presence: Tensor) -> Tensor:
        """See `Compositor.changes`."""
        return presence[..., None, None, None] * objects.paint

    def shares(self, objects: Layers, presence: Tensor, canvas: tuple[int, int]) -> Tensor:
        """See `Compositor.shares`: the brightest channel of the paint decides, above `INK`."""
        paint = brightest(objects.paint) * presence[..., None, None]
        painted = layers.lift(paint.unsqueeze(2), objects.corner, canvas)[:, :, 0]
        return torch.cat([painted.new_full((len(painted), 1, *canvas), INK), painted], 1)


class Over(Compositor):
    """Layers hide what is behind them; see the module."""

    opaque = True

    def changes(self, objects: Layers, background: Tensor, presence: Tensor) -> Tensor:
        """See `Compositor.changes`."""
        assert objects.opacity is not None
        masks = presence[..., None, None, None]
        opacity = masks * objects.opacity
        size, canvas = layers.size_of(opacity), layers.size_of(background)
        seen = layers.transmittance(opacity, objects.corner, canvas)
        behind = background.unsqueeze(1)
        if size != canvas:
            behind = behind.expand(-1, opacity.shape[1], -1, -1, -1).flatten(0, 1)
            behind = layers.cut(behind, objects.corner.flatten(0, 1), size)
            behind = behind.unflatten(0, opacity.shape[:2])
        return seen * (masks * objects.paint - opacity * behind)

    def shares(self, objects: Layers, presence: Tensor, canvas: tuple[int, int]) -> Tensor:
        """See `Compositor.shares`: what is seen of each object, and of the background."""
        assert objects.opacity is not None
        opacity = objects.opacity * presence[..., None, None, None]
        seen = opacity * layers.transmittance(opacity, objects.corner, canvas)
        seen = layers.lift(seen, objects.corner, canvas)[:, :, 0]
        behind = (1 - seen.sum(1, keepdim=True)).clamp(min=0)  # rounding may leave less than none
        return torch.cat([behind, seen], 1)


COMPOSITORS: dict[str, Compositor] = {"sum": Sum(), "over": Over()}
"""Every compositor, by the name that `--model.compositor` takes."""


@dataclass(frozen=True)
class Composition:
    """Images, backgrounds and layers, put together: likelihoods and canvases of any presence.

    Attributes:
        image: what is to be explained, shape (B, C, H, W).
        background: shape (B, C, H, W).
        objects: the layers.
        compositor: how they are put together.
        sigma: of the likelihood, a scalar.
        likelihood: how pixels scatter around the canvas.
    """

    image: Float[Tensor, "batch channels height width"]
    background: Float[Tensor, "batch channels height width"]
    objects: Layers
    compositor: Compositor
    sigma: Float[Tensor, ""]
    likelihood: Likelihood = field(default_factory=Independent)

    @cached_property
    def log_likelihoods(self) -> Float[Tensor, "counts batch"]:
        """Log p(x | z, n) in nats of every count n = 0..N, its first n objects, (N + 1, B)."""
        steps = self.objects.paint.shape[1]
        return self._gaussian(self._errors(self.image.new_ones(len(self.image), steps))).T

    def log_likelihood(self, presence: Float[Tensor, "*masks steps"]) -> Float[Tensor, "*masks"]:
        """Log p(x | z, presence) in nats, with the Gaussian's constant, (..., B, N) -> (..., B)."""
        masks = presence.expand(*presence.shape[:-2], len(self.image), -1)
        rows = masks.flatten(0, -2)  # (... B, N)
        scene = self._repeated(len(rows) // len(self.image))
        return self._gaussian(scene._errors(rows)[:, -1].view(masks.shape[:-1]))

    def part(self, rows: slice, number: int) -> "Composition":
        """Some of the scenes, with their first so many objects alone."""
        objects = self.objects.map(lambda values: values[rows, :number])
        return replace(
            self, image=self.image[rows], background=self.background[rows], objects=objects
        )

    @property
    def painted(self) -> Float[Tensor, "batch steps channels height width"]:
        """What each object paints, alone on an empty canvas, shape (B, N, C, H, W)."""
        return layers.lift(self.objects.paint, self.objects.corner, layers.size_of(self.image))

    def canvas(self, presence: Float[Tensor, "batch steps"]) -> Tensor:
        """The canvas of the present objects, shape (B, C, H, W), without gradient."""
        changes = self.compositor.changes(self.objects, self.background, presence)
        return layers.stack(self.background, changes, self.objects.corner)

    def shares(self, presence: Float[Tensor, "batch steps"]) -> Tensor:
        """To what degree each pixel shows the background and each present object, (B, 1 + N, H, W).

        Where objects hide what is behind them, this is the posterior probability of each layer, if
        a pixel shows layer k with the probability of `Compositor.shares` and is then Gaussian
        around the layer's colour there. Otherwise it is that of `Compositor.shares`.
        """
        shares = self.compositor.shares(self.objects, presence, layers.size_of(self.image))
        if self.objects.opacity is None:
            return shares
        spread = self.sigma.square() * self.likelihood.variance(*layers.size_of(self.image))
        return (shares.log() - self._distances() / (2 * spread)).softmax(1)

    def _repeated(self, times: int) -> "Composition":
        """All scenes again and again, so that each of them can have several masks."""
        if times == 1:
            return self

        def again(part: Tensor) -> Tensor:
            return part.expand(times, *part.shape).flatten(0, 1)

        image, background = again(self.image), again(self.background)
        return replace(self, image=image, background=background, objects=self.objects.map(again))

    def _distances(self) -> Float[Tensor, "batch parts height width"]:
        """‖x - colour‖² of each pixel to the background and to each object, (B, 1 + N, H, W)."""
        assert self.objects.opacity is not None
        colour = self.objects.paint / self.objects.opacity.clamp(min=CLEAREST)
        size = layers.size_of(self.image)
        colours = layers.lift(colour, self.objects.corner, size)
        parts = torch.cat([self.background.unsqueeze(1), colours], 1)
        return (self.image.unsqueeze(1) - parts).square().sum(2)

    def _errors(self, presence: Float[Tensor, "batch steps"]) -> Float[Tensor, "batch counts"]:
        """‖W (x - canvas)‖² of the present ones among the first n objects, (B, N + 1)."""
        with torch.autocast(self.image.device.type, enabled=False):  # sums of many squares
            changes = self.compositor.changes(self.objects, self.background, presence)
            residual = self.image - self.background
            residual, changes = self.likelihood(residual), self.likelihood(changes)
            return layers.squared_errors(residual, changes, self.objects.corner)

    def _gaussian(self, errors: Tensor) -> Tensor:
        channels, *size = self.image.shape[1:]
        constant = (self.sigma * math.sqrt(2 * math.pi)).log() * channels * math.prod(size)
        volume = channels * self.likelihood.log_volume(*size)
        return -errors / (2 * self.sigma.square()) - constant + volume
