"""What the benchmarks share: the machine they ran on and the file they write."""

import json
from pathlib import Path

import torch

from airscene.experiments.machine import describe_machine

RESULTS = Path(__file__).parent / "results"


def machine() -> dict:
    """What a reader must know to compare."""
    return describe_machine() | {"threads": torch.get_num_threads()}


def write_result(name: str, result: dict) -> None:
    """Writes results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {path}")
