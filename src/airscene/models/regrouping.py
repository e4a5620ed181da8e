"""Neighbouring objects, explained in other ways: one as two, or two or three as fewer.

Passes decide place by place. Two things that touch may so be found as one whose window covers both,
and a thing may be found twice. Here, objects with neighbours, and objects that leave much of the
picture, are explained anew from other places, all else held fixed:

- one object as two, on both sides of its middle, in some directions;
- two objects as one, halfway between them or where one of them is;
- an object and its two nearest neighbours as these neighbours alone.

What is inferred at the places settles in turns. A way is taken if it raises the log density of
the picture and of all latents, with the posterior's cost of each,

    -‖x - Σ p_k‖² / 2σ² + Σ (log λ - KL_k),

of ways whose objects lie near each other the one that raises it most. This goes on where something
has changed, until nothing does.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree
from torch import Tensor

from airscene.core import layers
from airscene.models.objects import Objects
from airscene.models.places import Sheet
from airscene.models.poisson import PoissonScore

DIRECTIONS = 4  # in which an object is explained as two
OFFSET = 0.35  # of each of the two from the middle, in the window's side
WORTH = 20.0  # nats that an object must leave in its paint to be explained as two
LOOSE = 80.0  # log odds, in nats, up to which an object is one that neighbours may explain
TOUCH, NEAR = 0.7, 0.8  # how far off a neighbour is, at most, in sides of both, and expected sides
FAR = 3.0  # expected sides between ways that are taken at once
PAINTED = 0.02  # intensity from which an object paints a pixel
SWEEPS = 2  # turns in which two objects settle
ROUNDS = 6  # at most
AT_ONCE = 512  # ways that are tried at a time
MOST = 3  # objects that a way explains anew
NONE = -1  # in place of the number of an object


@dataclass(frozen=True)
class Ways:
    """Other ways to explain objects, W of them.

    Attributes:
        gone: the objects that are explained anew, the first one being the way's own; `NONE` after
            the last, shape (W, 3).
        middle: of the places (x, y) in the sheet from which it is done, shape (W, 2, 2).
        some: whether there is such a place, shape (W, 2).
    """

    gone: Int[np.ndarray, "ways 3"]
    middle: Float[np.ndarray, "ways 2 2"]
    some: Bool[np.ndarray, "ways 2"]

    def __len__(self) -> int:
        return len(self.gone)

    def __getitem__(self, index: np.ndarray | slice) -> "Ways":
        return Ways(self.gone[index], self.middle[index], self.some[index])


@dataclass(frozen=True)
class Regrouping:
    """Explains neighbouring objects in other ways.

    Attributes:
        look: what is at places (row, pixel) of a sheet.
        score: of what is inferred.
        side: expected side of a window, in pixels.
    """

    look: Callable[[Sheet, Tensor, Tensor], Objects]
    score: PoissonScore
    side: float

    def __call__(self, sheet: Sheet, found: Objects) -> tuple[Sheet, Objects, np.ndarray]:
        """Takes the best ways until none is better.

        Args:
            sheet: a single picture, and what the objects leave of it.
            found: the objects.

        Returns:
            The sheet and the objects afterwards, and which of these have anything to do with what
            was changed, shape (T,).
        """
        changed = np.zeros(len(found), bool)
        fresh = ~changed
        for _ in range(ROUNDS):
            ways = self._ways(sheet, found, fresh)
            middle = found.middle[ways.gone[:, 0]]
            ways = ways[_best(self._gains(sheet, found, ways), middle, FAR * self.side)]
            if not len(ways):
                break
            sheet, found, kept = self._taken(sheet, found, ways)
            at = KDTree(_places(ways)).query(found.middle)[0]
            fresh = at < 2 * self.side
            changed = np.append(changed[kept], np.ones(len(found) - kept.sum(), bool)) | fresh
        return sheet, found, changed

    def _taken(
        self, sheet: Sheet, found: Objects, ways: Ways
    ) -> tuple[Sheet, Objects, Bool[np.ndarray, "places"]]:
        """The sheet and the objects after some ways, the new ones last, and which of them stay."""
        kept = np.ones(len(found), bool)
        kept[ways.gone[ways.gone != NONE]] = False
        old = found[torch.from_numpy(np.flatnonzero(~kept)).to(found.row.device)]
        new = Objects.join([self._settled(sheet, found, part)[1] for part in _parts(ways)])
        sheet = sheet.less(old.row, old.corner, -old.paint).less(new.row, new.corner, new.paint)
        stay = torch.from_numpy(np.flatnonzero(kept)).to(found.row.device)
        return sheet, Objects.join([found[stay], new]), kept

    def _ways(self, sheet: Sheet, found: Objects, fresh: np.ndarray) -> Ways:
        """The ways that are worth a try, of the objects that are fresh."""
        middle, wide = found.middle, found.window[:, 2].cpu().numpy().astype(float)
        nearest = _nearest(middle, wide, self.side)
        rows, numbers = [], np.flatnonzero(fresh)
        for k, left, odds in zip(numbers, *self._nats(sheet, found, numbers), strict=True):
            if left > WORTH:
                rows += [((k,), pair) for pair in _both_sides(middle[k], OFFSET * wide[k])]
            others = nearest[k][nearest[k] != NONE]
            if len(others) and odds < LOOSE:
                one = middle[others[0]]
                rows += [((k, others[0]), (place,)) for place in ((middle[k] + one) / 2, one)]
            if len(others) == 2 and odds < LOOSE:
                rows.append(((k, *others), middle[others]))
        return _as_ways(rows)

    def _nats(
        self, sheet: Sheet, found: Objects, numbers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What some objects leave of the picture where they paint, and their log odds, in nats."""
        left, odds = [np.zeros(0)], [np.zeros(0)]
        for at in torch.from_numpy(numbers).to(found.row.device).split(AT_ONCE):
            part = found[at]
            rest = layers.under(sheet.left[:, 0], part.row, part.corner, layers.size_of(part.paint))
            paint = part.paint[:, 0]
            energy = (rest.square() * (paint > PAINTED)).flatten(1).sum(1)
            left.append((energy / (2 * self.score.sigma.square())).cpu().numpy())
            odds.append(self.score.odds(part, rest + paint).cpu().numpy())
        return np.concatenate(left), np.concatenate(odds)

    def _gains(self, sheet: Sheet, found: Objects, ways: Ways) -> np.ndarray:
        """By how many nats each way is better than what is there, shape (W,)."""
        gains = [self._settled(sheet, found, part)[0].cpu().numpy() for part in _parts(ways)]
        return np.concatenate([np.zeros(0), *gains])

    def _settled(self, sheet: Sheet, found: Objects, ways: Ways) -> tuple[Tensor, Objects]:
        """The gain of each way in nats, shape (W,), and the objects of all.

        Each way is tried on a piece of the picture of its own.
        """
        device = found.row.device
        own = torch.arange(len(ways), device=device)
        gone, middle = (torch.from_numpy(v).to(device) for v in (ways.gone, ways.middle))
        some = torch.from_numpy(ways.some[:, 1]).to(device)
        hub = found[gone[:, 0]]
        local, corner = self._pieces(sheet, hub)
        before = _energy(local)
        gain = torch.zeros_like(before)
        for numbers in gone.T:
            at, numbers = own[numbers != NONE], numbers[numbers != NONE]
            old = found[numbers]
            local = local.less(at, old.corner - corner[at], -old.paint)
            gain[at] -= self.score.log_odds - self.score.cost(old)
        pixel = (middle - corner.flip(-1)[:, None] - 0.5).round().long().flip(-1)
        new = self._in_turns(local, pixel, own[some])
        for one in new:
            gain.index_add_(0, one.row, self.score.log_odds - self.score.cost(one))
            local = local.less(one.row, one.corner, one.paint)
        gain = gain + (before - _energy(local)) / (2 * self.score.sigma.square())
        new = [replace(one.moved(corner[one.row]), row=hub.row[one.row]) for one in new]
        return gain, Objects.join(new)

    def _in_turns(self, local: Sheet, pixel: Tensor, pairs: Tensor) -> tuple[Objects, Objects]:
        """What is at the first place of each way, and at the second of those that have one.

        Args:
            local: a sheet for each way.
            pixel: the places (y, x), shape (W, 2, 2).
            pairs: the ways that have two places.
        """
        every = torch.arange(len(pixel), device=pixel.device)
        first = self.look(local, every, pixel[:, 0])
        second = first[pairs]
        for turn in range(1, 2 * SWEEPS):
            other = second if turn % 2 == 0 else first[pairs]
            rest = local.less(pairs, other.corner, other.paint)
            new = self.look(rest, pairs, pixel[pairs, turn % 2])
            first, second = (first, new) if turn % 2 else (first.put(pairs, new), second)
        return first, second

    def _pieces(self, sheet: Sheet, hub: Objects) -> tuple[Sheet, Tensor]:
        """The surroundings of objects as sheets of their own, and the corner of each, (W, 2)."""
        patch, whole = layers.size_of(hub.paint), layers.size_of(sheet.image)
        room = 2 * math.ceil(NEAR * self.side) + 2
        size = min(patch[0] + room, whole[0]), min(patch[1] + room, whole[1])
        corner = layers.corner_of(hub.window, size, whole)
        image, left, inside = (
            layers.under(part[:, 0], hub.row, corner, size).unsqueeze(1)
            for part in (sheet.image, sheet.left, sheet.inside)
        )
        return Sheet(image, inside, left, ~inside, 0), corner


