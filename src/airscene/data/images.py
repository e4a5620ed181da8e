"""The user's own images: one file, a folder or an array."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from airscene.data import arrays, pictures
from airscene.data.pixels import FULL_WHITE, LUMINANCE, as_tensor, find_white, in_unit_range
from airscene.data.reading import check_total, is_folder, names, note, shown
from airscene.data.scenes import Scenes
from airscene.data.truth import checked_truth
from airscene.errors import UserError
from airscene.files import write_whole

T = TypeVar("T")


@dataclass(frozen=True)
class UserImages:
    """Images as the user gave them, each of its own size.

    Attributes:
        sources: the file that each image came from.
        indices: its index within that file, 0 for a file of one image.
        images: the images, each (C, H, W) with C 1 or 3, uint8, or float32 in [0, 1].
        white: the value of 16-bit pixels that became 1; None if there were no such pixels.
    """

    sources: list[str]
    indices: list[int]
    images: list[Tensor]
    white: int | None = None

    def __len__(self) -> int:
        return len(self.images)

    def digests(self) -> list[str]:
        """A fingerprint of each image's content, the same wherever the image comes from.

        Returns:
            The SHA-256 of each image's shape, type and values as loaded, as 64 hexadecimal digits.
            Neither the name of the file nor the place in it plays a part.

        >>> twice = UserImages(["a.png", "b.png"], [0, 0], [torch.zeros(1, 2, 2)] * 2)
        >>> len(set(twice.digests()))
        1
        """
        return [_digest(image) for image in self.images]


def load_images(path: Path | str, white: int | None = None) -> UserImages:
    """Loads an image file, all images of a folder, or an array of images.

    **Image files** are PNG, JPEG, BMP, TIFF, GIF and WebP. All pages of a TIFF, planes of a stack
    and frames of an animation are read, each as an image with its index; so are the channels of a
    microscope's stack. Of a JPEG only the first picture is read. Images are turned upright where
    the file tells how, grey stays one channel, and transparency is laid over black. A TIFF is read
    as its tags say, or refused. Neither the reduced copies nor the metadata in a file are images.

    **A folder** is read in the order of its names, without its subfolders and without names that
    begin with a dot. A file in it that cannot be read is left out with a note.

    **An array** is a `.npy` file, or a `.npz` file's `x` or else its first array. Its shape is
    (H, W) for one grey picture, (H, W, C) with C 3 or 4 for one picture in colour (a note says so),
    (M, H, W), or (M, H, W, C) with C 1, 3 or 4. A fourth channel is opacity.

    **Values** are bytes, booleans, 16 bits, or floats in [0, 1]; TIFF also has other numbers of
    bits, whose largest value becomes 1. Of 16 bits, 65535 becomes 1; but if no 16-bit value of the
    whole path exceeds 4095, as from a camera of 12 bits, 4095 does, and a note says so.

    A picture may have 128 megapixels, an array 1 GiB as stored, and a file or folder 4 GiB of
    pixels as loaded (a byte, or four bytes for floats and 16 bits). This is checked before pixels
    are decoded. A note is a `UserWarning`.

    Args:
        path: the file or folder.
        white: the value of 16-bit pixels that becomes 1, from 1 to 65535, or None to decide it as
            above. Give the `white` of the images that a model was trained on. Larger values become
            1, with a note.

    Returns:
        At least one image.

    Raises:
        UserError: `path` does not exist, is neither file nor folder, is damaged or too large, holds
            no image that can be read, or an array of another shape, type or range.

    >>> load_images("scans/").images[0].shape  # doctest: +SKIP
    torch.Size([1, 480, 640])
    """
    path = Path(path)
    if white is not None and not 1 <= white <= FULL_WHITE:
        raise UserError(f"white is {white}; it must be from 1 to {FULL_WHITE}")
    found = _read_folder(path) if is_folder(path) else {path: _read_file(path)}
    stored = [picture for part in found.values() for picture in part]
    white = find_white(path, stored, white)
    return UserImages(
        [str(file) for file, part in found.items() for _ in part],
        [index for part in found.values() for index in range(len(part))],
        [as_tensor(picture, white) for picture in stored],
        white,
    )


def as_scenes(images: UserImages, canvas: tuple[int, int, int]) -> tuple[Scenes, Tensor]:
    """Brings images to one canvas, with a `UserWarning` that says how many were resized.

    Sizes change by antialiased bilinear interpolation, each axis by its own factor; colour becomes
    grey by its luminance, grey becomes colour by repetition.

    Args:
        images: the images, at least one.
        canvas: channels (1 or 3), height and width.

    Returns:
        The scenes, bytes if every image is, and the factors (sx, sy), with shape (M, 2), that take
        x and y on the canvas back to pixels of the input.
    """
    _, height, width = canvas
    sizes = torch.tensor([image.shape[:0:-1] for image in images.images])  # (M, 2): width, height
    scale = sizes / torch.tensor([width, height])
    resized = int((scale != 1).any(1).sum())
    if resized:
        note(f"{resized} of {len(images)} images resized to {height}x{width} pixels")
    fitted = [_fit(image, canvas) for image in images.images]
    if any(image.dtype != torch.uint8 for image in fitted):
        fitted = [_floats(image) for image in fitted]
    return Scenes(torch.stack(fitted)), scale


def training_images(
    path: Path | str, canvas: tuple[int, int] | None = None, white: int | None = None
) -> Scenes:
    """Loads images to train on, all brought to one size.

    Args:
        path: an image file, a folder or an array; see `load_images`.
        canvas: height and width, or None for those of the first image.
        white: the value of 16-bit pixels that becomes 1; see `load_images`.

    Returns:
        Scenes, as `training_scenes` makes them.

    Raises:
        UserError: as in `load_images` and `training_scenes`.
    """
    return training_scenes(load_images(path, white), canvas)


def training_scenes(images: UserImages, canvas: tuple[int, int] | None = None) -> Scenes:
    """Brings images to train on to one size, and adds the truth of their `.npz` file.

    Args:
        images: what `load_images` returned.
        canvas: height and width, or None for those of the first image.

    Returns:
        Scenes, in colour if any image is. The truth of a file such as `save_scenes` writes comes
        along, boxes and masks brought to the canvas. Without counts the others are left out.

    Raises:
        UserError: the file's truth cannot be true of its images.
    """
    channels = max(image.shape[0] for image in images.images)
    size = images.images[0].shape[1:]
    height, width = canvas or size
    source = Path(images.sources[0])
    truth = None
    if source.suffix.lower() in arrays.SUFFIXES:
        truth = checked_truth(source, arrays.read_truth(source), len(images), *size)
    scenes, scale = as_scenes(images, (channels, height, width))
    if truth is None:
        return scenes
    boxes = None if truth.boxes is None else truth.boxes / scale.repeat(1, 2)[:, None]
    masks = None if truth.masks is None else _resized_masks(truth.masks, (height, width))
    return replace(scenes, **vars(replace(truth, boxes=boxes, masks=masks)))


def save_scenes(scenes: Scenes, path: Path) -> Path:
    """Writes scenes to a compressed `.npz` file, whole or not at all.

    The file holds `x`, (M, H, W) for grey and (M, H, W, C) for colour, and those of `count`,
    `boxes`, `labels`, `masks`, `pose` and `camera` that are known.

    Raises:
        UserError: `path` does not end in .npz or cannot be written.
    """
    if path.suffix != ".npz":
        raise UserError(f"scenes are saved as .npz; name a file like {path.with_suffix('.npz')}")
    x = scenes.image.movedim(1, -1)
    truth = {name: getattr(scenes, name) for name in arrays.TRUTH}
    tensors = {"x": x.squeeze(-1) if x.shape[-1] == 1 else x, **truth}
    stored = {name: t.cpu().numpy() for name, t in tensors.items() if t is not None}
    return write_whole(path, lambda temporary: np.savez_compressed(temporary, **stored))


def _read_file(path: Path) -> list[np.ndarray]:
    is_array = path.suffix.lower() in arrays.SUFFIXES
    return _in_unit_range(path, arrays.read_pictures if is_array else pictures.read_file)


def _read_image(path: Path) -> list[np.ndarray]:
    return _in_unit_range(path, pictures.read_file)


def _in_unit_range(path: Path, read: Callable[[Path], list[np.ndarray]]) -> list[np.ndarray]:
    return [in_unit_range(shown(path), picture) for picture in read(path)]


def _read_folder(folder: Path) -> dict[Path, list[np.ndarray]]:
    sizes = _readable(names(folder), pictures.measure_file)
    check_total(folder, sum(sizes.values()))
    found = _readable(list(sizes), _read_image)
    if not found:
        raise UserError(
            f"{shown(folder)} holds no image that can be read; name a folder of PNG or JPEG"
        )
    return found


def _readable(files: list[Path], read: Callable[[Path], T]) -> dict[Path, T]:
    """What `read` returns for each file; a file that it refuses is left out with a note."""
    found = {}
    for file in files:
        try:
            found[file] = read(file)
        except UserError as error:
            note(f"left out: {error}")
    return found


def _digest(image: Tensor) -> str:
    header = f"{image.dtype} {tuple(image.shape)}\n".encode()
    return hashlib.sha256(header + image.contiguous().numpy().tobytes()).hexdigest()


def _fit(image: Tensor, canvas: tuple[int, int, int]) -> Tensor:
    """Brings an image (C, H, W) to the canvas, in its own type."""
    channels, height, width = canvas
    if image.shape == canvas:
        return image
    floats = _recolour(image.float(), channels)
    if image.shape[1:] != (height, width):
        size = (height, width)
        floats = interpolate(floats[None], size, mode="bilinear", antialias=True)[0]
    if image.dtype == torch.uint8:
        return floats.round_().clamp_(0, 255).to(torch.uint8)
    return floats.clamp_(0, 1)


def _resized_masks(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """Labels (M, h, w) at another size, each pixel that of the nearest one."""
    if masks.shape[1:] == size:
        return masks
    return interpolate(masks[:, None], size, mode="nearest-exact")[:, 0]


def _recolour(image: Tensor, channels: int) -> Tensor:
    if image.shape[0] == 3 and channels == 1:
        return torch.einsum("chw,c->hw", image, torch.tensor(LUMINANCE))[None]
    return image.expand(channels, -1, -1).clone()


def _floats(image: Tensor) -> Tensor:
    return image / 255.0 if image.dtype == torch.uint8 else image
