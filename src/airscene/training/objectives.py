"""What the loop trains: a model, the loss it is trained by, and what is asked of it on the way."""

import math
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from airscene import evaluation, metrics
from airscene.config import Config
from airscene.data import Scenes
from airscene.detections import detect
from airscene.estimators import ESTIMATORS, Sizes
from airscene.models.air import AIR
from airscene.models.draw import DRAW, DRAWConfig
from airscene.schedules import value_at
from airscene.seeds import Purpose, global_stream

Kind = TypeVar("Kind", AIR, DRAW)


class Objective(nn.Module, Generic[Kind]):
    """A model and its loss as one call, so that accelerate wraps and torch compiles one module.

    Args:
        model: what is trained.
        noise_shape: shape of the standard normal noise that `forward` takes for each image.
        samples: how many passes of the model each image takes.
    """

    def __init__(self, model: Kind, noise_shape: tuple[int, ...], samples: int = 1):
        super().__init__()
        self.model, self.noise_shape, self.samples = model, noise_shape, samples

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch, and scalars by name for the log, the bound's mean `elbo` among them.

        Args:
            image: images in [0, 1], shape (B, C, H, W).
            noise: shape (B, *noise_shape).
        """
        raise NotImplementedError

    def schedule(self, progress: float) -> dict[str, float]:
        """Sets what changes over training besides the learning rate, and returns it for the log.

        Args:
            progress: the part of training that is done, in [0, 1].
        """
        return {}

    def validate(self, scenes: Scenes) -> dict[str, float]:
        """Figures of held-out scenes by name: the ELBO and, if it is known, the count accuracy."""
        return {"elbo": evaluation.elbo(self.model, scenes.pixels())}

    def parameter_groups(self) -> list[dict]:
        """For the optimiser; `factor` multiplies the scheduled learning rate."""
        return [{"params": [*self.model.parameters()], "factor": 1.0}]


class AIRObjective(Objective[AIR]):
    """AIR or DAIR, with an estimator of the gradient for the count.

    Args:
        model: what is trained.
        config: estimator and schedules.
    """

    def __init__(self, model: AIR, config: Config):
        c = model.config
        sizes = Sizes(c.channels * c.height * c.width, c.steps, 1 + model.latents)
        estimator = ESTIMATORS[config.estimator](sizes, config.estimation)
        shape = (estimator.samples, c.steps, model.latents)
        super().__init__(model, shape, estimator.samples)
        self.config, self.estimator = config, estimator

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective.forward`; the noise is for K samples of each image, (B, K, N, 3 + D)."""
        rows = image.repeat_interleave(self.estimator.samples, 0)
        inference = self.model(rows, noise.flatten(0, 1), self.estimator.reparameterised)
        estimate = self.estimator(inference)
        return estimate.loss, {"elbo": estimate.bound.mean(), **estimate.diagnostics}

    def schedule(self, progress: float) -> dict[str, float]:
        """See `Objective.schedule`."""
        odds = value_at(self.config.training.prior_odds, progress)
        self.model.log_odds.fill_(math.log(odds))
        self.estimator.anneal(value_at(self.config.estimation.temperature, progress))
        return {"prior_odds": odds}

    def validate(self, scenes: Scenes) -> dict[str, float]:
        """See `Objective.validate`."""
        table = super().validate(scenes)
        if scenes.count is not None:
            count = detect(self.model, scenes.pixels()).count
            table["count_accuracy"] = metrics.count_accuracy(scenes.count, count)
        return table

    def parameter_groups(self) -> list[dict]:
        """See `Objective.parameter_groups`; an estimator's own parameters have their own rate."""
        groups = super().parameter_groups()
        if own := [*self.estimator.parameters()]:
            groups.append({"params": own, "factor": self.config.estimation.baseline_rate})
        return groups


class DRAWObjective(Objective[DRAW]):
    """DRAW, by its ELBO.

    Args:
        model: what is trained.
    """

    def __init__(self, model: DRAW):
        super().__init__(model, model.noise_shape)

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective.forward`."""
        bound = self.model(image, noise).elbo.mean()
        return -bound, {"elbo": bound.detach()}


def make_objective(config: Config) -> Objective:
    """An untrained model with its loss, whose weights are decided by the configuration's seed."""
    with global_stream(Purpose.WEIGHTS, config.seed):
        if isinstance(config.model, DRAWConfig):
            return DRAWObjective(DRAW(config.model))
        return AIRObjective(AIR(config.model), config)


def make_optimizer(objective: Objective) -> torch.optim.Optimizer:
    """Adam over all that is trained."""
    return torch.optim.Adam(objective.parameter_groups(), fused=True)
