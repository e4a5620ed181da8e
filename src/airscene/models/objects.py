"""Objects that were found at places of pictures, whatever the pictures' sizes are."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.spatial import KDTree
from torch import Tensor
from torch.distributions import Normal

from airscene.core import layers
from airscene.core.networks import normal


@dataclass(frozen=True)
class Objects:
    """What was inferred at T places of some pictures, with one sample of the latents.

    Attributes:
        row: the picture of each place, shape (T,).
        logit: log-odds that there is an object, shape (T,).
        q_where: posterior over (log side, x, y), the last two from the place in sides, (T, 3).
        q_what: posterior over the appearance code, shape (T, D).
        where: the sample of where, shape (T, 3).
        what: the sample of what, shape (T, D).
        window: centre and side (cx, cy, side) in pixels of the sheet, shape (T, 3).
        paint: what each paints, zero outside of the picture, shape (T, 1, P, P).
        corner: of the patch (y, x) in the sheet, shape (T, 2).
    """

    row: Int[Tensor, "places"]
    logit: Float[Tensor, "places"]
    q_where: Normal
    q_what: Normal
    where: Float[Tensor, "places 3"]
    what: Float[Tensor, "places what"]
    window: Float[Tensor, "places 3"]
    paint: Float[Tensor, "places 1 size size"]
    corner: Int[Tensor, "places 2"]

    @staticmethod
    def join(parts: "list[Objects]") -> "Objects":
        """Those of several parts, one after the other."""
        return _combined(torch.cat, *parts)

    def __getitem__(self, index: Tensor) -> "Objects":
        """Some of them."""
        return _combined(lambda values: values[0][index], self)

    def put(self, index: Tensor, others: "Objects") -> "Objects":
        """The same, with others in the place of some of them."""
        return _combined(lambda values: values[0].index_copy(0, index, values[1]), self, others)

    def __len__(self) -> int:
        return len(self.row)

    @property
    def middle(self) -> Float[np.ndarray, "places 2"]:
        """The middle (x, y) of each window in pixels, shape (T, 2)."""
        return self.window[:, :2].cpu().numpy().astype(float)

    def moved(self, by: int | Int[Tensor, "places 2"]) -> "Objects":
        """The same, with windows and corners moved by so many pixels.

        Args:
            by: in both directions, for all, or (y, x) of each, shape (T, 2).
        """
        corner = self.corner + by
        return replace(self, window=layers.within(self.window, self.corner - corner), corner=corner)


def turns(middle: Float[np.ndarray, "places 2"], near: float) -> list[Int[np.ndarray, "some"]]:
    """Parts of some places, in none of which two places are near each other.

    Places without any neighbour are in no part. Each place takes the first part in which it has no
    neighbour, in the order of the places.

    Args:
        middle: (x, y) of each place, shape (T, 2).
        near: distance up to which two places are neighbours.

    Returns:
        The numbers of the places in each part.

    >>> [part.tolist() for part in turns(np.array([[0.0, 0], [1, 0], [2, 0], [9, 9]]), 1.5)]
    [[0, 2], [1]]
    """
    neighbours: dict[int, list[int]] = {}
    for one, other in KDTree(middle).query_pairs(near, output_type="ndarray").tolist():
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    turn: dict[int, int] = {}
    for k in sorted(neighbours):
        taken = {turn.get(other) for other in neighbours[k]}
        turn[k] = next(n for n in itertools.count() if n not in taken)
    own = np.array([turn[k] for k in sorted(turn)], int)
    known = np.array(sorted(turn), int)
    return [known[own == n] for n in range(max(turn.values(), default=-1) + 1)]


def _combined(change: Callable[[list[Tensor]], Tensor], *parts: Objects) -> Objects:
    """Objects each of whose tensors is made of the same tensor of some others."""

    def made(name: str) -> Tensor:
        return change([getattr(part, name) for part in parts])

    def made_normal(name: str) -> Normal:
        given = [getattr(part, name) for part in parts]
        return normal(change([q.loc for q in given]), change([q.scale for q in given]))

    return Objects(
        row=made("row"),
        logit=made("logit"),
        q_where=made_normal("q_where"),
        q_what=made_normal("q_what"),
        where=made("where"),
        what=made("what"),
        window=made("window"),
        paint=made("paint"),
        corner=made("corner"),
    )
