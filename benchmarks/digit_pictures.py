"""Pictures of many digits: numbers that were never seen in training, and no limit to them.

`spair`
    SPAIR's task (Crawford and Pineau 2019): trained on crops of 48×48 pixels of pictures with 6 to
    10 digits of 14 pixels, tested on 84×84 pixels with 5, 10, 15 and 20 digits.
`unseen`
    Trained on 0 to 2 digits and tested on 0 to 8, on 80×80 pixels, as the experiment
    `generalization` does.
`crowd`
    The model of `spair` on pictures with 200 digits whose boxes do not overlap.
`cost`
    The time of the same model on pictures of one size with 50, 200 and 800 digits.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from airscene.data import SceneConfig, Scenes, compose_split
from airscene.data.whole import WholePicture
from airscene.experiments.machine import best_device
from airscene.labelling import Labelled
from airscene.runs import Run, find_in, load_run, train_run
from real_pictures import configured

SMALL = SceneConfig(source="mnist", canvas=(84, 84), size=18.2, train_size=4000)  # 14 px
LARGE = SceneConfig(source="mnist", canvas=(80, 80), train_size=8000)  # as multi-MNIST
SMALL_SIZE, LARGE_SIZE, CROP = 14.0, 21.0, 48
TESTED = 500  # pictures of each number
CROWD, CROWDED = (200, 20), (420, 420)  # digits and pictures; their size
COSTS, COST_CANVAS, REPEATS = (50, 200, 800), (840, 840), 5


def spair(seeds: range, iterations: int | None, data_dir: Path | None) -> Iterator[dict]:
    """A row for each seed: the share of pictures whose number is right, of each number."""
    scenes = replace(SMALL, counts=tuple(range(6, 11)))
    for seed in seeds:
        with tempfile.TemporaryDirectory() as place:
            run, row = learned(scenes, SMALL_SIZE, seed, iterations, data_dir, Path(place))
            yield {"task": "spair"} | row | exact(run, SMALL, (5, 10, 15, 20), data_dir)
            yield {"task": "crowd"} | row | crowd(run, data_dir)
            yield from ({"task": "cost"} | row | cost for cost in costs(run, data_dir))


def unseen(seeds: range, iterations: int | None, data_dir: Path | None) -> Iterator[dict]:
    """A row for each seed: the share of pictures whose number is right, of each number."""
    for seed in seeds:
        with tempfile.TemporaryDirectory() as place:
            run, row = learned(LARGE, LARGE_SIZE, seed, iterations, data_dir, Path(place))
            table = exact(run, LARGE, tuple(range(9)), data_dir)
            mean = float(np.mean([table[f"exact_{n}"] for n in range(3, 9)]))
            yield {"task": "unseen"} | row | table | {"exact_3_to_8": mean}


def learned(
    scenes: SceneConfig,
    size: float,
    seed: int,
    iterations: int | None,
    data_dir: Path | None,
    place: Path,
) -> tuple[Run, dict]:
    """A model that learned from pictures of digits, and how long that took."""
    np.save(place / "pictures.npy", pixels(compose_split(scenes, "train", 0, data_dir)))
    config = configured(place / "pictures.npy", size, seed, iterations, CROP)
    started = time.perf_counter()
    train_run(config, place / "run")
    row = {"method": "airscene", "seed": seed, "steps": config.training.iterations}
    row["training_s"] = time.perf_counter() - started
    return load_run(place / "run", best_device()), row


def exact(run: Run, scenes: SceneConfig, counts: tuple[int, ...], data_dir: Path | None) -> dict:
    """The share of pictures whose number of digits is right, of each number."""
    table = {}
    for n in counts:
        test = compose_split(replace(scenes, counts=(n,), test_size=TESTED), "test", 0, data_dir)
        found = inferred(run, pixels(test))
        table[f"exact_{n}"] = float(np.mean([len(one) == n for one in found]))
    return table


def crowd(run: Run, data_dir: Path | None) -> dict:
    """The error of the number on pictures with many digits."""
    count, number = CROWD
    found = inferred(run, apart(count, number, CROWDED, data_dir))
    numbers = np.array([len(one) for one in found])
    error = float(np.abs(numbers - count).mean() / count)
    return {"digits": count, "pictures": number, "found": int(numbers.sum()), "count_error": error}


def costs(run: Run, data_dir: Path | None) -> Iterator[dict]:
    """The seconds of a picture, of pictures of one size with more and more digits."""
    for count in COSTS:
        picture = apart(count, 1, COST_CANVAS, data_dir)
        times = []
        for _ in range(REPEATS):
            started = time.process_time()
            (found,) = inferred(run, picture)
            times.append(time.process_time() - started)
        yield {"digits": count, "found": len(found), "cpu_s": float(np.median(times))}


def apart(count: int, number: int, size: tuple[int, int], data_dir: Path | None) -> np.ndarray:
    """Pictures of so many test digits whose boxes do not overlap, each on a cell of a grid.

    A grid with random offsets and not at random, as so many hardly ever lie apart by chance.
    """
    random = np.random.default_rng(0)
    one = replace(SMALL, canvas=(18, 18), counts=(1,), test_size=count * number)
    digits = pixels(compose_split(one, "test", 1, data_dir)).reshape(number, count, 18, 18)
    pictures = np.zeros((number, *size), np.uint8)
    rows, columns = size[0] // 20, size[1] // 20
    for picture, some in zip(pictures, digits, strict=True):
        for cell, digit in zip(random.permutation(rows * columns)[:count], some, strict=True):
            y, x = 20 * (cell // columns), 20 * (cell % columns)
            dy, dx = random.integers(0, 3, 2)
            picture[y + dy : y + dy + 18, x + dx : x + dx + 18] = digit
    return pictures


def inferred(run: Run, pictures: np.ndarray) -> list[Labelled]:
    """What is found in pictures (M, H, W) of bytes."""
    known = [WholePicture(Path(f"{k}"), 0, p[..., None]) for k, p in enumerate(pictures)]
    return [found.objects for found in find_in(run, known)]


def pixels(scenes: Scenes) -> np.ndarray:
    """The pictures as bytes, shape (M, H, W)."""
    return (scenes.pixels()[:, 0] * 255).round().byte().numpy()
