"""Charts of one training and of its evaluation."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from airscene.report.figures.style import STYLE, chart, curve, measured, robust_limits, step_colour


def count_accuracy(steps: np.ndarray, accuracy: np.ndarray) -> Figure:
    """Draws the share of scenes counted right over training.

    Args:
        steps: training iterations, with shape (T,).
        accuracy: in [0, 1], NaN where it was not measured, with shape (T,).

    Returns:
        The figure, in percent, with the last value written at the end of the line.
    """
    figure, axes = chart("training iteration", "scenes counted right")
    curve(axes, steps, accuracy, STYLE["line"])
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    for x, y in list(zip(*measured(steps, accuracy), strict=True))[-1:]:
        offset = (0, -16) if y > 0.2 else (0, 8)
        axes.annotate(
            f"{y:.1%}", (x, y), offset, textcoords="offset points", ha="right", **STYLE["text"]
        )
    return figure


def bound(
    steps: np.ndarray, train_elbo: np.ndarray, validation_elbo: np.ndarray | None = None
) -> Figure:
    """Draws the evidence lower bound over training.

    The axis leaves out the lowest tenth of the values: the first are so low that they would flatten
    all that follows.

    Args:
        steps: training iterations, with shape (T,).
        train_elbo: nats an image, with shape (T,).
        validation_elbo: the same on held-out scenes, NaN where it was not measured.

    Returns:
        The figure.
    """
    figure, axes = chart("training iteration", "ELBO, nats an image")
    curve(axes, steps, train_elbo, STYLE["line"], "training")
    values = train_elbo
    if validation_elbo is not None:
        curve(axes, steps, validation_elbo, STYLE["second"], "held out")
        values = np.concatenate([train_elbo, validation_elbo])
        axes.legend(**STYLE["legend"])
    robust_limits(axes, values)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return figure


def count_histogram(scenes: np.ndarray) -> Figure:
    """Draws how many scenes were inferred to hold 0, 1, 2, ... objects.

    Args:
        scenes: number of scenes by inferred count, with shape (P,).

    Returns:
        The figure, one bar a count, with its share of all scenes above.
    """
    figure, axes = chart("inferred objects", "scenes")
    bars = axes.bar(np.arange(len(scenes)), scenes, color=STYLE["line"], width=0.7)
    shares = [f"{share:.1%}" for share in scenes / max(scenes.sum(), 1)]
    axes.bar_label(bars, shares, padding=2, **STYLE["small"])
    axes.set_xticks(np.arange(len(scenes)))
    axes.margins(y=0.12)
    axes.grid(False, axis="x")
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return figure


def window_heatmaps(windows: np.ndarray, canvas: tuple[int, int]) -> Figure:
    """Draws where on the canvas each attention step looks.

    Args:
        windows: x0, y0, x1, y1 in pixels, NaN where the step was not used, with shape (M, N, 4).
        canvas: its height and width in pixels.

    Returns:
        The figure: a panel for each step, the darker the more windows have their centre there; each
        panel has its own scale, since later steps are used less.
    """
    H, W = canvas
    N = windows.shape[1]
    size = (2.2 * W / max(H, W) * N + 0.15 * N + 0.1, 2.2 * H / max(H, W) + 0.5)
    figure = Figure(figsize=size, dpi=STYLE["dpi"], layout="constrained")
    for step, axes in enumerate(figure.subplots(1, N, squeeze=False)[0]):
        used = windows[np.isfinite(windows[:, step]).all(axis=1), step]
        density = _centre_density(used, canvas)
        top = max(density.max(), 1)
        axes.imshow(density, cmap=STYLE["map"], vmin=0, vmax=top, extent=(0, W, H, 0))
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(color=step_colour(step), linewidth=1.5)
        title = (
            f"step {step + 1}: {len(used):,} windows" if len(used) else f"step {step + 1}: unused"
        )
        axes.set_title(title, **STYLE["small"])
    return figure


def confusion(matrix: np.ndarray) -> Figure:
    """Draws how scenes with each true count were counted.

    Args:
        matrix: number of scenes by true count (rows) and inferred count (columns), shape (T, P).

    Returns:
        The figure: every cell holds its number of scenes and its share of the row.
    """
    T, P = matrix.shape
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    figure, axes = chart("inferred objects", "true objects", (0.9 * P + 1.3, 0.75 * T + 1.0))
    axes.imshow(shares, cmap=STYLE["map"], vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(xticks=range(P), yticks=range(T))
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else STYLE["text"]["color"]
        text = f"{matrix[row, column]:,}\n{share:.1%}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=10)
    return figure


def _centre_density(windows: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """Number of windows (n, 4) by the place of their centre, about 25 bins on the longer side."""
    H, W = canvas
    x, y = (windows[:, :2] + windows[:, 2:]).T / 2
    bins = [max(1, round(25 * side / max(H, W))) for side in canvas]
    return np.histogram2d(y, x, bins, range=[(0, H), (0, W)])[0]
