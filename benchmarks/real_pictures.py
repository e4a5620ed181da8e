"""Counts and boxes in real pictures, against what people use without labels: Otsu and watershed.

The pictures are not part of this project. A model learns from the same pictures in which it then
finds the objects, as a user would have it: no label plays a part in that. The classical tool is
scikit-image's: what a picture shows against its background, a Gaussian blur, Otsu's threshold, and
a watershed of the blurred distance to the border. Its settings are the best of five that were tried
on these sets with their truth.
"""

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
import torch
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.filters import gaussian, threshold_otsu
from skimage.measure import regionprops
from skimage.segmentation import watershed

from airscene.config import Config
from airscene.data.behind import WHOLE
from airscene.data.contrast import Contrast, settle
from airscene.data.whole import picture_files, read_pictures
from airscene.experiments.machine import best_device
from airscene.presets import PRESETS
from airscene.results.labelling import Labelled
from airscene.results.metrics import matched_ious
from airscene.runs import find_in, load_run, train_run, with_object_size
from worst import save_worst

SIZES = {"coins": 45.0, "nuclei_bbbc039": 11.0, "raw_bbbc039": 33.0, "nuclei_dsb2018": 15.0}
"""The sets, and the rough length of an object in each, in pixels."""
RAW = "raw_bbbc039"  # is a folder of TIFF files
APART, BLUR = 0.25, 0.03  # of the seeds of the watershed, and standard deviation, in objects
SMALLEST = 0.05  # area of what the watershed counts, in squared objects
THRESHOLDS = (0.5, 0.75)


def on_set(
    data: Path, name: str, seeds: range, iterations: int | None, worst: Path | None
) -> Iterator[dict]:
    """A row for each seed of what a model finds in a set, and one of the classical tool.

    The worst pictures of the first seed are drawn into the folder `worst`, if there is one.
    """
    with tempfile.TemporaryDirectory() as place:
        source, truth = prepared_set(data, name, Path(place))
        for seed in seeds:
            config = configured(source, SIZES[name], seed, iterations)
            found, row = trained(config, source, Path(place) / f"run-{seed}")
            yield {"set": name} | row | scores(found, truth)
            if worst and seed == seeds[0]:
                pictures = [*read_pictures(picture_files([source]))]
                save_worst(worst / f"worst-{name}.png", pictures, found, truth)
        yield classical(name, source, truth)


def prepared_set(data: Path, name: str, place: Path) -> tuple[Path, list[torch.Tensor]]:
    """Where the pictures of a set lie, and the true boxes of each."""
    if name == RAW:
        boxes = json.loads((data / RAW / "boxes.json").read_text())
        files = sorted((data / RAW).glob("*.tif"))
        folder = place / "pictures"
        folder.mkdir()
        for file in files:
            tifffile.imwrite(folder / file.name, tifffile.imread(file))
        return folder, [torch.tensor(boxes[file.name]).view(-1, 4).float() for file in files]
    arrays = np.load(data / f"{name}.npz")
    np.save(place / "pictures.npy", arrays["x"])  # the pictures alone, without their truth
    known = zip(arrays["boxes"], arrays["count"], strict=True)
    return place / "pictures.npy", [torch.from_numpy(boxes[:n]) for boxes, n in known]


def configured(
    source: Path, object_size: float, seed: int, iterations: int | None = None, crop: int = 0
) -> Config:
    """What to train on the pictures of a file or folder.

    Args:
        source: the pictures.
        object_size: rough length of an object in pixels.
        seed: of the training.
        iterations: steps; the preset's unless given.
        crop: side of a crop in pixels of prepared pictures; the preset's unless given.
    """
    preset = PRESETS["whole"]
    steps = iterations or preset.training.iterations
    training = replace(preset.training, iterations=steps, snapshots=0, validate_every=steps)
    side = {"height": crop, "width": crop} if crop else {}
    model = replace(preset.model, **side)
    config = replace(preset, data=str(source), seed=seed, training=training, model=model)
    return with_object_size(config, object_size)


def trained(config: Config, source: Path, folder: Path) -> tuple[list[Labelled], dict]:
    """What a model that learned from pictures finds in them, and how long both took."""
    started = time.perf_counter()
    train_run(config, folder)
    times = {"training_s": time.perf_counter() - started}
    run, started = load_run(folder, best_device()), time.perf_counter()
    found = [found.objects for found in find_in(run, read_pictures(picture_files([source])))]
    times["pictures_s"] = time.perf_counter() - started
    steps = config.training.iterations
    return found, {"method": "airscene", "seed": config.seed, "steps": steps} | times


def classical(name: str, source: Path, truth: list[torch.Tensor]) -> dict:
    """A row of what threshold and watershed find."""
    contrast = contrast_of(name, source)
    started = time.perf_counter()
    found = [*watersheds(contrast, source)]
    times = {"training_s": 0.0, "pictures_s": time.perf_counter() - started}
    return {"set": name, "method": "watershed"} | times | scores(found, truth)


def contrast_of(name: str, source: Path) -> Contrast:
    """How the pictures of a set are prepared."""
    pixels = [picture.pixels for picture in read_pictures(picture_files([source]))]
    return settle(Contrast(object_size=SIZES[name]), pixels)


def watersheds(contrast: Contrast, source: Path) -> Iterator[Labelled]:
    """What threshold and watershed find in each picture."""
    size = contrast.span / contrast.shrink
    for picture in read_pictures(picture_files([source])):
        image = contrast.show(picture.pixels)[WHOLE]
        smooth = gaussian(image, BLUR * size)
        mask = smooth > (threshold_otsu(smooth) if smooth.max() > smooth.min() else smooth.max())
        distance = gaussian(np.asarray(ndimage.distance_transform_edt(mask)), BLUR * size)
        apart = max(1, round(APART * size))
        seeds = np.zeros(image.shape, int)
        for k, at in enumerate(peak_local_max(distance, min_distance=apart, labels=mask * 1), 1):
            seeds[tuple(at)] = k
        yield kept(watershed(-distance, seeds, mask=mask), size)


def kept(labels: np.ndarray, size: float) -> Labelled:
    """Those of some labels that are large enough, numbered anew."""
    regions = [r for r in regionprops(labels) if r.area > SMALLEST * size**2]
    anew = np.zeros(labels.max() + 1, np.int32)
    anew[[region.label for region in regions]] = range(1, len(regions) + 1)
    boxes = [[r.bbox[1], r.bbox[0], r.bbox[3], r.bbox[2]] for r in regions]
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Labelled(anew[labels], boxes, np.ones(len(regions)))


def scores(found: list[Labelled], truth: list[torch.Tensor]) -> dict:
    """Mean error of counts over the mean count, bias, and F1 of boxes at each threshold."""
    number, true = sum(map(len, found)), sum(map(len, truth))
    wrong = sum(abs(len(one) - len(other)) for one, other in zip(found, truth, strict=True))
    pairs = zip(truth, found, strict=True)
    ious = torch.cat([matched_ious(boxes, torch.from_numpy(one.boxes)) for boxes, one in pairs])
    table = {"pictures": len(truth), "true": true, "found": number}
    table |= {"count_error": wrong / true, "bias": (number - true) / true}
    f1 = {f"f1_{t}": 2 * int((ious >= t).sum()) / (number + true) for t in THRESHOLDS}
    return table | f1
