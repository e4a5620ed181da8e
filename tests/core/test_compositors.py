"""Layers and compositors, compared with canvases that are written out, in float64."""

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from airscene.core import layers
from airscene.core.compositors import COMPOSITORS, Composition, Layers
from airscene.core.counts import all_presences
from airscene.core.likelihoods import LIKELIHOODS, LOOSE, Independent

B, N, C, H, W, P, Q = 3, 4, 2, 12, 14, 7, 8
SIGMA = 0.3

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture(params=COMPOSITORS)
def compositor(request):
    return COMPOSITORS[request.param]


@pytest.fixture(params=[("independent", 0.0), ("correlated", 1.0), ("correlated", 0.3)])
def likelihood(request):
    likelihood = LIKELIHOODS[request.param[0]]()
    likelihood.correlate(request.param[1])
    return likelihood


@pytest.fixture(params=["patches", "wide"])
def scene(request, compositor, likelihood) -> Composition:
    """Layers that lie over each other, on a background, all with gradients.

    Patches are larger than what is painted, as those of models are.
    """
    torch.manual_seed(0)
    corner = torch.stack([torch.randint(H - P + 1, (B, N)), torch.randint(W - Q + 1, (B, N))], -1)
    opacity, paint = torch.rand(B, N, 1, P - 2, Q - 2), torch.rand(B, N, C, P - 2, Q - 2)
    opacity, paint = (torch.nn.functional.pad(part, (1, 1, 1, 1)) for part in (opacity, paint))
    if request.param == "wide":
        opacity, paint = (layers.lift(part, corner, (H, W)) for part in (opacity, paint))
        corner = torch.zeros_like(corner)
    image, background = torch.rand(2, B, C, H, W)
    objects = Layers(
        paint.requires_grad_(), opacity.requires_grad_() if compositor.opaque else None, corner
    )
    background.requires_grad_()
    return Composition(image, background, objects, compositor, torch.tensor(SIGMA), likelihood)


def precision_of(scene: Composition) -> torch.Tensor:
    """The inverse covariance of a channel's pixels, pair by pair of neighbours, (H W, H W)."""
    if isinstance(scene.likelihood, Independent):
        return torch.eye(H * W) / SIGMA**2
    precision, number = LOOSE**2 * torch.eye(H * W), torch.arange(H * W).view(H, W)
    share = float(scene.likelihood.share)
    pairs = [(number[:, 1:], number[:, :-1]), (number[1:], number[:-1])]
    for one, other in pairs:
        for i, j in zip(one.flatten(), other.flatten(), strict=True):
            precision[i, i] += 1
            precision[j, j] += 1
            precision[i, j] -= 1
            precision[j, i] -= 1
    return (share * precision + (1 - share) * torch.eye(H * W)) / SIGMA**2


def written_out(scene: Composition, presence: torch.Tensor) -> torch.Tensor:
    """The canvas, one layer after the other over all its pixels, (B, C, H, W)."""
    paint, corner = scene.objects.paint, scene.objects.corner
    paint = layers.lift(paint, corner, (H, W))
    if scene.objects.opacity is None:
        return scene.background + (presence[..., None, None, None] * paint).sum(1)
    opacity = layers.lift(scene.objects.opacity, corner, (H, W))
    seen, canvas = torch.ones(B, 1, H, W), torch.zeros(B, C, H, W)
    for k in range(N):
        present = presence[:, k, None, None, None]
        canvas = canvas + seen * present * paint[:, k]
        seen = seen * (1 - present * opacity[:, k])
    return canvas + seen * scene.background


def density(scene: Composition, presence: torch.Tensor) -> torch.Tensor:
    left = (scene.image - written_out(scene, presence)).flatten(2)
    each = MultivariateNormal(torch.zeros(H * W), precision_matrix=precision_of(scene))
    return each.log_prob(left).sum(1)


