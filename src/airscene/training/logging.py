"""What training tells while it runs: metrics.jsonl, TensorBoard, a progress bar."""

import json
import time
from pathlib import Path
from typing import Any, Self, cast

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from airscene.files import write_text, writing

METRICS = "metrics.jsonl"


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl, oldest first; a line cut short by a kill is left out."""
    path = run / METRICS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


class Meter:
    """Means of scalars since the last row, summed on the device so that no step waits for it."""

    def __init__(self) -> None:
        self._restart()

    def add(self, scalars: dict[str, Tensor]) -> None:
        """Takes in one step's scalars."""
        for name, value in scalars.items():
            self.sums[name] = value + self.sums[name] if name in self.sums else value.clone()
        self.steps += 1

    def take(self, accelerator: Accelerator) -> dict[str, float]:
        """The means over steps and processes, and the speed; then starts anew."""
        stacked = torch.stack([value.float() for value in self.sums.values()]) / self.steps
        means = cast(Tensor, accelerator.reduce(stacked, "mean")).tolist()
        speed = self.steps / (time.perf_counter() - self.started)
        row = dict(zip(self.sums, means, strict=True)) | {"steps_per_second": speed}
        self._restart()
        return row

    def _restart(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.steps, self.started = 0, time.perf_counter()


class Log:
    """Appends rows to metrics.jsonl and TensorBoard.

    Args:
        run: the run's folder.
        step: where training goes on; rows beyond it, left by a sitting that was killed, are cut.
        active: only the main process writes.
    """

    def __init__(self, run: Path, step: int, active: bool):
        self.run, self.active = run, active
        self.rows = [row for row in read_metrics(run) if row["step"] <= step]
        if active:
            write_text(run / METRICS, "".join(json.dumps(row) + "\n" for row in self.rows))

    def __enter__(self) -> Self:
        if self.active:
            step = self.rows[-1]["step"] + 1 if self.rows else 0
            self.board = SummaryWriter(str(self.run / "tensorboard"), purge_step=step)
            self.file = (self.run / METRICS).open("a", encoding="utf-8")
        return self

    def __exit__(self, *error: object) -> None:
        if self.active:
            with writing(self.run / METRICS):
                self.file.close()
                self.board.close()

    def write(self, row: dict[str, Any]) -> None:
        """Adds one row; its `step` is the place on every curve.

        Raises:
            UserError: the disk is full.
        """
        self.rows.append(row)
        if not self.active:
            return
        with writing(self.run / METRICS):
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()
            for name, value in row.items():
                self.board.add_scalar(name, value, row["step"])

    def stale_validations(self) -> int:
        """Validations since the one with the best bound."""
        bounds = [row["validation/elbo"] for row in self.rows if "validation/elbo" in row]
        return len(bounds) - 1 - bounds.index(max(bounds)) if bounds else 0


class Progress:
    """A progress bar with the figures that matter; plain lines where there is no terminal.

    Args:
        iterations: length of the training.
        active: only the main process shows.
    """

    def __init__(self, iterations: int, active: bool = True):
        self.console = Console(stderr=True, quiet=not active)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
        self.bar = Bar(*columns, TimeRemainingColumn(), console=self.console, transient=True)
        self.task = self.bar.add_task("starting", total=iterations)
        self.accuracy = ""

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:  # elsewhere it would print an empty line
            self.bar.stop()

    def show(self, row: dict[str, Any]) -> None:
        """Shows a row of the log."""
        if "validation/count_accuracy" in row:
            self.accuracy = f"count accuracy {row['validation/count_accuracy']:.1%}, "
        text = (
            f"ELBO {row['train/elbo']:.1f}, {self.accuracy}{row['images_per_second']:,.0f} images/s"
        )
        self.bar.update(self.task, completed=row["step"], description=text)
        if not self.console.is_terminal and "validation/elbo" in row:
            self.console.print(f"step {row['step']}: {text}", highlight=False)
