"""The posterior over arrangements: the camera, and objects step by step until there are no more.

Each step stops, or chooses a cell of a map in proportion to exp(heat); the cells around what
earlier steps have chosen are all but closed. The number of objects, and which of them comes first,
are so decided by one map. A closer look at the cell then gives kind, position and yaw.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from airscene.core.networks import normal
from airscene.models.arrangement import Arrangement
from airscene.models.pose import PosePosterior
from airscene.models.tabletop_network import STRIDE, Look, TabletopNetwork
from airscene.painters.perspective import ground, log_area, project

NEAR = 0.5  # of the table around a chosen object: cells within are all but closed
CLOSED = 20.0  # nats that a closed cell loses
BLUR = 0.5  # in cells: how far from its cell an object may be held to be


@dataclass(frozen=True)
class TabletopPosterior:
    """q(camera, objects | x) of B pictures, with up to N steps.

    Attributes:
        network: takes the closer looks.
        look: the first look at the pictures.
        steps: N.
    """

    network: TabletopNetwork
    look: Look
    steps: int

    def draw(
        self, sample: bool = True
    ) -> tuple[Arrangement, Int[Tensor, "batch steps"], Float[Tensor, "batch steps kinds"]]:
        """An arrangement of each picture, the cells of its objects, probabilities of their kinds.

        Args:
            sample: draw it, or else take the most probable choice at each step.
        """
        camera = self._draw_camera(sample)
        shape = len(camera), self.steps
        kind, cells = (camera.new_full(shape, value, dtype=torch.long) for value in (-1, 0))
        pose, heat = camera.new_zeros(*shape, 3), self.look.heat
        probs = camera.new_zeros(*shape, self.network.kinds)
        going = torch.ones_like(kind[:, 0], dtype=torch.bool)
        for n in range(self.steps):
            choice = _choose(torch.cat([self.look.stop[:, n : n + 1], heat], -1), sample)
            going = going & (choice > 0)
            row = going.nonzero().squeeze(1)
            cell, seen = choice[row] - 1, camera[row]
            cells[row, n] = cell
            closer = self.network.closer(self.look, row, cell, seen)
            kind[row, n], code = _draw_object(closer) if sample and len(row) else closer.peak
            probs[row, n], pose[row, n] = closer.kinds.exp(), self._pose_of(code, cell, seen)
            heat = heat - CLOSED * self.network.near(pose[:, n : n + 1, :2], camera, NEAR)[:, 0]
        return Arrangement(kind, pose, camera), cells, probs

    def log_prob(
        self, scenes: Arrangement, cells: Int[Tensor, "batch steps"]
    ) -> Float[Tensor, "batch"]:
        """Log-density of arrangements together with the cells that their objects were found in.

        Args:
            scenes: an arrangement of each picture.
            cells: shape (B, N); what is said of steps without an object is not read.
        """
        view = normal(self.look.loc, self.look.std).log_prob(scenes.camera[:, :2]).sum(-1)
        return view + self._log_choices(scenes, cells) + self._log_objects(scenes, cells)

    def cells_of(self, scenes: Arrangement) -> Int[Tensor, "batch steps"]:
        """The cell in which each object of an arrangement is, shape (B, N)."""
        return self.network.cell_of(self._pixel(scenes))

    def log_cells(
        self, scenes: Arrangement, cells: Int[Tensor, "batch steps"]
    ) -> Float[Tensor, "batch"]:
        """Log r(cells | arrangement): which cell an object counts to, a part of the generation.

        An object near a border may have been found from either side. With this density of the
        cells, the bound on log p(x) stays one.
        """
        pixel, present = self._pixel(scenes), scenes.kind >= 0
        apart = (pixel[:, :, None] - self.network.middles(pixel)) / STRIDE  # (B, N, C, 2)
        score = (-apart.square().sum(-1) / (2 * BLUR**2)).log_softmax(-1)
        return (score.gather(-1, cells[..., None])[..., 0] * present).sum(-1)

    def _draw_camera(self, sample: bool) -> Tensor:
        noise = torch.randn_like(self.look.loc) if sample else 0
        angles = self.look.loc + self.look.std * noise
        return F.pad(angles, (0, 1), value=self.network.world.camera.distance)

    def _log_choices(self, scenes: Arrangement, cells: Tensor) -> Tensor:
        """Log-probability of which cells were chosen, and of stopping after them, shape (B,)."""
        present = scenes.kind >= 0
        near = self.network.near(scenes.pose[..., :2], scenes.camera, NEAR) & present[..., None]
        near = near.float()
        closed = near.cumsum(1) - near  # by earlier steps, shape (B, N, C)
        heat = self.look.heat[:, None] - CLOSED * closed
        stop = self.look.stop.expand(heat.shape[:2])  # (B, N)
        every = torch.cat([stop[..., None], heat], -1).logsumexp(-1)
        chosen = heat.gather(-1, cells[..., None])[..., 0]
        going = ((chosen - every) * present).sum(1)
        last = scenes.number[:, None].clamp(max=self.steps - 1)
        stopping = (stop - every).gather(1, last)[:, 0] * (scenes.number < self.steps)
        return going + stopping

    def _log_objects(self, scenes: Arrangement, cells: Tensor) -> Tensor:
        """Log-density of kinds, positions and yaws, given the cells, shape (B,)."""
        row, _ = places = (scenes.kind >= 0).nonzero(as_tuple=True)
        camera, pose, cell = scenes.camera[row], scenes.pose[places], cells[places]
        closer = self.network.closer(self.look, row, cell, camera)
        code = self._code_of(pose, cell, camera)
        each = closer.log_prob(scenes.kind[places][None], code[None])[0]
        area = log_area(pose[:, :2], camera, self.network.world) - 2 * math.log(STRIDE)
        return torch.zeros_like(scenes.camera[:, 0]).index_add(0, row, each + area)

    def _code_of(self, pose: Tensor, cell: Tensor, camera: Tensor) -> Tensor:
        """What the closer look says of an object: its place in the cell, its yaw to the camera."""
        pixel, _ = project(F.pad(pose[:, :2], (0, 1)), camera, self.network.world)
        u = (pixel - self.network.middles(pixel)[cell]) / STRIDE
        return torch.cat([u, pose[:, 2:] - camera[:, :1]], -1)

    def _pose_of(self, code: Tensor, cell: Tensor, camera: Tensor) -> Tensor:
        """The inverse of `_code_of`; yaws lie in [-π, π)."""
        pixel = self.network.middles(code)[cell] + STRIDE * code[:, :2]
        yaw = (code[:, 2:] + camera[:, :1] + math.pi).remainder(2 * math.pi) - math.pi
        return torch.cat([ground(pixel, camera, self.network.world), yaw], -1)

    def _pixel(self, scenes: Arrangement) -> Tensor:
        """Where the objects stand in the pictures, shape (B, N, 2)."""
        camera = scenes.camera[:, None].expand(-1, self.steps, -1)
        return project(F.pad(scenes.pose[..., :2], (0, 1)), camera, self.network.world)[0]


def _draw_object(closer: PosePosterior) -> tuple[Tensor, Tensor]:
    """Kinds (R,) and codes (R, 3) of objects in chosen cells."""
    kind = closer.draw_kind(1)
    noise = torch.randn(*kind.shape, 3, device=kind.device)
    return kind[0], closer.code(kind, closer.draw_part(kind), noise)[0]


def _choose(scores: Tensor, sample: bool) -> Tensor:
    """One of (B, S) by its score: by chance, or the best of those that are likely at all.

    The first score is that of stopping. Without chance, a step stops if that is more probable than
    not, and else takes the best cell.
    """
    if sample:
        return torch.multinomial(scores.softmax(-1), 1)[:, 0]
    best = 1 + scores[:, 1:].argmax(-1)
    return best * (scores[:, 1:].logsumexp(-1) > scores[:, 0])
