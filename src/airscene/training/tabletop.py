"""How the posterior over arrangements is learned: by dreams, the sleep phase of wake-sleep."""

import torch
from torch import Tensor

from airscene.config import Config
from airscene.models.arrangement import draw_arrangements
from airscene.models.tabletop import Tabletop
from airscene.training.objectives import Objective

FEW = 4  # images of a batch that tell the bound


class TabletopObjective(Objective[Tabletop]):
    """The sleep phase of wake-sleep (Hinton et al. 1995), whose generation is given.

    Scenes z are drawn from the prior, and the painter draws their pictures x. The posterior is
    fitted to what is known of them: -log q(z | x) on average is the divergence of q from the true
    posterior of such pictures, plus a constant. The images of the data tell the bound, and are not
    learned from.

    Args:
        model: what is trained.
        config: not read.
    """

    def __init__(self, model: Tabletop, config: Config):
        super().__init__(model, (0,))

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Objective.forward`; the bound is that of the first few images."""
        number = self.model.config.dreams * len(image)
        with torch.no_grad():
            scenes = draw_arrangements(self.model.world, number, device=image.device)
            dreamt = self.model.painter(*scenes)
        posterior = self.model(dreamt)
        loss = -posterior.log_prob(scenes, posterior.cells_of(scenes)).mean()
        return loss, {"elbo": self.model.elbo(image[:FEW]).mean(), "dream": -loss.detach()}
