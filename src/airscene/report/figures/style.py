"""The one look of all figures: colours, font sizes, axes and curves."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

STYLE: dict[str, Any] = {
    "text": {"color": "#333333", "fontsize": 10},
    "small": {"color": "#333333", "fontsize": 9},
    "legend": {"labelcolor": "#333333", "fontsize": 9, "frameon": False},
    "ticks": {"labelcolor": "#333333", "labelsize": 9, "length": 0},
    "grid": {"color": "#e4e4e4", "linewidth": 0.8},
    "picture": {"color": "#9a9a9a", "linewidth": 0.5},
    "window": {"fill": False, "linewidth": 1.6},
    "line": "#1f5fa8",
    "second": "#d0661b",
    "reference": {"color": "#9a9a9a", "linewidth": 1.6},
    "mark": {"color": "#9a9a9a", "linewidth": 0.8, "linestyle": (0, (4, 3))},
    "map": "Blues",
    "dpi": 150,
}
"""The one look of all figures: colours, font sizes in points, resolution in dots an inch."""

# Red, green, blue as in the paper, then more. Neighbours differ in lightness too, for readers who
# do not tell red from green, and all stand out from black and from white.
STEP_COLOURS = ("#e8203a", "#43d35e", "#3c7dff", "#ffb000", "#c04bff", "#12c8d6", "#ff7bac")
"""Colour of the window of each attention step, in order; more steps begin again."""

MODEL_COLOURS = ("#1f5fa8", "#d0661b", "#5d8a3a", "#8a4fa3")
"""Colours of the curves of models, in order."""

READER_COLOURS = (
    "#9a9a9a",
    "#1f5fa8",
    "#6fa3dc",
    "#d0661b",
    "#efa877",
    "#5d8a3a",
    "#8a4fa3",
    "#333333",
)
"""Colours of the curves of readers, in order: a model's two are of one hue."""


def step_colour(step: int) -> str:
    """The colour of a step, counted from 0."""
    return STEP_COLOURS[step % len(STEP_COLOURS)]


def chart(x: str, y: str, size: tuple[float, float] = (6.4, 3.4)) -> tuple[Figure, Axes]:
    """An empty chart with labels of its axes; the size is in inches."""
    figure = Figure(figsize=size, dpi=STYLE["dpi"], layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x, **STYLE["text"])
    axes.set_ylabel(y, **STYLE["text"])
    plain_axes(axes)
    return figure, axes


def plain_axes(axes: Axes) -> None:
    """Leaves of axes what is needed to read values."""
    axes.tick_params(which="both", **STYLE["ticks"])
    axes.grid(**STYLE["grid"])
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set(**STYLE["picture"])


def curve(axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, label: str = "") -> None:
    """Draws a curve through the values that are finite."""
    x, y = measured(steps, values)
    marker = "o" if len(x) < 40 else ""  # a lone point would otherwise be invisible
    axes.plot(x, y, color=colour, label=label, linewidth=1.6, marker=marker, markersize=3)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def measured(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The steps with finite values, and these."""
    finite = np.isfinite(values)
    return steps[finite], values[finite]


def robust_limits(axes: Axes, values: np.ndarray) -> None:
    """Limits the vertical axis to what most values reach, as an outlier would flatten it."""
    finite = values[np.isfinite(values)]
    if finite.size:
        low, high = np.percentile(finite, 10), finite.max()
        margin = 0.05 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
