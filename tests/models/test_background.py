"""What every background of the table offers, and what some of them promise."""

from dataclasses import replace

import pytest
import torch

from airscene.models.air import AIR
from airscene.models.background import BACKGROUNDS, Shape

SHAPE = Shape(channels=3, height=20, width=24, hidden=16, code=4)

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture(params=BACKGROUNDS)
def name(request) -> str:
    return request.param


@pytest.fixture
def background(name):
    torch.manual_seed(0)
    return BACKGROUNDS[name](SHAPE)


def pictures(number: int = 2) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.rand(number, 3, 20, 24)


def test_it_has_a_posterior_of_its_latents_and_paints_a_canvas_in_0_to_1(background):
    q = background.posterior(pictures())
    assert q.loc.shape == q.scale.shape == (2, background.latents) and (q.scale > 0).all()
    canvas = background.paint(10 * torch.randn(5, background.latents))
    assert canvas.shape == (5, 3, 20, 24)
    assert (canvas >= 0).all() and (canvas <= 1).all()


def test_each_picture_is_read_alone(background):
    both, one = background.posterior(pictures()), background.posterior(pictures()[1:])
    torch.testing.assert_close(both.loc[1:], one.loc)


@pytest.mark.parametrize(("name", "side"), [("constant", 6), ("smooth", 3), ("network", 6)])
def test_before_any_learning_it_is_near_what_most_pixels_are(background, side):
    """The object covers less than half of each part that a value is read from."""
    colour = torch.tensor([0.2, 0.5, 0.9])[:, None, None]
    picture = colour.expand(1, 3, 20, 24).clone()
    picture[:, :, 8 : 8 + side, 9 : 9 + side] = 0.0
    canvas = background.paint(background.posterior(picture).loc)
    assert (canvas - colour).abs().max() < 0.1


def test_a_smooth_background_is_seen_where_an_object_of_many_shades_covers_most_of_a_part():
    smooth = BACKGROUNDS["smooth"](Shape(channels=1, height=64, width=64, hidden=8, code=4))
    picture = torch.full((1, 1, 64, 64), 0.2)
    picture[..., 24:34, :] = torch.linspace(0.3, 1.0, 10)[:, None]  # of the 16 rows of a part
    canvas = smooth.paint(smooth.posterior(picture).loc)
    assert (canvas - 0.2).abs().max() < 0.05


def test_a_constant_background_has_one_value_a_channel_and_no_more():
    canvas = BACKGROUNDS["constant"](SHAPE).paint(torch.randn(2, 3))
    assert torch.equal(canvas, canvas[..., :1, :1].expand_as(canvas))


def test_every_latent_of_a_smooth_background_changes_its_own_part():
    smooth = BACKGROUNDS["smooth"](SHAPE)
    z = torch.zeros(1, smooth.latents)
    changed = z.clone()
    changed[0, 0] = 2.0  # the first channel, at the upper left
    change = (smooth.paint(changed) - smooth.paint(z))[0]
    assert change[0, 0, 0] > 0.3 and not change[1:].any()
    assert not change[0, 10:].any() and not change[0, :, 12:].any()


@pytest.mark.parametrize("compositor", ["sum", "over"])
@pytest.mark.parametrize("feedback", ["none", "residual"])
def test_every_parameter_of_a_model_with_it_receives_a_gradient(
    tiny_config, name, compositor, feedback
):
    torch.manual_seed(0)
    parts = {"background": name, "compositor": compositor, "feedback": feedback}
    model = AIR(replace(tiny_config, channels=3, what=5, **parts))
    noise, scene_noise = torch.randn(2, 3, 3 + 5), torch.randn(2, model.background.latents)
    found = model(torch.rand(2, 3, 10, 12), noise, scene_noise)
    found.elbo.mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_its_divergence_is_part_of_the_score_and_its_densities_of_the_weights(tiny_config, name):
    torch.manual_seed(0)
    model = AIR(replace(tiny_config, background=name, compositor="over"))
    image, noise = torch.rand(2, 1, 10, 12), torch.randn(2, 3, 5)
    found = model(image, noise, torch.randn(2, model.background.latents))
    standard = torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence(found.q_background, found.prior.what).sum(-1)
    none = found.log_likelihood()[0] + found.prior.log_count[0]
    torch.testing.assert_close(found.score()[0], none - divergence)
    prior = standard.log_prob(found.background).sum(-1)
    torch.testing.assert_close(found.log_joint()[0], none + prior)
    posterior = found.q_background.log_prob(found.background).sum(-1)
    torch.testing.assert_close(found.log_posterior()[0], posterior)


@pytest.mark.parametrize("compositor", ["sum", "over"])
def test_a_model_with_it_is_built_without_memory(tiny_config, name, compositor):
    """The weights are counted so, before a training allocates anything."""
    with torch.device("meta"):
        model = AIR(replace(tiny_config, background=name, compositor=compositor))
    assert all(parameter.is_meta for parameter in model.parameters())


def test_what_is_generated_lies_on_a_background(tiny_config, name):
    torch.manual_seed(0)
    model = AIR(replace(tiny_config, background=name, compositor="over"))
    canvas, count = model.generate(4, torch.zeros(4, dtype=torch.long))
    assert canvas.shape == (4, 1, 10, 12) and not count.any()
    assert canvas.any() == (name != "none")
