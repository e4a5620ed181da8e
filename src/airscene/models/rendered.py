"""A 3D scene of one object, explained by the renderer that drew it.

Source: Eslami et al. 2016, section 3.3.

Generation: a kind, a position on the table and a yaw are drawn uniformly; a painter draws the
picture of the object; x ~ N(picture, σ²) in each pixel. Nothing of it is learned.

Inference: a network gives the posterior over kind, position and yaw.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from airscene.errors import UserError
from airscene.models.arrangement import Arrangement, draw_one
from airscene.models.base import FLOAT, Model
from airscene.models.pose import PosePosterior, log_prior, pose_of
from airscene.models.pose_network import GLIMPSE, WIDTHS, PoseNetwork
from airscene.models.renderer import WITHOUT_WAKE, RendererConfig, log_pixels
from airscene.painters.by_name import PAINTERS
from airscene.painters.differences import differentiable
from airscene.painters.world import ONE_OBJECT, World
from airscene.ranges import Range, check_ranges, in_turn, within

WITHOUT_BOUND = "the bound takes no part; lower --model.dream and --model.wake or leave it out"


@dataclass(frozen=True)
class RenderedConfig(RendererConfig):
    """The model's shape, its likelihood, and how its gradient is estimated."""

    steps: Annotated[int, *within(1, 1)] = 1
    """Objects of a scene."""
    channels: Annotated[int, *within(3, 3)] = 3
    """Colour channels of the images: red, green, blue."""
    height: Annotated[int, *within(8, 512)] = 32
    """Canvas height in pixels."""
    width: Annotated[int, *within(8, 512)] = 32
    """Canvas width in pixels."""
    painter: Literal["mujoco", "raycast"] = "raycast"
    """What draws scenes: MuJoCo, or a ray caster in PyTorch, which needs no other package."""
    sigma: Annotated[float, *within(1e-3, 1e3)] = 0.1
    """Standard deviation of a pixel around the picture, images lying in [0, 1]."""
    hidden: Annotated[int, *within(1, 16_384)] = 200
    """Units of the hidden layers."""
    dream: Annotated[float, *within(0, 1)] = 0.7
    """Share of training, its first part, on scenes from the prior, which the painter draws; above
    0, every other step of the bound is also one of these."""
    wake: Annotated[float, *within(0, 1)] = 0.0
    """Share of training, its next part, by reweighted wake-sleep; the bound takes the rest."""
    dreams: Annotated[int, *within(1, 1000)] = 4
    """Scenes from the prior in a step, for each image of the batch."""
    particles: Annotated[int, *within(2, 1000)] = 12
    """Samples of an image in reweighted wake-sleep."""
    refined: Annotated[int, *within(1, 1000)] = 8
    """Samples near the best of these, in each of two rounds."""
    samples: Annotated[int, *within(2, 1000)] = 2
    """Samples of an image for the bound, each of which takes seven pictures."""
    differences: Annotated[tuple[float, float], *in_turn(Range(1e-6, 1), Range(1e-6, 1))] = (
        0.03,
        0.15,
    )
    """Steps of the central differences: of a position, and of a yaw in radians."""

    def __post_init__(self):
        check_ranges(self, "--model.")
        if self.dream + self.wake > 1:
            raise UserError(
                f"--model.dream {self.dream:g} and --model.wake {self.wake:g} are shares of a "
                f"training, of more than all of it; lower one of them"
            )

    @property
    def world(self) -> World:
        """What all scenes have in common."""
        return replace(ONE_OBJECT, size=(self.height, self.width))

    @property
    def draw(self) -> Callable[..., Arrangement]:
        """What draws the scenes of a run; see `models.arrangement.draw_one`."""
        return partial(draw_one, self.world)

    @property
    def kept_bytes(self) -> int:
        """See `ModelConfig.kept_bytes`: the features of the network, and the pictures drawn."""
        pixels, (first, second) = self.height * self.width, WIDTHS
        features = (first + 2 * second) * pixels // 2 + 2 * second * GLIMPSE**2 + 4 * self.hidden
        drawn = (
            max(self.particles + 2 * self.refined, 7 * self.samples) * 4 * self.channels * pixels
        )
        dreamt = (self.dreams - 1) * (features + 4 * self.channels * pixels)
        return FLOAT * (features + max(drawn, dreamt) + 30 * self.channels * pixels)

    def pass_bytes(self, steps: int) -> int:
        """See `ModelConfig.pass_bytes`: a picture of each kind, as the ray caster draws it."""
        return FLOAT * 40 * len(ONE_OBJECT.kinds) * self.channels * self.height * self.width

    def idle(self) -> Mapping[str, str]:
        """See `ModelConfig.idle`: the settings of parts of training that have no share."""
        parts = {
            "dreams": (self.dream, "dreams take no part; raise --model.dream or leave it out"),
            "particles": (self.wake, WITHOUT_WAKE),
            "refined": (self.wake, WITHOUT_WAKE),
            "samples": (self.climbs, WITHOUT_BOUND),
            "differences": (self.climbs, WITHOUT_BOUND),
        }
        return {name: reason for name, (share, reason) in parts.items() if not share}

    @property
    def climbs(self) -> bool:
        """Whether a part of training is left for the bound."""
        return self.dream + self.wake < 1 - 1e-9


