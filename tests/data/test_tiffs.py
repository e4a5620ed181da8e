import logging

import numpy as np
import pytest
import tifffile
from PIL import Image

from airscene.data import reading
from airscene.data.images import load_images
from airscene.data.tiffs import measure, read
from airscene.errors import UserError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (48, 64), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)
STACK = RNG.integers(0, 256, (2, 3, 16, 20), dtype=np.uint8)


def write(path, array, **options):
    if array.dtype != bool and array.ndim == 2:
        options = {"photometric": "minisblack", **options}
    tifffile.imwrite(path, array, **options)
    return path


def retag(path, code, value):
    """Changes a tag of the first page in place."""
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags[code].overwrite(value)
    return path


def only(path):
    (picture,) = read(path)
    return picture


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_black_is_zero_and_the_largest_value_white(tmp_path, bits, byteorder, photometric):
    if byteorder == ">" and bits in (10, 12, 14):
        pytest.skip("tifffile writes these bits in the wrong order")
    most = 2**bits - 1
    values = np.array([[0, most // 3, most]] * 2, np.uint8 if bits <= 8 else np.uint16)
    path = write(
        tmp_path / "a.tif",
        values > 0 if bits == 1 else values,
        bitspersample=bits,
        byteorder=byteorder,
        photometric=photometric,
    )
    shown = load_images(path).images[0][0].numpy()
    shown = shown / 255 if shown.dtype == np.uint8 else shown
    expected = (values > 0 if bits == 1 else values) / most
    expected = expected if photometric == "minisblack" else 1 - expected
    assert np.abs(shown - expected).max() <= (1 / 510 if bits < 8 else 1e-6)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("byteorder", "<>")
def test_floats_are_taken_as_they_are(tmp_path, kind, byteorder):
    values = np.array([[0, 0.25, 1]], kind)
    picture = only(write(tmp_path / "a.tif", values, byteorder=byteorder))
    assert picture.dtype == np.float32 and np.array_equal(picture[..., 0], values)
    write(tmp_path / "a.tif", values * 3)
    assert np.array_equal(only(tmp_path / "a.tif")[..., 0], values.astype(np.float32) * 3)
    with pytest.raises(UserError, match=r"pixels from 0 to 3; scale the floats to \[0, 1\]"):
        load_images(tmp_path / "a.tif")


@pytest.mark.parametrize("told", [None, 4095, 3127, 1023, 65535])
def test_a_largest_value_counts_if_it_is_one_of_a_camera(tmp_path, told):
    values = np.array([[0, 2000, 5000 if told is None else 3127]], np.uint16)
    extra = [] if told is None else [(281, "H", 1, told, True)]
    picture = only(write(tmp_path / "a.tif", values, extratags=extra))
    if told == 4095:
        assert np.allclose(picture[..., 0], values / 4095)
    else:  # none, a statistic, contradicted by the values, or no news
        assert picture.dtype == np.uint16 and np.array_equal(picture[..., 0], values)


@pytest.mark.parametrize(
    "compression", [None, "lzw", "zlib", "packbits", "zstd", "lzma", "deflate"]
)
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (16, 32)])
def test_colour(tmp_path, compression, planarconfig, tile):
    stored = COLOUR if planarconfig == "contig" else COLOUR.transpose(2, 0, 1)
    options = {"compression": compression, "planarconfig": planarconfig, "tile": tile}
    path = write(tmp_path / "a.tif", stored, photometric="rgb", **options)
    assert np.array_equal(only(path), COLOUR)


@pytest.mark.parametrize("photometric", ["rgb", "ycbcr"])
def test_jpeg_within_tiff_agrees_with_pillow(tmp_path, photometric):
    path = write(tmp_path / "a.tif", COLOUR, compression="jpeg", photometric=photometric)
    with Image.open(path) as image:
        assert np.abs(only(path).astype(int) - np.asarray(image.convert("RGB"))).max() <= 2


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt", "tiff_lzw"])
def test_bilevel_compressions(tmp_path, compression):
    Image.fromarray(GREY > 99).save(tmp_path / "a.tif", compression=compression)
    assert np.array_equal(only(tmp_path / "a.tif")[..., 0], (GREY > 99) * 255)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("alpha", ["unassalpha", "assocalpha", "unspecified"])
def test_opacity(tmp_path, kind, planarconfig, colours, alpha):
    most = np.iinfo(kind).max
    x = np.full((4, 6, colours + 1), most, kind)
    x[:2, :, -1] = 0
    stored = x if planarconfig == "contig" else x.transpose(2, 0, 1)
    photometric = "rgb" if colours == 3 else "minisblack"
    options = {"planarconfig": planarconfig, "photometric": photometric, "extrasamples": [alpha]}
    first, *others = read(write(tmp_path / "a.tif", stored, **options))
    assert first.shape == (4, 6, colours) and first.dtype == kind
    assert (first[2:] == most).all()
    assert (first[:2] == (0 if alpha == "unassalpha" else most)).all()
    assert len(others) == (colours == 1 and alpha == "unspecified")  # a channel of its own


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_palettes(tmp_path, old, grey):
    palette = RNG.integers(0, 256, (3, 256), dtype=np.uint16)
    palette[:, 0] = 255
    palette = palette[:1].repeat(3, 0) if grey else palette
    stored = palette if old else palette * 257
    path = write(tmp_path / "a.tif", GREY, photometric="palette", colormap=stored)
    expected = palette[:, GREY].transpose(1, 2, 0)
    assert np.array_equal(only(path), expected[..., :1] if grey else expected)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"metadata": None},
        {"truncate": True},
        {"imagej": True},
        {"ome": True},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"compression": "zlib"},
        {"planarconfig": "separate"},
    ],
)
def test_every_plane_of_a_stack_is_an_image(tmp_path, options):
    stack = STACK[:, :, None] if options.get("imagej") else STACK
    path = tmp_path / "a.tif"
    write(path, stack, **{"photometric": "minisblack", **options})
    planes = STACK.reshape(6, 16, 20, 1)
    assert all(np.array_equal(a, b) for a, b in zip(read(path), planes, strict=True))
    assert measure(path) == STACK.size
    assert load_images(path).indices == list(range(6))


