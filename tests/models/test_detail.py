"""How much of a thing a short code leaves, and how much evidence that allows."""

import pytest
import torch

from airscene.models.detail import LEFT, bounded, left_over

SIDE = 16.0


def things(glimpse: torch.Tensor) -> torch.Tensor:
    """Pictures with one thing each, shape (3, 1, 50, 60)."""
    pictures = torch.zeros(3, 1, 50, 60)
    pictures[:, :, 20:36, 10:26] = glimpse
    return pictures


def test_an_even_square_leaves_next_to_nothing():
    assert left_over(things(torch.ones(16, 16)), SIDE, 12) < 0.1


def test_strokes_leave_more_than_discs_and_may_give_less():
    y, x = torch.meshgrid(torch.arange(16) - 7.5, torch.arange(16) - 7.5, indexing="ij")
    disc = ((x**2 + y**2) < 36).float()
    ring = disc - ((x**2 + y**2) < 20).float()
    round_ones, rings = things(disc), things(ring)
    assert 2 * left_over(round_ones, SIDE, 12) < left_over(rings, SIDE, 12)
    assert bounded(100.0, round_ones, SIDE, 12) == 100
    given = bounded(1000.0, rings, SIDE, 12)
    assert given * left_over(rings, SIDE, 12) == pytest.approx(LEFT)
    assert left_over(rings, SIDE, 60) < left_over(rings, SIDE, 12)


def test_pictures_that_show_nothing_bound_nothing():
    assert left_over(torch.zeros(2, 1, 20, 20), SIDE, 12) == 0
    assert bounded(300.0, torch.zeros(2, 1, 20, 20), SIDE, 12) == 300
