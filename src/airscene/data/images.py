"""The user's own images: one file, a folder or an array."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.functional import interpolate

from airscene.data.scenes import Scenes
from airscene.errors import UserError
from airscene.files import write_whole

MEGAPIXELS = 64  # larger files are refused before they are decoded
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")
_ARRAYS = (".npy", ".npz")
_GREY_MODES = ("1", "L", "LA", "La")
_LUMINANCE = (0.299, 0.587, 0.114)
_TRUTH_KINDS = {"count": "iu", "boxes": "f", "labels": "iu"}  # of numpy: integers, floats


@dataclass(frozen=True)
class UserImages:
    """Images as the user gave them, each of its own size.

    Attributes:
        sources: the file that each image came from.
        indices: its index within that file, 0 for a file of one image.
        images: the images, each (C, H, W) with C 1 or 3, uint8, or float32 in [0, 1].
    """

    sources: list[str]
    indices: list[int]
    images: list[Tensor]

    def __len__(self) -> int:
        return len(self.images)


def load_images(path: Path) -> UserImages:
    """Loads an image file, all images of a folder, or an array of images.

    Image files are PNG, JPEG, BMP, TIFF, GIF (the first frame) and WebP, turned upright where a
    camera noted how; grey stays one channel, transparency is laid over black, 16-bit grey becomes
    floats. A folder is read in the order of its names, without its subfolders; a file in it that
    cannot be read or has more than 64 megapixels is left out with a `UserWarning`. An array is a
    `.npy` file, or a `.npz` file's `x` or else its first array: (M, H, W), or (M, H, W, C) with
    C 1 or 3, bytes or floats in [0, 1].

    Raises:
        UserError: `path` does not exist, holds no image that can be read, or an array of another
            rank, type or range.
    """
    if path.is_dir():
        return _load_folder(path)
    if path.suffix.lower() in _ARRAYS:
        images = _load_array(path)
        return UserImages([str(path)] * len(images), list(range(len(images))), images)
    return UserImages([str(path)], [0], [_read_image(path)])


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
        note = f"{resized} of {len(images)} images resized to {height}x{width} pixels"
        warnings.warn(note, UserWarning, stacklevel=2)
    fitted = [_fit(image, canvas) for image in images.images]
    if any(image.dtype != torch.uint8 for image in fitted):
        fitted = [_floats(image) for image in fitted]
    return Scenes(torch.stack(fitted)), scale


def training_images(path: Path, canvas: tuple[int, int] | None = None) -> Scenes:
    """Loads images to train on, all brought to one size.

    Args:
        path: an image file, a folder or an array; see `load_images`.
        canvas: height and width, or None for those of the first image.

    Returns:
        Scenes, in colour if any image is. The counts, boxes and labels of a file that `save_scenes`
        wrote come along; arrays of these names that do not match the images are left out with a
        `UserWarning`.

    Raises:
        UserError: as in `load_images`.
    """
    images = load_images(path)
    channels = max(image.shape[0] for image in images.images)
    height, width = canvas or images.images[0].shape[1:]
    scenes, scale = as_scenes(images, (channels, height, width))
    if path.suffix.lower() != ".npz":
        return scenes
    return _with_truth(scenes, _arrays(path, tuple(_TRUTH_KINDS)), scale)


def save_scenes(scenes: Scenes, path: Path) -> Path:
    """Writes scenes to a compressed `.npz` file, whole or not at all.

    The file holds `x`, (M, H, W) for grey and (M, H, W, C) for colour, and those of `count`,
    `boxes` and `labels` that are known.

    Raises:
        UserError: `path` does not end in .npz or cannot be written.
    """
    if path.suffix != ".npz":
        raise UserError(f"scenes are saved as .npz; name a file like {path.with_suffix('.npz')}")
    x = scenes.image.movedim(1, -1)
    truth = {"count": scenes.count, "boxes": scenes.boxes, "labels": scenes.labels}
    tensors = {"x": x.squeeze(-1) if x.shape[-1] == 1 else x, **truth}
    arrays = {name: t.cpu().numpy() for name, t in tensors.items() if t is not None}
    return write_whole(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def _load_folder(folder: Path) -> UserImages:
    images = {}
    for file in _visible_files(folder):
        try:
            images[str(file)] = _read_image(file)
        except UserError as error:
            warnings.warn(f"left out: {error}", UserWarning, stacklevel=3)
    if not images:
        raise UserError(f"{folder} holds no image that can be read; name a folder of PNG or JPEG")
    return UserImages(list(images), [0] * len(images), list(images.values()))


def _visible_files(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror or error}") from error


def _read_image(path: Path) -> Tensor:
    """Reads one file as (C, H, W), bytes or floats in [0, 1]."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of large files; they are refused below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as image:
                _refuse_enormous(path, image)
                return _tensor(path, ImageOps.exif_transpose(image))
    except UserError:
        raise
    except Exception as error:  # a decoder fed with a broken file may raise anything
        raise _unreadable(path, "a PNG, JPEG, BMP, TIFF, GIF or WebP image", error) from error


