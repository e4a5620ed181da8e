import imagecodecs
import numpy as np
import pytest
from PIL import Image

from airscene.data import reading
from airscene.data.pictures import measure_file, read_file
from airscene.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 9), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)
TURNED = {
    1: COLOUR,
    2: np.fliplr(COLOUR),
    3: np.rot90(COLOUR, 2),
    4: np.flipud(COLOUR),
    5: COLOUR.swapaxes(0, 1),
    6: np.rot90(COLOUR, -1),
    7: np.rot90(COLOUR.swapaxes(0, 1), 2),
    8: np.rot90(COLOUR, 1),
    9: COLOUR,  # not a number that EXIF knows
}


def save(path, array, **options):
    Image.fromarray(array).save(path, **options)
    return path


def animate(path, frames, **options):
    first, *rest = (Image.fromarray(frame) for frame in frames)
    first.save(path, save_all=True, append_images=rest, **options)
    return path


def only(path):
    (picture,) = read_file(path)
    return picture


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif"])
def test_grey_stays_one_channel(tmp_path, suffix):
    picture = only(save(tmp_path / f"a.{suffix}", GREY))
    assert picture.dtype == np.uint8 and np.array_equal(picture, GREY[..., None])


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
def test_colour_keeps_its_channels(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {}
    assert np.array_equal(only(save(tmp_path / f"a.{suffix}", COLOUR, **options)), COLOUR)


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("suffix", ["png", "webp", "jpg", "tif"])
def test_pictures_are_upright(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}
    path = save(tmp_path / f"a.{suffix}", COLOUR, exif=exif, **options.get(suffix, {}))
    picture, expected = only(path), TURNED[orientation]
    assert picture.shape == expected.shape
    assert np.abs(picture.astype(int) - expected).max() <= (5 if suffix == "jpg" else 0)


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_every_frame_is_upright(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"lossless": True} if suffix == "webp" else {}
    frames = [COLOUR, COLOUR[::-1].copy()]
    pictures = read_file(animate(tmp_path / f"a.{suffix}", frames, exif=exif, **options))
    assert all(np.array_equal(a, np.rot90(b, -1)) for a, b in zip(pictures, frames, strict=True))


@pytest.mark.parametrize("frames", [[GREY, 255 - GREY, GREY // 2], [COLOUR, COLOUR // 2]])
@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_all_frames_are_read(tmp_path, suffix, frames):
    options = {"lossless": True} if suffix == "webp" else {}
    path = animate(tmp_path / f"a.{suffix}", frames, **options)
    pictures = read_file(path)
    size = sum(picture.size for picture in pictures)
    assert size <= measure_file(path) <= 3 * size
    for picture, frame in zip(pictures, frames, strict=True):
        same_colours = suffix != "gif" or frame.ndim == 2
        channels = 3 if frame.ndim == 3 or suffix == "webp" else 1
        assert picture.shape == (6, 9, channels)
        assert not same_colours or np.array_equal(picture[..., -1], np.atleast_3d(frame)[..., -1])


def test_only_the_first_picture_of_a_jpeg_is_read(tmp_path):
    path = animate(tmp_path / "a.jpg", [COLOUR, GREY], format="MPO")
    with pytest.warns(UserWarning, match=r"a\.jpg holds 2 pictures; only the first is read"):
        assert only(path).shape == (6, 9, 3)


def test_palettes_become_colours(tmp_path):
    palette = Image.fromarray(COLOUR).quantize(256)
    palette.save(tmp_path / "a.png")
    palette.save(tmp_path / "b.png", transparency=palette.getpixel((0, 0)))
    assert np.array_equal(only(tmp_path / "a.png"), np.asarray(palette.convert("RGB")))
    assert not only(tmp_path / "b.png")[0, 0].any()


def test_transparency_is_laid_over_black(tmp_path):
    alpha = np.full((6, 9, 1), 255, np.uint8)
    alpha[:3] = 0
    picture = only(save(tmp_path / "rgba.png", np.concatenate([COLOUR, alpha], 2)))
    assert not picture[:3].any() and np.array_equal(picture[3:], COLOUR[3:])
    picture = only(save(tmp_path / "la.png", np.stack([GREY, alpha[..., 0]], 2)))
    assert not picture[:3].any() and np.array_equal(picture[3:, :, 0], GREY[3:])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_keeps_sixteen_bits(tmp_path, channels):
    deep = RNG.integers(0, 65536, (6, 9, channels), dtype=np.uint16)
    if channels in (2, 4):
        deep[..., -1] = RNG.choice([0, 65535], (6, 9))
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(deep.squeeze()))
    picture = only(tmp_path / "a.png")
    colour = deep if channels in (1, 3) else deep[..., :-1] * (deep[..., -1:] > 0)
    assert picture.dtype == np.uint16 and np.array_equal(picture, colour)
    assert picture.size * 4 <= measure_file(tmp_path / "a.png") <= picture.size * 12


def test_a_damaged_deep_png_prints_nothing(tmp_path, capfd):
    whole = imagecodecs.png_encode(RNG.integers(0, 65536, (6, 9, 3), dtype=np.uint16))
    for place in (45, len(whole) // 2, len(whole) - 20):
        damaged = bytearray(whole)
        damaged[place] ^= 255
        (tmp_path / "a.png").write_bytes(damaged)
        with pytest.raises(UserError, match=r"a\.png cannot be read"):
            read_file(tmp_path / "a.png")
    assert capfd.readouterr() == ("", "")


def test_animations_of_sixteen_bits_are_refused(tmp_path):
    frames = [RNG.integers(0, 65536, (6, 9), dtype=np.uint16) for _ in range(2)]
    with pytest.raises(UserError, match=r"a\.png is an animation of 16 bits"):
        read_file(animate(tmp_path / "a.png", frames))


def test_enormous_pictures_are_refused(tmp_path):
    Image.new("1", (10_000, 13_500)).save(tmp_path / "huge.png")  # Pillow would only warn
    with pytest.raises(UserError, match="10000x13500 pixels, more than 128 megapixels"):
        read_file(tmp_path / "huge.png")


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_a_long_animation_is_refused_before_it_is_decoded(tmp_path, monkeypatch, suffix):
    frames = [np.full((9, 9), level, np.uint8) for level in range(100)]
    path = animate(tmp_path / f"a.{suffix}", frames)
    monkeypatch.setattr(reading, "FILES_GIB", 2000 / 2**30)
    monkeypatch.setattr("airscene.data.pictures._all_frames", None)
    with pytest.raises(UserError, match=rf"a\.{suffix} holds .* of pixels, more than"):
        read_file(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "gif", "webp", "tif"])
def test_empty_and_cut_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    whole = save(path, RNG.integers(0, 256, (90, 90), dtype=np.uint8)).read_bytes()
    for length in (0, 1, 4, 20, len(whole) // 2, len(whole) * 3 // 4):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=rf"a\.{suffix} cannot be read") as caught:
            read_file(path)
        assert "\n" not in str(caught.value)
