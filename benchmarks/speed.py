"""Times a training step, inference, scene composition and memory on the multi-MNIST preset.

    python benchmarks/speed.py [--data-dir DIR] [--compile]
    python benchmarks/speed.py --against COMMIT

A step is compared with one plain matrix product of the same number of floating-point operations in
the same process, as machines differ and shared ones change by the hour. With --against, steps,
inference and memory are compared with those of another commit in place of all this.
"""

import argparse
import resource
import statistics
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from against import compare_commits
from airscene.data import Composer, load_sprites
from airscene.experiments.machine import provenance
from airscene.kinds import make_objective
from airscene.presets import PRESETS
from machine import write_result
from measure import (
    BATCH,
    KINDS,
    STEPS,
    inference_speed,
    make_step,
    seconds,
    step_inputs,
    with_steps,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--compile", action="store_true", help="time the compiled step")
    parser.add_argument("--against", metavar="COMMIT", help="compare with another commit's speed")
    options = parser.parse_args()
    if options.against:
        compare_commits(options.against)
    else:
        measure_all(options)


def measure_all(options: argparse.Namespace) -> None:
    """Measures this commit, prints what was found, and writes it."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    result = {"provenance": provenance(), "compiled": options.compile}
    result["steps"] = [time_step(n, options.compile, device) for n in STEPS]
    result["feedback"] = [time_feedback(n, options.compile, device) for n in STEPS]
    result["inference_images_per_second"] = inference_speed(device)
    result["scenes_per_second_one_core"] = time_composer(options.data_dir)
    result["peak_memory_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    for row in result["steps"]:
        print(
            "N = {steps}: step {ms:.1f} ms, matrix product {product_ms:.1f} ms, "
            "ratio {ratio:.2f}, {gflop:.2f} GFLOP".format(**row)
        )
    for row in result["feedback"]:
        print(
            "N = {steps}: AIR {air_ms:.1f} ms, DAIR {dair_ms:.1f} ms, ratio {ratio:.2f}".format(
                **row
            )
        )
    for name in ("inference_images_per_second", "scenes_per_second_one_core", "peak_memory_mib"):
        print(f"{name}: {result[name]:,.0f}")
    write_result("speed-compiled" if options.compile else "speed", result)


def time_step(steps: int, compile_it: bool, device: torch.device) -> dict:
    """One training step at batch 64, and the matrix product that costs the same operations."""
    step = make_step(with_steps("multi-mnist", steps), BATCH, compile_it, device)
    flops = count_flops("multi-mnist", steps, device)
    side = round((flops / 2) ** (1 / 3))
    left, right = torch.rand(2, side, side, device=device)
    ms, product_ms = compare(step, lambda: left @ right, device)
    return {
        "steps": steps,
        "ms": ms,
        "product_ms": product_ms,
        "ratio": ms / product_ms,
        "gflop": flops / 1e9,
    }


def time_feedback(steps: int, compile_it: bool, device: torch.device) -> dict:
    """One training step of AIR and of DAIR, in turns."""
    configs = (with_steps(preset, steps) for preset in KINDS.values())
    air, dair = (make_step(config, BATCH, compile_it, device) for config in configs)
    air_ms, dair_ms = compare(air, dair, device)
    return {"steps": steps, "air_ms": air_ms, "dair_ms": dair_ms, "ratio": dair_ms / air_ms}


def count_flops(preset: str, steps: int, device: torch.device) -> int:
    """Floating-point operations of a step's forward and backward pass."""
    config = with_steps(preset, steps)
    objective = make_objective(config).to(device)
    image, noise = step_inputs(config, objective.noise_shape, BATCH, device)
    with FlopCounterMode(display=False) as counter:
        objective(image, noise)[0].backward()
    return counter.get_total_flops()


def compare(first: Callable, second: Callable, device: torch.device) -> tuple[float, float]:
    """Median milliseconds of two calls, taken in turns so that both see the same machine."""
    for _ in range(5):
        first(), second()
    times = [(seconds(first, device), seconds(second, device)) for _ in range(60)]
    return tuple(1e3 * statistics.median(column) for column in zip(*times, strict=True))


def time_composer(data_dir: Path | None) -> float:
    """Scenes a second on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    composer = Composer(load_sprites("mnist", "train", data_dir), PRESETS["multi-mnist"].scenes)
    generator = torch.Generator().manual_seed(0)
    cpu = torch.device("cpu")
    taken = seconds(lambda: composer.compose(40_000, generator), cpu)
    torch.set_num_threads(threads)
    return 40_000 / taken


if __name__ == "__main__":
    main()
