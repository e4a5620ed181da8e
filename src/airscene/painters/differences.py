"""Gradients of functions that can only be called, such as the likelihood of a rendered picture."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def differentiable(
    function: Callable[[Tensor], Tensor],
    point: Float[Tensor, "batch numbers"],
    steps: Sequence[float],
    steepest: float = math.inf,
) -> Float[Tensor, "batch"]:
    """The value of a function, with a gradient by central differences.

    The gradient is (f(z + h e_d) - f(z - h e_d)) / 2h in each number d of z, with an error of the
    order of h². A picture has outlines that jump from pixel to pixel: take steps that move them by
    about a pixel, as smaller ones see either no change or a jump.

    Args:
        function: takes points of shape (R, B, D) and gives a value for each, shape (R, B). It is
            called once, on R = 1 + 2 D points, and may be as little differentiable as it likes.
        point: z, shape (B, D).
        steps: h of each of the D numbers, above 0, in its own unit.
        steepest: the length that a gradient never reaches. One of length L is divided by
            1 + L / steepest, so that one picture in a batch does not outweigh all others.

    Returns:
        f(z), shape (B,).

    >>> z = torch.tensor([[1.0, 2.0]], requires_grad=True)
    >>> value = differentiable(lambda z: z[..., 0] * z[..., 1] ** 2, z, (0.1, 0.1))
    >>> value.sum().backward()
    >>> value.detach(), z.grad
    (tensor([4.]), tensor([[4.0000, 4.0000]]))
    """
    centre = point.detach()
    h = centre.new_tensor(steps)
    away = torch.diag(h)[:, None]  # (D, 1, D)
    with torch.no_grad():
        value, *sides = function(torch.cat([centre[None], centre + away, centre - away]))
        ahead, behind = torch.stack(sides).chunk(2)
        slope = (ahead - behind).mT / (2 * h)  # (B, D)
        slope = slope / (1 + slope.norm(dim=-1, keepdim=True) / steepest)
    return value + ((point - centre) * slope).sum(-1)
