import dataclasses
import math

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence
from torch.func import functional_call

from airscene.models import draw
from airscene.models.draw import DRAW, DRAWConfig, Drawing

BATCH, STEPS, HEIGHT, WIDTH, LATENT = 3, 3, 7, 10, 2
STANDARD = Normal(0.0, 1.0)

pytestmark = pytest.mark.usefixtures("double")


@pytest.fixture
def config() -> DRAWConfig:
    """The smallest model worth testing: a canvas that is not square, unlike patches."""
    sizes = {"height": HEIGHT, "width": WIDTH, "read": 3, "write": 4, "latent": LATENT, "lstm": 5}
    return DRAWConfig(steps=STEPS, **sizes)


def perturbed(config: DRAWConfig) -> DRAW:
    """The same model every time, its outputs far from their start."""
    torch.manual_seed(0)
    model = DRAW(config)
    with torch.no_grad():  # at its start a model's grids hardly move
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture
def model(config: DRAWConfig) -> DRAW:
    return perturbed(config)


def images(channels: int = 1, batch: int = BATCH) -> torch.Tensor:
    return torch.rand(batch, channels, HEIGHT, WIDTH)


def noise_for(batch: int = BATCH, steps: int = STEPS) -> torch.Tensor:
    return torch.randn(batch, steps, LATENT)


@pytest.fixture
def drawing(model) -> Drawing:
    torch.manual_seed(1)
    return model(images(), noise_for())


# --- the paper's equations, pixels counted from 1, each sum a loop


def direct_filters(parameters, points, height, width):
    """F_Y and F_X of one image, equations 19 to 26, and the intensity."""
    shift_x, shift_y, log_variance, log_stride, log_intensity = parameters.tolist()
    gx, gy = (width + 1) / 2 * (shift_x + 1), (height + 1) / 2 * (shift_y + 1)
    delta = (max(width, height) - 1) / (points - 1) * math.exp(log_stride)
    banks = []
    for g, pixels in ((gy, height), (gx, width)):
        bank = torch.zeros(points, pixels)
        for i in range(1, points + 1):
            mean = g + (i - points / 2 - 0.5) * delta
            for a in range(1, pixels + 1):
                bank[i - 1, a - 1] = math.exp(-((a - mean) ** 2) / (2 * math.exp(log_variance)))
            bank[i - 1] /= sum(bank[i - 1].tolist())
        banks.append(bank)
    return *banks, math.exp(log_intensity)


def direct_read(picture, parameters, points):
    """γ F_Y x F_Xᵀ of pictures (B, C, H, W), equation 27."""
    patch = torch.zeros(*picture.shape[:2], points, points)
    for b in range(len(picture)):
        Fy, Fx, intensity = direct_filters(parameters[b], points, *picture.shape[2:])
        for c, j, i in torch.cartesian_prod(*map(torch.arange, patch.shape[1:])).tolist():
            for y, x in torch.cartesian_prod(*map(torch.arange, picture.shape[2:])).tolist():
                patch[b, c, j, i] += intensity * Fy[j, y] * picture[b, c, y, x] * Fx[i, x]
    return patch


def direct_write(patch, parameters, height, width):
    """F_Yᵀ w F_X / γ of patches (B, C, N, N), equation 29."""
    canvas, points = torch.zeros(*patch.shape[:2], height, width), patch.shape[-1]
    for b in range(len(patch)):
        Fy, Fx, intensity = direct_filters(parameters[b], points, height, width)
        for c, y, x in torch.cartesian_prod(*map(torch.arange, canvas.shape[1:])).tolist():
            for j, i in torch.cartesian_prod(*map(torch.arange, patch.shape[2:])).tolist():
                canvas[b, c, y, x] += Fy[j, y] * patch[b, c, j, i] * Fx[i, x] / intensity
    return canvas


