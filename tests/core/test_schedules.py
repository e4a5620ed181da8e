import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airscene.core.schedules import check, value_at
from airscene.errors import UserError

POINTS = ((0.2, 1e-4), (0.6, 1e-2), (1.0, 1e-3))


@pytest.mark.parametrize(
    ("progress", "value"), [(0.4, 1e-3), (0.3, 10**-3.5), (0.8, 10**-2.5), (0.7, 10**-2.25)]
)
def test_between_points_the_logarithm_is_linear(progress, value):
    assert value_at(POINTS, progress) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("progress, value", POINTS)
def test_points_are_met(progress, value):
    assert value_at(POINTS, progress) == pytest.approx(value, rel=1e-9)


def test_the_ends_are_constant():
    assert value_at(POINTS, 0.0) == 1e-4
    assert value_at(((0.1, 5.0), (0.5, 7.0)), 0.9) == 7.0


def test_one_point_is_a_constant():
    assert value_at(((0.5, 3.0),), 0.0) == value_at(((0.5, 3.0),), 1.0) == 3.0


@given(st.floats(0, 1))
def test_values_stay_between_the_smallest_and_the_largest(progress):
    assert 1e-4 * (1 - 1e-9) <= value_at(POINTS, progress) <= 1e-2 * (1 + 1e-9)


def test_a_sound_schedule_passes():
    check("--x", POINTS)
    check("--x", ((0.0, 1.0),))


@pytest.mark.parametrize(
    ("points", "fault"),
    [
        ((), "empty"),
        (((0.5, 1.0), (0.2, 1.0)), "0.5 before 0.2; it must rise"),
        (((0.5, 1.0), (0.5, 2.0)), "rise"),
        (((0.0, 1.0), (math.nan, 2.0)), "rise"),
        (tuple((k / 2000, 1.0) for k in range(1001)), "1,001 pairs; give at most 1,000"),
    ],
)
def test_a_faulty_schedule_is_refused_by_its_flag(points, fault):
    with pytest.raises(UserError, match=f"^--training.x .*{fault}"):
        check("--training.x", points)
