"""Scenes composed of sprites at random sizes and places, with their truth."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from airscene.core.spatial import ink_boxes
from airscene.data.backdrops import BACKDROPS
from airscene.data.colours import COLOURINGS, Uncoloured
from airscene.data.mnist import Split
from airscene.data.placed import Placed
from airscene.data.scene_config import TAIL, SceneConfig
from airscene.data.scenes import Scenes
from airscene.data.sources import Sprites, load_sprites
from airscene.errors import UserError

ROUNDS = 100  # of drawing the rejected scenes of a chunk anew before giving up
FEW = 64  # draw at least so many candidates a round: a long tail of small rounds is slow
ROUND_PIXELS = 1 << 26  # of the candidates of a round, which is less on the largest canvases
PIXELS = 1 << 21  # of placed sprites held at once, 8 MiB as floats: larger is slower


class Drawn(NamedTuple):
    """M scenes while they are composed; masks that nobody asked for have no pixels."""

    images: Tensor
    boxes: Tensor
    labels: Tensor
    masks: Tensor


class Composes(Protocol):
    """What makes scenes: `Composer`, or `data.rendered.RenderedScenes`."""

    def to(self, device: torch.device | str) -> Composes:
        """The same for another device."""
        ...

    def compose(self, number: int, generator: torch.Generator, masks: bool = False) -> Scenes:
        """So many scenes, the same for the same state of the generator."""
        ...


class Composer:
    """Composes scenes of sprites, on the device that holds the sprites.

    A sprite is resized to a square with the antialiased bilinear filter (that of Pillow's
    `BILINEAR`), placed uniformly where it fits, rounded to integers and summed into its scene, or
    painted over those before it. A scene that breaks the overlap rule, or hides more of an object
    than it may, is drawn anew with the same count, so the shares of the counts hold exactly as
    asked. An object without ink is drawn anew under every rule.

    Attributes:
        sprites: the objects to draw from.
        config: what the scenes look like.
        split: `train` or `test`, which decides what a backdrop is made of.
    """

    def __init__(self, sprites: Sprites, config: SceneConfig, split: Split = "train"):
        self.sprites = sprites
        self.config = config
        self.split: Split = split
        self._backdrop = BACKDROPS[config.backdrop](
            config.channels, config.canvas, config.background, split
        )
        _, height, width = sprites.images.shape
        self._rows = _resize_tables(height, config.sides).to(sprites.images.device)
        self._columns = _resize_tables(width, config.sides).to(sprites.images.device)

    def to(self, device: torch.device | str) -> Composer:
        """The same composer on another device."""
        return Composer(self.sprites.to(device), self.config, self.split)

    def compose(self, number: int, generator: torch.Generator, masks: bool = False) -> Scenes:
        """Composes scenes, the same for the same state of the generator.

        The redrawing asks after each round what is left to draw, so it waits for the device: about
        two times for a batch of training scenes.

        Args:
            number: how many scenes M, at least 1.
            generator: the source of randomness, on the composer's device.
            masks: whether to tell which object is where, which takes some time.

        Returns:
            Scenes with bytes as images (M, C, H, W) and with K = max(counts) boxes and labels. A
            box is the extent of the pixels of the placed object above `spatial.INK`, whether or not
            other objects hide them. Masks tell for each pixel which of the objects with so much ink
            there is the foremost, or has most ink where ink is summed.

        Raises:
            UserError: the objects do not fit the canvas without overlap.
        """
        count = self._counts(number, generator)
        chunk = max(1, PIXELS // self._placed_pixels)
        parts = [self._fill(part, generator, masks) for part in count.split(chunk)]
        images, boxes, labels, found = (torch.cat(part) for part in zip(*parts, strict=True))
        return Scenes(images, count, boxes, labels, found if masks else None)

    def _counts(self, number: int, generator: torch.Generator) -> Tensor:
        counts = torch.tensor(self.config.counts, device=self._device)
        shares = self.config.shares or (1.0,) * len(counts)
        odds = torch.tensor(shares, device=self._device)
        return counts[torch.multinomial(odds, number, replacement=True, generator=generator)]

    def _fill(self, count: Tensor, generator: torch.Generator, masks: bool) -> Drawn:
        """Draws scenes with these counts (M,) until each obeys the rules."""
        pending = torch.arange(len(count), device=self._device)
        filled = self._blank(len(count), masks)
        few = min(FEW, ROUND_PIXELS // self._placed_pixels)
        for _ in range(ROUNDS):
            tries = pending.repeat(max(1, few // len(pending)))
            drawn, obeys = self._draw(count[tries], generator, masks)
            first, found = _first_of_each(obeys, len(pending))
            for whole, part in zip(filled, drawn, strict=True):
                whole[pending[found]] = part[first[found]]
            pending = pending[~found]
            if not len(pending):
                return filled._replace(images=self._backdrop.finish(filled.images, generator))
        raise UserError(self._cannot_fit(int(count[pending].max())))

    def _blank(self, number: int, masks: bool) -> Drawn:
        most, canvas, device = max(self.config.counts), self.config.canvas, self._device
        size = (number, self.config.channels, *canvas)
        return Drawn(
            torch.zeros(size, dtype=torch.uint8, device=device),
            torch.zeros(number, most, 4, device=device),
            torch.full((number, most), -1, device=device),
            torch.zeros(number, *(canvas if masks else (0, 0)), dtype=torch.uint8, device=device),
        )

    def _draw(self, count: Tensor, generator: torch.Generator, masks: bool) -> tuple[Drawn, Tensor]:
        """Draws each scene once; returns the scenes and which of them obey the rules."""
        scene, slot = _slots(count)
        objects, labels = self._objects(count, scene, slot, generator)
        placed = Placed(objects, scene, slot, len(count))
        drawn = self._blank(len(count), masks)
        drawn.boxes[scene, slot] = ink_boxes(objects / 255)
        drawn.labels[scene, slot] = labels
        ink = placed.total()
        obeys = self._obeys(ink, drawn.boxes) & ((drawn.boxes[..., 2] > 0).sum(1) == count)
        if self.config.visible:
            obeys &= self._all_seen(placed)
        drawn = drawn._replace(images=self._painted(placed, ink, labels, generator))
        return drawn._replace(masks=self._masks(placed)) if masks else drawn, obeys

    def _objects(
        self, count: Tensor, scene: Tensor, slot: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The objects of scenes with these counts (M,), each on its canvas, and their classes.

        Args:
            count: of each scene.
            scene: of each object, (T,).
            slot: the rank of each object in its scene, (T,).
            generator: the source of randomness.

        Returns:
            Whole intensities (T, H, W), and classes (T,).
        """
        chosen = self._randint(len(self.sprites), len(scene), generator)
        rows, columns = self._places(len(scene), generator)
        ink = self.sprites.images.index_select(0, chosen).float()
        return _put(ink, rows, columns), self.sprites.labels[chosen]

    def _painted(
        self, placed: Placed, ink: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Tensor:
        """The scenes as bytes (M, C, H, W); `ink` (M, 1, H, W), their summed ink, is used up."""
        behind = self._backdrop.behind(placed.scenes, generator)
        colours = self._colours(placed, labels, behind, generator)
        if self.config.compose == "over":
            canvas = placed.over(self._on_canvas(behind, placed.scenes), colours).mul_(255)
        else:
            summed = ink if colours is None else placed.total(colours)
            summed = summed.clamp_(max=255).expand(-1, self.config.channels, -1, -1).contiguous()
            canvas = summed.mul_(1 - behind).add_(255 * behind)
        return canvas.round_().to(torch.uint8)

    def _colours(
        self, placed: Placed, labels: Tensor, behind: Tensor | float, generator: torch.Generator
    ) -> Tensor | None:
        """The colours of the objects, (T, C); None if they are white."""
        if self.config.colour == "white":
            return None
        weight = placed.ink / placed.ink.sum((1, 2), keepdim=True).clamp(min=1)
        under = self._on_canvas(behind, placed.scenes)[placed.scene]  # (T, C, H, W)
        objects = Uncoloured(labels, (under * weight[:, None]).sum((2, 3)), self.config.contrast)
        return COLOURINGS[self.config.colour](objects, generator)

    def _on_canvas(self, behind: Tensor | float, scenes: int) -> Tensor:
        """A backdrop's intensities as (M, C, H, W)."""
        size = (scenes, self.config.channels, *self.config.canvas)
        return torch.as_tensor(behind, device=self._device).float().expand(size)

    def _masks(self, placed: Placed) -> Tensor:
        return placed.foremost() if self.config.compose == "over" else placed.strongest()

    def _all_seen(self, placed: Placed) -> Tensor:
        """Which scenes (M,) hide no more of any object than they may."""
        hidden = placed.seen(placed.foremost()) < self.config.visible
        seen = torch.ones(placed.scenes, dtype=torch.bool, device=self._device)
        seen[placed.scene[hidden]] = False
        return seen

    def _places(self, number: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Sides and places of so many sprites, as matrices (T, H, h) and (T, W, w) for `_put`."""
        height, width = self.config.canvas
        side = self._sides(number, generator)
        top, left = (self._shift(axis - side + 1, generator) for axis in (height, width))
        table = side - self.config.sides[0]
        return _shifted(self._rows, table, top, height), _shifted(self._columns, table, left, width)

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
                return canvas.amax((1, 2, 3)) <= 255
            case "boxes":
                return ~_any_overlap(boxes)
            case "any":
                return torch.ones(len(canvas), dtype=torch.bool, device=self._device)

    def _cannot_fit(self, count: int) -> str:
        height, width = self.config.canvas
        side = int(self.config.size / self.config.scale_mean)
        apart, fix = "without overlap", "give --scenes.overlap any"
        if self.config.overlap == "any":
            apart, fix = "so that each can be seen", "lower --scenes.visible"
        return (
            f"{count} objects of {side} px do not fit a {height}x{width} canvas {apart};"
            f" enlarge --scenes.canvas, lower --scenes.counts or {fix}"
        )

    @property
    def _placed_pixels(self) -> int:
        """Pixels of the placed sprites of the fullest scene."""
        return math.prod(self.config.canvas) * max(1, *self.config.counts)

    @property
    def _device(self) -> torch.device:
        return self.sprites.images.device


class Strokes(Composer):
    """Composes scenes of one picture each, whose objects are the strokes that it is drawn in.

    The counts of the configuration are numbers of strokes.

    Raises:
        UserError: no picture has one of these numbers of strokes.
    """

    def __init__(self, sprites: Sprites, config: SceneConfig, split: Split = "train"):
        super().__init__(sprites, config, split)
        assert sprites.strokes is not None
        number = sprites.strokes.flatten(1).amax(1)
        self._having = {count: (number == count).nonzero()[:, 0] for count in config.counts}
        for count, pictures in self._having.items():
            if not len(pictures):
                raise UserError(
                    f"--scenes.counts names {count}, but no picture of --scenes.source "
                    f"{config.source} has {count} strokes; leave it out"
                )

    def to(self, device: torch.device | str) -> Composer:
        """See `Composer.to`."""
        return Strokes(self.sprites.to(device), self.config, self.split)

    def _objects(
        self, count: Tensor, scene: Tensor, slot: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """See `Composer._objects`."""
        assert self.sprites.strokes is not None
        uniform = torch.rand(len(count), generator=generator, device=self._device)
        chosen = torch.empty_like(count)
        for number, pictures in self._having.items():
            having = count == number
            chosen[having] = pictures[(uniform[having] * len(pictures)).long()]
        chosen = chosen[scene]
        rows, columns = (axis[scene] for axis in self._places(len(count), generator))
        own = self.sprites.strokes.index_select(0, chosen) == slot[:, None, None] + 1
        ink = self.sprites.images.index_select(0, chosen) * own
        return _put(ink.float(), rows, columns), self.sprites.labels[chosen]


def load_composer(config: SceneConfig, split: Split, data_dir: Path | None = None) -> Composer:
    """The composer of the training or the test scenes, with its sprites and its backdrop.

    Args:
        config: what the scenes look like.
        split: `train` or `test`.
        data_dir: the folder with the files of MNIST or Omniglot.

    Raises:
        UserError: the sprites cannot be had.
    """
    sprites = load_sprites(config.source, split, data_dir)
    return (Composer if sprites.strokes is None else Strokes)(sprites, config, split)


def compose_split(
    config: SceneConfig,
    split: Split,
    seed: int,
    data_dir: Path | None = None,
    masks: bool = False,
) -> Scenes:
    """Composes the training or the test scenes of a seed.

    The two share no randomness, no part of a photograph and no handwritten digit.

    Args:
        config: what the scenes look like, and how many there are.
        split: `train` or `test`.
        seed: at least 0.
        data_dir: the folder with the files of MNIST or Omniglot.
        masks: whether to tell which object is where; see `Composer.compose`.

    Raises:
        UserError: the sprites cannot be had, or do not fit the canvas.
    """
    return draw_split(load_composer(config, split, data_dir), config, split, seed, masks)


def draw_split(
    composes: Composes, config: SceneConfig, split: Split, seed: int, masks: bool = False
) -> Scenes:
    """The training or the test scenes of a seed, as `composes` draws them; see `compose_split`."""
    # Named by seed and split, as in every version so far, so that figures stay comparable.
    name = np.random.SeedSequence([seed, split == "test"]).generate_state(1)
    generator = torch.Generator().manual_seed(int(name[0]))
    number = config.train_size if split == "train" else config.test_size
    return composes.compose(number, generator, masks)


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


def _put(sprites: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Sprites (T, h, w), resized and shifted onto canvases (T, H, W) of whole intensities."""
    return (rows @ (sprites @ columns.mT)).round_()


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
