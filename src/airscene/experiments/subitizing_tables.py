"""Subitizing as Markdown and as panels, from the plain values of results.json."""

import statistics
from typing import Any

import numpy as np

from airscene.experiments.tables import mean_percent, page, percent, table

NOTES = (
    "Means over the five classes of the share of held-out scenes that are given the right one of "
    "0, 1, 2, 3, and 4 or more; by chance 20 %. A *VAE* is read by a probe with a hidden layer of "
    "160 units, which learns from all labelled scenes, and so does the *CNN* from their pixels. "
    "*AIR* and *DAIR* count without any label."
)


def tables(results: dict[str, Any]) -> str:
    """All tables, as a page of Markdown."""
    parts = [NOTES, summary(results)]
    for name in results["scenes"]:
        parts += [f"## By {name}", by_group(results, name)]
    return page("Subitizing", results["config"]["quick"], parts)


def summary(results: dict[str, Any]) -> str:
    """A row a reader: the mean of classes, of every seed, and each class."""
    head = ["who", "mean", "every seed", "0", "1", "2", "3", "4+"]
    rows = [
        [
            reader,
            mean_percent([run["mean"] for run in runs]),
            " ".join(f"{100 * run['mean']:.1f}" for run in runs),
            *(
                percent(statistics.fmean(shares))
                for shares in zip(*(run["by_class"] for run in runs), strict=True)
            ),
        ]
        for reader, runs in results["answers"].items()
    ]
    return table(head, rows)


def by_group(results: dict[str, Any], name: str) -> str:
    """A row a reader, a column a group of scenes."""
    scenes = results["scenes"][name]
    head = ["who", *(f"{group} ({number} scenes)" for group, number in scenes.items())]
    rows = [
        [reader, *(mean_percent([run["groups"][name][group] for run in runs]) for group in scenes)]
        for reader, runs in results["answers"].items()
    ]
    return table(head, rows)


def panels(results: dict[str, Any]) -> dict[str, dict[str, dict[str, list[float]]]]:
    """The means of every seed by name of the groups, reader and group."""
    return {
        name: {
            reader: {group: [run["groups"][name][group] for run in runs] for group in groups}
            for reader, runs in results["answers"].items()
        }
        for name, groups in results["scenes"].items()
    }


def mean_of_classes(true: np.ndarray, found: np.ndarray) -> float:
    """The share of scenes given the right class, a mean over the classes that there are.

    Args:
        true: the right classes, shape (M,).
        found: the given ones, shape (M,).

    >>> mean_of_classes(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 2]))
    0.5
    """
    shares = [float((found[true == k] == k).mean()) for k in np.unique(true)]
    return statistics.fmean(shares) if shares else float("nan")
