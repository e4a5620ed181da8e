"""What the benchmarks share: the file they write."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def write_result(name: str, result: dict[str, Any]) -> None:
    """Writes results/NAME.json.

    Args:
        name: of the file.
        result: plain values, among them `provenance`, taken when the benchmark began.
    """
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"written: {path}")
