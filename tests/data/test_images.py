import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from airscene.data import images as module
from airscene.data.composer import Composer, SceneConfig
from airscene.data.images import as_scenes, load_images, save_scenes, training_images
from airscene.data.scenes import Scenes
from airscene.data.sprites import load_sprites
from airscene.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def only(path):
    (image,) = load_images(path).images
    return image


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif"])
def test_grey_files_stay_one_channel(tmp_path, suffix):
    image = only(save(tmp_path / f"a.{suffix}", GREY))
    assert image.dtype == torch.uint8
    assert image.shape == (1, 6, 9) and np.array_equal(image[0], GREY)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_colour_files_keep_their_channels(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    image = only(save(tmp_path / f"a.{suffix}", COLOUR, **options))
    assert np.array_equal(image, COLOUR.transpose(2, 0, 1))


def test_jpeg_is_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    path = save(tmp_path / "a.jpg", COLOUR, exif=exif)
    assert only(path).shape == (3, 9, 6)


def test_the_first_frame_of_a_gif(tmp_path):
    frames = [Image.fromarray(np.full((4, 5), level, np.uint8)) for level in (30, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (only(tmp_path / "a.gif") == 30).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_become_floats(tmp_path, suffix):
    deep = np.array([[0, 1, 257], [32768, 65534, 65535]], np.uint16)
    image = only(save(tmp_path / f"a.{suffix}", deep))
    assert image.dtype == torch.float32
    assert np.allclose(image[0], deep / 65535)


def test_transparency_is_laid_over_black(tmp_path):
    alpha = np.full((6, 9, 1), 255, np.uint8)
    alpha[:3] = 0
    image = only(save(tmp_path / "rgba.png", np.concatenate([COLOUR, alpha], 2)))
    assert not image[:, :3].any()
    assert np.array_equal(image[:, 3:], COLOUR[3:].transpose(2, 0, 1))
    image = only(save(tmp_path / "la.png", np.stack([GREY, alpha[..., 0]], 2)))
    assert image.shape == (1, 6, 9) and not image[:, :3].any()
    assert np.array_equal(image[0, 3:], GREY[3:])


def test_palettes_become_colours(tmp_path):
    palette = Image.fromarray(COLOUR).quantize(256)
    palette.save(tmp_path / "a.png")
    palette.save(tmp_path / "b.png", transparency=palette.getpixel((0, 0)))
    expected = np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(only(tmp_path / "a.png"), expected)
    assert not only(tmp_path / "b.png")[:, 0, 0].any()


@pytest.mark.parametrize("mode", ["I", "F"])
def test_thirty_two_bits_are_refused(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=r"a\.tif has 32-bit pixels"):
        load_images(tmp_path / "a.tif")


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    save(tmp_path / "b.png", COLOUR)
    save(tmp_path / "a.png", GREY)
    save(tmp_path / ".hidden.png", GREY)
    (tmp_path / "sub").mkdir()
    images = load_images(tmp_path)
    assert images.sources == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]
    assert images.indices == [0, 0]
    assert [tuple(image.shape) for image in images.images] == [(1, 6, 9), (3, 6, 9)]


def test_an_unreadable_file_is_left_out(tmp_path):
    save(tmp_path / "a.png", GREY)
    whole = save(tmp_path / "b.png", RNG.integers(0, 256, (90, 90), dtype=np.uint8)).read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "notes.txt").write_text("not an image")
    with pytest.warns(UserWarning) as caught:
        images = load_images(tmp_path)
    assert [str(w.message).split(" cannot")[0] for w in caught] == [
        f"left out: {tmp_path / name}" for name in ("b.png", "notes.txt")
    ]
    assert len(images) == 1


def test_an_enormous_file_is_left_out(tmp_path):
    save(tmp_path / "a.png", GREY)
    Image.new("1", (16_000, 12_000)).save(tmp_path / "huge.png")
    with pytest.warns(UserWarning, match=r"huge.png.*(megapixels|bomb)"):
        assert len(load_images(tmp_path)) == 1
    Image.new("1", (10_000, 9_500)).save(tmp_path / "huge.png")  # Pillow would only warn
    with pytest.raises(UserError, match="10000x9500 pixels, more than 64 megapixels"):
        load_images(tmp_path / "huge.png")


def test_a_folder_without_images(tmp_path):
    with pytest.raises(UserError, match="holds no image that can be read"):
        load_images(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="a.png"),
        pytest.raises(UserError, match="holds no image that can be read"),
    ):
        load_images(tmp_path)


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.npz", "a"])
def test_a_missing_file(tmp_path, name):
    with pytest.raises(UserError, match=f"{name} does not exist"):
        load_images(tmp_path / name)


