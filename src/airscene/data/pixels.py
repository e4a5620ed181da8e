"""Pixel values: which types and ranges are accepted, and how they become floats in [0, 1]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from airscene.data.reading import note, shown
from airscene.errors import UserError

FULL_WHITE = 65535  # the largest value of 16 bits
CAMERA_WHITE = 4095  # the largest value of a camera of 12 bits
ROUNDING = 1e-6  # how far floats may leave [0, 1] before they are refused
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green and blue


def pixels_of(images: Any) -> Tensor:
    """Brings images given as an array to the form in which models take them.

    Args:
        images: numpy array, tensor or nested list of shape (M, H, W), or (M, C, H, W) with C 1 or
            3, which holds bytes, booleans, or floats in [0, 1]. Any byte order, layout in memory,
            device and width of floats will do.

    Returns:
        The images as float32 in [0, 1] on the CPU, with shape (M, C, H, W), without gradients. The
        memory may be shared with `images`.

    Raises:
        UserError: the images have another shape, type or range, no pixel, or masked pixels.

    >>> pixels_of([[[0.0, 0.5], [1.0, 0.0]]]).shape
    torch.Size([1, 1, 2, 2])
    """
    array = _as_array(images)
    if array.ndim not in (3, 4) or not array.size:
        raise UserError(f"the images have shape {array.shape}; give (M, H, W) or (M, C, H, W)")
    array = array[:, None] if array.ndim == 3 else array
    if array.shape[1] not in (1, 3):
        last = array.shape[3] in (1, 3)
        fix = "move the channels with numpy.moveaxis(x, -1, 1)" if last else "C is 1 or 3"
        raise UserError(f"the images have shape {array.shape}, not (M, C, H, W); {fix}")
    check_type("the array of images", array.dtype)
    if array.dtype == np.uint16:
        fix = f"divide them by {FULL_WHITE}, or by {CAMERA_WHITE} for a camera of 12 bits"
        raise UserError(f"the images hold uint16, of unknown white; {fix}")
    name = "the array of images"
    pixels = in_unit_range(name, as_pixels(name, array))
    if pixels.dtype == np.uint8:
        pixels = pixels.astype(np.float32) / 255
    return torch.from_numpy(np.require(pixels, requirements=("C", "W")))


def check_type(name: str, dtype: np.dtype) -> None:
    """Refuses numbers of which it is unknown what they mean as pixels.

    Args:
        name: where the pixels come from, for the message.
        dtype: their type; accepted are bytes, booleans, 16 bits without a sign, and real floats.

    Raises:
        UserError: the type is another.
    """
    if dtype.kind not in "bf" and dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise UserError(f"{name} holds {dtype}; save uint8, uint16, or floats in [0, 1]")


def as_pixels(name: str, array: np.ndarray) -> np.ndarray:
    """Brings an array to bytes, 16 bits or float32 of any range, in the machine's byte order.

    Raises:
        UserError: floats that are infinite or NaN; `name` says in the message whose.
    """
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind != "f":
        return array.astype(array.dtype.newbyteorder("="), copy=False)
    with np.errstate(over="ignore"):
        floats = array.astype(np.float32, copy=False)
    if not np.isfinite([floats.min(), floats.max()]).all():  # NaN if any pixel is
        raise UserError(f"{name} holds NaN or infinite pixels; replace them with numbers in [0, 1]")
    return floats


def in_unit_range(name: str, array: np.ndarray) -> np.ndarray:
    """Pixels of which floats mean black where they are 0 and white where they are 1.

    Raises:
        UserError: floats outside [0, 1]; `name` says in the message whose.
    """
    if array.dtype.kind != "f":
        return array
    low, high = float(array.min()), float(array.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        found = f"pixels from {low:.9g} to {high:.9g}"
        raise UserError(f"{name} holds {found}; scale the floats to [0, 1] or save uint8")
    return array if low >= 0 and high <= 1 else array.clip(0, 1)


def on_black(colour: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Lays a picture over black.

    Args:
        colour: (H, W, C), bytes, 16 bits, or floats in [0, 1].
        alpha: the opacity, (H, W, 1), of the same type.

    Returns:
        The picture (H, W, C), of the same type.
    """
    if colour.dtype.kind == "f":
        return colour * alpha
    most = np.iinfo(colour.dtype).max
    return ((colour.astype(np.uint32) * alpha + most // 2) // most).astype(colour.dtype)


def find_white(path: Path, pictures: list[np.ndarray], white: int | None = None) -> int | None:
    """The value of 16-bit pictures that becomes 1.

    Args:
        path: where they come from, for notes.
        pictures: all that the path holds, each (H, W, C).
        white: the value, if it is known.

    Returns:
        None if no picture has 16 bits. Otherwise `white`, with a note if values exceed it; without
        it 65535, or 4095 if all values fit 12 bits, with a note that says so.
    """
    largest = [int(picture.max()) for picture in pictures if picture.dtype == np.uint16]
    if not largest:
        return None
    if white is not None:
        above = sum(most > white for most in largest)
        if above:
            found = f"{above} of {len(pictures)} images have 16-bit pixels above white, {white}"
            note(f"{shown(path)}: {found}; these become 1")
        return white
    if max(largest) > CAMERA_WHITE:
        return FULL_WHITE
    note(
        f"{shown(path)}: no 16-bit pixel exceeds {CAMERA_WHITE}, as from a camera of 12 bits; "
        f"they are divided by {CAMERA_WHITE}, not by {FULL_WHITE}"
    )
    return CAMERA_WHITE


def as_tensor(picture: np.ndarray, white: int | None) -> Tensor:
    """A picture (H, W, C) as a tensor (C, H, W), bytes or float32.

    16-bit values are divided by `white`, and 1 is the largest result.
    """
    if picture.dtype == np.uint16:
        picture = np.minimum(picture / np.float32(white or FULL_WHITE), 1)
    return torch.from_numpy(np.require(np.moveaxis(picture, -1, 0), requirements=("C", "W")))


def _as_array(images: Any) -> np.ndarray:
    if isinstance(images, Tensor):
        return _from_tensor(images)
    if isinstance(images, list | tuple):
        images = [_from_tensor(x) if isinstance(x, Tensor) else x for x in images]
    if np.ma.isMaskedArray(images) and np.ma.getmaskarray(images).any():
        raise UserError("the images have masked pixels; fill them with numbers in [0, 1]")
    try:
        return np.asarray(images)
    except Exception as error:  # lists of unequal lengths, or an object that is no array
        raise UserError("the images are not one array of numbers; give one shape to all") from error


def _from_tensor(images: Tensor) -> np.ndarray:
    if images.layout != torch.strided or images.is_quantized or images.is_meta:
        raise UserError("the images are a sparse, quantized or meta tensor; give a dense one")
    images = images.detach().cpu().resolve_conj().resolve_neg()
    return (images.float() if images.dtype == torch.bfloat16 else images).numpy()
