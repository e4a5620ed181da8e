"""Where to look next: the two ways in which a step of inference chooses its place.

`Recurrent` is that of AIR: an LSTM reads the whole image and what the last step found, and
remembers what has been explained. `Search` is that of this library's variant of DAIR: it reads what
the canvas leaves of the image, so the canvas is its memory, and the same rule finds the first
object and the ninth. Both return features for the network that infers presence and where, and a
centre to depart from.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from airscene.core import layers
from airscene.models.salience import CELL, Field, Salience, inside
from airscene.models.view import Patch, View

POINTS = 10  # an object spans so many points of the reduced picture that is searched
LEFT_OUT = -1e6  # below any salience, and finite, as all places may be left out
NEAR = 0.3  # standard deviation of the neighbourhood of the best place, in objects
FAR = 6.0  # standard deviations from which a place weighs nothing in float32: exp(-18) at most
LARGE = 1.5  # how many times the places near one there are on canvases that are searched by parts
APART = 0.35  # of the best places of an image, the centres lie so many objects apart
GLANCE = 1.4  # side of the region that is looked at before where is inferred, in objects

State = tuple[Any, ...]


class Recurrent(nn.Module):
    """An LSTM that reads the image and the latents of the last object (paper, section 2.2).

    Args:
        pixels: values C H W of an image.
        latents: dimensions of an object's latents.
        units: of the LSTM.
    """

    def __init__(self, pixels: int, latents: int, units: int):
        super().__init__()
        self.features = units
        self.image_gates = nn.Linear(pixels, 4 * units)
        self.step_gates = nn.Linear(latents + units, 4 * units, bias=False)
        self.initial_state = nn.Parameter(torch.zeros(2, units))

    def start(self, image: Tensor, rank: int = 0) -> State:
        """What the first step remembers; the image is read once a scene, not once a step.

        Args:
            image: shape (B, C, H, W).
            rank: not read, as there is no search.
        """
        hidden, cell = (state.expand(len(image), -1) for state in self.initial_state)
        return self.image_gates(image.flatten(1)), hidden, cell

    def forward(
        self, state: State, latents: Float[Tensor, "batch latents"], view: View
    ) -> tuple[Tensor, Tensor, State]:
        """Features (B, F), the middle of the canvas (B, 2), and what the next step remembers."""
        image_gates, hidden, cell = state
        gates = image_gates + self.step_gates(torch.cat([latents, hidden], -1))
        hidden, cell = _lstm(gates, cell)
        return hidden, torch.zeros_like(latents[:, :2]), (image_gates, hidden, cell)


class Search(nn.Module):
    """Goes to what is most salient in the unexplained part of the image, and glances at it.

    Salience starts as local ink, so that the first windows already touch objects, however small;
    a small convolutional network learns the rest (`airscene.models.salience`). The best place is
    chosen outright, so that the centre does not lie between two objects. It is then refined by
    averaging over its neighbourhood, through which the gradient reaches the salience.

    On canvases that are much larger than an object, the map of salience is kept from step to step
    and renewed where an object was painted, and the average is over places near the best one: all
    others weigh less than can be told in float32.

    Args:
        shape: channels, height and width of the images.
        side: expected side of an object's window in pixels.
        points: along each side of the glance.
        opaque: whether objects hide what is behind them.
        patch: height and width in pixels of what is painted.
    """

    places: Tensor

    def __init__(
        self, shape: tuple[int, int, int], side: float, points: int, opaque: bool, patch: Patch
    ):
        super().__init__()
        channels, *size = shape
        self.side, self.points, self.patch = side, points, patch
        self.features = View.glance_channels(channels, opaque) * points**2
        region = math.ceil(GLANCE * side) + 2  # pixels, for a region between two pixels
        self.glanced = min(region, size[0]), min(region, size[1])
        reduce = min(1, POINTS / side)
        reduced = max(1, round(size[0] * reduce)), max(1, round(size[1] * reduce))
        self.salience = Salience(channels, (size[0], size[1]), reduced, opaque)
        self.register_buffer("places", self._places(size), persistent=False)
        self.near = self._near(size)
        self.local = LARGE * math.prod(self.near) < len(self.places)

    def start(self, image: Tensor, rank: int = 0) -> State:
        """Where to begin; beyond that, the canvas is all the memory that the search needs.

        Args:
            image: shape (B, C, H, W).
            rank: the first step goes to the best place for 0, to the next best for 1, and so on.
        """
        return rank, None

    def forward(self, state: State, latents: Tensor, view: View) -> tuple[Tensor, Tensor, State]:
        """Features (B, F), the centre to depart from (B, 2) in [-1, 1], and the state."""
        centre, field = self.find(view, *state)
        window = torch.cat([centre, torch.full_like(centre[:, :1], GLANCE * self.side)], -1)
        height, width = view.image.shape[-2:]
        glance = view.glance(window, self.points, self.glanced)
        x, y = centre.unbind(-1)
        shift = torch.stack([2 * x / width - 1, 2 * y / height - 1], -1)
        return glance.flatten(1), shift, (0, field)

    def find(
        self, view: View, rank: int = 0, field: Field | None = None
    ) -> tuple[Float[Tensor, "batch 2"], Field | None]:
        """The most salient place (x, y) of each image in pixels, shape (B, 2).

        Args:
            view: what is left to explain.
            rank: how many better places to leave out, with what is around each of them.
            field: what the last step knew.

        Returns:
            The places, and what is known, on large canvases.
        """
        if not self.local:
            left = self._left(self.salience.of(view.visible), rank).flatten(1)
            return self._average(left, self.places, self.places[left.argmax(-1)]), None
        if field is None or view.changed is None:
            field = self.salience.field(view.visible)
        else:
            field = self.salience.renewed(field, view.visible, view.changed, self.patch)
        left = self._left(field.salience, rank)
        best = left.flatten(1).argmax(-1)
        columns = self.salience.cells[1]
        middle = torch.stack([best // columns, best % columns], 1)
        corner = inside(middle - middle.new_tensor(self.near) // 2, self.near, self.salience.cells)
        near = self.salience.around(field, corner, self.near)
        near = near.masked_fill(layers.cut(left, corner, self.near) == LEFT_OUT, LEFT_OUT)
        places = self.places[layers.indices(corner, self.near, columns)]
        return self._average(near.flatten(1), places, self.places[best]), field

    def _left(self, salience: Tensor, rank: int) -> Tensor:
        """Salience without so many of the best places, and without what is around each of them."""
        for _ in range(rank):
            best = self.places[salience.flatten(1).argmax(-1)]
            around = torch.cdist(best, self.places) < APART * self.side
            salience = salience.masked_fill(around.view_as(salience), LEFT_OUT)
        return salience

    def _average(self, salience: Tensor, places: Tensor, best: Tensor) -> Float[Tensor, "batch 2"]:
        """The mean of places (K, 2) or (B, K, 2) near the best one (B, 2), by salience (B, K)."""
        distance = (places - best.unsqueeze(1)) / (NEAR * self.side)
        weight = (salience - distance.square().sum(-1) / 2).softmax(-1).unsqueeze(-1)
        return (weight * places).sum(1)  # no matrix product, which bf16 would make coarse

    def _places(self, size: list[int]) -> Float[Tensor, "places 2"]:
        """The centres (x, y) in pixels of what is compared."""
        y, x = (
            (torch.arange(0, points, CELL) + 0.5) * pixels / points
            for points, pixels in zip(self.salience.reduced, size, strict=True)
        )
        return torch.cartesian_prod(y, x).flip(-1)

    def _near(self, size: list[int]) -> tuple[int, int]:
        """How many rows and columns of cells there are around a place, within `FAR`."""
        rows, columns = (
            min(cells, 1 + 2 * math.ceil(FAR * NEAR * self.side * points / pixels / CELL))
            for cells, points, pixels in zip(
                self.salience.cells, self.salience.reduced, size, strict=True
            )
        )
        return rows, columns


def _lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """New hidden state and cell from the pre-activations of the four gates."""
    enter, keep, new, out = gates.chunk(4, -1)
    cell = (keep + 1).sigmoid() * cell + enter.sigmoid() * new.tanh()  # + 1: remember at first
    return out.sigmoid() * cell.tanh(), cell
