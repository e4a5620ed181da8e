import pytest
import torch
from proofs import Scene

from airscene.estimators import ESTIMATORS, EstimationConfig

BATCH = 2


@pytest.fixture(params=ESTIMATORS)
def case(request, tiny_air):
    """An estimator by its name, and a scene of as many samples as it wants."""
    torch.manual_seed(1)
    sizes = Scene(tiny_air, BATCH).sizes
    estimator = ESTIMATORS[request.param](sizes, EstimationConfig(samples=3))
    return estimator, Scene(tiny_air, BATCH, estimator.samples)


def test_every_estimator_by_name_yields_a_scalar_loss_and_a_bound_an_image(case):
    estimator, scene = case
    found = estimator(scene.infer(estimator.reparameterised))
    assert found.loss.shape == () and found.loss.requires_grad
    assert found.bound.shape == (BATCH,) and not found.bound.requires_grad
    assert all(value.shape == () for value in found.diagnostics.values())
    assert all(not value.requires_grad for value in found.diagnostics.values())


def test_every_parameter_of_model_and_estimator_receives_a_gradient(case):
    estimator, scene = case
    for _ in range(8):  # a drawn n of zero trains no decoder
        estimator(scene.infer(estimator.reparameterised)).loss.backward()
    for name, parameter in [*scene.air.named_parameters(), *estimator.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_extreme_logits_leave_loss_and_gradient_finite(case):
    """In float32, with presence certain or impossible."""
    estimator, scene = case
    scene.air.float(), estimator.float()
    scene.image, scene.noise = scene.image.float(), scene.noise.float()
    torch.set_default_dtype(torch.float32)  # the fixture sets it back
    for logit in (-80.0, 80.0):
        with torch.no_grad():
            scene.air.attend[-1].bias[0] = logit
        found = estimator(scene.infer(estimator.reparameterised))
        assert found.loss.isfinite() and found.bound.isfinite().all()
        assert scene.gradient(found.loss).isfinite().all()