@given(
    array=arrays.arrays(
        st.sampled_from([np.uint8, np.float32, np.float64, np.float16, np.dtype(">f4")]),
        st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
        elements=st.integers(0, 1),
    ),
    channels=st.sampled_from([None, 1, 3]),
)
@settings(max_examples=40, deadline=None)
def test_arrays_come_back(tmp_path_factory, array, channels):
    path = tmp_path_factory.mktemp("arrays") / "a.npy"
    stored = array if channels is None else np.stack([array] * channels, -1)
    np.save(path, stored)
    images = load_images(path)
    assert images.indices == list(range(len(array)))
    for image, original in zip(images.images, array, strict=True):
        assert image.dtype == (torch.uint8 if array.dtype == np.uint8 else torch.float32)
        assert image.shape == (channels or 1, *original.shape)
        assert np.array_equal(image[-1], original)


def test_npz_prefers_x_and_else_takes_the_first(tmp_path):
    ones, twos = np.ones((2, 3, 3), np.uint8), np.full((2, 3, 3), 2, np.uint8)
    np.savez(tmp_path / "a.npz", first=ones, x=twos)
    np.savez(tmp_path / "b.npz", first=ones, second=twos)
    assert (load_images(tmp_path / "a.npz").images[0] == 2).all()
    assert (load_images(tmp_path / "b.npz").images[0] == 1).all()


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.full((1, 2, 2), np.nan), "holds NaN or infinite"),
        (np.full((1, 2, 2), np.inf), "holds NaN or infinite"),
        (np.full((1, 2, 2), 200.0), r"from 200 to 200; scale the floats to \[0, 1\]"),
        (np.full((1, 2, 2), -0.5), "from -0.5 to -0.5"),
        (np.zeros((2, 2)), r"shape \(2, 2\); images are \(M, H, W\)"),
        (np.zeros((2, 2, 2, 2)), "C 1 or 3"),
        (np.zeros((1, 2, 2, 2, 3)), "reshape it"),
        (np.zeros((0, 2, 2)), "holds no pixel"),
        (np.zeros((1, 2, 2), np.int64), "holds int64; save uint8"),
        (np.zeros((1, 2, 2), bool), "holds bool"),
        (np.zeros((1, 2, 2), complex), "holds complex128"),
    ],
)
def test_bad_arrays_name_file_and_fix(tmp_path, array, complaint):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(UserError, match=f"a.npy .*{complaint}"):
        load_images(tmp_path / "a.npy")


def test_pickles_are_refused(tmp_path):
    array = np.empty((1, 2, 2), object)
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    np.savez(tmp_path / "b.npz", x=array)
    for name in ("a.npy", "b.npz"):
        with pytest.raises(UserError, match=f"{name} cannot be read .*plain numbers"):
            load_images(tmp_path / name)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"PK\x03\x04 not a zip", b"\x93NUMPY\x01\x00"]
)
@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
def test_damaged_arrays(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} cannot be read"):
        load_images(tmp_path / name)


def test_an_archive_without_arrays(tmp_path):
    np.savez(tmp_path / "a.npz")
    with pytest.raises(UserError, match="holds no array"):
        load_images(tmp_path / "a.npz")


def test_images_of_the_canvas_pass_unchanged(tmp_path):
    images = load_images(save(tmp_path / "a.png", COLOUR))
    scenes, scale = as_scenes(images, (3, 6, 9))
    assert torch.equal(scenes.image[0], images.images[0])
    assert scale.tolist() == [[1.0, 1.0]]


def test_resizing_is_said_once_and_the_factors_lead_back(tmp_path):
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "b.png", np.full((12, 36), 77, np.uint8))
    save(tmp_path / "c.png", np.full((24, 9), 77, np.uint8))
    with pytest.warns(UserWarning, match="2 of 3 images resized to 6x9 pixels") as caught:
        scenes, scale = as_scenes(load_images(tmp_path), (1, 6, 9))
    assert len(caught) == 1
    assert scale.tolist() == [[1.0, 1.0], [4.0, 2.0], [1.0, 4.0]]
    assert scenes.image.dtype == torch.uint8 and (scenes.image[1:] == 77).all()


def test_resizing_agrees_with_pillow(tmp_path):
    big = RNG.integers(0, 256, (31, 47), dtype=np.uint8)
    with pytest.warns(UserWarning, match="resized"):
        scenes, _ = as_scenes(load_images(save(tmp_path / "a.png", big)), (1, 13, 17))
    pillow = Image.fromarray(big).resize((17, 13), Image.Resampling.BILINEAR)
    assert np.abs(scenes.image[0, 0].int().numpy() - np.asarray(pillow, int)).max() <= 1


