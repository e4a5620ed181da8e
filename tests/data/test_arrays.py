import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as made

from airscene.data.arrays import read_pictures, read_truth
from airscene.data.images import load_images
from airscene.errors import UserError

RNG = np.random.default_rng(0)
TYPES = [np.uint8, bool, np.uint16, np.float16, np.float32, np.float64, ">f4", ">f8", ">u2"]


@given(
    array=made.arrays(
        st.sampled_from([np.dtype(kind) for kind in TYPES]),
        st.tuples(st.integers(1, 3), st.integers(1, 5), st.sampled_from([1, 2, 5, 6])),
        elements=st.integers(0, 1),
    ),
    channels=st.sampled_from([None, 1, 3]),
    order=st.sampled_from("CF"),
)
@settings(max_examples=60, deadline=None)
def test_arrays_come_back(tmp_path_factory, array, channels, order):
    path = tmp_path_factory.mktemp("arrays") / "a.npy"
    stored = array if channels is None else np.stack([array] * channels, -1)
    np.save(path, np.asarray(stored, order=order))
    images = load_images(path, white=1)
    assert images.indices == list(range(len(array)))
    for image, original in zip(images.images, array, strict=True):
        assert image.shape == (channels or 1, *original.shape)
        assert str(image.dtype) == f"torch.{'uint8' if array.dtype.itemsize == 1 else 'float32'}"
        assert np.array_equal(image[-1], original * (255 if array.dtype == bool else 1))


@pytest.mark.parametrize(
    ("shape", "read"),
    [
        ((5, 7), [(5, 7, 1)]),
        ((5, 7, 3), [(5, 7, 3)]),
        ((5, 7, 4), [(5, 7, 3)]),
        ((2, 5, 7), [(5, 7, 1)] * 2),
        ((3, 5, 7), [(5, 7, 1)] * 3),
        ((2, 5, 7, 1), [(5, 7, 1)] * 2),
        ((2, 5, 7, 3), [(5, 7, 3)] * 2),
        ((2, 5, 7, 4), [(5, 7, 3)] * 2),
    ],
)
@pytest.mark.filterwarnings("ignore:.*one colour picture")
def test_shapes(tmp_path, shape, read):
    np.save(tmp_path / "a.npy", np.zeros(shape, np.uint8))
    assert [picture.shape for picture in read_pictures(tmp_path / "a.npy")] == read


def test_one_colour_picture_gets_a_note(tmp_path):
    colour = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    np.save(tmp_path / "a.npy", colour)
    with pytest.warns(UserWarning, match=r"shape \(6, 9, 3\): it is read as one colour picture"):
        (picture,) = read_pictures(tmp_path / "a.npy")
    assert np.array_equal(picture, colour)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_a_fourth_channel_is_opacity(tmp_path, kind):
    most = 1 if kind == np.float32 else np.iinfo(kind).max
    x = np.zeros((1, 1, 2, 4), kind)
    x[..., :3], x[0, 0, 1, 3] = most, most  # white: once invisible, once opaque
    np.save(tmp_path / "a.npy", x)
    (picture,) = read_pictures(tmp_path / "a.npy")
    assert picture.dtype == kind and picture[0].tolist() == [[0] * 3, [most] * 3]


def test_npz_prefers_x_and_else_takes_the_first_that_is_no_truth(tmp_path):
    ones, twos = np.ones((2, 3, 5), np.uint8), np.full((2, 3, 5), 2, np.uint8)
    boxes = np.zeros((2, 7, 4))
    np.savez(tmp_path / "a.npz", boxes=boxes, first=ones, x=twos)
    np.savez(tmp_path / "b.npz", boxes=boxes, first=ones, second=twos)
    assert (read_pictures(tmp_path / "a.npz")[0] == 2).all()
    assert (read_pictures(tmp_path / "b.npz")[0] == 1).all()
    np.savez(tmp_path / "c.npz", boxes=boxes)
    with pytest.raises(UserError, match="holds no array of images; save the images as x"):
        read_pictures(tmp_path / "c.npz")
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("notes.txt", "no array")
    with pytest.raises(UserError, match="holds no array of images"):
        read_pictures(tmp_path / "d.npz")


