"""Pictures of many digits: numbers that were never seen in training, and no limit to them.

`spair`
    SPAIR's task (Crawford and Pineau 2019): trained on crops of 48×48 pixels of pictures with 6 to
    10 digits of 14 pixels, tested on 84×84 pixels with 5, 10, 15 and 20 digits. As in the code of
    SPAIR, the squares of two digits share half of their area at most.
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
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from airscene.data import SceneConfig, Scenes, compose_split
from airscene.data.mnist import Split
from airscene.data.whole import WholePicture
from airscene.experiments.machine import best_device
from airscene.results.labelling import Labelled
from airscene.results.whole import Found
from airscene.runs import Run, find_in, load_run, train_run
from real_pictures import configured
from worst import save_miscounted

SIDE, CANVAS = 14, (84, 84)
DIGIT = SceneConfig(
    source="mnist", canvas=(SIDE, SIDE), counts=(1,), size=SIDE, scale_mean=1.0, scale_std=0.0
)
LARGE = SceneConfig(source="mnist", canvas=(80, 80), train_size=8000)  # as multi-MNIST
LARGE_SIZE, CROP = 21.0, 48
TRAINED, TESTED = 4000, 500  # pictures of a training, and of each number in a test
CROWD, CROWDED = (200, 20), (420, 420)  # digits and pictures; their size
COSTS, COST_CANVAS, REPEATS = (50, 200, 800), (840, 840), 5


def spair(
    seeds: range, iterations: int | None, worst: Path | None, data_dir: Path | None
) -> Iterator[dict]:
    """Rows for each seed: exact counts, many digits, and times."""
    pictures = scattered(range(6, 11), TRAINED, "train", data_dir)
    for seed in seeds:
        with tempfile.TemporaryDirectory() as place:
            run, row = learned(pictures, float(SIDE), seed, iterations, Path(place))
            tests = {n: scattered([n], TESTED, "test", data_dir) for n in (5, 10, 15, 20)}
            yield {"task": "spair"} | row | exact(run, tests)
            if worst and seed == seeds[0]:
                save_miscounted(worst / "worst-spair.png", found_in(run, tests[20]), 20)
            yield {"task": "crowd"} | row | crowd(run, data_dir)
            yield from ({"task": "cost"} | row | cost for cost in costs(run, data_dir))


def unseen(
    seeds: range, iterations: int | None, worst: Path | None, data_dir: Path | None
) -> Iterator[dict]:
    """A row for each seed: the share of pictures whose number is right, of each number."""
    pictures = pixels(compose_split(LARGE, "train", 0, data_dir))
    for seed in seeds:
        with tempfile.TemporaryDirectory() as place:
            run, row = learned(pictures, LARGE_SIZE, seed, iterations, Path(place))
            of = {n: replace(LARGE, counts=(n,), test_size=TESTED) for n in range(9)}
            tests = {n: pixels(compose_split(of[n], "test", 0, data_dir)) for n in of}
            table = exact(run, tests)
            mean = float(np.mean([table[f"exact_{n}"] for n in range(3, 9)]))
            yield {"task": "unseen"} | row | table | {"exact_3_to_8": mean}
            if worst and seed == seeds[0]:
                save_miscounted(worst / "worst-unseen.png", found_in(run, tests[8]), 8)


def learned(
    pictures: np.ndarray, size: float, seed: int, iterations: int | None, place: Path
) -> tuple[Run, dict]:
    """A model that learned from pictures (M, H, W), and how long that took."""
    np.save(place / "pictures.npy", pictures)
    config = configured(place / "pictures.npy", size, seed, iterations, CROP)
    started = time.perf_counter()
    train_run(config, place / "run")
    row = {"method": "airscene", "seed": seed, "steps": config.training.iterations}
    row["training_s"] = time.perf_counter() - started
    return load_run(place / "run", best_device()), row


def exact(run: Run, tests: dict[int, np.ndarray]) -> dict:
    """The share of pictures whose number of digits is right, of each number."""
    found = {n: [len(one) for one in inferred(run, pictures)] for n, pictures in tests.items()}
    return {f"exact_{n}": float(np.mean(np.equal(counts, n))) for n, counts in found.items()}


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


def scattered(
    counts: Sequence[int], number: int, split: Split, data_dir: Path | None
) -> np.ndarray:
    """Pictures of digits at random places, no two squares sharing more than half of their area."""
    random = np.random.default_rng([split == "test", *counts])
    numbers = random.choice(counts, number)
    digits = iter(single_digits(int(numbers.sum()), split, data_dir))
    pictures = np.zeros((number, *CANVAS), np.uint8)
    for picture, n in zip(pictures, numbers, strict=True):
        for y, x in corners(n, random):
            part = picture[y : y + SIDE, x : x + SIDE]
            part[:] = np.minimum(part.astype(int) + next(digits), 255)
    return pictures


def corners(number: int, random: np.random.Generator) -> list[np.ndarray]:
    """Corners (y, x) of so many squares, each drawn anew until it keeps clear of those before."""
    found: list[np.ndarray] = []
    while len(found) < number:
        corner = random.integers(0, CANVAS[0] - SIDE + 1, 2)
        shared = [np.clip(SIDE - np.abs(corner - other), 0, None).prod() for other in found]
        if max(shared, default=0) <= SIDE**2 / 2:
            found.append(corner)
    return found


def apart(count: int, number: int, size: tuple[int, int], data_dir: Path | None) -> np.ndarray:
    """Pictures of so many test digits whose squares do not overlap, each on a cell of a grid.

    A grid with random offsets and not at random, as so many hardly ever lie apart by chance.
    """
    random, cell = np.random.default_rng(0), SIDE + 4
    digits = single_digits(count * number, "test", data_dir).reshape(number, count, SIDE, SIDE)
    pictures = np.zeros((number, *size), np.uint8)
    rows, columns = size[0] // cell, size[1] // cell
    for picture, some in zip(pictures, digits, strict=True):
        for k, digit in zip(random.permutation(rows * columns)[:count], some, strict=True):
            y, x = np.array(divmod(k, columns)) * cell + random.integers(0, 5, 2)
            picture[y : y + SIDE, x : x + SIDE] = digit
    return pictures


def single_digits(number: int, split: Split, data_dir: Path | None) -> np.ndarray:
    """Digits, each filling its square, shape (M, 14, 14)."""
    sizes = {"train_size": number, "test_size": number}
    return pixels(compose_split(replace(DIGIT, **sizes), split, 0, data_dir))


def inferred(run: Run, pictures: np.ndarray) -> list[Labelled]:
    """The objects of pictures (M, H, W) of bytes."""
    return [found.objects for found in found_in(run, pictures)]


def found_in(run: Run, pictures: np.ndarray) -> list[Found]:
    """What is found in pictures (M, H, W) of bytes."""
    known = [WholePicture(Path(f"{k}"), 0, p[..., None]) for k, p in enumerate(pictures)]
    return [*find_in(run, known)]


def pixels(scenes: Scenes) -> np.ndarray:
    """The pictures as bytes, shape (M, H, W)."""
    return (scenes.pixels()[:, 0] * 255).round().byte().numpy()
