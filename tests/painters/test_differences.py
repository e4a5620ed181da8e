"""Central differences, evaluated on closed forms and on the ray caster's own gradient."""

import torch

from airscene.painters.differences import differentiable
from airscene.painters.raycast import RayCaster


def test_a_cubic_has_the_error_that_the_formula_promises(double):
    """(f(z + h) - f(z - h)) / 2h = f'(z) + a h² for f = a z³ + b z."""
    z = torch.tensor([[0.7], [-1.2]], requires_grad=True)
    value = differentiable(lambda z: (2 * z**3 - z)[..., 0], z, (0.1,))
    torch.testing.assert_close(value, (2 * z**3 - z)[:, 0])
    value.sum().backward()
    torch.testing.assert_close(z.grad, 6 * z.detach() ** 2 - 1 + 2 * 0.1**2)


def test_each_number_has_its_own_step_and_each_row_its_own_gradient(double):
    z = torch.randn(5, 3, requires_grad=True)
    weight = torch.tensor([1.0, -2.0, 0.5])
    value = differentiable(lambda z: (z * weight).sum(-1).square(), z, (0.3, 1e-3, 2.0))
    (torch.arange(5.0) * value).sum().backward()
    expected = torch.arange(5.0)[:, None] * 2 * (z * weight).sum(-1, keepdim=True) * weight
    torch.testing.assert_close(z.grad, expected.detach())


def test_the_likelihood_of_poses_and_cameras_has_the_ray_casters_gradient(double, world):
    """With outlines of a pixel's width and small steps, both gradients are the same."""
    paint = RayCaster(world, softness=0.1)
    kind = torch.tensor([[0, 1], [2, 0], [1, 2]])
    pose = torch.tensor([[[-0.5, 0.1, 0.3], [0.5, 0.2, 0.0]]]).repeat(3, 1, 1)
    camera = torch.tensor([world.camera.numbers]).repeat(3, 1) + 0.05
    image = paint(kind, pose + 0.1, camera - 0.05)

    def likelihood(z: torch.Tensor) -> torch.Tensor:
        flat = z.reshape(-1, 9)
        kinds = kind.repeat(len(flat) // 3, 1)
        canvas = paint(kinds, flat[:, :6].unflatten(-1, (2, 3)), flat[:, 6:])
        error = (canvas.view(*z.shape[:-1], *image.shape[1:]) - image).square()
        return -error.sum((-1, -2, -3)) / (2 * 0.3**2)

    z = torch.cat([pose.flatten(1), camera], 1).requires_grad_()
    likelihood(z).sum().backward()
    exact, z.grad = z.grad, None
    differentiable(likelihood, z, [1e-5] * 9).sum().backward()
    assert exact is not None and exact.abs().max() > 1
    torch.testing.assert_close(z.grad, exact, rtol=1e-3, atol=1e-3)
