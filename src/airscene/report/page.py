"""One page that tells what a model learned: report.html, which works offline, and its figures."""

import base64
import html
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from airscene.files import write_text, write_whole
from airscene.report import figures
from airscene.report.figures import Parts, View, scenes_3d
from airscene.report.figures.scenes_3d import Tables
from airscene.results.gallery import Gallery

ROWS = 8  # stages of training in the picture of reconstructions
SECONDS_A_FRAME = 0.6
PAGE = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class ReportData:
    """All that a report tells; what is empty, absent or None is left out of it.

    Attributes:
        title: heading of the page.
        config: the resolved configuration, as nested plain values.
        metrics: rows logged in training, each with `step` and some of `seconds`,
            `images_per_second`, `train/elbo`, `validation/elbo` (nats an image) and
            `validation/count_accuracy` (in [0, 1]).
        evaluation: figures of the final evaluation on held-out scenes: `scenes`, `elbo`, `bound`,
            `bound_samples`, `bound_scenes` (how many of the scenes, the first ones, the bound is
            over), `images_per_second`, `count_histogram` (scenes by inferred count) and, where the
            truth is known, `count_accuracy`, `count_mean_absolute_error`, `count_confusion` (scenes
            by true and inferred count), `box_mean_iou`, `box_f1`, `box_ap50`, `mask_ari`,
            `mask_iou`.
        stages: pairs of a training iteration and what the model then infers from the same scenes.
        windows: attention windows x0, y0, x1, y1 in pixels of the M evaluated scenes, NaN where a
            step was not used, with shape (M, N, 4); None of a model without objects.
        canvas: height and width of a scene in pixels.
        parts: a few scenes, taken apart into background and objects; None without objects.
        gallery: objects of the user's pictures, sorted by what they look like.
        mistakes: scenes counted wrong and their true counts, with shape (R,).
        tables: a few 3D scenes and what was inferred; None of models without them.
        drawing: of a model that paints step by step: scenes (R, C, H, W), the canvas after each
            step (R, T, C, H, W), and the windows x0, y0, x1, y1 in pixels (R, T, 4).
    """

    title: str
    config: dict[str, Any]
    metrics: list[dict[str, Any]]
    evaluation: dict[str, Any]
    stages: list[tuple[int, View]]
    canvas: tuple[int, int]
    windows: np.ndarray | None = None
    parts: Parts | None = None
    gallery: Gallery | None = None
    mistakes: tuple[View, np.ndarray] | None = None
    drawing: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    tables: Tables | None = None


@dataclass(frozen=True)
class _Text:
    title: str
    alt: str
    caption: str


def write_report(data: ReportData, out: Path) -> Path:
    """Writes `out`/report.html, with every picture inside it, and the pictures to `out`/figures.

    Args:
        data: what to tell.
        out: folder, made where it does not exist.

    Returns:
        The path of the page.

    Raises:
        UserError: the folder cannot be written; a report that stood there survives.
    """
    sections = [_section(name, path) for name, path in _write_figures(data, out / "figures")]
    page = PAGE.substitute(
        title=html.escape(data.title),
        headline="\n".join(_tile(*fact) for fact in _headline(data)),
        sections="\n".join(sections),
        config=html.escape(json.dumps(data.config, indent=2, default=str)),
    )
    return write_text(out / "report.html", page)


def _write_figures(data: ReportData, folder: Path) -> Iterator[tuple[str, Path]]:
    for name, figure in _draw(data):
        yield name, write_whole(folder / f"{name}.png", figure.savefig)
    if len(data.stages) > 1:
        frames = figures.training_animation(data.stages)
        yield "training", figures.save_gif(frames, folder / "training.gif", SECONDS_A_FRAME)


def _draw(data: ReportData) -> Iterator[tuple[str, Figure]]:
    if data.stages:
        yield "reconstructions", figures.reconstructions(_spread(data.stages))
    if data.parts is not None:
        yield "parts", figures.parts(data.parts)
    if data.gallery is not None:
        yield "gallery", figures.objects(data.gallery.titles, data.gallery.rows)
    if data.tables is not None:
        yield "tables", scenes_3d.tables(data.tables)
    yield from _draw_counts(data.evaluation)
    if data.mistakes is not None and len(data.mistakes[1]):
        yield "mistakes", figures.mistakes(*data.mistakes)
    if data.windows is not None and np.isfinite(data.windows).any():
        yield "heatmaps", figures.window_heatmaps(data.windows, data.canvas)
    if data.drawing is not None:
        yield "drawing", figures.drawing(*data.drawing)
    yield from _draw_training(data.metrics)


def _draw_counts(evaluation: dict[str, Any]) -> Iterator[tuple[str, Figure]]:
    if evaluation.get("count_confusion"):
        yield "confusion", figures.confusion(np.array(evaluation["count_confusion"]))
    elif evaluation.get("count_histogram"):
        yield "counts", figures.count_histogram(np.array(evaluation["count_histogram"]))


