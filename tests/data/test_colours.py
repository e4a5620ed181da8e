import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from airscene.data.colours import LEVELS, PALETTE, Uncoloured, by_class, by_contrast, by_levels


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def objects(behind: torch.Tensor, contrast: float = 0.4) -> Uncoloured:
    return Uncoloured(torch.arange(len(behind)), behind, contrast)


def test_classes_have_colours_of_their_own():
    colours = by_class(objects(torch.zeros(12, 3)), seeded())
    assert (colours[:3] == torch.eye(3)).all()  # red, green, blue
    assert len(colours[:10].unique(dim=0)) == 10 == len(PALETTE)
    assert torch.equal(colours[10:], colours[:2])


@pytest.mark.parametrize("channels", [1, 3])
def test_levels_are_uniform_without_that_of_the_backdrop(channels):
    behind = torch.full((6000, channels), 127 / 255)
    colours = (255 * by_levels(objects(behind), seeded())).round().int()
    found, number = colours.unique(dim=0, return_counts=True)
    assert set(colours.unique().tolist()) <= set(LEVELS)
    assert len(found) == len(LEVELS) ** channels - 1
    assert not (found == 127).all(1).any()
    expected = 6000 / len(found)
    assert (number - expected).abs().max() < 5 * expected**0.5


@given(behind=st.floats(0, 1), contrast=st.floats(0, 0.5), seed=st.integers(0, 100))
@settings(max_examples=50, deadline=None)
def test_every_channel_keeps_its_distance(behind, contrast, seed):
    under = torch.full((50, 3), behind)
    colours = by_contrast(objects(under, contrast), seeded(seed))
    assert colours.min() >= 0 and colours.max() <= 1
    assert ((colours - under).abs() >= contrast - 1e-6).all()


def test_dark_and_bright_objects_occur_as_there_is_room():
    colours = by_contrast(objects(torch.full((4000, 1), 0.5)), seeded())
    assert (colours < 0.5).float().mean().item() == pytest.approx(0.5, abs=0.04)
    assert (by_contrast(objects(torch.full((100, 1), 0.2)), seeded()) >= 0.6).all()
    assert (by_contrast(objects(torch.full((100, 1), 0.8)), seeded()) <= 0.4 + 1e-6).all()