def test_a_pixel_shows_a_layer_with_its_posterior_probability(scene):
    """The mixture written out: each layer's share times the density of its colour."""
    if scene.objects.opacity is None:
        pytest.skip("light has no colour of its own")
    presence = (torch.rand(B, N) > 0.3).double()
    opacity, paint = (
        layers.lift(part.detach(), scene.objects.corner, (H, W))
        for part in (scene.objects.opacity, scene.objects.paint)
    )
    spread = precision_of(scene).inverse().diagonal().mean().sqrt()
    seen, parts = torch.ones(B, 1, H, W), []
    for k in range(N):
        share = seen * presence[:, k, None, None, None] * opacity[:, k]
        colour = paint[:, k] / opacity[:, k].clamp(min=1e-12)
        density = Normal(colour, spread).log_prob(scene.image).sum(1, keepdim=True).exp()
        parts.append(share * density)
        seen = seen * (1 - presence[:, k, None, None, None] * opacity[:, k])
    density = Normal(scene.background, spread).log_prob(scene.image).sum(1, keepdim=True).exp()
    expected = torch.cat([seen * density, *parts], 1)
    expected = expected / expected.sum(1, keepdim=True)
    torch.testing.assert_close(scene.shares(presence).detach(), expected.detach())


def test_pixels_that_objects_cover_wholly_belong_to_one_of_them():
    """In float32, shares of many layers may sum to more than 1."""
    torch.manual_seed(0)
    rows, many, size = 50, 8, (20, 20)
    opacity = torch.rand(rows, many, 1, *size).float()
    opacity[:, -1] = 1.0
    corner = torch.zeros(rows, many, 2, dtype=torch.long)
    objects = Layers(torch.rand(rows, many, 3, *size).float() * opacity, opacity, corner)
    picture = torch.rand(rows, 3, *size).float()
    scene = Composition(
        picture, picture, objects, COMPOSITORS["over"], torch.tensor(0.01, dtype=torch.float32)
    )
    shares = scene.shares(torch.ones(rows, many).float())
    assert shares.isfinite().all() and (shares >= 0).all()
    torch.testing.assert_close(shares.sum(1), torch.ones(rows, *size).float())


def test_the_strongest_layer_at_each_pixel_is_that_of_whole_canvases(scene):
    paint, corner = scene.objects.paint.detach(), scene.objects.corner
    expected = layers.lift(paint, corner, (H, W)).amax(1)[:, 0]
    assert torch.equal(layers.strongest(paint[:, :, 0], corner, (H, W)), expected)


def test_patches_are_cut_out_of_the_canvas_of_their_row(scene):
    corner, row = scene.objects.corner.flatten(0, 1), torch.arange(B).repeat_interleave(N)
    patch, canvas = layers.size_of(scene.objects.paint), scene.image[:, :1]
    expected = layers.cut(canvas[row], corner, patch)[:, 0]
    assert torch.equal(layers.under(canvas[:, 0], row, corner, patch), expected)


def inputs(scene: Composition) -> list[torch.Tensor]:
    found = [scene.objects.paint, scene.background]
    return found if scene.objects.opacity is None else [*found, scene.objects.opacity]


def of_what_is_painted(slopes, by) -> list[torch.Tensor]:
    """Slopes without those by the empty border of patches, through which no gradient passes."""
    return [slope * (value != 0) for slope, value in zip(slopes, by, strict=True)]


def assert_alike(found, expected, by) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    weight = torch.randn_like(found)
    slopes = [
        of_what_is_painted(torch.autograd.grad((value * weight).sum(), by, retain_graph=True), by)
        for value in (found, expected)
    ]
    torch.testing.assert_close(*slopes, rtol=1e-10, atol=1e-10)


def test_every_count_has_the_likelihood_and_gradient_of_a_canvas_written_out(scene):
    masks = all_presences(N, torch.device("cpu")).expand(-1, B, -1)
    expected = torch.stack([density(scene, mask) for mask in masks])
    assert_alike(scene.log_likelihoods, expected, inputs(scene))


def test_relaxed_masks_have_the_likelihood_and_gradient_of_a_canvas_written_out(scene):
    presence = torch.rand(2, B, N, requires_grad=True)
    expected = torch.stack([density(scene, mask) for mask in presence])
    assert_alike(scene.log_likelihood(presence), expected, [*inputs(scene), presence])


