"""Whole pictures in a run: prepared alike, and cut into the crops that it learns from."""

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from airscene.config import Config
from airscene.core.seeds import Purpose, stream
from airscene.data import Scenes
from airscene.data.contrast import LOOKED_AT, Contrast, settle
from airscene.data.whole import WholePicture, picture_files, read_pictures
from airscene.errors import UserError
from airscene.models.whole_config import WholeConfig
from airscene.runs.pictures import (
    DIGITS,
    HELD_OUT_SHARE,
    Pictures,
    Record,
    found_again,
    load_record,
    ranked,
)

FEWEST_HELD_OUT = 5  # pictures from which some are held out; of fewer, all are learned from
MOST_PIXELS = 500_000_000  # of prepared pictures, a byte each
CROPS = (256, 8192)  # fewest and most crops that are learned from
COVERED = 4  # how often crops cover a picture
VALIDATION_CROPS = 50


def whole_pictures(config: Config) -> tuple[Config, Pictures]:
    """Reads a training's pictures, settles how they are prepared, and cuts them into crops.

    Args:
        config: names the data, the seed and the size of the crops.

    Returns:
        The configuration with its contrast settled, and the crops.

    Raises:
        UserError: nothing can be read, or nothing is to be seen in it.
    """
    files = picture_files([Path(config.data)])
    model = cast(WholeConfig, config.model)
    contrast = settle(model.contrast, _sample(files, config.data))
    config = replace(config, model=replace(model, contrast=contrast))
    prepared, digests = _prepared(files, contrast)
    held = _held_out(digests, config.seed)
    train = [k for k in range(len(digests)) if k not in held] or [*held]
    record = Record(tuple(digests[k] for k in train), tuple(digests[k] for k in sorted(held)))
    learned = cut([prepared[k] for k in train], config, Purpose.CROPS)
    checked = cut([prepared[k] for k in sorted(held)], config, Purpose.VALIDATION, VALIDATION_CROPS)
    return config, Pictures(learned, checked, record)


def with_object_size(config: Config, object_size: float) -> Config:
    """The configuration of a model of whole pictures, for objects of so many pixels of the files.

    Raises:
        UserError: the size is out of range.
    """
    model = cast(WholeConfig, config.model)
    contrast = replace(model.contrast, object_size=object_size)
    return replace(config, model=replace(model, contrast=contrast))


def held_out_crops(config: Config, run: Path, data: Path | None = None) -> Scenes:
    """The crops that a run is evaluated on.

    Args:
        config: the run's.
        run: its folder.
        data: where its pictures lie now; where they lay in training unless given.

    Raises:
        UserError: none of the pictures is there any more.
    """
    kept = held_out_pictures(config, run, data)
    return cut(kept, config, Purpose.VALIDATION, VALIDATION_CROPS)


def held_out_pictures(config: Config, run: Path, data: Path | None = None) -> list[Tensor]:
    """The pictures that a run did not learn from, or all where these are few.

    They are prepared, as bytes (1, h, w). Arguments and errors are those of `held_out_crops`.
    """
    record, place = load_record(run), data or Path(config.data)
    prepared, digests = _prepared(picture_files([place]), cast(WholeConfig, config.model).contrast)
    return [prepared[k] for k in found_again(record, digests, place, run)]


def test_crops(config: Config, data: Path) -> Scenes:
    """Crops of other pictures than a run's own.

    Args:
        config: the run's.
        data: a folder, a file or an array.

    Raises:
        UserError: no picture can be read.
    """
    contrast = cast(WholeConfig, config.model).contrast
    prepared, _ = _prepared(picture_files([data]), contrast)
    if not prepared:
        raise UserError(f"--data {data} holds no picture that can be read; name another folder")
    return cut(prepared, config, Purpose.VALIDATION, VALIDATION_CROPS)


def cut(
    prepared: Sequence[Tensor], config: Config, purpose: Purpose, number: int | None = None
) -> Scenes:
    """Crops at random places of pictures, larger pictures having more, turned and flipped.

    A picture that is smaller than a crop lies at a random place in it, on black.

    Args:
        prepared: pictures as bytes, shape (1, h, w).
        config: the size of a crop, and the seed.
        purpose: names the stream of random numbers.
        number: of crops; as many as cover the pictures a few times, unless given.
    """
    size = config.model.height, config.model.width
    roomy = [_roomy(picture, size) for picture in prepared]
    area = torch.tensor([float(picture.numel()) for picture in roomy])
    if number is None:
        wanted = COVERED * float(area.sum()) / (size[0] * size[1])
        number = int(min(max(wanted, CROPS[0]), CROPS[1]))
    generator = stream(purpose, config.seed)
    which = torch.multinomial(area, number, replacement=True, generator=generator).tolist()
    return Scenes(torch.stack([_crop(roomy[k], size, generator) for k in which]))


def _sample(files: list[Path], data: str) -> list[np.ndarray]:
    """Some of the pictures, spread over all files.

    Raises:
        UserError: none can be read.
    """
    spread = files[:: max(1, len(files) // LOOKED_AT)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the notes come when all are read
        found = [p.pixels for p in islice(read_pictures(spread), LOOKED_AT)]
        found = found or [p.pixels for p in islice(read_pictures(files), LOOKED_AT)]
    if not found:
        raise UserError(f"--images {data} holds no picture that can be read; name another folder")
    return found


def _prepared(files: list[Path], contrast: Contrast) -> tuple[list[Tensor], list[str]]:
    """All pictures, prepared, as bytes (1, h, w), and the hash of each one's content."""
    prepared, digests, pixels = [], [], 0
    for picture in read_pictures(files):
        small = (contrast.prepare(picture.pixels) * 255).round().byte()
        pixels += small.numel()
        if pixels > MOST_PIXELS and prepared:
            warnings.warn(
                f"the first {len(prepared)} pictures are learned from, as more would not fit into "
                f"memory",
                stacklevel=2,
            )
            break
        prepared.append(small)
        digests.append(_digest(picture))
    return prepared, digests


def _digest(picture: WholePicture) -> str:
    header = f"{picture.pixels.dtype} {picture.pixels.shape}\n".encode()
    return hashlib.sha256(header + picture.pixels.tobytes()).hexdigest()[:DIGITS]


def _held_out(digests: list[str], seed: int) -> set[int]:
    """Which pictures are held out: a tenth by their content; of few, all, which are learned too."""
    distinct = ranked(digests, seed)
    if len(distinct) < FEWEST_HELD_OUT:
        return {*range(len(digests))}
    some = {*distinct[: max(1, len(distinct) // HELD_OUT_SHARE)]}
    return {k for k, digest in enumerate(digests) if digest in some}


def _roomy(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """A picture with black around it where it is smaller than a crop."""
    rows, columns = (max(0, s - have) for s, have in zip(size, picture.shape[1:], strict=True))
    return F.pad(picture, [columns // 2, columns - columns // 2, rows // 2, rows - rows // 2])


def _crop(picture: Tensor, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    rows, columns = (have - s for s, have in zip(size, picture.shape[1:], strict=True))
    y, x = (int(torch.randint(n + 1, (), generator=generator)) for n in (rows, columns))
    crop = picture[:, y : y + size[0], x : x + size[1]]
    flips = [axis for axis in (1, 2) if torch.rand((), generator=generator) < 0.5]
    crop = crop.flip(flips)
    turns = size[0] == size[1] and torch.rand((), generator=generator) < 0.5
    return crop.mT if turns else crop
