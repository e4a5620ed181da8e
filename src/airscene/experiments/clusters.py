"""Which digits are alike, by appearance alone: clusters of codes, held against the labels."""

from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from airscene.core.counts import presence_of
from airscene.data import Scenes
from airscene.models.base import Model

CLUSTERS = (10, 30)  # as many as there are digits, and enough for ways of writing them
STARTS = 10  # of k-means
BATCH = 500
NEAR = 0.2  # of a window's side


def clusters_of(model: Model, scenes: Scenes, seed: int) -> dict[str, Any]:
    """Clusters of the codes of what a model finds, whose labels only the score reads.

    Args:
        model: a trained model with objects.
        scenes: scenes with their truth.
        seed: of k-means.

    Returns:
        How many objects were found at a true digit, and for each number of clusters their purity,
        that is the share of objects whose label is the commonest of their cluster, and the adjusted
        Rand index of clusters and labels.
    """
    codes, labels = found_digits(model, scenes)
    if len(codes) < max(CLUSTERS):
        return {"objects": len(codes)}
    groups = {
        k: KMeans(k, n_init=STARTS, random_state=seed).fit_predict(codes)  # type: ignore[arg-type]
        for k in CLUSTERS
    }
    scores = {
        str(k): {
            "purity": purity(labels, group),
            "adjusted_rand_index": float(adjusted_rand_score(labels, group)),
        }
        for k, group in groups.items()
    }
    return {"objects": len(codes), **scores}


def purity(labels: np.ndarray, groups: np.ndarray) -> float:
    """The share of things whose label is the commonest of their group, in [0, 1].

    >>> purity(np.array([1, 1, 2, 2]), np.array([0, 0, 0, 1]))
    0.75
    """
    commonest = (np.bincount(labels[groups == group]).max() for group in np.unique(groups))
    return float(sum(commonest) / len(labels))


def found_digits(model: Model, scenes: Scenes) -> tuple[np.ndarray, np.ndarray]:
    """Codes (T, D) of all objects that are found at a true digit, and its label (T,).

    An object is at a digit if the middle of its window is within `NEAR` of the middle of the
    digit's box.
    """
    codes, labels = [], []
    for start in range(0, len(scenes), BATCH):
        part = scenes[start : start + BATCH]
        assert part.boxes is not None and part.labels is not None
        found = model.infer(part.pixels().to(model.device))
        window, middle = found.window.cpu(), (part.boxes[..., :2] + part.boxes[..., 2:]) / 2
        distance = torch.cdist(window[..., :2], middle)  # (B, N, K)
        distance = distance.masked_fill((part.labels < 0).unsqueeze(1), torch.inf)
        nearest = distance.min(2)
        counted = presence_of(found.posterior.mode.cpu(), window.shape[1]).bool()
        at = counted & (nearest.values <= NEAR * window[..., 2])
        codes.append(found.q_what.loc.cpu()[at])
        labels.append(part.labels.gather(1, nearest.indices)[at])
    return torch.cat(codes).numpy(), torch.cat(labels).numpy()
