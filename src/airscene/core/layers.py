"""Layers: patches on windows of whole pixels, and what a stack of them does to a canvas.

A scene is a background and N layers. Each layer is a patch of P × Q pixels whose upper left pixel
lies at an integer corner of the canvas, so that putting it there needs no interpolation and costs
the patch and not the canvas. Where canvases are small, a patch is as large as the canvas and its
corner is (0, 0): the *wide* form, in which the same sums are plain operations on canvases.

What lies at a corner always lies within the canvas: 0 <= y <= H - P and 0 <= x <= W - Q.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

Corner = Int[Tensor, "rows 2"]


def corner_of(
    window: Float[Tensor, "*batch 3"], patch: tuple[int, int], canvas: tuple[int, int]
) -> Int[Tensor, "*batch 2"]:
    """The corner (y, x) of the patch that is centred on a window, moved to lie within the canvas.

    Args:
        window: centre and side in pixels (cx, cy, side), shape (*, 3).
        patch: height P and width Q of the patch.
        canvas: height H >= P and width W >= Q of the canvas.

    >>> corner_of(torch.tensor([[10.4, 20.0, 5.0], [49.0, 1.0, 5.0]]), (8, 8), (50, 50)).tolist()
    [[16, 6], [0, 42]]
    """
    centre = window[..., :2].detach().flip(-1)
    size, most = centre.new_tensor(patch), centre.new_tensor(canvas) - centre.new_tensor(patch)
    # weights that overflow make NaN, which is no place, but must not end the program
    return (centre - size / 2).nan_to_num().round().clamp(min=0).minimum(most).long()


def cut(
    canvas: Float[Tensor, "rows channels height width"], corner: Corner, patch: tuple[int, int]
) -> Float[Tensor, "rows channels rows_of_patch columns_of_patch"]:
    """The part of each canvas that lies under a patch at its corner, shape (R, C, P, Q)."""
    if size_of(canvas) == patch:
        return canvas
    index = indices(corner, patch, canvas.shape[-1])
    index = index.unsqueeze(1).expand(-1, canvas.shape[1], -1)
    return canvas.flatten(2).gather(2, index).unflatten(2, patch)


def under(
    canvas: Shaped[Tensor, "rows height width"],
    row: Int[Tensor, "patches"],
    corner: Int[Tensor, "patches 2"],
    patch: tuple[int, int],
) -> Shaped[Tensor, "patches rows_of_patch columns_of_patch"]:
    """The part of one canvas that lies under each of T patches at its corner, shape (T, P, Q).

    Args:
        canvas: shape (R, H, W).
        row: the canvas of each patch, shape (T,).
        corner: of each patch (y, x), shape (T, 2).
        patch: its height P and width Q.
    """
    if size_of(canvas) == patch:
        return canvas.index_select(0, row)
    index = indices(corner, patch, canvas.shape[-1]) + row[:, None] * canvas[0].numel()
    return canvas.flatten().index_select(0, index.flatten()).view(-1, *patch)


def size_of(picture: Tensor) -> tuple[int, int]:
    """Height and width of pictures (..., H, W)."""
    return picture.shape[-2], picture.shape[-1]


def within(
    window: Float[Tensor, "*batch 3"], corner: Int[Tensor, "*batch 2"]
) -> Float[Tensor, "*batch 3"]:
    """The windows (cx, cy, side) as a patch at a corner (y, x) has them, shape (*, 3)."""
    return window - torch.nn.functional.pad(corner.flip(-1).to(window.dtype), (0, 1))


def added(canvas: Tensor, corner: Corner, patch: Tensor) -> Tensor:
    """A canvas (R, C, H, W) with a patch (R, C, P, Q) added at its corner, without gradient.

    Where patches are smaller than the canvas, the canvas itself is changed.
    """
    if size_of(canvas) == size_of(patch):
        return canvas + patch
    put(canvas, corner, cut(canvas, corner, size_of(patch)) + patch)
    return canvas


def put(canvas: Tensor, corner: Corner, patch: Tensor) -> None:
    """Puts a patch (R, C, P, Q) in place of what each canvas (R, C, H, W) has there, in place."""
    index = indices(corner, size_of(patch), canvas.shape[-1])
    index = index.unsqueeze(1).expand(-1, canvas.shape[1], -1)
    canvas.view(*canvas.shape[:2], -1).scatter_(2, index, patch.flatten(2))


def lift(
    patches: Float[Tensor, "rows layers channels rows_of_patch columns_of_patch"],
    corner: Int[Tensor, "rows layers 2"],
    canvas: tuple[int, int],
) -> Float[Tensor, "rows layers channels height width"]:
    """Each patch alone on an empty canvas, shape (R, N, C, H, W)."""
    if size_of(patches) == canvas:
        return patches
    index = indices(corner.flatten(0, 1), size_of(patches), canvas[1])
    index = index.unsqueeze(1).expand(-1, patches.shape[2], -1)
    flat = patches.flatten(0, 1).flatten(2)
    empty = flat.new_zeros(*flat.shape[:2], canvas[0] * canvas[1])
    return empty.scatter(2, index, flat).unflatten(2, canvas).unflatten(0, patches.shape[:2])


def stack(
    canvas: Float[Tensor, "rows channels height width"],
    changes: Float[Tensor, "rows layers channels rows_of_patch columns_of_patch"],
    corner: Int[Tensor, "rows layers 2"],
) -> Float[Tensor, "rows channels height width"]:
    """A canvas with what every layer changes of it added, shape (R, C, H, W), without gradient."""
    canvas = canvas.detach().clone()
    for change, place in zip(changes.detach().unbind(1), corner.unbind(1), strict=True):
        canvas = added(canvas, place, change)
    return canvas


def strongest(
    patches: Float[Tensor, "rows layers rows_of_patch columns_of_patch"],
    corner: Int[Tensor, "rows layers 2"],
    canvas: tuple[int, int],
) -> Float[Tensor, "rows height width"]:
    """The largest value that any layer has at each pixel, or 0, shape (R, H, W), without gradient.

    Args:
        patches: shape (R, N, P, Q).
        corner: of each patch (y, x), shape (R, N, 2).
        canvas: its height and width.
    """
    most = patches.new_zeros(len(patches), 1, *canvas)
    for patch, place in zip(patches.detach().unsqueeze(2).unbind(1), corner.unbind(1), strict=True):
        most = _replaced(most, place, cut(most, place, size_of(patch)).maximum(patch))
    return most[:, 0]


def squared_errors(
    residual: Float[Tensor, "rows channels height width"],
    changes: Float[Tensor, "rows layers channels rows_of_patch columns_of_patch"],
    corner: Int[Tensor, "rows layers 2"],
) -> Float[Tensor, "rows counts"]:
    """‖r_n‖² for n = 0..N, where r_0 is the residual and r_n = r_{n-1} - (change n at its corner).

    The first is a sum over the canvas. Every other one adds what its layer alters,

        ‖r_n‖² - ‖r_{n-1}‖² = Σ d_n (d_n - 2 r_{n-1}),

    which is a sum over the patch: the cost is linear in N, and no large numbers are subtracted from
    each other, as they are when ‖x - c‖² is multiplied out.

    Args:
        residual: the image less the background, shape (R, C, H, W).
        changes: what each layer adds to the canvas under it, shape (R, N, C, P, Q).
        corner: of each patch (y, x), shape (R, N, 2).

    Returns:
        Shape (R, N + 1), with first and second derivatives by residual and changes.
    """
    return cast(Tensor, _SquaredErrors.apply(residual, changes, corner))


def transmittance(
    opacity: Float[Tensor, "rows layers 1 rows_of_patch columns_of_patch"],
    corner: Int[Tensor, "rows layers 2"],
    canvas: tuple[int, int],
) -> Float[Tensor, "rows layers 1 rows_of_patch columns_of_patch"]:
    """How much of each layer can be seen: Π_{j<k} (1 - opacity j), under patch k.

    The first layer is the one in front.

    Args:
        opacity: between 0 and 1, shape (R, N, 1, P, Q).
        corner: of each patch (y, x), shape (R, N, 2).
        canvas: its height and width.

    Returns:
        Shape (R, N, 1, P, Q), with first and second derivatives by the opacities.
    """
    return cast(Tensor, _Transmittance.apply(opacity, corner, canvas))


class _SquaredErrors(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, residual: Tensor, changes: Tensor, corner: Tensor) -> Tensor:
        ctx.save_for_backward(residual, changes, corner)
        errors = [_dot(residual, residual)]
        unders = _unders(residual, changes, corner)
        for change, under in zip(changes.unbind(1), unders, strict=True):
            errors.append(_dot(change, change - 2 * under))
        return torch.stack(errors, 1).cumsum(1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        residual, changes, corner = ctx.saved_tensors
        unders = [*_unders(residual, changes, corner)]  # anew, so that second derivatives pass
        # the weight of each summand: that of all errors which contain it
        weights = 2 * gradients[0].flip(1).cumsum(1).flip(1)[..., None, None, None]
        later = torch.zeros_like(residual)  # Σ over later layers of weight · change, at its place
        own = torch.empty_like(changes)
        for k in reversed(range(changes.shape[1])):
            place, weight, change = corner[:, k], weights[:, k + 1], changes[:, k]
            under = cut(later, place, size_of(change))
            own[:, k] = torch.addcmul(under, weight, change - unders[k])
            if k or ctx.needs_input_grad[0]:
                later = _replaced(later, place, torch.addcmul(under, weight, change))
        start = weights[:, 0] * residual - later if ctx.needs_input_grad[0] else None
        return start, own, None


class _Transmittance(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, opacity: Tensor, corner: Tensor, canvas: tuple[int, int]) -> Tensor:
        left = opacity.new_ones(len(opacity), 1, *canvas)
        result = torch.empty_like(opacity)
        for k, (part, place) in enumerate(zip(opacity.unbind(1), corner.unbind(1), strict=True)):
            result[:, k] = seen = cut(left, place, size_of(part))
            left = _replaced(left, place, seen * (1 - part))
        ctx.canvas = canvas
        ctx.save_for_backward(opacity, corner, result)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        opacity, corner, seen = ctx.saved_tensors
        later = opacity.new_zeros(len(opacity), 1, *ctx.canvas)  # by what is left after layer k
        own = torch.empty_like(opacity)
        for k in reversed(range(opacity.shape[1])):
            place, part = corner[:, k], opacity[:, k]
            under = cut(later, place, size_of(part))
            own[:, k] = -under * seen[:, k]
            later = _replaced(later, place, torch.addcmul(gradients[0][:, k], under, 1 - part))
        return own, None, None


def _unders(residual: Tensor, changes: Tensor, corner: Tensor) -> Iterator[Tensor]:
    """What is left under each patch before its layer, r_{n-1}, shape (R, C, P, Q)."""
    left = residual.clone()
    for change, place in zip(changes.unbind(1), corner.unbind(1), strict=True):
        yield (under := cut(left, place, size_of(change)))
        left = _replaced(left, place, under - change)


def _replaced(canvas: Tensor, corner: Tensor, patch: Tensor) -> Tensor:
    """The canvas with a patch in place of what was there; the canvas itself may be changed."""
    if size_of(canvas) == size_of(patch):
        return patch
    if torch.is_grad_enabled():  # which remembers what the canvas was
        canvas = canvas.clone()
    put(canvas, corner, patch)
    return canvas


def _dot(one: Tensor, other: Tensor) -> Float[Tensor, "rows"]:
    """Σ one · other over all but the first axis."""
    return torch.linalg.vecdot(one.flatten(1), other.flatten(1))


def indices(corner: Tensor, patch: tuple[int, int], width: int) -> Int[Tensor, "rows pixels"]:
    """Where the pixels of each patch lie in a flattened canvas, shape (R, P Q)."""
    rows = torch.arange(patch[0], device=corner.device)[:, None] * width
    inside = (rows + torch.arange(patch[1], device=corner.device)).flatten()
    return (corner[:, :1] * width + corner[:, 1:]) + inside
