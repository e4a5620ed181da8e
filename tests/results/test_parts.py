"""Which pieces belong to a larger object."""

import numpy as np
import pytest

from airscene.results.parts import wholes


def blocks(*places, size=(40, 40)) -> np.ndarray:
    """Rectangles (y0, y1, x0, x1), the k-th of label k."""
    labels = np.zeros(size, np.int32)
    for k, (top, bottom, left, right) in enumerate(places, start=1):
        labels[top:bottom, left:right] = k
    return labels


LARGE = (10, 20, 10, 20)


@pytest.mark.parametrize(
    ("other", "is_part"),
    [
        ((10, 20, 20, 22), True),  # a thin slice at its side
        ((10, 20, 20, 23), False),  # more than a quarter of its area
        ((10, 20, 22, 24), False),  # as small, but apart
        ((19, 20, 20, 28), False),  # touches it with its narrow side
    ],
)
def test_a_part_is_small_and_touches_much_of_what_it_leans_on(other, is_part):
    for order in ((LARGE, other), (other, LARGE)):
        found = wholes(blocks(*order))
        large = order.index(LARGE) + 1
        assert found.tolist() == [0, *([large] * 2 if is_part else [1, 2])]


def test_a_part_of_a_part_belongs_to_the_whole():
    assert wholes(blocks((20, 21, 10, 12), (20, 22, 12, 20), LARGE)).tolist() == [0, 3, 3, 3]


def test_the_part_leans_on_the_neighbour_that_it_shares_most_with():
    between = (12, 18, 20, 22)
    right = (13, 33, 22, 32)
    assert wholes(blocks(LARGE, between, right)).tolist() == [0, 1, 1, 3]


def test_nothing_has_no_parts():
    assert wholes(np.zeros((5, 5), np.int32)).tolist()[0] == 0


def test_parts_are_the_same_however_many_rows_are_compared_at_a_time(monkeypatch):
    labels = blocks(*[(k, k + 5, 20, 22) for k in range(0, 40, 5)], (0, 40, 10, 20), size=(41, 23))
    whole = wholes(labels).tolist()
    assert whole == [0, *([9] * 9)]
    for rows in (1, 7):
        monkeypatch.setattr("airscene.results.parts.ROWS", rows)
        assert wholes(labels).tolist() == whole