class Rendered(Model[RenderedConfig]):
    """A renderer that is given, and a network that infers what it drew.

    Args:
        config: the model's shape.

    Attributes:
        world: what all scenes have in common.
        painter: draws them.
        sigma: σ in use, which training may widen.
    """

    sigma: Tensor

    def __init__(self, config: RenderedConfig):
        super().__init__()
        self.config, self.world = config, config.world
        self.painter = PAINTERS[config.painter](self.world)
        self.network = PoseNetwork(self.world, config.hidden)
        self._table: Tensor | None = None
        self.register_buffer("sigma", torch.tensor(config.sigma), persistent=False)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> PosePosterior:
        """The posterior of each image."""
        return self.network(image - self._empty(image))

    def widen(self, factor: float) -> None:
        """Lets σ be so many times that of the configuration."""
        self.sigma.fill_(self.config.sigma * factor)

    @torch.no_grad()
    def infer(
        self, image: Float[Tensor, "batch 3 height width"], *, sample: bool = False
    ) -> tuple[Int[Tensor, "batch"], Float[Tensor, "batch 3"]]:
        """The kind (B,) of each image's object, and its x, y and yaw (B, 3).

        Args:
            image: images in [0, 1], shape (B, 3, H, W).
            sample: draw them from the posterior instead of taking its mode.
        """
        posterior = self(image)
        if not sample:
            return posterior.mode
        kind = posterior.draw_kind(1)
        code = self._code(posterior, kind)
        return kind[0], pose_of(code)[0]

    @torch.no_grad()
    def places(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Arrangement, Float[Tensor, "batch 1 kinds"]]:
        """What is inferred of each image, and the probability of each kind."""
        posterior = self(image)
        kind, pose = posterior.mode
        camera = pose.new_tensor(self.world.camera.numbers).expand(len(pose), 3)
        scenes = Arrangement(kind[:, None], pose[:, None], camera)
        return scenes, posterior.kinds[:, None].exp()

    @torch.no_grad()
    def reconstruct(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """The picture of the posterior's mode, shape (B, 3, H, W)."""
        return self.painter(*self.places(image)[0])

    @torch.no_grad()
    def generate(self, number: int) -> tuple[Float[Tensor, "number 3 height width"], None]:
        """Pictures of objects drawn from the prior; no counts, as there is always one."""
        return self.painter(*draw_one(self.world, number, device=self.device)), None

    @torch.no_grad()
    def elbo(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch"]:
        """The ELBO in nats, shape (B,): kinds are summed out, with one sample of each pose."""
        posterior = self(image)
        kinds = torch.arange(len(self.world.kinds), device=image.device)
        kind = kinds[:, None].expand(-1, len(image))  # (K, B)
        weight = self.log_weight(image, posterior, kind, self._code(posterior, kind))
        return (posterior.kinds.mT.exp() * weight).sum(0)

    @torch.no_grad()
    def log_likelihood(
        self, image: Float[Tensor, "batch 3 height width"], samples: int
    ) -> Float[Tensor, "batch"]:
        """The importance-weighted bound on log p(x) in nats (Burda et al. 2016), shape (B,)."""
        posterior = self(image)
        weights = []
        for _ in range(samples):  # one at a time, so that memory does not grow with them
            kind = posterior.draw_kind(1)
            weights.append(self.log_weight(image, posterior, kind, self._code(posterior, kind)))
        return torch.cat(weights).logsumexp(0) - math.log(samples)

    def log_weight(
        self,
        image: Float[Tensor, "batch 3 height width"],
        posterior: PosePosterior,
        kind: Int[Tensor, "samples batch"],
        code: Float[Tensor, "samples batch 3"],
    ) -> Float[Tensor, "samples batch"]:
        """Log p(x, kind, code) - log q(kind, code | x) in nats, shape (S, B)."""
        prior = log_prior(code, len(self.world.kinds))
        pixels = self.log_pixels(image, kind, pose_of(code))
        return pixels + prior - posterior.log_prob(kind, code)

    def log_pixels(
        self,
        image: Float[Tensor, "batch 3 height width"],
        kind: Int[Tensor, "*samples batch"],
        pose: Float[Tensor, "*samples batch 3"],
    ) -> Float[Tensor, "*samples batch"]:
        """Log p(x | kind, pose) in nats, with the Gaussian's constant, shape (*, B)."""
        drawn = self.painter(kind.reshape(-1, 1), pose.reshape(-1, 1, 3))
        return log_pixels(image, drawn.view(*kind.shape, *image.shape[1:]), self.sigma)

    def differentiable_log_pixels(
        self,
        image: Float[Tensor, "batch 3 height width"],
        kind: Int[Tensor, "samples batch"],
        pose: Float[Tensor, "samples batch 3"],
        steepest: float = math.inf,
    ) -> Float[Tensor, "samples batch"]:
        """`log_pixels` with a gradient in the pose by central differences, shape (S, B).

        See `painters.differences.differentiable` for `steepest`.
        """

        def value(points: Tensor) -> Tensor:  # (R, S B, 3)
            poses = points.unflatten(1, kind.shape)
            kinds = kind.expand(len(points), *kind.shape)
            return self.log_pixels(image, kinds, poses).flatten(1)

        position, yaw = self.config.differences
        flat = differentiable(value, pose.flatten(0, 1), (position, position, yaw), steepest)
        return flat.view(kind.shape)

    def _code(self, posterior: PosePosterior, kind: Tensor) -> Tensor:
        """A sample of u and yaw given kinds (S, B), shape (S, B, 3)."""
        noise = torch.randn(*kind.shape, 3, device=kind.device)
        return posterior.code(kind, posterior.draw_part(kind), noise)

    def _empty(self, image: Tensor) -> Tensor:
        """The picture of the empty table, shape (3, H, W), drawn when it is first needed."""
        if self._table is None:
            kind, pose = torch.full((1, 1), -1), torch.zeros(1, 1, 3)
            self._table = self.painter(kind.to(image.device), pose.to(image))[0]
        return self._table.to(image)
