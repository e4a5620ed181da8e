"""Grids of scenes: what was inferred of them, taken apart, step by step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import PercentFormatter

from airscene.report.figures.style import (
    READER_COLOURS,
    STEP_COLOURS,
    STYLE,
    plain_axes,
    step_colour,
)

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


@dataclass(frozen=True)
class Row:
    """A row of pictures, each with the windows of its steps."""

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
    rows = [Row("scene", stages[0][1].image)]
    rows += [Row(f"{step:,}", view.reconstruction, view.used()) for step, view in stages]
    return _grid(rows, steps=stages[-1][1].windows.shape[1])


def mistakes(view: View, true_count: np.ndarray) -> Figure:
    """Draws scenes that were counted wrong, above their reconstructions.

    Args:
        view: the R scenes and what was inferred from them, R at least 1.
        true_count: how many objects each scene has, with shape (R,).

    Returns:
        The figure; "2 as 1" above a scene means that it has two objects and one was inferred.
    """
    figure = pairs(view)
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
        Row("scene", scenes.image),
        Row("background", scenes.background),
        Row("painted", scenes.reconstruction),
        Row("objects", _coloured(scenes.masks)),
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
        Row("character", view.image),
        Row("true strokes", _coloured(characters.masks)),
        Row("painted", view.reconstruction, windows),
    ]
    for step, paint in enumerate(np.moveaxis(characters.paint, 1, 0)):
        colour = np.array(to_rgb(step_colour(step)))[:, None, None]
        rows.append(Row(f"step {step + 1}", paint[:, None] * colour))
    return _grid(rows, steps=view.windows.shape[1])


def objects(titles: Sequence[str], rows: Sequence[np.ndarray]) -> Figure:
    """Draws rows of objects, each with its title.

    Args:
        titles: of the rows, at least one.
        rows: objects in [0, 1], each of shape (n, 1, s, s), n at least 1.
    """
    return _grid([Row(*pair) for pair in zip(titles, rows, strict=True)], steps=0)


def scenes_grid(images: np.ndarray, columns: int) -> Figure:
    """Draws scenes side by side, row after row.

    Args:
        images: in [0, 1], with shape (M, C, H, W), M at least 1.
        columns: pictures in a row, at least 1.

    Returns:
        The figure; the last row may be shorter.
    """
    starts = range(0, len(images), columns)
    return _grid([Row("", images[start : start + columns]) for start in starts], steps=0)


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
    rows = [Row("scene", images)]
    rows += [
        Row(f"step {step}", canvases[:, step - 1], [*windows[:, step - 1 : step]]) for step in shown
    ]
    return _grid(rows, steps=0)


def _coloured(masks: np.ndarray) -> np.ndarray:
    """Pixels of object k, from 1 on, in the colour of step k; (R, H, W) -> (R, 3, H, W)."""
    colours = np.array([(0, 0, 0), *map(to_rgb, STEP_COLOURS)])
    index = np.where(masks > 0, (masks - 1) % len(STEP_COLOURS) + 1, 0)
    return np.moveaxis(colours[index], -1, 1)


def pairs(view: View) -> Figure:
    """Scenes above what was painted of them."""
    rows = [Row("scene", view.image), Row("painted", view.reconstruction, view.used())]
    return _grid(rows, steps=view.windows.shape[1], head=0.3)


def _grid(rows: Sequence[Row], steps: int, head: float = 0.1) -> Figure:
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
        draw_row(axes, row)
    _key(figure, steps)
    return figure


def draw_row(cells: Sequence[Axes], row: Row) -> None:
    """Draws a row of pictures into its cells, its label on the left."""
    cells[0].set_ylabel(row.label, rotation=0, ha="right", va="center", **STYLE["small"])
    for axes in cells[len(row.pictures) :]:
        axes.set_axis_off()
    for axes, picture in zip(cells, row.pictures, strict=False):
        _draw_picture(axes, picture)
    for axes, windows in zip(cells, row.windows, strict=False):
        _draw_windows(axes, windows)


def _draw_picture(axes: Axes, picture: np.ndarray) -> None:
    _, H, W = picture.shape
    axes.imshow(as_bytes(picture), interpolation="nearest", extent=(0, W, H, 0))
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(**STYLE["picture"])


def _draw_windows(axes: Axes, windows: np.ndarray) -> None:
    for step, (x0, y0, x1, y1) in enumerate(windows):
        corner, width, height = (x0, y0), x1 - x0, y1 - y0
        look = {"edgecolor": step_colour(step), **STYLE["window"]}
        axes.add_patch(Rectangle(corner, width, height, **look))


def _key(figure: Figure, steps: int) -> None:
    if steps:
        handles = [Patch(color=step_colour(k), label=f"step {k + 1}") for k in range(steps)]
        shape = dict(ncols=steps, handlelength=0.9, columnspacing=1.4)
        figure.legend(handles=handles, loc="lower center", **shape, **STYLE["legend"])


def as_bytes(picture: np.ndarray) -> np.ndarray:
    """The picture (C, H, W) as RGB bytes (H, W, 3); a canvas may add up to more than white."""
    clipped = np.clip(np.nan_to_num(picture, nan=0.0), 0, 1)
    rgb = np.broadcast_to(clipped, (3, *picture.shape[1:]))
    return (rgb * 255).round().astype(np.uint8).transpose(1, 2, 0)


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
        plain_axes(axes)
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
