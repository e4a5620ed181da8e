"""Pictures in image files: TIFF by tifffile, all others by Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image

from airscene.data import tiffs
from airscene.data.pixels import on_black
from airscene.data.reading import IMAGE_KIND, check_picture, check_total, decoding, note, shown
from airscene.errors import UserError

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
_ANIMATED = ("PNG", "GIF", "WEBP")
_GREY_MODES = ("1", "L", "LA", "La")
_ORIENTATION = 0x0112


def measure_file(path: Path) -> int:
    """The most memory that the pictures of a file fill when loaded, in bytes, from its header.

    Raises:
        UserError: the file is no image, is damaged, or is too large.
    """
    if tiffs.is_tiff(path):
        return tiffs.measure(path)
    with _opened(path) as image:
        return _size(path, image)


def read_file(path: Path) -> list[np.ndarray]:
    """All pages or frames of a file, upright, with transparency laid over black.

    Returns:
        Pictures (H, W, C) with C 1 or 3, as bytes, 16 bits, or float32 of any range.

    Raises:
        UserError: the file is no image, is damaged, or is too large.
    """
    if tiffs.is_tiff(path):
        return tiffs.read(path)
    with _opened(path) as image:
        _size(path, image)
        left_out = getattr(image, "n_frames", 1) - _frames(image)
        pictures = [_deep_png(path)] if _is_deep(image) else _all_frames(image)
        orientation = image.getexif().get(_ORIENTATION, 1)
    if left_out:
        note(f"{shown(path)} holds {left_out + 1} pictures; only the first is read, as of any JPEG")
    return [tiffs.upright(picture, orientation) for picture in pictures]


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    # Pillow warns of large files; they are refused by the limits of airscene.
    with decoding(path, IMAGE_KIND), Image.open(path, formats=_FORMATS) as image:
        yield image


def _size(path: Path, image: Image.Image) -> int:
    check_picture(path, image.width, image.height)
    channels = 1 if image.mode in _GREY_MODES or image.mode.startswith("I;16") else 3
    deep, frames = _is_deep(image), _frames(image)
    if deep and frames > 1:
        problem = "is an animation of 16 bits a channel, which is not read"
        raise UserError(f"{shown(path)} {problem}; save it with 8 bits or as single files")
    size = image.width * image.height * channels * (4 if deep else 1) * frames
    check_total(path, size)
    return size


def _frames(image: Image.Image) -> int:
    """How many pictures are read. Those in a JPEG after the first are previews or depth maps."""
    return getattr(image, "n_frames", 1) if image.format in _ANIMATED else 1


def _is_deep(image: Image.Image) -> bool:
    """Whether a PNG has 16 bits a channel, of which Pillow keeps 8 where it has colour."""
    return image.format == "PNG" and any(
        ";16" in str(tile.args) for tile in getattr(image, "tile", ())
    )


def _deep_png(path: Path) -> np.ndarray:
    with Image.open(path, formats=("PNG",)) as image:
        image.verify()  # refuses a damaged file, of which the other decoder prints a warning
    pixels = np.atleast_3d(imagecodecs.png_decode(path.read_bytes()))
    if pixels.shape[2] in (1, 3):
        return pixels
    return on_black(pixels[..., :-1], pixels[..., -1:])


def _all_frames(image: Image.Image) -> list[np.ndarray]:
    grey = _is_grey(image)  # Pillow turns all later frames of a GIF into colour
    frames = []
    for index in range(_frames(image)):
        image.seek(index)
        pixels = np.atleast_3d(np.array(_on_black(image)))
        same = grey and (pixels == pixels[..., :1]).all()
        frames.append(pixels[..., :1] if same else pixels)
    return frames


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
