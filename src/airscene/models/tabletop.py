"""A table with any number of objects, seen by a camera that moves, explained by the renderer.

Source: Eslami et al. 2016, section 3.3, Figure 7.

Generation: `models.arrangement` is the prior of objects and camera; a painter draws their picture;
x ~ N(picture, σ²) in each pixel. Nothing of it is learned.

Inference: a network gives the camera, and then the objects, step by step until there are no more.
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
from airscene.models.arrangement import Arrangement, draw_arrangements, draw_settled, log_prior
from airscene.models.base import FLOAT, Model
from airscene.models.renderer import WITHOUT_WAKE, RendererConfig, log_pixels
from airscene.models.tabletop_network import GLIMPSE, STRIDE, WIDTHS, TabletopNetwork
from airscene.models.tabletop_posterior import TabletopPosterior
from airscene.painters.by_name import PAINTERS
from airscene.painters.world import BLOCKS, CROCKERY, World
from airscene.ranges import check_ranges, within

WORLDS = {"blocks": BLOCKS, "crockery": CROCKERY}


@dataclass(frozen=True)
class TabletopConfig(RendererConfig):
    """The model's shape, its likelihood, and how it is learned."""

    steps: Annotated[int, *within(1, 8)] = 3
    """The most objects N of a scene."""
    channels: Annotated[int, *within(3, 3)] = 3
    """Colour channels of the images: red, green, blue."""
    height: Annotated[int, *within(8, 512)] = 48
    """Canvas height in pixels."""
    width: Annotated[int, *within(8, 512)] = 48
    """Canvas width in pixels."""
    objects: Literal["blocks", "crockery"] = "blocks"
    """What lies on the table: cubes, balls and cans, or mugs, plates and pans, which are meshes."""
    painter: Literal["mujoco", "raycast"] = "raycast"
    """What draws scenes: MuJoCo, or a ray caster in PyTorch, which knows no meshes."""
    settled: bool = False
    """Let the objects of the scenes of a run fall and come to rest, by MuJoCo's simulation."""
    repeats: bool = True
    """Let a scene have several objects of one kind."""
    sigma: Annotated[float, *within(1e-3, 1e3)] = 0.1
    """Standard deviation of a pixel around the picture, images lying in [0, 1]."""
    hidden: Annotated[int, *within(1, 16_384)] = 200
    """Units of the hidden layers."""
    dreams: Annotated[int, *within(1, 1000)] = 1
    """Scenes from the prior that are learned from in a step, for each image of the batch."""
    wake: Annotated[float, *within(0, 1)] = 0.0
    """Share of training, its last part, by reweighted wake-sleep on the images of the data."""
    particles: Annotated[int, *within(2, 1000)] = 8
    """Samples of an image in reweighted wake-sleep."""

    def __post_init__(self):
        check_ranges(self, "--model.")
        if self.objects == "crockery" and self.painter == "raycast":
            raise UserError(
                "--model.objects crockery are meshes, which the ray caster does not draw; give "
                "--model.painter mujoco or --model.objects blocks"
            )
        if not self.repeats and self.steps > (kinds := len(WORLDS[self.objects].kinds)):
            raise UserError(
                f"--model.steps {self.steps} is more than the {kinds} kinds; lower it or leave out "
                f"--model.no-repeats"
            )

    @property
    def world(self) -> World:
        """What all scenes have in common."""
        size = self.height, self.width
        own = WORLDS[self.objects]
        return replace(own, objects=self.steps, repeats=self.repeats, size=size)

    @property
    def draw(self) -> Callable[..., Arrangement]:
        """What draws the scenes of a run; see `models.arrangement.draw_arrangements`."""
        return partial(draw_settled if self.settled else draw_arrangements, self.world)

    @property
    def kept_bytes(self) -> int:
        """See `ModelConfig.kept_bytes`: the features of both looks, and the picture drawn."""
        pixels, (first, second) = self.height * self.width, WIDTHS
        features = 2 * first * pixels // 4 + 10 * second * pixels // STRIDE**2
        closer = self.steps * (2 * 32 * GLIMPSE**2 + 10 * self.hidden)
        seen = FLOAT * (features + closer + 30 * self.channels * pixels)
        woken = self.particles * FLOAT * (closer + 4 * self.channels * pixels) if self.wake else 0
        return self.dreams * seen + woken

    def idle(self) -> Mapping[str, str]:
        """See `ModelConfig.idle`."""
        without_dreams = "dreams take no part; lower --model.wake or leave it out"
        parts = {"particles": (self.wake, WITHOUT_WAKE), "dreams": (self.wake < 1, without_dreams)}
        return {name: reason for name, (share, reason) in parts.items() if not share}

    def pass_bytes(self, steps: int) -> int:
        """See `ModelConfig.pass_bytes`: a picture with all objects, as the ray caster draws it."""
        return FLOAT * 40 * self.steps * self.channels * self.height * self.width


