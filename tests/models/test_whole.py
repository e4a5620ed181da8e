"""AIR of whole pictures: its bound against sums over all presences, and what size cannot change."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from airscene.data.contrast import Contrast
from airscene.models.places import Sheet, pasted
from airscene.models.regrouping import Regrouping
from airscene.models.whole import WholeAIR
from airscene.models.whole_config import WholeConfig

CONFIG = WholeConfig(
    steps=6,
    height=16,
    width=20,
    glimpse=5,
    what=3,
    hidden=8,
    contrast=Contrast(5.0, "bright", (1.0, 1.0, 1.0)),
)
PRESENT = 2.0  # logit that makes up for paint which is of nothing


@pytest.fixture
def model(double) -> WholeAIR:
    """A model far from its start, the same one every time."""
    torch.manual_seed(1)
    model = WholeAIR(CONFIG)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        model.odds_weight.fill_(0.2)
        [*model.attend.parameters()][-1][0] += PRESENT
    model.log_odds.fill_(math.log(0.3))
    return model


@pytest.fixture
def picture(double) -> torch.Tensor:
    """Blobs of several brightnesses, shape (1, 50, 40)."""
    generator = torch.Generator().manual_seed(0)
    picture = torch.zeros(1, 50, 40)
    for _ in range(14):
        y, x = (int(torch.randint(n - 5, (), generator=generator)) for n in (50, 40))
        picture[:, y : y + 5, x : x + 4] = 0.3 + 0.7 * torch.rand((), generator=generator)
    return picture


def inferred(model, picture):
    image = picture[None, :, :16, :20]
    noise = torch.randn(1, 6, model.latents, generator=torch.Generator().manual_seed(2))
    return image, model(image, noise)


def test_the_bound_is_the_sum_over_all_presences(model, picture):
    image, found = inferred(model, picture)
    objects, number = found.objects, len(found.objects)
    assert 2 <= number <= 6
    s, cost = objects.logit.sigmoid(), model.score.cost(objects)
    bound = torch.zeros(())
    for mask in itertools.product((0.0, 1.0), repeat=number):
        m = torch.tensor(mask)
        probability = torch.where(m > 0, s, 1 - s).prod()
        paint = m[:, None, None, None] * objects.paint
        canvas = pasted(torch.zeros_like(found.canvas), objects.row, objects.corner, paint)
        likelihood = Normal(found.sheet.inner(canvas), model.sigma).log_prob(image).sum()
        value = likelihood + (m * (model.log_odds - cost)).sum() - probability.log()
        bound = bound + probability * value
    torch.testing.assert_close(model.score.bound(found)[0], bound)


def test_each_crop_of_a_batch_has_its_own_bound(model, picture):
    crops = torch.stack([picture[:, :16, :20], picture[:, 20:36, 10:30], picture[:, 30:46, :20]])
    noise = torch.randn(3, 6, model.latents)
    together = model.score.bound(model(crops, noise))
    apart = [model.score.bound(model(crops[k : k + 1], noise[k : k + 1])) for k in range(3)]
    torch.testing.assert_close(together, torch.cat(apart))


def test_the_sampled_bound_is_the_bound_on_average(model, picture):
    image = picture[None, :, :16, :20].expand(500, -1, -1, -1)
    torch.manual_seed(0)
    with torch.no_grad():
        exact = model.elbo(image)
        sampled = model.log_likelihood(image, 1)
    error = ((exact.var() + sampled.var()) / len(image)).sqrt()
    assert abs(exact.mean() - sampled.mean()) < 4 * error
    assert error < 0.05 * exact.std() + 5


def test_more_samples_give_a_tighter_bound(model, picture):
    image = picture[None, :, :16, :20].expand(50, -1, -1, -1)
    torch.manual_seed(0)
    assert model.log_likelihood(image, 20).mean() > model.log_likelihood(image, 1).mean()


def test_gradients_are_those_of_finite_differences_in_the_first_pass(model, picture, monkeypatch):
    monkeypatch.setattr("airscene.models.whole.PASSES", 1)  # before which nothing was taken off
    model.odds_weight.data.zero_()  # no gradient passes through the odds
    image, _ = inferred(model, picture)
    noise = torch.randn(1, 6, model.latents, generator=torch.Generator().manual_seed(2))
    bias, last = model.decoder.correction[-1].bias, model.attend[-1].bias
    model.score.bound(model(image, noise))[0].backward()
    own = [(bias, 12), (last, 0), (last, 1), (last, 2), (last, 5)]
    for parameter, index in (*own, (model.sizes, 0), (model.sizes, 1)):
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                parameter[index] += step
                values.append(float(model.score.bound(model(image, noise))[0]))
                parameter[index] -= step
        difference = (values[0] - values[1]) / 2e-6
        assert float(parameter.grad[index]) == pytest.approx(difference, rel=1e-4, abs=1e-5)


def density(model, sheet, objects):
    """Log density of one picture and of its objects, up to a constant, in nats."""
    error = sheet.left.square().sum() / (2 * model.sigma.square())
    return float((model.log_odds - model.score.cost(objects).detach()).sum() - error)


def test_other_ways_gain_what_they_add_to_the_density(model, picture, monkeypatch):
    monkeypatch.setattr("airscene.models.regrouping.ROUNDS", 1)
    monkeypatch.setattr("airscene.models.regrouping.WORTH", 0.0)
    regroup = Regrouping(model._at, model.score, 2 * CONFIG.side)  # so that neighbours are far
    with torch.no_grad():
        found = model.explain_whole(picture).moved(model.margin)
        sheet = Sheet.of(picture[None], model.margin).less(found.row, found.corner, found.paint)
        ways = regroup._ways(sheet, found, np.ones(len(found), bool))
        gains = regroup._gains(sheet, found, ways)
        before = density(model, sheet, found)
        kinds = (ways.gone >= 0).sum(1), ways.some.sum(1)
        assert {*zip(*(kind.tolist() for kind in kinds), strict=True)} == {(1, 2), (2, 1), (3, 2)}
        for k in range(len(ways)):
            less, other, _ = regroup._taken(sheet, found, ways[k : k + 1])
            assert len(other) == len(found) + kinds[1][k] - kinds[0][k]
            assert density(model, less, other) - before == pytest.approx(gains[k], abs=1e-6)
        less, other, changed = regroup(sheet, found)
    assert gains.max() > 0  # or else nothing was taken below
    assert density(model, less, other) >= before + gains.max() - 1e-6
    assert changed.any() and len(changed) == len(other)


def test_the_objects_are_the_same_wherever_strips_end(model, picture):
    whole = model.explain_whole(picture)
    assert len(whole) > 3
    for strip in (3, 17):
        again = model.explain_whole(picture, strip)
        torch.testing.assert_close(again.window, whole.window)
        torch.testing.assert_close(again.logit, whole.logit)


def test_the_objects_are_the_same_wherever_they_lie_in_a_picture(model, picture):
    found, uneven = [], picture * (0.7 + 0.3 * torch.rand_like(picture))  # no two places are equal
    for y, x in ((25, 25), (37, 41)):
        larger = torch.zeros(1, 130, 110)
        larger[:, y : y + 50, x : x + 40] = uneven
        objects = model.explain_whole(larger)
        found.append((objects.window - torch.tensor([x, y, 0]), objects.logit))
    assert len(found[0][1]) >= 5
    torch.testing.assert_close(found[0], found[1])


def test_the_end_of_a_picture_is_told_from_black(model):
    half = torch.zeros(1, 20, 20)
    half[:, 6:14, :4] = 1
    black = torch.nn.functional.pad(half, [20, 0])
    zeros = torch.zeros(1, model.latents)
    found = []
    for picture, x in ((half, 1), (black, 21)):
        sheet = Sheet.of(picture[None], model.margin)
        pixel = torch.tensor([[10 + model.margin, x + model.margin]])
        found.append(model.explain(sheet, torch.tensor([0]), pixel, zeros))
    cut, whole = found
    assert (cut.q_where.loc - whole.q_where.loc).abs().max() > 1e-3
    assert cut.paint[:, :, :, : model.margin - int(cut.corner[0, 1])].eq(0).all()
    assert whole.paint[:, :, :, : model.margin - int(cut.corner[0, 1])].ne(0).any()


def test_a_picture_without_anything_has_no_objects(model):
    assert len(model.explain_whole(torch.zeros(1, 30, 7))) == 0
    assert len(model.explain_whole(torch.zeros(1, 1, 1))) == 0


def test_pictures_from_the_prior_hold_as_many_objects_as_the_poisson_process(model):
    torch.manual_seed(0)
    model.log_odds.fill_(math.log(0.5))
    _, count = model.generate(2000)
    expected = 0.5 * 16 * 20 / CONFIG.side**2
    assert count.double().mean() == pytest.approx(expected, rel=0.06)
    assert count.double().var() == pytest.approx(expected, rel=0.12)
