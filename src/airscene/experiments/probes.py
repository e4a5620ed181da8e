"""Probes: how many objects a scene holds, read from the latents of a model that does not count.

Both probes regress the count and round it. A classifier could only name counts that it was shown;
a regression may also predict one that never occurred in its training.
"""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from airscene.models.base import Model

PENALTIES = 10.0 ** np.arange(-1, 6)  # of the ridge regression, chosen by leave-one-out
HIDDEN = (256,)  # units of the MLP
EPOCHS = 500  # that the MLP stops well before


@dataclass(frozen=True)
class Probe:
    """A regression from features to a count.

    Attributes:
        regression: standardises the features, then predicts; fitted.
    """

    regression: Pipeline

    def count(self, features: np.ndarray) -> np.ndarray:
        """The counts of features (M, F), rounded to the nearest integer from 0 on, shape (M,)."""
        return np.rint(self.regression.predict(features)).clip(min=0).astype(int)


def fit_probes(features: np.ndarray, count: np.ndarray) -> dict[str, Probe]:
    """Fits a linear and a non-linear probe, the same ones every time.

    Args:
        features: of labelled scenes, shape (M, F).
        count: how many objects each holds, shape (M,).

    Returns:
        "linear", a ridge regression, and "mlp", with one hidden layer and a tenth of the scenes
        held out to stop early.
    """
    regressors = {
        "linear": RidgeCV(PENALTIES),
        "mlp": MLPRegressor(
            hidden_layer_sizes=HIDDEN, early_stopping=True, max_iter=EPOCHS, random_state=0
        ),
    }
    return {
        name: Probe(make_pipeline(StandardScaler(), regressor).fit(features, count))
        for name, regressor in regressors.items()
    }


def posterior_means(model: Model, images: Tensor, batch: int = 256) -> np.ndarray:
    """What a model infers of images: the posterior means of all steps, shape (M, T Z).

    Args:
        model: a trained model, whose inference has `means` of shape (M, T, Z).
        images: images in [0, 1], shape (M, C, H, W).
        batch: images inferred at a time.
    """
    parts = (model.infer(part.to(model.device)).means.flatten(1) for part in images.split(batch))
    return torch.cat([part.cpu() for part in parts]).numpy()
