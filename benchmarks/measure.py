"""Measures training steps and inference in a process of its own; prints one line of JSON.

    python benchmarks/measure.py speed
    python benchmarks/measure.py memory PRESET

It measures whichever airscene Python finds, so that `speed.py --against COMMIT` can have an older
one measured by the same code: what is imported here must be there since that commit.
"""

import argparse
import json
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

import airscene
from airscene.config import Config
from airscene.kinds import make_objective
from airscene.models.air import AIR
from airscene.presets import PRESETS
from airscene.training.loop import compiled
from airscene.training.objectives import make_optimizer


def since(name: str, *modules: str) -> Any:
    """What the first module that exists calls by a name; older commits have the last module."""
    *newer, oldest = modules
    return getattr(import_module(next(filter(exists, newer), oldest)), name)


def exists(module: str) -> bool:
    """Whether a module can be imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # its package
        return False


detect = since("detect", "airscene.results.detections", "airscene.detections")
scale_of = since("scale_of", "airscene.models.air_config", "airscene.models.air")

BATCH = 64
STEPS = (3, 6, 12)
KINDS = {"AIR": "multi-mnist", "DAIR": "dair"}
CANVAS, SIDE, FEW = 400, 21, 4  # pixels of a large canvas and of its windows; images of a batch
WARM_UP, REPEATS = 3, 10
MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "memory"])
    parser.add_argument("preset", nargs="?", choices=KINDS.values())
    options = parser.parse_args()
    if options.what == "memory":
        found: dict[str, Any] = {"mib": step_memory(with_steps(options.preset, STEPS[0]))}
    else:
        found = dict(speeds())
    print(json.dumps({"source": str(Path(airscene.__file__).parent), "found": found}))


def speeds() -> Iterator[tuple[str, float]]:
    """Names of quantities and their values: milliseconds of steps, and images a second."""
    cpu = torch.device("cpu")
    for title, preset in KINDS.items():
        for steps in STEPS:
            step = make_step(with_steps(preset, steps), BATCH, False, cpu)
            yield f"{title}, N = {steps}: step (ms)", median_ms(step)
    step = make_step(on_large_canvas(), FEW, False, cpu)
    yield f"DAIR, N = {STEPS[-1]}, {CANVAS} × {CANVAS} px: step (ms)", median_ms(step)
    yield "AIR: counts and boxes (images/s)", inference_speed(cpu)


def with_steps(preset: str, steps: int) -> Config:
    """A preset whose model allows for N objects."""
    config = PRESETS[preset]
    return replace(config, model=replace(config.model, steps=steps))


def on_large_canvas() -> Config:
    """DAIR with many small objects. AIR reads whole canvases by a matrix of more than 600 MB."""
    config = with_steps("dair", STEPS[-1])
    scale = scale_of(SIDE / CANVAS), 0.1
    model = replace(config.model, height=CANVAS, width=CANVAS, scale_prior=scale)
    return replace(config, model=model)


def make_step(config: Config, batch: int, compile_it: bool, device: torch.device) -> Callable:
    """A training step on images and noise that stay the same."""
    objective = make_objective(config).to(device)
    optimizer = make_optimizer(objective)
    image, noise = step_inputs(config, objective.noise_shape, batch, device)
    settings = replace(config.training, compile="on" if compile_it else "off")
    call = compiled(objective, settings, device)

    def step() -> None:
        loss, _ = call(image, noise)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(objective.parameters(), config.training.clip)
        optimizer.step()

    return step


def step_inputs(
    config: Config, noise_shape: tuple[int, ...], batch: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Random images (B, C, H, W) and the noise of a training step, (B, *noise_shape)."""
    c = config.model
    image = torch.rand(batch, c.channels, c.height, c.width, device=device)
    return image, torch.randn(batch, *noise_shape, device=device)


def inference_speed(device: torch.device) -> float:
    """Images a second through counts and boxes at batch 256."""
    model = make_objective(PRESETS["multi-mnist"]).model.to(device).eval()
    count_in_turn(model)
    images = torch.rand(2560, 1, 50, 50)
    found = detect(model, images, batch=256)
    assert found.count.unique().tolist() == [0, 1, 2], "the model counts otherwise than it was told"
    times = [seconds(lambda: detect(model, images, batch=256), device) for _ in range(5)]
    return len(images) / statistics.median(times)


def count_in_turn(model: AIR) -> None:
    """Lets an untrained model count 0, 1 and 2 objects in turn, which multi-MNIST's scenes have."""
    calls = count()

    def answer(network: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        step = next(calls) % model.config.steps
        wanted = torch.arange(len(output), device=output.device) % 3
        logit = torch.where(wanted > step, 5.0, -5.0)
        return torch.cat([logit[:, None], output[:, 1:]], 1)

    model.attend.register_forward_hook(answer)


def step_memory(config: Config) -> float:
    """MiB that model, optimiser and training steps need at most, above the libraries' own."""
    before = psutil.Process().memory_info().rss
    step = make_step(config, BATCH, False, torch.device("cpu"))
    for _ in range(WARM_UP):
        step()
    most = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (most - before) / MIB


def median_ms(call: Callable) -> float:
    """Median milliseconds of a call on the CPU."""
    for _ in range(WARM_UP):
        call()
    cpu = torch.device("cpu")
    return 1e3 * statistics.median(seconds(call, cpu) for _ in range(REPEATS))


def seconds(call: Callable, device: torch.device) -> float:
    """How long a call takes until its results are there."""
    started = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
