from itertools import pairwise, product

import pytest
import torch

from airscene.counts import CountPosterior
from airscene.estimators import ESTIMATORS, Enumerate, Estimate, Reinforce, expected_bound

BATCH, STEPS, COUNTS = 2, 3, 4
DRAWS = 20_000


class Scene:
    """A batch seen by a tiny model with fixed noise, so that only n is left to chance."""

    def __init__(self, air, batch=BATCH):
        self.air = air
        self.image = torch.rand(batch, 1, air.config.height, air.config.width)
        self.noise = torch.randn(batch, STEPS, air.latents)

    def infer(self):
        return self.air(self.image, self.noise)

    def gradient(self, loss: torch.Tensor) -> torch.Tensor:
        """The gradient of `loss` by all of the model's parameters, zero where there is none."""
        parameters = list(self.air.parameters())
        grads = torch.autograd.grad(loss, parameters, allow_unused=True)
        pairs = zip(parameters, grads, strict=True)
        return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs])

    def enumerated(self) -> torch.Tensor:
        inference = self.infer()
        return self.gradient(
            Enumerate()(inference.posterior, inference.score, inference.features).loss
        )


@pytest.fixture
def scene(tiny_air) -> Scene:
    torch.manual_seed(1)
    return Scene(tiny_air)


@pytest.fixture
def single(tiny_air) -> Scene:
    torch.manual_seed(2)
    return Scene(tiny_air, batch=1)


def brute_force_bound(inference) -> torch.Tensor:
    """The ELBO as a sum over all 2^N vectors of independent Bernoulli presences, shape (B,)."""
    s = inference.posterior.logits.sigmoid()
    prob_of_vector, prob_of_count = {}, [0.0] * COUNTS
    for vector in product([0, 1], repeat=STEPS):
        chances = [s[:, k] if on else 1 - s[:, k] for k, on in enumerate(vector)]
        prob_of_vector[vector] = torch.stack(chances).prod(0)
        n = (*vector, 0).index(0)
        prob_of_count[n] = prob_of_count[n] + prob_of_vector[vector]
    bound = 0.0
    for vector, prob in prob_of_vector.items():
        n = (*vector, 0).index(0)
        prefix = torch.tensor([1.0] * n + [0.0] * (STEPS - n)).expand(len(s), STEPS)
        bound = bound + prob * (inference.score(prefix) - prob_of_count[n].log())
    return bound


def estimate(estimator, inference) -> Estimate:
    return estimator(inference.posterior, inference.score, inference.features)


def reinforce(air, offset: float = 0.0, seed: int = 0) -> Reinforce:
    """An untrained baseline, whose output is moved by `offset`."""
    torch.manual_seed(seed)
    estimator = Reinforce(air.features, hidden=(8,))
    with torch.no_grad():
        estimator.baseline[-1].bias.add_(offset)
    return estimator


def draw(monkeypatch, *counts: int) -> None:
    """Makes every posterior draw these counts."""
    monkeypatch.setattr(CountPosterior, "sample", lambda self: torch.tensor(counts))


class Reversed(CountPosterior):
    """The same probabilities, but the gradient through them has the wrong sign."""

    @property
    def log_probs(self):
        value = CountPosterior(self.logits).log_probs
        return 2 * value.detach() - value


def intact(inference):
    return inference.posterior, inference.score


def wrong_sign(inference):
    return Reversed(inference.posterior.logits), inference.score


def without_pathwise_term(inference):
    return inference.posterior, lambda presence: inference.score(presence).detach()


def without_score_term(inference):
    return CountPosterior(inference.posterior.logits.detach()), inference.score


MUTANTS = [wrong_sign, without_pathwise_term, without_score_term]


def expected_reinforce_gradient(scene, estimator, monkeypatch, parts=intact) -> torch.Tensor:
    """The gradient of every pair of counts of the two images, weighted by its probability."""
    probs = scene.infer().posterior.log_probs.exp().detach()
    total = 0.0
    for counts in product(range(COUNTS), repeat=BATCH):
        draw(monkeypatch, *counts)
        inference = scene.infer()
        loss = estimator(*parts(inference), inference.features).loss
        weight = torch.stack([probs[b, n] for b, n in enumerate(counts)]).prod()
        total = total + weight * scene.gradient(loss)
    return total


