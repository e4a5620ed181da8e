"""What composed scenes look like."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Annotated, Literal

from airscene.data.backdrops import BACKDROPS
from airscene.data.sources import SOURCES
from airscene.errors import UserError
from airscene.ranges import check_ranges, flag_of, within

TAIL = 4.0  # scales are cut off at so many standard deviations, so that sizes are bounded
MINIMUM_SIDE = 4  # in pixels; smaller sprites are blots


@dataclass(frozen=True)
class SceneConfig:
    """What scenes look like.

    Raises:
        UserError: a value is out of its range, or the sprites cannot fit the canvas.
    """

    source: str = "digits"
    """Sprites, by name: digits (needs no download), mnist, shapes, dsprites; see docs/scenes.md."""
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
    backdrop: str = "plain"
    """What lies behind or over the objects, by name: plain, noisy, grid, levels, photos."""
    channels: Literal[1, 3] = 1
    """Channels of a scene: 1 for grey, 3 for colour."""
    colour: Literal["white", "class", "levels", "contrast"] = "white"
    """Objects are white, of their class's colour, of five levels a channel, or of any contrast."""
    contrast: Annotated[float, *within(0, 0.5)] = 0.4
    """Least distance, in each channel, of an object from the mean of the backdrop under it."""
    compose: Literal["sum", "over"] = "sum"
    """Add up the ink of objects, or paint one object over another, where ink is opacity."""
    visible: Annotated[float, *within(0, 1)] = 0.0
    """Least share of an object's pixels that no later object hides."""
    train_size: Annotated[int, *within(1, 10_000_000)] = 60_000
    """Number of training scenes."""
    test_size: Annotated[int, *within(1, 10_000_000)] = 10_000
    """Number of test scenes."""

    def __post_init__(self) -> None:
        check_ranges(self, "--scenes.")
        self._check_choices()
        self._check_counts()
        self._check_colours()
        self._check_sizes()

    @property
    def sides(self) -> tuple[int, int]:
        """The smallest and the largest side of a sprite, in pixels."""
        spread = TAIL * self.scale_std
        scales = self.scale_mean + spread, self.scale_mean - spread
        return int(self.size / scales[0]), int(self.size / scales[1])

    def _check_choices(self) -> None:
        tables = {"source": tuple(SOURCES), "backdrop": tuple(BACKDROPS)}
        for field, choices in {**tables, **_LITERALS}.items():
            value, allowed = getattr(self, field), ", ".join(map(str, choices))
            # 1.0 and True equal 1, but neither is a number of channels.
            known = value in choices and type(value) is type(choices[0])
            self._require(field, known, f"choose one of {allowed}")

    def _check_counts(self) -> None:
        counts, shares = self.counts, self.shares
        distinct = bool(counts) and len(set(counts)) == len(counts)
        self._require("counts", distinct, "name distinct numbers from 0 on")
        matched = len(shares) in (0, len(counts))
        self._require("shares", matched, f"name one share for each of the {len(counts)} counts")
        self._require("shares", not shares or sum(shares) > 0, "name a share above 0")

    def _check_colours(self) -> None:
        grey = self.colour == "class" and self.channels == 1
        self._require("colour", not grey, "classes differ in colour; give --scenes.channels 3")
        added = self.colour in ("levels", "contrast") and self.compose == "sum"
        dark = "ink that is added up cannot be dark; give --scenes.compose over"
        self._require("colour", not added, dark)

    def _check_sizes(self) -> None:
        least = TAIL * self.scale_std
        above = f"take more than {TAIL:g} times --scenes.scale-std, {least:g}"
        self._require("scale_mean", least < self.scale_mean, above)
        smallest, largest = self.sides
        small = f"sprites shrink to {smallest} px, below {MINIMUM_SIDE}; enlarge it"
        self._require("size", smallest >= MINIMUM_SIDE, small)
        limit = BACKDROPS[self.backdrop].largest or self.canvas
        fits = self.canvas[0] <= limit[0] and self.canvas[1] <= limit[1]
        crops = f"crops of --scenes.backdrop {self.backdrop} have at most {limit[0]}x{limit[1]} px"
        self._require("canvas", fits, crops)
        large = f"sprites reach {largest} px; enlarge it or lower --scenes.size"
        self._require("canvas", largest <= min(self.canvas), large)

    def _require(self, field: str, holds: bool, fix: str) -> None:
        if not holds:
            raise UserError(f"{flag_of('--scenes.', field)} is {getattr(self, field)}: {fix}")


_LITERALS = {
    name: typing.get_args(hint)
    for name, hint in typing.get_type_hints(SceneConfig).items()
    if typing.get_origin(hint) is Literal
}
"""The fields of `SceneConfig` that take one of a few values, with these values."""
