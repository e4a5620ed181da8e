"""Contrast: the same picture in many forms is prepared alike."""

import numpy as np
import pytest

from airscene.data.behind import WHOLE, Against, Behind
from airscene.data.contrast import KNEE, Contrast, choose_polarity, settle
from airscene.data.sizes import estimate_size, otsu
from airscene.errors import UserError


def discs(size=120, diameter=12, step=30, seed=0) -> np.ndarray:
    """Discs of one on zero, with a little noise, shape (H, W, 1)."""
    y, x = np.mgrid[:size, :size] + 0.5
    near = np.hypot((y % step) - step / 2, (x % step) - step / 2)
    noise = np.random.default_rng(seed).normal(0, 0.01, (size, size))
    return ((near < diameter / 2) + noise).astype(np.float32)[..., None]


def prepared(picture, **known) -> np.ndarray:
    return settle(Contrast(**{"object_size": 12.0, **known}), [picture]).prepare(picture)[0].numpy()


def test_discs_are_bright_on_black_in_every_form():
    plain = prepared(discs())
    assert plain.min() == 0 and plain.max() == 1 and 0.05 < (plain > 0.5).mean() < 0.2
    light = np.linspace(0, 0.8, 120, dtype=np.float32)
    forms = {
        "dark on white": 1 - 0.8 * discs(),
        "8 bits": (discs() * 150 + 40).clip(0, 255).astype(np.uint8),
        "16 bits of which 12 are used": (discs() * 3000 + 200).clip(0, None).astype(np.uint16),
        "floats of any range": discs() * 0.02 + 0.3,
        "floats beyond 1": discs() * 3000 - 500,
        "uneven light": discs() * 0.5 + light[:, None],
        "colour on white": 1 - discs() * np.array([0.7, 0.2, 0.5], np.float32),
    }
    for name, picture in forms.items():
        other = prepared(picture)
        least = 0.93 if name == "uneven light" else 0.97
        assert np.corrcoef(plain.flatten(), other.flatten())[0, 1] > least, name


def test_the_polarity_is_that_of_most_contrast():
    assert choose_polarity([discs()], 12) == "bright"
    assert choose_polarity([1 - discs()], 12) == "dark"
    both = np.concatenate([discs(), -discs()])
    assert choose_polarity([both], 12) == "any"


def test_each_kind_of_pixels_has_a_white_of_its_own():
    eight = (discs() * 200).clip(0, 255).astype(np.uint8)
    sixteen = (discs() * 3000).clip(0, None).astype(np.uint16)
    contrast = settle(Contrast(object_size=12.0), [eight, sixteen])
    assert contrast.white == pytest.approx((0.784, 0.0458, (0.784 + 0.0458) / 2), rel=0.05)
    one, other = contrast.prepare(eight), contrast.prepare(sixteen)
    assert (one - other).abs().mean() < 0.02


def test_faint_things_come_closer_to_bright_ones():
    picture = discs()
    picture[:, :60] *= 0.1
    contrast = Contrast(12.0, "bright", (1.0, 1.0, 1.0))
    value = contrast.prepare(picture)[0].numpy()
    ratio = np.median(value[:, 60:][picture[:, 60:, 0] > 0.5]) / np.median(
        value[:, :60][picture[:, :60, 0] > 0.05]
    )
    assert ratio == pytest.approx(np.arcsinh(1 / KNEE) / np.arcsinh(0.1 / KNEE), rel=0.1)


def test_large_things_are_shrunk_and_small_ones_are_not_enlarged():
    large = settle(Contrast(object_size=48.0), [discs(240, 48, 80)])
    assert large.shrink == 0.25 and large.span == 12
    assert large.prepare(discs(240, 48, 80)).shape == (1, 60, 60)
    assert settle(Contrast(object_size=6.0), [discs(120, 6, 20)]).shrink == 1


def test_the_size_is_estimated_within_a_third():
    for diameter in (8, 12, 20, 36):
        found = estimate_size([discs(240, diameter, 60)])
        assert diameter / 1.33 < found < diameter * 1.33


