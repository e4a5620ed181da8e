"""Times a training step, inference, scene composition and memory on the multi-MNIST preset.

python benchmarks/speed.py [--data-dir DIR] [--compile]

A step is compared with one plain matrix product of the same number of floating-point operations in
the same process, as machines differ and shared ones change by the hour.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from airscene.data import Composer, load_sprites
from airscene.detections import detect
from airscene.experiments.machine import provenance
from airscene.kinds import make_objective
from airscene.presets import PRESETS
from airscene.training.loop import compiled
from airscene.training.objectives import make_optimizer
from machine import write_result

BATCH = 64
STEPS = (3, 6, 12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--compile", action="store_true", help="time the compiled step")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    result = {"provenance": provenance(), "compiled": options.compile}
    result["steps"] = [time_step(n, options.compile, device) for n in STEPS]
    result["feedback"] = [time_feedback(n, options.compile, device) for n in STEPS]
    result["inference_images_per_second"] = time_inference(device)
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
    step, flops = make_step("multi-mnist", steps, compile_it, device)
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
    names = ("multi-mnist", "dair")
    air, dair = (make_step(name, steps, compile_it, device)[0] for name in names)
    air_ms, dair_ms = compare(air, dair, device)
    return {"steps": steps, "air_ms": air_ms, "dair_ms": dair_ms, "ratio": dair_ms / air_ms}


def make_step(
    preset: str, steps: int, compile_it: bool, device: torch.device
) -> tuple[Callable[[], None], int]:
    """A training step of a preset with N steps at batch 64, and its floating-point operations."""
    config = PRESETS[preset]
    config = replace(config, model=replace(config.model, steps=steps))
    objective = make_objective(config).to(device)
    optimizer = make_optimizer(objective)
    image = torch.rand(BATCH, 1, 50, 50, device=device)
    noise = torch.randn(BATCH, *objective.noise_shape, device=device)
    with FlopCounterMode(display=False) as counter:
        objective(image, noise)[0].backward()
    settings = replace(config.training, compile="on" if compile_it else "off")
    call = compiled(objective, settings, device)

    def step() -> None:
        loss, _ = call(image, noise)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(objective.parameters(), config.training.clip)
        optimizer.step()

    return step, counter.get_total_flops()


def compare(first: Callable, second: Callable, device: torch.device) -> tuple[float, float]:
    """Median milliseconds of two calls, taken in turns so that both see the same machine."""
    for _ in range(5):
        first(), second()
    times = [(seconds(first, device), seconds(second, device)) for _ in range(60)]
    return tuple(1e3 * statistics.median(column) for column in zip(*times, strict=True))


def seconds(call: Callable, device: torch.device) -> float:
    started = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def time_inference(device: torch.device) -> float:
    """Images a second through counts and boxes at batch 256."""
    model = make_objective(PRESETS["multi-mnist"]).model.to(device).eval()
    images = torch.rand(2560, 1, 50, 50)
    return len(images) / statistics.median(
        seconds(lambda: detect(model, images, batch=256), device) for _ in range(5)
    )


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
