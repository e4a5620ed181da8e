"""What a user wants of a posterior: how many objects, where, how sure."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from airscene.counts import presence_of
from airscene.models.air import AIR, STEPS, Inference
from airscene.passes import check_pass, inference_batch
from airscene.ranges import check_value
from airscene.spatial import INK, ink_boxes, pixel_boxes, window_box

TOUCH = 0.05  # an object reaches as far as it paints above this share of its brightest pixel
FAINTEST = 1e-6  # a picture whose brightest pixel is below a fifth of this is taken for black


@dataclass(frozen=True)
class Detections:
    """The objects found in a batch of images.

    Attributes:
        count: the most probable number of objects, shape (B,).
        count_probs: q(n | x) for n = 0..N, shape (B, N + 1).
        boxes: tight boxes (x0, y0, x1, y1) of the ink that each counted object explains, in canvas
            pixels, x1 and y1 exclusive, shape (B, N, 4). The box of a counted object lies within
            the canvas and has x1 > x0 and y1 > y0; boxes from `count` on are zeros.
        scores: probability that the step's object exists, q(n ≥ step | x), shape (B, N).
        windows: attention windows (x0, y0, x1, y1), in pixels of the canvas, shape (B, N, 4).
        reconstruction: the canvas of the counted objects, shape (B, C, H, W).
        masks: which object each pixel shows, shape (B, H, W), int16: k for the object of row k - 1
            of `boxes`, and 0 for the background; None of a model that cannot tell.
    """

    count: Int[Tensor, "batch"]
    count_probs: Float[Tensor, "batch counts"]
    boxes: Float[Tensor, "batch steps 4"]
    scores: Float[Tensor, "batch steps"]
    windows: Float[Tensor, "batch steps 4"]
    reconstruction: Float[Tensor, "batch channels height width"]
    masks: Int[Tensor, "batch height width"] | None = None

    @property
    def saturated(self) -> Bool[Tensor, "batch"]:
        """Whether as many objects were counted as were allowed for, so that there may be more."""
        return self.count == self.count_probs.shape[-1] - 1


def detect(model: AIR, images: Tensor, steps: int | None = None, batch: int = 256) -> Detections:
    """Counts and locates the objects in images at the posterior's means.

    Args:
        model: a trained model.
        images: images in [0, 1], shape (M, C, H, W).
        steps: the largest count to allow for, 1 to 1000; the model's own N unless given.
        batch: the most images inferred at a time; fewer are if they would take more than 1 GB.

    Raises:
        UserError: `steps` is out of range, or so large that an image does not fit into memory.
    """
    device = next(model.parameters()).device
    most = model.config.steps if steps is None else steps
    check_value("--max-objects", most, STEPS)
    check_pass(model.config, most, device)
    rows = inference_batch(model.config, most, batch)
    parts = [_read(model.infer(part.to(device), steps)) for part in images.split(rows)]
    return Detections(*(torch.cat(tensors).cpu() for tensors in zip(*parts, strict=True)))


def _read(inference: Inference) -> tuple[Tensor, ...]:
    """The fields of `Detections` for one batch, in order."""
    posterior, count = inference.posterior, inference.posterior.mode
    scores = posterior.logits.sigmoid().cumprod(-1)
    boxes, windows = _object_boxes(inference, count), window_box(inference.window)
    canvas, masks = inference.canvas(count), segment(inference.objects, count)
    return count, posterior.log_probs.exp(), boxes, scores, windows, canvas, masks


def segment(
    objects: Float[Tensor, "batch steps channels height width"], count: Int[Tensor, "batch"]
) -> Int[Tensor, "batch height width"]:
    """Labels each pixel by the counted object that paints most there, above `spatial.INK`.

    Args:
        objects: each object alone on an empty canvas, intensities in [0, 1], (B, N, C, H, W). Of
            its channels, the brightest decides.
        count: how many of them there are, the first ones, (B,).

    Returns:
        k for the k-th object, from 1 on, or 0 for the background, int16, shape (B, H, W).

    >>> objects = torch.tensor([[0.9, 0.3, 0.1], [0.1, 0.5, 0.1]]).view(1, 2, 1, 1, 3)
    >>> segment(objects, torch.tensor([2])).tolist(), segment(objects, torch.tensor([1])).tolist()
    ([[[1, 2, 0]]], [[[1, 1, 0]]])
    """
    present = presence_of(count, objects.shape[1])[..., None, None]
    most, which = (objects.amax(2) * present).max(1)
    return torch.where(most > INK, which + 1, 0).to(torch.int16)


def _object_boxes(inference: Inference, count: Tensor) -> Tensor:
    """Tight boxes of the image's ink that each counted object explains, shape (B, N, 4).

    A pixel belongs to the object that paints most of it. The image itself decides where the ink
    ends, as paint is softer than what it paints; ink is judged against the object's brightest.

    An object that explains no ink has the box of all that it paints, and one that paints nothing
    on the canvas has its window's.
    """
    present = presence_of(count, inference.objects.shape[1]).bool()
    painted = inference.objects.amax(2)  # (B, N, H, W)
    strongest = (painted * present[..., None, None]).amax(1)  # (B, H, W)
    scene = present.nonzero()[:, 0]
    own, image = painted[present], inference.image.amax(1)[scene]  # (T, H, W)
    ink = image * ((own == strongest[scene]) & (own > TOUCH * _peak(own)))
    window = pixel_boxes(window_box(inference.window[present]), *painted.shape[2:])
    boxes = torch.zeros_like(inference.window[..., :1]).repeat(1, 1, 4)
    boxes[present] = _tight(ink, _tight(own, window)).to(boxes.dtype)
    return boxes


def _tight(pictures: Tensor, otherwise: Tensor) -> Tensor:
    """Boxes of what is bright in (T, H, W), or those given where a picture is black, (T, 4)."""
    boxes = ink_boxes(pictures / _peak(pictures).clamp(min=FAINTEST))
    return torch.where(boxes[:, 2:3] > 0, boxes, otherwise)


def _peak(pictures: Tensor) -> Tensor:
    """The brightest pixel of each of (T, H, W), shape (T, 1, 1)."""
    return pictures.flatten(1).amax(1)[:, None, None]
