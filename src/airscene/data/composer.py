"""Scenes composed of sprites at random sizes and places, with their truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from torch import Tensor

from airscene.data.mnist import Split
from airscene.data.scenes import Scenes
from airscene.data.sprites import Source, Sprites, load_sprites
from airscene.errors import UserError
from airscene.ranges import check_ranges, flag_of, within
from airscene.spatial import ink_boxes

TAIL = 4.0  # scales are cut off at so many standard deviations, so that sizes are bounded
MINIMUM_SIDE = 4  # in pixels; smaller sprites are blots
ROUNDS = 100  # of drawing the rejected scenes of a chunk anew before giving up
FEW = 64  # draw at least so many candidates a round: a long tail of small rounds is slow
ROUND_PIXELS = 1 << 26  # of the candidates of a round, which is less on the largest canvases
PIXELS = 1 << 21  # of placed sprites held at once, 8 MiB as floats: larger is slower


@dataclass(frozen=True)
class SceneConfig:
    """What scenes look like.

    Raises:
        UserError: a value is out of its range, or the sprites cannot fit the canvas.
    """

    source: Source = "digits"
    """Sprites: scikit-learn's 8x8 digits, which need no download, or MNIST."""
    canvas: Annotated[tuple[int, int], *within(1, 4096)] = (50, 50)
    """Height and width of a scene in pixels."""
    counts: Annotated[tuple[int, ...], *within(0, 100)] = (0, 1, 2)
    """Numbers of objects that occur."""
    shares: Annotated[tuple[float, ...], *within(0, 1e6)] = ()
    """Relative frequency of each of the counts; equal when left empty."""
    size: Annotated[float, *within(1, 4096)] = 28.0
    """Side of a sprite in pixels at scale 1."""
    scale_mean: Annotated[float, *within(1e-2, 1e3)] = 1.3
    """Mean of the scale s; a sprite's side is int(size / s)."""
    scale_std: Annotated[float, *within(0, 100)] = 0.1
    """Standard deviation of the scale."""
    overlap: Literal["boxes", "pixels", "any"] = "pixels"
    """Never let boxes overlap, never let summed ink exceed full intensity, or allow any overlap."""
    background: Annotated[float, *within(0, 0.99)] = 0.0
    """Level under the objects: a pixel is background + (1 - background) * ink."""
    train_size: Annotated[int, *within(1, 10_000_000)] = 60_000
    """Number of training scenes."""
    test_size: Annotated[int, *within(1, 10_000_000)] = 10_000
    """Number of test scenes."""

    def __post_init__(self) -> None:
        check_ranges(self, "--scenes.")
        self._check_counts()
        self._check_sizes()

    @property
    def sides(self) -> tuple[int, int]:
        """The smallest and the largest side of a sprite, in pixels."""
        spread = TAIL * self.scale_std
        scales = self.scale_mean + spread, self.scale_mean - spread
        return int(self.size / scales[0]), int(self.size / scales[1])

    def _check_counts(self) -> None:
        counts, shares = self.counts, self.shares
        distinct = bool(counts) and len(set(counts)) == len(counts)
        self._require("counts", distinct, "name distinct numbers from 0 on")
        matched = len(shares) in (0, len(counts))
        self._require("shares", matched, f"name one share for each of the {len(counts)} counts")
        self._require("shares", not shares or sum(shares) > 0, "name a share above 0")

    def _check_sizes(self) -> None:
        least = TAIL * self.scale_std
        above = f"take more than {TAIL:g} times --scenes.scale-std, {least:g}"
        self._require("scale_mean", least < self.scale_mean, above)
        smallest, largest = self.sides
        small = f"sprites shrink to {smallest} px, below {MINIMUM_SIDE}; enlarge it"
        self._require("size", smallest >= MINIMUM_SIDE, small)
        large = f"sprites reach {largest} px; enlarge it or lower --scenes.size"
        self._require("canvas", largest <= min(self.canvas), large)

    def _require(self, field: str, holds: bool, fix: str) -> None:
        if not holds:
            raise UserError(f"{flag_of('--scenes.', field)} is {getattr(self, field)}: {fix}")


