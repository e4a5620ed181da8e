from itertools import product

import pytest
import torch
from proofs import COUNTS, STEPS, assert_same

from airscene.estimators import Enumerate, expected_bound


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


def test_the_enumerated_bound_is_the_sum_over_all_presence_vectors(scene):
    inference = scene.infer()
    found = Enumerate()(inference)
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
            values.append(Enumerate()(scene.infer()).loss.item())
        flat[index] += step
        slope = (values[0] - values[1]) / (2 * step)
        assert float(gradient[start + index]) == pytest.approx(slope, rel=1e-5, abs=1e-5 * scale)
        start += parameter.numel()


def test_the_expected_bound_carries_a_gradient_and_the_reported_one_does_not(scene):
    assert expected_bound(scene.infer()).requires_grad
    assert not Enumerate()(scene.infer()).bound.requires_grad
