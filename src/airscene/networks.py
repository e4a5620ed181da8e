"""Small networks and what they give, with nothing of AIR in them."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.distributions import Normal


class MLP(nn.Sequential):
    """Linear layers with ELU between them.

    Args:
        sizes: widths of input, hidden layers and output, at least two.
    """

    def __init__(self, sizes: Sequence[int]):
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ELU()]
        super().__init__(*layers[:-1])


def normal(loc: Tensor, std: Tensor) -> Normal:
    """Independent normal distributions, their arguments unchecked: a check would wait for the GPU.

    Args:
        loc: means, of any shape.
        std: standard deviations above zero, of the same shape.
    """
    return Normal(loc, std, validate_args=False)
