import pytest
import torch
from proofs import MUTANTS, descend, many, z_scores

from airscene.estimators import Rebar, Relax, control_variates
from airscene.estimators.control_variates import _moved_given
from airscene.estimators.relaxed import logistic_noise

NAMES = ["rebar", "relax"]


def make(name: str, single, scale: float = 0.7) -> Rebar:
    torch.manual_seed(0)
    estimator = Rebar() if name == "rebar" else Relax(single.sizes, hidden=8)
    with torch.no_grad():
        estimator.scale.fill_(scale)
    return estimator


@pytest.mark.parametrize("scale", [0.0, 0.7, 2.0])
@pytest.mark.parametrize("name", NAMES)
def test_the_mean_of_many_gradients_is_the_enumerated_one(single, name, scale):
    assert z_scores(single, make(name, single, scale)).abs().max() < 5


@pytest.mark.parametrize("mutant", MUTANTS)
@pytest.mark.parametrize("name", NAMES)
def test_the_mean_of_many_gradients_of_a_mutant_is_another(single, name, mutant):
    assert z_scores(single, make(name, single), mutant).abs().max() > 20


def test_noise_given_the_other_coin_makes_another_mean(single, monkeypatch):
    other = lambda logits, coin: _moved_given(logits, 1 - coin)  # noqa: E731
    monkeypatch.setattr(control_variates, "_moved_given", other)
    assert z_scores(single, make("rebar", single)).abs().max() > 20


def test_a_control_variate_that_is_not_given_back_makes_another_mean(single, monkeypatch):
    plain = Rebar._estimate

    def without_slopes(self, evidence, logits, moved, coin, score):
        whole = plain(self, evidence, logits, moved, coin, score)
        given = self.control(evidence, _moved_given(logits, coin))
        return (score - given).unsqueeze(-1) * (coin - logits.sigmoid()).detach() + 0 * whole

    monkeypatch.setattr(Rebar, "_estimate", without_slopes)
    assert z_scores(single, make("rebar", single)).abs().max() > 20


def test_the_conditional_noise_makes_the_coin_it_is_given_and_is_logistic_over_both():
    torch.manual_seed(0)
    logits = torch.tensor([-1.5, 0.2, 3.0]).expand(200_000, 3)
    coin = (logits + logistic_noise(logits) > 0).to(logits)
    given = _moved_given(logits, coin)
    assert torch.equal((given > 0).to(logits), coin)
    for level in (-2.0, 0.5, 3.0):
        chance = (level - logits[0]).sigmoid()
        assert (((given < level).double().mean(0) - chance).abs() < 5 * 0.5 / 200_000**0.5).all()


@pytest.mark.parametrize("logit", [-80.0, 80.0])
@pytest.mark.parametrize("coin", [0.0, 1.0])
def test_extreme_logits_leave_the_conditional_noise_and_its_gradient_finite(logit, coin):
    """In float32, for the likely coin and for the impossible one."""
    logits = torch.full((1000,), logit).requires_grad_()
    given = _moved_given(logits, torch.full((1000,), coin))
    (slope,) = torch.autograd.grad(given.sum(), logits)
    assert given.isfinite().all() and slope.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_the_own_parameters_follow_the_slope_of_the_variance(single, name):
    """Against central differences of the mean square with the same draws."""
    estimator, evidence = make(name, single), many(single.infer(), 500)

    def found():
        torch.manual_seed(9)
        return estimator(evidence)

    for parameter in estimator.parameters():
        (slope,) = torch.autograd.grad(found().loss, parameter)
        flat, step = parameter.data.view(-1), 1e-6
        place = int(slope.abs().view(-1).argmax())
        flat[place] += step
        above = found().diagnostics["logit_gradient_square"]
        flat[place] -= 2 * step
        below = found().diagnostics["logit_gradient_square"]
        flat[place] += step
        expected = float((above - below) / (2 * step))
        assert float(slope.view(-1)[place]) == pytest.approx(expected, rel=1e-4)
        assert expected != 0


@pytest.mark.parametrize("name", NAMES)
def test_learning_the_settings_lowers_the_variance(single, name):
    """From a scale of zero, which is plain REINFORCE, to at most half of its mean square."""
    torch.manual_seed(0)
    estimator = make(name, single, scale=0.0)
    evidence = many(single.infer(), 500)
    optimiser = torch.optim.Adam(estimator.parameters(), lr=0.02)
    squares = descend(estimator, evidence, optimiser, 200, "logit_gradient_square")
    assert sum(squares[-20:]) < 0.5 * sum(squares[:20])


def test_the_variance_of_the_control_variate_does_not_train_the_model(single):
    """The loss with the terms of the settings taken away has the same gradient by the model."""
    estimator, inference = make("rebar", single), single.infer()
    torch.manual_seed(4)
    whole = single.gradient(estimator(inference).loss)
    for parameter in estimator.parameters():
        parameter.requires_grad_(False)
    estimator._lower = lambda variance: 0.0
    torch.manual_seed(4)
    torch.testing.assert_close(single.gradient(estimator(single.infer()).loss), whole)
