import dataclasses
import math
from functools import partial

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from airscene.core.counts import (
    CountPosterior,
    all_presences,
    binomial,
    presence_of,
    truncated_geometric,
)
from airscene.core.likelihoods import LIKELIHOODS
from airscene.estimators import Evidence, expected_bound
from airscene.models.air import AIR, ODDS_UNIT, Inference
from airscene.models.air_config import AIRConfig, scale_of

BATCH, STEPS, HEIGHT, WIDTH, WHAT = 4, 3, 10, 12, 2
CPU = torch.device("cpu")
STANDARD = Normal(0.0, 1.0)
WHERE_PRIOR = Normal(*torch.tensor([[-0.4, 0, 0], [0.2, 1, 1]], dtype=torch.float64))


def images(channels: int = 1, batch: int = BATCH) -> torch.Tensor:
    return torch.rand(batch, channels, HEIGHT, WIDTH)


def noise_for(batch: int = BATCH, steps: int = STEPS) -> torch.Tensor:
    return torch.randn(batch, steps, 3 + WHAT)


def prefixes(batch: int = BATCH, steps: int = STEPS) -> torch.Tensor:
    return all_presences(steps, CPU).expand(-1, batch, -1)


@pytest.fixture
def inference(tiny_air) -> Inference:
    torch.manual_seed(1)
    return tiny_air(images(), noise_for())


def direct_log_likelihood(inference: Inference, presence: torch.Tensor) -> torch.Tensor:
    """Every pixel around the explicit sum of the present objects, for one mask (B, N)."""
    canvas = (presence[:, :, None, None, None] * inference.scene.painted).sum(1)
    return Normal(canvas, inference.scene.sigma).log_prob(inference.scene.image).sum((1, 2, 3))


# --- inference


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("steps", [STEPS, 5])
def test_an_inference_holds_every_step_of_every_image(tiny_config, double, channels, steps):
    air = AIR(dataclasses.replace(tiny_config, channels=channels))
    found = air(images(channels), noise_for(steps=steps))
    assert found.posterior.logits.shape == (BATCH, steps)
    assert found.q_where.mean.shape == found.where.shape == (BATCH, steps, 3)
    assert found.q_what.mean.shape == found.what.shape == (BATCH, steps, WHAT)
    assert found.window.shape == (BATCH, steps, 3)
    assert found.scene.painted.shape == (BATCH, steps, channels, HEIGHT, WIDTH)
    assert found.prior.log_count.shape == (steps + 1,)
    assert found.kl_where.shape == found.kl_what.shape == (BATCH, steps)
    assert found.score(prefixes(steps=steps)).shape == (steps + 1, BATCH)
    assert found.canvas(torch.tensor([0, 1, 2, 3])).shape == (BATCH, channels, HEIGHT, WIDTH)


def test_context_and_latents_hold_what_a_baseline_may_read_and_carry_no_gradient(inference):
    assert inference.context.shape == (BATCH, HEIGHT * WIDTH)
    assert inference.latents.shape == (BATCH, STEPS, 1 + 3 + WHAT)
    assert torch.equal(inference.latents[..., 0], inference.posterior.logits)
    assert torch.equal(inference.latents[..., 1:4], inference.where)
    assert torch.equal(inference.latents[..., 4:], inference.what)
    assert not inference.context.requires_grad and not inference.latents.requires_grad


def test_an_inference_is_evidence(inference):
    assert isinstance(inference, Evidence)


def test_without_reparameterisation_the_samples_are_the_same_and_only_densities_differ(tiny_air):
    torch.manual_seed(2)
    image, noise = images(), noise_for()
    through, apart = tiny_air(image, noise), tiny_air(image, noise, reparameterised=False)
    assert torch.equal(through.where, apart.where) and torch.equal(through.what, apart.what)
    assert through.where.requires_grad and through.what.requires_grad
    assert not apart.where.requires_grad and not apart.what.requires_grad
    density = apart.log_posterior(prefixes()[-1]).sum()
    (score,) = torch.autograd.grad(density, apart.q_where.loc, retain_graph=True)
    expected = (apart.where - apart.q_where.loc) / apart.q_where.scale.square()
    torch.testing.assert_close(score, expected)
    likelihood = apart.log_likelihood(prefixes()[-1]).sum()
    parameters = dict(tiny_air.named_parameters())
    grads = torch.autograd.grad(likelihood, list(parameters.values()), allow_unused=True)
    reached = {name for name, grad in zip(parameters, grads, strict=True) if grad is not None}
    assert reached == {name for name in parameters if name.startswith("decoder.")}


