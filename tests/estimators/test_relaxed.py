import pytest
import torch
from proofs import altered, many, wrong_sign, z_scores

from airscene.estimators import Concrete, Enumerate
from airscene.estimators.relaxed import logistic_noise


def concrete(temperature: float, straight_through: bool = False) -> Concrete:
    estimator = Concrete(straight_through)
    estimator.anneal(temperature)
    return estimator


def bias(single, temperature: float, straight_through: bool = False) -> float:
    """Relative error of the mean of 400,000 gradients."""
    torch.manual_seed(0)
    chunks = [
        single.gradient(concrete(temperature, straight_through)(many(single.infer(), 10_000)).loss)
        for _ in range(40)
    ]
    exact = single.enumerated()
    return float((torch.stack(chunks).mean(0) - exact).norm() / exact.norm())


def test_the_relaxed_gradient_tends_to_the_enumerated_one_as_the_temperature_falls(single):
    errors = [bias(single, temperature) for temperature in (1.0, 0.2, 0.03)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.1
    assert errors[-1] < 0.02


@pytest.mark.parametrize("straight_through", [True, False])
def test_straight_through_paints_hard_presence(scene, straight_through):
    seen, inference = [], scene.infer()

    def score(presence):
        seen.append(presence.detach())
        return inference.score(presence)

    concrete(0.5, straight_through)(altered(inference, score=score))
    assert all(((p == 0) | (p == 1)).all() for p in seen) == straight_through


def test_the_bound_is_that_of_hard_presence_at_any_temperature(scene):
    """The same noise makes the same coins."""
    bounds = []
    for temperature in (0.01, 5.0):
        torch.manual_seed(7)
        bounds.append(concrete(temperature)(scene.infer()).bound)
    torch.testing.assert_close(*bounds)


def test_hard_presence_expects_the_enumerated_bound(single):
    torch.manual_seed(0)
    rows = 20_000
    bound = concrete(1.0)(many(single.infer(), rows)).bound
    exact = Enumerate()(single.infer()).bound
    assert abs(float(bound.mean() - exact)) < 5 * float(bound.std()) / rows**0.5


def test_a_wrong_sign_is_noticed(single):
    assert z_scores(single, concrete(0.1), wrong_sign).abs().max() > 20


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_logistic_noise_is_finite_and_logistic(kind):
    torch.manual_seed(0)
    noise = logistic_noise(torch.zeros(1_000_000, dtype=kind))
    assert noise.dtype == kind and noise.isfinite().all()
    for level in (-2.0, 0.0, 1.0):
        chance = float(torch.tensor(level).sigmoid())
        assert abs(float((noise < level).double().mean()) - chance) < 5 * 0.5 / 1000
