from itertools import pairwise

import pytest
import torch
from proofs import (
    COUNTS,
    FUNCTIONS,
    MUTANTS,
    altered,
    assert_other,
    assert_same,
    descend,
    exact_expectation,
    without_score_term,
    z_scores,
)

from airscene.core.counts import CountPosterior, all_presences
from airscene.estimators import (
    NVIL,
    Enumerate,
    Reinforce,
    ReinforceAverage,
    ReinforceNeural,
    ReinforceSteps,
)
from airscene.estimators.score_function import MovingAverage

FORMS = ["none", "average", "neural", "steps", "nvil"]
NEURAL = ["neural", "steps", "nvil"]


def make(form: str, scene, offset: float = 0.0):
    """An estimator of the form, whose baseline is moved by `offset`."""
    torch.manual_seed(0)
    neural = {"neural": ReinforceNeural, "steps": ReinforceSteps, "nvil": NVIL}
    if form in neural:
        estimator = neural[form](scene.sizes, hidden=(8,))
        with torch.no_grad():
            estimator.network[-1].bias.add_(offset)
        return estimator
    if form == "none":
        return Reinforce()
    estimator = ReinforceAverage()
    estimator.mean.add(torch.tensor(offset))
    return estimator


def draw(monkeypatch, *counts: int) -> None:
    """Makes every posterior draw these counts."""
    monkeypatch.setattr(CountPosterior, "sample", lambda self: torch.tensor(counts))


@pytest.mark.parametrize("offset", [0.0, 300.0, -1e4])
@pytest.mark.parametrize("form", FORMS)
def test_the_expected_gradient_is_the_enumerated_one_whatever_the_baseline(
    scene, monkeypatch, form, offset
):
    value = exact_expectation(scene, lambda: make(form, scene, offset), monkeypatch)
    assert_same(value, scene.enumerated())


@pytest.mark.parametrize("mutant", MUTANTS)
@pytest.mark.parametrize("form", FORMS)
def test_the_expected_gradient_of_a_mutant_is_another(scene, monkeypatch, form, mutant):
    value = exact_expectation(scene, lambda: make(form, scene), monkeypatch, mutant)
    assert_other(value, scene.enumerated())


@pytest.mark.parametrize("form", FORMS[:-1])  # whose scale moves with what it sees
def test_the_mean_of_many_gradients_is_the_enumerated_one(single, form):
    """Every component within 5 standard errors: all are functions of one n of four values, so there
    are no more than three independent ones among them."""
    assert z_scores(single, make(form, single)).abs().max() < 5


@pytest.mark.parametrize("mutant", MUTANTS)
@pytest.mark.parametrize("form", FORMS)
def test_the_mean_of_many_gradients_of_a_mutant_is_another(single, form, mutant):
    assert z_scores(single, make(form, single), mutant).abs().max() > 20


class Shortsighted(ReinforceSteps):
    """Takes from each step's credit what its own decision brought, too."""

    def _earlier(self, evidence, log_step):
        return super()._earlier(evidence, log_step) + log_step.detach()


def test_credit_that_misses_a_term_is_noticed(scene, monkeypatch):
    def shortsighted():
        torch.manual_seed(0)
        return Shortsighted(scene.sizes, hidden=(8,))

    assert_other(exact_expectation(scene, shortsighted, monkeypatch), scene.enumerated())


def test_a_step_sees_only_the_terms_after_it(scene, monkeypatch):
    """What earlier steps add to the score, but for the likelihood, leaves its advantage alone."""
    draw(monkeypatch, 2, 2)

    def advantage_of_step_three(weight: float) -> torch.Tensor:
        inference = scene.infer()
        cost = torch.tensor([weight, 0.0, 0.0])

        def score(presence: torch.Tensor | None = None) -> torch.Tensor:
            masks = every_mask if presence is None else presence
            return inference.score(presence) + (masks * cost).sum(-1)

        every_mask = all_presences(3, torch.device("cpu"))
        return without_baseline(altered(inference, score=score))

    def without_baseline(evidence) -> torch.Tensor:
        estimator = make("steps", scene)
        for parameter in estimator.parameters():
            torch.nn.init.zeros_(parameter)
        logits = evidence.posterior.logits
        (gradient,) = torch.autograd.grad(estimator(evidence).loss, logits, retain_graph=True)
        return gradient[:, 2] / logits[:, 2].sigmoid()  # d log q(stop) = -sigmoid

    torch.testing.assert_close(advantage_of_step_three(100.0), advantage_of_step_three(0.0))
    assert float(without_baseline(scene.infer()).detach().abs().max()) > 1


