import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from airscene.data import Scenes
from airscene.errors import UserError
from airscene.experiments import learning, omniglot, reproduce
from airscene.experiments.learning import EvaluationConfig
from airscene.experiments.omniglot import (
    OmniglotExperiment,
    carry_out,
    full_experiment,
    quick_experiment,
    steps_and_strokes,
    strokes_of,
)
from omniglot_archives import BAR, POST, put_omniglot

BOW = [(20.0, -60.0), (40.0, -70.0), (60.0, -60.0)]


@pytest.fixture
def archives(tmp_path):
    """Characters of one to four strokes of two alphabets."""
    strokes = [BAR, POST, BOW, [(20.0, -10.0), (80.0, -10.0)]]
    drawings = {
        f"{alphabet}/character0{n}/000{n}_{drawer}": some[:n]
        for alphabet, drawers, some in (
            ("Greek", ("01", "17"), strokes),
            ("Korean", ("01",), strokes[::-1]),
        )
        for n in (1, 2, 3, 4)
        for drawer in drawers
    }
    return put_omniglot(tmp_path / "archives", drawings)


@pytest.fixture
def small() -> OmniglotExperiment:
    quick = quick_experiment()
    return replace(quick, trainings={"preset": quick.trainings["preset"]})


def test_it_fills_its_folder_and_goes_on_without_computing_again(
    small, archives, out, serial, monkeypatch
):
    printed = carry_out(small, out, archives, serial)
    results = json.loads((out / "results.json").read_text(), parse_constant=pytest.fail)
    (run,) = results["runs"]["preset"]
    assert run.keys() == {"seen", "unseen"}
    assert [row["strokes"] for row in run["seen"]["by_strokes"]] == [1, 2, 3, 4]
    assert run["seen"]["bound"] != run["unseen"]["bound"]
    for figure in ("strokes.png", "generated.png"):
        assert (out / figure).stat().st_size > 0
    monkeypatch.setattr(learning, "train_run", pytest.fail)
    monkeypatch.setattr(omniglot, "examine", pytest.fail)
    assert carry_out(small, out, archives, serial) == printed


def test_missing_archives_are_told_before_anything_is_computed(out, tmp_path):
    with pytest.raises(UserError, match=r"no images_background_small1\.zip in"):
        reproduce("omniglot", out, tmp_path / "nowhere", seeds=1, quick=True)
    assert not (out / "config.json").exists()


def test_steps_that_follow_the_strokes_correlate_with_them(known_air):
    torch.manual_seed(0)
    objects = torch.rand(8, 3, 10, 10)
    count = torch.tensor([1, 1, 2, 2, 3, 3, 1, 2])
    logits = torch.where(torch.arange(3) < count[:, None], 9.0, -9.0)
    model = known_air(objects, logits)
    masks = torch.ones(8, 10, 10, dtype=torch.uint8)
    scenes = Scenes(model.image, count, masks=masks)
    told = steps_and_strokes(model, scenes, EvaluationConfig(2, 4))
    assert told["spearman"] == pytest.approx(1)
    assert [row["steps"] for row in told["by_strokes"]] == [1, 2, 3]
    assert [row["characters"] for row in told["by_strokes"]] == [3, 3, 2]
    alike = steps_and_strokes(
        known_air(objects, torch.full((8, 3), -9.0)), scenes, EvaluationConfig(2, 4)
    )
    assert np.isnan(alike["spearman"])


def test_the_figure_has_the_paint_of_counted_steps_alone(known_air):
    objects = torch.rand(2, 3, 10, 10)
    logits = torch.tensor([[9.0, -9, -9], [9, 9, -9]])
    model = known_air(objects, logits)
    scenes = Scenes(model.image, torch.tensor([1, 2]), masks=torch.ones(2, 10, 10).byte())
    paint = strokes_of(model, scenes).paint
    assert paint.shape == (2, 3, 10, 10)
    np.testing.assert_allclose(paint[1, :2], objects[1, :2].numpy(), atol=1e-6)
    assert not paint[0, 1:].any() and not paint[1, 2].any()


def test_each_training_differs_from_the_first_in_its_model_alone():
    first, *others = full_experiment().trainings.values()
    for other in others:
        assert other.model != first.model
        assert replace(other, model=first.model) == first
