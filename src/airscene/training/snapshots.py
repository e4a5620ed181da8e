"""What the model made of a few held-out scenes at several stages of training."""

import warnings
from pathlib import Path

import numpy as np

from airscene.data import Scenes
from airscene.errors import UserError
from airscene.files import check_regular, write_whole
from airscene.kinds import kind_of
from airscene.models.base import Model
from airscene.report.figures import View
from airscene.report.findings import telling, view_of

FOLDER = "snapshots"
FIRST = 10  # steps until the first snapshot after the start


def snapshot_steps(iterations: int, number: int) -> set[int]:
    """Steps at which to take snapshots, growing geometrically, as learning is fastest at first."""
    if number == 0:
        return set()
    return {int(step) for step in np.geomspace(min(FIRST, iterations), iterations, number).round()}


def take_view(model: Model, scenes: Scenes, steps: int | None = None) -> View:
    """Scenes with the model's reconstruction of them, of up to `steps` objects where it has any."""
    image, detect = scenes.pixels().cpu(), kind_of(model.config).detect
    if detect is not None:
        return view_of(image, detect(model, image, steps))
    canvas = model.reconstruct(image.to(model.device)).cpu()
    no_objects = np.zeros((len(image), 0, 4)), np.zeros(len(image), dtype=int)
    return View(image.numpy(), canvas.numpy(), *no_objects)


def save_snapshot(run: Path, step: int, model: Model, scenes: Scenes) -> None:
    """Writes the view of the first few scenes at this step, whole or not at all."""
    save_view(take_view(model, scenes[telling(scenes)]), run / FOLDER / f"{step:08d}.npz")


def load_snapshots(run: Path) -> list[tuple[int, View]]:
    """All snapshots of a run, earliest first; damaged ones are left out with a `UserWarning`."""
    stages: list[tuple[int, View]] = []
    for path in sorted((run / FOLDER).glob("[0-9]*.npz")):
        try:
            view = load_view(path)
            if stages and view.image.shape != stages[0][1].image.shape:
                raise UserError(f"{path} shows other scenes than the snapshots before; remove it")
            stages.append((int(path.stem), view))
        except UserError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    return stages


def save_view(view: View, path: Path) -> Path:
    """Writes a view, whole or not at all."""
    return write_whole(path, lambda temporary: np.savez_compressed(temporary, **vars(view)))


def load_view(path: Path) -> View:
    """What `save_view` wrote.

    Raises:
        UserError: the file is damaged.
    """
    try:
        check_regular(path)
        with np.load(path, allow_pickle=False) as arrays:
            view = View(**arrays)
    except Exception as error:  # of a damaged archive, numpy may raise anything
        raise UserError(f"{path} is damaged; remove it") from error
    arrays = vars(view).values()
    if not all(array.dtype.kind in "fiu" and np.isfinite(array).all() for array in arrays):
        raise UserError(f"{path} does not hold numbers alone; remove it")
    if view.count.dtype.kind == "f":
        raise UserError(f"{path} does not hold whole numbers of objects; remove it")
    return view
