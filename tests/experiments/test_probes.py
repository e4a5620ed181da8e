import numpy as np
import pytest
import torch

from airscene.experiments.probes import fit_probes, posterior_means
from airscene.models.draw import DRAW, DRAWConfig

FEATURES = 6


def linear_scenes(number: int, counts: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features in whose sum the count hides, under noise and on unlike scales."""
    random = np.random.default_rng(seed)
    count = random.integers(0, counts, number)
    features = random.normal(size=(number, FEATURES))
    features[:, 0] = count - features[:, 1:].sum(1)
    features += 0.03 * random.normal(size=features.shape)
    return features * 10.0 ** np.arange(-3, 3), count


def twofold_scenes(number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of which as many are far from zero, on either side, as there are objects."""
    random = np.random.default_rng(seed)
    present = random.random((number, 3)) < 0.5
    sign = random.choice([-1.0, 1.0], present.shape)
    return sign * present + 0.05 * random.normal(size=present.shape), present.sum(1)


def accuracy(probe, features, count) -> float:
    return float((probe.count(features) == count).mean())


@pytest.fixture(scope="module")
def linear():
    return fit_probes(*linear_scenes(2000, counts=3, seed=0))


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_both_probes_find_a_linear_count(linear, name):
    assert accuracy(linear[name], *linear_scenes(1000, counts=3, seed=1)) > 0.97


def test_the_linear_probe_counts_beyond_what_it_was_shown(linear):
    features, count = linear_scenes(1000, counts=4, seed=2)
    most = count == 3
    assert most.sum() > 100
    assert accuracy(linear["linear"], features[most], count[most]) > 0.97


def test_the_mlp_finds_a_count_that_is_not_linear():
    probes = fit_probes(*twofold_scenes(3000, seed=0))
    held_out = twofold_scenes(1000, seed=1)
    assert accuracy(probes["mlp"], *held_out) > 0.97
    assert accuracy(probes["linear"], *held_out) < 0.5


def test_counts_are_integers_from_zero_on(linear):
    features, _ = linear_scenes(50, counts=3, seed=3)
    for probe in linear.values():
        count = probe.count(features - 100 * features.std(0))
        assert count.shape == (50,) and count.dtype.kind == "i" and count.min() == 0


def test_the_same_scenes_give_the_same_probes():
    scenes = linear_scenes(300, counts=3, seed=4)
    first, second = fit_probes(*scenes), fit_probes(*scenes)
    for name, probe in first.items():
        prediction = probe.regression.predict(scenes[0])
        assert np.array_equal(prediction, second[name].regression.predict(scenes[0]))


def test_features_of_draw_are_the_posterior_means_of_all_steps():
    torch.manual_seed(0)
    sizes = {"height": 6, "width": 7, "read": 2, "write": 2, "latent": 4, "lstm": 5}
    model, images = DRAW(DRAWConfig(steps=3, **sizes)), torch.rand(10, 1, 6, 7)
    features = posterior_means(model, images, batch=4)
    assert isinstance(features, np.ndarray) and features.shape == (10, 3 * 4)
    means = model.infer(images).means.flatten(1).numpy()
    np.testing.assert_allclose(features, means, rtol=1e-4, atol=1e-6)
