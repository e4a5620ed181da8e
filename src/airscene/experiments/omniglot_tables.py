"""Characters and their strokes as Markdown, from the plain values of results.json."""

import statistics
from typing import Any

from airscene.experiments.tables import number, page, table

NOTES = (
    "Characters of 1 to 4 strokes. *Seen*: alphabets that were learned from, by people who drew "
    "none of what was learned from. *Unseen*: alphabets that no training reads. The correlation is "
    "Spearman's, of inferred steps with true strokes. The overlap is the adjusted Rand index over "
    "the pixels of ink, of steps against true strokes, and the mean IoU of each true stroke with "
    "the step that is matched to it. Every seed is told, from 0 on; bounds are in nats."
)


def tables(results: dict[str, Any]) -> str:
    """All tables, as a page of Markdown."""
    parts = [NOTES, summary(results)]
    parts += ["## Steps and bound by the true number of strokes", by_strokes(results)]
    return page("Strokes", results["config"]["quick"], parts)


def summary(results: dict[str, Any]) -> str:
    """A row a model: correlation, overlap and bound of every seed."""
    head = ["model", "correlation, seen", "unseen", "overlap, seen", "unseen", "IoU, seen"]
    head += ["bound, seen", "unseen", "unseen / seen"]
    rows = [
        [
            name,
            *(_seeds(runs, sort, "spearman", 3) for sort in ("seen", "unseen")),
            *(_seeds(runs, sort, "mask_ari", 3) for sort in ("seen", "unseen")),
            _seeds(runs, "seen", "mask_iou", 3),
            *(_seeds(runs, sort, "bound", 1) for sort in ("seen", "unseen")),
            " ".join(f"{run['unseen']['bound'] / run['seen']['bound']:.3f}" for run in runs),
        ]
        for name, runs in results["runs"].items()
    ]
    return table(head, rows)


def by_strokes(results: dict[str, Any]) -> str:
    """A row a model and sort of characters: mean steps and ELBO, each a mean over seeds."""
    numbers = [
        row["strokes"] for row in next(iter(results["runs"].values()))[0]["seen"]["by_strokes"]
    ]
    head = ["model", "characters"]
    head += [f"steps, {k} strokes" for k in numbers] + [f"ELBO, {k} strokes" for k in numbers]
    rows = []
    for name, runs in results["runs"].items():
        for sort in ("seen", "unseen"):
            kinds = [
                [run[sort]["by_strokes"][place] for run in runs] for place in range(len(numbers))
            ]
            steps = [f"{statistics.fmean(row['steps'] for row in some):.2f}" for some in kinds]
            bounds = [f"{statistics.fmean(row['elbo'] for row in some):.1f}" for some in kinds]
            rows.append([name, sort, *steps, *bounds])
    return table(head, rows)


def _seeds(runs: list[dict[str, Any]], sort: str, value: str, digits: int) -> str:
    """A value of every seed."""
    return " ".join(number(run[sort][value], digits) for run in runs)
