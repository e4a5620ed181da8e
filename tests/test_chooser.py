from dataclasses import replace

import numpy as np
import pytest
import torch

from airscene.chooser import brightness, choose, count_blobs
from airscene.config import Config
from airscene.data import SceneConfig, Scenes, compose_split
from airscene.errors import UserError
from airscene.models.draw import DRAWConfig

SIZE = 12  # of the squares below, in pixels


def squares(*corners: tuple[int, int], level: float = 1.0, side: int = SIZE) -> np.ndarray:
    """An image (50, 60) with bright squares at (y, x)."""
    image = np.zeros((50, 60), dtype=np.float32)
    for y, x in corners:
        image[y : y + side, x : x + side] = level
    return image


def scenes_of(*images: np.ndarray) -> Scenes:
    return Scenes(torch.from_numpy(np.stack(images))[:, None])


def test_pieces_are_counted():
    assert count_blobs(squares(), SIZE, 1.0) == 0
    assert count_blobs(squares((2, 2), (20, 30), (35, 5)), SIZE, 1.0) == 3


def test_a_piece_twice_as_long_counts_twice():
    assert count_blobs(squares((10, 10), (10, 10 + SIZE)), SIZE, 1.0) == 2
    assert count_blobs(squares((10, 10), (10 + SIZE, 10)), SIZE, 1.0) == 2


def test_specks_do_not_count():
    image = squares((10, 10))
    image[40, 50] = 1
    assert count_blobs(image, SIZE, 1.0) == 1


def test_brightness_is_that_of_the_objects_whatever_the_share_of_empty_images():
    dim = torch.from_numpy(np.stack([squares()] * 8 + [squares((3, 3), level=0.4)] * 3))
    assert brightness(dim) == pytest.approx(0.4)


def test_what_is_chosen_fits_the_images():
    three = squares((2, 2), (20, 30), (35, 5), level=0.6)
    choice = choose(Config(), scenes_of(three, squares((4, 4), level=0.6), three), SIZE)
    model = choice.config.model
    assert (model.height, model.width, model.channels) == (50, 60, 1)
    assert model.steps == 5  # two above the largest count
    energy = 0.6**2 * SIZE**2
    assert model.sigma == pytest.approx((energy / (2 * model.evidence)) ** 0.5, rel=1e-3)
    window = 50 / (1 + np.exp(-model.scale_prior[0]))
    assert SIZE < window < 1.5 * SIZE
    assert model.glimpse == pytest.approx(window, abs=1)
    assert choice.config.training.batch == 256
    assert any("--model.steps 5" in reason and "up to 3" in reason for reason in choice.reasons)


def test_more_evidence_is_a_smaller_sigma():
    image, config = scenes_of(squares((3, 3))), Config()
    asked = replace(config, model=replace(config.model, evidence=4 * config.model.evidence))
    half, whole = (choose(some, image, SIZE).config.model.sigma for some in (asked, config))
    assert half == pytest.approx(whole / 2, rel=1e-3)


def test_what_is_not_chosen_stays():
    config = Config(seed=4)
    chosen = choose(config, scenes_of(squares((3, 3))), SIZE).config
    assert chosen.seed == 4 and chosen.model.what == config.model.what
    assert chosen.training.iterations == config.training.iterations


def test_a_step_of_large_images_takes_fewer_of_them():
    large = Scenes(torch.zeros(2, 1, 128, 128).index_fill(3, torch.arange(9, 20), 1.0))
    assert choose(Config(), large, 20).config.training.batch == 64


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.3])
def test_on_digits_the_largest_count_is_seen_from_a_rough_size(scale):
    config = SceneConfig(canvas=(50, 50), size=28.0, test_size=300)
    scenes = compose_split(config, "test", 0)
    side = float((scenes.boxes[..., 2:] - scenes.boxes[..., :2]).amax(-1).max())
    assert 3 <= choose(Config(), scenes, scale * side).config.model.steps <= 6