@pytest.mark.parametrize("channels", [1, 3])
def test_every_parameter_receives_a_gradient(tiny_config, double, channels):
    torch.manual_seed(0)
    air = AIR(dataclasses.replace(tiny_config, channels=channels))
    found = air(images(channels), noise_for())
    expected_bound(found).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in air.parameters())


def test_the_first_steps_of_a_longer_unroll_are_those_of_a_shorter_one(tiny_air, inference):
    torch.manual_seed(2)
    image, noise = inference.scene.image, noise_for(steps=6)
    short, long = tiny_air(image, noise[:, :STEPS]), tiny_air(image, noise)
    assert torch.equal(short.posterior.logits, long.posterior.logits[:, :STEPS])
    for name in ("where", "what", "window"):
        torch.testing.assert_close(getattr(short, name), getattr(long, name)[:, :STEPS])
    torch.testing.assert_close(short.scene.painted, long.scene.painted[:, :STEPS])


def test_the_latents_are_the_posterior_means_plus_scaled_noise(tiny_air):
    torch.manual_seed(1)
    noise = noise_for()
    found = tiny_air(images(), noise)
    where = found.q_where.mean + found.q_where.stddev * noise[..., :3]
    what = found.q_what.mean + found.q_what.stddev * noise[..., 3:]
    torch.testing.assert_close(found.where, where)
    torch.testing.assert_close(found.what, what)


def test_each_step_reads_the_latents_of_the_step_before(tiny_air):
    torch.manual_seed(1)
    image, noise = images(), noise_for()
    for latent in range(3 + WHAT):
        other = noise.clone()
        other[:, 0, latent] += 1
        moved = tiny_air(image, other).posterior.logits - tiny_air(image, noise).posterior.logits
        assert (moved[:, 0] == 0).all() and (moved[:, 1] != 0).all()


def test_each_image_is_inferred_alone(tiny_air, inference):
    torch.manual_seed(1)
    image, noise = images(), noise_for()
    alone = tiny_air(image[2:3], noise[2:3])
    torch.testing.assert_close(alone.scene.painted, tiny_air(image, noise).scene.painted[2:3])


def test_infer_takes_the_posterior_means_unless_asked_for_a_sample(tiny_air):
    image = images()
    means, again = tiny_air.infer(image), tiny_air.infer(image)
    assert torch.equal(means.where, means.q_where.mean)
    assert torch.equal(means.what, again.what)
    sample = tiny_air.infer(image, sample=True)
    assert not torch.equal(sample.where, sample.q_where.mean)


def test_infer_allows_for_more_objects_than_the_model_was_trained_with(tiny_air):
    found = tiny_air.infer(images(), steps=7)
    assert found.posterior.log_probs.shape == (BATCH, 8)
    torch.testing.assert_close(found.prior.log_count.exp().sum(), torch.tensor(1.0))


def test_an_inference_leaves_no_graph_behind(tiny_air):
    assert not tiny_air.infer(images()).scene.painted.requires_grad


# --- the joint density


def test_the_likelihood_of_each_count_is_that_of_an_explicit_canvas(inference):
    found = inference.log_likelihood(prefixes())
    for n, mask in enumerate(prefixes()):
        torch.testing.assert_close(
            found[n], direct_log_likelihood(inference, mask), rtol=1e-9, atol=1e-7
        )


def test_the_likelihood_of_a_relaxed_mask_is_that_of_dimmed_objects(inference):
    presence = torch.rand(BATCH, STEPS)
    expected = direct_log_likelihood(inference, presence)
    torch.testing.assert_close(inference.log_likelihood(presence), expected, rtol=1e-9, atol=1e-7)


