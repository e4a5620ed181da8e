from dataclasses import replace

import pytest
import torch

from airscene.data.backdrops import BACKDROPS, photos
from airscene.data.backdrops.grid import Grid
from airscene.data.backdrops.noisy import Noisy
from airscene.data.colours import LEVELS

CANVAS = (20, 30)


def made(name: str, channels: int = 1, split="train"):
    return BACKDROPS[name](channels, CANVAS, 0.3, split)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", BACKDROPS)
def test_every_backdrop_keeps_the_contract(name, channels, split):
    backdrop = made(name, channels, split)
    behind = torch.as_tensor(backdrop.behind(7, seeded()))
    assert behind.shape in [(), (7, channels, *CANVAS)]
    assert behind.min() >= 0 and behind.max() <= 1
    assert torch.equal(behind, torch.as_tensor(backdrop.behind(7, seeded())))
    images = torch.randint(256, (7, channels, *CANVAS), dtype=torch.uint8, generator=seeded(1))
    before = images.clone()
    finished = backdrop.finish(images, seeded())
    assert finished.shape == images.shape and finished.dtype == torch.uint8
    assert torch.equal(finished, backdrop.finish(before, seeded()))


@pytest.mark.parametrize("name", BACKDROPS)
def test_the_level_plays_a_part_where_it_is_said(name):
    backdrop = made(name)
    behind, other = (
        torch.as_tensor(some.behind(5, seeded())) for some in (backdrop, replace(backdrop, level=0))
    )
    assert torch.equal(behind, other) != backdrop.has_level


@pytest.mark.parametrize("level", [0, 100, 255])
def test_noise_has_its_mean_and_spread(level):
    images = torch.full((1, 1, 300, 300), level, dtype=torch.uint8)
    x = Noisy(1, (300, 300), 0.0, "train").finish(images, seeded()) / 255
    centre = 0.8 * level / 255 + 0.1
    expected = (centre + 0.2 * torch.randn(100_000, generator=seeded(1))).clamp(0, 1)
    assert x.mean().item() == pytest.approx(expected.mean().item(), abs=0.005)
    assert x.std().item() == pytest.approx(expected.std().item(), abs=0.005)


def test_grid_lines_lie_every_five_pixels_at_offsets_of_their_own():
    images = torch.full((200, 3, *CANVAS), 7, dtype=torch.uint8)
    images[..., 0] = 200
    found = Grid(3, CANVAS, 0.0, "train").finish(images, seeded())
    assert (found[..., 0] == 200).all()  # what is brighter stays
    offsets = set()
    for image in found:
        rows = (image[0, :, 1:] == 102).all(1).nonzero()[:, 0]
        columns = (image[0] == 102).all(0).nonzero()[:, 0]
        assert (rows.diff() == 5).all() and (columns.diff() == 5).all()
        on = torch.zeros(CANVAS, dtype=torch.bool)
        on[rows], on[:, columns] = True, True
        assert torch.equal((image == 102)[..., 1:], on[:, 1:].expand(3, -1, -1))
        offsets.add((int(rows[0]), int(columns[0]) % 5))
    assert len(offsets) == 25


def test_levels_are_one_colour_a_scene():
    behind = made("levels", 3).behind(500, seeded())
    assert torch.equal(behind, behind[..., :1, :1].expand_as(behind))
    assert set((behind * 255).round().int().unique().tolist()) == set(LEVELS)


def test_photographs_are_split_and_dimmed():
    train, test = (photos._photos(split, 3) for split in ("train", "test"))
    assert train.shape == (4, 427, 224, 3) and test.shape == (2, 427, 192, 3)
    assert min(train.min(), test.min()) >= 0.2 - 1e-6 and max(train.max(), test.max()) <= 0.8 + 1e-6
    columns = {tuple(column.flatten().tolist()) for part in train for column in part.unbind(1)}
    assert not any(tuple(c.flatten().tolist()) in columns for part in test for c in part.unbind(1))


def test_crops_are_parts_of_the_photographs():
    crop = made("photos").behind(3, seeded())[1, 0]
    whole = photos._photos("train", 1)[..., 0]
    windows = whole.unfold(1, CANVAS[0], 1).unfold(2, CANVAS[1], 1)
    assert any((part == crop).all((-1, -2)).any() for part in windows.unbind(0))