def direct_canvases(model: DRAW, image, noise):
    """The canvas after each step, equations 3 to 8, from the networks alone; and each mean of z."""
    c = model.config
    states = model.initial_state[:, None].expand(-1, len(image), -1)
    encoder, decoder = tuple(states[:2]), tuple(states[2:])
    canvas = model.initial_canvas.expand_as(image)
    canvases, means = [], []
    for eps in noise.unbind(1):
        error = image - canvas.sigmoid()
        parameters = model.read_grid(decoder[0])
        seen = [direct_read(picture, parameters, c.read) for picture in (image, error)]
        glimpse = torch.cat([patch.flatten(1) for patch in seen], 1)
        encoder = model.encoder(torch.cat([glimpse, decoder[0]], 1), encoder)
        mean, log_std = model.posterior(encoder[0]).split(c.latent, 1)
        decoder = model.decoder(mean + log_std.exp() * eps, decoder)
        patch = model.write_patch(decoder[0]).view(-1, c.channels, c.write, c.write)
        parameters = model.write_grid(decoder[0])
        canvas = canvas + direct_write(patch, parameters, *image.shape[2:])
        canvases.append(canvas)
        means.append(mean)
    return torch.stack(canvases, 1), torch.stack(means, 1)


def parameters_for(batch: int = BATCH) -> torch.Tensor:
    """Grids of every kind, many of them partly beyond the canvas."""
    torch.manual_seed(2)
    return torch.randn(batch, 5)


@pytest.mark.parametrize("height, width", [(HEIGHT, WIDTH), (WIDTH, HEIGHT), (6, 6), (1, 5)])
@pytest.mark.parametrize("points", [2, 5])
def test_filters_are_those_of_the_paper(height, width, points):
    parameters = parameters_for()
    found = draw.grid(parameters, points, height, width)
    for b in range(BATCH):
        Fy, Fx, intensity = direct_filters(parameters[b], points, height, width)
        torch.testing.assert_close(found.Fy[b, 0], Fy)
        torch.testing.assert_close(found.Fx[b, 0], Fx)
        assert float(found.intensity[b]) == pytest.approx(intensity)


@pytest.mark.parametrize("channels", [1, 3])
def test_read_and_write_are_those_of_the_paper(channels):
    parameters, points = parameters_for(), 4
    found = draw.grid(parameters, points, HEIGHT, WIDTH)
    picture, patch = images(channels), torch.randn(BATCH, channels, points, points)
    torch.testing.assert_close(found.read(picture), direct_read(picture, parameters, points))
    expected = direct_write(patch, parameters, HEIGHT, WIDTH)
    torch.testing.assert_close(found.write(patch), expected)


@pytest.mark.parametrize("channels", [1, 2])
@torch.no_grad()
def test_a_drawing_is_made_by_the_equations_of_the_paper(config, channels):
    model = perturbed(dataclasses.replace(config, channels=channels))
    image, noise = images(channels, batch=2), noise_for(batch=2)
    found = model(image, noise)
    canvases, means = direct_canvases(model, image, noise)
    torch.testing.assert_close(found.means, means)
    torch.testing.assert_close(found.canvas, canvases[:, -1].sigmoid())
    at_means, _ = direct_canvases(model, image, torch.zeros_like(noise))
    torch.testing.assert_close(model.canvases(image), at_means.sigmoid())


# --- the grid


def parameters_of(cx, cy, stride, points, variance) -> torch.Tensor:
    """What asks for a grid given in pixels, of intensity one."""
    shift = 2 * (cx - WIDTH / 2) / (WIDTH + 1), 2 * (cy - HEIGHT / 2) / (HEIGHT + 1)
    log_stride = math.log(stride * (points - 1) / (max(HEIGHT, WIDTH) - 1))
    return torch.tensor([[*shift, math.log(variance), log_stride, 0.0]])


def test_narrow_filters_a_pixel_apart_copy_the_pixels():
    image = images(batch=1)
    found = draw.grid(parameters_of(6.5, 2.5, 1.0, 3, variance=1e-4), 3, HEIGHT, WIDTH)
    torch.testing.assert_close(found.window, torch.tensor([[6.5, 2.5, 3.0]]))
    torch.testing.assert_close(found.read(image), image[:, :, 1:4, 5:8])
    canvas = torch.zeros(1, 1, HEIGHT, WIDTH)
    canvas[:, :, 1:4, 5:8] = image[:, :, 1:4, 5:8]
    torch.testing.assert_close(found.write(image[:, :, 1:4, 5:8]), canvas)


def test_a_narrow_filter_between_two_pixels_takes_their_mean():
    """It is far from both in its own deviations, so that each of its exponentials underflows."""
    bank = draw.filterbank(torch.tensor([[4.0]]), torch.tensor([1e-5]), 10)
    expected = torch.zeros(1, 1, 10)
    expected[..., 3:5] = 0.5
    torch.testing.assert_close(bank, expected)