def test_a_stack_that_imagej_wrote_behind_one_page(tmp_path):
    path = tmp_path / "a.tif"
    text = "ImageJ=1.54f\nimages=6\nchannels=2\nslices=3\nhyperstack=true\n"
    planes = STACK.reshape(6, 16, 20)
    write(path, planes[0], description=text, metadata=None)
    with path.open("ab") as file:  # the first plane lies at the end of the file
        file.write(planes[1:].tobytes())
    assert all(np.array_equal(a[..., 0], b) for a, b in zip(read(path), planes, strict=True))


def test_a_volume_in_tiles(tmp_path):
    volume = RNG.integers(0, 256, (5, 32, 48), dtype=np.uint8)
    options = {"volumetric": True, "tile": (16, 16, 16), "photometric": "minisblack"}
    pictures = read(write(tmp_path / "a.tif", volume, **options))
    assert np.array_equal(np.stack(pictures)[..., 0], volume)


def test_pages_of_any_size_and_colour(tmp_path):
    pages = [GREY, COLOUR, GREY[:5, :7]]
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for page in pages:
            tif.write(page, photometric="rgb" if page.ndim == 3 else "minisblack", metadata=None)
    for picture, page in zip(read(tmp_path / "a.tif"), pages, strict=True):
        assert np.array_equal(picture, np.atleast_3d(page))


