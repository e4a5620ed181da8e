"""Tests on unseen counts as Markdown, from the plain values of results.json."""

import statistics
from collections.abc import Sequence
from typing import Any

from airscene.experiments.tables import NONE, mean_percent, page, percent, table

NOTES = (
    "Shares of held-out scenes counted right, means and standard errors over all seeds. *Unseen*: "
    "counts that training never showed, *seen*: those that it did, each count with equal weight. "
    "AIR and DAIR count by the most probable n, and may answer more than was asked of them in "
    "training. DRAW does not count: probes regress the count from its latents, with labels of "
    "scenes with seen counts. The bounds are importance-weighted, in nats an image."
)
PROBES = {"linear": "DRAW, linear probe", "mlp": "DRAW, MLP probe"}

Run = dict[str, Any]


def counters(models: dict[str, list[Run]]) -> dict[str, tuple[list[Run], str]]:
    """Who counts: by label, the runs and the name of their counter."""
    return {
        PROBES.get(counter, model): (runs, counter)
        for model, runs in models.items()
        for counter in next(iter(runs[0]["counts"].values()))["inferred"]
    }


def accuracy(run: Run, counter: str, n: int) -> float:
    """The share of scenes with n objects that were counted right."""
    inferred = run["counts"][str(n)]["inferred"][counter]
    return inferred[n] / sum(inferred)


def mean_accuracy(run: Run, counter: str, counts: Sequence[int]) -> float:
    """The mean of `accuracy` over counts."""
    return statistics.fmean(accuracy(run, counter, n) for n in counts)


def told(run: Run, unseen: Sequence[int]) -> str:
    """What to print of a finished run."""
    counts = run["counts"][str(unseen[0])]["inferred"]
    shares = (f"{percent(mean_accuracy(run, name, unseen))} ({name})" for name in counts)
    return f"unseen counted right: {', '.join(shares)}"


def tables(results: dict[str, Any]) -> str:
    """All tables, as a page of Markdown."""
    parts = [NOTES, summary(results)]
    for name, models in results["runs"].items():
        split = results["config"]["splits"][name]
        heading = f"## {name.capitalize()}: trained on {_list(split['seen'])}"
        parts += [
            heading,
            by_seed(models, split),
            "What scenes were counted as, in percent:",
            confusion(models),
        ]
    return page("Strong generalisation", results["config"]["quick"], parts)


def summary(results: dict[str, Any]) -> str:
    """A row for each split and counter."""
    head = ["trained on, tested on", "who", "runs", "unseen", "lowest", "seen"]
    head += ["bound, unseen", "bound, seen"]
    rows = [
        _row(results["config"]["splits"][name], label, runs, counter)
        for name, models in results["runs"].items()
        for label, (runs, counter) in counters(models).items()
    ]
    return table(head, rows)


def by_seed(models: dict[str, list[Run]], split: dict[str, Any]) -> str:
    """A row a counter, a column a seed: the share of unseen counts that was counted right."""
    seeds = range(max(map(len, models.values())))
    rows = [
        [label, *(percent(mean_accuracy(run, counter, split["unseen"])) for run in runs)]
        + [NONE] * (len(seeds) - len(runs))
        for label, (runs, counter) in counters(models).items()
    ]
    return table(["unseen, by seed", *(f"seed {seed}" for seed in seeds)], rows)


def confusion(models: dict[str, list[Run]]) -> str:
    """A row for each counter and true count, a column for each answer: shares over all seeds."""
    rows = [
        [label, n, *_shares([run["counts"][n]["inferred"][counter] for run in runs])]
        for label, (runs, counter) in counters(models).items()
        for n in runs[0]["counts"]
    ]
    answers = max(map(len, rows)) - 2
    filled = [row + [NONE] * (answers + 2 - len(row)) for row in rows]
    return table(["who", "objects", *map(str, range(answers))], filled)


def _row(split: dict[str, Any], label: str, runs: list[Run], counter: str) -> list[str]:
    unseen = [mean_accuracy(run, counter, split["unseen"]) for run in runs]
    seen = [mean_accuracy(run, counter, split["seen"]) for run in runs]
    return [
        f"{_list(split['seen'])}; {_list(split['unseen'])}",
        label,
        str(len(runs)),
        mean_percent(unseen),
        percent(min(unseen)),
        percent(statistics.fmean(seen)),
        *(_bound(runs, split[part]) for part in ("unseen", "seen")),
    ]


def _bound(runs: list[Run], counts: Sequence[int]) -> str:
    bounds = [run["counts"][str(n)]["bound"] for run in runs for n in counts]
    return NONE if None in bounds else f"{statistics.fmean(bounds):.1f}"


def _shares(inferred: list[list[int]]) -> list[str]:
    """Of equally many scenes in each run, the share of each answer; a probe may go far."""
    longest = max(map(len, inferred))
    totals = [sum(row[n] for row in inferred if n < len(row)) for n in range(longest)]
    return [f"{100 * total / sum(totals):.1f}" if total else "" for total in totals]


def _list(counts: Sequence[int]) -> str:
    many = len(counts) > 3
    return f"{counts[0]} to {counts[-1]}" if many else ", ".join(map(str, counts))
