"""What a model finds in pictures of 3D scenes: kinds, positions, yaws, cameras; and their truth."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from airscene.data import Scenes, UserImages
from airscene.errors import UserError
from airscene.models.arrangement import Arrangement
from airscene.painters.base import yaw_error
from airscene.painters.raycast import axes
from airscene.painters.world import World
from airscene.passes import inference_batch
from airscene.results.predictions import printable

DIGITS = 4  # of positions and angles in files


@dataclass(frozen=True)
class Placements:
    """The objects found in each of M images, up to N of them, and the camera.

    Attributes:
        world: kinds and the usual camera.
        kind: each object's most probable kind, by its place among the world's kinds, -1 from the
            number of objects on, shape (M, N).
        probs: the probability of each of K kinds, shape (M, N, K).
        pose: x, y and yaw in [-π, π), shape (M, N, 3); see `painters.world.SceneObject`.
        camera: azimuth, elevation and distance, shape (M, 3); see `painters.world.Camera`.
    """

    world: World
    kind: Int[Tensor, "images objects"]
    probs: Float[Tensor, "images objects kinds"]
    pose: Float[Tensor, "images objects 3"]
    camera: Float[Tensor, "images 3"]

    @property
    def count(self) -> Int[Tensor, "images"]:
        """The number of objects, shape (M,)."""
        return (self.kind >= 0).sum(1)


@runtime_checkable
class Finder(Protocol):
    """What finds arrangements in pictures of a world.

    Attributes:
        config: decides how many pictures are inferred at a time.
        world: kinds and the usual camera.
    """

    config: Any
    world: World

    @property
    def device(self) -> torch.device:
        """Where pictures are to be."""
        ...

    def places(
        self, image: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Arrangement, Float[Tensor, "batch steps kinds"]]:
        """What is inferred of each image, and the probability of each object's kinds."""
        ...


@torch.no_grad()
def place(model: Finder, images: Tensor) -> Placements:
    """Finds the objects in each image, at the posterior's mode or the best choice at each step.

    Args:
        model: a trained model.
        images: images in [0, 1], shape (M, 3, H, W).
    """
    rows = inference_batch(model.config, model.config.steps)
    found = [model.places(part.to(model.device)) for part in images.split(rows)]
    scenes, probs = zip(*found, strict=True)
    whole = (torch.cat(part).cpu() for part in zip(*scenes, strict=True))
    kind, pose, camera = whole
    return Placements(model.world, kind, torch.cat(probs).cpu(), pose, camera)


def agreement(scenes: Scenes, found: Placements) -> dict[str, float]:
    """The figures that need the truth, none where it is not known.

    Objects are matched with true ones one to one, so that the sum of distances is the smallest.
    The figures of matched objects are left out where there are none.

    Raises:
        UserError: a label is that of no kind.

    Returns:
        `count_accuracy`; `identity_accuracy` and `position_error`, the mean distance on the table,
        of matched objects; for each kind whose yaw shows, `yaw_error_degrees_KIND`: the median up
        to the kind's symmetry, over all matched objects that are truly of the kind; and, where the
        camera moves, `camera_error_degrees`, the mean angle between the directions in which it is.
    """
    if scenes.labels is None or scenes.pose is None or scenes.count is None:
        return {}
    if int(scenes.labels.max()) >= (kinds := len(found.world.kinds)):
        raise UserError(
            f"labels hold {int(scenes.labels.max())}; of this model's scenes they are kinds from 0 "
            f"to {kinds - 1}, in the order {', '.join(kind.name for kind in found.world.kinds)}"
        )
    true, inferred = _matched(scenes.pose.cpu(), scenes.count.cpu(), found)
    kind, pose = scenes.labels.cpu()[true], scenes.pose.cpu()[true]
    table = {"count_accuracy": _mean(found.count == scenes.count.cpu())} | _camera(scenes, found)
    if not len(kind):
        return table
    table["identity_accuracy"] = _mean(found.kind[inferred] == kind)
    table["position_error"] = _mean((found.pose[inferred] - pose)[:, :2].norm(dim=-1))
    return table | _yaw_errors(found, kind, pose, found.pose[inferred])


