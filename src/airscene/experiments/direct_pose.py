"""Direct optimisation of what one picture shows, which needs no network and learns nothing.

Source: Eslami et al. 2016, section 3.3, Figure 6d. Each picture has kinds and poses drawn at random
as starts, and each start climbs the likelihood in its pose by Adam, with gradients by central
differences; its kind stays.
"""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from airscene.config import Config
from airscene.core.seeds import Purpose, global_stream
from airscene.data import Scenes
from airscene.experiments.pieces import write_piece
from airscene.models.arrangement import draw_one
from airscene.models.rendered import Rendered, RenderedConfig
from airscene.painters.base import yaw_error
from airscene.runs import composed

RATE = 0.08  # of Adam at the start, in the unit of positions; it falls to a tenth
NEAR, TURNED = 0.1, math.radians(20)  # what counts as found: distance and yaw
STEEPEST = 1e4  # slopes are bounded far above what Adam's step depends on


@dataclass(frozen=True)
class DirectTask:
    """Pictures to explain one by one.

    Attributes:
        config: of the model that gives the likelihood.
        path: the piece.
        pictures: how many held-out scenes.
        starts: of each picture.
        steps: of each start.
        test_seed: of the held-out scenes.
    """

    config: Config
    path: Path
    pictures: int
    starts: int
    steps: int
    test_seed: int


def optimise(task: DirectTask) -> None:
    """Explains each picture from all starts and writes how many of them end right."""
    model = Rendered(cast(RenderedConfig, task.config.model))
    scenes = composed(task.config, "test", task.test_seed, None)[: task.pictures]
    began = time.perf_counter()
    with global_stream(Purpose.EVALUATION, task.config.seed):
        kind, pose, value = climb(model, scenes.pixels(), task.starts, task.steps)
    seconds = time.perf_counter() - began
    right = _is_right(model, scenes, kind, pose)
    best = value.argmax(0)[None]
    write_piece(
        task.path,
        {
            "success_of_a_start": float(right.float().mean()),
            "success_of_the_best": float(right.gather(0, best).float().mean()),
            "seconds_a_start": seconds / kind.numel(),
            "seconds_a_picture": seconds / len(scenes),
            "kind": kind.gather(0, best)[0].tolist(),
            "pose": pose.gather(0, best[..., None].expand(-1, -1, 3))[0].tolist(),
        },
    )


def climb(model: Rendered, image: Tensor, starts: int, steps: int) -> tuple[Tensor, Tensor, Tensor]:
    """Kinds (S, B), poses (S, B, 3) and log-likelihoods (S, B) where S starts of B pictures end."""
    kind, pose, _ = draw_one(model.world, starts * len(image))
    kind, pose = kind.view(starts, -1), pose.view(starts, -1, 3).requires_grad_()
    optimizer = torch.optim.Adam([pose], RATE)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = RATE * 0.1 ** (step / steps)
        value = model.differentiable_log_pixels(image, kind, pose, STEEPEST)
        optimizer.zero_grad()
        (-value.sum()).backward()
        optimizer.step()
    pose = pose.detach()
    return kind, pose, model.log_pixels(image, kind, pose)


def _is_right(model: Rendered, scenes: Scenes, kind: Tensor, pose: Tensor) -> Tensor:
    """Which starts (S, B) end with the true kind, near the true pose."""
    assert scenes.labels is not None and scenes.pose is not None
    label, true = scenes.labels[:, 0].expand_as(kind), scenes.pose[:, 0].expand_as(pose)
    symmetry = torch.tensor([some.symmetry for some in model.world.kinds])[label]
    near = (pose - true)[..., :2].norm(dim=-1) < NEAR
    return (kind == label) & near & (yaw_error(pose[..., 2], true[..., 2], symmetry) < TURNED)


def found(piece: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Kinds (B,) and poses (B, 3) of the best start of each picture, from the piece."""
    return torch.tensor(piece["kind"]), torch.tensor(piece["pose"])
