from itertools import product

import pytest
import torch
from proofs import MUTANTS, STEPS, assert_other, assert_same, intact, z_scores

from airscene.estimators import Enumerate, MeasureValued


def exact_expectation(single, monkeypatch, evidence=intact) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient and bound of every drawing of the N coins, weighted by its probability."""
    chance = single.infer().posterior.logits.sigmoid().detach()
    gradient, bound = torch.zeros(()), torch.zeros(())
    for coins in product([0, 1], repeat=STEPS):
        heads = torch.tensor([coins], dtype=chance.dtype)
        weight = torch.where(heads > 0, chance, 1 - chance).prod()
        with monkeypatch.context() as patch:  # below any chance for heads, above it for tails
            patch.setattr(torch, "rand_like", lambda like, heads=heads: 1 - heads)
            found = MeasureValued()(evidence(single))
        gradient = gradient + weight * single.gradient(found.loss)
        bound = bound + weight * found.bound
    return gradient, bound


def test_the_expected_gradient_and_bound_are_the_enumerated_ones(single, monkeypatch):
    gradient, bound = exact_expectation(single, monkeypatch)
    assert_same(gradient, single.enumerated())
    assert_same(bound, Enumerate()(single.infer()).bound)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_expected_gradient_of_a_mutant_is_another(single, monkeypatch, mutant):
    gradient, _ = exact_expectation(single, monkeypatch, mutant)
    assert_other(gradient, single.enumerated())


def test_the_mean_of_many_gradients_is_the_enumerated_one(single):
    assert z_scores(single, MeasureValued()).abs().max() < 5


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_mean_of_many_gradients_of_a_mutant_is_another(single, mutant):
    assert z_scores(single, MeasureValued(), mutant).abs().max() > 20
