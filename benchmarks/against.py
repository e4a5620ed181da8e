"""Compares the speed of this commit with that of another one, on the CPU."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import airscene
from airscene.experiments.machine import provenance
from machine import write_result
from measure import KINDS, STEPS

SOURCE = Path(airscene.__file__).parents[1]
WORKER = Path(__file__).with_name("measure.py")
ROUNDS = 5


def compare_commits(name: str) -> None:
    """Measures a commit and this one in turns, prints a table, and writes speed-against.json.

    A round measures both in fresh processes, so that a busy machine slows both alike; which of them
    is first changes from round to round.

    Args:
        name: of the other commit, as git knows it.
    """
    origin, other = provenance(), git("rev-parse", "--verify", f"{name}^{{commit}}")
    with checked_out(other) as folder:
        sources = {"this": SOURCE, "against": folder / "src"}
        rounds = {side: [] for side in sources}
        for number in range(ROUNDS):
            for side in list(sources)[:: -1 if number % 2 else 1]:
                rounds[side].append(measured(sources[side]))
            print(f"round {number + 1} of {ROUNDS}", flush=True)
    rows = [summary(rounds, quantity) for quantity in rounds["this"][0]]
    for row in rows:
        print("{quantity}: {against:,.1f} -> {this:,.1f}, ratio {ratio:.2f}".format(**row))
    result = {"provenance": origin, "against": other, "rounds": ROUNDS, "quantities": rows}
    write_result("speed-against", result)


@contextmanager
def checked_out(commit: str) -> Iterator[Path]:
    """A work tree of a commit, which is there for a while."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "tree"
        git("worktree", "add", "--detach", str(folder), commit)
        try:
            yield folder
        finally:
            git("worktree", "remove", "--force", str(folder))


def measured(source: Path) -> dict[str, float]:
    """All quantities by name, of the airscene in a folder."""
    found = worker(source, "speed")
    for title, preset in KINDS.items():
        memory = worker(source, "memory", preset)
        found[f"{title}, N = {STEPS[0]}: memory of a step (MiB)"] = memory["mib"]
    return found


def worker(source: Path, *words: str) -> dict[str, float]:
    """What measure.py finds in a process of its own that imports airscene from a folder."""
    command = [sys.executable, str(WORKER), *words]
    environment = os.environ | {"PYTHONPATH": str(source)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    result = json.loads(done.stdout.splitlines()[-1])
    if Path(result["source"]) != source / "airscene":
        raise SystemExit(f"{result['source']} was measured and not {source}")
    return result["found"]


def summary(rounds: dict[str, list[dict[str, float]]], quantity: str) -> dict:
    """Medians over the rounds, of both commits and of the ratio of this one's to the other's.

    The ratio is taken within each round, as the pace of a shared machine changes between rounds.
    """
    values = {side: [found[quantity] for found in each] for side, each in rounds.items()}
    pairs = zip(values["this"], values["against"], strict=True)
    ratio = statistics.median(this / against for this, against in pairs)
    medians = {side: statistics.median(each) for side, each in values.items()}
    return {"quantity": quantity, **medians, "ratio": ratio, "values": values}


def git(*words: str) -> str:
    """What a git command prints of this repository."""
    command = ["git", "-C", str(SOURCE), *words]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