def test_the_gradient_of_the_likelihood_is_that_of_an_explicit_canvas(inference):
    presence = torch.rand(BATCH, STEPS, requires_grad=True)
    found, expected = (
        torch.autograd.grad(
            score(presence).sum(), [inference.scene.painted, presence], retain_graph=True
        )
        for score in (inference.log_likelihood, partial(direct_log_likelihood, inference))
    )
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-7)


def test_the_likelihood_of_colour_images_counts_every_channel(tiny_config, double):
    found = AIR(dataclasses.replace(tiny_config, channels=3))(images(3), noise_for())
    mask = prefixes()[2]
    expected = direct_log_likelihood(found, mask)
    torch.testing.assert_close(found.log_likelihood(mask), expected, rtol=1e-9, atol=1e-7)


def test_the_score_is_likelihood_and_prior_less_the_divergence_of_present_objects(inference):
    q_where, q_what, prior = inference.q_where, inference.q_what, inference.prior
    where = kl_divergence(Normal(q_where.loc, q_where.scale), WHERE_PRIOR).sum(-1)
    what = kl_divergence(Normal(q_what.loc, q_what.scale), STANDARD).sum(-1)
    found = inference.score(prefixes())
    for n, mask in enumerate(prefixes()):
        cost = (where + what)[:, :n].sum(-1)
        expected = direct_log_likelihood(inference, mask) + prior.log_count[n] - cost
        torch.testing.assert_close(found[n], expected, rtol=1e-9, atol=1e-7)


def test_joint_and_posterior_are_the_densities_of_the_sampled_latents(inference):
    joint, posterior = inference.log_joint(prefixes()), inference.log_posterior(prefixes())
    for n, mask in enumerate(prefixes()):
        where, what = inference.where[:, :n], inference.what[:, :n]
        q_where = Normal(inference.q_where.loc[:, :n], inference.q_where.scale[:, :n])
        q_what = Normal(inference.q_what.loc[:, :n], inference.q_what.scale[:, :n])
        log_p = WHERE_PRIOR.log_prob(where).sum((1, 2)) + STANDARD.log_prob(what).sum((1, 2))
        log_q = q_where.log_prob(where).sum((1, 2)) + q_what.log_prob(what).sum((1, 2))
        likelihood = direct_log_likelihood(inference, mask)
        expected = likelihood + inference.prior.log_count[n] + log_p
        torch.testing.assert_close(joint[n], expected, rtol=1e-9, atol=1e-7)
        torch.testing.assert_close(posterior[n], log_q, rtol=1e-9, atol=1e-7)


def test_the_canvas_is_the_sum_of_the_first_objects(inference):
    canvas = inference.canvas(torch.tensor([0, 1, 2, 3]))
    for image, n in enumerate([0, 1, 2, 3]):
        torch.testing.assert_close(canvas[image], inference.scene.painted[image, :n].sum(0))


def test_a_painted_object_stays_in_its_window(tiny_air):
    where = torch.tensor([[[-1.0, 0.6, -0.4]]])
    objects = tiny_air.paint(where, torch.randn(1, 1, WHAT)).paint[0, 0, 0]
    cx, cy, side = tiny_air.window(where)[0, 0]
    y, x = torch.nonzero(objects, as_tuple=True)
    assert len(x) > 0
    reach = side / 2 + side / 5 / 2  # and half a glimpse pixel
    assert ((x + 0.5 - cx).abs() <= reach).all() and ((y + 0.5 - cy).abs() <= reach).all()


# --- priors and windows


def test_where_of_zero_is_the_middle_of_the_canvas(tiny_air):
    window = tiny_air.window(torch.zeros(2, 3))
    expected = torch.tensor([WIDTH / 2, HEIGHT / 2, HEIGHT / 2])  # the shorter side, halved
    torch.testing.assert_close(window, expected.expand(2, 3))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_scale_gives_the_share_it_was_made_of(tiny_air, share):
    side = tiny_air.window(torch.tensor([scale_of(share), 0.0, 0.0]))[2]
    assert float(side) == pytest.approx(share * min(HEIGHT, WIDTH))


