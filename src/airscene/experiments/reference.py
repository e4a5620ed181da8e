"""One training whose weights are kept at stages, as places at which to compare gradients."""

from dataclasses import dataclass
from pathlib import Path

from airscene.config import Config
from airscene.runs import holds_run, train_run
from airscene.training.checkpoints import save_checkpoint
from airscene.training.loop import Trainer


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

    def keep(trainer: Trainer) -> None:
        for stage in task.stages:
            if stage_step(task.config, stage) == trainer.position.step:
                path, optimizer = stage_path(task.folder, stage), trainer.optimizer.optimizer
                save_checkpoint(path, trainer.objective, optimizer, trainer.position)

    going_on = holds_run(task.folder)
    reason = train_run(task.config, task.folder, task.data_dir, going_on, after_step=keep)
    if reason == "interrupted":
        raise KeyboardInterrupt
