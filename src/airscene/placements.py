"""What a model finds in pictures of 3D scenes: kinds, positions, yaws; and how well they agree."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from airscene.data import Scenes, UserImages
from airscene.models.rendered import Rendered
from airscene.painters.base import yaw_error
from airscene.passes import inference_batch
from airscene.predictions import printable

DIGITS = 4  # of positions and yaws in files


@dataclass(frozen=True)
class Placements:
    """The object found in each of M images.

    Attributes:
        names: those of the K kinds.
        kind: the most probable kind, by its place among the names, shape (M,).
        probs: the probability of each kind, shape (M, K).
        pose: x, y and yaw in [-π, π), shape (M, 3); see `painters.world.SceneObject`.
        symmetry: of each kind, see `painters.world.ObjectKind`, shape (K,).
    """

    names: tuple[str, ...]
    kind: Int[Tensor, "images"]
    probs: Float[Tensor, "images kinds"]
    pose: Float[Tensor, "images 3"]
    symmetry: Int[Tensor, "kinds"]


@torch.no_grad()
def place(model: Rendered, images: Tensor) -> Placements:
    """Finds the object in each image, at the posterior's mode.

    Args:
        model: a trained model.
        images: images in [0, 1], shape (M, 3, H, W).
    """
    rows = inference_batch(model.config, 1)
    posteriors = [model(part.to(model.device)) for part in images.split(rows)]
    kind, pose = (torch.cat(part).cpu() for part in zip(*(q.mode for q in posteriors), strict=True))
    probs = torch.cat([q.kinds.exp() for q in posteriors]).cpu()
    kinds = model.world.kinds
    names, symmetry = tuple(k.name for k in kinds), torch.tensor([k.symmetry for k in kinds])
    return Placements(names, kind, probs, pose, symmetry)


def agreement(scenes: Scenes, found: Placements) -> dict[str, float]:
    """The figures that need the truth, none where it is not known.

    Returns:
        `identity_accuracy`; `position_error`, the mean distance on the table; and, for each kind
        whose yaw shows, `yaw_error_degrees_KIND`: the median up to the kind's symmetry, over all
        objects that are truly of the kind.
    """
    if scenes.labels is None or scenes.pose is None:
        return {}
    kind, pose = scenes.labels[:, 0].cpu(), scenes.pose[:, 0].cpu()
    off = yaw_error(found.pose[:, 2], pose[:, 2], found.symmetry[kind])
    yaws = {
        f"yaw_error_degrees_{name}": math.degrees(float(off[kind == k].median()))
        for k, name in enumerate(found.names)
        if found.symmetry[k] and (kind == k).any()
    }
    return {
        "identity_accuracy": float((found.kind == kind).float().mean()),
        "position_error": float((found.pose[:, :2] - pose[:, :2]).norm(dim=-1).mean()),
        **yaws,
    }


def as_jsonl(images: UserImages, found: Placements) -> str:
    """One JSON object a line: source and index of the image, and what was found in it.

    That is the kind, the probability of it, x and y as `position`, and `yaw` in radians.
    """
    rows = zip(images.sources, images.indices, _rows(found), strict=True)
    return "".join(
        json.dumps({"source": printable(source), "index": index} | row) + "\n"
        for source, index, row in rows
    )


def _rows(found: Placements) -> Iterator[dict[str, Any]]:
    every = zip(found.kind.tolist(), found.probs.tolist(), found.pose.tolist(), strict=True)
    for kind, probs, (x, y, yaw) in every:
        yield {
            "kind": found.names[kind],
            "probability": round(probs[kind], DIGITS),
            "position": [round(x, DIGITS), round(y, DIGITS)],
            "yaw": round(yaw, DIGITS),
        }