def test_parameters_of_zero_span_the_canvas():
    found = draw.grid(torch.zeros(1, 5), 4, HEIGHT, WIDTH)
    stride = (WIDTH - 1) / 3
    expected = torch.tensor([[WIDTH / 2, HEIGHT / 2, 4 * stride]])
    torch.testing.assert_close(found.window, expected)
    middle, step = torch.tensor([WIDTH / 2]), torch.tensor([stride])
    ends = draw.positions(middle, step, 4)[0, [0, -1]]
    torch.testing.assert_close(ends, torch.tensor([0.5, WIDTH - 0.5]))  # first and last pixel


def test_grids_of_any_parameters_are_finite_and_so_are_their_gradients():
    """In the precision of training."""
    values = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4], dtype=torch.float32)
    parameters = torch.cartesian_prod(*[values] * 5).requires_grad_()
    found = draw.grid(parameters, 5, 50, 50)
    picture = torch.rand(1, 1, 50, 50, dtype=torch.float32).expand(len(parameters), -1, -1, -1)
    canvas = found.write(found.read(picture))
    canvas.sum().backward()
    assert canvas.isfinite().all() and found.window.isfinite().all()
    assert parameters.grad.isfinite().all()


def test_gradients_of_reading_and_writing_agree_with_finite_differences():
    def again(parameters, picture):
        found = draw.grid(parameters, 3, HEIGHT, WIDTH)
        return found.read(picture), found.write(found.read(picture))

    inputs = parameters_for().requires_grad_(), images().requires_grad_()
    assert torch.autograd.gradcheck(again, inputs)


# --- drawings


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("steps", [1, 5])
def test_a_drawing_holds_every_step_of_every_image(config, channels, likelihood, steps):
    model = DRAW(dataclasses.replace(config, channels=channels, likelihood=likelihood))
    found = model(images(channels), noise_for(steps=steps))
    assert found.means.shape == found.z.shape == (BATCH, steps, LATENT)
    assert found.windows.shape == (BATCH, steps, 3)
    assert found.kl.shape == (BATCH, steps)
    assert found.canvas.shape == (BATCH, channels, HEIGHT, WIDTH)
    assert found.elbo.shape == found.log_joint.shape == found.log_posterior.shape == (BATCH,)
    assert ((found.canvas > 0) & (found.canvas < 1)).all()


def test_the_latents_are_the_posterior_means_plus_scaled_noise(model, drawing):
    torch.manual_seed(1)
    images(), (noise := noise_for())
    torch.testing.assert_close(drawing.z, drawing.means + drawing.q.stddev * noise)


def test_each_step_reads_what_the_step_before_has_drawn(model):
    torch.manual_seed(1)
    image, noise = images(), noise_for()
    other = noise.clone()
    other[:, 0, 0] += 1
    moved = model(image, other).means - model(image, noise).means
    assert (moved[:, 0] == 0).all() and (moved[:, 1:] != 0).all()


def test_each_image_is_drawn_alone(model, drawing):
    torch.manual_seed(1)
    image, noise = images(), noise_for()
    alone = model(image[1:2], noise[1:2])
    torch.testing.assert_close(alone.canvas, drawing.canvas[1:2])
    torch.testing.assert_close(alone.elbo, drawing.elbo[1:2])


def test_windows_are_where_each_step_wrote(model, drawing):
    """The canvas changes most inside: what is left outside is the filters' own width."""
    canvases = model.canvases(drawing.image).logit()
    windows = model.infer(drawing.image).windows
    x, y = torch.arange(WIDTH) + 0.5, (torch.arange(HEIGHT) + 0.5)[:, None]
    for step in range(1, STEPS):
        change = (canvases[:, step] - canvases[:, step - 1])[:, 0].abs()
        cx, cy, side = windows[:, step, :, None, None].unbind(1)
        inside = ((x - cx).abs() < side / 2) & ((y - cy).abs() < side / 2)
        assert (change * inside).sum() > (change * ~inside).sum()