def test_reduced_copies_are_no_images(tmp_path):
    small = {"subfiletype": 1, "photometric": "minisblack", "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(GREY, subifds=1, photometric="minisblack", metadata=None)
        tif.write(GREY[::2, ::2], **small)
        tif.write(GREY[::4, ::4], **small)
    assert np.array_equal(only(tmp_path / "a.tif")[..., 0], GREY)
    write(tmp_path / "b.tif", GREY, **small)
    with pytest.raises(UserError, match="has no page of full size"):
        read(tmp_path / "b.tif")


@pytest.mark.parametrize(
    ("array", "options", "complaint"),
    [
        (GREY.astype(np.uint32), {}, "has pixels of 32 bits of the kind UINT"),
        (GREY.astype(np.int16), {}, "has pixels of 16 bits of the kind INT"),
        (GREY.astype(np.int8), {}, "has pixels of 8 bits of the kind INT"),
        (GREY.astype(np.complex64), {}, "has pixels of 64 bits of the kind COMPLEX"),
        (RNG.random((4, 4)), {"photometric": "miniswhite"}, "of the kind MINISWHITE"),
        (np.zeros((9, 9, 4), np.uint8), {"photometric": "separated"}, "of the kind SEPARATED"),
        (COLOUR, {"photometric": "cielab"}, "3 samples of the kind CIELAB"),
        (GREY, {"photometric": "cfa"}, "of the kind CFA"),
        (GREY, {"compression": "png"}, "is compressed by PNG"),
        (GREY, {"extratags": [(42113, "s", 0, str(GREY.max()), True)]}, "pixels without data"),
        (np.zeros((9000, 15000), bool), {}, "15000x9000 pixels, more than 128 megapixels"),
    ],
)
def test_what_might_be_misread_is_refused(tmp_path, array, options, complaint):
    path = write(tmp_path / "a.tif", array, **options)
    with pytest.raises(UserError, match=rf"a\.tif .*{complaint}.*; \w+"):
        read(path)


def test_a_mask_of_valid_pixels_is_refused(tmp_path):
    path = retag(write(tmp_path / "a.tif", GREY, subfiletype=1), 254, 4)
    with pytest.raises(UserError, match=r"a\.tif has a mask of valid pixels"):
        read(path)


def test_a_map_without_gaps_is_read(tmp_path):
    values = np.maximum(GREY, 1)
    path = write(tmp_path / "a.tif", values, extratags=[(42113, "s", 0, "0", True)])
    assert np.array_equal(only(path)[..., 0], values)


@pytest.mark.parametrize("kind", ["SVS", "QPI", "SCN"])
def test_files_of_scanners_are_refused(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(tifffile.TiffFile, f"is_{kind.lower()}", True, raising=False)
    with pytest.raises(UserError, match=f"is a file of the kind {kind.lower()}"):
        read(write(tmp_path / "a.tif", GREY))


def test_a_long_stack_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", STACK, photometric="minisblack")
    monkeypatch.setattr(reading, "FILES_GIB", (STACK.size - 1) / 2**30)
    monkeypatch.setattr(tifffile.TiffPage, "asarray", None)
    with pytest.raises(UserError, match=r"a\.tif holds .* GiB of pixels, more than"):
        read(path)


@pytest.mark.parametrize(
    ("code", "value"),
    [(256, 0), (257, 0), (256, 4000), (257, 4000), (258, 7000), (273, 10**6), (279, 10**6)],
)
def test_tags_that_contradict_the_file(tmp_path, code, value):
    path = write(tmp_path / "a.tif", GREY)
    with pytest.raises(UserError, match=r"a\.tif "):
        read(retag(path, code, value))


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "jpeg", "packbits"])
def test_damage_is_told_in_one_line_and_logged_nowhere(tmp_path, compression, capfd, caplog):
    options = {"compression": compression, "photometric": "minisblack"}
    path = write(tmp_path / "a.tif", np.stack([GREY] * 3), **options)
    whole = path.read_bytes()
    for length in range(4, len(whole) - 40, len(whole) // 23):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"a\.tif cannot be read") as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "") and not caplog.records
    assert not logging.getLogger("tifffile").filters


def test_a_circle_of_pages_ends(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        for _ in range(3):
            tif.write(GREY, metadata=None, photometric="minisblack")
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        offsets = [page.offset for page in tif.pages]
    content = bytearray((tmp_path / "a.tif").read_bytes())
    entries = int.from_bytes(content[offsets[2] : offsets[2] + 2], "little")
    link = offsets[2] + 2 + 12 * entries
    content[link : link + 4] = offsets[1].to_bytes(4, "little")
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.tif cannot be read .*circle"):
        read(tmp_path / "a.tif")