class Composer:
    """Composes scenes of sprites, on the device that holds the sprites.

    A sprite is resized to a square with the antialiased bilinear filter (that of Pillow's
    `BILINEAR`), placed uniformly where it fits, rounded to integers and summed into its scene. A
    scene that breaks the overlap rule is drawn anew with the same count, so the shares of the
    counts hold exactly as asked. An object without ink is drawn anew under every rule.

    Attributes:
        sprites: the objects to draw from.
        config: what the scenes look like.
    """

    def __init__(self, sprites: Sprites, config: SceneConfig):
        self.sprites = sprites
        self.config = config
        _, height, width = sprites.images.shape
        self._rows = _resize_tables(height, config.sides).to(sprites.images.device)
        self._columns = _resize_tables(width, config.sides).to(sprites.images.device)

    def to(self, device: torch.device | str) -> Composer:
        """The same composer on another device."""
        return Composer(self.sprites.to(device), self.config)

    def compose(self, number: int, generator: torch.Generator) -> Scenes:
        """Composes scenes, the same for the same state of the generator.

        The redrawing asks after each round what is left to draw, so it waits for the device: about
        two times for a batch of training scenes.

        Args:
            number: how many scenes M, at least 1.
            generator: the source of randomness, on the composer's device.

        Returns:
            Scenes with bytes as images (M, 1, H, W) and with K = max(counts) boxes and labels. A
            box is the extent of the pixels of the placed object above `spatial.INK`.

        Raises:
            UserError: the objects do not fit the canvas without overlap.
        """
        count = self._counts(number, generator)
        chunk = max(1, PIXELS // self._placed_pixels)
        parts = [self._fill(part, generator) for part in count.split(chunk)]
        images, boxes, labels = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        return Scenes(images, count, boxes, labels)

    def _counts(self, number: int, generator: torch.Generator) -> Tensor:
        counts = torch.tensor(self.config.counts, device=self._device)
        shares = self.config.shares or (1.0,) * len(counts)
        odds = torch.tensor(shares, device=self._device)
        return counts[torch.multinomial(odds, number, replacement=True, generator=generator)]

    def _fill(self, count: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draws scenes with these counts (M,) until each obeys the overlap rule."""
        pending = torch.arange(len(count), device=self._device)
        filled = self._blank(len(count))
        few = min(FEW, ROUND_PIXELS // self._placed_pixels)
        for _ in range(ROUNDS):
            tries = pending.repeat(max(1, few // len(pending)))
            drawn, obeys = self._draw(count[tries], generator)
            first, found = _first_of_each(obeys, len(pending))
            for whole, part in zip(filled, drawn, strict=True):
                whole[pending[found]] = part[first[found]]
            pending = pending[~found]
            if not len(pending):
                return filled
        raise UserError(self._cannot_fit(int(count[pending].max())))

    def _blank(self, number: int) -> tuple[Tensor, Tensor, Tensor]:
        most = max(self.config.counts)
        images = torch.zeros(number, 1, *self.config.canvas, dtype=torch.uint8, device=self._device)
        boxes = torch.zeros(number, most, 4, device=self._device)
        labels = torch.full((number, most), -1, device=self._device)
        return images, boxes, labels

    def _draw(
        self, count: Tensor, generator: torch.Generator
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """Draws each scene once; returns images, boxes, labels and which scenes obey the rule."""
        scene, slot = _slots(count)
        chosen = self._randint(len(self.sprites), len(scene), generator)
        objects = self._place(self.sprites.images.index_select(0, chosen).float(), generator)
        _, boxes, labels = self._blank(len(count))
        boxes[scene, slot] = ink_boxes(objects / 255)
        labels[scene, slot] = self.sprites.labels[chosen]
        canvas = objects.new_zeros(len(count), *self.config.canvas).index_add_(0, scene, objects)
        obeys = self._obeys(canvas, boxes) & ((boxes[..., 2] > 0).sum(1) == count)
        return (self._bytes(canvas), boxes, labels), obeys

    def _place(self, sprites: Tensor, generator: torch.Generator) -> Tensor:
        """Resizes and shifts sprites (T, h, w) onto canvases (T, H, W) of whole intensities."""
        height, width = self.config.canvas
        side = self._sides(len(sprites), generator)
        top, left = (self._shift(axis - side + 1, generator) for axis in (height, width))
        table = side - self.config.sides[0]
        rows = _shifted(self._rows, table, top, height)  # (T, H, h)
        columns = _shifted(self._columns, table, left, width)  # (T, W, w)
        return (rows @ (sprites @ columns.mT)).round_()

    def _sides(self, number: int, generator: torch.Generator) -> Tensor:
        config = self.config
        normal = torch.randn(number, generator=generator, device=self._device)
        scale = config.scale_mean + config.scale_std * normal.clamp(-TAIL, TAIL)
        return (config.size / scale).long().clamp(*config.sides)

    def _shift(self, choices: Tensor, generator: torch.Generator) -> Tensor:
        uniform = torch.rand(len(choices), generator=generator, device=self._device)
        return (uniform * choices).long()

    def _randint(self, choices: int, number: int, generator: torch.Generator) -> Tensor:
        return torch.randint(choices, (number,), generator=generator, device=self._device)

    def _obeys(self, canvas: Tensor, boxes: Tensor) -> Tensor:
        match self.config.overlap:
            case "pixels":
                return canvas.amax((1, 2)) <= 255
            case "boxes":
                return ~_any_overlap(boxes)
            case "any":
                return torch.ones(len(canvas), dtype=torch.bool, device=self._device)

    def _bytes(self, canvas: Tensor) -> Tensor:
        level = self.config.background
        ink = canvas.clamp_(max=255)
        return ink.mul_(1 - level).add_(255 * level).round_().to(torch.uint8)[:, None]

    def _cannot_fit(self, count: int) -> str:
        height, width = self.config.canvas
        side = int(self.config.size / self.config.scale_mean)
        return (
            f"{count} objects of {side} px do not fit a {height}x{width} canvas without overlap;"
            " enlarge --scenes.canvas, lower --scenes.counts or give --scenes.overlap any"
        )

    @property
    def _placed_pixels(self) -> int:
        """Pixels of the placed sprites of the fullest scene."""
        return math.prod(self.config.canvas) * max(1, *self.config.counts)

    @property
    def _device(self) -> torch.device:
        return self.sprites.images.device


def compose_split(
    config: SceneConfig, split: Split, seed: int, data_dir: Path | None = None
) -> Scenes:
    """Composes the training or the test scenes of a seed; they share no sprite and no randomness.

    Args:
        config: what the scenes look like, and how many there are.
        split: `train` or `test`.
        seed: at least 0.
        data_dir: the folder with the MNIST files; see `load_mnist`.

    Raises:
        UserError: the sprites cannot be had, or do not fit the canvas.
    """
    # Named by seed and split, as in every version so far, so that figures stay comparable.
    name = np.random.SeedSequence([seed, split == "test"]).generate_state(1)
    generator = torch.Generator().manual_seed(int(name[0]))
    sprites = load_sprites(config.source, split, data_dir)
    number = config.train_size if split == "train" else config.test_size
    return Composer(sprites, config).compose(number, generator)


def _any_overlap(boxes: Tensor) -> Tensor:
    """Which scenes (M,) have two boxes of (M, K, 4) in common pixels; empty boxes touch nothing."""
    low = torch.maximum(boxes[:, :, None, :2], boxes[:, None, :, :2])  # (M, K, K, 2)
    high = torch.minimum(boxes[:, :, None, 2:], boxes[:, None, :, 2:])
    return (low < high).all(-1).triu(1).any(2).any(1)


def _slots(count: Tensor) -> tuple[Tensor, Tensor]:
    """For every object of scenes with counts (M,), its scene and its rank there."""
    scene = torch.arange(len(count), device=count.device).repeat_interleave(count)
    before = count.cumsum(0) - count
    return scene, torch.arange(len(scene), device=count.device) - before[scene]


def _first_of_each(obeys: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The first candidate to keep for each of `number` scenes, of (repeats * number,), if any."""
    repeats = obeys.view(-1, number)
    first = repeats.int().argmax(0) * number + torch.arange(number, device=obeys.device)
    return first, repeats.any(0)


def _resize_tables(pixels: int, sides: tuple[int, int]) -> Tensor:
    """Resize weights for each side, with shape (sides, largest + 2, pixels).

    Row 1 + i holds the weights of resized pixel i; row 0 and the rows past the side are zero.
    """
    smallest, largest = sides
    tables = torch.zeros(largest - smallest + 1, largest + 2, pixels)
    for table, side in zip(tables, range(smallest, largest + 1), strict=True):
        table[1 : side + 1] = _resize_weights(pixels, side)
    return tables


def _resize_weights(pixels: int, side: int) -> Tensor:
    """Weights (side, pixels) of the antialiased bilinear filter from `pixels` to `side` pixels."""
    step = pixels / side
    centre = (torch.arange(side) + 0.5) * step
    distance = (torch.arange(pixels) + 0.5 - centre[:, None]).abs()
    # A triangle as wide as the step when shrinking, so that no pixel is skipped.
    weights = (1 - distance / max(1.0, step)).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)


def _shifted(tables: Tensor, table: Tensor, shift: Tensor, axis: int) -> Tensor:
    """Placement matrices (T, axis, pixels): each sprite's table, moved by its shift."""
    _, rows, pixels = tables.shape
    row = torch.arange(1, axis + 1, device=tables.device) - shift[:, None]  # (T, axis)
    index = row.clamp_(0, rows - 1) + rows * table[:, None]
    return tables.view(-1, pixels).index_select(0, index.view(-1)).view(-1, axis, pixels)
