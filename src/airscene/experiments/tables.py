"""What the tables of all experiments share: pages of Markdown, their tables and their numbers."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from airscene.experiments.learning import THRESHOLDS

NONE = "–"

SMOKE = "**Smoke test of the pipeline (`--quick`): these numbers are no result.**"


def page(title: str, quick: bool, parts: Iterable[str]) -> str:
    """A page of Markdown.

    Args:
        title: its heading.
        quick: whether its numbers are of a smoke test, which it then says.
        parts: paragraphs, headings and tables.
    """
    return "\n\n".join([f"# {title}", *([SMOKE] if quick else []), *parts]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown whose columns are aligned in the source too."""
    lines = [[*head], *map(list, rows)]
    widths = [max(2, *map(len, column)) for column in zip(*lines, strict=True)]  # 2: a rule is -:
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    sides: list[Callable[..., str]] = [str.ljust] + [str.rjust] * (len(widths) - 1)
    cells = [
        [side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)]
        for line in (lines[0], rule, *lines[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def number(value: float | None, digits: int = 3) -> str:
    """A number with so many decimals; a dash where there is none."""
    return NONE if value is None else f"{value:.{digits}f}"


def percent(share: float | None) -> str:
    """A share in percent, with two decimals; a dash where there is none."""
    return NONE if share is None else f"{100 * share:.2f} %"


def mean_percent(shares: Sequence[float]) -> str:
    """Mean of shares in percent, with its standard error if there are several."""
    mean, error = mean_error(shares)
    return percent(mean) + ("" if math.isnan(error) else f" ± {100 * error:.2f}")


def mean_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error, NaN for a single value."""
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return statistics.fmean(values), error


def success(run: dict[str, Any]) -> bool:
    """Whether a run counts at least 95 % of held-out scenes right, and did not diverge."""
    return not run["failed"] and accuracy_of(run) >= THRESHOLDS[0]


def accuracy_of(run: dict[str, Any]) -> float:
    """Final held-out count accuracy; 0 where divergence left no model."""
    return run["count_accuracy"] or 0.0
