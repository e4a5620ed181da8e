"""What pictures show of a trained model: plain arrays for `figures`, of a few scenes or of many."""

from typing import Any

import torch
from torch import Tensor

from airscene.core.spatial import window_box
from airscene.data import Scenes
from airscene.models.air import AIR
from airscene.models.base import Model
from airscene.models.draw import DRAW
from airscene.models.rendered import Rendered
from airscene.models.tabletop import Tabletop
from airscene.models.whole import WholeAIR
from airscene.report.figures import Parts, View
from airscene.report.figures.scenes_3d import Plan, Tables
from airscene.results.detections import Detections, detect
from airscene.results.labelling import detect_whole
from airscene.results.placements import place

SCENES, MISTAKES = 8, 8  # of a picture


def telling(scenes: Scenes) -> Tensor:
    """Indices of the first few scenes, of which at most one is empty where others are to be had.

    Where the number of objects is not known, a scene of one colour is taken for empty.
    """
    pixels = scenes.image.flatten(1)
    flat = pixels.amax(1) == pixels.amin(1)
    empty = flat if scenes.count is None else scenes.count.to(flat.device) == 0
    filled, blank = (~empty).nonzero().squeeze(1), empty.nonzero().squeeze(1)
    return torch.cat([blank[:1], filled, blank[1:]])[:SCENES]


def view_of(image: Tensor, found: Detections) -> View:
    """Images with the objects that were found in them.

    Args:
        image: the images in [0, 1], on the CPU, shape (M, C, H, W).
        found: what a model found in them.
    """
    canvas = found.reconstruction.clamp(0, 1)
    return View(image.numpy(), canvas.numpy(), found.windows.numpy(), found.count.numpy())


def of_objects(model: AIR, scenes: Scenes) -> dict[str, Any]:
    """Where a model of objects looks, and the first few scenes that it counts wrong.

    Returns:
        `windows`, `parts` and `mistakes` of `ReportData`.
    """
    found = detect(model, scenes.pixels())
    used = torch.arange(found.windows.shape[1]) < found.count[:, None]
    windows = found.windows.masked_fill(~used[..., None], torch.nan).numpy()
    few = telling(scenes)
    shown = {"windows": windows, "parts": _parts(scenes[few], found[few])}
    if scenes.count is None:
        return shown
    wrong = (found.count != scenes.count).nonzero().squeeze(1)[:MISTAKES]
    if not len(wrong):
        return shown
    view = view_of(scenes[wrong].pixels().cpu(), found[wrong])
    return shown | {"mistakes": (view, scenes.count[wrong].numpy())}


def of_whole(model: WholeAIR, scenes: Scenes) -> dict[str, Any]:
    """What a model of whole pictures finds in the first few crops.

    Returns:
        `parts` of `ReportData`.
    """
    few = scenes[telling(scenes)]
    return {"parts": _parts(few, detect_whole(model, few.pixels()))}


def _parts(scenes: Scenes, found: Detections) -> Parts:
    """Backgrounds, canvases and which object each pixel belongs to."""
    assert found.masks is not None
    behind, canvas = (part.clamp(0, 1).numpy() for part in (found.background, found.reconstruction))
    return Parts(scenes.pixels().cpu().numpy(), behind, canvas, found.masks.numpy())


def of_drawing(model: DRAW, scenes: Scenes) -> dict[str, Any]:
    """How DRAW paints its canvas, step by step.

    Returns:
        `drawing` of `ReportData`.
    """
    image = scenes[telling(scenes)].pixels()
    inputs = image.to(model.device)
    windows = window_box(model.infer(inputs).windows)
    canvases = model.canvases(inputs)
    return {"drawing": (image.numpy(), canvases.cpu().numpy(), windows.cpu().numpy())}


def of_rendered(model: Rendered | Tabletop, scenes: Scenes) -> dict[str, Any]:
    """The first few 3D scenes, their reconstructions, and what is there and was found, from above.

    Returns:
        `tables` of `ReportData`.
    """
    few = scenes[telling(scenes)]
    images = few.pixels()
    found, world = place(model, images), model.world
    plan = Plan(found.kind.numpy(), found.pose.numpy(), found.camera.numpy())
    shown = Tables(
        image=images.cpu().numpy(),
        reconstruction=model.reconstruct(images.to(model.device)).cpu().numpy(),
        names=[kind.name for kind in world.kinds],
        turns=[kind.symmetry > 0 for kind in world.kinds],
        half_side=world.table.half_side,
        found=plan,
        truth=_truth(few),
    )
    return {"tables": shown}


def _truth(scenes: Scenes) -> Plan | None:
    if scenes.labels is None or scenes.pose is None or scenes.camera is None:
        return None
    parts = (scenes.labels, scenes.pose, scenes.camera)
    return Plan(*(part.cpu().numpy() for part in parts))


def of_nothing(model: Model, scenes: Scenes) -> dict[str, Any]:
    """No figures besides those of every kind: reconstructions at stages of training, and losses."""
    return {}
