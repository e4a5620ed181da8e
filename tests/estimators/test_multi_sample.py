import math
from itertools import product

import pytest
import torch
from proofs import (
    COUNTS,
    MUTANTS,
    Scene,
    altered,
    assert_other,
    assert_same,
    exact_expectation,
    intact,
    without_pathwise_term,
    wrong_sign,
)

from airscene.core.counts import CountPosterior, presence_of
from airscene.estimators import IWAE, RWS, VIMCO
from airscene.estimators.multi_sample import effective, leave_one_out

K, STEPS = 3, 3


def log_weights(inference, counts) -> torch.Tensor:
    """Log p(x, z_k, n_k) / q(z_k, n_k | x) of the counts of the K rows, shape (K,)."""
    counts = torch.tensor(counts)
    presence = presence_of(counts, STEPS)
    log_q = inference.posterior.log_probs[torch.arange(len(counts)), counts]
    return inference.log_joint(presence) - inference.log_posterior(presence) - log_q


def bound_of(inference, counts) -> torch.Tensor:
    return log_weights(inference, counts).logsumexp(0) - math.log(K)


def expected_vimco_bound(inference) -> torch.Tensor:
    """The K-sample bound over all (N + 1)^K drawings of counts, with its exact gradient."""
    log_probs = inference.posterior.log_probs
    total = torch.zeros(())
    for counts in product(range(COUNTS), repeat=K):
        log_prob = torch.stack([log_probs[k, n] for k, n in enumerate(counts)]).sum()
        total = total + log_prob.exp() * bound_of(inference, counts)
    return total


def draw(monkeypatch, *counts: int) -> None:
    monkeypatch.setattr(CountPosterior, "sample", lambda self: torch.tensor(counts))


def test_vimco_expects_the_gradient_of_its_own_bound(sampled, monkeypatch):
    expected = sampled.gradient(-expected_vimco_bound(sampled.infer()))
    assert expected.abs().max() > 1
    assert_same(exact_expectation(sampled, lambda: VIMCO(K), monkeypatch), expected)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutilated_vimco_expects_another_gradient(sampled, monkeypatch, mutant):
    expected = sampled.gradient(-expected_vimco_bound(sampled.infer()))
    assert_other(exact_expectation(sampled, lambda: VIMCO(K), monkeypatch, mutant), expected)


def test_vimco_reports_the_bound_of_what_it_drew(sampled, monkeypatch):
    draw(monkeypatch, 2, 0, 1)
    inference = sampled.infer()
    assert_same(VIMCO(K)(inference).bound, bound_of(inference, (2, 0, 1)).detach().view(1))


def test_a_sample_is_left_out_by_the_mean_of_the_others_log_weights():
    log_weight = torch.tensor([[1.0, 2.0, 6.0]])
    expected = torch.tensor([[4.0, 2.0, 6.0], [1.0, 3.5, 6.0], [1.0, 2.0, 1.5]]).logsumexp(-1)
    torch.testing.assert_close(leave_one_out(log_weight)[0], expected - math.log(3))


def test_the_baseline_of_a_sample_does_not_depend_on_it():
    log_weight = torch.randn(5, K)
    changed = log_weight.clone()
    changed[:, 1] += 3
    torch.testing.assert_close(leave_one_out(changed)[:, 1], leave_one_out(log_weight)[:, 1])


def test_effective_samples_lie_between_one_and_all():
    assert float(effective(torch.tensor([[0.0, 0.0, 0.0]]))) == pytest.approx(3)
    assert float(effective(torch.tensor([[0.0, -100.0, -100.0]]))) == pytest.approx(1)


def summed_bound(inference) -> torch.Tensor:
    """Log 1/K Σ_k Σ_n p(x, z_k, n) / q(z_k | x), one term at a time."""
    weights = []
    for n in range(COUNTS):
        presence = presence_of(torch.full((K,), n), STEPS)
        weights.append(inference.log_joint(presence) - inference.log_posterior(presence))
    return torch.cat(weights).logsumexp(0) - math.log(K)


def test_the_bound_of_iwae_is_the_sum_over_samples_and_counts(sampled):
    inference = sampled.infer()
    assert_same(IWAE(K)(inference).bound, summed_bound(inference).detach().view(1))


