"""The variance of gradient estimates at a fixed state of the model, on a fixed batch."""

import itertools
import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from airscene.config import Config
from airscene.core.schedules import Points, value_at
from airscene.core.seeds import Purpose, global_stream, stream
from airscene.data import load_composer
from airscene.errors import UserError
from airscene.estimators import Estimator
from airscene.experiments.machine import best_device
from airscene.experiments.pieces import write_piece
from airscene.experiments.reference import stage_path
from airscene.files import write_whole
from airscene.models.air import AIR
from airscene.models.air_config import AIRConfig
from airscene.training.checkpoints import load_model
from airscene.training.objectives import AIRObjective
from airscene.training.streams import FreshScenes, Share

GROUPS = ("presence head", "where head", "LSTM", "encoder", "decoder")
"""The groups of the model's parameters, in the order of their labels."""

EXACT = "enumerate"  # whose gradients tell which parameters take part


@dataclass(frozen=True)
class VarianceConfig:
    """How variance is measured."""

    images: int = 64
    """Images of the one batch."""
    draws: int = 100
    """Gradients drawn, at least 2."""
    adaptation: int = 400
    """Steps for an estimator's own parameters and averages to adapt to the frozen model."""
    adaptation_rate: Points = ((0.0, 1e-2), (1.0, 1e-3))
    """Adam's learning rate in these steps, by progress."""

    def __post_init__(self):
        if self.draws < 2:
            raise UserError(f"draws is {self.draws}; a variance takes at least 2")


@dataclass(frozen=True)
class VarianceTask:
    """An estimator to measure at every stage.

    Attributes:
        name: of the estimator.
        base: the reference's training.
        settings: how to measure.
        stages: parts of the reference's training.
        reference: folder with the reference's stages.
        folder: of the pieces.
        data_dir: where MNIST lies, if it is not to be downloaded.
    """

    name: str
    base: Config
    settings: VarianceConfig
    stages: tuple[float, ...]
    reference: Path
    folder: Path
    data_dir: Path | None

    @property
    def path(self) -> Path:
        """The piece."""
        return self.folder / f"{self.name}.json"

    @property
    def air(self) -> AIRConfig:
        """The model, which must be AIR: the groups are those of its parameters."""
        return cast(AIRConfig, self.base.model)

    @property
    def live(self) -> Path:
        """By stage, which parameters take part; `EXACT` writes it."""
        return self.folder / "live.safetensors"


def measure_variance(task: VarianceTask) -> None:
    """Writes, by stage and group of parameters, the median and the 90th percentile of variance.

    Parameters whose gradient is always zero, such as those of pixels that are always black, are
    left out: those that `EXACT` gives none, and the same for all estimators. It must come first.
    """
    device = best_device()
    scenes = FreshScenes(load_composer(task.base.scenes, "train", task.data_dir).to(device))
    found = {f"{stage:g}": _moments(task, stage, scenes, device) for stage in task.stages}
    if task.name == EXACT:
        live = {stage: moments.ever_nonzero().cpu() for stage, moments in found.items()}
        write_whole(task.live, lambda path: save_file(live, path))
    live, labels = load_file(task.live), group_labels(AIR(task.air))
    table = {
        stage: summarise(moments.variance().cpu(), labels, live[stage])
        for stage, moments in found.items()
    }
    write_piece(task.path, table)


class Moments:
    """Mean and variance of equally shaped tensors, by Welford's algorithm in float64."""

    def __init__(self) -> None:
        self.number = 0
        self.mean, self.square = torch.zeros(()), torch.zeros(())

    def add(self, value: Tensor) -> None:
        """Takes in a tensor."""
        self.number += 1
        difference = value.double() - self.mean
        self.mean = self.mean + difference / self.number
        self.square = self.square + difference * (value - self.mean)

    def variance(self) -> Tensor:
        """The unbiased variance, of each element."""
        return self.square / (self.number - 1)

    def ever_nonzero(self) -> Tensor:
        """Which elements were not always zero."""
        return (self.mean != 0) | (self.square != 0)