def _places(ways: Ways) -> Float[np.ndarray, "ways 2"]:
    """The middle (x, y) of the places of each way."""
    weight = ways.some[..., None]
    return (ways.middle * weight).sum(1) / weight.sum(1)


def _energy(sheet: Sheet) -> Float[Tensor, "rows"]:
    """The squared intensities that are left."""
    return sheet.left.square().flatten(1).sum(1)


def _nearest(middle: np.ndarray, wide: np.ndarray, side: float) -> Int[np.ndarray, "places 2"]:
    """The two nearest neighbours of each object, `NONE` where they are too far off."""
    if not len(middle):
        return np.zeros((0, 2), int)
    distance, near = (np.asarray(found)[:, 1:] for found in KDTree(middle).query(middle, MOST))
    wide = np.append(wide, 0.0)  # the tree tells of one beyond the last if there are few others
    close = distance < np.minimum(NEAR * side, TOUCH * (wide[:-1, None] + wide[near]) / 2)
    return np.where(close, near, NONE)


def _both_sides(middle: np.ndarray, offset: float) -> Iterator[np.ndarray]:
    """Pairs of places on both sides of a middle, in some directions, each of shape (2, 2)."""
    for angle in np.pi * np.arange(DIRECTIONS) / DIRECTIONS:
        step = offset * np.array([np.cos(angle), np.sin(angle)])
        yield np.stack([middle + step, middle - step])


