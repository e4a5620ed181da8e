from dataclasses import replace

import pytest
import torch
from torch import nn

from airscene.core import layers, spatial
from airscene.core.compositors import Layers
from airscene.estimators import expected_bound
from airscene.models.air import AIR
from airscene.models.attention import Recurrent, Search
from airscene.models.view import View

BATCH, STEPS, WHAT = 4, 3, 2


def blobs(*centres: tuple[float, float], height: int = 40, width: int = 50) -> torch.Tensor:
    """One image (1, 1, H, W) of round blobs, some 10 px across, around (x, y) in pixels."""
    y = torch.arange(height)[:, None] + 0.5
    x = torch.arange(width)[None] + 0.5
    parts = [torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 18) for cx, cy in centres]
    return torch.stack(parts).sum(0).clamp(max=1)[None, None]


def view(left: torch.Tensor, image: torch.Tensor | None = None) -> View:
    """What is left of an image, where objects add up."""
    return View(left if image is None else image, left, torch.zeros_like(left), None)


def place_found(search: Search, left: torch.Tensor, rank: int = 0) -> torch.Tensor:
    """Where a search goes, (B, 2)."""
    return search.find(view(left), rank)[0]


@pytest.fixture
def search(double) -> Search:
    torch.manual_seed(0)
    return Search((1, 40, 50), side=12.0, points=6, opaque=False, patch=(20, 20))


@pytest.fixture
def dair(tiny_config, double) -> AIR:
    """A tiny DAIR in float64, its outputs far from their start."""
    torch.manual_seed(0)
    dair = AIR(replace(tiny_config, feedback="residual"))
    with torch.no_grad():
        for parameter in dair.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return dair


def given(batch: int = BATCH, steps: int = STEPS) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return torch.rand(batch, 1, 10, 12), torch.randn(batch, steps, 3 + WHAT)


# --- search


@pytest.mark.parametrize("place", [(8.0, 9.0), (25.0, 20.0), (41.0, 30.0)])
def test_before_any_learning_it_finds_the_ink_wherever_it_is(search, place):
    found = place_found(search, blobs(place))[0]
    assert (found - torch.tensor(place)).norm() < 2.5


def test_of_two_objects_it_finds_one_and_not_the_middle(search):
    places = torch.tensor([(14.0, 12.0), (34.0, 28.0)])
    found = place_found(search, blobs(*places.tolist()))[0]
    assert (found - places).norm(dim=-1).min() < 2.5


def test_the_next_best_place_is_the_other_object_and_not_the_neighbourhood_of_the_first(search):
    places = torch.tensor([(14.0, 12.0), (34.0, 28.0)])
    image = (blobs(places[0].tolist()) + 0.8 * blobs(places[1].tolist())).clamp(max=1)
    search.side = 24.0  # the neighbourhood is then as large as a blob
    found = torch.cat([place_found(search, image, rank) for rank in (0, 1)])
    assert (found - places).norm(dim=-1).max() < 2.5


def test_where_all_places_are_left_out_it_still_finds_one(search):
    assert place_found(search, blobs((14.0, 12.0)), 100).isfinite().all()


def test_it_goes_on_to_what_is_unexplained(search):
    both, first = blobs((14.0, 12.0), (34.0, 28.0)), blobs((14.0, 12.0))
    found = place_found(search, both - first)[0]
    assert (found - torch.tensor([34.0, 28.0])).norm() < 2.5


def test_it_moves_with_the_object(search):
    """Within a place of the reduced picture, which is 2.4 pixels."""
    with torch.no_grad():
        found = torch.cat([place_found(search, blobs((16.0 + shift, 16.0))) for shift in range(11)])
    moved = found[:, 0] - found[0, 0]
    torch.testing.assert_close(moved, torch.arange(11.0), atol=2.4, rtol=0)


def test_every_weight_of_the_salience_is_reached_through_the_place_found(search):
    place_found(search, torch.rand(3, 1, 40, 50)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in search.salience.parameters())


def test_the_place_found_has_the_slope_of_finite_differences(search):
    """The choice of the best place has no slope; around it the average has."""
    image, weight = torch.rand(2, 1, 40, 50), search.salience[-1].weight
    (slope,) = torch.autograd.grad(place_found(search, image).sum(), weight)
    step = 1e-6 * torch.randn_like(weight)
    with torch.no_grad():
        weight.add_(step)
        after = place_found(search, image).sum()
        weight.sub_(2 * step)
        before = place_found(search, image).sum()
    torch.testing.assert_close((after - before) / 2, (slope * step).sum(), rtol=1e-4, atol=0)


