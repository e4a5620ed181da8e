"""Pictures of 3D scenes: what is seen, what was inferred, and both from above."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from airscene.report.figures.style import MODEL_COLOURS, STYLE

SIDE, KEY = 1.5, 0.45  # inches: of a picture, of the key below
LABEL = 1.5  # inches of what stands at the left of a row
BINS = 14  # of a heatmap along a side
HAND = 0.45  # length of the hand that shows a yaw, in the unit of the world
VIEWED = 2.2  # half the side of what is shown from above


@dataclass(frozen=True)
class Plan:
    """What lies on the tables of R scenes, from above.

    Attributes:
        kind: of each object, by its place among the kinds, -1 where there is none, shape (R, N).
        pose: x, y and yaw, shape (R, N, 3).
        camera: azimuth, elevation and distance, shape (R, 3).
    """

    kind: np.ndarray
    pose: np.ndarray
    camera: np.ndarray


@dataclass(frozen=True)
class Tables:
    """R scenes with what was inferred.

    Attributes:
        image: the scenes, in [0, 1], shape (R, 3, H, W).
        reconstruction: pictures of what was inferred, with the shape of `image`.
        names: those of the kinds.
        turns: whether the yaw of each kind shows.
        half_side: half the length of the table's side.
        found: what was inferred.
        truth: what is there, None where it is not known.
    """

    image: np.ndarray
    reconstruction: np.ndarray
    names: Sequence[str]
    turns: Sequence[bool]
    half_side: float
    found: Plan
    truth: Plan | None = None


def tables(scenes: Tables) -> Figure:
    """Draws scenes, pictures of what was inferred, and both from above.

    Returns:
        The figure. From above, rings are what is there and discs what was inferred, in the colour
        of the kind, with a hand in the direction of the yaw; lines at the border point to the
        camera.
    """
    columns = len(scenes.image)
    size = columns * SIDE, 3 * SIDE + KEY
    figure = Figure(figsize=size, dpi=STYLE["dpi"])
    box = {"left": 0.06 / columns, "right": 1 - 0.06 / columns, "top": 0.99}
    spacing = {"bottom": KEY / size[1], "wspace": 0.05, "hspace": 0.05}
    cells = figure.subplots(3, columns, squeeze=False, gridspec_kw=box | spacing)
    for row, pictures in zip(cells, (scenes.image, scenes.reconstruction), strict=False):
        for axes, picture in zip(row, pictures, strict=True):
            axes.imshow(np.moveaxis(picture, 0, -1).clip(0, 1), interpolation="nearest")
    for n, axes in enumerate(cells[2]):
        _draw_plan(axes, scenes, n)
    for axes in cells.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set(**STYLE["picture"])
    _key(figure, scenes)
    return figure


def _draw_plan(axes: Axes, scenes: Tables, row: int) -> None:
    half = scenes.half_side
    axes.set(xlim=(-VIEWED, VIEWED), ylim=(-VIEWED, VIEWED), aspect="equal")
    axes.add_patch(Rectangle((-half, -half), 2 * half, 2 * half, fill=False, **STYLE["picture"]))
    if scenes.truth is not None:
        _draw_objects(axes, scenes, scenes.truth, row, filled=False)
    _draw_objects(axes, scenes, scenes.found, row, filled=True)


def _draw_objects(axes: Axes, scenes: Tables, plan: Plan, row: int, filled: bool) -> None:
    azimuth = plan.camera[row, 0]
    ends = np.outer((1.6, 2.1) if filled else (1.3, 2.1), (np.cos(azimuth), np.sin(azimuth)))
    axes.plot(*ends.T, color="#333333", linewidth=2.4 if filled else 0.9)
    for k, (x, y, yaw) in zip(plan.kind[row], plan.pose[row], strict=True):
        if k < 0:
            continue
        colour = MODEL_COLOURS[k % len(MODEL_COLOURS)]
        inside = colour if filled else "none"
        width = 5 if filled else 10
        axes.plot(x, y, "o", color=colour, markerfacecolor=inside, markersize=width)
        if scenes.turns[k]:
            hand = [x, x + HAND * np.cos(yaw)], [y, y + HAND * np.sin(yaw)]
            axes.plot(*hand, color=colour, linewidth=2.4 if filled else 0.9)


def _key(figure: Figure, scenes: Tables) -> None:
    handles = [
        Line2D([], [], color=MODEL_COLOURS[k % len(MODEL_COLOURS)], marker="o", label=name)
        for k, name in enumerate(scenes.names)
    ]
    shape = {"ncols": len(handles), "handlelength": 1.4, "columnspacing": 1.2}
    figure.legend(handles=handles, loc="lower center", **shape, **STYLE["legend"])


def picture_rows(rows: Mapping[str, np.ndarray]) -> Figure:
    """Draws rows of pictures, each with its name at the left: the paper's Figure 6.

    Args:
        rows: pictures in [0, 1], shape (R, 3, H, W), by name.
    """
    columns = len(next(iter(rows.values())))
    size = LABEL + 0.7 * columns * SIDE, 0.7 * len(rows) * SIDE
    figure = Figure(figsize=size, dpi=STYLE["dpi"])
    box = {"left": LABEL / size[0], "right": 0.995, "top": 0.995, "bottom": 0.005}
    cells = figure.subplots(
        len(rows), columns, squeeze=False, gridspec_kw=box | {"wspace": 0.05, "hspace": 0.05}
    )
    for line, (name, pictures) in zip(cells, rows.items(), strict=True):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", **STYLE["small"])
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(np.moveaxis(picture, 0, -1).clip(0, 1), interpolation="nearest")
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(**STYLE["picture"])
    return figure


def place_heatmaps(position: np.ndarray, kind: np.ndarray, names: Sequence[str]) -> Figure:
    """Draws where objects of each kind were found by each step: the paper's Figure 7.

    Args:
        position: x and y, shape (M, N, 2).
        kind: by its place among the names, -1 where nothing was found, shape (M, N).
        names: those of the kinds.

    Returns:
        The figure: a row for all kinds together and one for each, a column a step. Each map has its
        own scale.
    """
    steps, rows = kind.shape[1], ["all", *names]
    figure = Figure(figsize=(1 + SIDE * steps, 0.3 + SIDE * len(rows)), dpi=STYLE["dpi"])
    box = {"left": 1 / (1 + SIDE * steps), "right": 0.98, "bottom": 0.02, "top": 0.94}
    cells = figure.subplots(len(rows), steps, squeeze=False, gridspec_kw=box)
    edges = np.linspace(-1.1, 1.1, BINS + 1)
    for k, (line, name) in enumerate(zip(cells, rows, strict=True)):
        line[0].set_ylabel(name, rotation=0, ha="right", va="center", **STYLE["small"])
        for n, axes in enumerate(line):
            chosen = kind[:, n] >= 0 if k == 0 else kind[:, n] == k - 1
            density, *_ = np.histogram2d(*position[chosen, n].T, bins=(edges, edges))
            axes.imshow(density.T, origin="lower", cmap=STYLE["map"], vmin=0)
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set(**STYLE["picture"])
    for n, axes in enumerate(cells[0]):
        axes.set_title(f"step {n + 1}", **STYLE["text"])
    return figure
