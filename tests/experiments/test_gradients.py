from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from airscene.errors import UserError
from airscene.estimators import Estimate, Estimator
from airscene.experiments.gradients import (
    GROUPS,
    Moments,
    VarianceConfig,
    adapt,
    gradient_moments,
    group_labels,
    summarise,
)
from airscene.kinds import make_objective
from airscene.models.air import AIR
from airscene.training.objectives import AIRObjective


class NoisySlope(Estimator):
    """Its gradient by every presence logit's bias is standard normal noise times `scale`."""

    def __init__(self, model: AIR, scale: float):
        super().__init__()
        self.model, self.scale = [model], scale  # in a list, to be no part of the estimator

    def forward(self, evidence) -> Estimate:
        total = sum(parameter.sum() for parameter in self.model[0].parameters())
        return Estimate(self.scale * torch.randn(()) * total, torch.zeros(1))


def test_a_known_variance_is_found(tiny):
    torch.manual_seed(0)
    model = AIR(replace(tiny.model, lstm=2, hidden=2))
    objective = AIRObjective(model, tiny)
    objective.estimator = NoisySlope(model, 3.0)
    moments = gradient_moments(objective, torch.zeros(1, 1, 16, 16), 400)
    variance = moments.variance()
    assert variance.shape == (sum(p.numel() for p in model.parameters()),)
    assert torch.allclose(variance, variance[0])
    assert variance[0] == pytest.approx(9, rel=0.25)
    assert moments.ever_nonzero().all()


def test_moments_are_those_of_numpy():
    values = 1e4 + torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    moments = Moments()
    for value in values:
        moments.add(value)
    assert np.allclose(moments.mean, values.double().mean(0))
    assert np.allclose(moments.variance(), values.double().var(0))


def test_elements_that_are_always_zero_take_no_part():
    moments = Moments()
    for value in ([0.0, 1.0, 2.0], [0.0, 1.0, 0.0]):
        moments.add(torch.tensor(value))
    assert moments.ever_nonzero().tolist() == [False, True, True]


def test_groups_cover_every_parameter_once(tiny):
    model, c = AIR(tiny.model), tiny.model
    sizes = group_labels(model).bincount().tolist()
    assert sum(sizes) == sum(parameter.numel() for parameter in model.parameters())
    found = dict(zip(GROUPS, sizes, strict=True))
    assert found["presence head"] == c.hidden + 1
    assert found["where head"] == 6 * (c.hidden + 1)
    for name in ("encoder", "decoder"):
        module: nn.Module = getattr(model, name)
        assert found[name] == sum(parameter.numel() for parameter in module.parameters())


def test_labels_follow_the_order_of_the_parameters(tiny):
    model = AIR(tiny.model)
    labels = group_labels(model).split([parameter.numel() for parameter in model.parameters()])
    for (name, _), label in zip(model.named_parameters(), labels, strict=True):
        groups = {GROUPS[place] for place in label.tolist()}
        if name.startswith(("encoder", "decoder")):
            assert groups == {name.split(".")[0]}
        elif name.startswith("attend.2"):
            assert groups == {"presence head", "where head"}
            assert GROUPS[label[0]] == "presence head"
        else:
            assert groups == {"LSTM"}


def test_summary_leaves_out_what_takes_no_part():
    labels = torch.arange(len(GROUPS)).repeat_interleave(11)
    variance = torch.arange(11.0).repeat(len(GROUPS))
    live = torch.ones(len(labels), dtype=torch.bool)
    live[:6], live[11:22] = False, False
    table = summarise(variance, labels, live)
    assert table["presence head"] == {"median": 8.0, "p90": pytest.approx(9.6), "parameters": 5}
    assert table["LSTM"] == {"median": 5.0, "p90": 9.0, "parameters": 11}
    assert table["where head"]["parameters"] == 0 and np.isnan(table["where head"]["median"])


@pytest.mark.parametrize("name", ["reinforce-neural", "reinforce-average", "relax"])
def test_adapting_changes_the_estimator_alone(name, tiny):
    torch.manual_seed(0)
    objective = make_objective(replace(tiny, estimator=name))
    model = {key: value.clone() for key, value in objective.model.state_dict().items()}
    own = {key: value.clone() for key, value in objective.estimator.state_dict().items()}
    adapt(objective, iter(torch.rand(3, 4, 1, 16, 16)), VarianceConfig(adaptation=3))
    after = objective.estimator.state_dict()
    assert all(
        torch.equal(value, model[key]) for key, value in objective.model.state_dict().items()
    )
    assert any(not torch.equal(after[key], own[key]) for key in own)
    assert all(parameter.requires_grad for parameter in objective.model.parameters())


def test_draws_leave_the_estimator_as_it_was(tiny):
    objective = make_objective(replace(tiny, estimator="reinforce-average"))
    gradient_moments(objective, torch.rand(4, 1, 16, 16), draws=2)
    assert all(not value.any() for value in objective.estimator.state_dict().values())


def test_a_single_draw_has_no_variance():
    with pytest.raises(UserError, match="at least 2"):
        VarianceConfig(draws=1)