def test_channels_follow_the_canvas(tmp_path):
    grey, colour = save(tmp_path / "a.png", GREY), save(tmp_path / "b.png", COLOUR)
    scenes, _ = as_scenes(load_images(grey), (3, 6, 9))
    assert all(np.array_equal(channel, GREY) for channel in scenes.image[0])
    scenes, _ = as_scenes(load_images(colour), (1, 6, 9))
    pillow = np.asarray(Image.fromarray(COLOUR).convert("L"), int)
    assert np.abs(scenes.image[0, 0].int().numpy() - pillow).max() <= 1


def test_bytes_join_floats_as_floats(tmp_path):
    save(tmp_path / "a.png", np.full((2, 2), 255, np.uint8))
    save(tmp_path / "b.png", np.full((2, 2), 65535, np.uint16))
    scenes, _ = as_scenes(load_images(tmp_path), (1, 2, 2))
    assert scenes.image.dtype == torch.float32 and (scenes.image == 1).all()


def test_training_images_share_the_first_size_and_the_richest_colour(tmp_path):
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "b.png", RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8))
    with pytest.warns(UserWarning, match="1 of 2 images resized to 6x9"):
        assert training_images(tmp_path).image.shape == (2, 3, 6, 9)
    with pytest.warns(UserWarning, match="2 of 2 images resized to 5x7"):
        assert training_images(tmp_path, (5, 7)).image.shape == (2, 3, 5, 7)


@pytest.fixture
def composed() -> Scenes:
    config = SceneConfig(canvas=(20, 24), size=8.0, scale_mean=1.0, scale_std=0.0)
    generator = torch.Generator().manual_seed(0)
    return Composer(load_sprites("digits", "train"), config).compose(12, generator)


def test_saved_scenes_come_back_with_their_truth(tmp_path, composed):
    path = save_scenes(composed, tmp_path / "new" / "scenes.npz")
    with np.load(path) as stored:
        assert stored["x"].shape == (12, 20, 24) and stored["x"].dtype == np.uint8
    read = training_images(path)
    for name in ("image", "count", "boxes", "labels"):
        assert torch.equal(getattr(read, name), getattr(composed, name))


def test_colour_scenes_without_truth_come_back(tmp_path):
    scenes = Scenes(torch.rand(2, 3, 4, 5))
    read = training_images(save_scenes(scenes, tmp_path / "a.npz"))
    assert torch.equal(read.image, scenes.image) and read.count is None


def test_boxes_follow_the_canvas(tmp_path, composed):
    path = save_scenes(composed, tmp_path / "scenes.npz")
    with pytest.warns(UserWarning, match="resized"):
        read = training_images(path, (10, 48))
    assert torch.allclose(read.boxes, composed.boxes * torch.tensor([2.0, 0.5, 2.0, 0.5]))


@pytest.mark.parametrize(
    "truth",
    [
        {"count": np.zeros(3, int)},
        {"count": np.zeros(2)},
        {"count": np.array([0, -1])},
        {"count": np.array([0, 2]), "labels": np.zeros((2, 1), int)},
        {"count": np.zeros(2, int), "labels": np.zeros(2, int)},
        {"count": np.zeros(2, int), "boxes": np.zeros((2, 1, 3))},
        {"count": np.zeros(2, int), "boxes": np.zeros((2, 1, 4)), "labels": np.zeros((2, 2), int)},
    ],
)
def test_truth_that_does_not_match_is_left_out(tmp_path, truth):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3, 3)), **truth)
    with pytest.warns(UserWarning, match="truth is left out"):
        assert training_images(tmp_path / "a.npz").count is None


def test_a_count_alone_is_kept(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3, 3)), count=np.array([4, 1]))
    read = training_images(tmp_path / "a.npz")
    assert read.count.tolist() == [4, 1] and read.boxes is None and read.labels is None


def test_scenes_are_saved_whole_or_not_at_all(tmp_path, composed, monkeypatch):
    with pytest.raises(UserError, match=r"name a file like .*scenes\.npz"):
        save_scenes(composed, tmp_path / "scenes.txt")

    def full(path, **tensors):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.np, "savez_compressed", full)
    with pytest.raises(UserError, match="No space left on device"):
        save_scenes(composed, tmp_path / "scenes.npz")
    assert not list(tmp_path.iterdir())


def test_loading_is_silent_when_nothing_is_wrong(tmp_path):
    save(tmp_path / "a.png", GREY)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training_images(tmp_path)
