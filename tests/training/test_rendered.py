"""Both ways to learn rendered scenes have the gradients that they claim."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from airscene.config import Config
from airscene.errors import UserError
from airscene.models.pose import PosePosterior, draw_prior, log_prior, pose_of
from airscene.models.rendered import Rendered, RenderedConfig
from airscene.training import rendered
from airscene.training.rendered import RenderedObjective

KINDS, PARTS, SIZE = 3, 8, 8


class Smooth:
    """A painter whose pictures are smooth in the pose, so that sums over a grid are exact."""

    def __init__(self, world):
        self.world = world
        self.maps = torch.randn(
            KINDS, 3, 3, *world.size, generator=torch.Generator().manual_seed(0)
        )

    def __call__(self, kind, pose, camera=None):
        x, y, yaw = pose[:, 0].unbind(-1)
        features = torch.stack([x, y, 0.3 * yaw.cos()], -1)
        return torch.einsum("mf,mfchw->mchw", features, self.maps.to(pose)[kind[:, 0]])


@pytest.fixture
def objective(double, monkeypatch) -> RenderedObjective:
    """Of a model whose posterior `parameters` decide; slopes and credits are not bounded."""
    monkeypatch.setattr(rendered, "STEEPEST", math.inf)
    monkeypatch.setattr(rendered, "LARGEST", math.inf)
    config = RenderedConfig(height=SIZE, width=SIZE, sigma=4.0, differences=(1e-4, 1e-4))
    model = Rendered(config)
    model.painter = Smooth(model.world)
    return RenderedObjective(model, Config(model=config))


@pytest.fixture
def parameters(double) -> dict[str, torch.Tensor]:
    """Of the posterior of one image."""
    torch.manual_seed(1)
    values = {
        "kinds": torch.randn(1, KINDS),
        "loc": 0.4 * torch.randn(1, KINDS, 2),
        "std": 0.2 + 0.2 * torch.rand(1, KINDS, 2),
        "weights": torch.randn(1, KINDS, PARTS),
        "turns": 2 * torch.randn(1, KINDS, PARTS),
        "spreads": 0.2 + 0.2 * torch.rand(1, KINDS, PARTS),
    }
    return {name: value.requires_grad_() for name, value in values.items()}


@pytest.fixture
def image(objective) -> torch.Tensor:
    pose = torch.tensor([[[0.4, -0.3, 1.0]]])
    return objective.model.painter(torch.tensor([[1]]), pose)


def posterior_of(parameters) -> PosePosterior:
    made = {name: value.log_softmax(-1) for name, value in parameters.items()}
    return PosePosterior(**parameters | {name: made[name] for name in ("kinds", "weights")})


def exact_bound(model, image, posterior, points: int = 12) -> torch.Tensor:
    """The ELBO by Gauss-Hermite quadrature over every kind and every component."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    grid = torch.cartesian_prod(*[torch.tensor(nodes)] * 3)[:, None]  # (S, 1, 3)
    share = torch.cartesian_prod(*[torch.tensor(weights / weights.sum())] * 3).prod(-1)
    total = torch.zeros(())
    for k in range(KINDS):
        kind = torch.full(grid.shape[:2], k)
        for c in range(PARTS):
            code = posterior.code(kind, torch.full_like(kind, c), grid)
            pixels = model.log_pixels(image, kind, pose_of(code))
            value = pixels + log_prior(code, KINDS) - posterior.log_prob(kind, code)
            chance = (posterior.kinds[0, k] + posterior.weights[0, k, c]).exp()
            total = total + chance * (share * value[:, 0]).sum()
    return total


