"""Objects that were found at places of pictures, whatever the pictures' sizes are."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Normal

from airscene.networks import normal


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

    def __len__(self) -> int:
        return len(self.row)

    def moved(self, pixels: int) -> "Objects":
        """The same, with both coordinates of windows and corners moved by so many pixels."""
        window = self.window + self.window.new_tensor([pixels, pixels, 0])
        return replace(self, window=window, corner=self.corner + pixels)


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
