"""Every picture, drawn from plain numpy arrays.

Figures are built through matplotlib's object interface, never pyplot, so drawing one leaves no
state behind and needs no screen. Boxes and windows are (x0, y0, x1, y1) in pixels measured from the
upper left corner of the canvas: one of width W spans x from 0 to W.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter
from PIL import Image, ImageDraw, ImageFont

from airscene.files import write_whole

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

CELL = 1.0  # inches along the longer side of a picture in a grid
GAP = 0.07  # inches between pictures


@dataclass(frozen=True)
class View:
    """What was inferred from R scenes.

    Attributes:
        image: the scenes, in [0, 1], with shape (R, C, H, W), C 1 or 3.
        reconstruction: the canvases painted from the inferences, with the shape of `image`.
        windows: x0, y0, x1, y1 in pixels of the window of each attention step, shape (R, N, 4).
        count: how many objects were inferred, in 0..N, with shape (R,); windows from there on are
            not drawn.
    """

    image: np.ndarray
    reconstruction: np.ndarray
    windows: np.ndarray
    count: np.ndarray

    def __post_init__(self) -> None:
        """Checks that the four arrays describe the same scenes."""
        R = len(self.image)
        if self.image.ndim != 4 or self.image.shape[1] not in (1, 3):
            raise ValueError(f"images must be (R, 1 or 3, H, W), got {self.image.shape}")
        if self.reconstruction.shape != self.image.shape:
            raise ValueError(f"{self.reconstruction.shape} does not reconstruct {self.image.shape}")
        if self.windows.ndim != 3 or self.windows.shape[::2] != (R, 4):
            raise ValueError(f"windows must be ({R}, N, 4), got {self.windows.shape}")
        if self.count.shape != (R,):
            raise ValueError(f"counts must be ({R},), got {self.count.shape}")

    def used(self) -> list[np.ndarray]:
        """Windows of the inferred objects alone, one array (n, 4) a scene."""
        return [windows[:n] for windows, n in zip(self.windows, self.count, strict=True)]


@dataclass(frozen=True)
class Parts:
    """R scenes, taken apart.

    Attributes:
        image: the scenes, in [0, 1], with shape (R, C, H, W), C 1 or 3.
        background: what lies under the objects, with the shape of `image`.
        reconstruction: the canvases painted from the inferences, with the shape of `image`.
        masks: k where the k-th object is seen, from 1 on, else 0, integers with shape (R, H, W).
    """

    image: np.ndarray
    background: np.ndarray
    reconstruction: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True)
class Strokes:
    """R characters, taken apart.

    Attributes:
        view: the characters and what was inferred of them.
        paint: what each counted step paints, in [0, 1], with shape (R, N, H, W).
        masks: k where the k-th true stroke is, from 1 on, else 0, integers of shape (R, H, W).
    """

    view: View
    paint: np.ndarray
    masks: np.ndarray


# Grids of pictures


@dataclass(frozen=True)
class _Row:
    label: str
    pictures: np.ndarray  # (R, C, H, W)
    windows: Sequence[np.ndarray] = ()  # R arrays (n, 4), or none


def reconstructions(stages: Sequence[tuple[int, View]]) -> Figure:
    """Draws how reconstructions and windows come about in training: the paper's Figure 3, left.

    Args:
        stages: pairs of a training iteration and what the model then infers from the same R scenes.

    Returns:
        The figure: scenes in the top row, below it one row of reconstructions for each stage, with
        the windows of steps 1, 2, 3 in red, green, blue.

    Raises:
        ValueError: there is no stage.
    """
    if not stages:
        raise ValueError("reconstructions need at least one stage of training")
    rows = [_Row("scene", stages[0][1].image)]
    rows += [_Row(f"{step:,}", view.reconstruction, view.used()) for step, view in stages]
    return _grid(rows, steps=stages[-1][1].windows.shape[1])


def mistakes(view: View, true_count: np.ndarray) -> Figure:
    """Draws scenes that were counted wrong, above their reconstructions.

    Args:
        view: the R scenes and what was inferred from them, R at least 1.
        true_count: how many objects each scene has, with shape (R,).

    Returns:
        The figure; "2 as 1" above a scene means that it has two objects and one was inferred.
    """
    figure = _pairs(view)
    for axes, true, inferred in zip(figure.axes, true_count, view.count, strict=False):
        axes.set_title(f"{true} as {inferred}", **STYLE["text"])
    return figure


def parts(scenes: Parts) -> Figure:
    """Draws scenes above their backgrounds, their canvases, and the pixels of each object.

    Args:
        scenes: R of them, R at least 1.

    Returns:
        The figure; the pixels of objects 1, 2, 3 are red, green, blue.
    """
    rows = [
        _Row("scene", scenes.image),
        _Row("background", scenes.background),
        _Row("painted", scenes.reconstruction),
        _Row("objects", _coloured(scenes.masks)),
    ]
    return _grid(rows, steps=0)


def strokes(characters: Strokes) -> Figure:
    """Draws characters, the strokes they were drawn in, and what each step paints, in order.

    Args:
        characters: R of them, R at least 1.

    Returns:
        The figure; strokes and steps 1, 2, 3 are red, green, blue. Below the canvas with all
        windows, the row of each step shows its paint in its own window.
    """
    view, windows = characters.view, characters.view.used()
    rows = [
        _Row("character", view.image),
        _Row("true strokes", _coloured(characters.masks)),
        _Row("painted", view.reconstruction, windows),
    ]
    for step, paint in enumerate(np.moveaxis(characters.paint, 1, 0)):
        colour = np.array(to_rgb(_colour(step)))[:, None, None]
        rows.append(_Row(f"step {step + 1}", paint[:, None] * colour))
    return _grid(rows, steps=view.windows.shape[1])


def objects(titles: Sequence[str], rows: Sequence[np.ndarray]) -> Figure:
    """Draws rows of objects, each with its title.

    Args:
        titles: of the rows, at least one.
        rows: objects in [0, 1], each of shape (n, 1, s, s), n at least 1.
    """
    return _grid([_Row(*pair) for pair in zip(titles, rows, strict=True)], steps=0)


def scenes_grid(images: np.ndarray, columns: int) -> Figure:
    """Draws scenes side by side, row after row.

    Args:
        images: in [0, 1], with shape (M, C, H, W), M at least 1.
        columns: pictures in a row, at least 1.

    Returns:
        The figure; the last row may be shorter.
    """
    starts = range(0, len(images), columns)
    return _grid([_Row("", images[start : start + columns]) for start in starts], steps=0)


def drawing(images: np.ndarray, canvases: np.ndarray, windows: np.ndarray) -> Figure:
    """Draws how a canvas comes about step by step (DRAW).

    Args:
        images: the scenes, in [0, 1], with shape (R, C, H, W).
        canvases: the canvas after each of T steps, with shape (R, T, C, H, W).
        windows: x0, y0, x1, y1 in pixels of what each step wrote to, with shape (R, T, 4).

    Returns:
        The figure: scenes in the top row, below it the canvases after some of the steps, from the
        first to the last, each with the window of that step in red.
    """
    T = canvases.shape[1]
    shown = np.unique(np.geomspace(1, T, min(T, 7)).round().astype(int))
    rows = [_Row("scene", images)]
    rows += [
        _Row(f"step {step}", canvases[:, step - 1], [*windows[:, step - 1 : step]])
        for step in shown
    ]
    return _grid(rows, steps=0)


def _coloured(masks: np.ndarray) -> np.ndarray:
    """Pixels of object k, from 1 on, in the colour of step k; (R, H, W) -> (R, 3, H, W)."""
    colours = np.array([(0, 0, 0), *map(to_rgb, STEP_COLOURS)])
    index = np.where(masks > 0, (masks - 1) % len(STEP_COLOURS) + 1, 0)
    return np.moveaxis(colours[index], -1, 1)


def _pairs(view: View) -> Figure:
    rows = [_Row("scene", view.image), _Row("painted", view.reconstruction, view.used())]
    return _grid(rows, steps=view.windows.shape[1], head=0.3)


def _grid(rows: Sequence[_Row], steps: int, head: float = 0.1) -> Figure:
    """Lays out the rows below `head` inches of room for titles and above a key of the steps."""
    R, (H, W) = max(len(row.pictures) for row in rows), rows[0].pictures.shape[2:]
    label = 0.15 + 0.09 * max(len(row.label) for row in rows)  # inches
    width = R * (CELL * W / max(H, W) + GAP)
    height = len(rows) * (CELL * H / max(H, W) + GAP)
    page = (max(label + width + 0.1, 0.3 + 0.8 * steps), head + height + (0.4 if steps else 0.05))
    figure = Figure(figsize=page, dpi=STYLE["dpi"])
    top = 1 - head / page[1]
    box = dict(left=label / page[0], right=(label + width) / page[0], top=top)
    spacing = dict(bottom=top - height / page[1], wspace=GAP, hspace=GAP)
    cells = figure.subplots(len(rows), R, squeeze=False, gridspec_kw=box | spacing)
    for axes, row in zip(cells, rows, strict=True):
        _draw_row(axes, row)
    _key(figure, steps)
    return figure


def _draw_row(cells: Sequence[Axes], row: _Row) -> None:
    cells[0].set_ylabel(row.label, rotation=0, ha="right", va="center", **STYLE["small"])
    for axes in cells[len(row.pictures) :]:
        axes.set_axis_off()
    for axes, picture in zip(cells, row.pictures, strict=False):
        _draw_picture(axes, picture)
    for axes, windows in zip(cells, row.windows, strict=False):
        _draw_windows(axes, windows)


def _draw_picture(axes: Axes, picture: np.ndarray) -> None:
    _, H, W = picture.shape
    axes.imshow(_bytes(picture), interpolation="nearest", extent=(0, W, H, 0))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(**STYLE["picture"])


def _draw_windows(axes: Axes, windows: np.ndarray) -> None:
    for step, (x0, y0, x1, y1) in enumerate(windows):
        corner, width, height = (x0, y0), x1 - x0, y1 - y0
        axes.add_patch(Rectangle(corner, width, height, edgecolor=_colour(step), **STYLE["window"]))


def _key(figure: Figure, steps: int) -> None:
    if steps:
        handles = [Patch(color=_colour(step), label=f"step {step + 1}") for step in range(steps)]
        shape = dict(ncols=steps, handlelength=0.9, columnspacing=1.4)
        figure.legend(handles=handles, loc="lower center", **shape, **STYLE["legend"])


def _colour(step: int) -> str:
    return STEP_COLOURS[step % len(STEP_COLOURS)]


def _bytes(picture: np.ndarray) -> np.ndarray:
    """The picture (C, H, W) as RGB bytes (H, W, 3); a canvas may add up to more than white."""
    clipped = np.clip(np.nan_to_num(picture, nan=0.0), 0, 1)
    rgb = np.broadcast_to(clipped, (3, *picture.shape[1:]))
    return (rgb * 255).round().astype(np.uint8).transpose(1, 2, 0)


# Charts


def count_accuracy(steps: np.ndarray, accuracy: np.ndarray) -> Figure:
    """Draws the share of scenes counted right over training.

    Args:
        steps: training iterations, with shape (T,).
        accuracy: in [0, 1], NaN where it was not measured, with shape (T,).

    Returns:
        The figure, in percent, with the last value written at the end of the line.
    """
    figure, axes = _chart("training iteration", "scenes counted right")
    _curve(axes, steps, accuracy, STYLE["line"])
    axes.set_ylim(0, 1.05)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    for x, y in list(zip(*_measured(steps, accuracy), strict=True))[-1:]:
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
    figure, axes = _chart("training iteration", "ELBO, nats an image")
    _curve(axes, steps, train_elbo, STYLE["line"], "training")
    values = train_elbo
    if validation_elbo is not None:
        _curve(axes, steps, validation_elbo, STYLE["second"], "held out")
        values = np.concatenate([train_elbo, validation_elbo])
        axes.legend(**STYLE["legend"])
    _robust_limits(axes, values)
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return figure


def count_histogram(scenes: np.ndarray) -> Figure:
    """Draws how many scenes were inferred to hold 0, 1, 2, ... objects.

    Args:
        scenes: number of scenes by inferred count, with shape (P,).

    Returns:
        The figure, one bar a count, with its share of all scenes above.
    """
    figure, axes = _chart("inferred objects", "scenes")
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
        axes.spines[:].set(color=_colour(step), linewidth=1.5)
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
    figure, axes = _chart("inferred objects", "true objects", (0.9 * P + 1.3, 0.75 * T + 1.0))
    axes.imshow(shares, cmap=STYLE["map"], vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(xticks=range(P), yticks=range(T))
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else STYLE["text"]["color"]
        text = f"{matrix[row, column]:,}\n{share:.1%}"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=10)
    return figure


def _chart(x: str, y: str, size: tuple[float, float] = (6.4, 3.4)) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, dpi=STYLE["dpi"], layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x, **STYLE["text"])
    axes.set_ylabel(y, **STYLE["text"])
    _plain_axes(axes)
    return figure, axes


def _plain_axes(axes: Axes) -> None:
    axes.tick_params(which="both", **STYLE["ticks"])
    axes.grid(**STYLE["grid"])
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set(**STYLE["picture"])


def _curve(axes: Axes, steps: np.ndarray, values: np.ndarray, colour: str, label: str = "") -> None:
    x, y = _measured(steps, values)
    marker = "o" if len(x) < 40 else ""  # a lone point would otherwise be invisible
    axes.plot(x, y, color=colour, label=label, linewidth=1.6, marker=marker, markersize=3)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _measured(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    finite = np.isfinite(values)
    return steps[finite], values[finite]


def _robust_limits(axes: Axes, values: np.ndarray) -> None:
    finite = values[np.isfinite(values)]
    if finite.size:
        low, high = np.percentile(finite, 10), finite.max()
        margin = 0.05 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)


def _centre_density(windows: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """Number of windows (n, 4) by the place of their centre, about 25 bins on the longer side."""
    H, W = canvas
    x, y = (windows[:, :2] + windows[:, 2:]).T / 2
    bins = [max(1, round(25 * side / max(H, W))) for side in canvas]
    return np.histogram2d(y, x, bins, range=[(0, H), (0, W)])[0]


# Comparisons of estimators


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
        _plain_axes(axes)
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
        _plain_axes(axes)
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


# Generalisation


Curve = tuple[np.ndarray, np.ndarray]


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
    rows = [_Row("scene", next(iter(views.values())).image)]
    rows += [_Row(name, view.reconstruction, view.used()) for name, view in views.items()]
    R = len(rows[0].pictures)
    size = (0.62 * R + 3.9, max(3.2, 0.68 * len(rows)))
    figure = Figure(figsize=size, dpi=STYLE["dpi"], layout="constrained")
    halves = figure.add_gridspec(1, 2, width_ratios=(0.62 * R + 0.4, 3.5))
    left, right = (figure.add_subfigure(halves[0, side]) for side in range(2))
    cells = left.subplots(len(rows), R, squeeze=False, gridspec_kw=dict(wspace=0.02, hspace=0.02))
    for axes, row in zip(cells, rows, strict=True):
        _draw_row(axes, row)
    panels = {"ELBO, nats": bounds, "counted right": accuracies}
    known = {label: runs for label, runs in panels.items() if runs}
    charts = right.subplots(len(known), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (label, runs) in zip(charts, known.items(), strict=True):
        _plain_axes(axes)
        axes.set_ylabel(label, **STYLE["text"])
        _draw_runs(axes, runs)
    if bounds:
        _robust_limits(charts[0], np.concatenate([y for runs in bounds.values() for _, y in runs]))
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
    figure, axes = _chart("objects in the scene", "scenes counted right")
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
        _plain_axes(axes)
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


def by_group(panels: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]]) -> Figure:
    """Draws how shares fall from one group of scenes to the next.

    Args:
        panels: by the name of the groups, by reader and by group, a share in [0, 1] of each seed.

    Returns:
        The figure, a panel for each sort of groups and a line a reader through the means of its
        seeds, each of which is a dot.
    """
    figure = Figure(figsize=(4.1 * len(panels), 3.6), dpi=STYLE["dpi"], layout="constrained")
    cells = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axes, (name, readers) in zip(cells, panels.items(), strict=True):
        _plain_axes(axes)
        groups = [*next(iter(readers.values()))]
        for place, (reader, some) in enumerate(readers.items()):
            colour = READER_COLOURS[place % len(READER_COLOURS)]
            means = [float(np.mean(some[group])) for group in groups]
            axes.plot(range(len(groups)), means, color=colour, linewidth=1.2, label=reader)
            for at, shares in enumerate(some.values()):
                axes.plot([at] * len(shares), shares, "o", color=colour, markersize=3)
        axes.set_xticks(range(len(groups)), groups)
        axes.set_xlim(-0.3, len(groups) - 0.7)
        axes.set_xlabel(name, **STYLE["text"])
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    cells[0].set_ylabel("right, mean of classes", **STYLE["text"])
    handles, labels = cells[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, **STYLE["legend"])
    return figure


def _draw_runs(axes: Axes, runs: Mapping[str, Sequence[Curve]]) -> None:
    """A line a run, in the colour of its model."""
    for place, (name, curves) in enumerate(runs.items()):
        colour = MODEL_COLOURS[place % len(MODEL_COLOURS)]
        for index, (x, y) in enumerate(curves):
            (line,) = axes.plot(x, y, color=colour, linewidth=1.1, marker="o", markersize=2.5)
            line.set_label("" if index else name)


# Pictures without axes


def overlay(image: np.ndarray, boxes: np.ndarray, labels: Sequence[str]) -> Image.Image:
    """Draws labelled boxes on one picture.

    Args:
        image: in [0, 1], with shape (C, H, W), C 1 or 3.
        boxes: x0, y0, x1, y1 in pixels of `image`, with shape (n, 4).
        labels: a text for each box; an empty one is left out.

    Returns:
        An RGB picture, a whole number of times as large as `image`: at least 256 pixels along its
        longer side.
    """
    _, H, W = image.shape
    scale = math.ceil(256 / max(H, W))
    picture = Image.fromarray(_bytes(image)).resize(
        (W * scale, H * scale), Image.Resampling.NEAREST
    )
    draw = ImageDraw.Draw(picture)
    for step, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        draw.rectangle([float(edge) * scale for edge in box], outline=_colour(step), width=2)
        if label:
            _tag(draw, label, box[0] * scale, box[1] * scale, _colour(step))
    return picture


def _tag(draw: ImageDraw.ImageDraw, label: str, x: float, y: float, colour: str) -> None:
    """Writes `label` on a patch of `colour`, above (x, y) where there is room on the picture."""
    font = ImageFont.load_default(12)
    _, _, width, height = draw.textbbox((2, 2), label, font=font)
    picture = draw.im.size
    x = float(np.clip(x, 0, max(0, picture[0] - width - 2)))
    y = float(np.clip(y - height - 2, 0, max(0, picture[1] - height - 2)))
    draw.rectangle([x, y, x + width + 2, y + height + 2], fill=colour)
    draw.text((x + 2, y + 1), label, fill="black", font=font)


def training_animation(stages: Sequence[tuple[int, View]]) -> list[Image.Image]:
    """Draws the stages of training as the frames of an animation.

    Args:
        stages: pairs of a training iteration and what the model then infers from the same R scenes.

    Returns:
        One RGB frame a stage: the iteration, the scenes, their reconstructions with windows.
    """
    return [_frame(step, view) for step, view in stages]


def save_gif(frames: Sequence[Image.Image], path: Path, seconds_a_frame: float) -> Path:
    """Writes frames of one size as an endless animation that rests on its last frame.

    Args:
        frames: at least one RGB picture.
        path: file to write, whole or not at all.
        seconds_a_frame: how long each is shown; the last is shown four times as long.

    Returns:
        The path written.
    """
    durations = [round(1000 * seconds_a_frame)] * len(frames)
    durations[-1] *= 4
    options = dict(save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return write_whole(path, lambda temporary: frames[0].save(temporary, format="GIF", **options))


def _frame(step: int, view: View) -> Image.Image:
    figure = _pairs(view)
    figure.suptitle(f"iteration {step:,}", **STYLE["text"], y=0.985)
    figure.set_dpi(100)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
