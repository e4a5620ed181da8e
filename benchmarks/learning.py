"""Trains a preset with several seeds, one after the other, and tabulates every one of them.

    python benchmarks/learning.py --preset multi-mnist --seeds 10 --data-dir DIR
    python benchmarks/learning.py --preset multi-mnist --seeds 10 --data-dir DIR \
        --name multi-mnist-boxes --flags --scenes.overlap boxes
    python benchmarks/learning.py --preset digits --seeds 5

Each training is the command `airscene train`, started as a user would. Finished runs are not run
again, so an interrupted benchmark goes on where it was. Each seed records the commit it was run at.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

from airscene.experiments.machine import commit, provenance
from machine import write_result

COLUMNS = {
    "count_accuracy": "count accuracy",
    "count_mean_absolute_error": "count error",
    "box_mean_iou": "box IoU",
    "box_f1": "F1 0.5",
    "box_ap50": "AP 0.5",
    "mask_ari": "ARI",
    "mask_iou": "mask IoU",
    "elbo": "ELBO",
    "bound": "100-sample bound",
    "training_seconds": "training (s)",
    "seconds_to_target": "to target (s)",
}

SUMMARIES = {"mean": statistics.mean, "median": statistics.median, "lowest": min, "highest": max}


def main() -> None:
    options, origin = parse(), provenance()
    name = options.name or options.preset
    runs = Path("runs") / "benchmark" / name
    seeds = range(options.first, options.first + options.seeds)
    rows = [one_seed(options, runs / f"seed-{seed}", seed) for seed in seeds]
    show(rows)
    result = {"provenance": origin, "target": options.target, "seeds": rows}
    write_result(f"learning-{name}", result)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="multi-mnist")
    parser.add_argument("--seeds", type=int, default=10, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--data-dir", help="folder with MNIST")
    parser.add_argument("--target", type=float, default=0.98, help="count accuracy to time")
    parser.add_argument("--name", help="name of the result; the preset's unless given")
    parser.add_argument(
        "--flags", nargs=argparse.REMAINDER, default=[], help="last: for airscene train"
    )
    return parser.parse_args()


def one_seed(options: argparse.Namespace, run: Path, seed: int) -> dict:
    """Trains, unless that was done, and reads the result."""
    result = run / "benchmark.json"
    if not result.exists():
        about, started = {"seed": seed, "commit": commit()}, time.time()
        subprocess.run(command(options, run, seed), check=True)
        result.write_text(json.dumps(read(run, started, options.target) | about))
    row = json.loads(result.read_text())
    print(json.dumps(row), flush=True)
    return row


def command(options: argparse.Namespace, run: Path, seed: int) -> list[str]:
    words = [sys.executable, "-m", "airscene", "train", "--preset", options.preset]
    words += ["--out", str(run), "--seed", str(seed), "--overwrite"]
    words += ["--data-dir", options.data_dir] if options.data_dir else []
    return words + options.flags


def read(run: Path, started: float, target: float) -> dict:
    """The figures of one run; times count from the start of the command."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    reached = [row for row in rows if row.get("validation/count_accuracy", 0) >= target]
    evaluation = json.loads((run / "evaluation.json").read_text())
    return evaluation | {
        "training_seconds": rows[-1]["seconds"],
        "seconds_to_target": reached[0]["time"] - started if reached else None,
        "steps_to_target": reached[0]["step"] if reached else None,
    }


def show(rows: list[dict]) -> None:
    """One line a seed, then summaries; a seed that never reached the target counts as infinite.

    Columns that are not known of every seed, as those of masks, are left out.
    """
    known = {name: title for name, title in COLUMNS.items() if all(name in row for row in rows)}
    print("| seed | " + " | ".join(known.values()) + " |")
    print("|" + "---|" * (len(known) + 1))
    for row in rows:
        print(f"| {row['seed']} | " + " | ".join(cell(row[name]) for name in known) + " |")
    columns = [[math.inf if row[name] is None else row[name] for row in rows] for name in known]
    for name, summary in SUMMARIES.items():
        print(f"| {name} | " + " | ".join(cell(summary(column)) for column in columns) + " |")


def cell(value: float | None) -> str:
    if value is None or math.isinf(value):
        return "never"
    return f"{value:.4f}" if abs(value) < 2 else f"{value:.1f}"


if __name__ == "__main__":
    main()
