"""Tracer particles in bulk water, against `trackpy.locate` with the settings of its walkthrough.

There is no truth. Of what `trackpy.locate` finds, the share is told that a model finds within four
pixels, no object counting twice, and how many objects the model finds for each of trackpy's.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import trackpy
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from airscene.data.whole import read_pictures
from airscene.results.labelling import Labelled
from airscene.results.whole import Found
from real_pictures import configured, trained
from worst import save_unlike

SET, SIZE = "particles_bulk_water", 7.0  # rough length of a particle in pixels
DIAMETER, LEAST_MASS = 11, 200
NEAR = 4.0  # pixels


def against_trackpy(
    data: Path, seeds: range, iterations: int | None, worst: Path | None
) -> Iterator[dict]:
    """A row for each seed, and one of trackpy."""
    frames = np.load(data / f"{SET}.npz")["x"]
    started = time.perf_counter()
    trackpy.quiet()
    located = [trackpy.locate(f, DIAMETER, minmass=LEAST_MASS, invert=True) for f in frames]
    reference = [table[["x", "y"]].to_numpy() for table in located]
    row = {"set": SET, "method": "trackpy", "pictures_s": time.perf_counter() - started}
    yield row | {"pictures": len(frames), "found": sum(map(len, reference))}
    with tempfile.TemporaryDirectory() as place:
        source = Path(place) / "pictures.npy"
        np.save(source, frames)
        for seed in seeds:
            config = configured(source, SIZE, seed, iterations)
            found, row = trained(config, source, Path(place) / f"run-{seed}")
            yield {"set": SET} | row | agreement(found, reference)
            if worst and seed == seeds[0]:
                known = map(Found, read_pictures([source]), found)
                save_unlike(worst / f"worst-{SET}.png", [*known], reference)


def agreement(found: list[Labelled], reference: list[np.ndarray]) -> dict:
    """How many there are, and what share of the reference is found."""
    number, known = sum(map(len, found)), sum(map(len, reference))
    near = sum(matched(middles(one), at) for one, at in zip(found, reference, strict=True))
    table = {"pictures": len(found), "reference": known, "found": number}
    return table | {"within_4px": near / known, "found_per_reference": number / known}


def middles(found: Labelled) -> np.ndarray:
    """The middle of each box, shape (K, 2)."""
    return (found.boxes[:, :2] + found.boxes[:, 2:] - 1) / 2


def matched(found: np.ndarray, reference: np.ndarray) -> int:
    """How many of some places are near to another one of their own."""
    near = cdist(reference, found) <= NEAR
    rows, columns = linear_sum_assignment(near, maximize=True)
    return int(near[rows, columns].sum())