def _as_ways(rows: list) -> Ways:
    """Ways out of the objects that are gone, and the places that take their part."""
    gone = np.full((len(rows), MOST), NONE)
    middle, some = np.zeros((len(rows), 2, 2)), np.zeros((len(rows), 2), bool)
    for k, (numbers, places) in enumerate(rows):
        gone[k, : len(numbers)], some[k, : len(places)] = numbers, True
        middle[k, : len(places)] = places
    return Ways(gone, middle, some)


def _parts(ways: Ways) -> Iterator[Ways]:
    """So many ways at a time."""
    return (ways[start : start + AT_ONCE] for start in range(0, len(ways), AT_ONCE))


def _best(gain: np.ndarray, middle: np.ndarray, far: float) -> Int[np.ndarray, "some"]:
    """The ways that gain anything, the best first, none near a better one.

    >>> _best(np.array([1.0, 3.0, -1.0, 2.0]), np.array([[0.0, 0], [1, 0], [9, 9], [5, 5]]), 2.0)
    array([1, 3])
    """
    free, chosen, tree = gain > 0, [], KDTree(middle) if len(middle) else None
    for k in np.argsort(-gain, kind="stable"):
        if tree is not None and free[k]:
            chosen.append(k)
            free[tree.query_ball_point(middle[k], far)] = False
    return np.array(chosen, int)
