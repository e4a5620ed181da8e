"""Speed and memory on pictures as a microscope gives them, and on one of 100 megapixels.

The commands are those of a user, each in a process of its own, whose peak of memory is told.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile

from airscene.runs import train_run
from real_pictures import RAW, SIZES, configured, prepared_set

SIDE = 10_000
MEASURING = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_maxrss, used.ru_utime + used.ru_stime)
sys.exit(code)
"""
"""Runs a command and prints the peak of its memory in kilobytes and its CPU seconds."""
STEPS = 150  # of a training whose model finds about what longer ones do


def large(data: Path) -> Iterator[dict]:
    """Rows of the pictures one by one, and of one picture that is put together of them."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        source, _ = prepared_set(data, RAW, place)
        train_run(configured(source, SIZES[RAW], 0, STEPS), place / "run")
        yield {"task": "speed"} | inferred(place / "run", source, place)
        tifffile.imwrite(place / "large.tif", put_together(source))
        yield {"task": "large"} | inferred(place / "run", place / "large.tif", place)


def put_together(source: Path) -> np.ndarray:
    """A picture of `SIDE` times `SIDE` pixels made of others, side by side."""
    pictures = [tifffile.imread(path) for path in sorted(source.glob("*.tif"))]
    height, width = pictures[0].shape
    rows, columns = -(-SIDE // height), -(-SIDE // width)
    which = np.arange(rows * columns).reshape(rows, columns) % len(pictures)
    return np.block([[pictures[k] for k in row] for row in which])[:SIDE, :SIDE]


def inferred(run: Path, source: Path, place: Path) -> dict:
    """What `airscene infer` takes for some pictures, all its outputs being written."""
    out = place / "found.jsonl"
    words = [sys.executable, "-m", "airscene", "infer", run, source, "--out", out]
    words += ["--table", place / "table.csv", "--labels", place / "labels"]
    started = time.perf_counter()
    command = [sys.executable, "-c", MEASURING, *map(str, words)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - started
    kilobytes, cpu = told.stdout.splitlines()[-1].split()
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    return {
        "pictures": len(rows),
        "found": sum(row["count"] for row in rows),
        "seconds": seconds,
        "cpu_s": float(cpu),
        "peak_gib": int(kilobytes) / 2**20,
    }
