"""Whole pictures against what people use without labels, a row at a time.

    python benchmarks/pictures.py DATA --rows coins nuclei_dsb2018 particles_bulk_water
    python benchmarks/pictures.py DATA --rows spair unseen --data-dir DIR
    python benchmarks/pictures.py DATA --rows large

Each row is a set of real pictures (`real_pictures`, `particles`), a task with digits
(`digit_pictures`) or one of speed and memory (`large_pictures`), and becomes a JSON file of its own
in results/, with every seed that was run.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import digit_pictures
from airscene.experiments.machine import provenance
from large_pictures import large
from machine import write_result
from particles import SET, against_trackpy
from real_pictures import SIZES, on_set


def rows_of(given: argparse.Namespace) -> dict[str, Callable[[], Iterator[dict]]]:
    """What computes each row, by name."""
    seeds = range(given.first, given.first + given.seeds)
    training = seeds, given.iterations, given.worst
    real = {name: partial(on_set, given.data, name, *training) for name in SIZES}
    digits = {
        "spair": partial(digit_pictures.spair, *training, given.data_dir),
        "unseen": partial(digit_pictures.unseen, *training, given.data_dir),
    }
    particles = {SET: partial(against_trackpy, given.data, *training)}
    return real | particles | digits | {"large": partial(large, given.data)}


def parse() -> argparse.Namespace:
    """What was typed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with the sets")
    parser.add_argument("--rows", nargs="+", help="names; all unless given")
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--iterations", type=int, help="steps; the preset's unless given")
    parser.add_argument("--worst", type=Path, help="folder for pictures with most errors")
    parser.add_argument("--data-dir", type=Path, help="folder with MNIST, for digits")
    return parser.parse_args()


def main() -> None:
    """Computes the rows one after the other, and writes each whenever a seed of it is done."""
    given = parse()
    known = rows_of(given)
    for name in given.rows or known:
        origin, rows = provenance(), []
        for row in known[name]():
            rows.append(row)
            print(json.dumps(row), flush=True)
            write_result(f"pictures-{name}", {"provenance": origin, "rows": rows})


if __name__ == "__main__":
    main()
