"""Every picture, drawn from plain numpy arrays.

Figures are built through matplotlib's object interface, never pyplot, so drawing one leaves no
state behind and needs no screen. Boxes and windows are (x0, y0, x1, y1) in pixels measured from the
upper left corner of the canvas: one of width W spans x from 0 to W.
"""

from airscene.report.figures.evaluation import (
    bound,
    confusion,
    count_accuracy,
    count_histogram,
    window_heatmaps,
)
from airscene.report.figures.experiments import (
    Curve,
    accuracy_by_count,
    generalization,
    gradient_variance,
    label_efficiency,
    learning_curves,
    success_heatmaps,
)
from airscene.report.figures.overlays import overlay, save_gif, training_animation
from airscene.report.figures.scenes import (
    Parts,
    Strokes,
    View,
    by_group,
    drawing,
    mistakes,
    objects,
    parts,
    reconstructions,
    scenes_grid,
    strokes,
)

__all__ = [
    "Curve",
    "Parts",
    "Strokes",
    "View",
    "accuracy_by_count",
    "bound",
    "by_group",
    "confusion",
    "count_accuracy",
    "count_histogram",
    "drawing",
    "generalization",
    "gradient_variance",
    "label_efficiency",
    "learning_curves",
    "mistakes",
    "objects",
    "overlay",
    "parts",
    "reconstructions",
    "save_gif",
    "scenes_grid",
    "strokes",
    "success_heatmaps",
    "training_animation",
    "window_heatmaps",
]
