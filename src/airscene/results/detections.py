"""What a user wants of a posterior: how many objects, where, how sure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from airscene.core import layers
from airscene.core.compositors import Composition
from airscene.core.counts import presence_of
from airscene.core.spatial import brightest, ink_boxes, pixel_boxes, window_box
from airscene.models.air import AIR, Inference
from airscene.models.air_config import STEPS
from airscene.passes import check_pass, inference_batch
from airscene.ranges import check_value

HALF = 0.5  # an object that hides others reaches as far as this share of its largest opacity
TOUCH = 0.05  # an object reaches as far as it paints above this share of its brightest pixel
READ = 64  # images whose canvases are read at a time: more would not fit into a processor's cache
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


@torch.no_grad()
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
    found = (model.infer(part.to(device), steps) for part in images.split(rows))
    parts = [part for inference in found for part in _read(inference)]
    return Detections(*(torch.cat(tensors).cpu() for tensors in zip(*parts, strict=True)))


def _read(inference: Inference) -> Iterator[tuple[Tensor, ...]]:
    """The fields of `Detections` in order, for some images at a time."""
    posterior, windows = inference.posterior, window_box(inference.window)
    known = posterior.mode, posterior.log_probs.exp(), posterior.logits.sigmoid().cumprod(-1)
    for start in range(0, max(1, len(windows)), READ):  # one part, though empty, of no images
        rows = slice(start, start + READ)
        count, probs, scores = (values[rows] for values in known)
        boxes, canvas, masks = _show(inference, rows, count)
        behind = inference.scene.background[rows]
        yield count, probs, boxes, scores, windows[rows], canvas, behind, masks


def _show(inference: Inference, rows: slice, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (B, N, 4), canvas (B, C, H, W) and masks (B, H, W) of some images' counted objects."""
    most = max(count.tolist(), default=0)  # later steps are not counted in any of these images
    scene, present = inference.scene.part(rows, most), presence_of(count, most)
    boxes = _object_boxes(scene, present, inference.window[rows, :most])
    boxes = F.pad(boxes, (0, 0, 0, inference.posterior.steps - most))
    return boxes, scene.canvas(present), segment(scene.shares(present))


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
    label, most = torch.zeros_like(shares[:, 0], dtype=torch.int16), shares[:, 0]
    for k, share in enumerate(shares.unbind(1)[1:], 1):  # many times faster on CPUs than argmax
        label = label.maximum(k * (share > most).to(torch.int16))
        most = most.maximum(share)
    return label


def _object_boxes(scene: Composition, present: Tensor, window: Tensor) -> Tensor:
    """Tight boxes of each counted object, shape (B, N, 4).

    An object that paints nothing has the box of its window.
    """
    present = present.bool()
    find = _ink_boxes if scene.objects.opacity is None else _opaque_boxes
    windows = pixel_boxes(window_box(window[present]), *layers.size_of(scene.image))
    boxes = window.new_zeros(*present.shape, 4)
    boxes[present] = find(scene, present, windows).to(boxes.dtype)
    return boxes


def _ink_boxes(scene: Composition, present: Tensor, window: Tensor) -> Tensor:
    """Boxes (T, 4) of the image's ink that each of the T present objects explains.

    A pixel belongs to the object that paints most of it. The image itself decides where the ink
    ends, as paint is softer than what it paints; ink is judged against the object's brightest.

    An object that explains no ink has the box of all that it paints, and otherwise its window's.
    """
    row, corner = present.nonzero()[:, 0], scene.objects.corner[present]
    paint = brightest(scene.objects.paint)  # (B, N, P, Q)
    image = brightest(scene.image - scene.background)  # (B, H, W)
    masked = paint * present[..., None, None].to(paint.dtype)
    strongest = layers.strongest(masked, scene.objects.corner, layers.size_of(image))
    own = paint[present]  # (T, P, Q)
    most, image = (
        layers.under(part, row, corner, layers.size_of(own)) for part in (strongest, image)
    )
    ink = image * ((own == most) & (own > TOUCH * _peak(own))).to(image.dtype)
    boxes = _bright_boxes(ink)
    if len(none := (boxes[:, 2] == 0).nonzero()[:, 0]):
        boxes[none] = _bright_boxes(own[none])
    return _on_canvas(boxes, corner, window)


def _opaque_boxes(scene: Composition, present: Tensor, window: Tensor) -> Tensor:
    """Boxes (T, 4) of where each of the T present objects is opaque, be it hidden or not."""
    assert scene.objects.opacity is not None
    opacity, corner = scene.objects.opacity[present], scene.objects.corner[present]  # (T, 1, P, Q)
    opaque = (opacity[:, 0] > HALF * _peak(opacity[:, 0])).to(opacity.dtype)
    return _on_canvas(ink_boxes(opaque), corner, window)


def _bright_boxes(patches: Tensor) -> Tensor:
    """Boxes (T, 4) of what is bright in patches (T, P, Q); zeros where a patch is black."""
    return ink_boxes(patches / _peak(patches).clamp(min=FAINTEST))


def _on_canvas(boxes: Tensor, corner: Tensor, otherwise: Tensor) -> Tensor:
    """Boxes (T, 4) in patches at corners (T, 2) as the canvas has them, or others where empty."""
    found = boxes[:, 2:3] > 0
    return torch.where(found, boxes + corner.flip(-1).repeat(1, 2), otherwise)


def _peak(pictures: Tensor) -> Tensor:
    """The brightest pixel of each of (T, H, W), shape (T, 1, 1)."""
    return pictures.flatten(1).amax(1)[:, None, None]