def test_only_what_is_needed_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((1, 5, 5)), count=[1], odd=np.array([None]))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("broken.npy", b"no array")
    assert len(read_pictures(tmp_path / "a.npz")) == 1
    assert list(read_truth(tmp_path / "a.npz")) == ["count"]


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.full((1, 2, 2), np.nan), "holds NaN or infinite"),
        (np.full((1, 2, 2), np.inf), "holds NaN or infinite"),
        (np.full((1, 2, 2), -np.inf, np.float16), "holds NaN or infinite"),
        (np.full((1, 2, 2), 1e300), "holds NaN or infinite"),
        (np.zeros(()), r"shape \(\); images are \(H, W\), \(M, H, W\)"),
        (np.zeros(4), r"shape \(4,\)"),
        (np.zeros((2, 2, 2, 2)), "C 1, 3 or 4: reshape it"),
        (np.zeros((2, 3, 5, 5)), r"move the channels with numpy\.moveaxis\(x, 1, -1\)"),
        (np.zeros((2, 1, 5, 5)), r"move the channels with numpy\.moveaxis\(x, 1, -1\)"),
        (np.zeros((1, 2, 2, 2, 3)), "reshape it"),
        (np.zeros((0, 2, 2)), "holds no pixel"),
        (np.zeros((2, 0, 2)), "holds no pixel"),
        (np.zeros((2, 2, 0, 3)), "holds no pixel"),
        (np.zeros((0, 3)), "holds no pixel"),
        (np.zeros((1, 2, 2), np.int64), "holds int64; save uint8"),
        (np.zeros((1, 2, 2), np.int8), "holds int8"),
        (np.zeros((1, 2, 2), np.uint32), "holds uint32"),
        (np.zeros((1, 2, 2), complex), "holds complex128"),
        (np.zeros((1, 2, 2), "M8[s]"), "holds datetime64"),
        (np.zeros((1, 2, 2), "U3"), "holds <U3"),
        (np.zeros((1, 2, 2), [("a", np.uint8)]), r"holds \[\('a'"),
        (np.zeros((9000, 15000), np.uint8), "15000x9000 pixels, more than 128 megapixels"),
    ],
)
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_bad_arrays_name_file_and_fix(tmp_path, array, complaint, name):
    if name == "a.npy":
        np.save(tmp_path / name, array)
    else:
        np.savez_compressed(tmp_path / name, x=array)
    with pytest.raises(UserError, match=f"{name} .*{complaint}"):
        read_pictures(tmp_path / name)


def test_rounding_beyond_one_is_forgiven(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[-1e-7, 1 + 1e-7]]))
    assert load_images(tmp_path / "a.npy").images[0].flatten().tolist() == [0, 1]


@pytest.mark.parametrize("shape", [(30_000, 100, 1200), (1 << 62, 1 << 62)])
def test_a_bomb_is_refused_at_once(tmp_path, shape):
    head = {"descr": "|u1", "fortran_order": False, "shape": shape}
    for name in ("a.npz", "a.npy"):
        with (tmp_path / name).open("wb") as file:
            if name == "a.npy":
                np.lib.format.write_array_header_1_0(file, head)
            else:
                with zipfile.ZipFile(file, "w") as archive, archive.open("x.npy", "w") as member:
                    np.lib.format.write_array_header_1_0(member, head)
                    member.write(bytes(1 << 20))
        tracemalloc.start()
        begin = time.perf_counter()
        with pytest.raises(UserError, match=f"{name}: x holds .* GiB, more than 1 GiB"):
            read_pictures(tmp_path / name)
        assert time.perf_counter() - begin < 1
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()


def test_pickles_are_refused(tmp_path):
    array = np.empty((1, 2, 2), object)
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    np.savez(tmp_path / "b.npz", x=array)
    for name in ("a.npy", "b.npz"):
        with pytest.raises(UserError, match=f"{name} cannot be read .*Python objects.*plain num"):
            read_pictures(tmp_path / name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"P",
        b"garbage",
        b"PK\x03\x04 not a zip",
        b"\x93NUMPY\x01\x00",
        b"\x93NUMPY\x09\x00\x10\x00" + b" " * 16,
        b"\x93NUMPY\x01\x00\x10\x00{'descr': evil()",
    ],
)
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_damaged_arrays(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        read_pictures(tmp_path / name)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_archive(tmp_path, save):
    save(tmp_path / "a.npz", x=RNG.integers(0, 256, (3, 9, 9), dtype=np.uint8))
    whole = (tmp_path / "a.npz").read_bytes()
    damages = [whole[: len(whole) // 2], whole[:-30], whole[:250] + b"??" + whole[252:]]
    encrypted = bytearray(whole)
    encrypted[whole.index(b"PK\1\2") + 8] |= 1
    for damaged in (*damages, bytes(encrypted)):
        (tmp_path / "a.npz").write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.npz cannot be read"):
            read_pictures(tmp_path / "a.npz")


@pytest.mark.parametrize("change", [-1, 1])
def test_the_size_must_be_that_of_the_header(tmp_path, change):
    np.save(tmp_path / "a.npy", np.zeros((2, 5, 5), np.uint8))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(whole[:-1] if change < 0 else whole + b"\0")
    with pytest.raises(UserError, match=r"size of x is not that of shape \(2, 5, 5\)"):
        read_pictures(tmp_path / "a.npy")