@pytest.mark.parametrize(("side", "reduced"), [(20.0, (20, 25)), (10.0, (40, 50)), (5.0, (40, 50))])
def test_an_object_spans_the_same_number_of_points_whatever_its_size(side, reduced):
    assert Search((1, 40, 50), side, 6, False, (40, 50)).salience.reduced == reduced


def test_the_places_are_those_of_the_cells_that_are_compared(double):
    places = Search((1, 40, 50), 20.0, 6, False, (40, 50)).places.view(10, 13, 2)
    assert places[0, 0].tolist() == [1, 1]  # the middle of the first point of 2 x 2 pixels
    assert places[0, 1].tolist() == [5, 1] and places[1, 0].tolist() == [1, 5]


@pytest.mark.parametrize("opaque", [False, True])
def test_a_large_canvas_is_searched_by_parts_to_the_same_places(opaque, double):
    """Step after step, from the best and from the second best place, with the same gradient."""
    torch.manual_seed(0)
    whole = Search((2, 120, 150), side=10.0, points=6, opaque=opaque, patch=(14, 14))
    parts = Search((2, 120, 150), side=10.0, points=6, opaque=opaque, patch=(14, 14))
    parts.load_state_dict(whole.state_dict())
    assert parts.local
    whole.local = False
    image = torch.rand(3, 2, 120, 150)
    for rank in (0, 1):
        expected, slopes = places_of(whole, image, rank)
        found, others = places_of(parts, image, rank)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        for slope, other in zip(slopes, others, strict=True):
            torch.testing.assert_close(other, slope, rtol=1e-5, atol=1e-7)


