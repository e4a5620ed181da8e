"""What configurations of models have in common whose decoder is a renderer that is given."""

from dataclasses import dataclass
from typing import cast

from jaxtyping import Float
from torch import Tensor

from airscene.errors import UserError
from airscene.models.base import ModelConfig


@dataclass(frozen=True)
class RendererConfig(ModelConfig):
    """The base of configurations whose pictures a painter of whole scenes draws, in colour."""

    def fitted(self, images: Float[Tensor, "batch channels height width"]) -> "RendererConfig":
        """See `ModelConfig.fitted`; the pictures must be in colour."""
        if images.shape[1] != 3:
            raise UserError("--data: 3D scenes are in colour, the pictures are not; name others")
        return cast(RendererConfig, super().fitted(images))

    @property
    def size_field(self) -> str:
        """See `ModelConfig.size_field`."""
        return "hidden"
