import numpy as np
import torch
from sklearn.datasets import load_digits
from test_mnist import digits, put

from airscene.data.sprites import load_sprites


def rows(sprites):
    return [
        (*image.flatten().tolist(), int(label))
        for image, label in zip(sprites.images, sprites.labels, strict=True)
    ]


def test_the_splits_share_the_digits_out_disjointly():
    train, test = load_sprites("digits", "train"), load_sprites("digits", "test")
    assert (len(train), len(test)) == (1400, 397)
    pixels, labels = load_digits(return_X_y=True)
    scaled = np.rint(pixels * 255 / 16).astype(int)
    everything = [(*image, label) for image, label in zip(scaled.tolist(), labels, strict=True)]
    assert sorted(rows(train) + rows(test)) == sorted(everything)


def test_digits_are_bytes_of_full_range_and_the_same_every_time():
    sprites, again = load_sprites("digits", "train"), load_sprites("digits", "train")
    assert sprites.images.shape == (1400, 8, 8)
    assert sprites.images.dtype == torch.uint8 and sprites.labels.dtype == torch.int64
    assert (sprites.images.min(), sprites.images.max()) == (0, 255)
    assert torch.equal(sprites.images, again.images)
    assert set(sprites.labels.tolist()) == set(range(10))


def test_mnist_comes_from_the_named_folder(tmp_path):
    images, labels = digits(4)
    sprites = load_sprites("mnist", "train", put(tmp_path, images, labels))
    assert np.array_equal(sprites.images, images) and np.array_equal(sprites.labels, labels)