def assert_same(value: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


def test_the_enumerated_bound_is_the_sum_over_all_presence_vectors(scene):
    inference = scene.infer()
    found = estimate(Enumerate(), inference)
    assert_same(found.bound, brute_force_bound(inference).detach())
    assert_same(found.loss.detach(), -found.bound.mean())


def test_the_enumerated_gradient_is_that_of_the_sum_over_all_presence_vectors(scene):
    expected = scene.gradient(-brute_force_bound(scene.infer()).mean())
    assert expected.abs().max() > 1  # else nothing is compared
    assert_same(scene.enumerated(), expected)


def test_the_enumerated_gradient_agrees_with_central_differences(scene):
    """To a relative 1e-5 of the largest component, at steps of 1e-6."""
    gradient, start, step = scene.enumerated(), 0, 1e-6
    scale = float(gradient.abs().max())
    for parameter in scene.air.parameters():
        index, flat = parameter.numel() // 2, parameter.data.view(-1)
        values = []
        for shift in (step, -2 * step):
            flat[index] += shift
            inference = scene.infer()
            values.append(estimate(Enumerate(), inference).loss.item())
        flat[index] += step
        slope = (values[0] - values[1]) / (2 * step)
        assert float(gradient[start + index]) == pytest.approx(slope, rel=1e-5, abs=1e-5 * scale)
        start += parameter.numel()


def test_the_expected_bound_carries_a_gradient_and_the_reported_one_does_not(scene):
    inference = scene.infer()
    assert expected_bound(inference.posterior, inference.score).requires_grad
    assert not estimate(Enumerate(), inference).bound.requires_grad


@pytest.mark.parametrize("offset", [0.0, 300.0, -1e4])
def test_reinforce_expects_the_enumerated_gradient_whatever_its_baseline(
    scene, monkeypatch, offset
):
    estimator = reinforce(scene.air, offset)
    assert_same(expected_reinforce_gradient(scene, estimator, monkeypatch), scene.enumerated())


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutilated_reinforce_does_not_expect_the_enumerated_gradient(scene, monkeypatch, mutant):
    estimator = reinforce(scene.air)
    value = expected_reinforce_gradient(scene, estimator, monkeypatch, mutant)
    with pytest.raises(AssertionError):
        assert_same(value, scene.enumerated())


def test_reinforce_expects_the_enumerated_bound(single, monkeypatch):
    inference = single.infer()
    probs = inference.posterior.log_probs.exp().detach()[0]
    total = 0.0
    for n in range(COUNTS):
        draw(monkeypatch, n)
        total = total + probs[n] * estimate(reinforce(single.air), inference).bound
    assert_same(total, estimate(Enumerate(), inference).bound)


def monte_carlo_z_scores(single, monkeypatch, parts=intact) -> torch.Tensor:
    """How many standard errors the mean of `DRAWS` gradients is from the enumerated one.

    The variance of a single draw is summed over n exactly.
    """
    estimator = reinforce(single.air)
    inference = single.infer()
    posterior, score = parts(inference)
    many = type(posterior)(posterior.logits.expand(DRAWS, -1))
    features = inference.features.expand(DRAWS, -1)
    torch.manual_seed(3)
    loss = estimator(many, lambda masks: score(masks.unsqueeze(1)).squeeze(1), features).loss
    mean, exact = single.gradient(loss), single.enumerated()
    variance = torch.zeros_like(exact)
    for n, prob in enumerate(inference.posterior.log_probs.exp().detach()[0]):
        with monkeypatch.context() as patch:
            draw(patch, n)
            gradient = single.gradient(estimate(estimator, single.infer()).loss)
        variance += prob * (gradient - exact).square()
    error = (variance / DRAWS).sqrt()
    return (mean - exact) / error.clamp(min=1e-9 * float(exact.abs().max()))


def test_the_mean_of_many_reinforce_gradients_is_the_enumerated_one(single, monkeypatch):
    """Every component within 4.5 standard errors. All are functions of one n of four values, so
    there are no more than three independent ones among them."""
    assert monte_carlo_z_scores(single, monkeypatch).abs().max() < 4.5


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_mean_of_many_mutilated_reinforce_gradients_is_another(single, monkeypatch, mutant):
    assert monte_carlo_z_scores(single, monkeypatch, mutant).abs().max() > 20


def test_the_baseline_learns_by_the_gradient_of_its_squared_error(scene, monkeypatch):
    draw(monkeypatch, 1, 2)
    estimator, inference = reinforce(scene.air), scene.infer()
    found = estimate(estimator, inference)
    error = (found.bound - estimator.baseline(inference.features)[:, 0]).square().mean()
    parameters = list(estimator.parameters())
    expected = torch.autograd.grad(error, parameters)
    for value, wanted in zip(torch.autograd.grad(found.loss, parameters), expected, strict=True):
        assert_same(value, wanted)
    assert_same(found.diagnostics["baseline_error"], error.detach())


def test_following_the_baselines_gradient_reduces_its_error(scene, monkeypatch):
    draw(monkeypatch, 1, 2)
    estimator, inference = reinforce(scene.air), scene.infer()
    optimiser = torch.optim.SGD(estimator.parameters(), lr=1e-6)
    errors = []
    for _ in range(10):
        optimiser.zero_grad()
        found = estimate(estimator, inference)
        found.loss.backward(retain_graph=True)
        optimiser.step()
        errors.append(float(found.diagnostics["baseline_error"]))
    assert all(after < before for before, after in pairwise(errors))


def test_no_gradient_of_the_baselines_error_reaches_the_model(scene):
    inference = scene.infer()
    posterior, score = without_score_term(inference)
    estimator = reinforce(scene.air)
    found = estimator(posterior, lambda presence: score(presence).detach(), inference.features)
    found.loss.backward()
    assert all(parameter.grad is None for parameter in scene.air.parameters())
    assert all(parameter.grad is not None for parameter in estimator.parameters())


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_estimator_by_name_yields_a_scalar_loss_and_a_bound_an_image(scene, name):
    estimator = ESTIMATORS[name](scene.air.features)
    found = estimate(estimator, scene.infer())
    assert found.loss.shape == () and found.loss.requires_grad
    assert found.bound.shape == (BATCH,) and not found.bound.requires_grad
    assert all(not value.requires_grad for value in found.diagnostics.values())
