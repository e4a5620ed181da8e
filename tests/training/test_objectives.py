import math
from dataclasses import replace

import pytest
import torch

from airscene.config import Config, TrainingConfig
from airscene.kinds import make_objective
from airscene.models.air import AIR
from airscene.models.air_config import AIRConfig
from airscene.models.draw import DRAW, DRAWConfig
from airscene.training.objectives import AIRObjective, BoundObjective, make_optimizer

AIR_CONFIG = AIRConfig(height=10, width=12, glimpse=5, what=2, lstm=8, hidden=8)
DRAW_CONFIG = DRAWConfig(steps=3, height=10, width=12, latent=2, lstm=8)
CONFIGS = [
    Config(model=AIR_CONFIG),
    Config(model=replace(AIR_CONFIG, feedback="residual")),
    Config(model=AIR_CONFIG, estimator="vimco"),
    Config(model=DRAW_CONFIG),
]


def image() -> torch.Tensor:
    return torch.rand(4, 1, 10, 12, generator=torch.Generator().manual_seed(0))


def test_the_model_decides_the_objective():
    assert isinstance(make_objective(CONFIGS[0]), AIRObjective)
    assert isinstance(make_objective(CONFIGS[0]).model, AIR)
    assert isinstance(make_objective(CONFIGS[3]), BoundObjective)
    assert isinstance(make_objective(CONFIGS[3]).model, DRAW)


@pytest.mark.parametrize("config", CONFIGS)
def test_every_objective_takes_noise_of_its_shape_and_can_be_descended(config):
    torch.manual_seed(0)
    objective = make_objective(config)
    optimizer = make_optimizer(objective)
    losses = []
    for _ in range(40):
        objective.schedule(0.5)
        torch.manual_seed(1)
        loss, scalars = objective(image(), torch.randn(4, *objective.noise_shape))
        assert math.isfinite(scalars["elbo"]) and not scalars["elbo"].requires_grad
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_what_is_scheduled_is_set_and_told():
    objective = make_objective(Config(model=AIR_CONFIG))
    told = objective.schedule(0.0)
    assert told == {"prior_odds": pytest.approx(objective.model.log_odds.exp().item())}
    assert make_objective(Config(model=DRAW_CONFIG)).schedule(0.0) == {}


def test_sigma_is_a_multiple_of_the_model_s_own_and_ends_there():
    training = TrainingConfig(sigma_factor=((0.0, 4.0), (0.5, 1.0)))
    objective = make_objective(Config(model=replace(AIR_CONFIG, sigma=0.2), training=training))
    noise = torch.zeros(4, *objective.noise_shape)
    bounds = []
    for progress, sigma in ((0.0, 0.8), (0.25, 0.4), (1.0, 0.2)):
        objective.schedule(progress)
        assert objective.model.sigma.item() == pytest.approx(sigma)
        bounds.append(objective(image(), noise)[1]["elbo"].item())
    assert len(set(bounds)) == 3


def test_only_an_estimator_with_parameters_has_a_rate_of_its_own():
    own = Config(model=AIR_CONFIG, estimator="reinforce-neural")
    assert [group["factor"] for group in make_optimizer(make_objective(own)).param_groups] == [
        1,
        10,
    ]
    assert len(make_optimizer(make_objective(CONFIGS[0])).param_groups) == 1
