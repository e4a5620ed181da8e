"""Small networks and what they give, with nothing of AIR in them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.distributions import Normal

START_SHARE = 0.1  # of the usual weights of the last layer of a calm network


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


def calm(network: MLP) -> MLP:
    """Lets a network start with outputs near zero, in place, and returns it."""
    last = cast(nn.Linear, network[-1])
    nn.init.zeros_(last.bias)
    last.weight.data.mul_(START_SHARE)
    return network


def normal(loc: Tensor, std: Tensor) -> Normal:
    """Independent normal distributions, their arguments unchecked: a check would wait for the GPU.

    Args:
        loc: means, of any shape.
        std: standard deviations above zero, of the same shape.
    """
    return Normal(loc, std, validate_args=False)
