import os
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from airscene.data import images as module
from airscene.data import reading
from airscene.data.composer import Composer, SceneConfig
from airscene.data.images import (
    UserImages,
    as_scenes,
    load_images,
    save_scenes,
    training_images,
    training_scenes,
)
from airscene.data.scenes import Scenes
from airscene.data.sources import load_sprites
from airscene.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


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
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for ever
    with pytest.warns(UserWarning) as caught:
        images = load_images(tmp_path)
    assert [str(w.message).split(" cannot")[0] for w in caught] == [
        f"left out: {tmp_path / name}" for name in ("notes.txt", "b.png")
    ]
    assert len(images) == 1


def test_a_folder_without_images(tmp_path):
    with pytest.raises(UserError, match="holds no image that can be read"):
        load_images(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with (
        pytest.warns(UserWarning, match="a.png"),
        pytest.raises(UserError, match="holds no image that can be read"),
    ):
        load_images(tmp_path)


def test_the_limit_of_a_folder_is_checked_before_pictures_are_decoded(tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8000, 7900)).save(tmp_path / name)
    monkeypatch.setattr(reading, "FILES_GIB", 0.3)
    monkeypatch.setattr("airscene.data.pictures.read_file", None)
    with pytest.raises(UserError, match=r"holds 0\.4 GiB of pixels, more than 0\.3 GiB"):
        load_images(tmp_path)


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.npz", "a"])
def test_a_missing_file(tmp_path, name):
    with pytest.raises(UserError, match=f"{name} does not exist"):
        load_images(tmp_path / name)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (os.mkfifo, "is a pipe, socket or device"),
        (lambda path: path.symlink_to("/dev/zero"), "is a pipe, socket or device"),
        (lambda path: path.symlink_to("nowhere"), "is a link to a file that does not exist"),
        (lambda path: path.symlink_to(path.name), "symbolic links"),
    ],
)
@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.npz", "a.tif"])
def test_what_is_no_file_is_refused_unopened(tmp_path, make, complaint, name):
    make(tmp_path / name)
    with pytest.raises(UserError, match=complaint):
        load_images(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("x" * 300, "File name too long"),
        ("a\0b.npy", "embedded null byte"),
        ("a\nb.png", r"a\\nb\.png does not exist"),
        ("\udcff.png", r"\\udcff\.png does not exist"),
    ],
)
def test_names_that_cannot_be_opened(tmp_path, name, complaint):
    with pytest.raises(UserError, match=complaint) as caught:
        load_images(tmp_path / name)
    assert str(caught.value).isprintable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path):
    save(tmp_path / "a.png", GREY).chmod(0)
    with pytest.raises(UserError, match="Permission denied"):
        load_images(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", ["png", "tif", "npy"])
def test_names_that_are_not_utf8_load(tmp_path, suffix):
    path = tmp_path / os.fsdecode(b"\xff\xfe." + suffix.encode())
    with path.open("wb") as file:
        if suffix == "npy":
            np.save(file, GREY)
        else:
            Image.fromarray(GREY).save(file, format={"tif": "tiff"}.get(suffix, suffix))
    images = load_images(path)
    assert np.array_equal(images.images[0][0], GREY)
    assert images.sources == [str(path)]


@given(
    shape=st.tuples(*[st.sampled_from([1, 2, 3, 7, 1000])] * 2),
    canvas=st.tuples(st.sampled_from([1, 3]), *[st.sampled_from([1, 2, 28, 128])] * 2),
)
@settings(max_examples=25, deadline=None)
@pytest.mark.filterwarnings("ignore:.* resized to:UserWarning")
def test_extreme_shapes_keep_a_plain_value(shape, canvas):
    images = UserImages(["a.png"], [0], [torch.full((1, *shape), 77, dtype=torch.uint8)])
    scenes, scale = as_scenes(images, canvas)
    assert scenes.image.shape == (1, *canvas) and (scenes.image == 77).all()
    assert scale[0].tolist() == pytest.approx([shape[1] / canvas[2], shape[0] / canvas[1]])


@pytest.mark.parametrize("shape", [(1, 1000), (1000, 1), (1, 1)])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_lines_and_points_are_trained_on(tmp_path, shape, suffix):
    save(tmp_path / f"a.{suffix}", np.full(shape, 9, np.uint8))
    assert training_images(tmp_path).image.shape == (1, 1, *shape)


def test_white_is_decided_over_the_whole_folder(tmp_path):
    dim, bright = np.array([[0, 4095]], np.uint16), np.array([[0, 4096]], np.uint16)
    save(tmp_path / "a.png", dim)
    save(tmp_path / "b.tif", dim)
    with pytest.warns(UserWarning, match="no 16-bit pixel exceeds 4095"):
        images = load_images(tmp_path)
    assert images.white == 4095
    assert [image.max() for image in images.images] == [1, 1]
    save(tmp_path / "c.png", bright)
    images = load_images(tmp_path)
    assert images.white == 65535
    assert images.images[0].max() == torch.tensor(4095 / 65535)


def test_white_may_be_given(tmp_path):
    save(tmp_path / "a.png", np.array([[0, 1000, 4000]], np.uint16))
    images = load_images(tmp_path, white=4000)
    assert images.white == 4000 and images.images[0].flatten().tolist() == [0, 0.25, 1]
    with pytest.warns(UserWarning, match="1 of 1 images have 16-bit pixels above white, 2000"):
        images = load_images(tmp_path, white=2000)
    assert images.images[0].flatten().tolist() == [0, 0.5, 1]
    assert load_images(save(tmp_path / "b.png", GREY), white=4000).white is None
    with pytest.raises(UserError, match="white is 0"):
        load_images(tmp_path, white=0)


def test_digests_tell_contents_and_not_names(tmp_path):
    save(tmp_path / "a.png", GREY)
    save(tmp_path / "b.tif", GREY)
    save(tmp_path / "c.png", GREY[:, ::-1])
    save(tmp_path / "d.png", GREY.reshape(9, 6))
    images = load_images(tmp_path)
    first, second, flipped, reshaped = images.digests()
    assert first == second and len(first) == 64
    floats = UserImages(["a"], [0], [images.images[0].float()]).digests()[0]
    assert len({first, flipped, reshaped, floats}) == 4


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
    return Composer(load_sprites("digits", "train"), config).compose(12, generator, masks=True)


def test_saved_scenes_come_back_with_their_truth(tmp_path, composed):
    path = save_scenes(composed, tmp_path / "new" / "scenes.npz")
    with np.load(path) as stored:
        assert stored["x"].shape == (12, 20, 24) and stored["x"].dtype == np.uint8
    read = training_images(path)
    for name in ("image", "count", "boxes", "labels", "masks"):
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


def test_masks_follow_the_canvas(tmp_path, composed):
    path = save_scenes(composed, tmp_path / "scenes.npz")
    with pytest.warns(UserWarning, match="resized"):
        read = training_images(path, (40, 72))
    assert read.masks.shape == (12, 40, 72) and read.masks.dtype == torch.uint8
    assert torch.equal(read.masks[:, ::2, 1::3], composed.masks)


def test_a_count_alone_is_kept(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 3, 5)), count=np.array([4, 1]))
    read = training_images(tmp_path / "a.npz")
    assert read.count.tolist() == [4, 1] and read.boxes is None and read.labels is None


def test_impossible_truth_is_refused_for_training_and_ignored_for_inference(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((2, 5, 5)), count=np.array([1, -1]))
    images = load_images(tmp_path / "a.npz")
    with pytest.raises(UserError, match=r"a\.npz: count holds -1"):
        training_scenes(images)


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


@pytest.mark.parametrize("values", [np.full((1, 6, 6), 200.0), np.full((1, 6, 6), -0.5)])
def test_floats_of_another_range_are_refused(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(UserError, match=r"a.npy holds pixels from .* scale the floats to \[0, 1\]"):
        load_images(tmp_path / "a.npy")
