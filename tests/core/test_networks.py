import torch
import torch.nn.functional as F
from torch import nn

from airscene.core.networks import MLP, spread


def test_an_mlp_has_linear_layers_of_the_sizes_asked_for():
    layers = [layer for layer in MLP([3, 5, 7, 2]) if isinstance(layer, nn.Linear)]
    assert [(layer.in_features, layer.out_features) for layer in layers] == [(3, 5), (5, 7), (7, 2)]


def test_an_mlp_puts_elu_between_its_layers_and_none_at_the_end():
    mlp = MLP([3, 5, 2])
    first, last = (layer for layer in mlp if isinstance(layer, nn.Linear))
    x = torch.randn(4, 3)
    expected = F.linear(F.elu(F.linear(x, first.weight, first.bias)), last.weight, last.bias)
    torch.testing.assert_close(mlp(x), expected)


def test_an_mlp_of_two_sizes_is_one_linear_layer():
    assert [type(layer) for layer in MLP([3, 2])] == [nn.Linear]


def test_a_network_that_goes_far_astray_still_gives_a_standard_deviation():
    raw = torch.tensor([-1e30, -200.0, -15.0, 0.0, 30.0], requires_grad=True)
    std = spread(raw)
    assert (std > 0).all() and std.log().isfinite().all()
    torch.testing.assert_close(std[2:], F.softplus(raw[2:]))
    std.log().sum().backward()
    assert raw.grad is not None and raw.grad.isfinite().all()
    assert F.softplus(raw)[1] == 0  # what is guarded against