def test_infer_takes_the_posterior_means_unless_asked_for_a_sample(model):
    image = images()
    means, again = model.infer(image), model.infer(image)
    assert torch.equal(means.z, means.means) and torch.equal(means.canvas, again.canvas)
    sample = model.infer(image, sample=True)
    assert not torch.equal(sample.z, sample.means)
    assert not sample.canvas.requires_grad
    assert model.noise_shape == tuple(means.z.shape[1:])


def test_the_last_of_the_canvases_is_that_of_the_drawing(model):
    image = images()
    canvases = model.canvases(image)
    assert canvases.shape == (BATCH, STEPS, 1, HEIGHT, WIDTH) and not canvases.requires_grad
    torch.testing.assert_close(canvases[:, -1], model.infer(image).canvas)
    torch.testing.assert_close(canvases[:, -1], model.reconstruct(image))


@torch.no_grad()
def test_generated_images_are_drawn_from_the_prior(model):
    """With a posterior that ignores the image and equals the prior, inference generates too."""
    model.posterior.weight.zero_()
    model.posterior.bias.zero_()
    image = images(batch=4)
    torch.manual_seed(3)
    generated, count = model.generate(4)
    torch.manual_seed(3)
    inferred = model(image, torch.randn(4, *model.noise_shape))
    torch.testing.assert_close(generated, inferred.canvas)
    assert generated.shape == (4, 1, HEIGHT, WIDTH) and count is None
    assert not torch.allclose(generated[0], generated[1])


# --- densities


