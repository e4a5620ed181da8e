import math
from dataclasses import replace

import pytest
import torch
from torch.distributions import Normal

from airscene.config import Config, TrainingConfig
from airscene.data import SceneConfig, compose_split
from airscene.errors import UserError
from airscene.kinds import make_objective
from airscene.models.autoencoder import Autoencoder, AutoencoderConfig
from airscene.models.perception import Perception
from airscene.training.objectives import make_optimizer

SMALL = AutoencoderConfig(height=9, width=11, filters=2, hidden=8, latent=3)
LEARNING = AutoencoderConfig(height=16, width=16, filters=8, hidden=64, latent=12)


@pytest.fixture
def model() -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(SMALL)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(4, 1, 9, 11, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def scenes() -> torch.Tensor:
    scenes = SceneConfig(canvas=(16, 16), size=11.0, counts=(0, 1), train_size=1000)
    return compose_split(scenes, "train", 0).pixels()


def learned(model: AutoencoderConfig, scenes: torch.Tensor, steps: int) -> Autoencoder:
    """A model after some steps on scenes, the same one every time."""
    training = TrainingConfig(iterations=steps, learning_rate=((0.0, 3e-3), (1.0, 3e-4)))
    objective = make_objective(Config(model=model, training=training))
    optimizer, generator = make_optimizer(objective), torch.Generator().manual_seed(0)
    for group in optimizer.param_groups:
        group["lr"] = 3e-3
    for _ in range(steps):
        index = torch.randint(len(scenes), (64,), generator=generator)
        noise = torch.randn(64, *objective.noise_shape, generator=generator)
        optimizer.zero_grad()
        objective(scenes[index], noise)[0].backward()
        optimizer.step()
    return objective.model.eval()


@pytest.mark.parametrize(("height", "width"), [(9, 11), (8, 8), (1, 50)])
def test_the_canvas_has_the_size_of_the_picture(height, width):
    model = Autoencoder(replace(SMALL, height=height, width=width))
    image = torch.rand(2, 1, height, width)
    assert model.reconstruct(image).shape == image.shape


def test_at_first_the_canvas_is_dark(model, image):
    assert model.reconstruct(image).max() < 0.2


def test_the_bound_is_what_the_densities_make_it(model, image):
    found = model.infer(image, sample=True)
    q = Normal(found.q.loc, found.q.scale)
    kl = 0.5 * (q.loc.square() + q.scale.square() - 1).sum(1) - q.scale.log().sum(1)
    error = (image - found.pixels.mean).square().sum((1, 2, 3))
    constant = 9 * 11 * math.log(SMALL.sigma * math.sqrt(2 * math.pi))
    likelihood = -error / (2 * SMALL.sigma**2) - constant
    torch.testing.assert_close(found.elbo, likelihood - kl, rtol=1e-4, atol=1e-3)


def test_more_samples_tighten_the_bound(model, image):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    one = torch.stack([model.elbo(image) for _ in range(100)]).mean()
    many = torch.stack([model.log_likelihood(image, 20) for _ in range(10)]).mean()
    assert many > one


def test_the_divergence_counts_as_much_as_its_weight(image):
    noise = torch.zeros(4, 3)
    losses = [
        make_objective(Config(model=replace(SMALL, kl_weight=weight)))(image, noise)[0]
        for weight in (0.0, 1.0, 2.0)
    ]
    assert losses[1] - losses[0] > 0
    torch.testing.assert_close(losses[2] - losses[1], losses[1] - losses[0], rtol=1e-3, atol=1e-3)


def test_a_perceptual_term_counts_as_much_as_its_weight(image):
    noise = torch.zeros(4, 3)
    losses = [
        make_objective(Config(model=replace(SMALL, perceptual=weight)))(image, noise)
        for weight in (0.0, 10.0, 20.0)
    ]
    (plain, bound), (once, same), (twice, _) = losses
    assert once - plain > 0 and bound == same
    torch.testing.assert_close(twice - once, once - plain, rtol=1e-3, atol=1e-3)


def test_what_looks_alike_is_near():
    """A shift by a pixel is nearer than one by nine, and an even grey than ripples as strong."""
    image = torch.zeros(1, 1, 32, 32)
    image[..., 8:24, 8:24] = 1
    for channels in (1, 3):
        pictures = image.expand(-1, channels, -1, -1)
        perception = Perception(channels)
        assert perception(pictures, pictures).item() == 0
        near, far = pictures.roll(1, -1), pictures.roll(9, -1)
        assert 0 < perception(pictures, near) < perception(pictures, far)
    ripples = image + 0.2 * torch.linspace(0, 60, 32).sin()
    brighter = image + (ripples - image).square().mean().sqrt()  # as far in pixels
    assert perception(ripples.expand(-1, 3, -1, -1), pictures) > perception(
        brighter.expand(-1, 3, -1, -1), pictures
    )


def test_perception_is_the_same_every_time_and_is_not_trained():
    one, other = Perception(3), Perception(3)
    assert torch.equal(one.get_buffer("weight_2"), other.get_buffer("weight_2"))
    assert not [*one.parameters()] and not one.state_dict()


def test_it_learns_what_scenes_look_like(scenes):
    model = learned(LEARNING, scenes, 250)
    left = (model.reconstruct(scenes) - scenes).square().sum()
    assert left < 0.5 * (scenes.mean(0) - scenes).square().sum()


def test_without_a_prior_its_code_is_sharper(scenes):
    plain = learned(replace(LEARNING, kl_weight=0.0), scenes, 100).infer(scenes)
    variational = learned(LEARNING, scenes, 100).infer(scenes)
    assert plain.kl.mean() > 2 * variational.kl.mean()


def test_a_size_out_of_range_is_refused():
    with pytest.raises(UserError, match=r"--model\.latent is 0"):
        AutoencoderConfig(latent=0)
