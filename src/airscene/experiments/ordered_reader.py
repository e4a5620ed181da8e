"""A recurrent network that is told objects in a fixed order, as in the paper's Figure 7.

It shares both looks of `models.tabletop_network`, but not the map that chooses cells by chance. A
recurrent network attends to the cells, and each step answers one object: its place is the mean over
what is attended to, and a closer look there gives the rest. Labels are in the order of kinds.
Objects of one kind come in any order, so which of them comes first cannot be known.

Source: Eslami et al. 2016, section 3.3.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from airscene.core.networks import MLP, calm, normal
from airscene.models.arrangement import Arrangement
from airscene.models.pose import PosePosterior
from airscene.models.tabletop import TabletopConfig
from airscene.models.tabletop_network import GAIN, MEAN, SQUEEZED, STRIDE, WIDTHS, TabletopNetwork
from airscene.painters.by_name import PAINTERS
from airscene.painters.perspective import ground, project


class OrderedReader(nn.Module):
    """Reads a picture object by object.

    Args:
        config: that of the table-top.

    Attributes:
        world: what all scenes have in common.
        painter: draws them.
        narrow: whether a place is answered as a mode and not as a mean: the mean of the attention
            within the cell that has most of it and its neighbours.
    """

    def __init__(self, config: TabletopConfig):
        super().__init__()
        self.narrow = False
        self.config, self.world = config, config.world
        self.painter = PAINTERS[config.painter](self.world)
        self.network = TabletopNetwork(self.world, config.hidden)
        hidden, kinds = config.hidden, len(self.world.kinds)
        cells = self.network.rows * self.network.columns
        self.squeeze = nn.Conv2d(WIDTHS[-1], SQUEEZED, 1)
        self.whole = MLP((SQUEEZED * cells, hidden, hidden))
        self.cell = nn.GRUCell(hidden + kinds + 2, hidden)
        # What is attended to, whether there is another object, and where in the cell it is.
        self.keys = nn.Conv2d(WIDTHS[-1], WIDTHS[-1], 1)
        self.query = nn.Linear(hidden, WIDTHS[-1])
        self.step = calm(MLP((hidden + WIDTHS[-1], hidden, 3)))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.squeeze.weight.device

    def score(
        self, image: Float[Tensor, "batch 3 height width"], labels: Arrangement
    ) -> Float[Tensor, "batch"]:
        """How well labels in their order are answered, shape (B,).

        The log-probability of camera, attention, numbers and kinds, minus half of the squared
        distance of places in cells, plus the log-density of what the closer looks say.
        """
        labels = in_order_of_kinds(labels)
        reading = Reading(self, image)
        kind, pose, camera = labels
        value = normal(reading.loc, reading.std).log_prob(camera[:, :2]).sum(-1)
        for n in range(self.config.steps):
            going = reading.advance()
            present = kind[:, n] >= 0
            was = torch.ones_like(present) if n == 0 else kind[:, n - 1] >= 0
            value = value + was * F.logsigmoid(torch.where(present, going, -going))
            row = present.nonzero().squeeze(1)
            code = self._code_of(pose[row, n], camera[row])
            each = reading.closer(row, camera).log_prob(kind[None, row, n], code[None])[0]
            value = value.index_add(0, row, each + reading.log_place(row, STRIDE * code[:, :2]))
            reading.tell(kind[:, n], pose[:, n])
        return value

    @torch.no_grad()
    def places(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Arrangement, Float[Tensor, "batch steps kinds"]]:
        """What is inferred of each image, and the probability of each object's kinds."""
        reading = Reading(self, image)
        camera = F.pad(reading.loc, (0, 1), value=self.world.camera.distance)
        shape = len(image), self.config.steps
        kind, pose = torch.full(shape, -1, device=image.device), image.new_zeros(*shape, 3)
        probs = image.new_zeros(*shape, len(self.world.kinds))
        going = torch.ones_like(kind[:, 0], dtype=torch.bool)
        for n in range(self.config.steps):
            going = going & (reading.advance() > 0)
            row = going.nonzero().squeeze(1)
            closer = reading.closer(row, camera)
            kind[row, n], code = closer.peak
            pose[row, n], probs[row, n] = self._pose_of(code, camera[row]), closer.kinds.exp()
            reading.tell(kind[:, n], pose[:, n])
        return Arrangement(kind, pose, camera), probs

    @torch.no_grad()
    def reconstruct(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """The picture of what is inferred, shape (B, 3, H, W)."""
        return self.painter(*self.places(image)[0])

    def _code_of(self, pose: Tensor, camera: Tensor) -> Tensor:
        """The place in the picture in cells, and the yaw to the camera, shape (B, 3)."""
        pixel, _ = project(F.pad(pose[:, :2], (0, 1)), camera, self.world)
        return torch.cat([pixel / STRIDE, pose[:, 2:] - camera[:, :1]], -1)

    def _pose_of(self, code: Tensor, camera: Tensor) -> Tensor:
        """The inverse of `_code_of`."""
        place = ground(STRIDE * code[:, :2], camera, self.world)
        return torch.cat([place, code[:, 2:] + camera[:, :1]], -1)


class Reading:
    """How far the reading of some pictures has come.

    Args:
        reader: the network.
        image: the pictures in [0, 1], shape (B, 3, H, W).

    Attributes:
        loc: mean of the camera's azimuth and elevation, shape (B, 2).
        std: their standard deviation, shape (B, 2).
    """

    def __init__(self, reader: OrderedReader, image: Tensor):
        self.reader, network = reader, reader.network
        self.news = GAIN * (image - MEAN)
        features = network.features(self.news)
        self.loc, self.std = network.camera(network.whole(features))
        self._keys, self._features = reader.keys(features).flatten(2), features.flatten(2)
        self._whole = F.elu(reader.whole(F.elu(reader.squeeze(features)).flatten(1)))
        self._told = image.new_zeros(len(image), len(reader.world.kinds) + 2)
        self._state = image.new_zeros(len(image), reader.config.hidden)
        self._place = image.new_zeros(len(image), 2)

    def advance(self) -> Tensor:
        """Takes a step, and gives the log-odds that there is another object, shape (B,)."""
        self._state = self.reader.cell(torch.cat([self._whole, self._told], -1), self._state)
        score = torch.einsum("bf,bfc->bc", self.reader.query(self._state), self._keys)
        self._share = share = score.softmax(-1)
        share = self._narrowed(share) if self.reader.narrow else share
        attended = torch.einsum("bc,bfc->bf", share, self._features)
        going, place = self.reader.step(torch.cat([self._state, attended], -1)).split([1, 2], -1)
        self._place = share @ self.reader.network.middles(self.news) + STRIDE * place
        return going[:, 0]

    def _narrowed(self, share: Tensor) -> Tensor:
        """Shares of attention (B, C) within the cell that has most of it and its neighbours."""
        middles = self.reader.network.middles(share)
        apart = (middles - middles[share.argmax(-1)][:, None]).abs().amax(-1)  # (B, C)
        share = share * (apart <= STRIDE)
        return share / share.sum(-1, keepdim=True)

    def log_place(self, row: Tensor, pixel: Tensor) -> Tensor:
        """How well this step attends to the places (R, 2) in pixels, shape (R,)."""
        cell = self.reader.network.cell_of(pixel)
        off = (pixel - self._place[row]) / STRIDE
        return self._share[row, cell].clamp(min=1e-12).log() - off.square().sum(-1) / 2

    def closer(self, row: Tensor, camera: Tensor) -> PosePosterior:
        """The objects at the places of this step in some pictures.

        Their u is the place in the picture in cells.

        Args:
            row: which pictures, shape (R,).
            camera: that of all pictures, shape (B, 3).
        """
        place = self._place[row].detach()
        origin = torch.zeros_like(place)
        return self.reader.network.around(self.news[row], place, origin, camera[row])

    def tell(self, kind: Tensor, pose: Tensor) -> None:
        """Tells the next step what this one found: kinds (B,), -1 for none, and poses (B, 3)."""
        kinds = len(self.reader.world.kinds)
        named = F.one_hot(kind.clamp(min=0), kinds) * (kind >= 0)[:, None]
        self._told = torch.cat([named, pose[:, :2]], -1)


def in_order_of_kinds(scenes: Arrangement) -> Arrangement:
    """The same arrangements with their objects sorted by kind."""
    last = scenes.kind.max() + 1
    order = scenes.kind.where(scenes.kind >= 0, last).sort(dim=1, stable=True).indices
    pose = scenes.pose.gather(1, order[..., None].expand(-1, -1, 3))
    return Arrangement(scenes.kind.gather(1, order), pose, scenes.camera)