def test_second_derivatives_are_those_of_a_canvas_written_out(scene):
    """REBAR and RELAX differentiate a gradient by the presence once more."""
    presence = torch.rand(B, N, requires_grad=True)
    by = [*inputs(scene), presence]
    slopes = []
    for value in (scene.log_likelihood(presence), density(scene, presence)):
        (slope,) = torch.autograd.grad(value.sum(), presence, create_graph=True)
        second = torch.autograd.grad(slope.square().sum(), by, retain_graph=True)
        slopes.append(of_what_is_painted(second, by))
    torch.testing.assert_close(*slopes, rtol=1e-8, atol=1e-8)


def test_masks_may_have_any_leading_dimensions(scene):
    presence = torch.rand(2, 5, B, N)
    found = scene.log_likelihood(presence)
    assert found.shape == (2, 5, B)
    torch.testing.assert_close(found[1, 3], scene.log_likelihood(presence[1, 3]))


def test_the_canvas_is_the_one_written_out(scene):
    presence = torch.rand(B, N)
    found = scene.canvas(presence)
    torch.testing.assert_close(found, written_out(scene, presence), rtol=1e-12, atol=1e-12)
    assert not found.requires_grad


def test_the_first_opaque_layer_hides_all_others():
    paint = torch.rand(1, 2, 1, H, W)
    objects = Layers(paint, torch.ones_like(paint), torch.zeros(1, 2, 2, dtype=torch.long))
    background = torch.rand(1, 1, H, W)
    scene = Composition(background, background, objects, COMPOSITORS["over"], torch.tensor(SIGMA))
    torch.testing.assert_close(scene.canvas(torch.ones(1, 2)), paint[:, 0])
    torch.testing.assert_close(scene.canvas(torch.tensor([[0.0, 1.0]])), paint[:, 1])
    torch.testing.assert_close(scene.canvas(torch.zeros(1, 2)), background)


def test_large_bright_canvases_lose_no_precision_in_float32():
    """Sums of squares are of a million here, their differences of one nat."""
    torch.manual_seed(0)
    image = torch.rand(1, 1, 512, 512)
    corner = torch.randint(512 - 24, (1, 10, 2))
    objects = Layers(torch.rand(1, 10, 1, 24, 24), None, corner)
    exact = Composition(
        image, torch.zeros_like(image), objects, COMPOSITORS["sum"], torch.tensor(0.05)
    )
    rounded = Composition(
        image.float(),
        torch.zeros_like(image).float(),
        Layers(objects.paint.float(), None, corner),
        COMPOSITORS["sum"],
        torch.tensor(0.05).float(),
    )
    gained, expected = (s.log_likelihoods - s.log_likelihoods[:1] for s in (rounded, exact))
    torch.testing.assert_close(gained.double(), expected, rtol=0, atol=8.0)


# --- where a patch lies


@pytest.mark.parametrize("window", [(6.2, 5.1, 4.0), (-3.0, 30.0, 2.0), (13.9, 0.2, 4.0)])
def test_a_patch_lies_on_the_canvas_and_around_its_window_where_that_does(window):
    (y, x) = layers.corner_of(torch.tensor(window), (P, Q), (H, W)).tolist()
    assert 0 <= y <= H - P and 0 <= x <= W - Q
    cx, cy, _ = window
    assert not (P / 2 < cy < H - P / 2) or abs(y + P / 2 - cy) <= 0.5
    assert not (Q / 2 < cx < W - Q / 2) or abs(x + Q / 2 - cx) <= 0.5


def test_what_was_put_is_cut_again_and_nothing_else_changes():
    canvas, patch = torch.rand(B, C, H, W), torch.rand(B, C, P, Q)
    corner = torch.tensor([[0, 0], [5, 6], [3, 5]])
    before = canvas.clone()
    layers.put(canvas, corner, patch)
    assert torch.equal(layers.cut(canvas, corner, (P, Q)), patch)
    layers.put(canvas, corner, layers.cut(before, corner, (P, Q)))
    assert torch.equal(canvas, before)
