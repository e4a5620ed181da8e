"""The posterior over one object: densities, samples, modes, and the prior."""

import math

import pytest
import torch

from airscene.models.pose import PosePosterior, draw_prior, log_prior, pose_of

KINDS, PARTS = 2, 3


@pytest.fixture
def posterior(double) -> PosePosterior:
    """Of one image, everything different for both kinds."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(1, *shape, generator=generator)

    return PosePosterior(
        kinds=drawn(KINDS).log_softmax(-1),
        loc=0.3 * drawn(KINDS, 2),
        std=0.2 + drawn(KINDS, 2).abs() * 0.1,
        weights=drawn(KINDS, PARTS).log_softmax(-1),
        turns=torch.tensor([0.0, 2.0, 9.0]) + drawn(KINDS, PARTS),
        spreads=0.1 + 0.3 * torch.rand(1, KINDS, PARTS, generator=generator),
    )


def lattice(points: int) -> torch.Tensor:
    """Codes (S, 1, 3) that cover u and a whole turn evenly."""
    u = torch.linspace(-2.5, 2.5, points)
    yaw = torch.arange(points) * 2 * math.pi / points
    return torch.cartesian_prod(u, u, yaw)[:, None]


def test_the_density_of_a_code_integrates_to_one(posterior):
    points = 61
    code, cell = lattice(points), (5 / (points - 1)) ** 2 * 2 * math.pi / points
    for k in range(KINDS):
        kind = torch.full(code.shape[:2], k)
        whole = posterior.log_code(kind, code).exp().sum() * cell
        assert whole.item() == pytest.approx(1, abs=1e-4)


def test_yaws_that_are_a_turn_apart_have_the_same_density(posterior):
    kind, code = torch.zeros(1, 1, dtype=torch.long), torch.tensor([[[0.1, -0.2, 0.5]]])
    turned = code + torch.tensor([0, 0, 2 * math.pi])
    torch.testing.assert_close(posterior.log_code(kind, code), posterior.log_code(kind, turned))


def test_samples_have_the_moments_of_the_density(posterior):
    torch.manual_seed(0)
    samples = 40_000
    kind = posterior.draw_kind(samples)
    share = posterior.kinds.exp()[0, 1].item()
    assert (kind == 1).double().mean().item() == pytest.approx(share, abs=0.01)
    one = torch.ones_like(kind)
    code = posterior.code(one, posterior.draw_part(one), torch.randn(samples, 1, 3))
    torch.testing.assert_close(code[:, 0, :2].mean(0), posterior.loc[0, 1], atol=0.01, rtol=0)
    torch.testing.assert_close(code[:, 0, :2].std(0), posterior.std[0, 1], atol=0.01, rtol=0)
    dense, cell = lattice(61), (5 / 60) ** 2 * 2 * math.pi / 61
    density = posterior.log_code(torch.ones(len(dense), 1, dtype=torch.long), dense).exp() * cell
    for wave in (torch.cos, torch.sin):
        expected = (density * wave(dense[..., 2])).sum()
        torch.testing.assert_close(wave(code[..., 2]).mean(), expected, atol=0.015, rtol=0)


def test_the_mode_is_the_highest_peak_and_no_average(double):
    """Two components of a quarter turn apart: the one with the higher peak has less weight."""
    quarter = math.pi / 2
    posterior = PosePosterior(
        kinds=torch.tensor([[0.6, 0.4]]).log(),
        loc=torch.zeros(1, 2, 2),
        std=torch.ones(1, 2, 2),
        weights=torch.tensor([[[0.45, 0.55], [0.5, 0.5]]]).log(),
        turns=torch.tensor([[[0.0, quarter], [1.0, 1.0]]]),
        spreads=torch.tensor([[[0.1, 0.4], [0.1, 0.1]]]),
    )
    kind, pose = posterior.mode
    assert kind.tolist() == [0]
    torch.testing.assert_close(pose, torch.zeros(1, 3))


def test_the_prior_is_uniform_on_the_table(double):
    """The density of u integrates to one, and drawn positions fill the square evenly."""
    u = torch.linspace(-12, 12, 4001)
    code = torch.stack([u, torch.zeros_like(u), torch.zeros_like(u)], -1)
    at_zero = log_prior(torch.zeros(3), KINDS)
    along = (log_prior(code, KINDS) - at_zero).exp().sum() * (u[1] - u[0]) / 2  # p(0) = 1 / 2
    assert along.item() == pytest.approx(1, abs=1e-3)
    assert at_zero.item() == pytest.approx(-math.log(4 * 2 * math.pi * KINDS))
    torch.manual_seed(0)
    kind, code = draw_prior(KINDS, (10_000, 2))
    pose = pose_of(code)
    assert kind.shape == (10_000, 2) and kind.unique().tolist() == [0, 1]
    reach = torch.tensor([1.1, 1.1, math.pi])
    assert (pose.abs() <= reach).all()
    torch.testing.assert_close(pose.flatten(0, 1).std(0), reach / 3**0.5, rtol=0.02, atol=0)
