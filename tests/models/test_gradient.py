"""Whether the gradient of the enumerated bound is its derivative, for fixed noise."""

from dataclasses import replace

import pytest
import torch

from airscene.estimators import expected_bound
from airscene.models.air import AIR
from airscene.models.view import View

STEP = 1e-5


@pytest.fixture
def scene(tiny_config, double):
    torch.manual_seed(1)
    noise = torch.randn(2, tiny_config.steps, 3 + tiny_config.what)
    return torch.rand(2, 1, tiny_config.height, tiny_config.width), noise


@pytest.fixture
def model(tiny_config, double):
    """How to make a model with random weights, with or without feedback."""

    def make(feedback: str) -> AIR:
        torch.manual_seed(0)
        air = AIR(replace(tiny_config, feedback=feedback))
        with torch.no_grad():  # at its start a model hardly looks at its input
            for parameter in air.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
        return air

    return make


def slopes(air: AIR, scene) -> tuple[float, float]:
    """The slope of the bound along a random direction of the weights: autograd, differences."""
    weights = [*air.parameters()]
    direction = [torch.randn_like(weight) for weight in weights]
    gradient = torch.autograd.grad(expected_bound(air(*scene)).mean(), weights)
    slope = sum((g * d).sum() for g, d in zip(gradient, direction, strict=True))
    return float(slope), difference(air, scene, direction)


@torch.no_grad()
def difference(air: AIR, scene, direction: list[torch.Tensor]) -> float:
    """The central difference of the bound; the weights are afterwards what they were."""
    values = []
    for step in (STEP, -2 * STEP, STEP):
        for weight, d in zip(air.parameters(), direction, strict=True):
            weight.add_(step * d)
        values.append(float(expected_bound(air(*scene)).mean()))
    return (values[0] - values[1]) / (2 * STEP)


def freeze(monkeypatch, air: AIR, scene, owner: type, name: str) -> None:
    """Lets a method give in every later pass what it gives in this one."""
    method, forward, found = getattr(owner, name), air.forward, []

    def record(*inputs):
        found.append(method(*inputs))
        return found[-1]

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, record)
        forward(*scene)
    assert len(found) == air.config.steps

    def frozen(*inputs):
        left = iter(found)
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, lambda *_: next(left))
            return forward(*inputs)

    monkeypatch.setattr(air, "forward", frozen)


def test_the_gradient_of_air_is_the_derivative_of_its_bound(model, scene):
    by_autograd, by_difference = slopes(model("none"), scene)
    assert by_autograd == pytest.approx(by_difference, rel=1e-6)


def test_the_gradient_of_dair_leaves_out_the_way_through_the_canvas(model, scene, monkeypatch):
    """It is the derivative with the canvas and the odds of presence held fixed."""
    air = model("residual")
    torch.manual_seed(2)
    by_autograd, by_difference = slopes(air, scene)
    assert abs(by_autograd - by_difference) > 0.01 * abs(by_difference)
    freeze(monkeypatch, air, scene, View, "after")
    freeze(monkeypatch, air, scene, AIR, "_odds")
    torch.manual_seed(2)
    assert slopes(air, scene) == pytest.approx((by_autograd, by_autograd), rel=1e-6)
