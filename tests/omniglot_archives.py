"""Small archives in the form of Omniglot's, for tests."""

import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

BAR = [(20.0, -30.0), (50.0, -30.0), (80.0, -30.0)]  # from left to right, at y = 30
POST = [(50.0, -40.0), (50.0, -90.0)]  # downwards, below the bar
AWAY = [(300.0, -300.0)]  # a dot far from all ink


def picture(strokes) -> bytes:
    """Black ink on white, 3 px wide."""
    ink = np.ones((105, 105), bool)
    for stroke in strokes:
        for (x0, y0), (x1, y1) in zip(stroke, stroke[1:] or stroke, strict=False):
            for t in np.linspace(0, 1, 200):
                x, y = round(x0 + t * (x1 - x0)), round(-(y0 + t * (y1 - y0)))
                ink[y - 1 : y + 2, x - 1 : x + 2] = False
    content = BytesIO()
    Image.fromarray(ink).save(content, "png")
    return content.getvalue()


def path(strokes) -> str:
    """The file of strokes."""
    lines = ["START"]
    for stroke in strokes:
        lines += [f"{x},{y},{10 * time}" for time, (x, y) in enumerate(stroke)] + ["BREAK"]
    return "\n".join(lines) + "\n"


def put_omniglot(folder: Path, drawings: dict[str, list]) -> Path:
    """Four archives with these drawings, by names such as Greek/character01/0001_17; all of them
    are in small1, and the first is in small2, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for part, some in (("small1", drawings), ("small2", dict([*drawings.items()][:1]))):
        images = zipfile.ZipFile(folder / f"images_background_{part}.zip", "w")
        strokes = zipfile.ZipFile(folder / f"strokes_background_{part}.zip", "w")
        with images, strokes:
            for name, drawn in some.items():
                images.writestr(f"images_background_{part}/{name}.png", picture(drawn))
                strokes.writestr(f"strokes_background_{part}/{name}.txt", path(drawn))
                strokes.writestr(f"__MACOSX/strokes_background_{part}/._{name}.txt", "")
    return folder


def some_characters() -> dict[str, list]:
    """A character of one and one of two strokes, drawn for training and for testing, and another
    alphabet."""
    return {
        f"{alphabet}/character0{len(drawn)}/000{len(drawn)}_{drawer}": drawn
        for alphabet, drawers in (("Greek", ("01", "17")), ("Korean", ("01",)))
        for drawn in ([BAR], [BAR, POST])
        for drawer in drawers
    }