@pytest.mark.parametrize("deviation, scale", [(0.5, 1.0), (7.0, 7.0)])
def test_nvil_divides_the_score_function_term_by_the_signals_deviation(
    scene, monkeypatch, deviation, scale
):
    def nvil():
        estimator = make("nvil", scene)
        estimator.variance.add(torch.tensor(deviation**2))
        return estimator

    pathwise = scene.pathwise()
    expected = pathwise + (scene.enumerated() - pathwise) / scale
    assert_same(exact_expectation(scene, nvil, monkeypatch), expected)


def test_nvils_centre_is_the_average_of_what_its_network_missed(scene, monkeypatch):
    draw(monkeypatch, 1, 2)
    estimator, inference = make("nvil", scene), scene.infer()
    missed = estimator(inference).bound - estimator.network(inference.context)[:, 0].detach()
    assert_same(estimator.mean.value, missed.mean())
    assert_same(estimator.variance.value, missed.var(correction=0))
    estimator(inference)
    assert_same(estimator.mean.value, missed.mean())  # the same again: nothing new to average


def test_reinforce_expects_the_enumerated_bound(single, monkeypatch):
    inference = single.infer()
    probs = inference.posterior.log_probs.exp().detach()[0]
    total = 0.0
    for n in range(COUNTS):
        draw(monkeypatch, n)
        total = total + probs[n] * Reinforce()(inference).bound
    assert_same(total, Enumerate()(inference).bound)


def test_the_moving_average_weighs_the_past_by_its_decay():
    average = MovingAverage(0.5)
    assert average.value == 0
    for value in (4.0, 1.0):
        average.add(torch.tensor(value))
    assert float(average.value) == pytest.approx((0.5 * 4 + 1) / 1.5)


def test_the_averaged_baseline_knows_nothing_of_its_own_batch(scene, monkeypatch):
    draw(monkeypatch, 1, 2)
    estimator = ReinforceAverage()
    first = estimator(scene.infer())
    assert_same(first.diagnostics["baseline_error"], first.bound.square().mean())
    second = estimator(scene.infer())
    error = (second.bound - first.bound.mean()).square().mean()
    assert_same(second.diagnostics["baseline_error"], error)


def test_the_neural_baseline_learns_by_the_gradient_of_its_squared_error(scene, monkeypatch):
    draw(monkeypatch, 1, 2)
    estimator, inference = make("neural", scene), scene.infer()
    found = estimator(inference)
    error = (found.bound - estimator.baseline(inference)).square().mean()
    parameters = list(estimator.parameters())
    expected = torch.autograd.grad(error, parameters)
    for value, wanted in zip(torch.autograd.grad(found.loss, parameters), expected, strict=True):
        assert_same(value, wanted)
    assert_same(found.diagnostics["baseline_error"], error.detach())


@pytest.mark.parametrize("form", NEURAL)
def test_following_the_baselines_gradient_reduces_its_error(scene, monkeypatch, form):
    draw(monkeypatch, 1, 2)
    estimator, inference = make(form, scene), scene.infer()
    optimiser = torch.optim.SGD(estimator.parameters(), lr=1e-7)
    errors = descend(estimator, inference, optimiser, 10, "baseline_error")
    fresh = errors[1:] if form == "nvil" else errors  # its first batch is not yet centred
    assert all(after < before for before, after in pairwise(fresh))


@pytest.mark.parametrize("form", NEURAL)
def test_no_gradient_of_the_baselines_error_reaches_the_model(scene, form):
    with torch.no_grad():
        frozen = scene.infer()
    functions = {name: getattr(frozen, name) for name in FUNCTIONS}
    detached = altered(without_score_term(scene), **functions)
    estimator = make(form, scene)
    estimator(detached).loss.backward()
    assert all(parameter.grad is None for parameter in scene.air.parameters())
    assert all(parameter.grad is not None for parameter in estimator.parameters())


def test_a_steps_baseline_does_not_read_its_own_latents_or_later_ones(scene):
    estimator, inference = make("steps", scene), scene.infer()
    before = estimator.baseline(inference)
    latents = inference.latents.clone()
    latents[:, 1] += 1
    after = estimator.baseline(altered(inference, latents=latents))
    assert torch.equal(after[:, :2], before[:, :2])
    assert (after[:, 2] != before[:, 2]).all()
