"""The evaluation of a trained model on scenes: the table of `airscene evaluate`."""

import time
from typing import Any

import torch
from torch import Tensor

from airscene.core.seeds import Purpose, global_stream
from airscene.data import Scenes
from airscene.kinds import kind_of
from airscene.models.base import Model
from airscene.passes import costly_scenes, inference_batch
from airscene.results import metrics, placements
from airscene.results.detections import Detections

BATCH = 256
TRIED = 50  # scenes that the time of an evaluation is estimated from, and the fewest it is over
PASSES = 5  # of the model that a scene costs besides the bound of many samples, about


def evaluate(
    model: Model, scenes: Scenes, samples: int = 100, bound_scenes: int | None = None
) -> dict[str, Any]:
    """Counts, boxes, bounds and speed on held-out scenes.

    Args:
        model: a trained model; one without objects has bounds alone.
        scenes: what to evaluate on; without truth, the figures that need it are absent.
        samples: importance samples K of the tighter bound.
        bound_scenes: scenes of the K-sample bound, the first ones, as it costs K passes; chosen by
            the size of a scene unless given.

    Returns:
        Plain numbers by name, ready for JSON; every bound in nats with the Gaussian's constant.
    """
    images, steps = scenes.pixels(), model.config.steps
    bound_scenes = costly_scenes(model.config, steps) if bound_scenes is None else bound_scenes
    found, speed = objects(model, scenes)
    with global_stream(Purpose.EVALUATION, 0):  # the same noise for every run, so that runs compare
        bounds = elbo(model, images), bound(model, images[:bound_scenes], samples)
    return {
        "scenes": len(scenes),
        **found,
        "elbo": bounds[0],
        "bound": bounds[1],
        "bound_samples": samples,
        "bound_scenes": min(bound_scenes, len(scenes)),
        **speed,
    }


def affordable_scenes(model: Model, scenes: Scenes, samples: int, seconds: float) -> int:
    """How many scenes can be evaluated in some time, by how long a pass over a few takes.

    Args:
        model: a trained model.
        scenes: what there is to evaluate on.
        samples: importance samples of the tighter bound.
        seconds: that the evaluation may take, about.
    """
    started = time.perf_counter()
    elbo(model, scenes[:TRIED].pixels())
    each = (time.perf_counter() - started) / min(TRIED, len(scenes))
    bounded, number = costly_scenes(model.config, model.config.steps), len(scenes)
    while number > TRIED and each * (PASSES * number + samples * min(number, bounded)) > seconds:
        number = max(TRIED, number // 2)
    return number


def validate(model: Model, scenes: Scenes) -> dict[str, float]:
    """The ELBO of held-out scenes and, where the truth is known, how well counts or poses agree.

    Args:
        model: a model in training.
        scenes: held-out scenes, with or without truth.
    """
    table = {"elbo": elbo(model, scenes.pixels())}
    detect, place = (kind := kind_of(model.config)).detect, kind.place
    if place is not None:
        table |= placements.agreement(scenes, place(model, scenes.pixels()))
    if detect is not None and scenes.count is not None:
        count = detect(model, scenes.pixels(), None).count
        table["count_accuracy"] = metrics.count_accuracy(scenes.count, count)
    return table


def objects(model: Model, scenes: Scenes) -> tuple[dict[str, Any], dict[str, float]]:
    """What is found in scenes and how well it agrees with the truth; and how fast it is found.

    Both tables are empty of a model without objects.
    """
    kind, images = kind_of(model.config), scenes.pixels()
    started = time.perf_counter()
    if kind.place is not None:
        placed = kind.place(model, images)
        speed = _speed(scenes, started)
        return placements.agreement(scenes, placed), speed
    if kind.detect is None:
        return {}, {}
    found = kind.detect(model, images, None)
    speed = _speed(scenes, started)
    histogram = {"count_histogram": found.count.bincount().tolist()}
    return agreement(scenes, found) | histogram, speed


def _speed(scenes: Scenes, started: float) -> dict[str, float]:
    return {"images_per_second": len(scenes) / (time.perf_counter() - started)}


def agreement(scenes: Scenes, found: Detections) -> dict[str, Any]:
    """The figures that need the truth, as far as `scenes` holds it."""
    if scenes.count is None:
        return {}
    table = {
        "count_accuracy": metrics.count_accuracy(scenes.count, found.count),
        "count_confusion": metrics.count_confusion(scenes.count, found.count).tolist(),
        "count_mean_absolute_error": float((found.count - scenes.count).abs().float().mean()),
    }
    return table | _box_agreement(scenes, found) | _mask_agreement(scenes, found)


def _box_agreement(scenes: Scenes, found: Detections) -> dict[str, float]:
    if scenes.boxes is None or scenes.count is None:
        return {}
    true = counted(scenes.boxes, scenes.count)
    inferred, scores = counted(found.boxes, found.count), counted(found.scores, found.count)
    return {
        "box_mean_iou": metrics.mean_matched_iou(true, inferred),
        "box_f1": metrics.f1(true, inferred),
        "box_ap50": metrics.average_precision(true, inferred, scores),
    }


def _mask_agreement(scenes: Scenes, found: Detections) -> dict[str, float]:
    if scenes.masks is None or found.masks is None:
        return {}
    true, inferred = scenes.masks.cpu(), found.masks
    return {
        "mask_ari": metrics.foreground_ari(true, inferred),
        "mask_iou": metrics.mean_mask_iou(true, inferred),
    }


def counted(values: Tensor, count: Tensor) -> list[Tensor]:
    """The entries of each image's counted objects, from (B, N, ...) and (B,)."""
    return [value[:n] for value, n in zip(values, count.tolist(), strict=True)]


def elbo(model: Model, images: Tensor) -> float:
    """Mean ELBO in nats, n summed out and one sample of the other latents an image."""
    return _mean(model.elbo, images, model)


def bound(model: Model, images: Tensor, samples: int) -> float:
    """Mean importance-weighted bound in nats, of so many samples an image."""
    return _mean(lambda part: model.log_likelihood(part, samples), images, model)


def _mean(value, images: Tensor, model: Model) -> float:
    rows = inference_batch(model.config, model.config.steps, BATCH)
    with torch.no_grad():
        parts = [value(part.to(model.device)) for part in images.split(rows)]
        return float(torch.cat(parts).mean())
