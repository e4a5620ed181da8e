"""The MNIST digits: four IDX files, read from a named folder or downloaded."""

import gzip
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from airscene.data.published import Published
from airscene.errors import UserError

Split = Literal["train", "test"]

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_PREFIXES: dict[Split, str] = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTES = 0x08


def _forms(name: str) -> tuple[str, ...]:
    """A file's names: as downloaded, decompressed, and both as some tools write them."""
    stem = name.removesuffix(".gz")
    dotted = stem.replace("-idx", ".idx")
    return stem, name, dotted, f"{dotted}.gz"


FILES = Published(
    files="the four MNIST files",
    folder="mnist",
    mirrors=MIRRORS,
    hashes={
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    subfolders=("", "mnist", "MNIST/raw"),
    forms=_forms,
)


def load_mnist(split: Split, data_dir: Path | None = None) -> tuple[Tensor, Tensor]:
    """Loads the official training or test digits.

    The files come from `data_dir`, else from the folder in the environment variable
    `AIRSCENE_DATA_DIR`, else they are downloaded once into the user's cache. In a named folder they
    may be gzipped or not, and lie in it, in `mnist/` or in `MNIST/raw/` under it.

    Args:
        split: the official split, `train` or `test`.
        data_dir: the folder that holds the IDX files, or None.

    Returns:
        The images, uint8 with shape (S, 28, 28), and their labels 0..9, int64 with shape (S,).

    Raises:
        UserError: a file is missing, damaged or not what its name says, or no mirror answers.
    """
    image_path = FILES.locate(f"{_PREFIXES[split]}-images-idx3-ubyte.gz", data_dir)
    label_path = FILES.locate(f"{_PREFIXES[split]}-labels-idx1-ubyte.gz", data_dir)
    images, labels = read_idx(image_path, rank=3), read_idx(label_path, rank=1)
    _check(images, labels, image_path, label_path)
    return torch.from_numpy(images), torch.from_numpy(labels).long()


def read_idx(path: Path, rank: int) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, gzipped or not.

    Args:
        path: the file.
        rank: the number of axes it must have.

    Returns:
        A writable uint8 array with `rank` axes.

    Raises:
        UserError: the file cannot be read, has another magic number or another size.
    """
    content = _content(path)
    magic = bytes([0, 0, _UNSIGNED_BYTES, rank])
    if content[:4] != magic:
        raise _damaged(path, f"starts with bytes {content[:4].hex()}, not {magic.hex()}")
    header = 4 + 4 * rank
    if len(content) < header:
        raise _damaged(path, f"ends after {len(content)} bytes, within its header")
    shape = tuple(int(axis) for axis in np.frombuffer(content[4:header], ">u4"))
    expected = header + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise _damaged(path, f"holds {len(content)} bytes, but its header says {expected}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except EOFError as error:
        raise _damaged(path, "is a gzip file cut short") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, f"is not a sound gzip file ({error})") from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _check(images: np.ndarray, labels: np.ndarray, image_path: Path, label_path: Path) -> None:
    if images.shape[1:] != (28, 28):
        raise _damaged(image_path, f"holds images of {images.shape[1:]} pixels, not (28, 28)")
    if not len(images):
        raise _damaged(image_path, "holds no images")
    if len(images) != len(labels):
        raise _damaged(label_path, f"holds {len(labels)} labels for {len(images)} images")
    if labels.max() > 9:
        raise _damaged(label_path, f"holds the label {labels.max()}, which is not a digit")


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} {reason}; replace it with the official MNIST file")