def test_windows_reach_towards_the_edges_of_the_canvas_and_no_further(tiny_air):
    far = tiny_air.window(torch.tensor([[0.0, -9.0, 9.0], [9.0, 9.0, -9.0]]))
    expected = torch.tensor([[0.0, HEIGHT, HEIGHT / 2], [WIDTH, 0.0, HEIGHT]])
    torch.testing.assert_close(far, expected, rtol=0, atol=0.01)


def test_a_window_may_be_as_large_as_a_square_canvas_and_no_larger_than_a_patch(tiny_config):
    largest = torch.tensor([[20.0, 0.0, 0.0]])
    square = AIR(dataclasses.replace(tiny_config, height=10, width=10))
    assert float(square.window(largest)[0, 2]) == pytest.approx(10)
    large = AIR(dataclasses.replace(tiny_config, height=90, width=90, scale_prior=(-2.0, 0.1)))
    height, width = large.patch
    assert height == width < 40
    assert float(large.window(largest)[0, 2]) == pytest.approx((height - 1) / (1 + 1 / 5))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("compositor", ["sum", "over"])
def test_a_patch_holds_all_that_its_likelihood_needs(tiny_config, double, compositor, likelihood):
    """Windows as large as a patch allows, anywhere on the canvas, compared with whole canvases."""
    torch.manual_seed(0)
    size = {"height": 60, "width": 60, "scale_prior": (-2.0, 0.1)}
    air = AIR(
        dataclasses.replace(tiny_config, **size, compositor=compositor, likelihood=likelihood)
    )
    where = torch.cat([torch.full((5, 3, 1), 20.0), torch.randn(5, 3, 2)], -1)
    window = air.window(where)
    where[..., 0] = (window[..., 2] / 60).logit()  # no larger than the patch by itself
    what = torch.randn(5, 3, WHAT, requires_grad=True)
    image, behind = torch.rand(2, 5, 1, 60, 60)
    found = []
    for patch in (air.patch, (60, 60)):
        air.patch = patch
        scene = air._composed(image, behind, air.paint(where, what))
        found.append(
            (scene.log_likelihoods, *torch.autograd.grad(scene.log_likelihoods.sum(), what))
        )
    torch.testing.assert_close(*found)


@pytest.mark.parametrize(
    "family, law", [("geometric", truncated_geometric), ("binomial", binomial)]
)
def test_the_count_prior_follows_the_scheduled_odds(tiny_config, double, family, law):
    air = AIR(dataclasses.replace(tiny_config, count_prior=family))
    air.log_odds.fill_(-2.0)
    torch.testing.assert_close(air.prior(5).log_count, law(-2.0, 5))


def test_a_new_model_looks_near_the_middle_at_the_scale_of_its_prior(double):
    torch.manual_seed(0)
    config = AIRConfig(height=20, width=30, scale_prior=(-1.0, 0.1))
    found = AIR(config).infer(torch.rand(5, 1, 20, 30))
    side = 20 / (1 + math.exp(1.0))
    expected = torch.tensor([15.0, 10.0, side]).expand(5, 3, 3)
    torch.testing.assert_close(found.window, expected, rtol=0.1, atol=0)
    assert float(found.q_where.stddev[..., 0].mean()) == pytest.approx(0.1, rel=0.1)


# --- generation


def test_generated_scenes_hold_as_many_objects_as_asked_for(tiny_air):
    counts = torch.tensor([0, 1, 3])
    canvas, given = tiny_air.generate(3, counts)
    assert canvas.shape == (3, 1, HEIGHT, WIDTH)
    assert torch.equal(given, counts)
    assert canvas[0].abs().sum() == 0
    assert canvas[1].sum() > 0 and canvas[2].sum() > 0


def test_generated_counts_follow_the_prior(tiny_air):
    """Within five standard errors over 4,000 scenes."""
    torch.manual_seed(0)
    tiny_air.log_odds.fill_(-1.0)
    _, count = tiny_air.generate(4000)
    probs = truncated_geometric(-1.0, STEPS).exp()
    frequency = count.bincount(minlength=STEPS + 1) / 4000
    assert ((frequency - probs).abs() <= 5 * (probs * (1 - probs) / 4000).sqrt()).all()


# --- the importance-weighted bound


