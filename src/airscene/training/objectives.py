"""What the loop trains: a model with its loss, schedules and parameters for the optimiser."""

import math
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from airscene.config import Config
from airscene.core.schedules import value_at
from airscene.estimators import ESTIMATORS, Sizes
from airscene.models.air import AIR
from airscene.models.autoencoder import Autoencoder
from airscene.models.base import Model
from airscene.models.draw import DRAW
from airscene.models.perception import Perception
from airscene.models.whole import WholeAIR

CORRELATES = 0.35, 0.55  # progress at which neighbours begin to scatter together, and wholly do

SomeModel = TypeVar("SomeModel", bound=Model)


class Objective(nn.Module, Generic[SomeModel]):
    """A model and its loss as one call, so that accelerate wraps and torch compiles one module.

    Args:
        model: what is trained.
        noise_shape: shape of the standard normal noise that `forward` takes for each image.
        samples: how many passes of the model each image takes.
    """

    def __init__(self, model: SomeModel, noise_shape: tuple[int, ...], samples: int = 1):
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
        noise = [c.steps * model.latents, model.background.latents]
        super().__init__(model, (estimator.samples, sum(noise)), estimator.samples)
        self.config, self.estimator = config, estimator
        self._noise = noise

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective.forward`; the noise is for K samples of each image, (B, K, ·).

        It is that of the objects, (N, 3 + D), followed by that of the background, (G,).
        """
        rows = image.repeat_interleave(self.estimator.samples, 0)
        noise, scene_noise = noise.flatten(0, 1).split(self._noise, -1)
        noise = noise.unflatten(-1, (self.model.config.steps, self.model.latents))
        inference = self.model(rows, noise, scene_noise, self.estimator.reparameterised)
        estimate = self.estimator(inference)
        return estimate.loss, {"elbo": estimate.bound.mean(), **estimate.diagnostics}

    def schedule(self, progress: float) -> dict[str, float]:
        """See `Objective.schedule`."""
        training = self.config.training
        odds = value_at(training.prior_odds, progress)
        self.model.log_odds.fill_(math.log(odds))
        self.model.widen(value_at(training.sigma_factor, progress))
        self.model.likelihood.correlate(correlation(progress))
        self.estimator.anneal(value_at(self.config.estimation.temperature, progress))
        return {"prior_odds": odds}

    def parameter_groups(self) -> list[dict]:
        """See `Objective.parameter_groups`; an estimator's own parameters have their own rate."""
        groups = super().parameter_groups()
        if own := [*self.estimator.parameters()]:
            groups.append({"params": own, "factor": self.config.estimation.baseline_rate})
        return groups


class WholeObjective(Objective[WholeAIR]):
    """AIR of whole pictures, by its bound, in which all presences are summed out.

    Args:
        model: what is trained.
        config: schedules.
    """

    def __init__(self, model: WholeAIR, config: Config):
        super().__init__(model, (model.config.steps, model.latents))
        self.config = config

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective.forward`."""
        found = self.model(image, noise)
        bound = self.model.score.bound(found).mean()
        presence = found.objects.logit.detach().sigmoid().sum() / len(image)
        return -bound, {"elbo": bound.detach(), "count": presence}

    def schedule(self, progress: float) -> dict[str, float]:
        """See `Objective.schedule`."""
        training = self.config.training
        odds = value_at(training.prior_odds, progress)
        self.model.log_odds.fill_(math.log(odds))
        self.model.widen(value_at(training.sigma_factor, progress))
        return {"prior_odds": odds}


def correlation(progress: float) -> float:
    """To what share neighbours scatter together, of a likelihood that lets them.

    Args:
        progress: the part of training that is done, in [0, 1].

    >>> correlation(0.3), round(correlation(0.45), 3), correlation(0.8)
    (0.0, 0.5, 1.0)
    """
    start, end = CORRELATES
    return min(max((progress - start) / (end - start), 0.0), 1.0)


class BoundObjective(Objective[DRAW]):
    """A model without a count, by the bound that its forward pass gives.

    Args:
        model: what is trained.
        config: not read, as no estimator takes part.
    """

    def __init__(self, model: DRAW, config: Config):
        super().__init__(model, model.noise_shape)

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective.forward`."""
        bound = self.model(image, noise).elbo.mean()
        return -bound, {"elbo": bound.detach()}


class AutoencoderObjective(Objective[Autoencoder]):
    """An autoencoder, the divergence of whose posterior from the prior has a weight.

    The loss may have a perceptual term besides: the squared distance of canvas and image in the
    features of a fixed network, with a weight. The bounds that are told are without it.

    Args:
        model: what is trained, with the weights in its configuration.
        config: not read, as no estimator takes part.
    """

    def __init__(self, model: Autoencoder, config: Config):
        super().__init__(model, (model.config.latent,))
        self.perception = Perception(model.config.channels) if model.config.perceptual else None

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective.forward`."""
        found, c = self.model(image, noise), self.model.config
        loss = -(found.log_likelihood - c.kl_weight * found.kl).mean()
        if self.perception is not None:
            loss = loss + c.perceptual * self.perception(image, found.pixels.mean).mean()
        return loss, {"elbo": found.elbo.detach().mean()}


def make_optimizer(objective: Objective) -> torch.optim.Optimizer:
    """Adam over all that is trained."""
    return torch.optim.Adam(objective.parameter_groups(), fused=True)
