import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from airscene.core.counts import (
    CountPosterior,
    all_presences,
    binomial,
    log_prior_of,
    presence_of,
    truncated_geometric,
)

STEPS = range(1, 9)
LOGITS = st.lists(st.floats(-80, 80), min_size=1, max_size=8)


def posterior_of(logits: list[float]) -> CountPosterior:
    return CountPosterior(torch.tensor(logits, dtype=torch.float64))


def log_sigmoid(logit: float) -> float:
    return -math.log1p(math.exp(-logit)) if logit > 0 else logit - math.log1p(math.exp(logit))


def log_product_of_stops(logits: list[float]) -> list[float]:
    """Log s_1 … s_n (1 - s_{n+1}), one count at a time."""
    stops = [log_sigmoid(-logit) for logit in logits] + [0.0]
    return [sum(map(log_sigmoid, logits[:n])) + stop for n, stop in enumerate(stops)]


@given(LOGITS)
def test_the_probabilities_of_all_counts_sum_to_one(logits):
    total = posterior_of(logits).log_probs.exp().sum()
    assert abs(float(total) - 1) < 1e-12


@given(LOGITS)
def test_each_probability_is_the_product_of_going_on_and_a_stop(logits):
    expected = torch.tensor(log_product_of_stops(logits), dtype=torch.float64)
    log_probs = posterior_of(logits).log_probs
    torch.testing.assert_close(log_probs, expected, rtol=1e-12, atol=1e-12)


@given(LOGITS)
def test_the_log_probability_of_a_count_is_its_entry(logits):
    posterior = posterior_of(logits)
    assert posterior.steps == len(logits)
    for n, expected in enumerate(posterior.log_probs):
        assert posterior.log_prob(torch.tensor(n)) == expected


@pytest.mark.parametrize("steps", STEPS)
def test_extreme_logits_leave_values_and_gradients_finite(steps):
    """In float32, where a probability at these logits underflows."""
    choices = torch.cartesian_prod(*[torch.tensor([-80.0, 80.0])] * steps).view(-1, steps)
    logits = choices.requires_grad_()
    posterior = CountPosterior(logits)
    prior = truncated_geometric(-20.0, steps)
    for value in (posterior.log_probs, posterior.entropy, posterior.mean, posterior.kl(prior)):
        (gradient,) = torch.autograd.grad(value.sum(), logits, retain_graph=True)
        assert value.isfinite().all()
        assert gradient.isfinite().all()


@given(LOGITS, st.floats(-5, 5))
def test_the_divergence_from_a_prior_is_not_negative(logits, log_odds):
    """Down to a rounding error of float32, in which the prior is given."""
    assert posterior_of(logits).kl(truncated_geometric(log_odds, len(logits))) >= -1e-5


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=8))
def test_the_divergence_from_itself_is_zero_and_from_another_is_not(logits):
    posterior = posterior_of(logits)
    other = posterior_of([logit + 1 for logit in logits])
    assert abs(float(posterior.kl(posterior.log_probs))) < 1e-12
    assert posterior.kl(other.log_probs) > 0


def test_the_divergence_agrees_with_a_sum_by_hand():
    posterior = CountPosterior(torch.tensor([[0.0, 0.0]], dtype=torch.float64))
    prior = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64)
    expected = 0.5 * math.log(2) + 0 + 0.25 * math.log(0.5)  # q = 1/2, 1/4, 1/4
    assert float(posterior.kl(prior.log())) == pytest.approx(expected, abs=1e-12)


@given(LOGITS)
def test_entropy_mean_and_mode_are_those_of_the_probabilities(logits):
    posterior = posterior_of(logits)
    probs = [math.exp(value) for value in log_product_of_stops(logits)]
    entropy = -sum(p * math.log(p) for p in probs if p > 0)
    mean = sum(n * p for n, p in enumerate(probs))
    assert float(posterior.entropy) == pytest.approx(entropy, abs=1e-10)
    assert float(posterior.mean) == pytest.approx(mean, abs=1e-10)
    assert probs[int(posterior.mode)] == pytest.approx(max(probs), abs=1e-12)


@pytest.mark.parametrize("steps", STEPS)
def test_sampled_counts_are_as_frequent_as_they_are_probable(steps):
    """Within five standard errors of each frequency over 20,000 draws."""
    torch.manual_seed(steps)
    posterior = CountPosterior(torch.randn(2, steps) + 1)
    draws = 20_000
    n = posterior.sample((draws,))
    assert n.shape == (draws, 2)
    probs = posterior.log_probs.exp()
    frequency = torch.stack([(n == k).float().mean(0) for k in range(steps + 1)], -1)
    assert ((frequency - probs).abs() <= 5 * (probs * (1 - probs) / draws).sqrt() + 1e-6).all()


@pytest.mark.parametrize("logit, count", [(-80.0, 0), (80.0, 4)])
def test_a_certain_posterior_always_draws_the_same_count(logit, count):
    assert (CountPosterior(torch.full((100, 4), logit)).sample() == count).all()


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("success", [0.01, 0.4, 0.99])
def test_the_geometric_prior_is_the_geometric_distribution_cut_off(steps, success):
    weights = torch.tensor([(1 - success) * success**n for n in range(steps + 1)])
    log_probs = truncated_geometric(math.log(success), steps)
    torch.testing.assert_close(log_probs.exp(), weights / weights.sum(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("odds", [0.01, 0.7, 1.0, 30.0])
def test_the_binomial_prior_is_scipys(steps, odds):
    expected = torch.tensor(binom(steps, odds / (1 + odds)).logpmf(range(steps + 1)))
    log_probs = binomial(torch.tensor(math.log(odds)), steps)
    torch.testing.assert_close(log_probs, expected.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prior", [truncated_geometric, binomial])
@pytest.mark.parametrize("steps", STEPS)
def test_the_prior_of_a_prefix_of_ones_is_that_of_its_count(prior, steps):
    log_probs = prior(-1.3, steps)
    values = log_prior_of(all_presences(steps, torch.device("cpu")), log_probs)
    torch.testing.assert_close(values[:, 0], log_probs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prior", [truncated_geometric, binomial])
def test_the_prior_of_a_relaxed_mask_is_linear_between_prefixes(prior):
    log_probs = prior(-1.3, 3)
    value = log_prior_of(torch.tensor([1.0, 0.25, 0.0]), log_probs)
    expected = 0.75 * log_probs[1] + 0.25 * log_probs[2]
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)


def test_presence_is_n_ones_and_then_zeros():
    presence = presence_of(torch.tensor([[0, 3], [1, 2]]), 3)
    assert presence.tolist() == [[[0, 0, 0], [1, 1, 1]], [[1, 0, 0], [1, 1, 0]]]


@pytest.mark.parametrize("steps", STEPS)
def test_all_presences_hold_every_count_once_in_order(steps):
    masks = all_presences(steps, torch.device("cpu"))
    assert masks.shape == (steps + 1, 1, steps)
    assert masks.sum(-1).flatten().tolist() == list(range(steps + 1))
    assert (masks.diff() <= 0).all()
