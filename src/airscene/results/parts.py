"""Parts of objects: small pieces that lean on a larger one and were taken for objects themselves.

What an object's paint leaves of it, at its edge or in its texture, may pay for a second object.
Such a piece is much smaller than what it leans on, and touches it along much of its outline. An
object of that size which only just touches a larger one stays an object.
"""

from collections.abc import Iterator

import numpy as np
from scipy import sparse

SMALL = 0.25  # area of a part, at most, in that of what it leans on
LEANS = 0.3  # share of its outline, at least, along which a part touches what it leans on
ROWS = 1024  # of pixels that are looked at a time, as pictures may be huge


def wholes(labels: np.ndarray) -> np.ndarray:
    """For each label the label of the object that it belongs to, its own if it is no part.

    Args:
        labels: k where a pixel shows the k-th object, else 0, shape (H, W).

    Returns:
        Shape (K + 1,), where K is the largest label; 0 for 0.

    >>> labels = np.zeros((9, 9), int)
    >>> labels[1:6, 1:6], labels[1:6, 6], labels[8, 8] = 1, 2, 3
    >>> wholes(labels).tolist()
    [0, 1, 1, 3]
    """
    number = max(2, int(labels.max(initial=0)) + 1)
    strips = [labels[start : start + ROWS] for start in range(0, len(labels), ROWS)]
    area = np.sum([np.bincount(strip.flatten(), minlength=number) for strip in strips], 0)
    shared = _shared(labels, number)
    outline = np.asarray(shared.sum(1)).flatten()
    shared = shared[:, 1:].tocsr()  # what is shared with objects, not with what lies behind
    found = np.arange(len(area))
    # the largest first: what a part leans on is known by then
    for k in np.argsort(-area, kind="stable"):
        own = slice(*shared.indptr[k : k + 2])
        if k == 0 or own.start == own.stop:
            continue
        most = shared.data[own].argmax()
        other, length = shared.indices[own][most] + 1, shared.data[own][most]
        if area[k] < SMALL * area[other] and length > LEANS * outline[k]:
            found[k] = found[other]
    return found


def relabel(labels: np.ndarray, new: np.ndarray) -> None:
    """Gives each label k, in place, the value new[k], without a copy of the picture.

    >>> labels = np.array([[0, 2], [1, 2]])
    >>> relabel(labels, np.array([0, 1, 1]))
    >>> labels.tolist()
    [[0, 1], [1, 1]]
    """
    for start in range(0, len(labels), ROWS):
        labels[start : start + ROWS] = new[labels[start : start + ROWS]]


def _shared(labels: np.ndarray, number: int) -> sparse.csr_array:
    """How many sides of pixels each two labels share, each with each, shape (K + 1, K + 1)."""
    total = sparse.csr_array((number, number), dtype=np.int64)
    for one, other in _neighbours(labels):
        differ = one != other
        pair = one[differ], other[differ]
        some = sparse.coo_array((np.ones(len(pair[0]), np.int64), pair), total.shape)
        total = total + some.tocsr()
    return total + total.T


def _neighbours(labels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pixels and the pixels beside them, part by part."""
    for start in range(0, len(labels), ROWS):
        rows = labels[start : start + ROWS + 1]
        yield rows[:-1], rows[1:]
        yield rows[:ROWS, :-1], rows[:ROWS, 1:]
