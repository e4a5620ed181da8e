"""The user's own pictures in a run: which it learns from, and which are held out."""

import hashlib
import warnings
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from airscene.config import Config
from airscene.data import Scenes, UserImages, load_images, training_scenes
from airscene.errors import UserError
from airscene.files import read_json, write_json
from airscene.runs.folder import PICTURES

LARGEST_SIDE = 128  # in pixels; the user's larger images are shrunk, as cost grows with the area
SMALLEST_SIDE = 4  # in pixels, after shrinking: below, there is nothing to find
HELD_OUT_SHARE = 10  # one picture of so many is held out
DIGITS = 32  # of a picture's hash: 128 bits tell any number of pictures apart


@dataclass(frozen=True)
class Record:
    """Which pictures a run was made of, by the hashes of their content.

    Attributes:
        train: of the pictures that it learns from, in the order in which it numbers them.
        held_out: of the pictures that it is evaluated on.
        white: the value of 16-bit pixels that is read as 1, if there were any.
    """

    train: tuple[str, ...]
    held_out: tuple[str, ...]
    white: int | None = None


@dataclass(frozen=True)
class Pictures:
    """The user's pictures, split.

    Attributes:
        train: what a run learns from.
        held_out: what it is evaluated on.
        record: which pictures these are.
    """

    train: Scenes
    held_out: Scenes
    record: Record


def split_pictures(config: Config) -> Pictures:
    """Loads a training's pictures and holds out a tenth, the same ones whatever their names are.

    A picture's place in the split follows from the seed and the picture's content. Equal pictures
    are never on both sides.

    Args:
        config: names the data, the seed and the largest number of pictures to hold out.

    Raises:
        UserError: the pictures cannot be read, or there are not two that differ.
    """
    scenes, digests, white = load_own(Path(config.data))
    distinct = ranked(digests, config.seed)
    if len(distinct) < 2:
        raise UserError(
            f"--data {config.data} holds one image; training needs at least two that differ"
        )
    number = min(max(1, len(distinct) // HELD_OUT_SHARE), config.training.validation_scenes)
    place = {digest: rank for rank, digest in enumerate(distinct)}
    order = sorted(range(len(digests)), key=lambda k: place[digests[k]])
    held = [k for k in order if place[digests[k]] < number]
    train = order[len(held) :]
    record = Record(tuple(digests[k] for k in train), tuple(digests[k] for k in held), white)
    return Pictures(scenes[torch.tensor(train)], scenes[torch.tensor(held)], record)


def load_own(
    data: Path, canvas: tuple[int, int] | None = None, white: int | None = None
) -> tuple[Scenes, list[str], int | None]:
    """The user's pictures at the size in which they are trained on.

    Args:
        data: a folder, a file or an array.
        canvas: height and width; those of the first picture, shrunk where it is large, unless
            given.
        white: the value of 16-bit pixels that is 1; the pictures decide unless given.

    Returns:
        The pictures, the hash of each one's content, and the `white` that was used.

    Raises:
        UserError: there are none, they cannot be read, or they are too small.
    """
    images = load_images(data, white=white)
    scenes = training_scenes(images, canvas or shrunk(data, images))
    return scenes, [digest[:DIGITS] for digest in images.digests()], images.white


def load_shrunk(data: Path) -> tuple[Scenes, float]:
    """The user's pictures as `load_own` loads them, and the factor by which they were shrunk.

    Raises:
        UserError: see `load_own`.
    """
    images = load_images(data)
    canvas = shrunk(data, images)
    return training_scenes(images, canvas), canvas[0] / images.images[0].shape[-2]


def shrunk(data: Path, images: UserImages) -> tuple[int, int]:
    """Height and width of the first picture, shrunk together where the longer is too long.

    Raises:
        UserError: the shorter side is, or becomes, too short.
    """
    height, width = images.images[0].shape[-2:]
    factor = min(1.0, LARGEST_SIDE / max(height, width))
    canvas = round(height * factor), round(width * factor)
    if min(canvas) < SMALLEST_SIDE:
        raise UserError(
            f"--data {data} has pictures of {height}x{width} pixels, {canvas[0]}x{canvas[1]} in "
            f"training, where the shorter side must have {SMALLEST_SIDE}: cut or pad them"
        )
    return canvas


def save_record(record: Record, run: Path) -> Path:
    """Writes a run's pictures.json."""
    return write_json(run / PICTURES, asdict(record))


def load_record(run: Path) -> Record:
    """Which pictures a run was made of.

    Raises:
        UserError: the run has no such record, or a damaged one.
    """
    path = run / PICTURES
    if not path.exists():
        raise UserError(
            f"{path} does not exist, which tells the held-out pictures from the others; "
            f"evaluate on other pictures by --data, or train anew"
        )
    values = read_json(path)
    if not _is_record(values):
        raise UserError(f"{path} is damaged; restore it, or train anew")
    return Record(tuple(values["train"]), tuple(values["held_out"]), values["white"])


def check_unchanged(record: Record, run: Path) -> None:
    """Refuses to go on with other pictures than a run began with.

    Args:
        record: of the pictures as they are now.
        run: the run's folder.

    Raises:
        UserError: pictures were added, removed or changed.
    """
    before = load_record(run)
    if record == before:
        return
    now, then = (Counter((*some.train, *some.held_out)) for some in (record, before))
    raise UserError(
        f"--resume: the pictures in --data have changed since {run} began: "
        f"{(now - then).total()} are new and {(then - now).total()} are gone; restore them, or "
        f"train anew in another folder"
    )


def held_out(config: Config, run: Path, data: Path | None = None) -> Scenes:
    """The pictures that a run never learned from.

    Args:
        config: the run's.
        run: its folder.
        data: where the pictures lie now; where they lay in training unless given.

    Raises:
        UserError: none of them is there any more.
    """
    record, place = load_record(run), data or Path(config.data)
    canvas = config.model.height, config.model.width
    scenes, digests, _ = load_own(place, canvas, record.white)
    return scenes[torch.tensor(found_again(record, digests, place, run))]


def ranked(digests: list[str], seed: int) -> list[str]:
    """The distinct hashes of pictures, in an order that they and the seed decide."""
    return sorted({*digests}, key=lambda digest: _rank(seed, digest))


def found_again(record: Record, digests: list[str], place: Path, run: Path) -> list[int]:
    """Which of some pictures a run holds out; a note tells of those that are gone or new.

    Args:
        record: the run's.
        digests: hashes of the pictures that there are now.
        place: where they lie.
        run: the run's folder.

    Raises:
        UserError: none of them is there any more.
    """
    known = {*record.held_out}
    kept = [k for k, digest in enumerate(digests) if digest in known]
    missing, new = len(known - {*digests}), len({*digests} - known - {*record.train})
    if not kept:
        raise UserError(
            f"--data {place} holds none of the pictures that {run} holds out; name the folder in "
            f"which they lie by --data"
        )
    if missing or new:
        warnings.warn(
            f"--data {place} has changed since {run} began: {missing} of {len(known)} held-out "
            f"pictures are gone, and {new} new ones are left out",
            stacklevel=2,
        )
    return kept


def _rank(seed: int, digest: str) -> str:
    return hashlib.sha256(f"{seed} {digest}".encode()).hexdigest()


def _is_record(values: object) -> bool:
    if not isinstance(values, dict) or values.keys() != {"train", "held_out", "white"}:
        return False
    lists = [values["train"], values["held_out"]]
    return (
        all(isinstance(some, list) and all(isinstance(k, str) for k in some) for some in lists)
        and (values["white"] is None or type(values["white"]) is int)
        and bool(values["held_out"])
    )
