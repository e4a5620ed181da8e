import pytest
import torch

from airscene.data import Composer, compose_split, load_sprites
from airscene.training.streams import FixedScenes, FreshScenes, Share


@pytest.fixture(params=["fixed", "fresh"])
def stream(request, tiny):
    if request.param == "fixed":
        return FixedScenes(compose_split(tiny.scenes, "train", 0))
    return FreshScenes(Composer(load_sprites("digits", "train"), tiny.scenes))


def draw(stream, share, seed=5):
    return stream.draw(share, torch.Generator().manual_seed(seed))


def test_the_same_seed_draws_the_same_batch(stream):
    assert torch.equal(draw(stream, Share(8)), draw(stream, Share(8)))


def test_another_seed_draws_another_batch(stream):
    assert not torch.equal(draw(stream, Share(8)), draw(stream, Share(8), seed=6))


def test_images_are_floats_from_0_to_1(stream):
    image = draw(stream, Share(8))
    assert image.shape == (8, 1, 16, 16) and image.dtype == torch.float32
    assert image.min() == 0 and 0.5 < image.max() <= 1


def test_shares_together_are_the_larger_batch(stream):
    shares = [draw(stream, Share(4, rank, 2)) for rank in range(2)]
    assert torch.equal(torch.cat(shares), draw(stream, Share(8)))


def test_a_fixed_set_is_drawn_from_with_replacement(tiny):
    scenes = compose_split(tiny.scenes, "train", 0)
    image = draw(FixedScenes(scenes[:2]), Share(16))
    among = (image[:, None] == scenes[:2].pixels()[None]).flatten(2).all(-1)
    assert among.any(1).all() and among.any(0).all()


@pytest.mark.parametrize("fresh", [False, True])
def test_a_step_is_decided_by_seed_and_step_alone(make_trainer, fresh):
    first, second = make_trainer(fresh=fresh), make_trainer(fresh=fresh)
    first.draw(0)
    torch.rand(3)
    image, noise = first.draw(4)
    same_image, same_noise = second.draw(4)
    assert torch.equal(image, same_image) and torch.equal(noise, same_noise)
    other_image, other_noise = second.draw(5)
    assert not torch.equal(image, other_image) and not torch.equal(noise, other_noise)


def test_noise_is_shared_out_with_its_images(make_trainer):
    one, two = make_trainer(batch=8), make_trainer(batch=4)
    parts = []
    for rank in range(2):
        two.share = Share(4, rank, 2)
        parts.append(two.draw(3))
    images, noises = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    image, noise = one.draw(3)
    assert torch.equal(images, image) and torch.equal(noises, noise)
