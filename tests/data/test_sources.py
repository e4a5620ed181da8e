import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from test_mnist import digits, put

from airscene.core.spatial import ink_boxes
from airscene.data.sources import SOURCES, dsprites, load_sprites, shapes
from omniglot_archives import put_omniglot, some_characters

PREFIXES = {"train": "train", "test": "t10k"}  # of the files of MNIST


def rows(sprites):
    return [
        (*image.flatten().tolist(), int(label))
        for image, label in zip(sprites.images, sprites.labels, strict=True)
    ]


def sides(sprites) -> torch.Tensor:
    """Width and height of each sprite's ink, (S, 2)."""
    boxes = ink_boxes(sprites.images / 255)
    return boxes[:, 2:] - boxes[:, :2]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", SOURCES)
def test_every_source_keeps_the_contract(name, split, tmp_path):
    folder = put(tmp_path, *digits(4), PREFIXES[split]) if SOURCES[name].has_files else None
    if folder:
        put_omniglot(folder, some_characters())
    sprites, again = (load_sprites(name, split, folder) for _ in range(2))
    side = SOURCES[name].side
    assert sprites.images.shape == (len(sprites), side, side)
    assert sprites.images.dtype == torch.uint8
    assert sprites.labels.shape == (len(sprites),) and sprites.labels.dtype == torch.int64
    assert len(sprites) > 0 and sprites.labels.min() >= 0
    assert (sides(sprites) > 0).all()
    assert torch.equal(sprites.images, again.images) and torch.equal(sprites.labels, again.labels)


def test_the_splits_share_the_digits_out_disjointly():
    train, test = load_sprites("digits", "train"), load_sprites("digits", "test")
    assert (len(train), len(test)) == (1400, 397)
    pixels, labels = load_digits(return_X_y=True)
    scaled = np.rint(pixels * 255 / 16).astype(int)
    everything = [(*image, label) for image, label in zip(scaled.tolist(), labels, strict=True)]
    assert sorted(rows(train) + rows(test)) == sorted(everything)


def test_digits_have_the_full_range():
    sprites = load_sprites("digits", "train")
    assert (sprites.images.min(), sprites.images.max()) == (0, 255)
    assert set(sprites.labels.tolist()) == set(range(10))


def test_mnist_comes_from_the_named_folder(tmp_path):
    images, labels = digits(4)
    sprites = load_sprites("mnist", "train", put(tmp_path, images, labels))
    assert np.array_equal(sprites.images, images) and np.array_equal(sprites.labels, labels)


def test_shapes_have_each_length_and_their_areas():
    sprites = load_sprites("shapes", "train")
    lengths = torch.tensor(shapes.LENGTHS).repeat(3).float()
    area = sprites.images.sum((1, 2)) / 255
    share = torch.tensor([np.pi / 4, 1, 1 / 2]).repeat_interleave(len(shapes.LENGTHS))
    torch.testing.assert_close(area, (share * lengths**2).float(), rtol=0.025, atol=0)
    assert torch.equal(sides(sprites)[5:10], lengths[5:10, None].expand(-1, 2))  # squares
    assert ((sides(sprites) - lengths[:, None]).abs() <= 2).all()  # corners are faint
    edges = sprites.images[sprites.labels != 1]
    assert ((edges > 0) & (edges < 255)).flatten(1).any(1).all()


def test_dsprites_are_black_and_white_and_as_large_as_reported():
    sprites = load_sprites("dsprites", "train")
    assert len(sprites) == 3 * 6 * 40
    assert set(sprites.images.unique().tolist()) == {0, 255}
    mean = sprites.images.float().sum((1, 2)).mean() / 255 / 64**2
    assert mean.item() == pytest.approx(0.043, abs=0.0005)
    assert sprites.images[:, 0].sum() == sprites.images[:, -1].sum() == 0  # none is cut off


def test_dsprites_grow_and_turn():
    images = load_sprites("dsprites", "train").images.view(3, 6, 40, dsprites.SIDE, dsprites.SIDE)
    area = images.float().sum((3, 4)).mean(2) / 255  # (3, 6)
    ratio = area[:, 0] / area[:, -1]
    assert ratio.tolist() == pytest.approx([0.25] * 3, abs=0.01)
    heart = images[2, -1, 0].bool()
    assert heart[:16].sum() > heart[17:].sum()  # upright: wide above
    ellipse = sides(load_sprites("dsprites", "train"))[5 * 40 + 240]
    assert ellipse.tolist() == [25, 15]
    assert not torch.equal(images[2, -1, 0], images[2, -1, 1])
