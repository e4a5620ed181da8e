import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from airscene.core.evidence import object_energy, sigma_of
from airscene.core.likelihoods import LOOSE, Correlated
from airscene.errors import UserError
from airscene.models.air_config import AIRConfig

SIDE = 12.0


def squares(*places: tuple[int, int], level: float = 1.0, side: int = 9) -> torch.Tensor:
    """One image (1, 1, 60, 60) with bright squares at (y, x)."""
    image = torch.zeros(1, 1, 60, 60)
    for y, x in places:
        image[:, :, y : y + side, x : x + side] = level
    return image


@settings(max_examples=50, deadline=None)
@given(st.floats(0.1, 1.0), st.integers(0, 40), st.integers(0, 40))
def test_the_energy_is_that_of_the_object_wherever_it_is(level, y, x):
    found = object_energy(squares((y, x), level=level), SIDE)
    assert found == pytest.approx(81 * level**2, rel=0.05)


def test_dark_objects_have_the_energy_of_bright_ones():
    image = squares((10, 30))
    assert object_energy(1 - image, SIDE) == pytest.approx(object_energy(image, SIDE))


def test_neither_empty_pictures_nor_more_objects_change_it():
    alone = object_energy(squares((10, 10)), SIDE)
    pictures = torch.cat([squares((10, 10)), squares((5, 5), (40, 40), (5, 40)), squares()])
    assert object_energy(pictures, SIDE) == pytest.approx(alone)


def test_noise_and_a_level_do_not_count():
    torch.manual_seed(0)
    pictures = squares((10, 10), (40, 30)).expand(50, -1, -1, -1)
    noisy = 0.3 + 0.5 * pictures + 0.1 * torch.randn(50, 1, 60, 60)
    assert object_energy(noisy, SIDE) == pytest.approx(81 / 4, rel=0.2)


def test_of_neighbours_that_scatter_together_the_edges_count():
    found = object_energy(squares((20, 20)), SIDE, Correlated())
    assert found == pytest.approx(4 * 9 + LOOSE**2 * 81, rel=1e-5)


def test_colours_add_up():
    grey = squares((20, 20))
    assert object_energy(grey.expand(-1, 3, -1, -1), SIDE) == pytest.approx(3 * 81)


def test_windows_as_large_as_the_picture_leave_an_energy():
    objects = [object_energy(squares((8, 20), side=20), side) for side in (24.0, 40.0, 60.0, 99.0)]
    assert objects == [pytest.approx(400)] * 4


def test_pictures_smaller_than_an_object_have_an_energy():
    assert object_energy(squares((2, 2))[..., :8, :10], 40.0) > 0


@settings(max_examples=50, deadline=None)
@given(st.floats(1e-3, 1e4), st.floats(1, 1e4))
def test_an_object_gives_the_evidence_asked_for(energy, evidence):
    sigma = sigma_of(energy, evidence)
    assert energy / (2 * sigma**2) == pytest.approx(evidence, rel=1e-3)


def test_the_pictures_decide_the_canvas_and_sigma_unless_it_is_given():
    images = squares((20, 20)).expand(5, 3, -1, -1)
    fitted = AIRConfig(evidence=200.0, scale_prior=(-1.4, 0.1)).fitted(images)
    assert (fitted.channels, fitted.height, fitted.width) == (3, 60, 60)
    assert fitted.sigma == sigma_of(243.0, 200.0)
    assert AIRConfig(sigma=0.7).fitted(images).sigma == 0.7


def test_pictures_without_contrast_are_refused():
    with pytest.raises(UserError, match=r"no contrast.*--model\.sigma"):
        AIRConfig().fitted(torch.full((3, 1, 20, 20), 0.5))
