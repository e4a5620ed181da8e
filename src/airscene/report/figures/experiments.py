"""Charts of experiments: many trainings beside each other."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter

from airscene.report.figures.scenes import Row, View, draw_row
from airscene.report.figures.style import (
    MODEL_COLOURS,
    READER_COLOURS,
    STYLE,
    chart,
    plain_axes,
    robust_limits,
)

Curve = tuple[np.ndarray, np.ndarray]


def learning_curves(
    runs: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]],
    reference: tuple[np.ndarray, np.ndarray],
    mark: float,
) -> Figure:
    """Draws the share of scenes counted right over the time of training, a panel an estimator.

    Args:
        runs: by estimator, the seconds and the share in [0, 1] of each run, both of shape (T,).
        reference: the same of one curve, drawn in grey in every panel.
        mark: a share to mark with a line.

    Returns:
        The figure, a thin line a run, all panels on the same axes.
    """
    columns = min(4, len(runs))
    rows = math.ceil(len(runs) / columns)
    size = (2.1 * columns + 0.4, 1.6 * rows + 0.5)
    figure = Figure(figsize=size, dpi=STYLE["dpi"], layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flat
    for axes, (name, curves) in zip(cells, runs.items(), strict=False):
        plain_axes(axes)
        axes.set_title(name, **STYLE["text"])
        axes.axhline(mark, **STYLE["mark"])
        axes.plot(*reference, **STYLE["reference"])
        for seconds, accuracy in curves:
            marker = "o" if len(seconds) == 1 else ""
            axes.plot(seconds, accuracy, STYLE["line"], linewidth=0.9, marker=marker, markersize=2)
    for axes in figure.axes[len(runs) :]:
        axes.set_axis_off()
    for axes in figure.axes[max(0, len(runs) - columns) : len(runs)]:
        axes.tick_params(labelbottom=True)  # a column may end above the last row
    figure.axes[0].set(xlim=(0, None), ylim=(0, 1.05))
    figure.axes[0].yaxis.set_major_formatter(PercentFormatter(1))
    figure.axes[0].xaxis.set_major_locator(MaxNLocator(4))
    figure.supxlabel("seconds of training", **STYLE["text"])
    figure.supylabel("scenes counted right", **STYLE["text"])
    return figure


def gradient_variance(
    median: np.ndarray,
    high: np.ndarray,
    estimators: Sequence[str],
    stages: Sequence[str],
    groups: Sequence[str],
) -> Figure:
    """Draws the variance of gradients by group of parameters, estimator and stage of training.

    Args:
        median: over the parameters of a group, with shape (estimators, stages, groups).
        high: a high percentile over them, with the same shape.
        estimators: a name for each row.
        stages: a name for each marker.
        groups: a title for each panel.

    Returns:
        The figure: markers at the medians, whiskers up to the high percentiles, on a logarithmic
        axis; what is not above zero is left out.
    """
    size = (1.75 * len(groups) + 1.4, 0.27 * len(estimators) + 1.1)
    figure = Figure(figsize=size, dpi=STYLE["dpi"], layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False, sharey=True)[0]
    for place, (axes, group) in enumerate(zip(panels, groups, strict=True)):
        plain_axes(axes)
        axes.set_title(group, **STYLE["text"])
        axes.set_xscale("log")
        for stage in range(len(stages)):
            _draw_spread(axes, median[:, stage, place], high[:, stage, place], stage, len(stages))
        _whole_decades(axes)
    panels[0].set_yticks(range(len(estimators)), estimators)
    panels[0].set_ylim(len(estimators) - 0.5, -0.5)  # the first on top
    handles = [_stage_marker(stage, name) for stage, name in enumerate(stages)]
    figure.supxlabel("variance of a parameter's gradient", **STYLE["text"])
    figure.legend(handles=handles, loc="outside upper center", ncols=len(stages), **STYLE["legend"])
    return figure


def _draw_spread(axes: Axes, median: np.ndarray, high: np.ndarray, stage: int, stages: int) -> None:
    """Markers and whiskers of one stage, a little above or below the middle of their rows."""
    rows = np.arange(len(median)) + 0.22 * (stage - (stages - 1) / 2)
    shown = (median > 0) & (high > 0)
    marker, colour = _stage_look(stage)
    axes.hlines(rows[shown], median[shown], high[shown], color=colour, linewidth=0.8)
    axes.plot(median[shown], rows[shown], marker, color=colour, markersize=3.5)


def _whole_decades(axes: Axes) -> None:
    """Lets a logarithmic axis begin and end at powers of ten, which alone are labelled."""
    low, high = np.log10(axes.get_xlim())
    axes.set_xlim(10 ** math.floor(low), 10 ** math.ceil(high))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _stage_marker(stage: int, name: str) -> Line2D:
    marker, colour = _stage_look(stage)
    return Line2D([], [], linestyle="", marker=marker, color=colour, markersize=4, label=name)


def _stage_look(stage: int) -> tuple[str, str]:
    colours = (STYLE["second"], STYLE["reference"]["color"], STYLE["line"])
    return "osD^v"[stage % 5], colours[stage % 3]


def generalization(
    views: Mapping[str, View],
    bounds: Mapping[str, Sequence[Curve]],
    accuracies: Mapping[str, Sequence[Curve]],
) -> Figure:
    """Draws how models do on counts that training never showed: the paper's Figure 4.

    Args:
        views: by model, what it makes of the same R scenes.
        bounds: by model, for each run the steps and the ELBO in nats, both of shape (T,).
        accuracies: the same of the share counted right, of the models that count.

    Returns:
        The figure: left the scenes and below them each model's reconstructions and windows; right
        the bound and the share counted right over training, a line a run.
    """
    rows = [Row("scene", next(iter(views.values())).image)]
    rows += [Row(name, view.reconstruction, view.used()) for name, view in views.items()]
    R = len(rows[0].pictures)
    size = (0.62 * R + 3.9, max(3.2, 0.68 * len(rows)))
    figure = Figure(figsize=size, dpi=STYLE["dpi"], layout="constrained")
    halves = figure.add_gridspec(1, 2, width_ratios=(0.62 * R + 0.4, 3.5))
    left, right = (figure.add_subfigure(halves[0, side]) for side in range(2))
    cells = left.subplots(len(rows), R, squeeze=False, gridspec_kw=dict(wspace=0.02, hspace=0.02))
    for axes, row in zip(cells, rows, strict=True):
        draw_row(axes, row)
    panels = {"ELBO, nats": bounds, "counted right": accuracies}
    known = {label: runs for label, runs in panels.items() if runs}
    charts = right.subplots(len(known), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (label, runs) in zip(charts, known.items(), strict=True):
        plain_axes(axes)
        axes.set_ylabel(label, **STYLE["text"])
        _draw_runs(axes, runs)
    if bounds:
        robust_limits(charts[0], np.concatenate([y for runs in bounds.values() for _, y in runs]))
    if accuracies:
        charts[-1].set_ylim(0, 1.05)
        charts[-1].yaxis.set_major_formatter(PercentFormatter(1))
    charts[-1].set_xlabel("training iteration", **STYLE["text"])
    charts[0].legend(**STYLE["legend"])
    return figure


def accuracy_by_count(runs: Mapping[str, Sequence[Curve]], seen: Sequence[int]) -> Figure:
    """Draws the share of scenes counted right against the number of objects in them.

    Args:
        runs: by model, for each run the true counts and the share in [0, 1], both of shape (T,).
        seen: the counts of training, shaded.

    Returns:
        The figure, a line a run.
    """
    figure, axes = chart("objects in the scene", "scenes counted right")
    for n in seen:
        axes.axvspan(n - 0.5, n + 0.5, color=STYLE["grid"]["color"], linewidth=0, zorder=0)
    _draw_runs(axes, runs)
    axes.set_ylim(0, 1.05)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(title="shaded: seen in training", **STYLE["legend"])
    return figure


def success_heatmaps(
    rates: Mapping[str, np.ndarray], digits: Sequence[str], windows: Sequence[str]
) -> Figure:
    """Draws how many trainings succeed, a panel a canvas.

    Args:
        rates: by title, the share of runs in [0, 1] that succeed, with shape (digits, windows).
        digits: labels of the rows.
        windows: labels of the columns.

    Returns:
        The figure, every cell with its rate written in it.
    """
    size = ((0.6 * len(windows) + 0.5) * len(rates) + 0.5, 0.45 * len(digits) + 1.0)
    figure = Figure(figsize=size, dpi=STYLE["dpi"], layout="constrained")
    panels = figure.subplots(1, len(rates), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (title, table) in zip(panels, rates.items(), strict=True):
        axes.imshow(table, cmap=STYLE["map"], vmin=0, vmax=1.6, aspect="auto")
        axes.set_title(title, **STYLE["small"])
        axes.set_xticks(range(len(windows)), windows)
        axes.set_yticks(range(len(digits)), digits)
        axes.tick_params(**STYLE["ticks"])
        axes.spines[:].set(**STYLE["picture"])
        for (row, column), rate in np.ndenumerate(table):
            axes.text(column, row, f"{rate:.0%}", ha="center", va="center", **STYLE["small"])
    figure.supxlabel("window, over the one that fits", **STYLE["text"])
    figure.supylabel("digit, px", **STYLE["text"])
    return figure


def label_efficiency(
    questions: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]],
) -> Figure:
    """Draws how many labels answers take: the paper's Figure 5.

    Args:
        questions: by question and reader, numbers of labels, the mean share answered right in
            [0, 1], and its standard error, all of shape (T,).

    Returns:
        The figure, a panel a question and a line a reader, with bars of a standard error.
    """
    figure = Figure(figsize=(4.1 * len(questions), 4.2), dpi=STYLE["dpi"], layout="constrained")
    panels = figure.subplots(1, len(questions), squeeze=False)[0]
    readers = [*dict.fromkeys(reader for some in questions.values() for reader in some)]
    for axes, (title, some) in zip(panels, questions.items(), strict=True):
        plain_axes(axes)
        axes.set_title(title, **STYLE["text"])
        for reader, (labels, mean, error) in some.items():
            colour = READER_COLOURS[readers.index(reader) % len(READER_COLOURS)]
            axes.errorbar(
                labels,
                mean,
                error,
                color=colour,
                label=reader,
                linewidth=1.2,
                marker="o",
                markersize=3,
                capsize=2,
            )
        axes.set_xscale("log")
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_xlabel("labelled scenes", **STYLE["text"])
    panels[0].set_ylabel("answered right", **STYLE["text"])
    lines = {
        label: line
        for axes in panels
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=4, **STYLE["legend"])
    return figure


def _draw_runs(axes: Axes, runs: Mapping[str, Sequence[Curve]]) -> None:
    """A line a run, in the colour of its model."""
    for place, (name, curves) in enumerate(runs.items()):
        colour = MODEL_COLOURS[place % len(MODEL_COLOURS)]
        for index, (x, y) in enumerate(curves):
            (line,) = axes.plot(x, y, color=colour, linewidth=1.1, marker="o", markersize=2.5)
            line.set_label("" if index else name)
