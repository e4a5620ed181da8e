"""The one training loop, for every model, estimator and data source."""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed

from airscene.config import Config, TrainingConfig
from airscene.core.schedules import value_at
from airscene.core.seeds import Purpose, global_stream, stream
from airscene.data import Scenes
from airscene.errors import UserError
from airscene.kinds import make_objective
from airscene.results.evaluation import validate
from airscene.training.checkpoints import Position, load_checkpoint, save_checkpoint
from airscene.training.interrupt import Interrupt
from airscene.training.logging import Log, Meter, Progress
from airscene.training.objectives import make_optimizer
from airscene.training.pace import Pace, passes
from airscene.training.snapshots import save_snapshot, snapshot_steps
from airscene.training.streams import Share, Stream

CHECKPOINT = "checkpoint.safetensors"
COMPILE_PAYS = 20_000  # steps on a CPU from which compiling gains more than it costs
TOLD_AFTER = 10  # steps of a sitting from which it is told how many there will be


class DivergedError(UserError):
    """Training left the finite numbers; the last good checkpoint is kept."""


@dataclass(frozen=True)
class Sources:
    """What a training reads.

    Attributes:
        stream: endless training images.
        validation: held-out scenes, with or without truth.
    """

    stream: Stream
    validation: Scenes


@dataclass
class Books:
    """What is kept while a training runs.

    Attributes:
        meter: sums of scalars since the last row.
        log: the rows.
        progress: shows them.
        settle: what is to be called at the first checkpoint, until it was.
        warm: the position after the first step of the sitting, which may be a slow one.
    """

    meter: Meter
    log: Log
    progress: Progress
    settle: Callable[[], Path] | None
    warm: Position | None = None


