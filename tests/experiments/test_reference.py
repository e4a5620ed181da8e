import signal
from dataclasses import replace

import pytest
import torch

from airscene.experiments.reference import ReferenceTask, stage_path, train_reference
from airscene.training.checkpoints import read_checkpoint
from airscene.training.loop import Trainer

STAGES = (0.25, 0.5, 1.0)


@pytest.fixture
def longer(tiny):
    """Four steps, so that every stage is another step."""
    return replace(tiny, training=replace(tiny.training, iterations=4))


def test_stages_lie_where_they_are_due(longer, tmp_path):
    train_reference(ReferenceTask(longer, tmp_path, STAGES, None))
    steps = [read_checkpoint(stage_path(tmp_path, stage))[1].step for stage in STAGES]
    assert steps == [1, 2, 4]


def test_an_interrupted_reference_goes_on_as_if_it_had_not_been(longer, tmp_path, monkeypatch):
    whole, parts = (
        ReferenceTask(longer, tmp_path / name, STAGES, None) for name in ("whole", "parts")
    )
    train_reference(whole)
    plain = Trainer.train_step

    def train_step(self):
        if self.position.step == 2:
            signal.raise_signal(signal.SIGINT)
        return plain(self)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Trainer, "train_step", train_step)
        train_reference(parts)
    assert stage_path(parts.folder, 0.5).exists() and not parts.path.exists()
    train_reference(parts)
    first, second = (read_checkpoint(task.path)[0] for task in (whole, parts))
    assert all(torch.equal(first[name], second[name]) for name in first)
