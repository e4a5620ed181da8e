"""The figures of the experiment on 3D scenes, after the paper's Figures 6 and 7."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from airscene.data import Scenes
from airscene.experiments.direct_pose import found
from airscene.experiments.pieces import read_piece
from airscene.experiments.supervised import load_supervised
from airscene.files import write_whole
from airscene.models.arrangement import Arrangement
from airscene.models.rendered import Rendered
from airscene.models.tabletop import Tabletop
from airscene.painters.by_name import PAINTERS
from airscene.report import figures
from airscene.report.figures import scenes_3d
from airscene.report.findings import of_rendered
from airscene.results.placements import Placements
from airscene.runs import load_run

if TYPE_CHECKING:
    from airscene.experiments.scenes3d import Work

SHOWN = 8  # scenes of a figure
FRAMES, SECONDS = 36, 0.12  # of the animation: how many, and how long each
TOLD = "with repeats"  # what the network with labels was told, of which pictures are shown
LARGE = (192, 192)  # pixels of a frame


def write(work: Work, out: Path) -> Iterator[Path]:
    """Draws all figures into a folder and yields their paths."""
    run = load_run(work.recipe(0).folder)
    rows = _one_object(work, cast(Rendered, run.model), work.held_out(run.config))
    yield write_whole(out / "one-object.png", scenes_3d.picture_rows(rows).savefig)
    run = load_run(work.table(0).folder)
    scenes = work.held_out(run.config)
    model = cast(Tabletop, run.model)
    shown = of_rendered(model, scenes)["tables"]
    yield write_whole(out / "table-top.png", scenes_3d.tables(shown).savefig)
    rows = {name: pictures.numpy() for name, pictures in _repeated(work, model, scenes).items()}
    yield write_whole(out / "repeats.png", scenes_3d.picture_rows(rows).savefig)
    where = run.place(scenes.pixels())
    names = [kind.name for kind in where.world.kinds]
    maps = scenes_3d.place_heatmaps(where.pose[..., :2].numpy(), where.kind.numpy(), names)
    yield write_whole(out / "heatmaps.png", maps.savefig)
    yield figures.save_gif(turning(model, _fullest(where)), out / "turning.gif", SECONDS)


def _fullest(where: Placements) -> Arrangement:
    """The first scene with the most objects."""
    n = int(where.count.argmax())
    return Arrangement(where.kind[n : n + 1], where.pose[n : n + 1], where.camera[n : n + 1])


def _one_object(work: Work, model: Rendered, scenes: Scenes) -> dict[str, np.ndarray]:
    """Pictures, and what was found in them: unsupervised, with labels, and by optimisation."""
    few = scenes[: min(SHOWN, work.experiment.pictures)].pixels()
    kind, pose = found(read_piece(work.direct.path))
    direct = model.painter(kind[: len(few), None], pose[: len(few), None])
    rows = {
        "scenes": few,
        "unsupervised": model.reconstruct(few),
        "with labels": load_supervised(work.supervised(0)).reconstruct(few),
        "direct\noptimisation": direct,
    }
    return {name: pictures.numpy() for name, pictures in rows.items()}


def _repeated(work: Work, model: Tabletop, scenes: Scenes) -> dict[str, Tensor]:
    """Scenes with the most objects of one kind, and what was found without labels and with them."""
    assert scenes.labels is not None
    alike = (scenes.labels[:, :, None] == scenes.labels[:, None]) & (scenes.labels >= 0)[:, None]
    few = scenes[alike.sum((1, 2)).argsort(descending=True, stable=True)[:SHOWN]].pixels()
    told = load_supervised(work.told(TOLD, 0))
    rows = {
        "scenes": few,
        "unsupervised": model.reconstruct(few),
        "with labels,\na mean": told.reconstruct(few),
    }
    told.narrow = True
    return rows | {"with labels,\na mode": told.reconstruct(few)}


def turning(model: Tabletop, scene: Arrangement) -> list[Image.Image]:
    """A scene seen from all around, in large pictures.

    Args:
        model: whose painter draws it.
        scene: what was inferred of one picture.
    """
    world = replace(model.world, size=LARGE)
    turn = torch.arange(FRAMES) * (2 * torch.pi / FRAMES)
    camera = scene.camera + torch.nn.functional.pad(turn[:, None], (0, 2))
    kind, pose = (part.expand(FRAMES, *part.shape[1:]) for part in scene[:2])
    pictures: Tensor = PAINTERS[model.config.painter](world)(kind, pose, camera)
    frames = (255 * pictures).round().byte().permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(frame) for frame in frames]
