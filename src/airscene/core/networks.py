"""Small networks and what they give, with nothing of AIR in them."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Normal

LOWEST = -15.0  # what a standard deviation is the softplus of, at least: 3e-7
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


def calm(network: MLP, std: float | None = None) -> MLP:
    """Lets a network start with outputs near zero, in place, and returns it.

    Args:
        network: what is to start so.
        std: if given, the second half of the outputs starts as what `spread` makes this of.
    """
    last = cast(nn.Linear, network[-1])
    nn.init.zeros_(last.bias)
    last.weight.data.mul_(START_SHARE)
    if std is not None:
        last.bias.data[last.out_features // 2 :] = raw_of(std)
    return network


def normal(loc: Tensor, std: Tensor) -> Normal:
    """Independent normal distributions, their arguments unchecked: a check would wait for the GPU.

    Args:
        loc: means, of any shape.
        std: standard deviations above zero, of the same shape.
    """
    return Normal(loc, std, validate_args=False)


def spread(raw: Tensor) -> Tensor:
    """Standard deviations from what a network gives: the softplus, kept above zero.

    Where a network goes far astray, the softplus vanishes and its logarithm is infinite.

    Args:
        raw: any numbers, of any shape.
    """
    return F.softplus(raw.clamp(min=LOWEST))


def raw_of(std: float) -> float:
    """What `spread` makes a standard deviation of: its inverse.

    >>> round(math.log1p(math.exp(raw_of(0.1))), 4)
    0.1
    """
    return math.log(math.expm1(std))