@pytest.mark.parametrize("size", [0.0, -3.0, 4.0, 51.0, float("nan"), float("inf"), 1e308, 1e-300])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(UserError, match=r"--object-size is .*between 5 and 50"):
        choose(Config(), scenes_of(squares((3, 3))), size)


def test_black_images_are_refused():
    with pytest.raises(UserError, match="only black images"):
        choose(Config(), scenes_of(squares()), SIZE)


def test_it_does_not_choose_for_draw():
    with pytest.raises(UserError, match="--preset dair"):
        choose(Config(model=DRAWConfig()), scenes_of(squares((3, 3))), SIZE)


FOUR = squares((2, 2), (20, 30), (35, 5), (36, 40), level=0.6)

# a flag, the value it was given, and what follows it: another setting with and without the flag
GIVEN = [
    ("--model.feedback", "residual", {}),
    ("--model.scale-prior", (-2.0, 0.3), {"--model.glimpse": (8, 16)}),
    ("--model.scale-prior", (0.0, 0.3), {"--model.glimpse": (28, 16)}),
    ("--model.glimpse", 11, {}),
    ("--model.steps", 40, {"--training.batch": (64, 128)}),
    ("--model.steps", 1, {"--training.batch": (256, 128)}),
    ("--model.sigma", 0.7, {}),
    ("--training.batch", 9, {}),
]
CHOSEN = list(dict.fromkeys(flag for flag, *_ in GIVEN))


def value_of(config: Config, flag: str):
    part, name = flag.removeprefix("--").replace("-", "_").split(".")
    return getattr(getattr(config, part), name)


def words_of(value) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize(("flag", "value", "follows"), GIVEN)
def test_a_given_flag_is_kept_and_the_others_follow_it(flag, value, follows):
    part, name = flag.removeprefix("--").replace("-", "_").split(".")
    config = replace(Config(), **{part: replace(getattr(Config(), part), **{name: value})})
    scenes = large_scenes(FOUR)
    plain, kept = choose(config, scenes, SIZE), choose(config, scenes, SIZE, frozenset({flag}))
    assert value_of(kept.config, flag) == value
    assert value_of(plain.config, flag) != value or flag == "--model.feedback"
    for other in set(CHOSEN) - {flag}:
        after, before = value_of(kept.config, other), value_of(plain.config, other)
        assert (after, before) == follows.get(other, (before, before))
    line = next(reason for reason in kept.reasons if reason.startswith(f"{flag} "))
    assert line == f"{flag} {words_of(value)}: as you gave it"


@pytest.mark.parametrize("given", [(), ("--model.steps", "--model.sigma"), tuple(CHOSEN)])
def test_the_reasons_tell_every_value_that_is_used(given):
    choice = choose(Config(), scenes_of(FOUR), SIZE, frozenset(given))
    assert len(choice.reasons) == len(CHOSEN)
    for flag in CHOSEN:
        start = f"{flag} {words_of(value_of(choice.config, flag))}: "
        (line,) = [reason for reason in choice.reasons if reason.startswith(start)]
        assert line.endswith("as you gave it") == (flag in given)


def test_images_of_one_colour_are_refused_unless_sigma_is_given():
    bright = scenes_of(np.full_like(squares((3, 3)), 0.5))
    with pytest.raises(UserError, match=r"no contrast.*--model\.sigma"):
        choose(Config(), bright, SIZE)
    asked = replace(Config(), model=replace(Config().model, sigma=0.3))
    assert choose(asked, bright, SIZE, frozenset({"--model.sigma"})).config.model.sigma == 0.3


def test_nearly_black_images_leave_a_sigma_that_is_allowed():
    faint = scenes_of(squares((3, 3), level=1e-3))
    assert choose(Config(), faint, SIZE).config.model.sigma == 0.001


def large_scenes(image: np.ndarray) -> Scenes:
    """The image on a larger canvas, where the batch depends on the number of steps."""
    whole = np.zeros((1, 1, 70, 70), dtype=np.float32)
    whole[0, 0, :50, :60] = image
    return Scenes(torch.from_numpy(whole))