def gradient_moments(objective: AIRObjective, image: Tensor, draws: int) -> Moments:
    """Moments, over an estimate's noise, of the gradient by the model's parameters, flat.

    Args:
        objective: the model, and the estimator as it is to be in every draw.
        image: the batch, shape (B, C, H, W).
        draws: how many.
    """
    parameters, moments = [*objective.model.parameters()], Moments()
    state = deepcopy(objective.estimator.state_dict())
    for _ in range(draws):
        loss, _ = objective(image, _noise(objective, image))
        slopes = torch.autograd.grad(loss, parameters, materialize_grads=True)
        moments.add(torch.cat([slope.flatten() for slope in slopes]))
        objective.estimator.load_state_dict(state)  # a moving average is not to learn the batch
    return moments


def adapt(objective: AIRObjective, images: Iterator[Tensor], settings: VarianceConfig) -> None:
    """Lets the estimator's own parameters and averages adapt while the model stays as it is."""
    if not has_state(objective.estimator):
        return
    own = [*objective.estimator.parameters()]
    optimizer = torch.optim.Adam(own) if own else None
    objective.model.requires_grad_(False)
    for step in range(settings.adaptation):
        image = next(images)
        loss, _ = objective(image, _noise(objective, image))
        if optimizer:
            rate = value_at(settings.adaptation_rate, step / settings.adaptation)
            _descend(optimizer, loss, rate)
    objective.model.requires_grad_(True)


def has_state(estimator: Estimator) -> bool:
    """Whether it has parameters to learn or averages to keep."""
    return bool(estimator.state_dict())


def group_labels(model: nn.Module) -> Tensor:
    """The place in `GROUPS` of each of AIR's parameters, flat, in the order of `parameters()`."""
    names = dict(model.named_parameters())
    last = max(name.split(".")[1] for name in names if name.startswith("attend."))
    labels = []
    for name, parameter in names.items():
        label = torch.full(parameter.shape, GROUPS.index(_group(name, last)))
        if name.startswith(f"attend.{last}."):
            label[0] = GROUPS.index("presence head")
        labels.append(label.flatten())
    return torch.cat(labels)


def summarise(variance: Tensor, labels: Tensor, live: Tensor) -> dict[str, dict[str, float]]:
    """Median and 90th percentile by group, over the parameters that take part.

    Args:
        variance: of each parameter, flat.
        labels: their places in `GROUPS`.
        live: which of them take part.
    """
    table = {}
    for place, group in enumerate(GROUPS):
        values = variance[(labels == place) & live].numpy()
        median, high = np.percentile(values, (50, 90)) if len(values) else (math.nan, math.nan)
        table[group] = {"median": float(median), "p90": float(high), "parameters": len(values)}
    return table


def _moments(
    task: VarianceTask, stage: float, scenes: FreshScenes, device: torch.device
) -> Moments:
    """Moments of the gradient at a stage, with the same batch and noise for all estimators."""
    with global_stream(Purpose.VARIANCE, 0):
        objective = _objective_at(task, stage, device)
        generator = stream(Purpose.VARIANCE_IMAGES, 0, device=device)
        share = Share(task.settings.images)
        image = scenes.draw(share, generator)
        others = (scenes.draw(share, generator) for _ in itertools.repeat(None))
        adapt(objective, others, task.settings)
        return gradient_moments(objective, image, task.settings.draws)


def _objective_at(task: VarianceTask, stage: float, device: torch.device) -> AIRObjective:
    """The reference's model at a stage, with the estimator as it would be there."""
    model = AIR(task.air).to(device)
    objective = AIRObjective(model, replace(task.base, estimator=task.name)).to(device)
    load_model(stage_path(task.reference, stage), objective.model)
    objective.estimator.anneal(value_at(task.base.estimation.temperature, stage))
    return objective


def _noise(objective: AIRObjective, image: Tensor) -> Tensor:
    """Noise for the estimator's samples of each image, shape (B, K, N, 3 + D)."""
    return torch.randn(len(image), *objective.noise_shape, device=image.device)


def _descend(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    optimizer.param_groups[0]["lr"] = rate
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _group(name: str, last: str) -> str:
    if name.startswith(f"attend.{last}."):
        return "where head"
    part = name.split(".")[0]
    return part if part in GROUPS else "LSTM"
