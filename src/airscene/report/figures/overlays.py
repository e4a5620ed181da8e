"""Pictures with what was found drawn on them, and animations."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image, ImageDraw, ImageFont

from airscene.files import write_whole
from airscene.report.figures.scenes import View, as_bytes, pairs
from airscene.report.figures.style import STYLE, step_colour


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
    picture = Image.fromarray(as_bytes(image)).resize(
        (W * scale, H * scale), Image.Resampling.NEAREST
    )
    draw = ImageDraw.Draw(picture)
    for step, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        draw.rectangle([float(edge) * scale for edge in box], outline=step_colour(step), width=2)
        if label:
            _tag(draw, label, box[0] * scale, box[1] * scale, step_colour(step))
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
    figure = pairs(view)
    figure.suptitle(f"iteration {step:,}", **STYLE["text"], y=0.985)
    figure.set_dpi(100)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
