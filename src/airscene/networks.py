"""Small networks, with nothing of AIR in them."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


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