class Tabletop(Model[TabletopConfig]):
    """A renderer that is given, and a network that infers the arrangement that it drew.

    Args:
        config: the model's shape.

    Attributes:
        world: what all scenes have in common.
        painter: draws them.
        sigma: σ of a pixel.
    """

    sigma: Tensor

    def __init__(self, config: TabletopConfig):
        super().__init__()
        self.config, self.world = config, config.world
        self.painter = PAINTERS[config.painter](self.world)
        self.network = TabletopNetwork(self.world, config.hidden)
        self.register_buffer("sigma", torch.tensor(config.sigma), persistent=False)

    def forward(self, image: Float[Tensor, "batch 3 height width"]) -> TabletopPosterior:
        """The posterior of each image."""
        return TabletopPosterior(self.network, self.network(image), self.config.steps)

    @torch.no_grad()
    def infer(
        self, image: Float[Tensor, "batch 3 height width"], *, sample: bool = False
    ) -> Arrangement:
        """What lies on the table of each image, and from where it is seen.

        Args:
            image: images in [0, 1], shape (B, 3, H, W).
            sample: draw it from the posterior instead of taking the best choice at each step.
        """
        return self(image).draw(sample)[0]

    @torch.no_grad()
    def places(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Arrangement, Float[Tensor, "batch steps kinds"]]:
        """What is inferred of each image, and the probability of each object's kinds."""
        scenes, _, probs = self(image).draw(sample=False)
        return scenes, probs

    @torch.no_grad()
    def reconstruct(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """The picture of what is inferred, shape (B, 3, H, W)."""
        return self.painter(*self.infer(image))

    @torch.no_grad()
    def generate(
        self, number: int
    ) -> tuple[Float[Tensor, "number 3 height width"], Int[Tensor, "number"]]:
        """Pictures of arrangements drawn from the prior, and their numbers of objects."""
        scenes = draw_arrangements(self.world, number, device=self.device)
        return self.painter(*scenes), scenes.number

    @torch.no_grad()
    def elbo(self, image: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch"]:
        """The ELBO of one sample of all latents in nats, shape (B,)."""
        return self._log_weight(image, self(image))

    @torch.no_grad()
    def log_likelihood(
        self, image: Float[Tensor, "batch 3 height width"], samples: int
    ) -> Float[Tensor, "batch"]:
        """The importance-weighted bound on log p(x) in nats (Burda et al. 2016), shape (B,)."""
        posterior = self(image)
        weights = [self._log_weight(image, posterior) for _ in range(samples)]
        return torch.stack(weights).logsumexp(0) - math.log(samples)

    def log_pixels(
        self, image: Float[Tensor, "batch 3 height width"], scenes: Arrangement
    ) -> Float[Tensor, "batch"]:
        """Log p(x | arrangement) in nats, with the Gaussian's constant, shape (B,)."""
        return log_pixels(image, self.painter(*scenes), self.sigma)

    def _log_weight(self, image: Tensor, posterior: TabletopPosterior) -> Tensor:
        """`log_weight` of a sample."""
        return self.log_weight(image, posterior, *posterior.draw()[:2])

    def log_weight(
        self,
        image: Float[Tensor, "batch 3 height width"],
        posterior: TabletopPosterior,
        scenes: Arrangement,
        cells: Int[Tensor, "batch steps"],
    ) -> Float[Tensor, "batch"]:
        """Log p(x, z) - log q(z | x) in nats, shape (B,), of z: an arrangement and its cells.

        The cells' part of p is `TabletopPosterior.log_cells`.
        """
        joint = self.log_pixels(image, scenes) + log_prior(scenes, self.world)
        joint = joint + posterior.log_cells(scenes, cells)
        return joint - posterior.log_prob(scenes, cells)
