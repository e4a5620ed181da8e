"""Scenes of the one tiny model, for all estimators."""

import pytest
import torch
from proofs import Scene


@pytest.fixture
def scene(tiny_air) -> Scene:
    """Two images."""
    torch.manual_seed(1)
    return Scene(tiny_air, batch=2)


@pytest.fixture
def single(tiny_air) -> Scene:
    """One image."""
    torch.manual_seed(2)
    return Scene(tiny_air, batch=1)


@pytest.fixture
def sampled(tiny_air) -> Scene:
    """One image with three samples of its latents."""
    torch.manual_seed(3)
    return Scene(tiny_air, batch=1, samples=3)