def test_each_picture_is_scaled_by_its_own_things_where_sizes_differ():
    diameters = (10, 20, 14, 16, 12, 18)
    pictures = [discs(240, diameter, 40) for diameter in diameters]
    contrast = settle(Contrast(object_size=15.0), pictures)
    assert contrast.sizes is not None and 0.1 < contrast.sizes[1] < 0.4
    areas = []
    for diameter, picture in zip(diameters, pictures, strict=True):
        assert contrast.longer(picture) == pytest.approx(diameter / 15, rel=0.15)
        prepared = contrast.prepare(picture)
        areas.append(float((prepared > 0.5).sum()) / len(range(20, 240, 40)) ** 2)
    assert max(areas) < 1.6 * min(areas)  # where discs differ fourfold in area


def test_pictures_are_scaled_alike_where_sizes_do_not_differ_or_are_not_known():
    alike = settle(Contrast(object_size=12.0), [discs(120, 12, 30 + k) for k in range(6)])
    assert alike.sizes is not None and alike.sizes[1] == 0
    pictures = [discs(240, diameter, 40) for diameter in (10, 20, 14, 16, 12, 18)]
    given = settle(Contrast(object_size=15.0, sizes=(15.0, 0.0)), pictures)
    of_strokes = settle(Contrast(object_size=30.0), pictures)
    for contrast in (given, of_strokes):
        assert [contrast.longer(picture) for picture in pictures] == [1] * 6
    unknown = settle(Contrast(object_size=15.0), pictures)
    assert unknown.longer(discs(60, 20, 40)) == 1  # of too few things


def test_a_thing_is_as_large_as_its_outline_though_its_middle_is_dark():
    y, x = np.mgrid[:240, :240] + 0.5
    face = np.hypot(y % 60 - 30, x % 60 - 30) < 8
    found = estimate_size([discs(240, 36, 60) * ~face[..., None]])
    assert 36 / 1.33 < found < 36 * 1.33


def test_what_lies_behind_is_that_of_the_place():
    slope = np.add.outer(np.linspace(0, 1, 150), np.linspace(0, 0.5, 90)).astype(np.float32)
    picture = slope + discs(150)[:, :90, 0]
    error = Behind.of(picture.__getitem__, picture.shape, 12, 0.4)[WHOLE] - slope
    assert np.abs(error).max() < 0.2 and np.abs(error).mean() < 0.05


@pytest.mark.parametrize("channels", [1, 3])
def test_a_part_of_a_picture_shows_what_it_does_in_the_whole(channels):
    random = np.random.default_rng(0)
    picture = random.integers(0, 60_000, (130, 90, channels)).astype(np.uint16)
    against = Against(picture, 12, "dark")
    whole = against[WHOLE]
    assert whole.shape == against.shape == (130, 90) and whole.max() > 0
    for place in ((slice(0, 20), slice(3, 90)), (slice(77, 130), slice(40, 41))):
        assert np.array_equal(against[place], whole[place])


def test_the_threshold_lies_between_two_levels():
    assert 0.2 < otsu(np.array([0.1] * 90 + [0.2] * 10 + [0.8] * 20 + [0.9] * 5)) < 0.8


@pytest.mark.parametrize("size", [200.0, 121.0])
def test_a_size_that_does_not_fit_is_told_in_pixels_of_the_files(size):
    with pytest.raises(UserError, match=f"--object-size is {size:g} px .* 120 px"):
        settle(Contrast(object_size=size), [discs()])


def test_a_size_that_is_too_small_names_its_flag():
    with pytest.raises(UserError, match="object-size"):
        Contrast(object_size=2.0)


def test_pictures_that_show_nothing_are_told():
    blank = np.full((50, 50, 1), 7, np.uint8)
    with pytest.raises(UserError, match="give --object-size"):
        settle(Contrast(), [blank])
    with pytest.raises(UserError, match="no contrast"):
        settle(Contrast(object_size=12.0), [blank])


def test_a_blank_picture_among_others_is_black():
    contrast = settle(Contrast(object_size=12.0), [discs()])
    assert not contrast.prepare(np.full((50, 40, 1), 0.3, np.float32)).any()
    assert contrast.prepare(np.zeros((1, 1, 1), np.uint8)).shape == (1, 1, 1)