def _refuse_enormous(path: Path, image: Image.Image) -> None:
    pixels = image.width * image.height
    if pixels > MEGAPIXELS * 1_000_000:
        size = f"{image.width}x{image.height} pixels"
        raise UserError(f"{path} has {size}, more than {MEGAPIXELS} megapixels; shrink it")


def _tensor(path: Path, image: Image.Image) -> Tensor:
    if image.mode.startswith("I;16"):
        pixels = np.asarray(image).astype(np.float32) / 65535
    elif image.mode in ("I", "F"):
        raise UserError(f"{path} has 32-bit pixels; save it with 8 or 16 bits, or as .npy")
    else:
        pixels = np.array(_on_black(image))
    return _channels_first(torch.from_numpy(np.atleast_3d(pixels)))


def _on_black(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel, grey or RGB, without transparency."""
    mode = "L" if _is_grey(image) else "RGB"
    if not image.has_transparency_data:
        return image.convert(mode)
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, image.convert("RGBA")).convert(mode)


def _is_grey(image: Image.Image) -> bool:
    if image.mode != "P":
        return image.mode in _GREY_MODES
    palette = image.getpalette("RGB") or []
    return palette[0::3] == palette[1::3] == palette[2::3]


def _load_array(path: Path) -> list[Tensor]:
    arrays = _arrays(path)
    if not arrays:
        raise UserError(f"{path} holds no array; save the images as x")
    array = arrays.get("x", next(iter(arrays.values())))
    array = array[..., None] if array.ndim == 3 else array
    _check_shape(path, array)
    pixels = torch.from_numpy(_check_values(path, array))
    return [_channels_first(image) for image in pixels]


def _arrays(path: Path, names: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """The arrays of a .npz file, all or those named, or the one of a .npy file; never pickles."""
    try:
        with path.open("rb") as file:  # numpy leaves a damaged archive open
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"x": loaded}
            return {name: loaded[name] for name in loaded.files if not names or name in names}
    except Exception as error:  # so may numpy
        raise _unreadable(path, "a .npy or .npz array of plain numbers", error) from error


def _unreadable(path: Path, kind: str, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"{path} does not exist; name an image, a folder or an array")
    reason = (str(error) or type(error).__name__).splitlines()[0]
    return UserError(f"{path} cannot be read ({reason}); replace it with {kind}")


def _check_shape(path: Path, array: np.ndarray) -> None:
    """Refuses an array that is not (M, H, W, C) with C 1 or 3, grey already with its channel."""
    if array.ndim != 4 or array.shape[3] not in (1, 3):
        accepted = "(M, H, W), or (M, H, W, C) with C 1 or 3"
        raise UserError(f"{path} has shape {array.shape}; images are {accepted}: reshape it")
    if not array.size:
        raise UserError(f"{path} has shape {array.shape}, which holds no pixel; add images")


def _check_values(path: Path, array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise UserError(f"{path} holds {array.dtype}; save uint8, or floats in [0, 1]")
    if not np.isfinite(array).all():
        raise UserError(f"{path} holds NaN or infinite pixels; replace them with numbers in [0, 1]")
    array = array.astype(np.float32)
    low, high = array.min(), array.max()
    if low < 0 or high > 1:
        found = f"pixels from {low:g} to {high:g}"
        raise UserError(f"{path} holds {found}; scale the floats to [0, 1] or save uint8")
    return array


def _channels_first(image: Tensor) -> Tensor:
    return image.movedim(-1, 0).contiguous()


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


def _recolour(image: Tensor, channels: int) -> Tensor:
    if image.shape[0] == 3 and channels == 1:
        return torch.einsum("chw,c->hw", image, torch.tensor(_LUMINANCE))[None]
    return image.expand(channels, -1, -1).clone()


def _floats(image: Tensor) -> Tensor:
    return image / 255.0 if image.dtype == torch.uint8 else image


def _with_truth(scenes: Scenes, arrays: dict[str, np.ndarray], scale: Tensor) -> Scenes:
    """Adds the truth that a file holds, its boxes brought to the canvas."""
    known = {name: arrays[name] for name in ("count", "boxes", "labels") if name in arrays}
    if "count" not in known:
        return scenes
    if not _agree(len(scenes), known):
        note = "count, boxes and labels do not match the images: their truth is left out"
        warnings.warn(note, UserWarning, stacklevel=3)
        return scenes
    types = {"count": np.int64, "boxes": np.float32, "labels": np.int64}
    truth = {name: torch.from_numpy(array.astype(types[name])) for name, array in known.items()}
    if "boxes" in truth:
        truth["boxes"] = truth["boxes"] / scale.repeat(1, 2)[:, None]
    return replace(scenes, **truth)


def _agree(number: int, known: dict[str, np.ndarray]) -> bool:
    """Whether the truth has the shapes, types and counts that `Scenes` promises."""
    per_object = [known[name] for name in ("boxes", "labels") if name in known]
    most = max((array.shape[1] for array in per_object if array.ndim > 1), default=0)
    shapes = {"count": (number,), "boxes": (number, most, 4), "labels": (number, most)}
    for name, array in known.items():
        if array.shape != shapes[name] or array.dtype.kind not in _TRUTH_KINDS[name]:
            return False
    count = known["count"]
    return count.min() >= 0 and (not per_object or count.max() <= most)