def test_iwae_is_the_gradient_of_its_bound_where_the_counts_posterior_has_no_part(sampled):
    expected = sampled.decoder_gradient(-summed_bound(sampled.infer()))
    assert_same(sampled.decoder_gradient(IWAE(K)(sampled.infer()).loss), expected)


def test_the_presence_of_iwae_learns_the_counts_that_the_weights_prefer(sampled):
    inference = sampled.infer()
    logits = inference.posterior.logits
    weights = torch.stack(
        [
            inference.log_joint(presence) - inference.log_posterior(presence)
            for presence in (presence_of(torch.full((K,), n), STEPS) for n in range(COUNTS))
        ],
        -1,
    )
    share = weights.flatten().softmax(0).view(K, COUNTS).detach()
    expected = -(share * inference.posterior.log_probs).sum()
    (value,) = torch.autograd.grad(IWAE(K)(inference).loss, logits, retain_graph=True)
    assert_same(value, torch.autograd.grad(expected, logits)[0])


def test_following_iwae_brings_the_counts_posterior_to_the_models(tiny_air):
    """Only the presence head is moved; its q(n | x) must end at p(x, n) / p(x) of the samples."""
    torch.manual_seed(5)
    scene = Scene(tiny_air, batch=1)
    inference = scene.infer()
    logits = inference.posterior.logits.detach().clone().requires_grad_()
    changed = altered(inference, posterior=CountPosterior(logits))
    optimiser = torch.optim.Adam([logits], lr=0.5)
    for _ in range(400):
        optimiser.zero_grad()
        IWAE(1)(changed).loss.backward(retain_graph=True)
        optimiser.step()
    masks = presence_of(torch.arange(COUNTS), STEPS).unsqueeze(1)
    exact = (inference.log_joint(masks) - inference.log_posterior(masks)).softmax(0)[:, 0]
    found = CountPosterior(logits.detach()).log_probs.exp()[0]
    torch.testing.assert_close(found, exact.detach(), atol=1e-3, rtol=0)


@pytest.mark.parametrize("counts", [(0, 1, 2), (3, 3, 1)])
def test_the_generative_gradient_of_rws_is_that_of_its_bound(sampled, monkeypatch, counts):
    draw(monkeypatch, *counts)
    expected = sampled.decoder_gradient(-bound_of(sampled.infer(), counts))
    found = RWS(K)(sampled.infer(reparameterised=False))
    assert_same(sampled.decoder_gradient(found.loss), expected)
    assert_same(found.bound, bound_of(sampled.infer(), counts).detach().view(1))


def test_the_inference_gradient_of_rws_climbs_the_weighted_log_posterior(sampled, monkeypatch):
    counts = (0, 1, 2)
    draw(monkeypatch, *counts)
    inference = sampled.infer(reparameterised=False)
    presence = presence_of(torch.tensor(counts), STEPS)
    log_q = inference.posterior.log_probs[torch.arange(K), torch.tensor(counts)]
    log_q = log_q + inference.log_posterior(presence)
    share = log_weights(inference, counts).softmax(0).detach()
    log_p = inference.log_likelihood(presence)  # the only part of p(x, z, n) with parameters
    expected = sampled.gradient(-(share * (log_q + log_p)).sum())
    found = RWS(K)(sampled.infer(reparameterised=False))
    assert_same(sampled.gradient(found.loss), expected)


@pytest.mark.parametrize("mutant", [wrong_sign, without_pathwise_term])
def test_a_mutilated_rws_is_noticed(sampled, monkeypatch, mutant):
    draw(monkeypatch, 0, 1, 2)
    expected = sampled.gradient(RWS(K)(sampled.infer(reparameterised=False)).loss)
    assert_other(sampled.gradient(RWS(K)(mutant(sampled)).loss), expected)


def test_nothing_of_rws_flows_through_the_samples(sampled):
    """They are data to it, and the same ones as otherwise."""
    inference = sampled.infer(reparameterised=False)
    assert not inference.where.requires_grad and not inference.what.requires_grad
    assert intact(sampled).where.requires_grad and intact(sampled).what.requires_grad
    assert torch.equal(inference.where, intact(sampled).where)
