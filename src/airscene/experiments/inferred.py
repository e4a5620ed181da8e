"""What is known of scenes before any label: inferred by a frozen model, or seen at true boxes.

All of it has one form, a set of objects for each scene, so that the same networks read all of it.
A code of the whole picture is a set of one, and so is the picture itself.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from airscene.core.spatial import crop
from airscene.data import Scenes
from airscene.kinds import kind_of
from airscene.models.base import Model

BATCH = 500  # scenes inferred at a time
MARGIN = 1.15  # side of the window around a true box, over the box's longer side


@dataclass(frozen=True)
class Inferred:
    """Sets of objects, one a scene.

    Attributes:
        features: what is known of each object in numbers, shape (M, N, F).
        spread: how unsure that is, as standard deviations, shape (M, N, F).
        presence: the probability that the object is there, shape (M, N).
        glimpses: the pixels that are seen of each object, bytes, shape (M, N, C, S, S); S is 0
            where none are seen.
    """

    features: Tensor
    spread: Tensor
    presence: Tensor
    glimpses: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: Tensor | slice) -> "Inferred":
        """Those of some scenes."""
        return Inferred(*(getattr(self, field.name)[index] for field in fields(self)))

    def without_glimpses(self) -> "Inferred":
        """The latents alone."""
        return Inferred(self.features, self.spread, self.presence, self.glimpses[..., :0, :0])


def infer_scenes(model: Model, scenes: Scenes, steps: int, glimpse: int) -> Inferred:
    """What a trained model infers of scenes, at the posterior's means.

    Args:
        model: a trained model, with objects or with a code of the whole picture.
        scenes: the scenes, of which the images alone are read.
        steps: the largest number of objects to infer, if the model has any.
        glimpse: pixels along each side of the glimpses at inferred windows.
    """
    if kind_of(model.config).detect is None:
        return _in_parts(scenes, lambda images: _code(model, images))
    return _in_parts(scenes, lambda images: _objects(model, images, steps, glimpse))


def see_boxes(scenes: Scenes, glimpse: int) -> Inferred:
    """The true boxes and the pixels within them, which no model has to find.

    Args:
        scenes: scenes with their truth.
        glimpse: pixels along each side of the glimpses.
    """
    assert scenes.boxes is not None
    boxes, extent = scenes.boxes, float(max(scenes.image.shape[-2:]))
    side = MARGIN * (boxes[..., 2:] - boxes[..., :2]).amax(-1, keepdim=True)
    windows = torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2, side], -1)
    presence = torch.ones(boxes.shape[:2])
    features = torch.cat([left_to_right(windows[..., 0], presence), boxes / extent], -1)
    glimpses = _glimpses(scenes.image, windows, glimpse)
    return Inferred(features, torch.zeros_like(features), presence, glimpses)


def see_pictures(scenes: Scenes) -> Inferred:
    """The pictures as they are."""
    nothing = torch.zeros(len(scenes), 1, 0)
    return Inferred(nothing, nothing, torch.ones(len(scenes), 1), scenes.image.unsqueeze(1))


def left_to_right(x: Tensor, presence: Tensor) -> Tensor:
    """How many objects there are to the left of each, absent ones not counted, shape (M, N, 1).

    Args:
        x: middles of the objects, shape (M, N).
        presence: the probability that each is there, shape (M, N).

    >>> left_to_right(torch.tensor([[9.0, 2.0, 1.0]]), torch.tensor([[1.0, 1.0, 0.0]]))
    tensor([[[1.],
             [0.],
             [0.]]])
    """
    left = x.unsqueeze(1) < x.unsqueeze(2)
    return (left * presence.unsqueeze(1)).sum(2, keepdim=True)


def _in_parts(scenes: Scenes, infer: Callable[[Tensor], Inferred]) -> Inferred:
    """What is inferred of scenes, some at a time."""
    parts = [infer(scenes[start : start + BATCH].image) for start in range(0, len(scenes), BATCH)]
    joined = (
        torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Inferred)
    )
    return Inferred(*joined)


def _objects(model: Model, images: Tensor, steps: int, glimpse: int) -> Inferred:
    """Presence, where, what, and the pixels at the inferred windows."""
    found = model.infer((images / 255).to(model.device), steps)  # type: ignore[call-arg]
    presence = found.posterior.logits.sigmoid().cumprod(-1).cpu()
    windows = found.window.cpu()
    rank = left_to_right(windows[..., 0], presence)
    means = torch.cat([found.q_where.loc, found.q_what.loc], -1).cpu()
    spread = torch.cat([found.q_where.scale, found.q_what.scale], -1).cpu()
    return Inferred(
        torch.cat([rank, means], -1),
        torch.cat([torch.zeros_like(rank), spread], -1),
        presence,
        _glimpses(images, windows, glimpse),
    )


def _code(model: Model, images: Tensor) -> Inferred:
    """The code of each picture as one object."""
    q = model.infer((images / 255).to(model.device)).q
    means, spread = (part.flatten(1).unsqueeze(1).cpu() for part in (q.mean, q.stddev))
    unseen = images.new_zeros(len(images), 1, images.shape[1], 0, 0)
    return Inferred(means, spread, torch.ones(len(images), 1), unseen)


def _glimpses(images: Tensor, windows: Tensor, size: int) -> Tensor:
    """The pixels within windows (M, N, 3), as bytes (M, N, C, S, S)."""
    number = windows.shape[1]
    parts = []
    for image, window in zip(images.split(BATCH), windows.split(BATCH), strict=True):
        pixels = (image / 255).repeat_interleave(number, 0)
        seen = crop(pixels, window.flatten(0, 1), size)
        parts.append((255 * seen).round().byte().unflatten(0, (-1, number)))
    return torch.cat(parts)
