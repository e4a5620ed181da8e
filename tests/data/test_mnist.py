import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from airscene.data import mnist, published
from airscene.data.mnist import load_mnist
from airscene.errors import UserError

SHARED = Path(__file__).parents[3] / "shared" / "data"


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return header + array.astype(np.uint8).tobytes()


def digits(number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (number, 28, 28)), rng.integers(0, 10, number)


def put(folder: Path, images: np.ndarray, labels: np.ndarray, prefix: str = "train") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return put(tmp_path, *digits(7))


@pytest.mark.parametrize("subfolder", ["", "mnist", "MNIST/raw"])
def test_reads_back_what_was_written(tmp_path, subfolder):
    images, labels = digits(5)
    put(tmp_path / subfolder, images, labels)
    read, classes = load_mnist("train", tmp_path)
    assert read.dtype == torch.uint8 and classes.dtype == torch.int64
    assert np.array_equal(read, images) and np.array_equal(classes, labels)


@pytest.mark.parametrize("form", ["{}", "{}.gz", "dotted", "dotted.gz"])
def test_accepts_every_form_of_name(folder, form):
    expected = load_mnist("train", folder)
    for path in list(folder.iterdir()):
        name = form.replace("dotted", path.name.replace("-idx", ".idx")).format(path.name)
        content = path.read_bytes()
        path.unlink()
        (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    for read, wanted in zip(load_mnist("train", folder), expected, strict=True):
        assert torch.equal(read, wanted)


def test_the_environment_names_a_folder(folder, monkeypatch):
    monkeypatch.setenv("AIRSCENE_DATA_DIR", str(folder))
    assert len(load_mnist("train")[0]) == 7


def test_missing_file_names_file_and_flag(folder):
    with pytest.raises(UserError, match=r"no t10k-images-idx3-ubyte or .*--data-dir"):
        load_mnist("test", folder)


def test_missing_file_names_the_variable(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRSCENE_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="AIRSCENE_DATA_DIR"):
        load_mnist("train")


def test_truncated_gzip(folder):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(gzip.compress(path.read_bytes())[:-200])
    with pytest.raises(UserError, match="train-images-idx3-ubyte is a gzip file cut short"):
        load_mnist("train", folder)


def test_damaged_gzip(folder):
    path = folder / "train-labels-idx1-ubyte"
    packed = bytearray(gzip.compress(path.read_bytes()))
    packed[-6] ^= 0xFF  # in the checksum
    path.write_bytes(packed)
    with pytest.raises(UserError, match="not a sound gzip file"):
        load_mnist("train", folder)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda content: b"<html" + content[5:], "starts with bytes 3c68746d"),
        (lambda content: bytes([0, 0, 13]) + content[3:], "starts with bytes 00000d03"),
        (lambda content: content[:9], "within its header"),
        (lambda content: content[:-1], "holds 5503 bytes, but its header says 5504"),
        (lambda content: content + b"x", "holds 5505 bytes, but its header says 5504"),
        (lambda content: b"", "starts with bytes"),
    ],
)
def test_wrong_content(folder, change, complaint):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(UserError, match=complaint):
        load_mnist("train", folder)


@pytest.mark.parametrize(
    ("images", "labels", "complaint"),
    [
        (np.zeros((2, 28, 27)), np.zeros(2), r"images of \(28, 27\) pixels"),
        (np.zeros((0, 28, 28)), np.zeros(0), "holds no images"),
        (np.zeros((2, 28, 28)), np.zeros(3), "3 labels for 2 images"),
        (np.zeros((2, 28, 28)), np.array([3, 10]), "label 10"),
    ],
)
def test_contents_that_do_not_fit(tmp_path, images, labels, complaint):
    with pytest.raises(UserError, match=complaint):
        load_mnist("train", put(tmp_path, images, labels))


def test_a_file_that_cannot_be_read(folder, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(UserError, match=r"cannot read .*: Permission denied"):
        load_mnist("train", folder)


def test_downloads_from_the_next_mirror(folder, monkeypatch):
    asked = []

    def retrieve(url, known_hash, fname, path):
        asked.append((url, known_hash))
        if url.startswith(mnist.MIRRORS[0]):
            raise ValueError("MD5 hash of downloaded file does not match")
        return str(folder / fname.removesuffix(".gz"))

    monkeypatch.delenv("AIRSCENE_DATA_DIR", raising=False)
    monkeypatch.setattr(published.pooch, "retrieve", retrieve)
    assert len(load_mnist("train")[0]) == 7
    assert asked[1] == (
        f"{mnist.MIRRORS[1]}train-images-idx3-ubyte.gz",
        "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    )


def test_no_network(monkeypatch):
    def retrieve(*args, **kwargs):
        raise ConnectionError("HTTPSConnectionPool: Max retries exceeded\nand so on")

    monkeypatch.delenv("AIRSCENE_DATA_DIR", raising=False)
    monkeypatch.setattr(published.pooch, "retrieve", retrieve)
    with pytest.raises(
        UserError, match=r"could not be downloaded .*: ConnectionError.*--data-dir"
    ) as raised:
        load_mnist("train")
    assert "\n" not in str(raised.value)
    assert all(mirror in str(raised.value) for mirror in mnist.MIRRORS)


def test_the_official_files():
    named = os.environ.get("AIRSCENE_DATA_DIR")
    if not named and not SHARED.is_dir():
        pytest.skip("no MNIST files: set AIRSCENE_DATA_DIR")
    folder = Path(named) if named else SHARED
    assert [len(load_mnist(split, folder)[0]) for split in ("train", "test")] == [60_000, 10_000]
    assert load_mnist("test", folder)[1][:5].tolist() == [7, 2, 1, 0, 4]