def by_repeats(scenes: Scenes, found: Placements) -> dict[str, float]:
    """Count accuracy where a kind is there more than once, and where none is, as far as known.

    Args:
        scenes: scenes with counts and kinds.
        found: what was found in them.
    """
    if scenes.labels is None or scenes.count is None:
        return {}
    kind, right = scenes.labels.cpu(), found.count == scenes.count.cpu()
    each = torch.stack([(kind == k).sum(1) for k in range(len(found.world.kinds))])
    repeats = each.amax(0) > 1
    parts = {"with": repeats, "without": ~repeats}
    return {
        f"count_accuracy_{name}_repeats": _mean(right[part])
        for name, part in parts.items()
        if part.any()
    }


Where = tuple[Tensor, Tensor]


def _matched(pose: Tensor, count: Tensor, found: Placements) -> tuple[Where, Where]:
    """Which image and which object of it: of true objects, and of those found that match them."""
    pairs: list[tuple[int, int, int]] = []
    for i, (n, m) in enumerate(zip(count.tolist(), found.count.tolist(), strict=True)):
        apart = torch.cdist(pose[i, :n, :2].double(), found.pose[i, :m, :2].double())
        rows, columns = linear_sum_assignment(apart.numpy())
        pairs += [(i, j, k) for j, k in zip(rows.tolist(), columns.tolist(), strict=True)]
    image, true, inferred = torch.tensor(pairs, dtype=torch.long).view(-1, 3).unbind(1)
    return (image, true), (image, inferred)


def _yaw_errors(
    found: Placements, kind: Tensor, true: Tensor, inferred: Tensor
) -> dict[str, float]:
    symmetry = torch.tensor([some.symmetry for some in found.world.kinds])
    off = yaw_error(inferred[:, 2], true[:, 2], symmetry[kind])
    return {
        f"yaw_error_degrees_{some.name}": math.degrees(float(off[kind == k].median()))
        for k, some in enumerate(found.world.kinds)
        if some.symmetry and (kind == k).any()
    }


def _camera(scenes: Scenes, found: Placements) -> dict[str, float]:
    if scenes.camera is None or bool((scenes.camera == scenes.camera[0]).all()):
        return {}
    (true, *_), (inferred, *_) = axes(scenes.camera.cpu().double()), axes(found.camera.double())
    angle = (true * inferred).sum(-1).clamp(-1, 1).acos()
    return {"camera_error_degrees": math.degrees(_mean(angle))}


def _mean(values: Tensor) -> float:
    return float(values.double().mean())


def as_jsonl(images: UserImages, found: Placements) -> str:
    """One JSON object a line: source and index of the image, and what was found in it.

    That is the `camera` with azimuth and elevation in radians and its distance, and of each of the
    `objects` the kind, the probability of it, x and y as `position`, and `yaw` in radians.
    """
    rows = zip(images.sources, images.indices, _rows(found), strict=True)
    return "".join(
        json.dumps({"source": printable(source), "index": index} | row) + "\n"
        for source, index, row in rows
    )


def _rows(found: Placements) -> Iterator[dict[str, Any]]:
    for i, (kinds, camera) in enumerate(zip(found.kind, found.camera.tolist(), strict=True)):
        names = zip(("azimuth", "elevation", "distance"), camera, strict=True)
        yield {
            "count": int((kinds >= 0).sum()),
            "objects": [_object(found, i, n) for n in (kinds >= 0).nonzero().squeeze(1).tolist()],
            "camera": {name: round(value, DIGITS) for name, value in names},
        }


def _object(found: Placements, image: int, place: int) -> dict[str, Any]:
    kind, (x, y, yaw) = int(found.kind[image, place]), found.pose[image, place].tolist()
    return {
        "kind": found.world.kinds[kind].name,
        "probability": round(float(found.probs[image, place, kind]), DIGITS),
        "position": [round(x, DIGITS), round(y, DIGITS)],
        "yaw": round(yaw, DIGITS),
    }
