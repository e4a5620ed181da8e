"""Objects fall, push each other, and rest; what falls over or off the table is told."""

import math

import numpy as np
import pytest

from airscene.painters.physics import settle
from airscene.painters.world import BLOCKS, CROCKERY

pytestmark = pytest.mark.usefixtures("drawing")


def dropped(world, kinds, poses):
    kind, pose = np.full((1, 3), -1), np.zeros((1, 3, 3))
    kind[0, : len(kinds)], pose[0, : len(kinds)] = kinds, poses
    after, good = settle(world, kind, pose)
    return after[0], bool(good[0])


@pytest.mark.parametrize("world", [BLOCKS, CROCKERY])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_what_stands_alone_stays_where_it_is(world, kind):
    after, good = dropped(world, [kind], [(0.3, -0.2, 2.5)])
    assert good
    assert np.abs(after[0, :2] - (0.3, -0.2)).max() < 0.02
    turn = (after[0, 2] - 2.5 + math.pi) % (2 * math.pi) - math.pi
    assert abs(turn) < 0.05


def test_objects_that_touch_push_each_other_and_the_rest_is_left():
    poses = [(0.0, 0.0, 0.0), (0.6, 0.0, math.pi)]  # two pans whose handles meet
    after, good = dropped(CROCKERY, [2, 2], poses)
    assert not good or np.abs(after[:2] - poses).max() > 0.02
    assert (after[2] == 0).all()


def test_what_stands_beside_the_table_or_on_another_is_not_good():
    assert not dropped(BLOCKS, [0], [(1.9, 0.0, 0.0)])[1]
    assert not dropped(BLOCKS, [0, 0], [(0.0, 0.0, 0.0), (0.0, 0.0, 0.0)])[1]


def test_an_empty_table_rests():
    assert dropped(BLOCKS, [], np.zeros((0, 3)))[1]
