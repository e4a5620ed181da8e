"""One training whose weights are kept at stages, as places at which to compare gradients."""

from dataclasses import dataclass
from pathlib import Path

from airscene.config import Config
from airscene.runs import make_accelerator, make_sources
from airscene.training.checkpoints import Position, save_checkpoint
from airscene.training.interrupt import Interrupt
from airscene.training.loop import CHECKPOINT, Trainer


@dataclass(frozen=True)
class ReferenceTask:
    """A training to keep stages of.

    Attributes:
        config: what to train.
        folder: where the stages go.
        stages: parts of the training, in (0, 1], rising.
        data_dir: where MNIST lies, if it is not to be downloaded.
    """

    config: Config
    folder: Path
    stages: tuple[float, ...]
    data_dir: Path | None

    @property
    def path(self) -> Path:
        """The last stage: with it the training is finished."""
        return stage_path(self.folder, self.stages[-1])


def stage_path(folder: Path, progress: float) -> Path:
    """The checkpoint of a stage."""
    return folder / f"stage-{progress:g}.safetensors"


def stage_step(config: Config, progress: float) -> int:
    """The step that ends a stage."""
    return max(1, round(progress * config.training.iterations))


def train_reference(task: ReferenceTask) -> None:
    """Trains, keeping a checkpoint of each stage.

    Raises:
        KeyboardInterrupt: it was told to stop, and has saved where it was.
    """
    accelerator = make_accelerator(task.config)
    config, sources = make_sources(task.config, task.data_dir, accelerator.device)
    trainer = Trainer(config, task.folder, sources, accelerator)
    if (task.folder / CHECKPOINT).exists():
        trainer.resume()
    due = {stage: stage_step(config, stage) for stage in task.stages}
    last = due[task.stages[-1]]
    with Interrupt() as interrupt:
        while trainer.position.step < last and not interrupt.requested:
            trainer.train_step()
            trainer.position = Position(trainer.position.step + 1)
            for stage, step in due.items():
                if step == trainer.position.step:
                    _save(trainer, stage_path(task.folder, stage))
    if trainer.position.step < last:
        _save(trainer, task.folder / CHECKPOINT)
        raise KeyboardInterrupt


def _save(trainer: Trainer, path: Path) -> None:
    save_checkpoint(path, trainer.objective, trainer.optimizer.optimizer, trainer.position)