class Trainer:
    """Trains one model into one folder.

    Args:
        config: the resolved configuration.
        out: the run's folder.
        sources: training images and held-out scenes.
        accelerator: device, precision and processes.
    """

    def __init__(self, config: Config, out: Path, sources: Sources, accelerator: Accelerator):
        self.config, self.settings, self.out = config, config.training, out
        self.sources, self.accelerator = sources, accelerator
        self.objective = make_objective(config)
        self.position, self.saved = Position(), 0
        self.pace = Pace(self.settings.iterations)
        self.scheduled: dict[str, float] = {}
        call, self.optimizer = accelerator.prepare(self.objective, make_optimizer(self.objective))
        self.call = compiled(call, self.settings, accelerator.device)
        self.share = Share(
            self.settings.batch, accelerator.process_index, accelerator.num_processes
        )
        self.stages = snapshot_steps(self.settings.iterations, self.settings.snapshots)

    def resume(self) -> None:
        """Goes back to the folder's checkpoint.

        Raises:
            UserError: it is missing, damaged, of another model, or beyond the training's end.
        """
        path, optimizer = self.out / CHECKPOINT, self.optimizer.optimizer
        position = load_checkpoint(path, self.objective, optimizer)
        if position.scheduled > self.settings.iterations:
            raise UserError(
                f"{path} is of step {position.step}, beyond the {self.settings.iterations} of "
                f"config.json; restore the config.json it was trained with"
            )
        self.position, self.saved = position, position.step

    def run(
        self,
        progress: Progress,
        minutes: float = math.inf,
        after_step: Callable[["Trainer"], None] | None = None,
        settle: Callable[[], Path] | None = None,
    ) -> str:
        """Trains to the end, or until there is a reason to stop earlier.

        Args:
            progress: shows how far training has come.
            minutes: that training may take, over all sittings. Where they are too few for all
                steps, each passes more of the schedules, so that these end when the time does.
            after_step: called after each step, before its row, checkpoint and snapshot.
            settle: called once, when the first checkpoint is written; it may move the run's folder,
                and returns where it lies from then on.

        Returns:
            Why training ended.

        Raises:
            DivergedError: the loss is not finite.
        """
        started = time.perf_counter() - self.position.seconds
        self.pace = Pace(self.settings.iterations, 60 * minutes)
        log = Log(self.out, self.position.step, self.accelerator.is_main_process)
        if self.stages and self.position.step == 0:
            self._snapshot()
        meter = Meter(self.accelerator, self.position.summed, self.position.sums)
        with Interrupt() as interrupt, log:
            books = Books(meter, log, progress, settle)
            while not (reason := self._reason_to_stop(interrupt, log)):
                before = self.position
                meter.add(self.train_step())
                seconds = self._agreed(time.perf_counter() - started)
                self.position = self.pace.after_step(before, seconds)
                if after_step:
                    with meter.paused():
                        after_step(self)
                self._keep_books(books, before)
            if self.position.step > self.saved:  # stopped between two checkpoints
                self._save(books)
        return reason

    def train_step(self) -> dict[str, Tensor]:
        """One step of the optimiser; no value leaves the device."""
        step = self.position.step
        self._apply_schedules(self.pace.progress(self.position))
        image, noise = self.draw(step)
        with global_stream(Purpose.ESTIMATOR, self.config.seed, step, self.share.rank):
            loss, scalars = self.call(image, noise)
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(
            self.objective.model.parameters(), self.settings.clip
        )
        self.optimizer.step()
        return scalars | {"loss": loss.detach(), "gradient_norm": norm}

    def draw(self, step: int) -> tuple[Tensor, Tensor]:
        """The images and the noise of a step, decided by seed and step alone."""
        device, seed = self.accelerator.device, self.config.seed
        images = stream(Purpose.IMAGES, seed, step, device=device)
        image = self.sources.stream.draw(self.share, images)
        shape = (self.share.total, *self.objective.noise_shape)
        generator = stream(Purpose.NOISE, seed, step, device=device)
        noise = torch.randn(shape, generator=generator, device=device)
        return image, self.share.of(noise)

    def _apply_schedules(self, progress: float) -> None:
        self.scheduled = self.objective.schedule(progress)
        rate = value_at(self.settings.learning_rate, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]

    def _keep_books(self, books: "Books", before: Position) -> None:
        """What is due at this step: a row of the log, a validation, a checkpoint, a snapshot."""
        step, settings = self.position.step, self.settings
        validates = self.pace.is_over(self.position) or step % settings.validate_every == 0
        row = self._row(books.meter) if validates or step % settings.log_every == 0 else {}
        with books.meter.paused():
            if row:
                row |= self._validate() if validates else {}
                books.log.write(row)
                books.progress.show(row)
            if validates:
                self._save(books)
            if passes(self.stages, before, self.position):
                self._snapshot()
        self._tell_steps(books)

    def _tell_steps(self, books: "Books") -> None:
        """Tells how many steps are expected, where time is limited, once they are known well."""
        warm = books.warm = books.warm or self.position
        done = self.position.step - warm.step
        if done != TOLD_AFTER or math.isinf(self.pace.limit):
            return
        each = (self.position.seconds - warm.seconds) / done
        steps = self.pace.expected_steps(self.position, each)
        books.progress.expect(steps, self.settings.iterations, self.pace.limit / 60)

    def _agreed(self, seconds: float) -> float:
        """The main process's time, where the schedules of all depend on it."""
        if self.share.processes == 1 or math.isinf(self.pace.limit):
            return seconds
        return broadcast_object_list([seconds])[0]

    def _row(self, meter: Meter) -> dict[str, Any]:
        scalars = meter.take()
        self._check_finite(scalars["loss"], scalars["gradient_norm"])
        return {
            "step": self.position.step,
            "seconds": self.position.seconds,
            "time": time.time(),
            "images_per_second": scalars.pop("steps_per_second") * self.share.total,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            **self.scheduled,
            **{f"train/{name}": value for name, value in scalars.items()},
        }

    def _check_finite(self, *values: float) -> None:
        if all(map(math.isfinite, values)):
            return
        kept = self.out / CHECKPOINT
        fate = f"{kept} holds the last good state" if kept.exists() else "nothing was saved yet"
        raise DivergedError(
            f"the loss is not finite at step {self.position.step}: lower --training.learning-rate "
            f"or --training.clip; {fate}"
        )

    def _validate(self) -> dict[str, float]:
        """Bound and, where the truth is known, count accuracy on held-out scenes."""
        self.objective.eval()
        with global_stream(Purpose.VALIDATION, self.config.seed):
            table = validate(self.objective.model, self.sources.validation)
        self._check_finite(table["elbo"])  # the last step's update is in no loss yet
        self.objective.train()
        return {f"validation/{name}": value for name, value in table.items()}

    def _reason_to_stop(self, interrupt: Interrupt, log: Log) -> str:
        if self.pace.is_over(self.position):
            instead = f" in place of {self.settings.iterations}" if self.position.skipped else ""
            return f"done: {self.position.step} iterations{instead}"
        if self.share.processes > 1 and self.position.step % self.settings.log_every:
            return ""  # processes must agree, and agreeing at every step would cost time
        reason = ""
        if interrupt.requested:
            reason = "interrupted"
        elif self.settings.patience and log.stale_validations() >= self.settings.patience:
            reason = "stopped: the bound has levelled off"
        return broadcast_object_list([reason])[0] if self.share.processes > 1 else reason

    def _save(self, books: "Books") -> None:
        sums = books.meter.read()
        if sums:  # of the steps since the last row, which are not yet known to be finite
            self._check_finite(sums["loss"], sums["gradient_norm"])
        weights = [value.detach().sum() for value in self.objective.parameters()]
        self._check_finite(float(torch.stack(weights).sum()))
        self.saved = self.position.step
        self.position = replace(self.position, summed=books.meter.steps, sums=sums)
        if not self.accelerator.is_main_process:
            return
        optimizer = self.optimizer.optimizer
        save_checkpoint(self.out / CHECKPOINT, self.objective, optimizer, self.position)
        if books.settle:
            books.log.move(books.settle)
            self.out, books.settle = books.log.run, None

    def _snapshot(self) -> None:
        if self.accelerator.is_main_process:
            save_snapshot(
                self.out, self.position.step, self.objective.model, self.sources.validation
            )


def compiled(call: nn.Module, settings: TrainingConfig, device: torch.device):
    """The objective compiled where that pays; as it is, with a note, where no compiler works."""
    long = device.type == "cuda" or settings.iterations >= COMPILE_PAYS
    if settings.compile == "off" or (settings.compile == "auto" and not long):
        return call
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    return _Compiled(call, mode)


class _Compiled:
    """Compiles at the first call, and stays with the plain module if that fails."""

    def __init__(self, call: nn.Module, mode: str):
        self.plain, self.call = call, torch.compile(call, mode=mode, dynamic=False)
        self.graphs = mode == "reduce-overhead"

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if self.graphs:  # needed for CUDA graphs alone; it loads the compiler, which takes seconds
            torch.compiler.cudagraph_mark_step_begin()
        try:
            return self.call(*inputs)
        except BackendCompilerFailed as error:
            reason = str(error).splitlines()[0]
            warnings.warn(f"torch.compile does not work here, so not used: {reason}", stacklevel=2)
            self.call = self.plain
            return self.plain(*inputs)