def _draw_training(rows: list[dict[str, Any]]) -> Iterator[tuple[str, Figure]]:
    steps, accuracy = _column(rows, "step"), _column(rows, "validation/count_accuracy")
    train, validation = _column(rows, "train/elbo"), _column(rows, "validation/elbo")
    if np.isfinite(accuracy).any():
        yield "count_accuracy", figures.count_accuracy(steps, accuracy)
    if np.isfinite(train).any():
        held_out = validation if np.isfinite(validation).any() else None
        yield "bound", figures.bound(steps, train, held_out)


def _column(rows: list[dict[str, Any]], key: str) -> np.ndarray:
    return np.array([row.get(key) for row in rows], dtype=float)  # None becomes NaN


def _spread(stages: Sequence[tuple[int, View]]) -> list[tuple[int, View]]:
    """At most `ROWS` stages, evenly spread, the first and the last among them."""
    chosen = np.linspace(0, len(stages) - 1, min(ROWS, len(stages))).round().astype(int)
    return [stages[index] for index in chosen]


def _headline(data: ReportData) -> Iterator[tuple[str, str, str]]:
    """Yields value, name and meaning of every headline number that is known."""
    known = data.evaluation | {
        f"training_{key}": data.metrics[-1].get(key)
        for key in ("seconds", "images_per_second")
        if data.metrics
    }
    for key, pattern, name, meaning in HEADLINE:
        value = known.get(key)
        if value is not None and math.isfinite(value):
            shown = _duration(value) if key == "training_seconds" else pattern.format(value)
            yield shown, name, meaning.format(**_scope_of_bound(known))


def _scope_of_bound(known: dict[str, Any]) -> dict[str, Any]:
    """What the meanings say of the tighter bound: its samples, and on how many scenes it is."""
    scenes, scope = known.get("bound_scenes"), {"part": "", "but": ""}
    if scenes is not None and scenes < known.get("scenes", 0):
        part = f", on the first {scenes:,} scenes"
        scope = {"part": part, "but": ", but for the tighter bound"}
    return {"samples": known.get("bound_samples", "many")} | scope


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def _tile(value: str, name: str, meaning: str) -> str:
    value, name, meaning = map(html.escape, (value, name, meaning))
    return f"<div><dt>{name}</dt><dd>{value}<small>{meaning}</small></dd></div>"


def _section(name: str, picture: Path) -> str:
    text = TEXTS[name]
    kind = picture.suffix.removeprefix(".")
    source = f"data:image/{kind};base64,{base64.b64encode(picture.read_bytes()).decode()}"
    return (
        f'<section id="{name}"><h2>{text.title}</h2><figure>'
        f'<div class="frame"><img alt="{text.alt}" src="{source}"></div>'
        f"<figcaption>{text.caption}</figcaption></figure></section>"
    )


# The words and the page, last so that the code reads first

HEADLINE = (
    ("count_accuracy", "{:.1%}", "Count accuracy", "scenes whose number of objects is right"),
    (
        "count_mean_absolute_error",
        "{:.3f}",
        "Count error",
        "objects too many or too few, on average",
    ),
    (
        "box_mean_iou",
        "{:.3f}",
        "Box overlap (IoU)",
        "shared area of inferred and true boxes over their joint area; 1 is perfect",
    ),
    (
        "box_f1",
        "{:.3f}",
        "Boxes found (F1)",
        "mean of the shares of true boxes found and of found boxes that are right; 1 is perfect",
    ),
    (
        "box_ap50",
        "{:.3f}",
        "Box precision (AP)",
        "average precision of boxes that overlap at least half; 1 is perfect",
    ),
    (
        "mask_ari",
        "{:.3f}",
        "Mask agreement (ARI)",
        "whether pixels of one object are found together; 1 is perfect, 0 is chance",
    ),
    (
        "mask_iou",
        "{:.3f}",
        "Mask overlap (IoU)",
        "shared pixels of inferred and true objects over their joint pixels; 1 is perfect",
    ),
    (
        "identity_accuracy",
        "{:.1%}",
        "Identity",
        "objects whose kind is right, of those matched with a true one",
    ),
    (
        "position_error",
        "{:.3f}",
        "Position error",
        "mean distance of matched objects on a table on which they lie from −1 to 1",
    ),
    (
        "camera_error_degrees",
        "{:.1f}°",
        "Camera error",
        "mean angle between the true and the inferred direction of the camera",
    ),
    (
        "elbo",
        "{:,.1f}",
        "ELBO, nats an image",
        "lower bound on the log-probability of a scene; higher is better",
    ),
    (
        "bound",
        "{:,.1f}",
        "Tighter bound, nats",
        "the same bound, importance-weighted over {samples} samples{part}",
    ),
    ("scenes", "{:,}", "Scenes evaluated", "the numbers above are over all of them{but}"),
    ("training_seconds", "{}", "Training time", "from the first to the last iteration"),
    (
        "training_images_per_second",
        "{:,.0f}",
        "Images/s in training",
        "forward, backward and update",
    ),
    ("images_per_second", "{:,.0f}", "Images/s in inference", "from a picture to its objects"),
)
"""Key, format, name and meaning of the numbers on top of the page, in order."""