def test_the_bound_of_one_sample_is_the_sum_over_counts_of_the_weights(tiny_air):
    image = images()
    torch.manual_seed(5)
    found = tiny_air.log_likelihood(image, samples=1)
    torch.manual_seed(5)
    sampled = tiny_air.infer(image, sample=True)
    weights = sampled.log_joint(prefixes()) - sampled.log_posterior(prefixes())
    torch.testing.assert_close(found, weights.logsumexp(0))


def test_the_bound_rises_with_the_number_of_samples_and_lies_above_the_elbo(tiny_air):
    """On average over 200 repetitions of one image; the differences are of several nats."""
    torch.manual_seed(0)
    many = images(batch=1).expand(200, -1, -1, -1)
    sampled = tiny_air.infer(many, sample=True)
    elbo = expected_bound(sampled).mean()
    bounds = [tiny_air.log_likelihood(many, k).mean() for k in (1, 10, 100)]
    assert elbo < bounds[0] < bounds[1] < bounds[2]


@torch.no_grad()
def test_the_bound_approaches_log_p_by_integration_over_a_grid(double):
    """One object of one what-dimension at a place that hardly varies: within 0.05 nats."""
    torch.manual_seed(0)
    place = {"scale_prior": (0.0, 1e-6), "shift_prior": (0.0, 1e-6)}
    sizes = {"height": 6, "width": 7, "glimpse": 4, "what": 1, "lstm": 4, "hidden": 8}
    air = AIR(AIRConfig(steps=1, sigma=1.0, **sizes, **place))
    for parameter in air.decoder.parameters():
        parameter.add_(torch.randn_like(parameter))
    air.attend[-1].weight.zero_()
    air.attend[-1].bias.copy_(torch.tensor([0.0] * 4 + [math.log(math.expm1(1e-6))] * 3))
    image = torch.rand(1, 1, 6, 7)

    what = torch.linspace(-8, 8, 4001)
    objects = air.paint(torch.zeros(4001, 1, 3), what[:, None, None]).paint[:, 0]
    density = Normal(objects, 1.0).log_prob(image).sum((1, 2, 3)) + STANDARD.log_prob(what)
    one = density.logsumexp(0) + math.log(16 / 4000)
    none = STANDARD.log_prob(image).sum()
    exact = (torch.stack([none, one]) + air.prior(1).log_count).logsumexp(0)

    assert (one - none).abs() > 1  # else the object makes no difference
    bounds = air.log_likelihood(image.expand(150, -1, -1, -1), samples=20)
    assert float(bounds.logsumexp(0)) - math.log(150) == pytest.approx(float(exact), abs=0.05)


# --- configuration and precision


def test_under_bfloat16_the_bound_is_finite_and_close_to_that_of_float32():
    """Within 1 nat of some thousands, on an image of the default size."""
    torch.manual_seed(0)
    air = AIR(AIRConfig(lstm=32, hidden=32))
    image, noise = torch.rand(8, 1, 50, 50), torch.randn(8, 3, 53)
    full = air(image, noise)
    with torch.autocast("cpu", torch.bfloat16):
        half = air(image, noise)
        bound = expected_bound(half)
    bound.mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in air.parameters())
    torch.testing.assert_close(bound, expected_bound(full), rtol=0, atol=1.0)


def test_under_bfloat16_masks_are_scored_in_full_precision(tiny_config):
    """In float32, as autocast leaves float64 alone."""
    torch.manual_seed(0)
    inference = AIR(tiny_config)(images(), noise_for())
    masks = prefixes()
    with torch.autocast("cpu", torch.bfloat16):
        found = inference.log_likelihood(masks)
    expected = torch.stack([direct_log_likelihood(inference, mask) for mask in masks])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_presence_masks_may_have_further_leading_dimensions(inference):
    masks = presence_of(torch.randint(0, STEPS + 1, (2, 5, BATCH)), STEPS)
    found = inference.score(masks)
    assert found.shape == (2, 5, BATCH)
    torch.testing.assert_close(found[1, 3], inference.score(masks[1, 3]))