def places_of(
    search: Search, image: torch.Tensor, rank: int
) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Where four steps go, when each patch is painted there, (4, B, 2), and the gradient."""
    opaque = search.salience.opaque
    seen = torch.ones_like(image[:, :1]) if opaque else None
    behind = torch.full_like(image, 0.5 if opaque else 0.0)
    state, found = (rank, None), []
    seen_view = View(image, image - behind, behind, seen)
    paint = torch.linspace(0.1, 0.9, 14 * 14).view(1, 1, 1, 14, 14).expand(3, 1, 2, 14, 14)
    for _ in range(4):
        place, field = search.find(seen_view, *state)
        found.append(place)
        window = torch.cat([place, torch.full_like(place[:, :1], 10.0)], -1)
        corner = layers.corner_of(window, (14, 14), (120, 150))[:, None]
        opacity = paint[:, :, :1] if opaque else None
        seen_view, _ = seen_view.after(Layers(paint, opacity, corner))
        state = (0, field)
    places = torch.stack(found)
    slopes = torch.autograd.grad(places.square().sum(), [*search.salience.parameters()])
    return places.detach(), slopes


def test_it_glances_at_the_unexplained_and_at_the_image(search):
    image = blobs((14.0, 12.0), (34.0, 28.0))
    unexplained = image - blobs((14.0, 12.0))
    features, centre, _ = search(search.start(image), torch.zeros(1, 5), view(unexplained, image))
    assert features.shape == (1, search.features)
    seen, whole = features.view(2, 6, 6)
    torch.testing.assert_close(seen, whole, atol=0.01, rtol=0)  # the first blob is far away
    assert seen.max() > 0.5
    torch.testing.assert_close(
        centre[0], 2 * place_found(search, unexplained)[0] / torch.tensor([50.0, 40.0]) - 1
    )


# --- the recurrent way


def test_the_recurrent_way_is_an_lstm_that_remembers_at_first(double):
    torch.manual_seed(0)
    ours, theirs = Recurrent(6, 2, 4), nn.LSTMCell(6 + 2, 4)
    with torch.no_grad():  # torch orders the gates alike: input, forget, cell, output
        theirs.weight_ih.copy_(
            torch.cat([ours.image_gates.weight, ours.step_gates.weight[:, :2]], 1)
        )
        theirs.weight_hh.copy_(ours.step_gates.weight[:, 2:])
        theirs.bias_ih.copy_(ours.image_gates.bias)
        theirs.bias_hh.zero_()[4:8] = 1
    image, latents = torch.rand(3, 6), torch.randn(2, 3, 2)
    state, reference = ours.start(image), (torch.zeros(3, 4), torch.zeros(3, 4))
    for latent in latents:
        hidden, centre, state = ours(state, latent, view(image[..., None, None]))
        reference = theirs(torch.cat([image, latent], -1), reference)
        torch.testing.assert_close(hidden, reference[0])
        assert not centre.any()


# --- DAIR as a whole


def test_each_step_of_dair_reads_what_the_canvas_leaves(dair, monkeypatch):
    read = []
    find = Search.find
    monkeypatch.setattr(
        Search, "find", lambda self, seen, *state: read.append(seen) or find(self, seen, *state)
    )
    image, noise = given()
    found = dair(image, noise)
    for k, seen in enumerate(given.left for given in read):
        torch.testing.assert_close(seen, image - found.scene.painted[:, :k].sum(1))
    assert len(read) == STEPS and not any(seen.left.requires_grad for seen in read)


def test_dair_encodes_what_the_canvas_leaves(dair, monkeypatch):
    seen = []
    crop = spatial.crop
    monkeypatch.setattr(
        spatial, "crop", lambda image, *rest: seen.append(image) or crop(image, *rest)
    )
    image, noise = given()
    found = dair(image, noise)
    glimpsed = [picture for picture in seen if picture.shape[1] == 1]  # glances have two
    torch.testing.assert_close(glimpsed[2], image - found.scene.painted[:, :2].sum(1))


def test_every_parameter_of_dair_receives_a_gradient(dair):
    expected_bound(dair(*given())).mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in dair.parameters())


def test_dair_goes_on_for_as_many_steps_as_it_is_asked(dair):
    image, noise = given(steps=7)
    long, short = dair(image, noise), dair(image, noise[:, :STEPS])
    assert torch.equal(short.posterior.logits, long.posterior.logits[:, :STEPS])
    assert long.scene.painted.shape == (BATCH, 7, 1, 10, 12)


# --- several searches


def searched(dair: AIR, searches: int) -> tuple[AIR, torch.Tensor]:
    """A DAIR that searches so often and is unsure of every step's presence, and images."""
    dair.config = replace(dair.config, searches=searches)
    with torch.no_grad():
        dair.odds_weight.zero_()
        dair.attend[-1].weight[0], dair.attend[-1].bias[0] = 0, 0
    return dair, given(batch=20)[0]


def test_of_several_searches_the_one_with_the_highest_bound_is_kept(dair):
    dair, image = searched(dair, 3)
    noise = torch.zeros(len(image), STEPS, dair.latents)
    each = [dair(image, noise, rank=rank) for rank in range(3)]
    bounds = torch.stack([found.elbo for found in each])
    kept = dair.infer(image)
    torch.testing.assert_close(kept.elbo, bounds.amax(0))
    best = bounds.argmax(0)
    assert len(best.unique()) == 3  # each of the searches is the best one of some image
    for found in (lambda f: f.where, lambda f: f.q_what.scale, lambda f: f.scene.painted):
        of_each = torch.stack([found(one) for one in each])
        assert torch.equal(found(kept), of_each[best, torch.arange(len(image))])


def test_samples_are_those_of_the_first_search(dair):
    """Bounds are taken of samples, and which search is best would depend on them."""
    once, often = (searched(dair, searches) for searches in (1, 3))
    bounds = []
    for model, image in (once, often):
        torch.manual_seed(2)
        bounds.append(model.elbo(image))
    assert torch.equal(*bounds)


def test_some_images_of_an_inference_are_those_that_were_taken(dair):
    image, noise = given()
    found, rows = dair(image, noise), torch.tensor([2, 0])
    some = found.take(rows)
    torch.testing.assert_close(some.elbo, found.elbo[rows])
    torch.testing.assert_close(
        some.canvas(some.posterior.mode), found.canvas(found.posterior.mode)[rows]
    )
    back = found.put(torch.tensor([0, 2]), some)  # the two change places
    assert torch.equal(
        back.where, found.where[[0, 1, 2, 3]].index_copy(0, torch.tensor([0, 2]), some.where)
    )