TEXTS = {
    "reconstructions": _Text(
        "What the model sees",
        "Grid of scenes and, below them, their reconstructions at several stages of training, with "
        "coloured windows around the objects.",
        "The top row holds scenes; each row below holds their reconstructions after as many "
        "iterations of training as stand at its left. A frame is the window through which one "
        "step looks and paints: red is the first step, green the second, blue the third. Early "
        "on, windows lie anywhere and many objects share one; in the end each object should "
        "have its own, and an empty scene none. No label was used to learn this.",
    ),
    "parts": _Text(
        "What each pixel belongs to",
        "Grid of scenes and, below them, their backgrounds, their reconstructions, and the pixels "
        "of each object in its colour.",
        "The rows hold scenes, what the model takes for the background, all that it paints, and "
        "the pixels that show each counted object: red for the first, green for the second, blue "
        "for the third. The background is black unless <code>--model.background</code> names one. "
        "A background that shows objects has swallowed them; an object that shows the background "
        "explains what the background should.",
    ),
    "gallery": _Text(
        "What kinds of objects there are",
        "Rows of small pictures of objects, a row for each kind and one of outliers.",
        "Objects sorted by the appearance codes that the model gave them. Each row holds a kind, "
        "from what is typical of it at the left to what hardly belongs to it at the right, with "
        "the number of its objects. Outliers are farthest from all others: debris, parts of "
        "objects, objects that touch. The kinds are groups of codes (k-means) and need not be the "
        "kinds that people see.",
    ),
    "tables": _Text(
        "What lies on the table",
        "Grid of 3D scenes and, below them, pictures of what was inferred, and both from above.",
        "The top row holds scenes, the middle one the renderer's pictures of what was inferred. "
        "Below is the table from above: rings are what is there, if that is known, and discs what "
        "was inferred, in the colour of the kind. Hands point in the direction of the yaw, where "
        "it shows. The lines outside point to the camera: the thin one to where it is, the thick "
        "one to where it was inferred.",
    ),
    "confusion": _Text(
        "Where counting goes wrong",
        "Table of the number of scenes by true and by inferred number of objects.",
        "Each row holds the scenes with one true number of objects, each column those with one "
        "inferred number; percentages are of the row. Right counts lie on the diagonal. What "
        "lies left of it was counted too low, often two objects so close that one window holds "
        "both; what lies right of it was counted too high.",
    ),
    "counts": _Text(
        "How many objects it finds",
        "Bar chart of the number of scenes by inferred number of objects.",
        "The true counts of these scenes are not known, so this shows only what was inferred. A "
        "single bar at 0 or at the largest count is a sign that training failed; compare the "
        "bars with what you know of your images.",
    ),
    "mistakes": _Text(
        "Scenes it counts wrong",
        "Scenes that were counted wrong, above their reconstructions with coloured windows.",
        "&ldquo;2 as 1&rdquo; is a scene with two objects in which one was found. The upper row "
        "is the scene, the lower what the model painted. Look whether a window holds two "
        "objects, or whether two windows share one.",
    ),
    "heatmaps": _Text(
        "Where each step looks",
        "A map of the canvas for each step, darker where more windows have their centre.",
        "The darker a place, the more windows of this step had their centre there; each map has "
        "its own scale. Where two steps prefer different regions, the model has found an order "
        "in which to read a scene. Training again with another seed may find another order.",
    ),
    "drawing": _Text(
        "How it paints",
        "Grid of scenes and, below them, the canvas after several steps.",
        "The top row holds scenes; below stands the canvas after as many steps as the left says, "
        "with the region that this step wrote to. The steps are not objects: nothing makes one "
        "step paint one thing.",
    ),
    "count_accuracy": _Text(
        "Learning to count",
        "Curve of the share of validation scenes counted right over training iterations.",
        "The share of validation scenes whose number of objects is right. It often stays low "
        "for a while, then rises steeply once each window settles on one object.",
    ),
    "bound": _Text(
        "The objective",
        "Curves of the evidence lower bound over training iterations.",
        "Training raises this bound (ELBO): how well the painted canvas explains the scene, "
        "less the cost of describing its objects. The lowest tenth of the values, mostly from "
        "the start, lies below the frame. A held-out curve that falls while the training curve "
        "rises means that the model learns its scenes by heart. Do not choose between models by "
        "this curve alone: a model that miscounts can have the higher bound.",
    ),
    "training": _Text(
        "Training, animated",
        "Animation of the reconstructions and windows over the course of training.",
        "The same scenes at every stage of training. The animation rests on the last stage, "
        "then begins again.",
    ),
}
"""Title, alternative text and caption of each figure."""

FIGURES = tuple(f"{name}.gif" if name == "training" else f"{name}.png" for name in TEXTS)
"""Names of all files that a report may leave in `figures/`."""