def test_the_bound_and_its_gradient_are_those_of_quadrature(
    objective, parameters, image, monkeypatch
):
    """36,000 samples in pairs, within a few standard errors of thirty blocks."""
    model = objective.model
    exact = exact_bound(model, image, posterior_of(parameters))
    expected = torch.autograd.grad(exact, [*parameters.values()])
    torch.manual_seed(2)
    blocks, rows = 30, 600
    found, values = [], []
    for _ in range(blocks):
        many = {k: v.detach().expand(rows, *v.shape[1:]).clone() for k, v in parameters.items()}
        leaves = {name: value.requires_grad_() for name, value in many.items()}
        noise = torch.randn(2, rows, 3)
        loss, scalars = objective._bound(
            image.expand(rows, -1, -1, -1), posterior_of(leaves), noise
        )
        gradients = torch.autograd.grad(-loss, [*leaves.values()])
        found.append([gradient.sum(0, keepdim=True) for gradient in gradients])
        values.append(scalars["elbo"].item())
    assert np.mean(values) == pytest.approx(exact.item(), abs=4 * np.std(values) / blocks**0.5)
    every = []
    for name, truth, *some in zip(parameters, expected, *found, strict=True):
        stacked = torch.stack(some)
        error = stacked.std(0) / blocks**0.5
        off = (stacked.mean(0) - truth).abs() / (error + 1e-6)
        assert (off < 5).all(), name
        every.append(off.flatten())
        assert truth.abs().max() > 3 * error.mean(), name
    assert torch.cat(every).square().mean() < 2


def test_reweighted_wake_sleep_climbs_towards_the_true_posterior(objective, parameters, image):
    """Of many samples, the gradient in the logits of the kinds is q(k | x) - p(k | x)."""
    model, rows = objective.model, 40
    model.config = replace(model.config, particles=1000)
    posterior = posterior_of({k: v.expand(rows, *v.shape[1:]) for k, v in parameters.items()})
    noise = torch.randn(1000, rows, 3, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(3)
    loss, _ = objective._wake(image.expand(rows, -1, -1, -1), posterior, noise)
    gradient = torch.autograd.grad(loss, parameters["kinds"])[0][0]
    place = torch.linspace(-1, 1, 61) * 1.1
    turns = torch.arange(24) * 2 * math.pi / 24
    pose = torch.cartesian_prod(place, place, turns)[:, None]
    evidence = torch.stack(
        [
            model.log_pixels(image, torch.full(pose.shape[:2], k), pose)[:, 0].logsumexp(0)
            for k in range(KINDS)
        ]
    )
    truth = posterior.kinds[0].exp() - evidence.softmax(0)
    assert truth.abs().max() > 0.2
    torch.testing.assert_close(gradient, truth.detach(), atol=0.02, rtol=0)


def test_dreams_are_fitted_as_the_prior_says(objective, image):
    """The loss is -log q of the kinds and codes whose pictures the network was shown."""
    torch.manual_seed(4)
    loss, _ = objective._dream(image.expand(5, -1, -1, -1))
    torch.manual_seed(4)
    kind, code = draw_prior(KINDS, (20,))
    dreamt = objective.model.painter(kind[:, None], pose_of(code)[:, None])
    expected = -objective.model(dreamt).log_prob(kind[None], code[None]).mean()
    torch.testing.assert_close(loss, expected)
    assert (
        torch.autograd.grad(loss, [*objective.model.network.maps.parameters()])[0].abs().max() > 0
    )


def test_training_dreams_first_then_wakes_while_sigma_falls_then_climbs_the_bound(objective):
    objective.model.config = replace(objective.model.config, dream=0.25, wake=0.25)
    factor = ((0.0, 10.0), (1.0, 1.0))
    training = replace(objective.config.training, sigma_factor=factor, iterations=101)
    objective.config = replace(objective.config, training=training)
    parts = {0.0: "dream", 0.24: "dream", 0.25: "wake", 0.49: "wake"}
    parts |= {0.5: "bound", 0.51: "dream", 0.52: "bound", 1.0: "bound"}
    for progress, part in parts.items():
        scheduled = objective.schedule(progress)
        assert objective.part == part
        assert scheduled["sigma"] == pytest.approx(4.0 * 10 ** (1 - progress))
    assert objective.model.sigma.item() == pytest.approx(4.0)


@pytest.mark.parametrize(("dream", "wake", "last"), [(1.0, 0.0, "dream"), (0.3, 0.7, "wake")])
def test_where_nothing_is_left_for_the_bound_not_even_the_last_step_is(
    objective, dream, wake, last
):
    objective.model.config = replace(objective.model.config, dream=dream, wake=wake)
    objective.schedule(1.0)
    assert objective.part == last


def test_shares_of_more_than_a_training_are_refused():
    with pytest.raises(UserError, match=r"--model\.dream 0\.8 and --model\.wake 0\.3"):
        RenderedConfig(dream=0.8, wake=0.3)
