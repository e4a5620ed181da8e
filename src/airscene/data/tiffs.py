"""Pictures in TIFF files, read as their tags say or refused."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path

import numpy as np
from tifffile import COMPRESSION, EXTRASAMPLE, PHOTOMETRIC, SAMPLEFORMAT, TiffFile, TiffPage

from airscene.data.pixels import as_pixels, on_black
from airscene.data.reading import (
    IMAGE_KIND,
    MEGAPIXELS,
    check_picture,
    check_total,
    decoding,
    reading,
    shown,
)
from airscene.errors import UserError

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ALPHA = (EXTRASAMPLE.ASSOCALPHA, EXTRASAMPLE.UNASSALPHA)
_COMPRESSIONS = {
    COMPRESSION.NONE,
    COMPRESSION.CCITTRLE,
    COMPRESSION.CCITT_T4,
    COMPRESSION.CCITT_T6,
    COMPRESSION.LZW,
    COMPRESSION.JPEG,
    COMPRESSION.ADOBE_DEFLATE,
    COMPRESSION.DEFLATE,
    COMPRESSION.PACKBITS,
    COMPRESSION.LZMA,
    COMPRESSION.ZSTD,
}
# Files of microscopes and scanners whose pages are not simply their pictures.
_MAKERS = (
    *("avs", "bif", "eer", "indica", "lsm", "mdgel", "mmstack", "ndpi", "ndtiff", "philips"),
    *("qpi", "scanimage", "scn", "sis", "svs"),
)
_PHOTOMETRIC, _ORIENTATION, _MAX_SAMPLE, _NODATA = 262, 274, 281, 42113


def is_tiff(path: Path) -> bool:
    """Whether a file begins as TIFF or BigTIFF does.

    Raises:
        UserError: the file cannot be opened.
    """
    with reading(path, IMAGE_KIND), path.open("rb") as file:
        return file.read(4) in _MAGIC


def measure(path: Path) -> int:
    """The most memory that the pictures of a TIFF fill when loaded, in bytes, from its tags.

    Raises:
        UserError: the file is damaged, too large, or of a kind that is not read.
    """
    with _opened(path) as (_, pages, planes):
        return _size(pages, planes)


def read(path: Path) -> list[np.ndarray]:
    """All pictures of a TIFF, upright: its pages, or the planes of a stack.

    Reduced copies of a page are left out. Samples that are neither colour nor opacity, such as the
    channels of a microscope, are pictures of their own. A stack of ImageJ, MetaMorph or tifffile
    that has one page for many planes is read whole.

    Returns:
        Pictures (H, W, C) with C 1 or 3, as bytes, 16 bits, or float32 of any range.

    Raises:
        UserError: the file is damaged, too large, or of a kind that is not read.
    """
    with _opened(path) as (tif, pages, planes):
        if planes > 1:
            data = tif.series[0].asarray(maxworkers=1).reshape(planes, *pages[0].shaped)
            return [picture for plane in data for picture in _pictures(path, pages[0], plane)]
        return [
            picture
            for page in pages
            for picture in _pictures(path, page, page.asarray(squeeze=False, maxworkers=1))
        ]


def upright(picture: np.ndarray, orientation: object) -> np.ndarray:
    """Turns a picture (H, W, C) as its EXIF or TIFF orientation, 1 to 8, says."""
    flips = {2: (1,), 3: (0, 1), 4: (0,), 5: (), 6: (1,), 7: (0, 1), 8: (0,)}
    if not isinstance(orientation, int) or orientation not in flips:
        return picture
    turned = picture.swapaxes(0, 1) if orientation >= 5 else picture
    return np.flip(turned, flips[orientation])


@contextmanager
def _opened(path: Path) -> Iterator[tuple[TiffFile, list[TiffPage], int]]:
    """The open file, the pages that are pictures, and how many planes lie behind a single page.

    All tags were checked. What tifffile logs as an error counts as damage, and nothing is printed.
    """
    errors: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.ERROR:
            errors.append(record.getMessage())
        return False

    log = logging.getLogger("tifffile")
    with decoding(path, IMAGE_KIND), path.open("rb") as file:
        log.addFilter(keep)
        try:
            with TiffFile(file) as tif:
                pages, planes = _pages(path, tif), _planes(tif)
                check_total(path, _size(pages, planes))
                if not errors:
                    yield tif, pages, planes
        finally:
            log.removeFilter(keep)
        if errors:
            raise ValueError(errors[0])


def _pages(path: Path, tif: TiffFile) -> list[TiffPage]:
    """The pages that are pictures, each found to be of a kind that is read."""
    maker = next((name for name in _MAKERS if getattr(tif, f"is_{name}")), None)
    if maker:
        raise _refusal(path, f"is a file of the kind {maker}", "export it as plain TIFF")
    pages: dict[int, TiffPage] = {}
    for page in tif.pages:
        if page.offset in pages:
            raise ValueError("its pages form a circle")
        pages[page.offset] = page.aspage()
    full = [page for page in pages.values() if not page.is_reduced]
    if not full:
        raise _refusal(path, "has no page of full size", "save it as PNG or plain TIFF")
    for page in full:
        _check_page(path, page)
    return full


def _planes(tif: TiffFile) -> int:
    """How many pictures lie one after the other behind the tags of a single page."""
    if len(tif.pages) > 1 or not (tif.is_imagej or tif.is_shaped or tif.is_stk):
        return 1
    series, page = tif.series[0], tif.pages.first
    return max(1, math.prod(series.shape) // math.prod(page.shaped))


def _size(pages: list[TiffPage], planes: int) -> int:
    """The most memory that the pictures fill when loaded, in bytes."""
    values = sum(math.prod(page.shaped) for page in pages) * planes
    colours = 3 if any(page.photometric == PHOTOMETRIC.PALETTE for page in pages) else 1
    width = 1 if all(page.bitspersample <= 8 for page in pages) else 4
    return values * colours * width


def _check_page(path: Path, page: TiffPage) -> None:
    """Refuses what would be misread, before a pixel is decoded."""
    check_picture(path, page.imagewidth, page.imagelength)
    if max(page.tilewidth * page.tilelength * page.tiledepth, 1) > MEGAPIXELS * 1_000_000:
        raise _refusal(path, "has enormous tiles", "save it in strips")
    if page.is_mask:
        raise _refusal(path, "has a mask of valid pixels", "fill them and save it without the mask")
    if page.compression not in _COMPRESSIONS:
        name = _name(COMPRESSION, page.compression)
        raise _refusal(path, f"is compressed by {name}", "save it with LZW or uncompressed")
    _check_type(path, page)
    _check_photometric(path, page)
    end = page.parent.filehandle.size
    segments = zip(page.dataoffsets, page.databytecounts, strict=False)
    if any(not count or offset + count > end for offset, count in segments):
        raise ValueError("parts of the pixels are missing")


def _check_type(path: Path, page: TiffPage) -> None:
    bits, kind = page.bitspersample, page.sampleformat
    fix = "save it with 8 or 16 bits without a sign, or as floats in [0, 1]"
    if not isinstance(bits, int):
        raise _refusal(path, f"has channels of different widths, {bits}", fix)
    if kind == SAMPLEFORMAT.IEEEFP and bits in (16, 32, 64):
        return
    if kind != SAMPLEFORMAT.UINT or bits > 16:
        name = _name(SAMPLEFORMAT, kind)
        raise _refusal(path, f"has pixels of {bits} bits of the kind {name}", fix)


def _check_photometric(path: Path, page: TiffPage) -> None:
    kind, extra = page.photometric, page.extrasamples
    fix = "save it as grey or RGB"
    if _PHOTOMETRIC not in page.tags:
        raise _refusal(path, "does not say whether 0 is black", fix)
    whole = page.sampleformat == SAMPLEFORMAT.UINT
    good: dict[int, bool] = {
        PHOTOMETRIC.MINISBLACK: True,
        PHOTOMETRIC.MINISWHITE: whole and page.samplesperpixel == 1,
        PHOTOMETRIC.RGB: page.samplesperpixel - len(extra) == 3,
        PHOTOMETRIC.PALETTE: whole and page.samplesperpixel == 1 and page.bitspersample <= 8,
        PHOTOMETRIC.YCBCR: page.compression == COMPRESSION.JPEG and page.samplesperpixel == 3,
    }
    if not good.get(kind, False):
        name = _name(PHOTOMETRIC, kind)
        raise _refusal(path, f"has {page.samplesperpixel} samples of the kind {name}", fix)


def _pictures(path: Path, page: TiffPage, data: np.ndarray) -> list[np.ndarray]:
    """The pictures of one page.

    Args:
        path: the file, for messages.
        page: its tags.
        data: its values, (samples, depth, H, W, samples) with one of both samples 1.
    """
    _check_nodata(path, page, data)
    depth, height, width = data.shape[1:4]
    data = np.moveaxis(data, 0, 3).reshape(depth, height, width, -1)
    orientation = page.tags.valueof(_ORIENTATION, 1)
    return [
        upright(picture, orientation)
        for plane in data
        for picture in _colours(page, _full_scale(path, page, plane))
    ]


def _check_nodata(path: Path, page: TiffPage, data: np.ndarray) -> None:
    """Refuses a map on which some pixels have no value."""
    if _NODATA in page.tags and page.nodata and (data == page.nodata).any():
        raise _refusal(path, f"has pixels without data ({page.nodata})", "fill them")


def _full_scale(path: Path, page: TiffPage, values: np.ndarray) -> np.ndarray:
    """Values as bytes, 16 bits or floats, in which 0 and the largest value mean black and white.

    Indices into a palette stay as they are.
    """
    bits = page.bitspersample
    if page.photometric == PHOTOMETRIC.PALETTE:
        return values
    if values.dtype.kind == "f":
        return as_pixels(shown(path), values)
    most = _largest(page, values)
    if bits > 8 and most < 65535:
        values = (values / np.float32(most)).astype(np.float32)
    elif bits < 8:
        values = (values.astype(np.float32) * (255 / most)).round().astype(np.uint8)
    if page.photometric != PHOTOMETRIC.MINISWHITE:
        return values
    return 1 - values if values.dtype.kind == "f" else ~values


def _largest(page: TiffPage, values: np.ndarray) -> int:
    """The value that means white: that of the bits, or of fewer that MaxSampleValue tells of.

    Some programs write there the largest value that occurs. So it counts only where it is the
    largest value of 9 to 15 bits.
    """
    full = 2**page.bitspersample - 1
    told = np.max(page.tags.valueof(_MAX_SAMPLE, full))
    camera = told in [2**bits - 1 for bits in range(9, 16)]
    return int(told) if full == 65535 and camera and told >= values.max() else full


def _colours(page: TiffPage, values: np.ndarray) -> list[np.ndarray]:
    """The pictures that the samples (H, W, S) of a plane are."""
    if page.photometric == PHOTOMETRIC.PALETTE:
        return [_through_palette(page, values)]
    colours = values.shape[2] - len(page.extrasamples)
    alpha = next((i for i, kind in enumerate(page.extrasamples) if kind in _ALPHA), None)
    if alpha is not None:
        colour, opacity = values[..., :colours], values[..., colours + alpha, None]
        associated = page.extrasamples[alpha] == EXTRASAMPLE.ASSOCALPHA
        return [colour if associated else on_black(colour, opacity)]
    if page.photometric in (PHOTOMETRIC.RGB, PHOTOMETRIC.YCBCR):
        return [values[..., :3]]
    return [values[..., i : i + 1] for i in range(values.shape[2])]


def _through_palette(page: TiffPage, indices: np.ndarray) -> np.ndarray:
    palette = np.asarray(page.colormap)  # (3, 2**bits), of 16 bits, or of 8 by old programs
    palette = (palette >> 8 if palette.max() > 255 else palette).astype(np.uint8)
    picture = palette[:, indices[..., 0].astype(np.intp)].transpose(1, 2, 0)
    return picture[..., :1] if (palette == palette[:1]).all() else picture


def _name(kinds: type[Enum], value: int) -> str:
    return kinds(value).name if value in list(kinds) else str(value)


def _refusal(path: Path, problem: str, fix: str) -> UserError:
    return UserError(f"{shown(path)} {problem}, which is not read; {fix}")
