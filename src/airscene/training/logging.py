"""What training tells while it runs: metrics.jsonl, TensorBoard, a progress bar."""

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Self, cast

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from airscene.errors import UserError
from airscene.files import is_number, read_text, write_text, writing

METRICS, TENSORBOARD = "metrics.jsonl", "tensorboard"


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's metrics.jsonl, oldest first; none where there is no such file.

    A last line that was cut short, as by a kill, is left out.

    Raises:
        UserError: the file cannot be read, or another line is no row.
    """
    path = run / METRICS
    try:
        lines = read_text(path).split("\n")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UserError(f"cannot read {path}: {reason}; restore or remove it") from error
    rows = [_read_row(line) for line in lines[:-1]]
    if None in rows:
        raise UserError(f"{path} is damaged in line {rows.index(None) + 1}; remove that line")
    return [row for row in rows if row is not None]


def _read_row(line: str) -> dict[str, Any] | None:
    """A row of the log; None where a line is none."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(row, dict) or type(row.get("step")) is not int or row["step"] < 0:
        return None
    return row if all(map(is_number, row.values())) else None


class Meter:
    """Means of scalars since the last row, summed on the device so that no step waits for it.

    Args:
        accelerator: the device and the processes.
        steps: steps that an earlier sitting has summed.
        sums: their sums, by name.
    """

    def __init__(self, accelerator: Accelerator, steps: int, sums: dict[str, float]) -> None:
        self.accelerator, self.steps = accelerator, steps
        device = accelerator.device
        self.sums = {name: torch.tensor(value, device=device) for name, value in sums.items()}
        self.timed, self.seconds, self.started = 0, 0.0, time.perf_counter()

    def add(self, scalars: dict[str, Tensor]) -> None:
        """Takes in one step's scalars."""
        for name, value in scalars.items():
            value = value.detach().float()
            self.sums[name] = value + self.sums[name] if name in self.sums else value.clone()
        self.steps += 1
        self.timed += 1

    def take(self) -> dict[str, float]:
        """The means over steps and processes, and the speed; then starts anew."""
        means = {name: value / self.steps for name, value in self.read().items()}
        seconds = self.seconds + time.perf_counter() - self.started
        means["steps_per_second"] = self.timed / seconds
        self.sums, self.steps, self.timed = {}, 0, 0
        self.seconds, self.started = 0.0, time.perf_counter()
        return means

    def read(self) -> dict[str, float]:
        """The sums so far, as means over processes; waits for the device."""
        if not self.sums:
            return {}
        stacked = torch.stack([*self.sums.values()])
        means = cast(Tensor, self.accelerator.reduce(stacked, "mean")).tolist()
        return dict(zip(self.sums, means, strict=True))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens within it does not count as time of training."""
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        self.seconds += time.perf_counter() - self.started
        yield
        self.started = time.perf_counter()


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
            self.hook, threading.excepthook = threading.excepthook, _keep_quiet
            with writing(self.run / METRICS):
                self.board = SummaryWriter(str(self.run / TENSORBOARD), purge_step=step)
                self.file = (self.run / METRICS).open("a", encoding="utf-8")
        return self

    def __exit__(self, *error: object) -> None:
        if self.active:
            with writing(self.run / METRICS), ExitStack() as stack:  # all of it, whatever fails
                stack.callback(setattr, threading, "excepthook", self.hook)
                stack.callback(self.board.close)
                stack.callback(self.file.close)

    def move(self, settle: Callable[[], Path]) -> None:
        """Lets `settle` move the run's folder, and goes on in the folder that it returns."""
        self.__exit__()
        self.run = settle()
        self.__enter__()

    def write(self, row: dict[str, Any]) -> None:
        """Adds one row; its `step` is the place on every curve. What is not finite is left out.

        Raises:
            UserError: the disk is full.
        """
        row = {name: value for name, value in row.items() if math.isfinite(value)}
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


def _keep_quiet(failure: threading.ExceptHookArgs) -> None:
    """Tells nothing of a disk that is full: TensorBoard's thread hands it on to the next row."""
    if not isinstance(failure.exc_value, OSError):
        threading.__excepthook__(failure)


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

    def expect(self, steps: int, iterations: int, minutes: float) -> None:
        """Tells how many steps there will be.

        Args:
            steps: expected in all.
            iterations: of the whole schedule.
            minutes: that training may take.
        """
        self.bar.update(self.task, total=steps)
        about = f"about {steps} steps fit into {minutes:.3g} minutes of training"
        if steps < iterations:
            about += f"; they pass the whole schedule of {iterations}"
        else:
            about = f"all {iterations} steps are expected to fit into {minutes:.3g} minutes"
        self.console.print(about, highlight=False)

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
