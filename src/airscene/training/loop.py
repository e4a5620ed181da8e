"""The one training loop, for every model, estimator and data source."""

import math
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch._dynamo.exc import BackendCompilerFailed

from airscene.config import Config, TrainingConfig
from airscene.data import Scenes
from airscene.errors import UserError
from airscene.schedules import value_at
from airscene.training.checkpoints import Position, load_checkpoint, save_checkpoint
from airscene.training.interrupt import Interrupt
from airscene.training.logging import Log, Meter, Progress
from airscene.training.objectives import make_objective, make_optimizer
from airscene.training.snapshots import save_snapshot, snapshot_steps
from airscene.training.streams import Share, Stream

CHECKPOINT = "checkpoint.safetensors"
SEED_STRIDE = 1_000_003  # seeds of neighbouring runs stay apart for so many steps
COMPILE_PAYS = 20_000  # steps on a CPU from which compiling gains more than it costs


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
        torch.manual_seed(config.seed)
        self.objective = make_objective(config)
        self.position, self.saved = Position(), 0
        self.scheduled: dict[str, float] = {}
        call, self.optimizer = accelerator.prepare(self.objective, make_optimizer(self.objective))
        self.call = compiled(call, self.settings, accelerator.device)
        self.share = Share(
            self.settings.batch, accelerator.process_index, accelerator.num_processes
        )
        self.generator = torch.Generator(accelerator.device)
        self.stages = snapshot_steps(self.settings.iterations, self.settings.snapshots)

    def resume(self) -> None:
        """Goes back to the folder's checkpoint."""
        optimizer = self.optimizer.optimizer
        self.position = load_checkpoint(self.out / CHECKPOINT, self.objective, optimizer)
        self.saved = self.position.step

    def run(self, progress: Progress, minutes: float = math.inf) -> str:
        """Trains to the end, or until there is a reason to stop earlier.

        Args:
            progress: shows how far training has come.
            minutes: stop after so many minutes of training, over all sittings.

        Returns:
            Why training ended.

        Raises:
            DivergedError: the loss is not finite.
        """
        started = time.perf_counter() - self.position.seconds
        log = Log(self.out, self.position.step, self.accelerator.is_main_process)
        meter, reason = Meter(), self._reason_to_stop(Interrupt(), log, minutes)
        if self.position.step == 0:
            self._snapshot()
        with Interrupt() as interrupt, log:
            while not reason:
                meter.add(self.train_step())
                seconds = time.perf_counter() - started
                self.position = Position(self.position.step + 1, seconds)
                self._keep_books(meter, log, progress)
                reason = self._reason_to_stop(interrupt, log, minutes)
            if meter.steps:  # stopped between two rows: check the steps since the last one
                self._row(meter)
            if self.position.step > self.saved:  # stopped between two checkpoints
                self._save()
        return reason

    def train_step(self) -> dict[str, Tensor]:
        """One step of the optimiser; no value leaves the device."""
        step = self.position.step
        self._apply_schedules(step / self.settings.iterations)
        image, noise = self.draw(step)
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
        seed = (self.config.seed * SEED_STRIDE + step) % 2**32  # CPU generators take 32 bits
        torch.manual_seed((seed + SEED_STRIDE * self.share.rank + 1) % 2**32)  # for the estimator
        self.generator.manual_seed(seed)
        image = self.sources.stream.draw(self.share, self.generator)
        shape = (self.share.total, *self.objective.noise_shape)
        noise = torch.randn(shape, generator=self.generator, device=image.device)
        return image, self.share.of(noise)

    def _apply_schedules(self, progress: float) -> None:
        self.scheduled = self.objective.schedule(progress)
        rate = value_at(self.settings.learning_rate, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["factor"]

    def _keep_books(self, meter: Meter, log: Log, progress: Progress) -> None:
        """What is due at this step: a row of the log, a validation, a checkpoint, a snapshot."""
        step, settings = self.position.step, self.settings
        last = step == settings.iterations
        validates = last or step % settings.validate_every == 0
        if validates or step % settings.log_every == 0:
            row = self._row(meter) | (self._validate() if validates else {})
            log.write(row)
            progress.show(row)
        if validates:
            self._save()
        if step in self.stages:
            self._snapshot()

    def _row(self, meter: Meter) -> dict[str, Any]:
        scalars = meter.take(self.accelerator)
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
        torch.manual_seed(self.config.seed)
        table = self.objective.validate(self.sources.validation)
        self._check_finite(table["elbo"])  # the last step's update is in no loss yet
        self.objective.train()
        return {f"validation/{name}": value for name, value in table.items()}

    def _reason_to_stop(self, interrupt: Interrupt, log: Log, minutes: float) -> str:
        if self.position.step >= self.settings.iterations:
            return f"done: {self.settings.iterations} iterations"
        if self.share.processes > 1 and self.position.step % self.settings.log_every:
            return ""  # processes must agree, and agreeing at every step would cost time
        reason = ""
        if interrupt.requested:
            reason = "interrupted"
        elif self.position.seconds > 60 * minutes:
            reason = f"stopped: --max-minutes {minutes:g} are over"
        elif self.settings.patience and log.stale_validations() >= self.settings.patience:
            reason = "stopped: the bound has levelled off"
        return broadcast_object_list([reason])[0] if self.share.processes > 1 else reason

    def _save(self) -> None:
        self.saved = self.position.step
        if self.accelerator.is_main_process:
            optimizer = self.optimizer.optimizer
            save_checkpoint(self.out / CHECKPOINT, self.objective, optimizer, self.position)

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
        if self.graphs:  # elsewhere not: it would load the compiler, which takes seconds
            torch.compiler.cudagraph_mark_step_begin()
        try:
            return self.call(*inputs)
        except BackendCompilerFailed as error:
            reason = str(error).splitlines()[0]
            warnings.warn(f"torch.compile does not work here, so not used: {reason}", stacklevel=2)
            self.call = self.plain
            return self.plain(*inputs)
