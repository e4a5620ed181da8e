"""What every kind of model offers to the code above it.

A model and its configuration answer for themselves: how much memory they take, which settings have
no effect, what their bounds are. `airscene.kinds` lists the kinds that there are.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

FLOAT = 4  # bytes


@dataclass(frozen=True)
class ModelConfig(ABC):
    """The shape of a model; each kind adds its own fields and gives all of them defaults.

    Memory is estimated by arithmetic: nothing is allocated, however large the sizes are.
    """

    steps: int
    """Steps of inference."""
    channels: int
    """Colour channels C of the images."""
    height: int
    """Canvas height in pixels."""
    width: int
    """Canvas width in pixels."""

    @property
    @abstractmethod
    def kept_bytes(self) -> int:
        """What one image leaves in memory for the gradient in training, in bytes, above 0.

        The formulas count the large tensors of a step. They were compared with the peak of resident
        memory over two training steps on a CPU, for 18 shapes of AIR, DAIR and DRAW that took 28 MB
        to 1 GB: weights and activations together were estimated at 0.8 to 1.5 times what was
        measured.
        """

    def fitted(self, images: Float[Tensor, "batch channels height width"]) -> "ModelConfig":
        """The configuration with all that the pictures of a training settle, such as the canvas.

        Args:
            images: some of them, in [0, 1], shape (M, C, H, W).

        Raises:
            UserError: the pictures cannot be modelled so.
        """
        channels, height, width = images.shape[1:]
        return replace(self, channels=channels, height=height, width=width)

    def choices(self, given: "ModelConfig") -> Sequence[str]:
        """What `fitted` chose besides the canvas, a line for each setting, to be told to the user.

        Args:
            given: the configuration before.
        """
        return ()

    @abstractmethod
    def pass_bytes(self, steps: int) -> int:
        """What one image takes in a pass of inference without gradients, in bytes, above 0.

        Args:
            steps: the largest count that is allowed for, if the model counts.
        """

    @property
    @abstractmethod
    def size_field(self) -> str:
        """The field to lower where the weights do not fit into memory."""

    def enlarged(self, factor: float) -> "ModelConfig":
        """The model for a larger canvas, if it has windows: they keep their size in pixels.

        Args:
            factor: the new canvas's shorter side over the old one's, above 0.
        """
        return self

    def idle(self) -> Mapping[str, str]:
        """The fields that have no effect beside the others, each with the reason and the remedy."""
        return {}


SomeConfig = TypeVar("SomeConfig", bound=ModelConfig)


class Model(nn.Module, ABC, Generic[SomeConfig]):
    """A generative model of images with its inference network.

    Attributes:
        config: the model's shape.
    """

    config: SomeConfig

    @abstractmethod
    def infer(
        self, image: Float[Tensor, "batch channels height width"], *, sample: bool = False
    ) -> Any:
        """The posterior of each image: its means, or one sample.

        Args:
            image: images in [0, 1], shape (B, C, H, W).
            sample: draw the latents from the posterior instead of taking its means.
        """

    @abstractmethod
    def reconstruct(
        self, image: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """The canvas at the posterior's means, shape (B, C, H, W)."""

    @abstractmethod
    def generate(
        self, number: int
    ) -> tuple[Float[Tensor, "number channels height width"], Int[Tensor, "number"] | None]:
        """Canvases from the prior without pixel noise, shape (number, C, H, W), and their counts.

        The counts have shape (number,); they are None of a model that does not count.
        """

    @abstractmethod
    def elbo(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch"]:
        """The ELBO of one sample of the latents in nats, without gradient, shape (B,)."""

    @abstractmethod
    def log_likelihood(
        self, image: Float[Tensor, "batch channels height width"], samples: int
    ) -> Float[Tensor, "batch"]:
        """The importance-weighted bound on log p(x) in nats (Burda et al. 2016), shape (B,)."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device
