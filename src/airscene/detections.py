"""What a user wants of a posterior: how many objects, where, how sure."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from airscene.compositors import Composition
from airscene.counts import presence_of
from airscene.models.air import AIR, STEPS, Inference
from airscene.passes import check_pass, inference_batch
from airscene.ranges import check_value
from airscene.spatial import ink_boxes, pixel_boxes, window_box

HALF = 0.5  # an object that hides others reaches as far as this share of its largest opacity
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
        background: what lies under them, shape (B, C, H, W).
        masks: which object each pixel shows, shape (B, H, W), int16: k for the object of row k - 1
            of `boxes`, and 0 for the background; None of a model that cannot tell.
    """

    count: Int[Tensor, "batch"]
    count_probs: Float[Tensor, "batch counts"]
    boxes: Float[Tensor, "batch steps 4"]
    scores: Float[Tensor, "batch steps"]
    windows: Float[Tensor, "batch steps 4"]
    reconstruction: Float[Tensor, "batch channels height width"]
    background: Float[Tensor, "batch channels height width"]
    masks: Int[Tensor, "batch height width"] | None = None

    def __getitem__(self, index: Tensor) -> "Detections":
        """What was found in some of the images, by their numbers."""
        known = {name: value for name, value in vars(self).items() if value is not None}
        return replace(self, **{name: value[index] for name, value in known.items()})

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
    present = presence_of(count, posterior.steps)
    scores = posterior.logits.sigmoid().cumprod(-1)
    boxes, windows = _object_boxes(inference, present), window_box(inference.window)
    canvas, masks = inference.canvas(count), segment(inference.scene.shares(present))
    behind = inference.scene.background
    return count, posterior.log_probs.exp(), boxes, scores, windows, canvas, behind, masks


def segment(shares: Float[Tensor, "batch parts height width"]) -> Int[Tensor, "batch height width"]:
    """Labels each pixel by what makes most of it.

    Args:
        shares: how much the background and each object make of it, shape (B, 1 + N, H, W).

    Returns:
        k for the k-th object, from 1 on, or 0 for the background, int16, shape (B, H, W).

    >>> shares = torch.tensor([[0.2, 0.2, 0.2], [0.9, 0.3, 0.1], [0.1, 0.5, 0.1]])
    >>> segment(shares.view(1, 3, 1, 3)).tolist()
    [[[1, 2, 0]]]
    """
    return shares.argmax(1).to(torch.int16)


def _object_boxes(inference: Inference, present: Tensor) -> Tensor:
    """Tight boxes of each counted object, shape (B, N, 4).

    An object that paints nothing has the box of its window.
    """
    scene, present = inference.scene, present.bool()
    find = _ink_boxes if scene.objects.opacity is None else _opaque_boxes
    window = pixel_boxes(window_box(inference.window[present]), *scene.image.shape[2:])
    boxes = torch.zeros_like(inference.window[..., :1]).repeat(1, 1, 4)
    boxes[present] = find(scene, present, window).to(boxes.dtype)
    return boxes


def _ink_boxes(scene: Composition, present: Tensor, window: Tensor) -> Tensor:
    """Boxes (T, 4) of the image's ink that each of the T present objects explains.

    A pixel belongs to the object that paints most of it. The image itself decides where the ink
    ends, as paint is softer than what it paints; ink is judged against the object's brightest.

    An object that explains no ink has the box of all that it paints, and otherwise its window's.
    """
    painted = scene.painted.amax(2)  # (B, N, H, W)
    strongest = (painted * present[..., None, None]).amax(1)  # (B, H, W)
    row = present.nonzero()[:, 0]
    own, image = painted[present], (scene.image - scene.background).amax(1)[row]  # (T, H, W)
    ink = image * ((own == strongest[row]) & (own > TOUCH * _peak(own)))
    return _tight(ink, _tight(own, window))


def _opaque_boxes(scene: Composition, present: Tensor, window: Tensor) -> Tensor:
    """Boxes (T, 4) of where each of the T present objects is opaque, be it hidden or not."""
    assert scene.objects.opacity is not None
    opacity, corner = scene.objects.opacity[present], scene.objects.corner[present]  # (T, 1, P, Q)
    opaque = (opacity[:, 0] > HALF * _peak(opacity[:, 0])).to(opacity.dtype)
    boxes = ink_boxes(opaque)
    found = boxes[:, 2:3] > 0
    return torch.where(found, boxes + corner.flip(-1).repeat(1, 2), window)


def _tight(pictures: Tensor, otherwise: Tensor) -> Tensor:
    """Boxes of what is bright in (T, H, W), or those given where a picture is black, (T, 4)."""
    boxes = ink_boxes(pictures / _peak(pictures).clamp(min=FAINTEST))
    return torch.where(boxes[:, 2:3] > 0, boxes, otherwise)


def _peak(pictures: Tensor) -> Tensor:
    """The brightest pixel of each of (T, H, W), shape (T, 1, 1)."""
    return pictures.flatten(1).amax(1)[:, None, None]
