"""The comparison of estimators as Markdown, from the plain values of results.json."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from airscene.experiments.gradients import GROUPS
from airscene.experiments.learning import THRESHOLDS
from airscene.experiments.tables import (
    NONE,
    accuracy_of,
    mean_percent,
    page,
    percent,
    success,
    table,
)

NEVER = "never"

NOTES = (
    "Success is a final count accuracy of at least 95 % on held-out scenes, of a run that did not "
    "diverge. Means and standard errors are over all seeds; a run that diverged counts with the "
    "accuracy of its last checkpoint, or 0 without one. Times to an accuracy are medians over all "
    "seeds, on validation scenes. Every run has the time that the steps of `enumerate` take, and "
    "every step has as many images."
)
VARIANCE_NOTES = (
    "Cells are the median and the 90th percentile of the variance of a parameter's gradient, over "
    "the group's parameters. *Equal images*: one estimate from the same images. *Equal compute*: "
    "that times the estimator's time a step over that of `enumerate`. Estimators with another "
    "bound or a biased gradient (vimco, iwae, rws, concrete) vary around another mean, and nvil "
    "divides its signal by its standard deviation, so that its variance is on another scale."
)


def tables(results: dict[str, Any]) -> str:
    """All tables, as a page of Markdown."""
    overhead = f"Enumerating takes {results['enumeration_overhead']:.2f} times as long as one n."
    parts = [NOTES, summary(results), overhead]
    parts += ["## Final count accuracy by seed", by_seed(results)]
    parts += ["## Variance of the gradient", VARIANCE_NOTES]
    for stage in results["config"]["stages"]:
        for kind, title in (("equal_images", "equal images"), ("equal_compute", "equal compute")):
            parts += [
                f"### At {100 * stage:.0f} % of training, {title}",
                variance(results, stage, kind),
            ]
    return page("Gradient estimators", results["config"]["quick"], parts)


def summary(results: dict[str, Any]) -> str:
    """A row an estimator: success, accuracy, bound, time to learn, cost of a step."""
    head = ["estimator", "success", "accuracy", "lowest", "bound"]
    for accuracy in THRESHOLDS:
        head += [f"{unit} to {100 * accuracy:.0f} %" for unit in ("steps", "s")]
    head += ["steps", "ms a step"]
    rows = [_summary_row(name, results) for name in results["runs"]]
    return table(head, rows)


def by_seed(results: dict[str, Any]) -> str:
    """A row an estimator, a column a seed; a star marks a run that diverged."""
    rows = [
        [name, *(percent(run["count_accuracy"]) + "*" * bool(run["failed"]) for run in runs)]
        for name, runs in results["runs"].items()
    ]
    seeds = [f"seed {seed}" for seed in range(results["config"]["seeds"])]
    return table(["estimator", *seeds], rows) + "\n\n\\* diverged"


def variance(results: dict[str, Any], stage: float, kind: str) -> str:
    """A row an estimator, a column a group of parameters, at one stage."""
    rows = [
        [name, *(_spread(stages[f"{stage:g}"][group][kind]) for group in GROUPS)]
        for name, stages in results["variance"].items()
    ]
    return table(["estimator", *GROUPS], rows)


def median_time(runs: Sequence[dict[str, Any]], accuracy: float, unit: str) -> float:
    """Median over all runs of the steps or seconds to an accuracy, infinite for those that fail."""
    reached = [run["reached"][f"{accuracy:g}"] for run in runs]
    return statistics.median(place[unit] if place else math.inf for place in reached)


def _summary_row(name: str, results: dict[str, Any]) -> list[str]:
    runs, times = results["runs"][name], results["times"]
    accuracies = [accuracy_of(run) for run in runs]
    bounds = [run["bound"] for run in runs if run["bound"] is not None]
    row = [name, f"{sum(map(success, runs))} of {len(runs)}"]
    row += [mean_percent(accuracies), percent(min(accuracies))]
    row += [f"{statistics.fmean(bounds):.1f}" if bounds else NONE]
    for accuracy in THRESHOLDS:
        row += [_time(median_time(runs, accuracy, unit)) for unit in ("step", "seconds")]
    steps = runs[0]["iterations"]
    return [*row, f"{steps:,}", f"{times[name]:.1f}"]


def _time(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else NEVER


def _spread(value: dict[str, float]) -> str:
    low, high = value["median"], value["p90"]
    return NONE if low is None else f"{low:.1e} / {high:.1e}"
