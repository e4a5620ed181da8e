"""How the posterior over arrangements is learned: by dreams, and from pictures of the data.

Dreams are the sleep phase of wake-sleep (Hinton et al. 1995), whose generation is given.
"""

import torch
from torch import Tensor

from airscene.config import Config
from airscene.models.arrangement import draw_arrangements
from airscene.models.tabletop import Tabletop
from airscene.training.objectives import Objective

FEW = 4  # images of a batch that tell the bound


class TabletopObjective(Objective[Tabletop]):
    """Dreams, then reweighted wake-sleep (Bornschein and Bengio 2015), if it has a share.

    Args:
        model: what is trained.
        config: not read.
    """

    def __init__(self, model: Tabletop, config: Config):
        super().__init__(model, (0,))
        self.waking = False

    def schedule(self, progress: float) -> dict[str, float]:
        """See `Objective.schedule`."""
        wake = self.model.config.wake
        self.waking = wake > 0 and progress >= 1 - wake
        return {}

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective.forward`; no noise is read."""
        return self._wake(image) if self.waking else self._dream(image)

    def _dream(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the log-density of what was drawn, -log q(z | picture of z) for z from the prior.

        On average it is the divergence of q from the true posterior of such pictures, plus a
        constant. The first few images of the data tell the bound, and are not learned from.
        """
        number = self.model.config.dreams * len(image)
        with torch.no_grad():
            scenes = draw_arrangements(self.model.world, number, device=image.device)
            dreamt = self.model.painter(*scenes)
        posterior = self.model(dreamt)
        loss = -posterior.log_prob(scenes, posterior.cells_of(scenes)).mean()
        return loss, {"elbo": self.model.elbo(image[:FEW]).mean(), "dream": -loss.detach()}

    def _wake(self, image: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the log-density of what explains the images, Σ_s w_s log q(z_s | x).

        The z_s are samples of q, with w_s ∝ p(x, z_s) / q(z_s | x).
        """
        posterior = self.model(image)
        with torch.no_grad():
            samples = [posterior.draw()[:2] for _ in range(self.model.config.particles)]
            weight = torch.stack([self.model.log_weight(image, posterior, *z) for z in samples])
        density = torch.stack([posterior.log_prob(*z) for z in samples])
        loss = -(weight.softmax(0) * density).sum(0).mean()
        return loss, {"elbo": weight.mean()}