def test_a_reconstruction_is_the_canvas_of_the_counted_objects(tiny_air):
    image = images()
    found = tiny_air.infer(image, 2)
    count = found.posterior.mode
    canvas = torch.stack([o[:n].sum(0) for o, n in zip(found.scene.painted, count, strict=True)])
    assert torch.allclose(tiny_air.reconstruct(image, 2), canvas)


@pytest.mark.parametrize("compositor", ["sum", "over"])
def test_what_a_step_finds_counts_though_an_earlier_one_found_nothing(tiny_config, compositor):
    torch.manual_seed(0)
    config = dataclasses.replace(tiny_config, feedback="residual", compositor=compositor)
    found = AIR(config)(images(), noise_for(steps=4))
    logits = torch.tensor([[-1.0, 2.0, -3.0, 1.0]]).expand(BATCH, -1)
    found = dataclasses.replace(found, posterior=CountPosterior(logits))
    assert not found.posterior.mode.any()
    first = found.present_first()
    assert first.posterior.logits.tolist() == [[2.0, 1.0, -1.0, -3.0]] * BATCH
    assert first.posterior.mode.tolist() == [2] * BATCH
    order = [1, 3, 0, 2]
    for name in ("where", "what", "window"):
        assert torch.equal(getattr(first, name), getattr(found, name)[:, order])
    assert torch.equal(first.q_what.scale, found.q_what.scale[:, order])
    canvas = first.canvas(first.posterior.mode)
    present = torch.tensor([[0.0, 1.0, 0.0, 1.0]]).expand(BATCH, -1)
    torch.testing.assert_close(canvas, found.scene.canvas(present))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("compositor", ["sum", "over"])
def test_the_presence_of_feedback_weighs_what_an_object_gains(
    tiny_config, double, monkeypatch, compositor, likelihood
):
    """With a weight of 1 and a network that says nothing, presence has its exact log odds.

    These are what the objects so far and the next one score, less what those before it score.
    """
    torch.manual_seed(0)
    config = dataclasses.replace(
        tiny_config,
        feedback="residual",
        compositor=compositor,
        background="constant",
        likelihood=likelihood,
    )
    air = AIR(config)
    air.log_odds.fill_(-0.7)
    last = air.attend[-1]
    with torch.no_grad():
        air.odds_weight.fill_(ODDS_UNIT)
        last.weight[0], last.bias[0] = 0.0, 0.0
    monkeypatch.setattr(Inference, "present_first", lambda found: found)
    found = air(images(), noise_for())
    torch.testing.assert_close(found.posterior.logits, found.score().diff(dim=0).T)
    reached = torch.autograd.grad(found.posterior.logits.sum(), air.parameters(), allow_unused=True)
    names = [name for name, _ in air.named_parameters()]
    parts = {n.split(".")[0] for n, grad in zip(names, reached, strict=True) if grad is not None}
    assert parts == {"odds_weight", "attend", "attention"}  # what is painted gets none


@pytest.mark.parametrize("compositor", ["sum", "over"])
def test_with_feedback_the_steps_that_found_an_object_come_first(tiny_config, compositor):
    torch.manual_seed(0)
    air = AIR(dataclasses.replace(tiny_config, feedback="residual", compositor=compositor))
    with torch.no_grad():
        air.attend[-1].weight[0] *= 1000  # so that presence differs from step to step
        air.odds_weight.zero_()
    logits = air(images(batch=64), noise_for(64, 4)).posterior.logits
    present = (logits > 0).int()
    assert (present.diff(dim=1) <= 0).all() and 0 < present.float().mean() < 1


@pytest.mark.parametrize("feedback", ["none", "residual"])
@pytest.mark.parametrize("compositor", ["sum", "over"])
def test_a_code_without_any_spread_gives_a_finite_bound(tiny_config, feedback, compositor):
    """Seen in a training at a high rate: of one image, softplus gave a standard deviation of 0."""
    torch.manual_seed(0)
    air = AIR(dataclasses.replace(tiny_config, feedback=feedback, compositor=compositor))
    network = air.encoder if feedback == "none" and compositor == "sum" else air.encoder.correction
    with torch.no_grad():
        network[-1].bias[WHAT:] = -500.0
    loss = -expected_bound(air(images(), noise_for())).mean()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in air.parameters())
