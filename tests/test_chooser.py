import numpy as np
import pytest
import torch

from airscene.baselines.draw import DRAWConfig
from airscene.chooser import brightness, choose, count_blobs
from airscene.config import Config
from airscene.data import SceneConfig, Scenes, compose_split
from airscene.errors import UserError

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
    assert model.sigma == pytest.approx(0.18)
    window = 50 / (1 + np.exp(-model.scale_prior[0]))
    assert SIZE < window < 1.5 * SIZE
    assert model.glimpse == pytest.approx(window, abs=1)
    assert choice.config.training.batch == 256
    assert any("--model.steps 5" in reason and "up to 3" in reason for reason in choice.reasons)


def test_small_objects_have_a_smaller_sigma():
    small = squares((3, 3), side=6)
    assert choose(Config(), scenes_of(small, small), 6).config.model.sigma == pytest.approx(0.18)


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


@pytest.mark.parametrize("size", [0.0, -3.0, 4.0, 51.0, float("nan")])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(UserError, match=r"--object-size is .*between 5 and 50"):
        choose(Config(), scenes_of(squares((3, 3))), size)


def test_black_images_are_refused():
    with pytest.raises(UserError, match="only black images"):
        choose(Config(), scenes_of(squares()), SIZE)


def test_it_does_not_choose_for_draw():
    with pytest.raises(UserError, match="--preset dair"):
        choose(Config(model=DRAWConfig()), scenes_of(squares((3, 3))), SIZE)