def test_the_gaussian_likelihood_has_its_constant(drawing):
    expected = Normal(drawing.canvas, 0.3).log_prob(drawing.image).sum((1, 2, 3))
    torch.testing.assert_close(drawing.log_likelihood, expected)
    square = (drawing.image - drawing.canvas).square().sum((1, 2, 3))
    constant = HEIGHT * WIDTH * math.log(0.3 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(drawing.log_likelihood, -square / (2 * 0.3**2) - constant)


def test_the_bernoulli_likelihood_is_that_of_binary_images(config):
    model = perturbed(dataclasses.replace(config, likelihood="bernoulli"))
    found = model(images().round(), noise_for())
    expected = Bernoulli(found.canvas).log_prob(found.image).sum((1, 2, 3))
    torch.testing.assert_close(found.log_likelihood, expected)


def test_the_elbo_is_the_likelihood_less_the_divergence_from_a_standard_normal(drawing):
    expected = kl_divergence(Normal(drawing.means, drawing.q.stddev), STANDARD).sum(-1)
    torch.testing.assert_close(drawing.kl, expected)
    mean, std = drawing.means, drawing.q.stddev  # equation 11
    paper = (mean.square() + std.square() - std.square().log() - 1).sum((1, 2)) / 2
    torch.testing.assert_close(drawing.elbo, drawing.log_likelihood - paper)


def test_joint_and_posterior_are_the_densities_of_the_sampled_latents(drawing):
    log_p, log_q = STANDARD.log_prob(drawing.z), drawing.q.log_prob(drawing.z)
    torch.testing.assert_close(drawing.log_joint, drawing.log_likelihood + log_p.sum((1, 2)))
    torch.testing.assert_close(drawing.log_posterior, log_q.sum((1, 2)))


def test_the_bound_of_one_sample_is_its_weight(model):
    image = images()
    torch.manual_seed(5)
    found = model.log_likelihood(image, samples=1)
    torch.manual_seed(5)
    sampled = model.infer(image, sample=True)
    torch.testing.assert_close(found, sampled.log_joint - sampled.log_posterior)
    assert not found.requires_grad


def test_the_bound_rises_with_the_number_of_samples_and_lies_above_the_elbo(model):
    """On average over 200 repetitions of one image."""
    torch.manual_seed(0)
    many = images(batch=1).expand(200, -1, -1, -1)
    elbo = model.infer(many, sample=True).elbo.mean()
    bounds = [model.log_likelihood(many, k).mean() for k in (1, 10, 100)]
    assert abs(elbo - bounds[0]) < bounds[1] - bounds[0]  # both estimate the same
    assert max(elbo, bounds[0]) < bounds[1] < bounds[2]


@torch.no_grad()
def test_the_bound_approaches_log_p_by_integration_over_a_grid(config):
    """One step of one latent, under a posterior that is not the prior: within 0.05 nats."""
    model = perturbed(dataclasses.replace(config, steps=1, latent=1))
    model.write_patch.weight.mul_(5)  # so that the latent makes a difference
    model.posterior.bias[1].add_(1.2)  # wide enough for importance weights that do not vary much
    image, z = images(batch=1), torch.linspace(-8, 8, 2001)
    posterior = model.infer(image).q
    noise = (z - posterior.mean) / posterior.stddev  # of which z is made
    found = model(image.expand(2001, -1, -1, -1), noise.view(2001, 1, 1))
    exact = float(found.log_joint.logsumexp(0)) + math.log(16 / 2000)
    assert found.log_likelihood.std() > 2
    bounds = model.log_likelihood(image.expand(300, -1, -1, -1), samples=100)
    assert float(bounds.logsumexp(0)) - math.log(300) == pytest.approx(exact, abs=0.05)


# --- learning


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_every_parameter_receives_a_gradient(config, channels, likelihood):
    torch.manual_seed(0)
    model = DRAW(dataclasses.replace(config, channels=channels, likelihood=likelihood))
    model(images(channels), noise_for()).elbo.mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_gradients_of_the_bound_agree_with_finite_differences(likelihood):
    sizes = {"height": 3, "width": 4, "read": 2, "write": 2, "latent": 1, "lstm": 2}
    model = perturbed(DRAWConfig(steps=2, likelihood=likelihood, **sizes))
    image, noise = torch.rand(2, 1, 3, 4), torch.randn(2, 2, 1)
    names, values = zip(*model.named_parameters(), strict=True)

    def bound(*values):
        return functional_call(model, dict(zip(names, values, strict=True)), (image, noise)).elbo

    assert torch.autograd.gradcheck(bound, values)


@torch.no_grad()
def test_a_new_model_reads_and_writes_the_whole_canvas_evenly():
    """A patch of ones adds about one to every pixel, and every pixel weighs on what is read."""
    torch.manual_seed(0)
    model = DRAW(DRAWConfig(height=30, width=30))
    ones = torch.ones(1, 1, 5, 5)
    written = draw.grid(model.write_grid.bias[None], 5, 30, 30).write(ones)
    assert written.min() > 0.3 and written.max() < 3
    seen = draw.grid(model.read_grid.bias[None], 5, 30, 30)
    weight = seen.write(ones)  # of each pixel in all that is read
    assert weight.min() > weight.max() / 10 and float(seen.intensity) == 1
    dark = torch.zeros(1, 1, 30, 30)
    assert model.infer(dark).canvas.mean() < 0.1


def test_a_small_model_learns_where_blobs_are():
    """Four fifths of the way from the best picture for all scenes at once to perfect copies."""
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    centre = 2 + 8 * torch.rand(512, 2, 1, 1)
    y, x = torch.arange(12.0).view(1, 1, -1, 1) + 0.5, torch.arange(12.0) + 0.5
    square = (x - centre[:, :1]).square() + (y - centre[:, 1:]).square()
    blobs = (-square / (2 * 1.5**2)).exp()
    sizes = {"height": 12, "width": 12, "read": 3, "write": 3, "latent": 4, "lstm": 48}
    model = DRAW(DRAWConfig(steps=4, sigma=0.1, **sizes))
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(300):
        batch = blobs[torch.randint(len(blobs), (64,))]
        loss = -model(batch, torch.randn(64, *model.noise_shape)).elbo.mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    constant = Normal(blobs.mean(0), 0.1).log_prob(blobs).sum((1, 2, 3)).mean()
    perfect = -144 * math.log(0.1 * math.sqrt(2 * math.pi))
    found = model.infer(blobs, sample=True).elbo.mean()
    assert found > constant + 0.8 * (perfect - constant)


# --- configuration and precision


def test_under_bfloat16_the_bound_is_finite_and_close_to_that_of_float32():
    """Within 0.3%, on an image of the default size."""
    torch.set_default_dtype(torch.float32)
    torch.manual_seed(0)
    model = DRAW(DRAWConfig(steps=5, lstm=32))
    image, noise = torch.rand(8, 1, 50, 50), torch.randn(8, *model.noise_shape)
    full = model(image, noise).elbo
    with torch.autocast("cpu", torch.bfloat16):
        half = model(image, noise).elbo
    half.mean().backward()
    assert half.dtype == torch.float32
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    torch.testing.assert_close(half, full, rtol=3e-3, atol=0)
