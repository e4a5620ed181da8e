"""Times eight small trainings on two worker processes against one.

    python benchmarks/workers.py [--iterations N] [--rounds R]

Both cores must be free: the load of the machine is told with each time, and so are the CPU seconds
that the workers took, which load hardly changes. Each worker has one thread.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from airscene.experiments.learning import EvaluationConfig, LearningTask, learn, side_by_side
from airscene.experiments.machine import provenance
from airscene.experiments.workers import local_workers
from airscene.presets import PRESETS
from machine import write_result

TRAININGS, WORKERS = 8, (1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iterations", type=int, default=100, help="steps of each training")
    parser.add_argument("--rounds", type=int, default=1, help="how often to time both")
    options = parser.parse_args()
    result: dict[str, Any] = {
        "provenance": provenance(),
        "iterations": options.iterations,
        "trainings": TRAININGS,
        "sweeps": [],
    }
    for _ in range(options.rounds):
        for size in WORKERS:
            result["sweeps"].append(row := sweep(size, options.iterations))
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    one, two = (
        statistics.median(row["seconds"] for row in result["sweeps"] if row["workers"] == size)
        for size in WORKERS
    )
    result["speed_up"] = one / two
    print(f"two workers are {one / two:.2f} times as fast as one")
    write_result("workers", result)


def sweep(size: int, iterations: int) -> dict[str, Any]:
    """Trains on so many workers, from their start to their end; wall and CPU seconds, and load."""
    config = side_by_side(PRESETS["digits"], iterations=iterations, validate_every=iterations)
    scenes = replace(config.scenes, train_size=5_000, test_size=500)
    load, before, started = os.getloadavg()[0], _cpu_seconds(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, local_workers(size) as workers:
        tasks = [
            LearningTask(
                replace(config, scenes=scenes, seed=seed),
                Path(folder) / f"seed-{seed}",
                EvaluationConfig(1, 100),
                None,
            )
            for seed in range(TRAININGS)
        ]
        done = len([*workers.map(learn, tasks)])
    seconds = time.perf_counter() - started
    return {
        "workers": size,
        "trainings": done,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(_cpu_seconds() - before, 1),
        "load_before": round(load, 2),
        "cores": len(os.sched_getaffinity(0)),
    }


def _cpu_seconds() -> float:
    """CPU seconds of the child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
