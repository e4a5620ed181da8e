"""The worth of representations as Markdown, from the plain values of results.json."""

import math
import statistics
from typing import Any

import numpy as np

from airscene.experiments.questions import QUESTIONS
from airscene.experiments.reading import PIXELS
from airscene.experiments.tables import NONE, mean_error, mean_percent, page, table

GOAL = 0.9  # of answers right, at which labels are compared
NOTES = (
    "Shares of held-out scenes answered right, means and standard errors over all seeds. Columns "
    "are numbers of labelled scenes. Models see no label. *With glimpses*: the pixels of the image "
    "at the inferred windows are read besides presence, where and what. *True boxes*: pixels at "
    "the boxes that the scenes were made with. *Pixels*: a convolutional network on the whole "
    "picture."
)

Answers = dict[
    str, dict[str, list[dict[str, float]]]
]  # by reader and number of labels, a seed each


def tables(results: dict[str, Any]) -> str:
    """All tables, as a page of Markdown."""
    parts = [NOTES, summary(results)]
    for questions in results["answers"].values():
        for question, answers in questions.items():
            parts += [f"## Every seed: {QUESTIONS[question].title}", by_seed(answers)]
    parts += ["## Clusters of appearance", by_cluster(results)]
    return page("What the latents are worth", results["config"]["quick"], parts)


def summary(results: dict[str, Any]) -> str:
    """A table for each question: a row a reader, a column a number of labels."""
    parts = []
    for questions in results["answers"].values():
        for question, answers in questions.items():
            parts += [f"**{QUESTIONS[question].title.capitalize()}**", by_labels(answers)]
    return "\n\n".join(parts)


def by_labels(answers: Answers) -> str:
    """A row a reader, with the factor in labels that it saves at 90 %."""
    labels = [*next(iter(answers.values()))]
    rows = [
        [reader, *(mean_percent(_tests(some[n])) for n in labels), saved(answers, reader)]
        for reader, some in answers.items()
    ]
    return table(["reads", *(f"{int(n):,}" for n in labels), "labels saved"], rows)


def by_seed(answers: Answers) -> str:
    """The same with each seed's own share, in percent."""
    labels = [*next(iter(answers.values()))]
    rows = [
        [reader, *(" ".join(f"{100 * share:.1f}" for share in _tests(some[n])) for n in labels)]
        for reader, some in answers.items()
    ]
    return table(["reads", *(f"{int(n):,}" for n in labels)], rows)


def by_cluster(results: dict[str, Any]) -> str:
    """A row for each model with objects and number of clusters."""
    rows = [
        [exam, model, k, *(_mean([run[k][score] for run in runs]) for score in SCORES)]
        for exam, models in results["clusters"].items()
        for model, runs in models.items()
        for k in runs[0]
        if k != "objects" and all(k in run for run in runs)
    ]
    return table(["exam", "model", "clusters", "purity", "adjusted Rand index"], rows)


SCORES = ("purity", "adjusted_rand_index")


def curves(answers: Answers) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """By reader: numbers of labels, mean shares and their standard errors, 0 for a single seed."""
    return {reader: _curve(some) for reader, some in answers.items()}


def saved(answers: Answers, reader: str) -> str:
    """How many times fewer labels than the network on pixels a reader needs for 90 %.

    A bound where the network on pixels does not get so far with all labels.
    """
    own, theirs = (labels_to(answers[name], GOAL) for name in (reader, PIXELS))
    if reader == PIXELS or math.isinf(own):
        return NONE
    if math.isinf(theirs):
        return f"> {max(map(int, answers[PIXELS])) / own:.1f}"
    return f"{theirs / own:.1f}"


def labels_to(some: dict[str, list[dict[str, float]]], goal: float) -> float:
    """How many labels the mean share needs to reach a goal, infinite if it does not.

    Between two numbers of labels, the share is taken to grow with their logarithm.
    """
    labels, mean, _ = _curve(some)
    if not (mean >= goal).any():
        return math.inf
    after = int((mean >= goal).argmax())
    if after == 0:
        return float(labels[0])
    part = (goal - mean[after - 1]) / (mean[after] - mean[after - 1])
    return float(labels[after - 1] * (labels[after] / labels[after - 1]) ** part)


def _curve(some: dict[str, list[dict[str, float]]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    shares = [_tests(runs) for runs in some.values()]
    error = [mean_error(runs)[1] for runs in shares]
    mean = np.array([*map(statistics.fmean, shares)])
    return np.array([*map(int, some)], dtype=float), mean, np.nan_to_num(np.array(error))


def _mean(values: list[float]) -> str:
    return f"{statistics.fmean(values):.3f}"


def _tests(runs: list[dict[str, float]]) -> list[float]:
    return [run["test"] for run in runs]
