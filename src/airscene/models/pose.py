"""The posterior over one object of a 3D scene: its kind, its position on the table, its yaw.

The position is REACH tanh(u) for a code u of two numbers, so that no sample leaves the table: an
object that nobody sees costs less than one at the wrong place. u is normal. The yaw is a
mixture of wrapped normal distributions, because a cube looks the same four times in a turn.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from airscene.core.networks import normal

REACH = 1.1  # positions lie between -REACH and REACH
LIMIT = 1 - 1e-6  # of tanh u, so that u is finite
TURN = 2 * math.pi
WRAPS = (-TURN, 0.0, TURN)  # of a yaw that is at most half a turn off, and narrowly distributed
LOG_ROOT = math.log(TURN) / 2  # of the normal distribution


@dataclass(frozen=True)
class PosePosterior:
    """q(kind, u, yaw | x) of B images, K kinds and C components of the mixture.

    Attributes:
        kinds: log-probability of each kind, shape (B, K).
        loc: mean of u if the object is of a kind, shape (B, K, 2).
        std: standard deviation of u, shape (B, K, 2).
        weights: log-weight of each component of the yaw's mixture, shape (B, K, C).
        turns: mean yaw of each component in radians, shape (B, K, C).
        spreads: standard deviation of each component in radians, shape (B, K, C).
    """

    kinds: Float[Tensor, "batch kinds"]
    loc: Float[Tensor, "batch kinds 2"]
    std: Float[Tensor, "batch kinds 2"]
    weights: Float[Tensor, "batch kinds parts"]
    turns: Float[Tensor, "batch kinds parts"]
    spreads: Float[Tensor, "batch kinds parts"]

    def draw_kind(self, samples: int) -> Int[Tensor, "samples batch"]:
        """Kinds, shape (S, B)."""
        return torch.multinomial(self.kinds.exp(), samples, replacement=True).mT

    def draw_part(self, kind: Int[Tensor, "samples batch"]) -> Int[Tensor, "samples batch"]:
        """Components of the yaw's mixture, given kinds, shape (S, B)."""
        weights = _of(self.weights, kind).exp()
        return torch.multinomial(weights.flatten(0, 1), 1).view(kind.shape)

    def code(
        self,
        kind: Int[Tensor, "samples batch"],
        part: Int[Tensor, "samples batch"],
        noise: Float[Tensor, "samples batch 3"],
    ) -> Float[Tensor, "samples batch 3"]:
        """U and yaw, given kinds, components and standard normal noise; gradients reach q."""
        u = _of(self.loc, kind) + _of(self.std, kind) * noise[..., :2]
        turn = _of(self.turns, kind).gather(-1, part[..., None])
        spread = _of(self.spreads, kind).gather(-1, part[..., None])
        return torch.cat([u, turn + spread * noise[..., 2:]], -1)

    def log_kind(self, kind: Int[Tensor, "samples batch"]) -> Float[Tensor, "samples batch"]:
        """Log q(kind | x), shape (S, B)."""
        return self.kinds.gather(1, kind.mT).mT

    def log_part(
        self, kind: Int[Tensor, "samples batch"], part: Int[Tensor, "samples batch"]
    ) -> Float[Tensor, "samples batch"]:
        """The log-weights of components, given kinds."""
        return _of(self.weights, kind).gather(-1, part[..., None])[..., 0]

    def log_prob(
        self, kind: Int[Tensor, "samples batch"], code: Float[Tensor, "samples batch 3"]
    ) -> Float[Tensor, "samples batch"]:
        """Log q(kind, u, yaw | x), shape (S, B)."""
        return self.log_kind(kind) + self.log_code(kind, code)

    def log_code(
        self, kind: Int[Tensor, "samples batch"], code: Float[Tensor, "samples batch 3"]
    ) -> Float[Tensor, "samples batch"]:
        """Log q(u, yaw | kind, x), whichever component the yaw came from."""
        u = normal(_of(self.loc, kind), _of(self.std, kind)).log_prob(code[..., :2]).sum(-1)
        turns, spreads = _of(self.turns, kind), _of(self.spreads, kind)  # (S, B, C)
        apart = (code[..., 2:] - turns + math.pi).remainder(TURN) - math.pi
        off = (apart[..., None] + apart.new_tensor(WRAPS)) / spreads[..., None]
        density = (-off.square() / 2).logsumexp(-1) - spreads.log() - LOG_ROOT
        return u + (density + _of(self.weights, kind)).logsumexp(-1)

    @property
    def peak(self) -> tuple[Int[Tensor, "batch"], Float[Tensor, "batch 3"]]:
        """The most probable kind, shape (B,), and u and yaw where its density is highest, (B, 3).

        The yaw is the mean of the component that has the highest peak, and no average of several.
        """
        kind = self.kinds.argmax(1)[None]
        peaks = _of(self.weights - self.spreads.log(), kind).argmax(-1)
        return kind[0], self.code(kind, peaks, self.loc.new_zeros(*kind.shape, 3))[0]

    @property
    def mode(self) -> tuple[Int[Tensor, "batch"], Float[Tensor, "batch 3"]]:
        """The most probable kind, shape (B,), and its x, y and yaw, shape (B, 3); see `peak`."""
        kind, code = self.peak
        return kind, pose_of(code)


def pose_of(code: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """x, y and yaw in [-π, π), from u and any yaw, shape (*, 3)."""
    u, yaw = code[..., :2], code[..., 2:]
    return torch.cat([REACH * u.tanh(), (yaw + math.pi).remainder(TURN) - math.pi], -1)


def code_of(pose: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """U and yaw of poses whose positions lie within REACH; the inverse of `pose_of`."""
    return torch.cat([(pose[..., :2] / REACH).atanh(), pose[..., 2:]], -1)


def draw_prior(
    kinds: int, shape: tuple[int, ...], device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Kinds of this shape and their codes, shape (*, 3), from the prior."""
    kind = torch.randint(kinds, shape, device=device)
    place = torch.rand(*shape, 3, device=device) * 2 - 1
    u = (LIMIT * place[..., :2]).atanh()
    return kind, torch.cat([u, math.pi * place[..., 2:]], -1)


def log_prior(code: Float[Tensor, "*batch 3"], kinds: int) -> Float[Tensor, "*batch"]:
    """Log p(kind, u, yaw): kinds, positions and yaws are uniform, shape (*,).

    A position that is uniform gives u the density (1 - tanh² u) / 2 in each coordinate.
    """
    u = code[..., :2]
    each = math.log(2) - 2 * u - 2 * F.softplus(-2 * u)  # log((1 - tanh² u) / 2)
    return each.sum(-1) - math.log(TURN) - math.log(kinds)


def _of(values: Tensor, kind: Tensor) -> Tensor:
    """The values (B, K, ...) that belong to kinds (S, B), shape (S, B, ...)."""
    return values[torch.arange(kind.shape[1], device=kind.device), kind]
