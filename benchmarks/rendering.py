"""Times MuJoCo's pictures of scenes on a core, and watches the memory of a render process.

    python benchmarks/rendering.py

Speeds are pictures a second of processor time, of one process that draws. Memory is that of the
render process and of its parent, before and after 100,000 pictures of three meshes.
"""

import argparse
import time
from dataclasses import replace

import numpy as np
import psutil
import torch

from airscene.experiments.machine import provenance
from airscene.models.arrangement import draw_arrangements, draw_one
from airscene.painters.mujoco import MuJoCoRenderer
from airscene.painters.pool import RenderPool
from airscene.painters.world import BLOCKS, CROCKERY, ONE_OBJECT, World
from machine import write_result

WORLDS = {
    "one object, 32x32": ONE_OBJECT,
    "one object, 48x48": replace(ONE_OBJECT, size=(48, 48)),
    "three blocks, 32x32": replace(BLOCKS, size=(32, 32)),
    "three blocks, 48x48": BLOCKS,
    "three meshes, 32x32": replace(CROCKERY, size=(32, 32)),
    "three meshes, 48x48": CROCKERY,
}
TIMED, BATCH, DRAWN = 10_000, 2_000, 100_000  # pictures

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray]


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    result = {"provenance": provenance(), "pictures_per_cpu_second": {}}
    for name, world in WORLDS.items():
        speed = result["pictures_per_cpu_second"][name] = pictures_per_second(world)
        print(f"{name}: {speed:,.0f} pictures a second")
    result["memory"] = memory(CROCKERY)
    print(
        "after {pictures:,} pictures: {renderer:+.2f} MiB, parent {parent:+.2f} MiB".format(
            **result["memory"]
        )
    )
    write_result("rendering", result)


def pictures_per_second(world: World) -> float:
    """Pictures of full tables a second of processor time, in this process."""
    scenes = full_tables(world, BATCH)
    with MuJoCoRenderer(world) as renderer:
        renderer.render(*scenes)
        began = time.process_time()
        for _ in range(TIMED // BATCH):
            renderer.render(*scenes)
        return TIMED / (time.process_time() - began)


def memory(world: World) -> dict[str, float]:
    """By how many MiB a render process and its parent grow over many pictures."""
    scenes, pool = full_tables(world, BATCH), RenderPool(1)
    for _ in range(3):
        pool.render(world, *scenes)
    assert pool._executor is not None
    processes = {"renderer": psutil.Process(*pool._executor._processes), "parent": psutil.Process()}
    before = {name: process.memory_info().rss for name, process in processes.items()}
    for _ in range(DRAWN // BATCH):
        pool.render(world, *scenes)
    grown = {n: (p.memory_info().rss - before[n]) / 2**20 for n, p in processes.items()}
    pool.close()
    return {"pictures": DRAWN, **grown, "renderer_before": before["renderer"] / 2**20}


def full_tables(world: World, number: int) -> Arrays:
    """Scenes with as many objects as there can be."""
    generator = torch.Generator().manual_seed(0)
    if world.objects == 1:
        scenes = draw_one(world, number, generator)
    else:
        many = draw_arrangements(world, 6 * number, generator)
        full = (many.number == world.objects).nonzero().squeeze(1)[:number]
        scenes = type(many)(*(part[full] for part in many))
    kind, pose, camera = (part.numpy() for part in scenes)
    return kind, pose.astype(float), camera.astype(float)


if __name__ == "__main__":
    main()
